# SPDX-License-Identifier: Apache-2.0
"""Parameters of the engine: declared here once; the top module's SystemVerilog parameters are set from them."""

from dataclasses import dataclass, field, replace

from intarsia.engine import layout
from intarsia.engine.units import UNITS, Superposition, Unit
from intarsia.engine.units.base import BYTE
from intarsia.errors import IntarsiaError
from intarsia.integer.layers import SHIFT_BITS

#: Words of the smallest memory.
LEAST_DEPTH = 16
WIDEST_ACCUMULATOR = 48
_ACCUMULATOR = 24
_REQUANTIZERS = 8
WIDEST_BIAS = 48
#: 32-bit words that the host can address in one memory.
REGION_WORDS = 1 << 20


def bus_words(bits: int) -> int:
    """32-bit words that a memory word of `bits` takes in the host's address map: a power of two."""
    return int(1 << (-(-bits // 32) - 1).bit_length())


@dataclass(frozen=True)
class EngineConfig:
    """One build of the engine.

    Attributes:
        unit: what a lane multiplies with.
        lanes: output channels per cycle (8 or 16).
        block: input channels per cycle, which is also the bytes of an activation word (8 or 16, at least `lanes`).
        scale_bits: bits of a requantization multiplier, unsigned (2 to 16).
        bias_bits: bits of a bias with rounding and storage offsets folded in, two's complement (16 to 48).
        residual_bits: bits of a residual's multiplier, unsigned (1 to 16), or 0: no layer can add a residual.
        residual_shift_bits: bits of the shift after a residual is added (4 or 5).
        acc_bits: bits of an accumulator, two's complement (16 to 48, and at least what the unit needs); 0 stands for
            24, or what the unit needs if that is more.
        acc_slots: output pixels whose accumulators a lane holds at once.
        tile_pixels: output pixels that share one fetch of a weight block (at most acc_slots).
        requant_lanes: lanes requantized a cycle (a divisor of lanes; of half of them if activations can have 16 bits);
            0 stands for 8, or what there can be if that is less.
        weight_parts: words of equal width that a weight block takes (1, 2 or 4): a block that serves several pixels
            need not come in one cycle, and a narrow memory is smaller than a wide one.
        act_banks: banks of the activation memory, which has one port each (1, 2 or 4).
        act_depth, weight_depth, program_depth: words of the memories (16 to 65536, and no more than the host can
            address: 2^20 32-bit words, each word filled up to a power of two of them).
    """

    unit: Unit = field(default_factory=Superposition)
    lanes: int = 16
    block: int = 16
    scale_bits: int = 6
    bias_bits: int = 40
    residual_bits: int = 6
    residual_shift_bits: int = 5
    acc_bits: int = 0
    acc_slots: int = 6
    tile_pixels: int = 4
    requant_lanes: int = 0
    weight_parts: int = 1
    act_banks: int = 4
    act_depth: int = 4096
    weight_depth: int = 1024
    program_depth: int = 512

    def __post_init__(self) -> None:
        self._check("lanes", self.lanes in (8, 16), "8 or 16")
        self._check("block", self.block in (8, 16) and self.block >= self.lanes, "8 or 16, and at least lanes")
        if clause := self.unit.check(self.lanes, self.block):
            raise IntarsiaError(f"engine parameter {clause}.")
        self._check("scale_bits", 2 <= self.scale_bits <= 16, "2 to 16")
        self._check("bias_bits", 16 <= self.bias_bits <= WIDEST_BIAS, f"16 to {WIDEST_BIAS}")
        self._check("residual_bits", 0 <= self.residual_bits <= 16, "0 to 16")
        self._check("residual_shift_bits", self.residual_shift_bits in (4, 5), "4 or 5")
        least = self.unit.least_acc_bits(self.block)
        if self.acc_bits == 0:
            object.__setattr__(self, "acc_bits", max(_ACCUMULATOR, least))
        self._check("acc_bits", least <= self.acc_bits <= WIDEST_ACCUMULATOR, f"{least} to {WIDEST_ACCUMULATOR}")
        self._check("acc_slots", 2 <= self.acc_slots <= 16, "2 to 16")
        self._check("tile_pixels", 1 <= self.tile_pixels <= min(self.acc_slots, 8), "1 to acc_slots, at most 8")
        most = self.lanes if self.unit.most_activation_bits == BYTE else self.lanes // 2
        if self.requant_lanes == 0:
            object.__setattr__(self, "requant_lanes", min(_REQUANTIZERS, most))
        divides = self.requant_lanes >= 1 and most % self.requant_lanes == 0
        self._check("requant_lanes", divides, f"a divisor of {most}")
        self._check("act_banks", self.act_banks in (1, 2, 4), "1, 2 or 4")
        room = self.weight_parts in (1, 2, 4) and self.weight_bits >= self.lane_param_bits
        self._check("weight_parts", room, f"1, 2 or 4, and leave words of {self.lane_param_bits} bits")
        for name, most in self.greatest_depths.items():
            self._check(name, LEAST_DEPTH <= getattr(self, name) <= most, f"{LEAST_DEPTH} to {most}")

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise IntarsiaError(f"engine parameter {name} is {getattr(self, name)}, it must be {expected}.")

    @property
    def greatest_depths(self) -> dict[str, int]:
        """Words that each memory can have at most: what addresses of 16 bits and the host can reach."""
        widths = {"act_depth": self.act_bits, "weight_depth": self.weight_bits, "program_depth": 32}
        return {name: min(65536, REGION_WORDS // bus_words(width)) for name, width in widths.items()}

    def deepest(self) -> "EngineConfig":
        """Return this engine with memories as deep as they can be."""
        depths = self.greatest_depths
        return replace(
            self,
            act_depth=depths["act_depth"],
            weight_depth=depths["weight_depth"],
            program_depth=depths["program_depth"],
        )

    @property
    def act_bits(self) -> int:
        """Width of an activation word."""
        return 8 * self.block

    @property
    def block_bits(self) -> int:
        """Bits of a weight block: those of every lane."""
        return self.unit.block_bits(self.lanes, self.block)

    @property
    def weight_bits(self) -> int:
        """Width of a word of the weight memory: a part of a block, some lanes' weights."""
        return self.block_bits // self.weight_parts

    @property
    def lane_param_bits(self) -> int:
        """Requantization of one lane: multiplier, shift, bias with rounding and offsets."""
        return self.scale_bits + SHIFT_BITS + self.bias_bits

    @property
    def params_per_word(self) -> int:
        """Lanes whose requantization a word of the weight memory holds."""
        return layout.params_per_word(self.weight_bits, self.lane_param_bits, self.lanes)

    @property
    def param_words(self) -> int:
        """Words of a tile's requantization."""
        return layout.param_words(self.weight_bits, self.lane_param_bits, self.lanes)

    @property
    def requant_cycles(self) -> int:
        """Cycles to requantize one output word."""
        return self.lanes // self.requant_lanes

    @property
    def window_columns(self) -> int:
        """Columns of four pixels in the sliding window."""
        return self.block // 4

    def module_parameters(self) -> dict[str, int]:
        """Parameters of the SystemVerilog top module `intarsia_engine`."""
        others = {name: value for unit in UNITS.values() for name, value in unit().parameters().items()}
        return {
            "Unit": self.unit.number,
            **others,  # without effect, but one value each, so that builds are found again
            **self.unit.parameters(),
            "Lanes": self.lanes,
            "Block": self.block,
            "ScaleBits": self.scale_bits,
            "BiasBits": self.bias_bits,
            "ResidualBits": self.residual_bits,
            "ResidualShiftBits": self.residual_shift_bits,
            "AccBits": self.acc_bits,
            "AccSlots": self.acc_slots,
            "RequantLanes": self.requant_lanes,
            "WeightParts": self.weight_parts,
            "ActBanks": self.act_banks,
            "ActDepth": self.act_depth,
            "WeightDepth": self.weight_depth,
            "ProgramDepth": self.program_depth,
        }
