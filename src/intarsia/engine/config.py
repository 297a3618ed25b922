# SPDX-License-Identifier: Apache-2.0
"""Parameters of the engine: declared here once; the top module's SystemVerilog parameters are set from them."""

import math
from dataclasses import dataclass, replace

from intarsia.errors import IntarsiaError
from intarsia.integer.formats import trit_bits
from intarsia.integer.layers import SHIFT_BITS

#: A bias with rounding and storage offsets folded in (intarsia_requantizer); the compiler refuses a greater one.
BIAS_BITS = 40
#: Words of the smallest memory.
LEAST_DEPTH = 16
MOST_SLOTS = 4
MOST_PLANE_SHIFT_BITS = 3
MOST_ACTIVATION_BITS = 8
WIDEST_ACCUMULATOR = 32
#: 32-bit words that the host can address in one memory.
REGION_WORDS = 1 << 20


def bus_words(bits: int) -> int:
    """32-bit words that a memory word of `bits` takes in the host's address map: a power of two."""
    return int(1 << (-(-bits // 32) - 1).bit_length())


@dataclass(frozen=True)
class EngineConfig:
    """One build of the engine.

    Attributes:
        lanes: output channels per cycle, and input channels per block (8 or 16); an activation word has as many bytes.
        slots: sparse high-precision weights of a lane in a block (1 to 4).
        slot_bits: bits of a sparse weight, two's complement (2 to 8).
        plane_shift_bits: bits of the binary shift of a dense plane with respect to the sparse one (0 to 3).
        scale_bits: bits of a requantization multiplier, unsigned (2 to 16).
        acc_bits: bits of an accumulator, two's complement (16 to 32).
        acc_slots: output pixels whose accumulators a lane holds at once.
        tile_pixels: output pixels that share one fetch of a weight word (at most acc_slots).
        requant_lanes: lanes requantized a cycle (a divisor of lanes).
        act_depth, dense_depth, sparse_depth, param_depth, program_depth: words of the memories (16 to 65536, and no
            more than the host can address: 2^20 32-bit words, each word filled up to a power of two of them).
    """

    lanes: int = 16
    slots: int = 1
    slot_bits: int = 8
    plane_shift_bits: int = 3
    scale_bits: int = 6
    acc_bits: int = 24
    acc_slots: int = 6
    tile_pixels: int = 4
    requant_lanes: int = 8
    act_depth: int = 4096
    dense_depth: int = 1024
    sparse_depth: int = 1024
    param_depth: int = 128
    program_depth: int = 512

    def __post_init__(self) -> None:
        self._check("lanes", self.lanes in (8, 16), "8 or 16")
        self._check("slots", 1 <= self.slots <= MOST_SLOTS, f"1 to {MOST_SLOTS}")
        self._check("slot_bits", 2 <= self.slot_bits <= 8, "2 to 8")
        self._check("plane_shift_bits", 0 <= self.plane_shift_bits <= MOST_PLANE_SHIFT_BITS, "0 to 3")
        self._check("scale_bits", 2 <= self.scale_bits <= 16, "2 to 16")
        self._check("acc_bits", 16 <= self.acc_bits <= WIDEST_ACCUMULATOR, f"16 to {WIDEST_ACCUMULATOR}")
        self._check("acc_slots", 2 <= self.acc_slots <= 16, "2 to 16")
        self._check("tile_pixels", 1 <= self.tile_pixels <= min(self.acc_slots, 8), "1 to acc_slots, at most 8")
        divides = self.requant_lanes >= 1 and self.lanes % self.requant_lanes == 0
        self._check("requant_lanes", divides, f"a divisor of {self.lanes}")
        for name, most in self.greatest_depths.items():
            self._check(name, LEAST_DEPTH <= getattr(self, name) <= most, f"{LEAST_DEPTH} to {most}")

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise IntarsiaError(f"engine parameter {name} is {getattr(self, name)}, it must be {expected}.")

    @property
    def greatest_depths(self) -> dict[str, int]:
        """Words that each memory can have at most: what addresses of 16 bits and the host can reach."""
        widths = {
            "act_depth": self.act_bits,
            "dense_depth": self.dense_bits,
            "sparse_depth": self.sparse_bits,
            "param_depth": self.param_bits,
            "program_depth": 32,
        }
        return {name: min(65536, REGION_WORDS // bus_words(width)) for name, width in widths.items()}

    def deepest(self) -> "EngineConfig":
        """Return this engine with memories as deep as they can be."""
        return replace(self, **self.greatest_depths)

    @property
    def index_bits(self) -> int:
        """Bits of a sparse weight's position in its block."""
        return int(math.log2(self.lanes))

    @property
    def act_bits(self) -> int:
        """Width of an activation word."""
        return 8 * self.lanes

    @property
    def lane_trit_bits(self) -> int:
        """Packed trits of one lane's block."""
        return trit_bits(self.lanes)

    @property
    def dense_bits(self) -> int:
        """Width of a word of the dense plane: one block of every lane."""
        return self.lanes * self.lane_trit_bits

    @property
    def sparse_bits(self) -> int:
        """Width of a word of the sparse plane: the slots of every lane."""
        return self.lanes * self.slots * (self.slot_bits + self.index_bits)

    @property
    def lane_param_bits(self) -> int:
        """Requantization of one lane: two multipliers, shift, bias with rounding and offsets."""
        return 2 * self.scale_bits + SHIFT_BITS + BIAS_BITS

    @property
    def param_bits(self) -> int:
        """Width of a requantization word: `requant_lanes` lanes."""
        return self.requant_lanes * self.lane_param_bits

    @property
    def requant_cycles(self) -> int:
        """Cycles to requantize one output word."""
        return self.lanes // self.requant_lanes

    @property
    def window_columns(self) -> int:
        """Columns of four pixels in the sliding window."""
        return self.lanes // 4

    def module_parameters(self) -> dict[str, int]:
        """Parameters of the SystemVerilog top module `intarsia_engine`."""
        return {
            "Lanes": self.lanes,
            "Slots": self.slots,
            "SlotBits": self.slot_bits,
            "ScaleBits": self.scale_bits,
            "AccBits": self.acc_bits,
            "AccSlots": self.acc_slots,
            "RequantLanes": self.requant_lanes,
            "ActDepth": self.act_depth,
            "DenseDepth": self.dense_depth,
            "SparseDepth": self.sparse_depth,
            "ParamDepth": self.param_depth,
            "ProgramDepth": self.program_depth,
        }
