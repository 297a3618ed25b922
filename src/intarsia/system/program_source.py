# SPDX-License-Identifier: Apache-2.0
"""A program as C data for the driver: what the engine executes, and how its image is brought in and its result out."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intarsia.engine.cycles import predict
from intarsia.engine.layout import REGIONS
from intarsia.engine.packing import Words, activation_words, activations_of
from intarsia.engine.program import Patches, Placement, Program
from intarsia.errors import IntarsiaError
from intarsia.system._registers import FIELDS
from intarsia.system.accelerator import fingerprint

#: A run is ended after so many times the cycles that the cycle model predicts: it is exact, so this is never met.
LIMIT_FACTOR = 2
_LARGEST_LIMIT = (1 << 32) - 1
_BYTE = 8


@dataclass(frozen=True)
class Transfer:
    """How the DMA brings an image: values of its registers.

    Attributes:
        unfold: whether the image is unfolded, or moved as `length` 32-bit words.
        length: 32-bit words.
        pixel, image, origin, inner, outer: DMA_PIXEL … DMA_OUTER.
    """

    unfold: bool
    length: int = 0
    pixel: int = 0
    image: int = 0
    origin: int = 0
    inner: int = 0
    outer: int = 0


def field(register: str, **values: int) -> int:
    """Return a register's value.

    Raises:
        IntarsiaError: a value does not fit its field.
    """
    total = 0
    for name, value in values.items():
        low, high = FIELDS[register][name]
        bits = high - low + 1
        if not -(1 << (bits - 1)) <= value < 1 << bits:
            raise IntarsiaError(
                f"the DMA cannot bring this network's input: {value} does not fit the {bits} bits of "
                f"{register}.{name}; let the processor store the image."
            )
        total |= (value & (1 << bits) - 1) << low
    return total


def input_transfer(placement: Placement) -> Transfer:
    """Return how the DMA stores an image of bytes (row, column, channel); one of other values comes as stored words.

    Raises:
        IntarsiaError: a size passes what the DMA can count.
    """
    if not takes_bytes(placement):
        return Transfer(unfold=False, length=placement.words * placement.stored.channels * placement.stored.bits // 32)
    channels, rows, columns = placement.tensor.shape
    patches = placement.patches or Patches((1, 1), (1, 1), (0, 0, 0, 0), placement.transposed)
    kernel, stride, corner = patches.kernel, patches.stride, patches.padding[:2]
    if placement.transposed:
        kernel, stride, corner = kernel[::-1], stride[::-1], corner[::-1]
    held = kernel[0] * kernel[1] * channels
    rightward, downward = {"rows": 0, "bytes": stride[1] * channels}, {"rows": stride[0], "bytes": 0}
    along, across = (downward, rightward) if placement.transposed else (rightward, downward)
    _, outer, inner = placement.stored.shape
    return Transfer(
        unfold=True,
        pixel=field(
            "DMA_PIXEL",
            bytes=kernel[1] * channels,
            runs=kernel[0],
            fill=placement.stored.pitch * placement.stored.channels - held,
            unsigned_bytes=int(placement.stored.offset != 0),
        ),
        image=field("DMA_IMAGE", bytes=columns * channels, rows=rows),
        origin=field("DMA_ORIGIN", byte_=-corner[1] * channels, row=-corner[0]),
        inner=_loop("DMA_INNER", inner, along),
        outer=_loop("DMA_OUTER", outer, across),
    )


def _loop(register: str, count: int, step: dict[str, int]) -> int:
    return field(register, count=count, **(step if count > 1 else {}))


def takes_bytes(placement: Placement) -> bool:
    """Whether the driver takes an input as bytes (row, column, channel); else it takes the engine's words."""
    return placement.stored.bits == _BYTE and placement.order is None


def input_image(placement: Placement, image: NDArray[np.integer]) -> bytes:
    """Return an image (C, H, W) of the network's integers as the driver takes it."""
    if takes_bytes(placement):
        placement.store(image)  # checks it
        return image.transpose(1, 2, 0).astype(np.uint8 if placement.tensor.format.lo >= 0 else np.int8).tobytes()
    return activation_words(placement.store(image), placement.stored.bits).astype("<u4").tobytes()


def output_words(placement: Placement) -> int:
    """32-bit words of a result."""
    return placement.words * placement.stored.channels * placement.stored.bits // 32


def _result(placement: Placement) -> str:
    """Return how a result lies in the words that the driver fetches, as one line."""
    form = placement.stored
    channels, height, width = form.shape
    order = "" if placement.order is None else ", in the order " + " ".join(map(str, placement.order))
    less = f" less {form.offset}" if form.offset else ""
    turned = ", rows and columns exchanged" if placement.transposed else ""
    return (
        f"{height} x {width} pixels of {form.pitch * form.channels} values of {form.bits} bits{turned}; the first "
        f"{channels} are the channels{order}, {placement.tensor.format}{less}, the rest have no meaning"
    )


def output_values(placement: Placement, words: Sequence[int]) -> NDArray[np.int64]:
    """Return the result (C, H, W) that the driver fetched as 32-bit words."""
    stored: Words = np.array(words, np.uint32).reshape(placement.words, -1)
    return placement.restore(activations_of(stored, placement.stored.bits))


def check_of(program: Program) -> int:
    """Return the CRC-32 of weights and program, in the order in which the driver loads them."""
    return zlib.crc32(program.descriptors.astype("<u4").tobytes(), zlib.crc32(program.weights.astype("<u4").tobytes()))


def program_source(program: Program, *, name: str = "program", limit: int | None = None) -> str:
    """Return C source that defines `const intarsia_program_t NAME`; a run is ended after `limit` cycles (None: after
    `LIMIT_FACTOR` times those that the cycle model predicts).
    """
    moved = input_transfer(program.input)
    target = {
        region: field("DMA_TARGET", memory=REGIONS["Activations"], word=placement.base)
        for region, placement in (("input", program.input), ("output", program.output))
    }
    if limit is None:
        limit = min(LIMIT_FACTOR * sum(layer.cycles for layer in predict(program)), _LARGEST_LIMIT)
    return "\n".join(
        [
            "// SPDX-License-Identifier: Apache-2.0",
            f"// The network {program.name} for the accelerator; made by Intarsia, do not edit.",
            f"// Result: {_result(program.output)}.",
            '#include "intarsia.h"',
            "",
            *_array(f"{name}_weights", program.weights.reshape(-1).tolist()),
            "",
            *_array(f"{name}_words", program.descriptors.tolist()),
            "",
            f"const intarsia_program_t {name} = {{",
            f"    .build = 0x{fingerprint(program.config):08x}u,",
            f"    .check = 0x{check_of(program):08x}u,",
            f"    .limit = {limit}u,",
            f"    .weights = {name}_weights,",
            f"    .weight_length = {program.weights.size}u,",
            f"    .words = {name}_words,",
            f"    .length = {program.descriptors.size}u,",
            f"    .input = {{.target = 0x{target['input']:08x}u, .unfold = {int(moved.unfold)}u,",
            f"              .length = {moved.length}u, .pixel = 0x{moved.pixel:08x}u, .image = 0x{moved.image:08x}u,",
            f"              .origin = 0x{moved.origin:08x}u, .inner = 0x{moved.inner:08x}u,",
            f"              .outer = 0x{moved.outer:08x}u}},",
            f"    .output_target = 0x{target['output']:08x}u,",
            f"    .output_length = {output_words(program.output)}u,",
            "};",
            "",
        ]
    )


def words_source(images: Sequence[bytes]) -> str:
    """Return C source that defines `const uint32_t images[]`, one after the other and each filled up to whole words,
    `const uint32_t image_count`, and `const uint32_t image_words`, of one.
    """
    words = [np.frombuffer(each + bytes(-len(each) % 4), "<u4").tolist() for each in images]
    return "\n".join(
        [
            "// SPDX-License-Identifier: Apache-2.0",
            "// Images for a network; made by Intarsia, do not edit.",
            "#include <stdint.h>",
            "",
            f"const uint32_t image_count = {len(words)}u;",
            f"const uint32_t image_words = {len(words[0])}u;",
            *_array("images", [word for image in words for word in image], local=False),
            "",
        ]
    )


def _array(name: str, words: Sequence[int], *, local: bool = True) -> list[str]:
    kind = f"{'static ' if local else ''}const uint32_t"
    rows = [", ".join(f"0x{word:08x}" for word in words[i : i + 8]) for i in range(0, len(words), 8)]
    return [f"{kind} {name}[] = {{", *(f"    {row}," for row in rows), "};"]
