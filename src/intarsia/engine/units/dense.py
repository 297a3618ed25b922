# SPDX-License-Identifier: Apache-2.0
"""The dense unit: one multiplier for each input of a block, for weights of one width."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from intarsia.engine.bits import bits_of
from intarsia.engine.units.base import LEAST_ACCUMULATOR, Bits, ExecutionUnit, Ints, Operands, Planes
from intarsia.errors import IntarsiaError
from intarsia.integer import WeightLayer, weight_matrix
from intarsia.integer.formats import greatest_tie

MOST_BITS = 8
_LEAST_BITS = 2


@dataclass(frozen=True)
class Dense:
    """Weights of `bits` bits, two's complement (2 to 8), in one pass: the sum of a layer's planes, whatever those."""

    bits: int = MOST_BITS

    name: ClassVar[str] = "dense"
    number: ClassVar[int] = 1
    lane: ClassVar[str] = "intarsia_lane_dense"

    def __str__(self) -> str:
        return f"int{self.bits}"

    def refusal(self, planes: Planes, block: int) -> str | None:
        """Return why no layer of such planes runs on the unit: any may, if the sum of its planes is narrow enough."""
        return None

    def for_planes(self, planes: Iterable[Planes], block: int) -> Self:
        """Return the unit with as many bits as the sums of planes may need; of a mix, as many as there are."""
        return type(self)(max((_bits_of(each) for each in planes), default=_LEAST_BITS))

    def operands(self, layer: WeightLayer) -> Operands:
        """Return the layer's matrix.

        Raises:
            IntarsiaError: it has weights that 8 bits do not hold.
        """
        matrix = weight_matrix(layer.planes).astype(np.int64)
        if _bits_for(matrix) > MOST_BITS:
            raise IntarsiaError(
                f"layer {layer.output.name}: its weights reach {int(np.abs(matrix).max())}, and a dense unit has "
                f"{MOST_BITS} bits at most; quantize this layer to fewer."
            )
        return Operands(matrix[None])

    def fitted(self, layers: Iterable[tuple[str, Operands, int]]) -> Self:
        """Return the unit with as many bits as the widest layer needs."""
        return type(self)(max((_bits_for(operands.passes) for _, operands, _ in layers), default=_LEAST_BITS))

    def holds(self, other: ExecutionUnit) -> bool:
        """Whether it has as many bits."""
        return isinstance(other, Dense) and self.bits >= other.bits

    def has_room(self, sparse_weights: int) -> bool:
        """Whether a lane has slots for so many sparse weights of a block: there is no sparse plane."""
        return sparse_weights == 0

    def block_bits(self, block: int) -> int:
        """Return the bits of a block of one lane."""
        return block * self.bits

    def least_acc_bits(self, block: int) -> int:
        """Return the bits of the narrowest accumulator: the sum of a block of products fits."""
        return max(LEAST_ACCUMULATOR, 8 + self.bits + block.bit_length() - 1)

    def packed(self, dense: Ints, slots: Ints) -> Bits:
        """Return the bits of blocks; there are no slots."""
        return bits_of(dense, self.bits, signed=True).reshape(*dense.shape[:2], -1)

    def check(self) -> str | None:
        """Return what is wrong with its parameters."""
        return None if _LEAST_BITS <= self.bits <= MOST_BITS else f"bits is {self.bits}, it must be 2 to 8"

    def parameters(self) -> dict[str, int]:
        """Return its parameters by their names in the RTL."""
        return {"WeightBits": self.bits}


def _bits_of(planes: Planes) -> int:
    if planes.mix:
        return MOST_BITS
    dense = planes.dense.limit if planes.dense else 0
    sparse = planes.sparse.limit if planes.sparse else 0
    greatest = (dense << (greatest_tie(planes.sparse) if planes.sparse and dense else 0)) + sparse
    return min(MOST_BITS, max(_LEAST_BITS, greatest.bit_length() + 1))


def _bits_for(values: Ints) -> int:
    lowest, highest = int(values.min(initial=0)), int(values.max(initial=0))
    return max(_LEAST_BITS, max(-lowest - 1, highest).bit_length() + 1)
