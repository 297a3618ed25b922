# SPDX-License-Identifier: Apache-2.0
"""The cell and SRAM libraries of a PDK in the folder layout of IHP's open SG13G2."""

from dataclasses import dataclass
from pathlib import Path

from intarsia.errors import IntarsiaError
from intarsia.synthesize.liberty import Cell, Library, read_liberty

_STANDARD_CELLS = "ihp-sg13g2/libs.ref/sg13g2_stdcell/lib/sg13g2_stdcell_typ_1p20V_25C.lib"
_SRAMS = "ihp-sg13g2/libs.ref/sg13g2_sram/lib"
_GATE = "sg13g2_nand2_1"
_MULTIPLEXER = "sg13g2_mux2_1"
_FLIP_FLOP = ("sg13g2_df", "sg13g2_sdf")


@dataclass(frozen=True)
class Pdk:
    """Libraries of one corner (typical, 1.20 V, 25 °C).

    Attributes:
        cells: standard cells.
        srams: SRAM macros.
        gate_um2: area of a two-input NAND in µm², the unit of one gate equivalent (GE).
        multiplexer_um2: area of a two-input multiplexer in µm².
    """

    cells: Library
    srams: tuple[Cell, ...]
    gate_um2: float
    multiplexer_um2: float

    def is_flip_flop(self, cell: str) -> bool:
        """Say whether a standard cell is a flip-flop."""
        return cell.startswith(_FLIP_FLOP)


def load_pdk(root: Path) -> Pdk:
    """Read the libraries of IHP SG13G2 under `root`.

    Raises:
        IntarsiaError: a library is missing or damaged.
    """
    cells = read_liberty(root / _STANDARD_CELLS)
    srams = [cell for path in sorted((root / _SRAMS).glob("*_typ_1p20V_25C.lib")) for cell in read_liberty(path).cells]
    if not srams:
        raise IntarsiaError(f"no SRAM libraries in {root / _SRAMS}; check PDK_ROOT.")
    for cell in (_GATE, _MULTIPLEXER):
        if cell not in cells.areas_um2:
            raise IntarsiaError(f"the cell library {cells.path} has no {cell}; check PDK_ROOT.")
    return Pdk(cells, tuple(srams), cells.areas_um2[_GATE], cells.areas_um2[_MULTIPLEXER])
