# SPDX-License-Identifier: Apache-2.0
"""Requantization as the engine computes it: clip((((acc·m + bias) >> shift) + r·n) >> residual shift, lo, hi).

Rounding and the storage offsets of inputs, residual and output are folded into the bias.
"""

from dataclasses import dataclass

import numpy as np

from intarsia.engine.bits import Ints
from intarsia.engine.storage import Stored
from intarsia.integer import Add, AveragePool, Conv2d, Layer, Linear, MaxPool, weight_matrix


@dataclass(frozen=True, eq=False)
class Channels:
    """Of every output channel: multiplier, first shift and bias, (channels,); of the layer: what a residual is
    multiplied by (0 without one), the shift after it is added, and the bounds of the clip.
    """

    scale: Ints
    shift: Ints
    bias: Ints
    residual_scale: int
    residual_shift: int
    lo: int
    hi: int


def channels_of(layer: Layer, sources: list[Stored], output: Stored) -> Channels:
    """Return the requantization of a layer that reads `sources` and writes `output`."""
    count = layer.output.shape[0]
    ones = np.ones(count, np.int64)
    offset = sources[0].offset
    factor, last_shift = 0, 0
    match layer:
        case Conv2d() | Linear():
            own = layer.requantization
            scale, shift, bias = (values.astype(np.int64) for values in (own.multiplier, own.shift, own.bias))
            bias = bias + offset * scale * weight_matrix(layer.planes).astype(np.int64).reshape(count, -1).sum(axis=1)
            if layer.residual is not None:
                factor, last_shift = layer.residual.multiplier, layer.residual.shift
            lo, hi = own.lo, own.hi
        case Add():
            first, factor = layer.multipliers
            last_shift = layer.shift
            scale, shift, bias = first * ones, layer.shift * ones, first * offset * ones
            lo, hi = layer.lo, layer.hi
        case AveragePool():
            scale, shift = layer.multiplier * ones, layer.shift * ones
            bias = layer.multiplier * offset * layer.kernel[0] * layer.kernel[1] * ones
            lo, hi = layer.lo, layer.hi
        case MaxPool():
            scale, shift, bias = ones, 0 * ones, offset * ones
            lo, hi = layer.output.format.lo, layer.output.format.hi
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    out = output.offset
    bias = bias + half - (np.int64(out) << shift)
    if len(sources) > 1:
        bias = bias + (np.int64(factor * sources[1].offset) << (shift - last_shift))
    return Channels(scale, shift - last_shift, bias, factor, last_shift, lo - out, hi - out)


def bits_of_bias(channels: Channels) -> int:
    """Return the bits of a two's complement number that every bias needs."""
    lowest, highest = int(channels.bias.min()), int(channels.bias.max())
    return max(-lowest - 1, highest, 0).bit_length() + 1
