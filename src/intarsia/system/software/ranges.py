# SPDX-License-Identifier: Apache-2.0
"""Which values tensors and sums can take, so that every sum gets the narrowest type that can never overflow."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intarsia.integer.layers import Add, AveragePool, Ints, MaxPool, Requantization, WeightLayer
from intarsia.integer.network import IntegerNetwork

_INT32 = 1 << 31


@dataclass(frozen=True)
class Range:
    """Least and greatest value; always with 0, the value of padding."""

    lo: int
    hi: int

    @property
    def magnitude(self) -> int:
        """Greatest magnitude."""
        return max(-self.lo, self.hi)


def tensor_ranges(network: IntegerNetwork) -> dict[str, Range]:
    """Return the range of each tensor; what layers clip to is often less than a format holds."""
    form = network.input.format
    ranges = {network.input.name: Range(form.lo, form.hi)}
    for layer in network.layers:
        if isinstance(layer, MaxPool):
            ranges[layer.output.name] = ranges[layer.input]
        else:
            clip = layer if isinstance(layer, Add | AveragePool) else layer.requantization
            ranges[layer.output.name] = Range(min(clip.lo, 0), max(clip.hi, 0))
    return ranges


def sum_bounds(matrix: Ints, source: Range) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the least and greatest value (O,) of any partial sum of a matrix (O, …) times inputs of a range."""
    flat = matrix.reshape(matrix.shape[0], -1).astype(np.int64)
    positive, negative = np.maximum(flat, 0).sum(axis=1), np.minimum(flat, 0).sum(axis=1)
    return positive * source.lo + negative * source.hi, positive * source.hi + negative * source.lo


def sum_magnitude(matrix: Ints, source: Range) -> NDArray[np.int64]:
    """Return the greatest magnitude (O,) of any partial sum."""
    least, greatest = sum_bounds(matrix, source)
    return np.maximum(-least, greatest)


def rounded_bias(requantization: Requantization) -> NDArray[np.int64]:
    """Return the bias with half of 2^shift added, (O,)."""
    shift = requantization.shift.astype(np.int64)
    return np.asarray(requantization.bias.astype(np.int64) + ((np.int64(1) << shift) >> 1))


def residual_multipliers(layer: WeightLayer) -> NDArray[np.int64]:
    """Return n·2^(s−t) (O,), by which a residual counts; zeros without one."""
    shift = layer.requantization.shift.astype(np.int64)
    if layer.residual is None:
        return np.zeros_like(shift)
    return np.asarray(np.int64(layer.residual.multiplier) << (shift - layer.residual.shift))


def fits_int32(magnitude: Ints | int) -> bool:
    """Whether a sum of this magnitude, and each of its negatives, is an int32_t."""
    return int(np.max(magnitude)) < _INT32


def total_bits(layer: WeightLayer, reach: NDArray[np.int64], bias: NDArray[np.int64], residual: Range | None) -> int:
    """Return the bits, 32 or 64, of a requantization.

    Args:
        layer: whose requantization it is.
        reach: greatest magnitude of the accumulators, (O,).
        bias: that is added, with the rounding, (O,).
        residual: range of the second input; None without one.
    """
    added = residual_multipliers(layer)
    most = reach * layer.requantization.multiplier.astype(np.int64) + np.abs(bias)
    most = most + added * (0 if residual is None else residual.magnitude)
    return 32 if fits_int32(most) and fits_int32(added) and fits_int32(reach) else 64
