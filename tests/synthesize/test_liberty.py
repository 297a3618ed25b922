from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia.errors import IntarsiaError
from intarsia.synthesize.liberty import Cell, read_liberty
from intarsia.synthesize.pdk import Pdk, load_pdk
from intarsia.synthesize.sram import Memory, map_memory

LIBRARY = """
/* a comment with { braces } */
library (small) {
  leakage_power_unit : "1nW" ;
  capacitive_load_unit (1, pf);
  cell (NAND) { area : 7.2576 ; cell_leakage_power : 2.5; // trailing
    pin (A) { direction : input; timing () { when : "B & !C"
      cell_rise (table) { values ( "1, 2", \\
        "3, 4" ); }
    } }
  }
  cell(RAM) {
    area : 1000.5;
    memory() { type : ram; address_width : 4; word_width : 8; }
    pin(A_CLK) { clock : "true" ;
      internal_power() { when : "A_MEN  & A_WEN & !A_REN";
        rise_power("scalar") { values (3.5); } fall_power("scalar") { values (0.5); } }
      internal_power() { when : "A_MEN & !A_WEN & A_REN";
        rise_power("scalar")
        { values (2); } fall_power("scalar") { values (0); } }
    }
  }
}
"""


def test_areas_memories_and_energies_are_read(tmp_path: Path) -> None:
    path = tmp_path / "small.lib"
    path.write_text(LIBRARY)
    nand, ram = read_liberty(path).cells
    assert (nand.name, nand.area_um2, nand.words, nand.read_pj) == ("NAND", 7.2576, 0, None)
    assert nand.leakage_w == pytest.approx(2.5e-9)
    assert (ram.words, ram.bits, ram.read_pj, ram.write_pj) == (16, 8, 2.0, 4.0)


@pytest.mark.parametrize("text", ["", "not liberty", "library (x) { cell (a) { area : 1; }", "library (x) { }"])
def test_a_damaged_library_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "damaged.lib"
    path.write_text(text)
    with pytest.raises(IntarsiaError, match="check PDK_ROOT"):
        read_liberty(path)


def test_a_wrong_pdk_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match="check PDK_ROOT"):
        load_pdk(tmp_path)


MACROS = [
    Cell("X_1P_64x8", 100.0, 0.0, 64, 8, 1.0, 2.0),
    Cell("X_1P_256x16", 450.0, 0.0, 256, 16, 3.0, 4.0),
    Cell("X_2P_256x16", 900.0, 0.0, 256, 16, 3.0, 4.0),
]


@given(st.integers(1, 300), st.integers(2, 2000))
def test_macros_cover_a_memory(width: int, depth: int) -> None:
    mapped = map_memory(Memory("m", width, depth, 1), MACROS)
    sizes = {cell.name: cell for cell in MACROS}
    stored = sum(sizes[name].words * sizes[name].bits * count for name, count in mapped.macros)
    assert stored >= width * depth
    assert mapped.area_um2 == pytest.approx(sum(sizes[name].area_um2 * count for name, count in mapped.macros))
    assert all("_1P_" in name for name, _ in mapped.macros)
    one_kind = min(-(-width // c.bits) * -(-depth // c.words) * c.area_um2 for c in MACROS[:2])
    assert mapped.area_um2 <= one_kind + 1e-9


def test_columns_of_different_macros_are_combined_and_ports_respected() -> None:
    mixed = map_memory(Memory("m", 24, 256, 1), MACROS)
    assert mixed.macros == (("X_1P_256x16", 1), ("X_1P_64x8", 4))
    assert (mixed.read_pj, mixed.write_pj) == (4.0, 6.0)  # one bank of each column
    assert map_memory(Memory("m", 16, 256, 2), MACROS).macros == (("X_2P_256x16", 1),)
    with pytest.raises(IntarsiaError, match="no SRAM macro with 2 port"):
        map_memory(Memory("m", 16, 256, 2), MACROS[:2])


@pytest.mark.pdk
def test_the_energies_of_the_real_macros(pdk: Pdk) -> None:
    macro = next(cell for cell in pdk.srams if cell.name == "RM_IHPSG13_1P_1024x64_c2_bm_bist")
    assert (macro.words, macro.bits) == (1024, 64)
    assert macro.read_pj == pytest.approx(91.8272)
    assert macro.write_pj == pytest.approx(110.9189)
    assert pdk.gate_um2 == pytest.approx(7.2576)
