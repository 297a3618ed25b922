# SPDX-License-Identifier: Apache-2.0
"""Packing of weights and requantization into memory words, in the order in which the lanes consume them.

Every function returns words as an array (words, parts) of 32-bit parts, least significant part first.
"""

import numpy as np
from numpy.typing import NDArray

from intarsia.engine.config import BIAS_BITS, EngineConfig
from intarsia.integer.formats import trit_bits
from intarsia.integer.layers import SHIFT_BITS

Words = NDArray[np.uint32]
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


def to_words(bits: NDArray[np.uint8]) -> Words:
    """Turn (words, bits) into (words, parts)."""
    count, width = bits.shape
    padded = np.zeros((count, -(-width // 32) * 32), np.uint8)
    padded[:, :width] = bits
    return np.packbits(padded, axis=1, bitorder="little").view("<u4").astype(np.uint32)


def pack_trits(trits: Ints) -> NDArray[np.uint8]:
    """Pack (…, count) trits into (…, bits): five in a byte as Σ (t_i + 1)·3^i, a rest in the fewest bits."""
    count = trits.shape[-1]
    codes = []
    for start in range(0, count, 5):
        group = trits[..., start : start + 5] + 1
        size = group.shape[-1]
        value = (group * 3 ** np.arange(size)).sum(axis=-1)
        codes.append(bits_of(value, trit_bits(size)))
    return np.concatenate(codes, axis=-1)


def unpack_trits(bits: NDArray[np.uint8], count: int) -> Ints:
    """Invert `pack_trits`."""
    trits = np.empty((*bits.shape[:-1], count), np.int64)
    position = 0
    for start in range(0, count, 5):
        size = min(5, count - start)
        width = trit_bits(size)
        code = (bits[..., position : position + width].astype(np.int64) << np.arange(width)).sum(axis=-1)
        for i in range(size):
            trits[..., start + i] = code // 3**i % 3 - 1
        position += width
    return trits


def dense_words(trits: Ints, config: EngineConfig) -> Words:
    """Pack (words, lanes, block) trits into words of the dense memory."""
    packed = pack_trits(trits)
    return to_words(packed.reshape(trits.shape[0], config.dense_bits))


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


def sparse_words(blocks: Ints, config: EngineConfig) -> Words:
    """Pack (words, lanes, block) sparse weights into words of the sparse memory: value, then index, slot by slot."""
    values, indices = sparse_slots(blocks, config.slots)
    value_bits = bits_of(values, config.slot_bits, signed=True)
    fields = np.concatenate([value_bits, bits_of(indices, config.index_bits)], axis=-1)
    return to_words(fields.reshape(blocks.shape[0], config.sparse_bits))


def param_words(scales: Ints, shift: Ints, bias: Ints, config: EngineConfig) -> Words:
    """Pack requantization: `scales` (channels, 2), `shift` and `bias` (channels,); channels a multiple of lanes."""
    fields = np.concatenate(
        [
            bits_of(scales[:, 0], config.scale_bits),
            bits_of(scales[:, 1], config.scale_bits),
            bits_of(shift, SHIFT_BITS),
            bits_of(bias, BIAS_BITS, signed=True),
        ],
        axis=-1,
    )
    return to_words(fields.reshape(-1, config.param_bits))


def activation_words(values: Ints, config: EngineConfig) -> Words:
    """Pack stored bytes (words, lanes) into words of the activation memory."""
    return to_words(bits_of(values, 8, signed=True).reshape(values.shape[0], config.act_bits))
