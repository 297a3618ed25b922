# SPDX-License-Identifier: Apache-2.0
"""The Sum-Together form: N products of operands of 16 / N bits at a time, as the multiplier of that name computes."""

import numpy as np
from numpy.typing import NDArray

from intarsia.integer.layers import Conv2d, Ints, Tensor, WeightLayer, weight_matrix
from intarsia.system.software.direct import GROUPS, accumulator, finish
from intarsia.system.software.geometry import convolution, flat_matrix, window_of
from intarsia.system.software.pieces import Constant, Kernel, Lowered, Scratch, Use, Value, storage_type
from intarsia.system.software.ranges import Range, rounded_bias

_WORD_BITS = 16


def lower_sum_together(layer: WeightLayer, inputs: list[Tensor], ranges: list[Range]) -> Lowered | None:
    """Return a weight layer as a call of the Sum-Together kernel; None if its weights need more than 16 bits."""
    depthwise = isinstance(layer, Conv2d) and layer.depthwise
    if isinstance(layer, Conv2d) and layer.depthwise:
        window, flat = window_of(layer, inputs[0]), flat_matrix(weight_matrix(layer.planes)[:, 0, :, :, None])
    else:
        window, matrix = convolution(layer, inputs[0])
        flat = flat_matrix(matrix)
    operands = _operands(flat, ranges[0])
    if operands is None:
        return None
    count, offset = operands
    group = 1 if depthwise else next(group for group in GROUPS if window.outputs % group == 0)
    packed = _packed(flat, count)
    words = packed.shape[1]
    source = storage_type(inputs[0].format)
    bias = rounded_bias(layer.requantization)
    bias = bias + layer.requantization.multiplier.astype(np.int64) * offset * flat.sum(axis=1)
    # Each operand, padding included, keeps within this, whatever the input.
    reach = np.abs(flat).sum(axis=1) << (_WORD_BITS // count - 1)
    ending, arguments = finish(layer, inputs, ranges, reach, bias)
    parameters = (("X", source), ("ACC", accumulator(reach)), ("CHANNELS", str(group)), ("N", str(count)))
    return Lowered(
        Kernel("sum_together", (*parameters, ("DEPTHWISE", str(int(depthwise))), *ending)),
        (
            window.table(),
            Use(inputs[0].name, source),
            Constant("weights", "uint16_t", packed.reshape(-1, group, words).transpose(0, 2, 1)),
            Value(offset),
            Scratch("uint16_t", words),
            *arguments,
        ),
    )


def _operands(flat: NDArray[np.int64], source: Range) -> tuple[int, int] | None:
    """Return the most products at a time, and what inputs are stored less; None if weights are too wide."""
    for count in (4, 2, 1):
        half = 1 << (_WORD_BITS // count - 1)
        if flat.min() < -half or flat.max() >= half or source.hi - source.lo >= 2 * half:
            continue
        if -half <= source.lo and source.hi < half:
            return count, 0
        if source.lo >= 0:
            return count, half
    return None


def _packed(flat: NDArray[np.int64], count: int) -> Ints:
    """Return weights (O, taps) as half-words (O, words), the first in the lowest bits."""
    bits = _WORD_BITS // count
    padded = np.zeros((len(flat), -(-flat.shape[1] // count) * count), np.int64)
    padded[:, : flat.shape[1]] = flat
    fields = (padded & ((1 << bits) - 1)).reshape(len(flat), -1, count)
    return np.asarray((fields << (bits * np.arange(count))).sum(axis=2))
