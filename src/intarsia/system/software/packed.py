# SPDX-License-Identifier: Apache-2.0
"""The packed form: two pixels in the 16-bit lanes of a word, so that one multiplication makes two products."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from intarsia.integer.layers import Conv2d, Ints, Tensor, WeightLayer
from intarsia.system.software.direct import GROUPS, REQUANTIZATION, accumulator, finish
from intarsia.system.software.geometry import Window, convolution, flat_matrix
from intarsia.system.software.pieces import Constant, Kernel, Lowered, Scratch, Use, Value, narrowest, storage_type
from intarsia.system.software.ranges import Range, rounded_bias, sum_bounds, sum_magnitude

#: What a lane holds.
LANE = Range(-(1 << 15), (1 << 15) - 1)
#: Bytes that a patch may take.
LARGEST_PATCH = 20 << 10
#: Accumulators that stay in registers.
_MOST_ACCUMULATORS = 16
#: Instructions to pack an input into a lane, and to bring a sum from a lane to its place.
PACKING, UNPACKING = 3.3, 5.5
#: Instructions to requantize a sum that lies in memory.
FINISHING = 12.5
#: Instructions for a pixel besides.
PIXEL = 45.0
_FEWEST_TAPS = 4
_WORD = (1 << 32) - 1


def lower_packed(layer: WeightLayer, inputs: list[Tensor], ranges: list[Range]) -> Lowered | None:
    """Return a weight layer as a call of the packed kernel; None if it does not take the layer."""
    if inputs[0].format.bits > 8 or (isinstance(layer, Conv2d) and layer.depthwise):
        return None
    window, matrix = convolution(layer, inputs[0])
    flat = flat_matrix(matrix)
    chunk = _chunk(flat, ranges[0])
    reach = sum_magnitude(flat, ranges[0])
    if chunk < min(_FEWEST_TAPS, window.taps) or accumulator(reach) != "int32_t":
        return None
    if window.pixels == 1 and window.taps == window.channels:
        return _linear(layer, inputs, ranges, chunk)
    cost, words, group = min(_costs(window, -(-window.taps // chunk)))
    weights = flat.reshape(window.outputs // group, group, -1).transpose(0, 2, 1)
    ending, arguments = finish(layer, inputs, ranges, reach, rounded_bias(layer.requantization))
    source = storage_type(inputs[0].format)
    parameters = (("X", source), ("W", narrowest(weights)), ("CHANNELS", str(group)), ("WORDS", str(words)), *ending)
    return Lowered(
        Kernel("packed", parameters),
        (
            window.table(),
            Use(inputs[0].name, source),
            Constant("weights", narrowest(weights), weights),
            Value(chunk),
            Scratch("uint32_t", window.taps * words),
            *arguments,
        ),
        cost,
    )


def _linear(layer: WeightLayer, inputs: list[Tensor], ranges: list[Range], chunk: int) -> Lowered | None:
    """Return a fully connected layer as a call; None if its outputs are odd."""
    window, matrix = convolution(layer, inputs[0])
    flat = flat_matrix(matrix)
    words = next((words for words in GROUPS if window.outputs % (2 * words) == 0), 0)
    if not words:
        return None
    pairs = flat.reshape(-1, words, 2, window.taps)
    values = (pairs[:, :, 0] + (pairs[:, :, 1] << 16)).transpose(0, 2, 1) & _WORD
    ending, arguments = finish(
        layer, inputs, ranges, sum_magnitude(flat, ranges[0]), rounded_bias(layer.requantization)
    )
    source = storage_type(inputs[0].format)
    tap = 2.25 + 3.25 * words
    sums = 2 * words * (-(-window.taps // chunk) * 2 * UNPACKING + REQUANTIZATION + 4)
    return Lowered(
        Kernel("packed_linear", (("X", source), ("WORDS", str(words)), *ending)),
        (
            window.table(),
            Use(inputs[0].name, source),
            Constant("weights", "uint32_t", values),
            Value(chunk),
            *arguments,
        ),
        window.outputs / (2 * words) * (window.taps * tap + sums),
    )


def _costs(window: Window, chunks: int) -> Iterator[tuple[float, int, int]]:
    """Return for every number of words and output channels at a time the estimated instructions, and both."""
    for group in GROUPS:
        for words in range(1, min(8, max(1, _MOST_ACCUMULATORS // group)) + 1):
            if window.outputs % group or (words > 1 and window.taps * words * 4 > LARGEST_PATCH):
                continue
            blocks = -(-window.pixels // (2 * words))
            tap = group * words * 2 + group + words + 3
            sums = 2 * words * group * (chunks * UNPACKING + FINISHING)
            each = window.outputs / group * (window.taps * tap + sums)
            yield blocks * (each + 2 * words * (window.taps * PACKING + PIXEL)), words, group


def _chunk(flat: NDArray[np.int64], source: Range) -> int:
    """Return the most taps, the same for each chunk, after which no sum can have left a lane."""
    taps, count = int(flat.shape[1]), 1
    while count < taps:
        size = -(-taps // count)
        if all(fits_lane(flat[:, start : start + size], source) for start in range(0, taps, size)):
            return size
        count += 1
    return 1 if fits_lane(np.abs(flat).max(axis=1, keepdims=True), source) else 0


def fits_lane(matrix: Ints, source: Range) -> bool:
    """Whether all sums of a matrix (O, taps) times inputs of a range keep within a lane."""
    least, greatest = sum_bounds(matrix, source)
    return bool(least.min() >= LANE.lo and greatest.max() <= LANE.hi)
