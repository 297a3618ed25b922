# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia.errors import IntarsiaError
from intarsia.synthesize.liberty import Cell, ClockGate, read_liberty
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


def test_areas_and_memories_are_read(tmp_path: Path) -> None:
    path = tmp_path / "small.lib"
    path.write_text(LIBRARY)
    nand, ram = read_liberty(path).cells
    assert (nand.name, nand.area_um2, nand.words) == ("NAND", 7.2576, 0)
    assert (ram.area_um2, ram.words, ram.bits) == (1000.5, 16, 8)
    assert (ram.read_pj, ram.write_pj) == (2.0, 3.5)
    assert (nand.read_pj, nand.write_pj) == (None, None)


CLOCK_GATE = """
  cell (%s) { area : %s; clock_gating_integrated_cell : "latch_posedge%s"; dont_use : true;
    pin (Q) { direction : output; clock_gate_out_pin : true; }
    pin (C) { clock : true; clock_gate_clock_pin : true; }
    pin (E) { clock_gate_enable_pin : "true"; }
  }
}
"""


def test_clock_gates_are_found_by_their_attributes_the_smallest_first(tmp_path: Path) -> None:
    text, path = LIBRARY, tmp_path / "small.lib"
    for gate in (("LARGE", "30.5", ""), ("SMALL", "27", ""), ("SCAN", "20", "_precontrol"), ("BAD-NAME", "1", "")):
        text = text.rstrip().removesuffix("}") + CLOCK_GATE % gate
    path.write_text(text)
    library = read_liberty(path)
    assert library.clock_gates == (ClockGate("SMALL", "E", "C", "Q"), ClockGate("LARGE", "E", "C", "Q"))
    assert library.areas_um2["SCAN"] == 20
    path.write_text(LIBRARY)
    assert read_liberty(path).clock_gates == ()


def test_a_memory_that_says_no_energies_has_none(tmp_path: Path) -> None:
    path = tmp_path / "small.lib"
    path.write_text(LIBRARY.replace("A_WEN", "A_BIST_WEN"))
    _, ram = read_liberty(path).cells
    assert (ram.read_pj, ram.write_pj) == (None, None)


@pytest.mark.parametrize("power", ['{ values ("1.0, 2.0"); }', "{ }"])
def test_a_power_that_is_a_table_is_no_energy_and_no_error(tmp_path: Path, power: str) -> None:
    path = tmp_path / "small.lib"
    path.write_text(LIBRARY.replace("{ values (3.5); }", power))
    _, ram = read_liberty(path).cells
    assert (ram.read_pj, ram.write_pj) == (2.0, None)


@pytest.mark.parametrize("text", ["", "not liberty", "library (x) { cell (a) { area : 1; }", "library (x) { }"])
def test_a_damaged_library_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "damaged.lib"
    path.write_text(text)
    with pytest.raises(IntarsiaError, match="check PDK_ROOT"):
        read_liberty(path)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("address_width : 4;", "", "is a memory without a usable address_width"),
        ("address_width : 4;", "address_width : 999999999;", "is a memory without a usable address_width"),
        ("word_width : 8;", f"word_width : {'9' * 5000};", "is a memory without a usable word_width"),
        ("area : 7.2576 ;", "area : large ;", "the area of cell NAND is large"),
    ],
)
def test_a_library_with_unusable_numbers_is_refused(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in LIBRARY
    path = tmp_path / "small.lib"
    path.write_text(LIBRARY.replace(old, new))
    with pytest.raises(IntarsiaError, match=sentence):
        read_liberty(path)


def test_a_wrong_pdk_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match="check PDK_ROOT"):
        load_pdk(tmp_path)


MACROS = [
    Cell("X_1P_64x8", 100.0, 64, 8),
    Cell("X_1P_256x16", 450.0, 256, 16),
    Cell("X_2P_256x16", 900.0, 256, 16),
]


@given(st.integers(1, 300), st.integers(2, 2000))
def test_macros_cover_a_memory(width: int, depth: int) -> None:
    mapped = map_memory(Memory("m", width, depth, 1), MACROS, multiplexer_um2=0.5)
    sizes = {cell.name: cell for cell in MACROS}
    stored = sum(sizes[name].words * sizes[name].bits * count for name, count in mapped.macros)
    assert stored >= width * depth
    assert mapped.area_um2 == pytest.approx(sum(sizes[name].area_um2 * count for name, count in mapped.macros))
    assert all("_1P_" in name for name, _ in mapped.macros)
    assert mapped.multiplexers_um2 == 0.5 * mapped.multiplexers
    whole = mapped.area_um2 + mapped.multiplexers_um2
    for cell in MACROS[:2]:
        banks = -(-depth // cell.words)
        assert whole <= -(-width // cell.bits) * banks * cell.area_um2 + 0.5 * (banks - 1) * width + 1e-9


def test_columns_of_different_macros_are_combined_and_ports_respected() -> None:
    mixed = map_memory(Memory("m", 24, 256, 1), MACROS, multiplexer_um2=0.5)
    assert mixed.macros == (("X_1P_256x16", 1), ("X_1P_64x8", 4))
    assert map_memory(Memory("m", 16, 256, 2), MACROS, multiplexer_um2=0.5).macros == (("X_2P_256x16", 1),)
    with pytest.raises(IntarsiaError, match="no SRAM macro with 2 port"):
        map_memory(Memory("m", 16, 256, 2), MACROS[:2], multiplexer_um2=0.5)


@given(st.integers(1, 20), st.integers(1, 1200))
def test_banks_of_different_depth_are_combined_with_the_least_area(width: int, depth: int) -> None:
    large, small = Cell("X_1P_256x16", 450.0, 256, 16), Cell("X_1P_64x16", 150.0, 64, 16)
    mapped = map_memory(Memory("m", width, depth, 1), [large, small], multiplexer_um2=0.5)
    columns = [min(16, width - start) for start in range(0, width, 16)]

    def least(bits: int) -> float:
        counts = [(n, max(0, -(-(depth - 256 * n) // 64))) for n in range(-(-depth // 256) + 1)]
        return min(n * 450.0 + m * 150.0 + 0.5 * bits * (n + m - 1) for n, m in counts)

    assert mapped.area_um2 + mapped.multiplexers_um2 == pytest.approx(sum(map(least, columns)))


def test_multiplexers_between_banks_are_counted() -> None:
    banked = map_memory(Memory("m", 24, 1024, 1), MACROS[1:], multiplexer_um2=0.5)
    assert banked.macros == (("X_1P_256x16", 8),)
    assert banked.multiplexers == 3 * 24  # of four banks one is chosen, for each bit that is read
    two_ports = map_memory(Memory("m", 16, 256, 2), MACROS, multiplexer_um2=0.5)
    assert two_ports.multiplexers == 0
    dear = map_memory(Memory("m", 8, 256, 1), MACROS, multiplexer_um2=100.0)
    assert dear.macros == (("X_1P_256x16", 1),)  # four banks would be smaller, but not with their multiplexers


@pytest.mark.pdk
def test_the_real_library(pdk: Pdk) -> None:
    macro = next(cell for cell in pdk.srams if cell.name == "RM_IHPSG13_1P_1024x64_c2_bm_bist")
    assert (macro.words, macro.bits) == (1024, 64)
    assert (macro.read_pj, macro.write_pj) == pytest.approx((91.8272, 110.9189))
    assert pdk.gate_um2 == pytest.approx(7.2576)
    assert pdk.multiplexer_um2 == pytest.approx(18.144)
