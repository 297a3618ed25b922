# SPDX-License-Identifier: Apache-2.0
"""Words of the engine's memories: weight blocks, requantization and activations.

Every function returns words as an array (words, parts) of 32-bit parts, least significant part first.
"""

import numpy as np
from numpy.typing import NDArray

from intarsia.engine.bits import bits_of
from intarsia.engine.config import EngineConfig
from intarsia.integer.layers import SHIFT_BITS

Words = NDArray[np.uint32]
Ints = NDArray[np.int64]


def to_words(bits: NDArray[np.uint8]) -> Words:
    """Turn (words, bits) into (words, parts)."""
    count, width = bits.shape
    padded = np.zeros((count, -(-width // 32) * 32), np.uint8)
    padded[:, :width] = bits
    return np.packbits(padded, axis=1, bitorder="little").view("<u4").astype(np.uint32)


def block_words(bits: NDArray[np.uint8], parts: int) -> Words:
    """Cut blocks (n, bits) into words of the weight memory, (n · parts, …): as many bits in each."""
    return to_words(bits.reshape(len(bits) * parts, -1))


def param_words(scale: Ints, shift: Ints, bias: Ints, config: EngineConfig) -> Words:
    """Pack the requantization of tiles, (tiles, lanes) each, into words of the weight memory, (tiles · words, …)."""
    fields = np.concatenate(
        [
            bits_of(scale, config.scale_bits),
            bits_of(shift, SHIFT_BITS),
            bits_of(bias, config.bias_bits, signed=True),
        ],
        axis=-1,
    )
    tiles, lanes, width = fields.shape
    places = np.zeros((tiles, config.param_words * config.params_per_word, width), np.uint8)
    places[:, :lanes] = fields
    words = np.zeros((tiles * config.param_words, config.weight_bits), np.uint8)
    words[:, : config.params_per_word * width] = places.reshape(len(words), -1)
    return to_words(words)


def activation_words(values: Ints, bits: int) -> Words:
    """Pack stored values (words, channels of a word), of so many bits each, into words of the activation memory."""
    return to_words(bits_of(values, bits, signed=True).reshape(len(values), -1))


def activations_of(words: Words, bits: int) -> Ints:
    """Invert `activation_words`."""
    if bits >= 8:
        return words.view(f"<i{bits // 8}").reshape(len(words), -1).astype(np.int64)
    packed = words.view(np.uint8).reshape(len(words), -1)
    nibbles = np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(words), -1).astype(np.int64)
    return np.asarray((nibbles ^ 8) - 8)
