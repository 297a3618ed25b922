# SPDX-License-Identifier: Apache-2.0
"""Multipliers and shifts: the fixed-point numbers that requantization multiplies by, and making them narrower."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.integer.layers import Add, AveragePool, Ints, Layer, MaxPool, Plane, Requantization, Tensor, WeightLayer
from intarsia.integer.network import IntegerNetwork
from intarsia.integer.validation import INT32_MAX, accumulator_bound, greatest_magnitude

#: Greatest shift that scales are fitted to. Beyond it a bias of 2^10 output steps would leave 32 bits.
LARGEST_SHIFT = 20

_LEAST = 2.0**-60


def fit_multipliers(
    gains: NDArray[np.floating],
    scale_bits: int,
    *,
    power_of_two: bool = False,
    largest_shift: Ints | int = LARGEST_SHIFT,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return multipliers m (P, O) and shifts s (O,) with m · 2^−s ≈ gains, one shift for all planes of a channel.

    The shift is the greatest at which the channel's largest multiplier fits `scale_bits`; no multiplier of a gain
    above 0 is 0.

    Args:
        gains: (P, O), 0 or more: of each plane and output channel.
        scale_bits: of a multiplier, unsigned, 1 to 16.
        power_of_two: round every multiplier to a power of two (in the logarithm), so that shifts do.
        largest_shift: (O,) or one for all.
    """
    rounded = np.exp2(np.round(np.log2(np.maximum(gains, _LEAST)))) if power_of_two else gains
    top = float(1 << (scale_bits - 1)) if power_of_two else float((1 << scale_bits) - 1)
    largest = np.maximum(rounded.max(axis=0), _LEAST)
    shift = np.clip(np.floor(np.log2((top + 0.49) / largest)), 0, largest_shift)
    multipliers = np.clip(np.floor(rounded * np.exp2(shift) + 0.5), gains > 0, top)
    return multipliers.astype(np.int64), shift.astype(np.int64)


def narrow_scales(network: IntegerNetwork, scale_bits: int, *, power_of_two: bool = False) -> IntegerNetwork:
    """Return the network with its multipliers in fewer bits, biases in the new fixed point, and sparse planes of as
    many values in the new steps.

    A channel whose multipliers fit stays as it is. Nothing is trained again, so this is the most that narrow scales
    can cost.

    Args:
        network: any.
        scale_bits: 1 to 16, at most the network's own.
        power_of_two: round multipliers to powers of two.

    Raises:
        IntarsiaError: there are more bits asked for than the network has.
    """
    if not 1 <= scale_bits <= network.scale_bits:
        raise IntarsiaError(
            f"the scales of network {network.name} have {network.scale_bits} bits; narrow them to 1 to "
            f"{network.scale_bits}, not to {scale_bits}."
        )
    tensors = network.tensors
    layers = tuple(_narrow(layer, tensors[layer.inputs[0]], scale_bits, power_of_two) for layer in network.layers)
    return replace(network, layers=layers, scale_bits=scale_bits)


def _narrow(layer: Layer, source: Tensor, bits: int, power_of_two: bool) -> Layer:
    if isinstance(layer, MaxPool):
        return layer
    if isinstance(layer, Add):
        old = np.array(layer.multipliers)[:, None], np.array([layer.shift])
        multipliers, shift = _fewer_bits(*old, bits, power_of_two)
        first, second = (int(value) for value in multipliers[:, 0])
        return replace(layer, multipliers=(first, second), shift=int(shift[0]))
    if isinstance(layer, AveragePool):
        old = np.array([[layer.multiplier]]), np.array([layer.shift])
        multipliers, shift = _fewer_bits(*old, bits, power_of_two)
        return replace(layer, multiplier=int(multipliers[0, 0]), shift=int(shift[0]))
    return _narrow_weights(layer, source, bits, power_of_two)


def _narrow_weights(layer: WeightLayer, source: Tensor, bits: int, power_of_two: bool) -> WeightLayer:
    old = layer.requantization
    multipliers, shift = _fewer_bits(np.stack([p.multiplier for p in layer.planes]), old.shift, bits, power_of_two)
    finer = np.exp2((shift - old.shift.astype(np.int64)).astype(np.float64))
    bias = np.floor(old.bias * finer + 0.5)
    planes = tuple(_rescaled(plane, source, row, finer) for plane, row in zip(layer.planes, multipliers, strict=True))
    new = Requantization(bias.astype(np.int32), shift.astype(np.int32), old.lo, old.hi)
    return replace(layer, planes=planes, requantization=new)


def _rescaled(plane: Plane, source: Tensor, multiplier: NDArray[np.int64], finer: NDArray[np.float64]) -> Plane:
    """Return a plane with new multipliers (O,), for accumulators `finer` (O,) times as fine as before.

    Both planes of a channel share a shift, so the multiplier of the finer, sparse one has few bits left, and its step
    may change by half. What it stores then follows: it has the values for that, where a dense or binary plane has not.
    Values only grow as far as the channel's accumulator over inputs from `source` has bits for them.
    """
    new = replace(plane, multiplier=multiplier.astype(np.int32))
    if plane.pattern.kind == "dense" or not plane.format.has_zero:
        return new
    ratio = np.minimum(plane.multiplier * finer / np.maximum(multiplier, 1), _largest_growth(plane.weights, source))
    values = np.floor(plane.weights * ratio.reshape(-1, 1, 1, 1) + 0.5)
    limit = plane.format.limit
    return replace(new, weights=np.clip(values, -limit, limit).astype(plane.weights.dtype))


def _largest_growth(weights: Ints, source: Tensor) -> NDArray[np.float64]:
    """Return by which factor (O,), at least 1, the weights of each channel may grow and be rounded."""
    bound = np.maximum(accumulator_bound(weights, greatest_magnitude(source)), 1)
    rounding = np.count_nonzero(weights.reshape(len(weights), -1), axis=1) / 2 * greatest_magnitude(source)
    return np.asarray(np.maximum((INT32_MAX - rounding) / bound, 1.0))


def _fewer_bits(
    multipliers: Ints, shift: Ints, bits: int, power_of_two: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the multipliers (P, O) in fewer bits, at shifts (O,) no greater than before: a bias only gets smaller."""
    gains = multipliers.astype(np.float64) * np.exp2(-shift.astype(np.float64))
    return fit_multipliers(gains, bits, power_of_two=power_of_two, largest_shift=shift)
