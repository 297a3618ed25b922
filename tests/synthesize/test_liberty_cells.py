# SPDX-License-Identifier: Apache-2.0
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netlists
from intarsia.errors import IntarsiaError
from intarsia.synthesize.netlist.cells import Cells, Kind, Table, read_cells
from intarsia.synthesize.pdk import Pdk


@pytest.fixture(scope="module")
def cells() -> Cells:
    return netlists.small_cells()


@pytest.fixture(scope="module")
def real(pdk: Pdk) -> Cells:
    return read_cells(pdk.cells.path)


TABLE = Table(np.array([0.1, 0.2, 0.5]), np.array([0.0, 1.0]), np.array([[1.0, 5.0], [2.0, 8.0], [11.0, 14.0]]))


def test_a_table_is_exact_at_its_points_linear_between_and_goes_on_beyond() -> None:
    for i, slew in enumerate(TABLE.slews):
        for j, load in enumerate(TABLE.loads):
            assert TABLE.at(slew, load) == TABLE.values[i, j]
    assert TABLE.at(0.15, 0.0) == pytest.approx(1.5)
    assert TABLE.at(0.2, 0.25) == pytest.approx(3.5)
    assert TABLE.at(0.35, 0.5) == pytest.approx((2 + 11 + 8 + 14) / 4)
    assert TABLE.at(0.0, 0.0) == pytest.approx(0.0)  # 1 − 1, as from 0.1 to 0.2
    assert TABLE.at(0.6, 2.0) == pytest.approx(17 + (17 - 14) / 3)  # 14 and 17 at the load, then on in the slew
    found = TABLE.at(np.array([0.1, 0.15]), np.array([0.0, 1.0]))
    assert found == pytest.approx(np.array([1.0, 6.5]))


@given(st.floats(0, 3), st.floats(0, 3))
def test_a_table_of_one_axis_or_none_does_not_depend_on_the_others(slew: float, load: float) -> None:
    one = Table(np.array([0.0, 1.0]), np.array([0.0]), np.array([[2.0], [4.0]]))
    assert one.at(slew, load) == pytest.approx(2 + 2 * slew)
    assert Table(np.array([0.0]), np.array([0.0]), np.array([[7.0]])).at(slew, load) == 7


def test_cells_of_a_netlist_are_read_and_others_are_not(cells: Cells) -> None:
    assert set(cells.models) == set(netlists.CELLS) - {"LATCH", "TRISTATE", "FALLING", "FILLER"}
    kinds = {name: model.kind for name, model in cells.models.items()}
    assert {name for name, kind in kinds.items() if kind is Kind.FLIP_FLOP} == {"DFF", "DFFQ"}
    assert {name for name, kind in kinds.items() if kind is Kind.CLOCK_GATE} == {"ICG"}
    dff, gate, mux = (cells.models[name] for name in ("DFF", "ICG", "MUX2"))
    assert (dff.inputs, dff.outputs) == (("CLK", "D", "RST_N"), ("Q", "A_N"))
    assert (gate.inputs, gate.outputs) == (("CLK", "EN"), ("GCLK",))
    assert (mux.inputs, mux.outputs) == (("A0", "A1", "S"), ("Y",))
    assert mux.table == 0b11001010  # A1 of states 4 to 7, else A0
    assert (mux.area_um2, mux.leakage_nw, mux.pins["S"].capacitance) == (4.0, 6.0, 0.006)
    assert mux.pins["Y"].most_load == 0.125
    assert [(power.input, power.when) for power in mux.pins["S"].powers] == [("", "A0*A1"), ("", "!A0*!A1"), ("", "")]
    assert (cells.voltage, cells.wire_pf, cells.wire_um[:3]) == (1.5, netlists.WIRE_PF, netlists.WIRE_UM)
    assert cells.wire_um[5] == pytest.approx(31 + 3 * 7.5)  # by the slope that the library gives


def test_asynchronous_arcs_are_no_delays_and_setups_are_of_the_data(cells: Cells) -> None:
    dff = cells.models["DFF"]
    assert [arc.input for arc in dff.pins["Q"].arcs] == ["CLK"]
    assert [edge for edge, _ in dff.setups] == ["rise", "fall"]
    rise, fall = (float(table.at(0.2, 0.1)) for _, table in dff.setups)
    assert rise == pytest.approx(0.06 + 0.2 * netlists.SETUP_DATA + 0.1 * netlists.SETUP_CLOCK)
    assert fall == pytest.approx(rise + 0.01)


def test_buffers_are_those_of_most_drive_for_their_area_the_weakest_first(cells: Cells) -> None:
    assert [model.name for model in cells.buffers] == ["BUF", "BUFX4"]


def library(**changes: str) -> str:
    text = netlists.HEAD + "".join(netlists.CELLS.values()) + "}\n"
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(("unit", "factor"), [('"1nW"', 1), ('"1pW"', 1e-3), ('"1uW"', 1e3), ("1nW", 1), (None, 1)])
def test_leakage_is_in_the_unit_of_the_library(tmp_path: Path, unit: str | None, factor: float) -> None:
    old = 'leakage_power_unit : "1nW";'
    text = library(unit=(old, f"leakage_power_unit : {unit};" if unit else ""))
    assert read_cells(netlists.write_library(tmp_path, text)).models["INV"].leakage_nw == pytest.approx(2 * factor)


@pytest.mark.parametrize("line", ['time_unit : "1ns";', 'voltage_unit : "1V";', "capacitive_load_unit (1, pf);"])
def test_a_unit_may_be_missing(tmp_path: Path, line: str) -> None:
    assert read_cells(netlists.write_library(tmp_path, library(unit=(line, "")))).voltage == 1.5


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('time_unit : "1ns"', 'time_unit : "1ps"', "its time_unit is 1ps, not 1ns"),
        ("(1, pf)", "(1, ff)", "its capacitive_load_unit is 1,ff, not 1,pf"),
        ('leakage_power_unit : "1nW"', 'leakage_power_unit : "1kW"', "its leakage_power_unit is 1kW, not one of 1pW"),
        ("A^B", "A^C", "'A.C' is not a Boolean expression"),
        ("nom_voltage : 1.5;", "", "is not a readable Liberty file"),
        ("default_wire_load_capacitance : 0.0005;", "", "is not a readable Liberty file"),
        ("capacitance : 0.0005; slope : 7.5;", "capacitance : 0.0006; slope : 7.5;", "is not a readable Liberty file"),
        ('index_1 ("0, 1"); index_2 ("0, 1");', 'index_1 ("0, 1");', "is not a readable Liberty file"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    path = netlists.write_library(tmp_path, library(change=(old, new)))
    with pytest.raises(IntarsiaError, match=sentence) as error:
        read_cells(path)
    assert "check PDK_ROOT" in str(error.value)


def test_a_cell_of_many_inputs_or_a_flip_flop_without_its_state_is_passed_over(tmp_path: Path) -> None:
    pins = [f"A{i}" for i in range(7)]
    wide = netlists.cell(
        "WIDE", 1, 1, netlists.output("Y", "*".join(pins), "") + "".join(netlists.entry(p, 1) for p in pins)
    )
    inverted = netlists.CELLS["DFFQ"].replace("DFFQ", "DFFN").replace('"IQ"', '"IQN"')
    path = netlists.write_library(tmp_path, library().rstrip().removesuffix("}") + wide + inverted + "}")
    assert not {"WIDE", "DFFN"} & set(read_cells(path).models)


@pytest.mark.pdk
def test_the_cells_of_the_real_library(real: Cells) -> None:
    logic = {name for name, model in real.models.items() if model.kind is Kind.LOGIC}
    assert {"sg13g2_inv_1", "sg13g2_mux4_1", "sg13g2_a221oi_1", "sg13g2_tiehi"} <= logic
    flops = {name for name, model in real.models.items() if model.kind is Kind.FLIP_FLOP}
    assert flops == {f"sg13g2_dfrb{kind}_{drive}" for kind in ("p", "pq") for drive in (1, 2)}
    assert [name for name, model in real.models.items() if model.kind is Kind.CLOCK_GATE] == ["sg13g2_lgcp_1"]
    assert not [name for name in real.models if "dl" in name.split("_")[1][:2] and "dly" not in name]  # latches
    assert real.models["sg13g2_mux2_1"].table == 0b11001010
    assert real.models["sg13g2_dfrbp_1"].outputs == ("Q", "Q_N")
    assert (real.voltage, real.wire_pf) == (1.2, 0.0003)
    assert real.wire_um[0] == 17.53  # of the largest table with the usual capacitance, 30k
    assert [model.name for model in real.buffers] == [f"sg13g2_buf_{drive}" for drive in (1, 2, 4, 8, 16)]
    inverter = real.models["sg13g2_inv_1"]
    assert (inverter.leakage_nw, inverter.pins["A"].capacitance) == pytest.approx((0.0630032, 0.00286745))
    [arc] = inverter.pins["Y"].arcs
    assert arc.delay["rise"].at(0.0966, 0.0648) == pytest.approx(0.243951)
    assert arc.slew["fall"].at(2.5074, 0.3) == pytest.approx(1.43025)
    assert inverter.pins["Y"].powers[0].energy["fall"].at(0.174, 0.001) == pytest.approx(0.00159086)


@pytest.mark.pdk
def test_more_load_is_never_faster_in_the_real_library(real: Cells) -> None:
    for model in real.models.values():
        for arc in (arc for pin in model.pins.values() for arc in pin.arcs):
            for table in arc.delay.values():
                delays = [table.at(0.1, load) for load in np.linspace(0.001, 0.3, 9)]
                assert all(first < second for first, second in pairwise(delays)), model.name
