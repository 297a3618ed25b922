# SPDX-License-Identifier: Apache-2.0
"""The unit of mixed rows: lanes with weights of different width, for layers whose output channels differ in format."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from intarsia.engine.arrangement import Arrangement, reordered, with_narrow_rows
from intarsia.engine.bits import binary_digits, bits_of
from intarsia.engine.rows import WIDTHS, best_lanes, channel_orders
from intarsia.engine.units.base import (
    ARRAY_SOURCES,
    LEAST_ACCUMULATOR,
    Bits,
    ExecutionUnit,
    Ints,
    Operands,
    Planes,
)
from intarsia.integer import IntegerNetwork, WeightLayer, weight_matrix


@dataclass(frozen=True)
class MixedRows(ExecutionUnit):
    """The sum of a layer's planes, whatever those, each output channel on a lane of its tile: first those of 8 bits,
    then those of 4, then those of 2, two's complement.

    Channels are put in such an order that each finds a lane that is wide enough. Where a layer has more wide channels
    than there are wide lanes, it runs in passes: each lane takes digits to base 2^n of its own n bits, so that lanes
    that are wide enough are idle but in the last pass. So every layer runs.

    No lane has a single bit, for −1 and 1: pools, depthwise layers over whole words and blocks that are filled up need
    a weight of 0. Binary weights run in lanes of 2 bits.

    Attributes:
        lanes8, lanes4, lanes2: lanes with weights of so many bits; together those of the engine.
    """

    lanes8: int = 2
    lanes4: int = 0
    lanes2: int = 14

    name: ClassVar[str] = "mixed_rows"
    number: ClassVar[int] = 2
    lane: ClassVar[str] = "intarsia_lane_dense"
    array: ClassVar[str] = "intarsia_lane_array_mixed"
    sources: ClassVar[tuple[str, ...]] = (*ARRAY_SOURCES, "intarsia_lane_dense.sv", "intarsia_lane_array_mixed.sv")

    def __str__(self) -> str:
        counts = zip((self.lanes8, self.lanes4, self.lanes2), WIDTHS, strict=True)
        return " + ".join(f"{count} × int{bits}" for count, bits in counts if count) + " rows"

    @classmethod
    def usual(cls, lanes: int) -> Self:
        """Return the unit of an engine of so many lanes before it is fitted to a network: every eighth has 8 bits."""
        return cls(lanes // 8, 0, lanes - lanes // 8)

    @property
    def widths(self) -> tuple[int, ...]:
        """Bits of the weights of each lane."""
        return (8,) * self.lanes8 + (4,) * self.lanes4 + (2,) * self.lanes2

    def refusal(self, planes: Planes, block: int) -> str | None:
        """Return why no layer of such planes runs on the unit: all do."""
        return None

    def for_planes(self, planes: Iterable[Planes], lanes: int, block: int) -> Self:
        """Return the unit itself: it holds any planes, and which lanes suit them only a network says."""
        return self

    def for_network(self, network: IntegerNetwork, block: int) -> Self:
        """Return the unit with the lanes that suit a network, in which wide channels may still move."""
        return type(self)(*best_lanes(with_narrow_rows(network), len(self.widths), block))

    def arranged(self, network: IntegerNetwork, block: int) -> Arrangement:
        """Return the network with channels in the order of its lanes."""
        narrow = with_narrow_rows(network)
        orders = channel_orders(narrow, self.widths, block)
        return Arrangement(reordered(narrow, orders), orders)

    def operands(self, layer: WeightLayer) -> Operands:
        """Return the digits of each channel for its lane: channel p is computed by lane p mod lanes."""
        matrix = weight_matrix(layer.planes).astype(np.int64)
        widths = np.resize(np.array(self.widths), len(matrix))
        digits = {bits: binary_digits(matrix[widths == bits], bits) for bits in sorted(set(widths.tolist()))}
        passes = np.zeros((max(map(len, digits.values())), *matrix.shape), np.int64)
        for bits, values in digits.items():
            passes[-len(values) :, widths == bits] = values
        return Operands(passes, radix=1 << widths)

    def block_bits(self, lanes: int, block: int) -> int:
        """Return the bits of a block of all lanes."""
        return block * sum(self.widths)

    def least_acc_bits(self, block: int) -> int:
        """Return the bits of the narrowest accumulator: the sum of a block of products of the widest lane fits."""
        return max(LEAST_ACCUMULATOR, 8 + max(self.widths) + block.bit_length() - 1)

    def packed(self, dense: Ints, slots: Ints, block: int) -> Bits:
        """Return the bits of blocks, lane by lane; there are no slots."""
        lanes = [
            bits_of(dense[:, lane], bits, signed=True).reshape(len(dense), -1) for lane, bits in enumerate(self.widths)
        ]
        return np.concatenate(lanes, axis=1)

    def check(self, lanes: int, block: int) -> str | None:
        """Return what is wrong with its parameters."""
        counts = {"lanes8": self.lanes8, "lanes4": self.lanes4, "lanes2": self.lanes2}
        for name, count in counts.items():
            if count < 0:
                return f"{name} is {count}, it must be at least 0"
        if sum(counts.values()) != lanes:
            return f"lanes is {lanes}, it must be the sum of lanes8, lanes4 and lanes2, {sum(counts.values())}"
        return None

    def parameters(self) -> dict[str, int]:
        """Return its parameters by their names in the RTL."""
        return {"Lanes8": self.lanes8, "Lanes4": self.lanes4}

    def lane_parameters(self) -> dict[str, int]:
        """Return the parameters of its widest lane."""
        return {"WeightBits": max(self.widths), "Digits": 1}
