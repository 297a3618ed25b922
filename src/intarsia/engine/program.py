# SPDX-License-Identifier: Apache-2.0
"""The program with its images: where software ends and hardware begins (one of Intarsia's two contracts)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intarsia.engine.config import EngineConfig
from intarsia.engine.layout import DESCRIPTOR_WORDS, Descriptor
from intarsia.engine.packing import Words
from intarsia.engine.rows import Order
from intarsia.engine.storage import Stored
from intarsia.errors import IntarsiaError
from intarsia.integer import Tensor
from intarsia.integer.validation import window_output


@dataclass(frozen=True)
class Patches:
    """How an input is unfolded: each pixel holds all that the kernel sees from there, (row, column, channel) in order.

    So a kernel over few channels becomes a 1×1 kernel over many, and no word is mostly empty. In an image of bytes
    (row, column, channel), each row of the kernel is a run of neighbours. Padding (top, left, bottom, right) is part
    of it, as zeros. `transposed`: rows and columns of the tensor are exchanged, not the order of what a pixel holds.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    transposed: bool = False

    def shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape of what `unfold` makes of a tensor of `shape`."""
        channels = shape[0] * self.kernel[0] * self.kernel[1]
        return channels, *window_output(shape[1], shape[2], self.kernel, self.stride, self.padding)

    def unfold(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Turn (C, H, W) into (kernel rows·kernel columns·C, output rows, output columns)."""
        top, left, bottom, right = self.padding
        padded = np.pad(values, ((0, 0), (top, bottom), (left, right)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.kernel, axis=(1, 2))
        strided = windows[:, :: self.stride[0], :: self.stride[1]]
        return self.merge(strided.transpose(0, 3, 4, 1, 2)).reshape(self.shape(values.shape))

    def merge(self, windows: NDArray[np.integer]) -> NDArray[np.int64]:
        """Turn (C, kernel rows, kernel columns, …) into (kernel rows·kernel columns·C, …)."""
        first, second = (2, 1) if self.transposed else (1, 2)
        ordered = windows.transpose(first, second, 0, *range(3, windows.ndim))
        return ordered.reshape(-1, *windows.shape[3:]).astype(np.int64, copy=False)


@dataclass(frozen=True)
class Placement:
    """Where and how a tensor lies in the activation memory.

    Word `base + (y·width + x)·blocks + b` holds channels b·channels … of pixel (y, x), of as many bits each, two's
    complement. Unsigned tensors of all these bits are stored with half their range taken off (`Stored.offset`).

    Attributes:
        tensor: as the network has it.
        base: its first word.
        stored: in the shape that it has in memory, and how words hold it.
        transposed: whether rows and columns are exchanged in memory.
        patches: how it is unfolded, after that; None if it is not. Only an input can be.
        order: for each channel in memory that of the tensor; None if they are the same, as in an input.
    """

    tensor: Tensor
    base: int
    stored: Stored
    transposed: bool = False
    patches: Patches | None = None
    order: Order | None = None

    @property
    def words(self) -> int:
        """Length in activation words."""
        return self.stored.words

    def store(self, values: NDArray[np.integer]) -> NDArray[np.int64]:
        """Turn (C, H, W) values into stored ones (words, channels of a word); places without a channel hold 0.

        Raises:
            IntarsiaError: the values have another shape or do not fit the tensor's format.
        """
        shape, fmt = self.tensor.shape, self.tensor.format
        if values.shape != shape:
            raise IntarsiaError(f"tensor {self.tensor.name} takes images of shape {shape}, not {values.shape}.")
        if values.min() < fmt.lo or values.max() > fmt.hi:
            raise IntarsiaError(f"tensor {self.tensor.name} takes {fmt} values, {fmt.lo} to {fmt.hi}.")
        arranged = values.astype(np.int64) if self.order is None else values[list(self.order)].astype(np.int64)
        if self.transposed:
            arranged = arranged.swapaxes(1, 2)
        if self.patches:
            arranged = self.patches.unfold(arranged)
        form = self.stored
        channels, height, width = form.shape
        stored = np.zeros((height, width, form.pitch * form.channels), np.int64)
        stored[:, :, :channels] = arranged.transpose(1, 2, 0) - form.offset
        return stored.reshape(form.words, form.channels)

    def restore(self, stored: NDArray[np.integer]) -> NDArray[np.int64]:
        """Invert `store` of a tensor that is not unfolded: (words, channels of a word) to (C, H, W) values."""
        if self.patches:
            raise ValueError("an unfolded tensor cannot be restored")
        form = self.stored
        channels, height, width = form.shape
        pixels = stored.astype(np.int64).reshape(height, width, -1)[:, :, :channels]
        values = pixels.transpose((2, 1, 0) if self.transposed else (2, 0, 1)) + form.offset
        return values if self.order is None else values[np.argsort(self.order)]


@dataclass(frozen=True)
class ProgramLayer:
    """One layer of a program: its descriptor, where it writes, and its multiply-accumulates (for efficiency)."""

    name: str
    kind: str
    descriptor: Descriptor
    output: Placement
    macs: int
    busy_inputs: float
    """Inputs of a lane that carry a weight of the kernel: of the window, its area; of a word, the channels in it."""


@dataclass(frozen=True, eq=False)
class Program:
    """What the engine executes: descriptors in order, and the image of its weight memory."""

    name: str
    config: EngineConfig
    input: Placement
    layers: tuple[ProgramLayer, ...]
    weights: Words

    @property
    def output(self) -> Placement:
        """Where the result lies."""
        return self.layers[-1].output

    def used_words(self) -> dict[str, int]:
        """Words in use of each memory, by the name of its depth in `EngineConfig`."""
        return {
            "act_depth": max(p.base + p.words for p in (self.input, *(layer.output for layer in self.layers))),
            "weight_depth": len(self.weights),
            "program_depth": len(self.layers) * DESCRIPTOR_WORDS,
        }

    @property
    def descriptors(self) -> NDArray[np.uint32]:
        """The program memory's image, 32-bit words."""
        return np.array([word for layer in self.layers for word in layer.descriptor.words()], np.uint32)

    def memory_bits(self) -> dict[str, int]:
        """Bits in use of each memory."""
        config, used = self.config, self.used_words()
        return {
            "activations": used["act_depth"] * config.act_bits,
            "weights": used["weight_depth"] * config.weight_bits,
            "program": used["program_depth"] * 32,
        }
