# SPDX-License-Identifier: Apache-2.0
"""Integers for real factors: multipliers with shifts, biases, and the narrowest formats."""

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.integer import ActivationFormat, WeightFormat
from intarsia.integer.layers import MAX_SHIFT
from intarsia.integer.scales import fit_multipliers

_INT32 = np.iinfo(np.int32)


def fit(
    gains: NDArray[np.float64], terms: NDArray[np.float64], scale_bits: int, where: str
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Return multipliers, shifts and biases of each channel: m · 2^−s ≈ gain, c · 2^−s ≈ term.

    The shift is the greatest at which the multiplier has `scale_bits` and the bias 32.
    """
    if not (np.isfinite(gains).all() and np.isfinite(terms).all()):
        raise IntarsiaError(f"{where} has a scale or a bias that is not finite.")
    by_term = np.floor(np.log2((_INT32.max - 1) / np.maximum(np.abs(terms), 2.0**-60)))
    if by_term.min() < 0 or gains.max() >= 1 << scale_bits:
        raise IntarsiaError(f"{where} multiplies by {gains.max():.3g} or adds {np.abs(terms).max():.3g} output steps.")
    largest = np.minimum(by_term, MAX_SHIFT).astype(np.int64)
    [multiplier], shift = fit_multipliers(gains[None], scale_bits, largest_shift=largest)
    bias = np.floor(terms * np.exp2(shift.astype(np.float64)) + 0.5)
    return multiplier.astype(np.int32), shift.astype(np.int32), bias.astype(np.int32)


def fit_shared(gains: NDArray[np.float64], scale_bits: int, where: str) -> tuple[list[int], int]:
    """Return multipliers m with one shift s, m · 2^−s ≈ gain; the shift is the greatest at which m has `scale_bits`."""
    largest = float(gains.max())
    if not (np.isfinite(gains).all() and largest > 0):
        raise IntarsiaError(f"{where} has a scale that is not finite.")
    if largest >= 1 << scale_bits:
        raise IntarsiaError(f"{where} multiplies by {largest:.3g}, more than {scale_bits} bits hold.")
    multipliers, shift = fit_multipliers(gains[:, None], scale_bits, largest_shift=MAX_SHIFT)
    return [int(m) for m in multipliers[:, 0]], int(shift[0])


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
