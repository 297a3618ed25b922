# SPDX-License-Identifier: Apache-2.0
"""Where tensors lie in the arena: those that are never alive at the same time share memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ALIGNMENT = 4


@dataclass(frozen=True)
class Alive:
    """A block of memory: `size` bytes, needed from layer `first` to layer `last`."""

    name: str
    size: int
    first: int
    last: int


def allocate(blocks: Sequence[Alive]) -> tuple[Mapping[str, int], int]:
    """Return the byte offset of each block, and the bytes of all; the largest blocks choose first."""
    placed: list[tuple[Alive, int]] = []
    for block in sorted(blocks, key=lambda block: -block.size):
        offset = 0
        together = [(other, at) for other, at in placed if block.first <= other.last and other.first <= block.last]
        for other, at in sorted(together, key=lambda pair: pair[1]):
            if offset + block.size <= at:
                break
            offset = max(offset, _aligned(at + other.size))
        placed.append((block, offset))
    return {block.name: at for block, at in placed}, max((_aligned(at + block.size) for block, at in placed), default=0)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
