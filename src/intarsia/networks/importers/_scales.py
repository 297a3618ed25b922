"""Integers for real factors: multipliers with shifts, biases, and the narrowest formats."""

import math

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.integer import ActivationFormat, WeightFormat
from intarsia.integer.network import MAX_SHIFT

_INT32 = np.iinfo(np.int32)


def fit(
    gains: NDArray[np.float64], terms: NDArray[np.float64], scale_bits: int, where: str
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Return multipliers, shifts and biases of each channel: m · 2^−s ≈ gain, c · 2^−s ≈ term.

    The shift is the greatest at which the multiplier has `scale_bits` and the bias 32.
    """
    if not (np.isfinite(gains).all() and np.isfinite(terms).all()):
        raise IntarsiaError(f"{where} has a scale or a bias that is not finite.")
    top = (1 << scale_bits) - 1
    by_gain = np.floor(np.log2((top + 0.49) / np.maximum(gains, 2.0**-60)))
    by_term = np.floor(np.log2((_INT32.max - 1) / np.maximum(np.abs(terms), 2.0**-60)))
    shift = np.minimum(np.minimum(by_gain, by_term), MAX_SHIFT)
    if shift.min() < 0:
        raise IntarsiaError(f"{where} multiplies by {gains.max():.3g} or adds {np.abs(terms).max():.3g} output steps.")
    factor = np.exp2(shift)
    multiplier = np.floor(gains * factor + 0.5)
    bias = np.floor(terms * factor + 0.5)
    return multiplier.astype(np.int32), shift.astype(np.int32), bias.astype(np.int32)


def fit_shared(gains: NDArray[np.float64], scale_bits: int, where: str) -> tuple[list[int], int]:
    """Return multipliers m with one shift s, m · 2^−s ≈ gain; the shift is the greatest at which m has `scale_bits`."""
    largest = float(gains.max())
    if not (np.isfinite(gains).all() and largest > 0):
        raise IntarsiaError(f"{where} has a scale that is not finite.")
    top = (1 << scale_bits) - 1
    shift = min(math.floor(math.log2((top + 0.49) / largest)), MAX_SHIFT)
    if shift < 0:
        raise IntarsiaError(f"{where} multiplies by {largest:.3g}, more than {scale_bits} bits hold.")
    return [int(m) for m in np.floor(gains * 2.0**shift + 0.5)], shift


def format_of(lo: int, hi: int, where: str) -> ActivationFormat:
    """Return the narrowest format that holds lo … hi."""
    for bits in (2, 4, 8, 16):
        form = ActivationFormat(bits, signed=lo < 0)
        if form.lo <= lo and hi <= form.hi:
            return form
    raise IntarsiaError(f"{where}: a tensor has values {lo} … {hi}, more than 16 bits hold.")


def weight_format(limit: int) -> WeightFormat:
    """Return the narrowest format that holds −limit … limit, 127 at most."""
    for name in ("ternary", *(f"int{bits}" for bits in range(3, 9))):
        if limit <= WeightFormat(name).limit:
            return WeightFormat(name)
    raise AssertionError("the limit was checked")
