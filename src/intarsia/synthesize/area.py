# SPDX-License-Identifier: Apache-2.0
"""Area of a design: in transistors without any library, in gate equivalents and µm² with a PDK; whole and by part.

Hierarchy is kept, so that each part has its own figure and the parts add up to the whole; equal instances are mapped
once. Memories behind the wrapper module `intarsia_memory` are taken out, counted in bits and, with a PDK, mapped to
SRAM macros.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from intarsia.synthesize._worker import MERGE
from intarsia.synthesize.liberty import Library
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.results import MEMORY_MODULE, CombinationalPath, Part, find_memories, group_parts, slowest_path
from intarsia.synthesize.sram import MappedMemory, Memory, map_memory
from intarsia.synthesize.yosys import Design, run_yosys

# ABC's default script can run for ever on adder trees of multipliers; these steps take seconds. `dch` collects choices
# of structure, and `amap` looks at area only: lane arrays are 5% smaller than by `&nf`.
_MAP = "strash;ifraig;scorr;strash;dch;amap,-m"
#: How cells are chosen: as small as they can be; between both; or of least depth, then made larger until that makes the
#: design no faster. Only the smallest is the same trade in every design.
Setting = Literal["smallest", "balanced", "fastest"]
_SETTINGS: Mapping[Setting, str] = MappingProxyType(
    {
        "smallest": f"{_MAP};buffer,-c;topo;dnsize",
        "balanced": "strash;ifraig;scorr;strash;&get,-n;&nf;&put;buffer,-c;topo;dnsize",
        "fastest": "strash;ifraig;scorr;strash;dch;map,-B,0.9;topo;buffer,-c;topo;upsize;dnsize",
    }
)
#: Flip-flops that share a clock gate at least; for fewer, a multiplexer each is smaller.
_LEAST_GATED = 4

# Transistors of a static CMOS cell, as Yosys counts them (kernel/cost.h); the flip-flops with asynchronous reset or
# set, which Yosys does not count, have one more transistor pair in each of their two latches.
TRANSISTORS = {
    "$_BUF_": 1,
    "$_NOT_": 2,
    "$_AND_": 6,
    "$_NAND_": 4,
    "$_OR_": 6,
    "$_NOR_": 4,
    "$_ANDNOT_": 6,
    "$_ORNOT_": 6,
    "$_MUX_": 12,
    "$_NMUX_": 10,
    "$_AOI3_": 6,
    "$_OAI3_": 6,
    "$_AOI4_": 8,
    "$_OAI4_": 8,
    "$_XOR_": 12,
    "$_XNOR_": 12,
    "$_DFF_P_": 16,
    "$_DFF_PN0_": 20,
    "$_DFF_PN1_": 20,
}
_DFF_CMOS = ("$_DFF_P_", "$_DFF_PN0_", "$_DFF_PN1_")


@dataclass(frozen=True)
class AreaReport:
    """Area of one design.

    Attributes:
        top: the module.
        unit: unit of `total` and the parts: `transistors` or `kGE`.
        total: area without memories, hierarchy kept: the sum over the parts.
        flip_flops: number of flip-flops.
        parts: by module, the largest inclusive area first.
        memories: the memories taken out.
        macros: SRAM macros that stand for the memories; empty without a PDK.
        path: slowest combinational path within one part; None without a PDK.
    """

    top: str
    unit: str
    total: float
    flip_flops: int
    parts: tuple[Part, ...]
    memories: tuple[Memory, ...]
    macros: tuple[MappedMemory, ...] = ()
    path: CombinationalPath | None = None

    @property
    def memory_bits(self) -> int:
        """Bits of all memories taken out."""
        return sum(memory.bits for memory in self.memories)

    @property
    def sram_area_um2(self) -> float:
        """Area of all SRAM macros in µm², with the multiplexers between their banks."""
        return sum(macro.area_um2 + macro.multiplexers_um2 for macro in self.macros)

    def inclusive(self, module: str) -> float:
        """Return the area of all instances of a module with what is in them, 0 if there are none."""
        return sum(part.inclusive for part in self.parts if part.module == module)


def transistors(design: Design, *, cache: Path | None = None, timeout_s: float = 900.0) -> AreaReport:
    """Count the transistors of a design as static CMOS cells; needs no library.

    Args:
        design: what to synthesize.
        cache: folder of kept results; None keeps none.
        timeout_s: time limit in seconds.

    Raises:
        IntarsiaError: pyosys is missing, the design has an error, or the time is over.
    """
    legal = " ".join(f"-cell {cell} x" for cell in _DFF_CMOS)
    mapping = [f"dfflegalize {legal}", f"tee -q -o abc.txt abc -g cmos -script +{_MAP}"]
    outputs = _synthesize(design, mapping, (), cache=cache, timeout_s=timeout_s)
    parts = group_parts(design.top, outputs["stat.json"], TRANSISTORS.get, _DFF_CMOS.__contains__)
    return AreaReport(
        top=design.top,
        unit="transistors",
        total=_total(parts),
        flip_flops=sum(part.flip_flops for part in parts),
        parts=parts,
        memories=find_memories(design.top, outputs["memories.txt"]),
    )


def liberty_area(
    design: Design,
    pdk: Pdk,
    *,
    setting: Setting = "smallest",
    cache: Path | None = None,
    timeout_s: float = 900.0,
) -> AreaReport:
    """Map a design to a standard-cell library: gate equivalents, SRAM macros and the slowest combinational path.

    By default cells are as small as they can be: areas are those of a relaxed clock, and the path says how slow that
    is. Flip-flops with a common enable get a common clock gate, where the library has one.

    Args:
        design: what to synthesize.
        pdk: cell and SRAM libraries (`load_pdk`).
        setting: what is traded for area.
        cache: folder of kept results; None keeps none.
        timeout_s: time limit in seconds.

    Raises:
        IntarsiaError: pyosys is missing, the design has an error, the library lacks a macro, or the time is over.
    """
    areas, gate_um2 = pdk.cells.areas_um2, pdk.gate_um2

    def cost(cell: str) -> float | None:
        return areas[cell] / gate_um2 / 1000 if cell in areas else None

    outputs = _synthesize(design, _mapping(pdk, setting), (pdk.cells.path,), cache=cache, timeout_s=timeout_s)
    parts = group_parts(design.top, outputs["stat.json"], cost, pdk.is_flip_flop)
    memories = find_memories(design.top, outputs["memories.txt"])
    return AreaReport(
        top=design.top,
        unit="kGE",
        total=_total(parts),
        flip_flops=sum(part.flip_flops for part in parts),
        parts=parts,
        memories=memories,
        macros=tuple(map_memory(memory, pdk.srams, multiplexer_um2=pdk.multiplexer_um2) for memory in memories),
        path=slowest_path(outputs["abc.txt"]),
    )


@dataclass(frozen=True)
class MappedNetlist:
    """A design in cells of a library, memories taken out.

    Attributes:
        verilog: for people and other tools.
        json: for `intarsia.synthesize.netlist`.
        memories: what was taken out.
    """

    verilog: str
    json: str
    memories: tuple[Memory, ...]


def mapped_netlist(
    design: Design,
    pdk: Pdk,
    *,
    setting: Setting = "smallest",
    cache: Path | None = None,
    timeout_s: float = 900.0,
) -> MappedNetlist:
    """Return the netlist whose area `liberty_area` reports; arguments and errors are the same."""
    # without places in sources, which are those of a temporary folder and most of the text
    commands = [*_mapping(pdk, setting), "opt_clean", "setattr -unset src */*", "write_json netlist.json"]
    commands.append("write_verilog -noattr netlist.v")
    more = ("netlist.v", "netlist.json")
    outputs = _synthesize(design, commands, (pdk.cells.path,), more, cache=cache, timeout_s=timeout_s)
    memories = find_memories(design.top, outputs["memories.txt"])
    return MappedNetlist(outputs["netlist.v"], outputs["netlist.json"], memories)


def _mapping(pdk: Pdk, setting: Setting) -> list[str]:
    """Return the commands that map a design to the cells of a library."""
    library = pdk.cells.path.name
    abc = f"tee -q -o abc.txt abc -liberty {library} -script +{_SETTINGS[setting]};stime,-p"
    return [*_gate_clocks(pdk.cells), f"dfflibmap -liberty {library}", abc]


def _total(parts: Sequence[Part]) -> float:
    return sum(part.own for part in parts)


def _gate_clocks(library: Library) -> list[str]:
    """Return the command that gives flip-flops with a common enable a common clock gate, none without such a cell.

    The cell is named because Yosys does not choose one that is marked `dont_use`, as those of IHP are.
    """
    return [
        f"clockgate -pos {gate.cell} {gate.enable}:{gate.clock}:{gate.gated} -min_net_size {_LEAST_GATED}"
        for gate in library.clock_gates[:1]
    ]


def _synthesize(
    design: Design,
    mapping: list[str],
    libraries: tuple[Path, ...],
    more: tuple[str, ...] = (),
    *,
    cache: Path | None,
    timeout_s: float,
) -> dict[str, str]:
    """Run Yosys; return the cell counts (`stat.json`), the memories taken out, ABC's log, and what `mapping` writes."""
    commands = [
        design.read_command("--keep-hierarchy", "--ignore-assertions"),
        "proc",
        "opt_clean",
        "memory -nomap",
        f"tee -q -o memories.txt dump -m {MEMORY_MODULE}$*/t:$mem_v2",
        f"blackbox {MEMORY_MODULE}$*",
        MERGE,
        *("opt", "wreduce", "peepopt", "opt_clean", "alumacc", "share", "opt"),
        *("memory_map", "opt -full", "techmap", "opt -fast"),
        *mapping,
        "opt_clean",
        "tee -q -o stat.json stat -json",
    ]
    return run_yosys(
        commands,
        inputs=(*design.sources, *libraries),
        outputs=("stat.json", "memories.txt", "abc.txt", *more),
        cache=cache,
        timeout_s=timeout_s,
    )
