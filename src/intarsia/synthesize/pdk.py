# SPDX-License-Identifier: Apache-2.0
"""The cell and SRAM libraries of a PDK in the folder layout of IHP's open SG13G2."""

import os
from dataclasses import dataclass
from pathlib import Path

from intarsia.cache import default_cache
from intarsia.errors import IntarsiaError
from intarsia.synthesize.liberty import Cell, Library, read_liberty

#: Environment variable: the root of an installed PDK.
VARIABLE = "PDK_ROOT"
#: The process' folder under the root; in it, the corner of the libraries that are read and where they are.
NAME = "ihp-sg13g2"
CORNER = "_typ_1p20V_25C.lib"
#: The same for people.
CONDITIONS = "IHP SG13G2 130 nm, typical, 1.20 V, 25 °C"
STANDARD_CELLS = f"{NAME}/libs.ref/sg13g2_stdcell/lib/sg13g2_stdcell{CORNER}"
SRAMS = f"{NAME}/libs.ref/sg13g2_sram/lib"
#: What is said where there is no PDK.
NO_LIBRARIES = f"there are no cell libraries; fetch them with `intarsia pdk` or set {VARIABLE}."
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


def default_root() -> Path:
    """Return the root that `intarsia pdk` fills if no other folder is given; it need not exist.

    Raises:
        IntarsiaError: there is no place for a cache.
    """
    return default_cache() / "pdk"


def pdk_root() -> Path | None:
    """Return the root of the PDK: PDK_ROOT, else that of fetched libraries; None if there is neither."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    try:
        fetched = default_root()
    except IntarsiaError:
        return None
    return fetched if (fetched / NAME).is_dir() else None


def installed_pdk() -> Pdk:
    """Read the libraries of `pdk_root`.

    Raises:
        IntarsiaError: there are none, or one is missing or damaged.
    """
    root = pdk_root()
    if root is None:
        raise IntarsiaError(NO_LIBRARIES)
    return load_pdk(root)


def load_pdk(root: Path) -> Pdk:
    """Read the libraries of IHP SG13G2 under `root`.

    Raises:
        IntarsiaError: a library is missing or damaged.
    """
    cells = read_liberty(root / STANDARD_CELLS)
    srams = [cell for path in sorted((root / SRAMS).glob(f"*{CORNER}")) for cell in read_liberty(path).cells]
    if not srams:
        raise IntarsiaError(f"no SRAM libraries in {root / SRAMS}; check PDK_ROOT.")
    for cell in (_GATE, _MULTIPLEXER):
        if cell not in cells.areas_um2:
            raise IntarsiaError(f"the cell library {cells.path} has no {cell}; check PDK_ROOT.")
    return Pdk(cells, tuple(srams), cells.areas_um2[_GATE], cells.areas_um2[_MULTIPLEXER])
