# SPDX-License-Identifier: Apache-2.0
"""Multipliers and shifts: the fixed-point numbers that requantization multiplies by, and making them narrower."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.integer.layers import Add, AveragePool, Ints, Layer, MaxPool, Requantization, Residual, WeightLayer
from intarsia.integer.network import IntegerNetwork

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
    """Return multipliers m (P, O) and shifts s (O,) with m · 2^−s ≈ gains, one shift for each column.

    The shift is the greatest at which the column's largest multiplier fits `scale_bits`; no multiplier of a gain above
    0 is 0.

    Args:
        gains: (P, O), 0 or more: of what shares a shift, and of each output channel.
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
    """Return the network with its multipliers in fewer bits and biases in the new fixed point.

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
    layers = tuple(_narrow(layer, scale_bits, power_of_two) for layer in network.layers)
    return replace(network, layers=layers, scale_bits=scale_bits)


def _narrow(layer: Layer, bits: int, power_of_two: bool) -> Layer:
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
    return _narrow_weights(layer, bits, power_of_two)


def _narrow_weights(layer: WeightLayer, bits: int, power_of_two: bool) -> WeightLayer:
    old = layer.requantization
    (multiplier,), shift = _fewer_bits(old.multiplier[None], old.shift, bits, power_of_two)
    bias = np.floor(old.bias * np.exp2((shift - old.shift.astype(np.int64)).astype(np.float64)) + 0.5)
    new = Requantization(
        multiplier.astype(np.int32), bias.astype(old.bias.dtype), shift.astype(np.int32), old.lo, old.hi
    )
    residual = layer.residual
    if residual is not None:
        least = np.array([min(residual.shift, int(shift.min()))])
        gain = np.array([[residual.multiplier * 2.0**-residual.shift]])
        factor, own = fit_multipliers(gain, bits, power_of_two=power_of_two, largest_shift=least)
        residual = Residual(residual.input, int(factor[0, 0]), int(own[0]))
    return replace(layer, requantization=new, residual=residual)


def _fewer_bits(
    multipliers: Ints, shift: Ints, bits: int, power_of_two: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the multipliers (P, O) in fewer bits, at shifts (O,) no greater than before: a bias only gets smaller."""
    gains = multipliers.astype(np.float64) * np.exp2(-shift.astype(np.float64))
    return fit_multipliers(gains, bits, power_of_two=power_of_two, largest_shift=shift)
