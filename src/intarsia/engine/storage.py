# SPDX-License-Identifier: Apache-2.0
"""How tensors lie in activation words: channels of a pixel side by side, each of as many bits as the unit says."""

from collections.abc import Mapping
from dataclasses import dataclass

from intarsia.engine.config import EngineConfig
from intarsia.integer import IntegerNetwork, Tensor


@dataclass(frozen=True)
class Stored:
    """A tensor as words hold it.

    Attributes:
        tensor: as the engine computes it.
        bits: of a value, two's complement (4, 8 or 16).
        channels: of a word.
        tile_words: words that a tile's channels take, one at least: those of a pixel are a multiple.
    """

    tensor: Tensor
    bits: int
    channels: int
    tile_words: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.tensor.shape

    @property
    def offset(self) -> int:
        """What is taken off a value before it is stored: half the range where an unsigned format takes all bits."""
        half = 1 << (self.bits - 1)
        return half if self.tensor.format.hi >= half else 0

    @property
    def blocks(self) -> int:
        """Words of a pixel that hold channels."""
        return -(-self.shape[0] // self.channels)

    @property
    def pitch(self) -> int:
        """Words of a pixel, with one that a last tile writes in vain."""
        return self.blocks + -self.blocks % self.tile_words

    @property
    def words(self) -> int:
        """Words of the whole."""
        return self.shape[1] * self.shape[2] * self.pitch


def stored_tensors(network: IntegerNetwork, config: EngineConfig) -> Mapping[str, Stored]:
    """Return how an engine stores each tensor of a network, in order of writing.

    Raises:
        IntarsiaError: its unit cannot.
    """
    bits = config.unit.stored_bits(network)
    result = {}
    for name, tensor in network.tensors.items():
        channels = config.act_bits // bits[name]
        result[name] = Stored(tensor, bits[name], channels, max(1, config.lanes // channels))
    return result
