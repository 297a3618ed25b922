# SPDX-License-Identifier: Apache-2.0
"""The Sum-Together unit: multipliers of 16 × 16 bits that also add up N = 2 or 4 products of 16/N bits each.

In a layer, weights and activations have the same width, 16, 8 or 4 bits, and an activation word holds as many more
channels as they are narrower. The scheme is that of Mei et al., Sub-Word Parallel Precision-Scalable MAC Engines, 2019
(Sum-Together), and of Urbinati and Casu, Design-Space Exploration of Mixed-precision DNN Accelerators based on
Sum-Together Multipliers, 2023, who accelerate the three operators with it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from intarsia.engine.bits import bits_of
from intarsia.engine.units.base import Bits, ExecutionUnit, Ints, Operands, Planes
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork, WeightLayer, weight_matrix

#: Bits of an operand, and its narrower ones: N of 16/N bits.
WIDEST = 16
WIDTHS = (4, 8, 16)
#: How a multiplier is built, by the number in the RTL.
ARCHITECTURES = ("array", "quadrants")


@dataclass(frozen=True)
class SumTogether(ExecutionUnit):
    """Block/2 multipliers per lane, for the sum of a layer's planes, whatever those.

    Attributes:
        least_bits: of the narrowest operands: 4, 8, or 16, which is the fixed build. Narrower weights and activations
            are stored sign-extended.
        architecture: of a multiplier: `array`, one array of partial products, gated and with one operand's parts in
            reverse order, so that the wanted ones have the same weight; `quadrants`, smaller multipliers and an adder
            that is told which parts count.
    """

    least_bits: int = 4
    architecture: str = "array"

    name: ClassVar[str] = "sum_together"
    number: ClassVar[int] = 3
    lane: ClassVar[str] = "intarsia_lane_sum_together"
    array: ClassVar[str] = "intarsia_lane_array_sum_together"
    sources: ClassVar[tuple[str, ...]] = (
        "intarsia_accumulators.sv",
        "intarsia_quadrants.sv",
        "intarsia_multiplier_array.sv",
        "intarsia_multiplier_quadrants.sv",
        "intarsia_lane_sum_together.sv",
        "intarsia_lane_array_sum_together.sv",
    )
    common_window: ClassVar[bool] = False
    most_activation_bits: ClassVar[int] = WIDEST

    def __str__(self) -> str:
        if self.least_bits == WIDEST:
            return "int16"
        return f"Sum-Together int16 to int{self.least_bits}"

    def refusal(self, planes: Planes, block: int) -> str | None:
        """Return why no layer of such planes runs on the unit: any may."""
        return None

    def for_planes(self, planes: Iterable[Planes], lanes: int, block: int) -> Self:
        """Return the unit itself."""
        return self

    def stored_bits(self, network: IntegerNetwork) -> Mapping[str, int]:
        """Return the bits in which each tensor is stored: as many as its own values, the weights of all layers that
        read it, and a residual and what it is added to, have in common.

        Raises:
            IntarsiaError: some weights take more than 16 bits.
        """
        bits = {name: self._least(tensor.format.bits) for name, tensor in network.tensors.items()}
        for layer in network.weight_layers():
            bits[layer.inputs[0]] = max(bits[layer.inputs[0]], self._weight_bits(layer))
        pairs = [(layer.inputs[1], layer.output.name) for layer in network.layers if len(layer.inputs) > 1]
        while any(bits[one] != bits[other] for one, other in pairs):
            for one, other in pairs:
                bits[one] = bits[other] = max(bits[one], bits[other])
        return bits

    def operands(self, layer: WeightLayer) -> Operands:
        """Return the layer's matrix.

        Raises:
            IntarsiaError: it has weights that 16 bits do not hold.
        """
        self._weight_bits(layer)
        return Operands(weight_matrix(layer.planes).astype(np.int64)[None])

    def block_bits(self, lanes: int, block: int) -> int:
        """Return the bits of a block of all lanes: those of an activation word for each."""
        return 8 * block * lanes

    def least_acc_bits(self, block: int) -> int:
        """Return the bits of the narrowest accumulator: the sum of Block/2 products of 16 × 16 bits fits."""
        return 2 * WIDEST + block.bit_length() - 2

    def packed(self, dense: Ints, slots: Ints, block: int) -> Bits:
        """Return the bits of blocks; there are no slots."""
        width = 8 * block // dense.shape[2]
        return bits_of(dense, width, signed=True).reshape(len(dense), -1)

    def check(self, lanes: int, block: int) -> str | None:
        """Return what is wrong with its parameters."""
        if self.least_bits not in WIDTHS:
            return f"least_bits is {self.least_bits}, it must be 4, 8 or 16"
        if self.architecture not in ARCHITECTURES:
            return f"architecture is {self.architecture!r}, it must be {' or '.join(ARCHITECTURES)}"
        return None

    def parameters(self) -> dict[str, int]:
        """Return its parameters by their names in the RTL."""
        return {"LeastBits": self.least_bits, "Quadrants": ARCHITECTURES.index(self.architecture)}

    def _least(self, bits: int) -> int:
        """Return the narrowest width of operands that has so many bits."""
        return next(width for width in WIDTHS if width >= max(bits, self.least_bits))

    def _weight_bits(self, layer: WeightLayer) -> int:
        matrix = weight_matrix(layer.planes)
        bits = max(-int(matrix.min()) - 1, int(matrix.max()), 0).bit_length() + 1
        if bits > WIDEST:
            raise IntarsiaError(
                f"layer {layer.output.name}: its weights reach {int(np.abs(matrix).max())}, and a Sum-Together "
                f"unit has {WIDEST} bits at most; quantize this layer to fewer."
            )
        return self._least(bits)
