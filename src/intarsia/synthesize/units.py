# SPDX-License-Identifier: Apache-2.0
"""Execution units in the same shell, and what each costs in area: synthesized once, then read from the cache.

The shell is a lane array: `lanes` output channels, each of which multiplies a block of `block` activations of 8 bits a
cycle, with the registers of its weights, their unpacking, the choice of activations and the accumulators. Its module,
the files of it and what the unit sets in it are the unit's own (`intarsia.engine.units`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from intarsia.engine.units import Unit
from intarsia.errors import IntarsiaError
from intarsia.synthesize.area import liberty_area, transistors
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.yosys import Design


@dataclass(frozen=True)
class LaneArray:
    """An execution unit in the shell; equal arrays are equal values.

    Attributes:
        unit: what the lanes multiply with.
        lanes: output channels per cycle (8 or 16).
        block: activations of a block (8 or 16); it may differ from `lanes`.
        acc_bits: bits of an accumulator (16 to 48, and at least what the unit needs).
        acc_slots: output pixels whose accumulators a lane holds (2 to 16).

    Raises:
        IntarsiaError: a value is out of range.
    """

    unit: Unit
    lanes: int = 16
    block: int = 16
    acc_bits: int = 24
    acc_slots: int = 6

    def __post_init__(self) -> None:
        self._check("lanes", self.lanes in (8, 16), "8 or 16")
        self._check("block", self.block in (8, 16), "8 or 16")
        if clause := self.unit.check(self.lanes, self.block):
            raise IntarsiaError(f"of an execution unit, {clause}.")
        least = self.unit.least_acc_bits(self.block)
        self._check("acc_bits", self.acc_bits in range(least, 49), f"{least} to 48")
        self._check("acc_slots", self.acc_slots in range(2, 17), "2 to 16")

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise IntarsiaError(f"{name} of a lane array is {getattr(self, name)!r}, it must be {expected}.")

    def __str__(self) -> str:
        return f"{self.unit}, {self.lanes} lanes of {self.block}, {self.acc_slots} pixels of {self.acc_bits} bits"

    @property
    def word_bits(self) -> int:
        """Bits of weights that one block of all lanes takes in memory, indices included."""
        return self.unit.block_bits(self.lanes, self.block)

    def design(self, sources: Sequence[Path]) -> Design:
        """Return the array as a design of the few files it needs: a change elsewhere leaves its kept areas valid.

        Args:
            sources: the engine's SystemVerilog files (`intarsia.engine.sources.write_sources`).

        Raises:
            IntarsiaError: one of the files is not among them.
        """
        shell = {"Lanes": self.lanes, "Block": self.block, "AccBits": self.acc_bits, "AccSlots": self.acc_slots}
        files = _select(self.unit.sources, sources)
        return Design(files, self.unit.array, shell | self.unit.array_parameters())


@dataclass(frozen=True)
class UnitArea:
    """Area of a lane array with one execution unit.

    Attributes:
        array: the lane array.
        transistors: as static CMOS cells.
        flip_flops: among them.
        kge: in thousands of gate equivalents, at a relaxed clock; None without a PDK.
        path_ns: slowest combinational path within one module in nanoseconds, without wires; None without a PDK. What
            lies in two modules counts once in each: the choice of activations, with the gather of shared positions,
            before the lane.
    """

    array: LaneArray
    transistors: float
    flip_flops: int
    kge: float | None = None
    path_ns: float | None = None


def characterize(
    arrays: Sequence[LaneArray],
    sources: Sequence[Path],
    *,
    pdk: Pdk | None = None,
    cache: Path | None = None,
    timeout_s: float = 900.0,
) -> tuple[UnitArea, ...]:
    """Synthesize lane arrays by the scripts that measure the engine.

    Args:
        arrays: what to characterize; equal arrays are synthesized once.
        sources: the engine's SystemVerilog files (`intarsia.engine.sources.write_sources`).
        pdk: libraries for the figures in kGE and the path; None leaves them out.
        cache: folder of kept results, by the content of the arrays' own sources; None keeps none.
        timeout_s: time limit of each Yosys run in seconds.

    Returns:
        The areas, in the order of the arrays.

    Raises:
        IntarsiaError: pyosys or a source is missing, or the time is over; the message names the array.
    """
    found: dict[LaneArray, UnitArea] = {}
    for array in arrays:
        if array not in found:
            try:
                found[array] = _characterize(array, sources, pdk, cache, timeout_s)
            except IntarsiaError as error:
                raise IntarsiaError(f"cannot characterize {array}: {error}") from error
    return tuple(found[array] for array in arrays)


def _characterize(
    array: LaneArray, sources: Sequence[Path], pdk: Pdk | None, cache: Path | None, timeout_s: float
) -> UnitArea:
    design = array.design(sources)
    counted = transistors(design, cache=cache, timeout_s=timeout_s)
    gates = liberty_area(design, pdk, cache=cache, timeout_s=timeout_s) if pdk else None
    path_ns = gates.path.delay_ps / 1000 if gates and gates.path else None
    return UnitArea(array, counted.total, counted.flip_flops, gates.total if gates else None, path_ns)


def _select(names: Sequence[str], sources: Sequence[Path]) -> tuple[Path, ...]:
    """Return the files of such names."""
    paths = {source.name: source for source in sources}
    for name in names:
        if name not in paths:
            raise IntarsiaError(f"the source file {name} is missing; pass all of the engine's sources.")
    return tuple(paths[name] for name in names)
