# SPDX-License-Identifier: Apache-2.0
"""Execution units in the same shell, and what each costs in area: synthesized once, then read from the cache.

The shell is a lane array: `lanes` output channels, each of which multiplies a block of `block` activations of 8 bits a
cycle, with the registers of its weights, their unpacking, the choice of activations and the accumulators.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from intarsia.engine.units import Dense, Superposition
from intarsia.errors import IntarsiaError
from intarsia.integer.formats import trit_bits
from intarsia.synthesize.area import liberty_area, transistors
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.yosys import Design

Kind = Literal["superposition", "dense"]
Positions = Literal["own", "shared", "fixed"]

SUPERPOSITION_TOP = "intarsia_lane_array"
DENSE_TOP = "intarsia_lane_array_dense"

_SHELL = ("intarsia_operands.sv", "intarsia_accumulators.sv")
#: The files that each array is made of: a change elsewhere in the engine leaves its kept areas valid.
_FILES = {
    SUPERPOSITION_TOP: (*_SHELL, "intarsia_trits.sv", "intarsia_lane.sv", "intarsia_lane_array.sv"),
    DENSE_TOP: (*_SHELL, "intarsia_lane_dense.sv", "intarsia_lane_array_dense.sv"),
}
#: The values of the array's parameter `Positions`.
_POSITIONS: dict[Positions, int] = {"own": 0, "shared": 1, "fixed": 2}


@dataclass(frozen=True)
class ExecutionUnit:
    """What the lanes of an array multiply with; equal units are equal values.

    Attributes:
        kind: `superposition`, a ternary plane with or without sparse slots, or `dense`, one multiplier an activation.
        slots: sparse weights of a lane in a block (0 to 4); 0 in a dense unit.
        slot_bits: bits of a sparse weight, two's complement (2 to 8); None without slots.
        positions: where the sparse weights lie in the block: `own` to each lane, `shared` by all lanes (not in
            depthwise layers), or `fixed` in hardware; None without slots.
        plane_shift_bits: bits of the ternary plane's binary shift against the sparse plane (0 to 3): 2 for shifts of 0
            to 3; 0 without slots.
        weight_bits: bits of a dense unit's weights, two's complement (2 to 8); None in a superposition.
        digits: whether these may be digits of wider weights; only in a dense unit.
        lanes: output channels per cycle (8 or 16).
        block: activations of a block (8 or 16); it may differ from `lanes`.
        acc_bits: bits of an accumulator (16 to 32); a dense unit needs more.
        acc_slots: output pixels whose accumulators a lane holds (2 to 16).

    Raises:
        IntarsiaError: a value is out of range or has no meaning in this kind of unit.
    """

    kind: Kind
    slots: int = 0
    slot_bits: int | None = None
    positions: Positions | None = None
    plane_shift_bits: int = 0
    weight_bits: int | None = None
    digits: bool = False
    lanes: int = 16
    block: int = 16
    acc_bits: int = 24
    acc_slots: int = 6

    def __post_init__(self) -> None:
        self._check("kind", self.kind in get_args(Kind), " or ".join(get_args(Kind)))
        self._check("lanes", self.lanes in (8, 16), "8 or 16")
        self._check("block", self.block in (8, 16), "8 or 16")
        if self.kind == "dense":
            self._check("slots", self.slots == 0, "0 in a dense unit")
            self._check("weight_bits", self.weight_bits in range(2, 9), "2 to 8 in a dense unit")
        else:
            self._check("slots", self.slots in range(5), "0 to 4")
            self._check("weight_bits", self.weight_bits is None, "None in a superposition, which is ternary")
            self._check("digits", not self.digits, "False in a superposition, whose digits are ternary")
        if self.slots:
            self._check("slot_bits", self.slot_bits in range(2, 9), "2 to 8")
            self._check("positions", self.positions in _POSITIONS, ", ".join(_POSITIONS))
            self._check("plane_shift_bits", self.plane_shift_bits in range(4), "0 to 3")
        else:
            self._check("slot_bits", self.slot_bits is None, "None without slots")
            self._check("positions", self.positions is None, "None without slots")
            self._check("plane_shift_bits", self.plane_shift_bits == 0, "0 without slots")
        unit = Superposition() if self.weight_bits is None else Dense(self.weight_bits)
        least = unit.least_acc_bits(self.block)
        self._check("acc_bits", self.acc_bits in range(least, 33), f"{least} to 32")
        self._check("acc_slots", self.acc_slots in range(2, 17), "2 to 16")

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise IntarsiaError(f"{name} of an execution unit is {getattr(self, name)!r}, it must be {expected}.")

    def __str__(self) -> str:
        text = f"int{self.weight_bits}{' digits' * self.digits}" if self.kind == "dense" else "ternary"
        if self.slots:
            text += f" + {self.slots} × int{self.slot_bits} at {self.positions} positions"
            text += f", shifts of {self.plane_shift_bits} bits"
        return f"{text}, {self.lanes} lanes of {self.block}, {self.acc_slots} pixels of {self.acc_bits} bits"

    @property
    def dense_bits(self) -> int:
        """Bits of the dense plane that one block of all lanes takes in memory: values, or packed trits."""
        if self.weight_bits is not None:
            return self.lanes * self.block * self.weight_bits
        return self.lanes * trit_bits(self.block)

    @property
    def word_bits(self) -> int:
        """Bits of weights that one block of all lanes takes in memory: those of the dense plane, sparse values and
        indices.
        """
        index_bits = self.slots * (self.block.bit_length() - 1)
        indices = {"own": self.lanes * index_bits, "shared": index_bits}.get(self.positions or "", 0)
        return self.dense_bits + self.lanes * self.slots * (self.slot_bits or 0) + indices

    def design(self, sources: Sequence[Path]) -> Design:
        """Return the lane array with this unit, as a design of the few files it needs.

        Args:
            sources: the engine's SystemVerilog files (`intarsia.engine.sources.write_sources`).

        Raises:
            IntarsiaError: one of the files is not among them.
        """
        parameters = {"Lanes": self.lanes, "Block": self.block, "AccBits": self.acc_bits, "AccSlots": self.acc_slots}
        if self.weight_bits is not None:
            parameters |= {"WeightBits": self.weight_bits, "Digits": int(self.digits)}
            return Design(_select(DENSE_TOP, sources), DENSE_TOP, parameters)
        # Without slots, SlotBits and Positions are without effect; one value each, so that the results are found again.
        parameters |= {"Slots": self.slots, "SlotBits": self.slot_bits or 2, "PlaneShiftBits": self.plane_shift_bits}
        parameters["Positions"] = _POSITIONS[self.positions or "own"]
        return Design(_select(SUPERPOSITION_TOP, sources), SUPERPOSITION_TOP, parameters)


@dataclass(frozen=True)
class UnitArea:
    """Area of a lane array with one execution unit.

    Attributes:
        unit: the execution unit.
        transistors: as static CMOS cells.
        flip_flops: among them.
        kge: in thousands of gate equivalents, at a relaxed clock; None without a PDK.
        path_ns: slowest combinational path within one module in nanoseconds, without wires; None without a PDK. What
            lies in two modules counts once in each: the choice of activations, with the gather of shared positions,
            before the lane.
    """

    unit: ExecutionUnit
    transistors: float
    flip_flops: int
    kge: float | None = None
    path_ns: float | None = None


def characterize(
    units: Sequence[ExecutionUnit],
    sources: Sequence[Path],
    *,
    pdk: Pdk | None = None,
    cache: Path | None = None,
    timeout_s: float = 900.0,
) -> tuple[UnitArea, ...]:
    """Synthesize each unit's lane array by the scripts that measure the engine.

    Args:
        units: what to characterize; equal units are synthesized once.
        sources: the engine's SystemVerilog files (`intarsia.engine.sources.write_sources`).
        pdk: libraries for the figures in kGE and the path; None leaves them out.
        cache: folder of kept results, by the content of the arrays' own sources; None keeps none.
        timeout_s: time limit of each Yosys run in seconds.

    Returns:
        The areas, in the order of the units.

    Raises:
        IntarsiaError: pyosys or a source is missing, or the time is over; the message names the unit.
    """
    found: dict[ExecutionUnit, UnitArea] = {}
    for unit in units:
        if unit not in found:
            try:
                found[unit] = _characterize(unit, sources, pdk, cache, timeout_s)
            except IntarsiaError as error:
                raise IntarsiaError(f"cannot characterize {unit}: {error}") from error
    return tuple(found[unit] for unit in units)


def _characterize(
    unit: ExecutionUnit, sources: Sequence[Path], pdk: Pdk | None, cache: Path | None, timeout_s: float
) -> UnitArea:
    design = unit.design(sources)
    counted = transistors(design, cache=cache, timeout_s=timeout_s)
    gates = liberty_area(design, pdk, cache=cache, timeout_s=timeout_s) if pdk else None
    path_ns = gates.path.delay_ps / 1000 if gates and gates.path else None
    return UnitArea(unit, counted.total, counted.flip_flops, gates.total if gates else None, path_ns)


def _select(top: str, sources: Sequence[Path]) -> tuple[Path, ...]:
    """Return the files that an array is made of."""
    paths = {source.name: source for source in sources}
    for name in _FILES[top]:
        if name not in paths:
            raise IntarsiaError(f"the source file {name} is missing; pass all of the engine's sources.")
    return tuple(paths[name] for name in _FILES[top])
