# SPDX-License-Identifier: Apache-2.0
"""Bits of weights as the lanes read them: digits, packed trits, slots."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from intarsia.integer.formats import trit_bits

Ints = NDArray[np.int64]


def balanced_digits(weights: Ints, digits: int) -> Ints:
    """Split integers into balanced-ternary digits, most significant first; (digits, *weights.shape) of −1, 0, 1.

    Raises:
        ValueError: a weight needs more digits.
    """
    result = np.empty((digits, *weights.shape), np.int64)
    rest = weights.astype(np.int64)
    for position in range(digits - 1, -1, -1):
        digit = (rest + 1) % 3 - 1
        result[position] = digit
        rest = (rest - digit) // 3
    if np.any(rest):
        raise ValueError(f"weights up to {np.abs(weights).max()} do not fit {digits} balanced-ternary digits")
    return result


def binary_digits(weights: Ints, bits: int) -> Ints:
    """Split integers into digits to base 2^bits, most significant first, of −2^(bits − 1) to 2^(bits − 1) − 1 each;
    (digits, *weights.shape), as few as hold all weights.
    """
    half, rest = 1 << (bits - 1), weights.astype(np.int64)
    result: list[Ints] = []
    while not result or np.any(rest):
        digit = (rest + half) % (2 * half) - half
        result.append(digit)
        rest = (rest - digit) >> bits
    return np.stack(result[::-1])


def bits_of(values: Ints, width: int, *, signed: bool = False) -> NDArray[np.uint8]:
    """Bits of integers, two's complement if `signed`, least significant first, along a new last axis of `width`.

    Raises:
        ValueError: a value does not fit so many bits.
    """
    low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)
    if values.size and (int(values.min()) < low or int(values.max()) > high):
        kind = "signed" if signed else "unsigned"
        raise ValueError(f"values of {values.min()} to {values.max()} do not fit {width} {kind} bits")
    return ((values[..., None] >> np.arange(width)) & 1).astype(np.uint8)


def pack_trits(trits: Ints) -> NDArray[np.uint8]:
    """Pack (…, count) trits into (…, bits): five in a byte, a rest in the fewest bits (intarsia_trits unpacks them)."""
    codes = []
    for start in range(0, trits.shape[-1], 5):
        group = trits[..., start : start + 5]
        size = group.shape[-1]
        number = ((group + 1) * 3 ** np.arange(size)).sum(axis=-1)
        codes.append(bits_of(_codes(size)[number], trit_bits(size)))
    return np.concatenate(codes, axis=-1)


def unpack_trits(bits: NDArray[np.uint8], count: int) -> Ints:
    """Invert `pack_trits`."""
    trits = np.empty((*bits.shape[:-1], count), np.int64)
    position = 0
    for start in range(0, count, 5):
        size = min(5, count - start)
        width = trit_bits(size)
        code = (bits[..., position : position + width].astype(np.int64) << np.arange(width)).sum(axis=-1)
        numbers = np.zeros(1 << width, np.int64)
        numbers[_codes(size)] = np.arange(3**size)
        trits[..., start : start + size] = numbers[code][..., None] // 3 ** np.arange(size) % 3 - 1
        position += width
    return trits


@cache
def _codes(size: int) -> Ints:
    """Return the code of each group of 1 to 5 trits t, at Σ (t_i + 1)·3^i."""
    return np.array([_code([number // 3**i % 3 - 1 for i in range(size)]) for number in range(3**size)], np.int64)


def _code(trits: Sequence[int]) -> int:
    """Return the code of up to five trits: a pair of zeros is marked by the code 2 in the place of a trit, so that a
    pair that is not two zeros takes three bits, and unpacking few gates.
    """
    plain = [{-1: 3, 0: 0, 1: 1}[trit] for trit in trits]  # {negative, non-zero}
    if len(plain) < 3:
        return sum(trit << 2 * i for i, trit in enumerate(plain))
    first, second, third, *rest = plain
    low = first << 3 | _pair(second, third) if second or third else 0b10000 | first
    if len(rest) < 2:
        return low | sum(trit << 5 for trit in rest)
    if any(rest):
        return _pair(*rest) << 5 | low
    return (low >> 2) << 5 | 0b101 << 2 | low & 3


def _pair(first: int, second: int) -> int:
    """Return the three bits of two trits of which one at least is not zero."""
    if first and second:
        return 4 | (first >> 1) << 1 | second >> 1
    return second >> 1 if second else 2 | first >> 1


def sparse_slots(blocks: Ints, slots: int) -> tuple[Ints, Ints]:
    """Find the non-zeros of (words, lanes, block) weights: values and indices, each (words, lanes, slots).

    An empty slot (value 0) points at the fourth last position: in window mode the newest pixel, which every kernel
    fills. Registers that nothing has written yet so never meet a multiplier.

    Raises:
        ValueError: a block of a lane holds more than `slots` non-zeros.
    """
    counts = np.count_nonzero(blocks, axis=-1)
    if counts.size and counts.max() > slots:
        raise ValueError(f"a block holds {counts.max()} sparse weights, the engine has {slots} slots")
    order = np.argsort(blocks == 0, axis=-1, kind="stable")[..., :slots]
    values = np.take_along_axis(blocks, order, axis=-1)
    return values, np.where(values != 0, order, blocks.shape[-1] - 4)


def shared_slots(blocks: Ints, slots: int) -> tuple[Ints, Ints]:
    """Find the positions of (words, lanes, block) weights at which some lane has a non-zero: values (words, lanes,
    slots) and indices (words, slots). An empty slot is as in `sparse_slots`.

    Raises:
        ValueError: a block has non-zeros at more than `slots` positions.
    """
    used = np.any(blocks, axis=1)
    counts = used.sum(axis=-1)
    if counts.size and counts.max() > slots:
        raise ValueError(f"a block has sparse weights at {counts.max()} positions, the engine has {slots} slots")
    order = np.argsort(~used, axis=-1, kind="stable")[..., :slots]
    full = np.take_along_axis(used, order, axis=-1)
    values = np.take_along_axis(blocks, np.broadcast_to(order[:, None], (*blocks.shape[:2], slots)), axis=-1)
    return values * full[:, None], np.where(full, order, blocks.shape[-1] - 4)


def fixed_slots(blocks: Ints, places: Sequence[int]) -> Ints:
    """Return the weights at given positions of (words, lanes, block) weights, (words, lanes, slots).

    Raises:
        ValueError: there is a non-zero elsewhere.
    """
    values = blocks[..., list(places)]
    if np.count_nonzero(values) != np.count_nonzero(blocks):
        raise ValueError(f"a block has sparse weights at other positions than {', '.join(map(str, places))}")
    return values
