# SPDX-License-Identifier: Apache-2.0
"""The dense unit: one multiplier for each input of a block, for weights of one width, or for digits of wider ones."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from intarsia.engine.bits import binary_digits, bits_of
from intarsia.engine.units.base import (
    ARRAY_SOURCES,
    LEAST_ACCUMULATOR,
    Bits,
    ExecutionUnit,
    Ints,
    Occupied,
    Operands,
    Planes,
)
from intarsia.errors import IntarsiaError
from intarsia.integer import WeightLayer, weight_matrix
from intarsia.integer.formats import greatest_tie

MOST_BITS = 8
LEAST_BITS = 2


@dataclass(frozen=True)
class Dense(ExecutionUnit):
    """The sum of a layer's planes, whatever those, as weights of `bits` bits, two's complement.

    Attributes:
        bits: of a multiplier's weight (2 to 8).
        digits: whether wider weights run too, in passes: as digits to base 2^bits, the most significant first. A layer
            takes as many passes as its own weights need; two digits of 4 bits are −136 to 119.
    """

    bits: int = MOST_BITS
    digits: bool = False

    name: ClassVar[str] = "dense"
    number: ClassVar[int] = 1
    lane: ClassVar[str] = "intarsia_lane_dense"
    array: ClassVar[str] = "intarsia_lane_array_dense"
    sources: ClassVar[tuple[str, ...]] = (*ARRAY_SOURCES, "intarsia_lane_dense.sv", "intarsia_lane_array_dense.sv")

    def __str__(self) -> str:
        return f"int{self.bits} digits" if self.digits else f"int{self.bits}"

    def refusal(self, planes: Planes, block: int) -> str | None:
        """Return why no layer of such planes runs on the unit: any may, if the sum of its planes is narrow enough, or
        in passes.
        """
        return None

    def for_planes(self, planes: Iterable[Planes], lanes: int, block: int) -> Self:
        """Return the unit with as many bits as the sums of planes may need; of a mix, as many as there are."""
        return self._of(max((_bits_of(each) for each in planes), default=LEAST_BITS))

    def operands(self, layer: WeightLayer) -> Operands:
        """Return the layer's matrix, or the digits of it where it is wider than the multipliers of a unit of digits.

        Raises:
            IntarsiaError: it has weights that 8 bits do not hold, and there are no digits.
        """
        matrix = weight_matrix(layer.planes).astype(np.int64)
        if self.digits and _bits_for(matrix) > self.bits:
            return Operands(binary_digits(matrix, self.bits), radix=1 << self.bits)
        if _bits_for(matrix) > MOST_BITS:
            raise IntarsiaError(
                f"layer {layer.output.name}: its weights reach {int(np.abs(matrix).max())}, and a dense unit has "
                f"{MOST_BITS} bits at most; quantize this layer to fewer, or choose a unit that runs wider weights in "
                "passes: dense8, or mixed_rows."
            )
        return Operands(matrix[None])

    def fitted(self, layers: Iterable[tuple[str, Operands, Occupied]]) -> Self:
        """Return the unit with as many bits as the widest layer needs; if it has digits, it keeps its own for them."""
        needs = [self.bits + 1 if len(each.passes) > 1 else _bits_for(each.passes) for _, each, _ in layers]
        return self._of(max(needs, default=LEAST_BITS))

    def holds(self, other: ExecutionUnit) -> bool:
        """Whether it has as many bits, and digits of the same if the other has any."""
        if not isinstance(other, Dense):
            return False
        return self == other if other.digits else self.bits >= other.bits

    def lacks(self, other: ExecutionUnit) -> dict[str, tuple[object, object]]:
        """Return how many bits it has too few."""
        if self.holds(other) or not isinstance(other, Dense):
            return {}
        return {"bits": (other.bits, self.bits)} if other.bits > self.bits else {"digits": (other.digits, self.digits)}

    def joined(self, other: ExecutionUnit) -> Self:
        """Return the least unit that holds both."""
        if self.holds(other) or not isinstance(other, Dense):
            return self
        return replace(self, bits=max(self.bits, other.bits), digits=self.digits or other.digits)

    def block_bits(self, lanes: int, block: int) -> int:
        """Return the bits of a block of all lanes."""
        return lanes * block * self.bits

    def least_acc_bits(self, block: int) -> int:
        """Return the bits of the narrowest accumulator: the sum of a block of products fits."""
        return max(LEAST_ACCUMULATOR, 8 + self.bits + block.bit_length() - 1)

    def packed(self, dense: Ints, slots: Ints, block: int) -> Bits:
        """Return the bits of blocks; there are no slots."""
        return bits_of(dense, self.bits, signed=True).reshape(len(dense), -1)

    def check(self, lanes: int, block: int) -> str | None:
        """Return what is wrong with its parameters."""
        return None if LEAST_BITS <= self.bits <= MOST_BITS else f"bits is {self.bits}, it must be 2 to 8"

    def parameters(self) -> dict[str, int]:
        """Return its parameters by their names in the RTL's top module."""
        return {"WeightBits": self.bits, "WeightDigits": int(self.digits)}

    def array_parameters(self) -> dict[str, int]:
        """Return its parameters by their names in `array`."""
        return {"WeightBits": self.bits, "Digits": int(self.digits)}

    def _of(self, bits: int) -> Self:
        """Return the unit for weights of so many bits."""
        return self if self.digits and bits > self.bits else type(self)(bits)


def _bits_of(planes: Planes) -> int:
    if planes.mix:
        return MOST_BITS
    dense = planes.dense.limit if planes.dense else 0
    sparse = planes.sparse.limit if planes.sparse else 0
    greatest = (dense << (greatest_tie(planes.sparse) if planes.sparse and dense else 0)) + sparse
    return min(MOST_BITS, max(LEAST_BITS, greatest.bit_length() + 1))


def _bits_for(values: Ints) -> int:
    lowest, highest = int(values.min(initial=0)), int(values.max(initial=0))
    return max(LEAST_BITS, max(-lowest - 1, highest).bit_length() + 1)
