# SPDX-License-Identifier: Apache-2.0
"""Resources of a design on Xilinx 7-series devices (Zynq-7000, Artix-7, …), mapped by Yosys and not placed.

Counts are those of the cells after mapping. Vivado packs afterwards, and may put two small lookup tables into one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from intarsia.synthesize._worker import MERGE
from intarsia.synthesize.results import group_parts
from intarsia.synthesize.yosys import Design, run_yosys

#: Lookup tables of six inputs that a cell takes: logic, distributed RAM and shift registers.
_LUTS: Mapping[str, int] = MappingProxyType(
    {
        **{f"LUT{inputs}": 1 for inputs in range(1, 7)},
        "INV": 1,
        **{"RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4},
        **{"RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM32M": 4, "RAM64M": 4},
        **{"SRL16E": 1, "SRLC32E": 1},
    }
)
#: What each resource of `XilinxResources` is made of, in its order.
_CELLS: tuple[Mapping[str, float], ...] = (
    _LUTS,
    {f"{kind}{edge}": 1 for kind in ("FDRE", "FDSE", "FDCE", "FDPE") for edge in ("", "_1")},
    {"DSP48E1": 1},
    {"RAMB18E1": 0.5, "RAMB36E1": 1},
    {"CARRY4": 1},
)
#: Cells of a slice that are there beside its lookup tables, and constants.
_FREE = frozenset({"MUXF7", "MUXF8", "VCC", "GND"})
_KNOWN = _FREE.union(*_CELLS)


@dataclass(frozen=True)
class XilinxResources:
    """Resources of a 7-series design, after mapping.

    Attributes:
        lut: lookup tables of six inputs, those used as distributed RAM and as shift registers included.
        ff: flip-flops.
        dsp: DSP48E1 slices.
        bram: block RAMs of 36 Kbit; one of 18 Kbit is half.
        carry: carry chains of four bits; their lookup tables are in `lut`.
    """

    lut: int
    ff: int
    dsp: int
    bram: float
    carry: int


@dataclass(frozen=True)
class XilinxPart:
    """Resources of all instances of one module: its own and those with the modules in it."""

    module: str
    instances: int
    own: XilinxResources
    inclusive: XilinxResources


@dataclass(frozen=True)
class XilinxMapping:
    """A design mapped to 7-series cells, by module (most lookup tables first)."""

    top: str
    total: XilinxResources
    parts: tuple[XilinxPart, ...]


def map_xilinx(
    design: Design, *, dsp: bool = True, cache: Path | None = None, timeout_s: float = 1800.0
) -> XilinxMapping:
    """Map a design to 7-series cells without placing it, hierarchy kept and equal instances mapped once.

    Args:
        design: what to synthesize; its ports need not fit any package, and get no buffers.
        dsp: use DSP48E1 slices; without, multipliers become lookup tables.
        cache: folder of kept results; None keeps none.
        timeout_s: time limit in seconds.

    Raises:
        IntarsiaError: pyosys is missing, the design has an error, a cell is left that is not counted, or the time is
            over.
    """
    commands = [
        design.read_command("--keep-hierarchy", "--ignore-assertions"),
        "proc",
        "opt_clean",
        MERGE,
        f"synth_xilinx -family xc7 -noiopad -noclkbuf -top {design.top}{'' if dsp else ' -nodsp'}",
        "tee -q -o stat.json stat -json",
    ]
    outputs = run_yosys(commands, inputs=design.sources, outputs=("stat.json",), cache=cache, timeout_s=timeout_s)
    return _mapping(design.top, outputs["stat.json"])


def _mapping(top: str, stat: str) -> XilinxMapping:
    """Read the cell counts of Yosys' `stat -json`."""
    instances: dict[str, int] = {}
    own: dict[str, list[float]] = {}
    inclusive: dict[str, list[float]] = {}
    for cells in _CELLS:
        for part in group_parts(top, stat, _cost(cells), lambda _: False):
            instances[part.module] = part.instances
            own.setdefault(part.module, []).append(part.own)
            inclusive.setdefault(part.module, []).append(part.inclusive)
    parts = [
        XilinxPart(module, count, _resources(own[module]), _resources(inclusive[module]))
        for module, count in instances.items()
    ]
    parts.sort(key=lambda part: (-part.inclusive.lut, part.module))
    return XilinxMapping(top, next(part.inclusive for part in parts if part.module == top), tuple(parts))


def _cost(cells: Mapping[str, float]) -> Callable[[str], float | None]:
    return lambda cell: cells.get(cell, 0) if cell in _KNOWN else None


def _resources(amounts: list[float]) -> XilinxResources:
    lut, ff, dsp, bram, carry = amounts
    return XilinxResources(round(lut), round(ff), round(dsp), bram, round(carry))
