# SPDX-License-Identifier: Apache-2.0
"""Energies worked out by hand, first from the planes of the small library, then from numbers in the file of IHP's.

Small library: 1.5 V. An edge of an output takes base + 0.002 · slew + 0.05 · load, one of an input base + 0.002 · slew,
each 0.0005 more if it falls. Most circuits have 0.01 pF and 0.2 ns everywhere, so that an output's edge takes
base + 0.0009, an input's base + 0.0004, and a change of a net 0.01 · 1.5² / 2. The clock's edges have 0.1 ns.
"""

from collections.abc import Mapping

import numpy as np
import pytest

from intarsia.errors import IntarsiaError
from intarsia.synthesize.liberty import Cell
from intarsia.synthesize.netlist.cells import read_cells
from intarsia.synthesize.netlist.flat import read_netlist
from intarsia.synthesize.netlist.memories import memory_model as macros_model
from intarsia.synthesize.netlist.memories import model_of
from intarsia.synthesize.netlist.power import PartEnergy
from intarsia.synthesize.netlist.trees import add_trees
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.sram import MappedMemory, Memory
from netlists import MEMORY, Bench, Module, Pins, memory_model, memory_pins, read_module, small_cells, write_json

#: What is asked for is 0.1 %; this is what arithmetic leaves.
CLOSE = {"rel": 1e-9, "abs": 1e-12}
LOAD, SLEW = 0.01, 0.2
NET = 0.5 * LOAD * 1.5**2
RISE, FALL = 0.002 * SLEW + 0.05 * LOAD, 0.002 * SLEW + 0.05 * LOAD + 0.0005
IN_RISE, IN_FALL = 0.002 * SLEW, 0.002 * SLEW + 0.0005
#: Of what the clock's edges cause, at 0.1 ns: of an output that rises or falls, of a clock pin.
CLOCKED_RISE, CLOCKED_FALL = 0.002 * 0.1 + 0.05 * LOAD, 0.002 * 0.1 + 0.05 * LOAD + 0.0005
PIN_RISE, PIN_FALL = 0.002 * 0.1, 0.002 * 0.1 + 0.0005

Cellist = dict[str, tuple[str, Pins]]


def bench(cells: Cellist, inputs: str = "clk_i a b", outputs: str = "y", pdk: Pdk | None = None, **at: float) -> Bench:
    library = read_cells(pdk.cells.path) if pdk else small_cells()
    ports = {name: name for name in inputs.split()}
    netlist = read_module(Module(ports, {name: name for name in outputs.split()}, cells), library)
    return Bench(netlist, library, **({"load": LOAD, "slew": SLEW} | at))


def taken(found: Bench, steps: list[dict[str, int]]) -> PartEnergy:
    """Return the energy of all cells over some cycles; the first step comes before."""
    found.step(**steps[0])
    found.count()
    for step in steps[1:]:
        found.step(**step)
    return found.energy()["top"]


def test_inverters_with_the_loads_and_slews_that_they_have() -> None:
    """Nothing is set here: 10 µm of 0.0005 pF and a pin of 0.003 between, no load at the end."""
    cells: Cellist = {"u_1": ("INV", {"A": "a", "Y": "n"}), "u_2": ("INV", {"A": "n", "Y": "y"})}
    with bench(cells, load=None, slew=None) as found:
        part = taken(found, [{"a": 0}, {"a": 1}, {"a": 0}, {"a": 1}])
    load = 0.003 + 10 * 0.0005
    slew = 0.05 + 0.1 / 8 + 4 * load
    first = 3 * (0.001 + 0.002 * 0.1 + 0.05 * load) + 2 * 0.0005  # falls, rises, falls
    second = 3 * (0.001 + 0.002 * slew) + 0.0005
    assert part.internal == pytest.approx(first + second, **CLOSE)
    assert part.nets == pytest.approx(3 * load * 1.5**2 / 2, **CLOSE)
    assert part.clock == 0
    assert part.leakage == pytest.approx((2.0 + 2.0) * 1e-9 * 3 * 20e-9 / 1e-12, **CLOSE)
    assert part.total == pytest.approx(part.internal + part.nets + part.leakage, **CLOSE)


def test_each_input_of_nand2_has_its_own_energy() -> None:
    cells: Cellist = {"u": ("NAND2", {"A": "a", "B": "b", "Y": "y"})}
    with bench(cells) as found:
        part = taken(found, [{"a": 0, "b": 1}, {"a": 1}, {"a": 0}, {"b": 0}, {"a": 1}, {"b": 1}])
    by_a, by_b = (0.0015 + FALL) + (0.0015 + RISE), 0.0025 + FALL
    assert part.internal == pytest.approx(by_a + by_b, **CLOSE)  # what A and B do while the other is 0 takes nothing
    assert part.nets == pytest.approx(3 * NET, **CLOSE)


def test_the_energy_of_xor2_depends_on_the_other_input() -> None:
    cells: Cellist = {"u": ("XOR2", {"A": "a", "B": "b", "Y": "y"})}
    with bench(cells) as found:
        part = taken(found, [{"a": 0, "b": 0}, {"a": 1}, {"b": 1}, {"a": 0}, {"a": 1}])
    a_at_0, b, a_at_1 = 0.007 + RISE, 0.006 + FALL, (0.005 + RISE) + (0.005 + FALL)
    assert part.internal == pytest.approx(a_at_0 + b + a_at_1, **CLOSE)
    assert part.nets == pytest.approx(4 * NET, **CLOSE)


def test_the_select_of_mux2_takes_energy_while_its_output_stays() -> None:
    cells: Cellist = {"u": ("MUX2", {"A0": "a", "A1": "b", "S": "s", "Y": "y"})}
    with bench(cells, "clk_i a b s") as found:
        steps = [{"a": 0, "b": 0, "s": 0}, {"s": 1}, {"s": 0}, {"b": 1}, {"s": 1}, {"a": 1}, {"s": 0}]
        part = taken(found, steps)
    both_0 = (0.0045 + IN_RISE) + (0.0045 + IN_FALL)
    output, both_1 = 0.010 + RISE, 0.0035 + IN_FALL  # S rises to A1; then A0 is 1 as well
    assert part.internal == pytest.approx(both_0 + output + both_1, **CLOSE)
    assert part.nets == pytest.approx(NET, **CLOSE)


def test_a_glitch_takes_energy_and_a_swallowed_one_does_not() -> None:
    for kind, out, edges in (("DELAY", "X", 0.006 + RISE + 0.006 + FALL), ("BUF", "X", 0.0)):
        cells: Cellist = {"u_1": (kind, {"A": "a", out: "n"}), "u_2": ("XOR2", {"A": "a", "B": "n", "Y": "y"})}
        with bench(cells) as found:
            part = taken(found, [{"a": 0}, {"a": 1}])
        glitch = edges and 0.007 + RISE + 0.006 + FALL  # A rises while B is 0, then B
        assert part.internal == pytest.approx(0.004 + RISE + glitch, **CLOSE)
        assert part.nets == pytest.approx((3 if edges else 1) * NET, **CLOSE)


def test_a_flip_flop_with_its_clock_its_data_and_both_outputs() -> None:
    cells: Cellist = {"r": ("DFF", {"CLK": "clk_i", "D": "a", "RST_N": "b", "Q": "q", "A_N": "y"})}
    with bench(cells, outputs="q y") as found:
        part = taken(found, [{"a": 0, "b": 1}, {"a": 1}, {}, {"a": 0}])
        root = found.energy()["clock input"]
    rises = (0.0102 + PIN_RISE) + (0.0101 + PIN_RISE) + (0.0103 + PIN_RISE)  # (D, Q) before: 1 0, then 1 1, 0 1
    falls = (0.0101 + PIN_FALL) + (0.0101 + PIN_FALL) + (0.0104 + PIN_FALL)  # after: 1 1, 1 1, 0 0
    assert part.clock == pytest.approx(rises + falls, **CLOSE)
    data = (0.0112 + IN_RISE) + (0.0112 + IN_FALL)  # while the clock is low
    outputs = (0.020 + CLOCKED_RISE) + (0.011 + CLOCKED_FALL) + (0.020 + CLOCKED_FALL) + (0.011 + CLOCKED_RISE)
    assert part.internal == pytest.approx(data + outputs, **CLOSE)
    assert part.nets == pytest.approx(4 * NET, **CLOSE)
    assert root.clock == pytest.approx(3 * 2 * NET, **CLOSE)
    assert root.total == root.clock


def test_data_that_changes_while_the_clock_is_high_takes_what_the_library_says_for_that() -> None:
    """The second register's data comes from the first one, right after the edge."""
    pins = {"CLK": "clk_i", "RST_N": "1"}
    cells: Cellist = {"r_1": ("DFF", {**pins, "D": "a", "Q": "q"}), "r_2": ("DFF", {**pins, "D": "q", "Q": "y"})}
    with bench(cells) as found:
        part = taken(found, [{"a": 0}, {"a": 1}])
    switched = (0.0112 + IN_RISE) + (0.020 + CLOCKED_RISE) + (0.011 + 0.002 * 0.1 + 0.0005) + (0.0012 + IN_RISE)
    assert part.internal == pytest.approx(switched, **CLOSE)  # its inverted output has no load, but switches
    first, second = (0.0102 + PIN_RISE) + (0.0101 + PIN_FALL), (0.0104 + PIN_RISE) + (0.0102 + PIN_FALL)
    assert part.clock == pytest.approx(first + second, **CLOSE)


GATED: Cellist = {
    "g": ("ICG", {"CLK": "clk_i", "EN": "b", "GCLK": "gated"}),
    "r_1": ("DFFQ", {"CLK": "gated", "D": "0", "Q": "y"}),
    "r_2": ("DFFQ", {"CLK": "gated", "D": "0", "Q": "z"}),
}


@pytest.mark.parametrize("opened", [0, 1])
def test_a_clock_gate_open_and_closed(opened: int) -> None:
    with bench(GATED, outputs="y z") as found:
        part = taken(found, [{"b": opened}, {}, {}, {}])
    pin = 0.007 + PIN_RISE + 0.007 + PIN_FALL
    passed = (0.008 + CLOCKED_RISE) + (0.008 + CLOCKED_FALL) + 2 * NET + 2 * (0.009 + PIN_RISE + 0.009 + PIN_FALL)
    assert part.clock == pytest.approx(3 * (pin + opened * passed), **CLOSE)
    assert (part.internal, part.nets) == (0, 0)


def test_the_enable_of_a_clock_gate() -> None:
    with bench(GATED, outputs="y z") as found:
        closed = taken(found, [{"b": 0}, {}, {}])
    with bench(GATED, outputs="y z") as found:
        once = taken(found, [{"b": 0}, {"b": 1}, {"b": 0}])
    passed = (0.008 + CLOCKED_RISE) + (0.008 + CLOCKED_FALL) + 2 * NET + 2 * (0.009 + PIN_RISE + 0.009 + PIN_FALL)
    enable = (0.013 + IN_RISE) + (0.013 + IN_FALL)
    assert once.clock - closed.clock == pytest.approx(passed + enable, **CLOSE)


def test_buffers_of_a_clock_tree_take_their_energy_each_cycle() -> None:
    """Twenty flip-flops: two buffers, each with its net. They hold 0, so nothing but the clock switches."""
    cells: Cellist = {f"r_{i}": ("DFFQ", {"CLK": "clk_i", "D": "0", "Q": f"q{i}"}) for i in range(20)}
    plain = read_module(Module({"clk_i": "clk_i"}, {}, cells), small_cells())
    netlist = add_trees(plain, small_cells(), clock="clk_i", memory_pf={})
    with Bench(netlist, small_cells()) as found:
        part = taken(found, [{}, {}, {}, {}, {}])
        root = found.energy()["clock input"]
    flops = 20 * (0.009 + PIN_RISE + 0.009 + PIN_FALL)
    loads = [16 * 0.004 + (31 + 7.5 * 13) * 0.0005, 4 * 0.004 + (31 + 7.5) * 0.0005]
    buffers = sum(2 * (0.004 + 0.002 * 0.1 + 0.05 * load) + 0.0005 for load in loads)
    assert part.clock == pytest.approx(4 * (flops + buffers + sum(loads) * 1.5**2), **CLOSE)
    assert (part.internal, part.nets) == (0, 0)
    strong, weak = 0.006, 0.002  # 0.128 pF is more than half of what the weak one may drive
    assert root.clock == pytest.approx(4 * (strong + weak + 22 * 0.0005) * 1.5**2, **CLOSE)


def test_a_buffer_of_a_gated_clock_takes_energy_for_the_pulses_that_pass() -> None:
    cells: Cellist = {
        **GATED,
        "u": ("BUF", {"A": "gated", "X": "far"}),
        "r_3": ("DFFQ", {"CLK": "far", "D": "0", "Q": "q"}),
    }
    with bench(cells, outputs="y z") as found:
        part = taken(found, [{"b": 1}, {}, {}, {}])
    without = 3 * (0.007 + PIN_RISE + 0.007 + PIN_FALL + (0.008 + CLOCKED_RISE) + (0.008 + CLOCKED_FALL) + 2 * NET)
    flops = 3 * 3 * (0.009 + PIN_RISE + 0.009 + PIN_FALL)
    assert part.clock == pytest.approx(without + flops + 3 * (0.008 + CLOCKED_RISE + CLOCKED_FALL + 2 * NET), **CLOSE)


def test_a_memory_with_its_accesses_its_output_nets_and_its_leakage() -> None:
    pins = memory_pins()
    inputs = {f"{pin}_x": nets for pin, nets in pins.items() if pin not in ("clk_i", "rdata_o")}
    module = Module({"clk_i": "clk_i", **inputs}, {}, {
        "u_memory": (MEMORY, pins),
        "u_0": ("INV", {"A": "rdata_o0"}),
        "u_1": ("XOR2", {"A": "rdata_o1", "B": "rdata_o1"}),
    })  # fmt: skip
    netlist = read_module(module, small_cells())
    with Bench(netlist, small_cells(), memories={"u_memory": memory_model()}) as found:
        found.simulation.store("u_memory", np.array([[0, 0], [1, 1], [1, 0]], np.uint8))
        found.step(req_i_x=1, addr_i_x=0)
        found.count()
        found.step(addr_i_x=1)  # 11
        found.step(addr_i_x=2)  # 01
        found.step(we_i_x=1, be_i_x=1, wdata_i_x=0, addr_i_x=3)
        found.step(req_i_x=0)
        parts = found.energy()
    memory = parts["u_memory"]
    assert memory.internal == pytest.approx((10 + 1) + (10 + 2) + (20 + 3), **CLOSE)
    first, second = 0.003 + 10 * 0.0005, 0.005 + 0.0045 + 22 * 0.0005
    assert memory.nets == pytest.approx((first + 2 * second) * 1.5**2 / 2, **CLOSE)
    assert memory.leakage == pytest.approx(40e-9 * 4 * 20e-9 / 1e-12, **CLOSE)
    assert (memory.clock, list(parts)) == (0, ["top", "clock input", "u_memory"])


def test_leakage_is_of_every_cell_over_the_time_that_was_counted() -> None:
    cells: Cellist = {"u_1": ("INV", {"A": "0"}), "u_2": ("MUX2", {"A0": "0", "A1": "0", "S": "0"}),
                      "u_3": ("TIE1", {"Y": "one"}),
                      "r": ("DFF", {"CLK": "clk_i", "D": "0", "RST_N": "one"})}  # fmt: skip
    with bench(cells, outputs="one", period_ns=50.0) as found:
        part = taken(found, [{} for _ in range(1001)])
    watts = (2.0 + 6.0 + 1.0 + 12.0) * 1e-9
    assert part.leakage == pytest.approx(watts * 1000 * 50e-9 / 1e-12, **CLOSE)


def test_an_unconnected_clock_gate_charges_no_net() -> None:
    cells: Cellist = {"g": ("ICG", {"CLK": "clk_i", "EN": "1"}), "u": ("INV", {"A": "a", "Y": "y"})}
    with bench(cells) as found:
        part = taken(found, [{}, {}])
    assert part.clock == pytest.approx(0.014 + PIN_RISE + PIN_FALL + 0.016 + 0.0005 + 2 * 0.002 * 0.1, **CLOSE)


def test_parts_are_those_of_the_blocks_and_add_up() -> None:
    """Two equal blocks, of which one holds still, and what lies around them."""
    leaf = Module({"clk_i": "clk_i", "a": "a", "b": "b"}, {"y": "y"}, {
        "u": ("XOR2", {"A": "a", "B": "y", "Y": "d"}),
        "g": ("ICG", {"CLK": "clk_i", "EN": "b", "GCLK": "gated"}),
        "r": ("DFF", {"CLK": "gated", "D": "d", "RST_N": "1", "Q": "y"}),
    })  # fmt: skip
    top = Module({"clk_i": "clk_i", "a": "a", "b": "b"}, {"y": "y", "z": "z"}, {
        "u_0": ("leaf", {"clk_i": "clk_i", "a": "a", "b": "b", "y": "y"}),
        "u_1": ("leaf", {"clk_i": "clk_i", "a": "0", "b": "0", "y": "z"}),
        "u": ("INV", {"A": "a"}),
    })  # fmt: skip
    cells = small_cells()
    netlist = read_netlist(write_json({"top": top, "leaf": leaf}), "top", cells, "intarsia_memory")
    rng = np.random.default_rng(3)
    with Bench(netlist, cells) as found:
        taken(found, [{"a": int(rng.integers(2)), "b": int(rng.integers(2))} for _ in range(30)])
        whole, parts = found.energy(), found.energy(names=["around", "first", "second"])
    assert list(parts) == ["around", "first", "second", "clock input"]
    for name in ("internal", "nets", "clock", "leakage", "total"):
        each = [getattr(part, name) for part in parts.values()]
        assert sum(each) == pytest.approx(getattr(whole["top"], name) + getattr(whole["clock input"], name), **CLOSE)
    first, second = parts["first"], parts["second"]
    assert (second.internal, second.nets) == (0, 0)
    assert second.clock == pytest.approx(29 * (0.014 + PIN_RISE + PIN_FALL), **CLOSE)
    assert first.total > second.total > first.leakage == second.leakage > 0
    assert parts["around"].leakage == pytest.approx(first.leakage * 2 / (5 + 7 + 12), **CLOSE)


# By the numbers in IHP's file: 1.2 V, a load of 0.0234 pF (a column of the tables) and 0.0966 ns (a row) everywhere.
# The clock's 0.1 ns lie between that row and the one of 0.174.
REAL = {"load": 0.0234, "slew": 0.0966}
REAL_NET = 0.5 * 0.0234 * 1.2**2


def at_clock(low: float, high: float) -> float:
    return low + (high - low) * (0.1 - 0.0966) / (0.174 - 0.0966)


def real(pdk: Pdk, kind: str, pins: Mapping[str, str], steps: list[dict[str, int]], inputs: str = "") -> PartEnergy:
    with bench({"u": (kind, pins)}, inputs=f"clk_i a b {inputs}", pdk=pdk, **REAL) as found:
        return taken(found, steps)


@pytest.mark.pdk
def test_an_inverter_of_the_real_library(pdk: Pdk) -> None:
    part = real(pdk, "sg13g2_inv_1", {"A": "a", "Y": "y"}, [{"a": 0}, {"a": 1}, {"a": 0}])
    assert part.internal == pytest.approx(0.00175268 + 0.00171085, **CLOSE)
    assert part.nets == pytest.approx(2 * REAL_NET, **CLOSE)
    assert part.leakage == pytest.approx(63.0032e-12 * 2 * 20e-9 / 1e-12, **CLOSE)


@pytest.mark.pdk
def test_nand2_of_the_real_library(pdk: Pdk) -> None:
    steps = [{"a": 1, "b": 0}, {"b": 1}, {"a": 0}, {"a": 1}, {"b": 0}]
    part = real(pdk, "sg13g2_nand2_1", {"A": "a", "B": "b", "Y": "y"}, steps)
    assert part.internal == pytest.approx(0.00419309 + 0.00187958 + 0.00253237 + 0.00192937, **CLOSE)
    assert part.nets == pytest.approx(4 * REAL_NET, **CLOSE)


@pytest.mark.pdk
def test_xor2_of_the_real_library(pdk: Pdk) -> None:
    steps = [{"a": 0, "b": 0}, {"a": 1}, {"b": 1}, {"a": 0}, {"b": 0}]
    part = real(pdk, "sg13g2_xor2_1", {"A": "a", "B": "b", "X": "y"}, steps)
    a_at_0, b_at_1, a_at_1, b_at_0 = 0.00697337, 0.00393211, 0.00518086, 0.00765531  # rise, fall, rise, fall
    assert part.internal == pytest.approx(a_at_0 + b_at_1 + a_at_1 + b_at_0, **CLOSE)


@pytest.mark.pdk
def test_mux2_of_the_real_library(pdk: Pdk) -> None:
    steps = [{"a": 1, "b": 1, "s": 0}, {"s": 1}, {"s": 0}, {"b": 0}, {"s": 1}, {"a": 0}, {"s": 0}]
    part = real(pdk, "sg13g2_mux2_1", {"A0": "a", "A1": "b", "S": "s", "X": "y"}, steps, "s")
    both_1, output, both_0 = 0.00374977 + 0.00376578, 0.00977973, 0.00395121
    assert part.internal == pytest.approx(both_1 + output + both_0, **CLOSE)
    assert part.nets == pytest.approx(REAL_NET, **CLOSE)


@pytest.mark.pdk
def test_a_flip_flop_of_the_real_library(pdk: Pdk) -> None:
    pins = {"CLK": "clk_i", "D": "a", "RESET_B": "b", "Q": "y"}
    part = real(pdk, "sg13g2_dfrbpq_1", pins, [{"a": 0, "b": 1}, {"a": 1}, {}, {"a": 0}, {}])
    output = at_clock(0.0251174, 0.0250032) + at_clock(0.0261136, 0.0262252)
    data = 0.011727 + 0.00867533
    assert part.internal == pytest.approx(output + data, **CLOSE)
    rises = 0 + at_clock(0.0106749, 0.0106884) + 0 + at_clock(0.0104442, 0.0104514)
    falls = 2 * at_clock(0.0207545, 0.0207998) + 2 * at_clock(0.0103653, 0.01043)
    assert part.clock == pytest.approx(rises + falls, **CLOSE)


@pytest.mark.pdk
@pytest.mark.parametrize("opened", [0, 1])
def test_a_clock_gate_and_a_clock_buffer_of_the_real_library(pdk: Pdk, opened: int) -> None:
    cells: Cellist = {
        "g": ("sg13g2_lgcp_1", {"CLK": "clk_i", "GATE": "a", "GCLK": "gated"}),
        "u": ("sg13g2_buf_1", {"A": "gated", "X": "far"}),
        "r": ("sg13g2_dfrbpq_1", {"CLK": "far", "D": "0", "RESET_B": "1", "Q": "y"}),
    }
    with bench(cells, pdk=pdk, **REAL) as found:
        part = taken(found, [{"a": opened}, {}, {}])
    pin = at_clock(0.00702468, 0.00700188) + at_clock(0.00843733, 0.00853493)
    gate = at_clock(0.00880432, 0.00868992) + at_clock(0.00546297, 0.00550467) + 2 * REAL_NET
    flop = at_clock(0.0104442, 0.0104514) + at_clock(0.0103653, 0.01043)
    buffer = at_clock(0.00577911, 0.00572757) + at_clock(0.0057855, 0.005791) + 2 * REAL_NET
    assert part.clock == pytest.approx(2 * (pin + opened * (gate + buffer + flop)), **CLOSE)


@pytest.mark.pdk
def test_a_memory_of_the_real_macros(pdk: Pdk) -> None:
    macro = next(cell for cell in pdk.srams if cell.name == "RM_IHPSG13_1P_256x16_c2_bm_bist")
    model = macros_model(Memory("u_memory", 16, 200, 1), [macro], multiplexer_um2=pdk.multiplexer_um2)
    assert model.depth == 200
    assert (set(model.read_pj), set(model.write_pj), model.leakage_nw) == ({14.1920}, {18.4562}, 49.5039)
    assert model.access_ns == 3.1758
    pins = memory_pins(8, 16)
    inputs = {f"{pin}_x": nets for pin, nets in pins.items() if pin not in ("clk_i", "rdata_o")}
    module = Module({"clk_i": "clk_i", **inputs}, {}, {"u_memory": (MEMORY, pins), "u": ("sg13g2_inv_1", {"A": "0"})})
    library = read_cells(pdk.cells.path)
    with Bench(read_module(module, library), library, memories={"u_memory": model}) as found:
        found.count()
        for _ in range(5):
            found.step(req_i_x=1, addr_i_x=17)
        for address in range(3):
            found.step(we_i_x=1, be_i_x=1, addr_i_x=address)
        found.step(req_i_x=0)
        memory = found.energy()["u_memory"]
    assert memory.internal == pytest.approx(5 * 14.1920 + 3 * 18.4562, **CLOSE)
    assert memory.leakage == pytest.approx(49.5039e-9 * 9 * 20e-9 / 1e-12, **CLOSE)


def test_a_word_takes_what_the_macros_that_hold_it_take() -> None:
    """Two columns; the first of one deep macro, the second of a deep and a shallow one."""
    deep = Cell("X_1P_8x8", 1.0, 8, 8, 3.0, 5.0, access_ns=1.0, setup_ns=0.1, pin_pf=0.01, leakage_nw=7.0)
    shallow = Cell("X_1P_4x8", 1.0, 4, 8, 1.0, 2.0, access_ns=2.0, setup_ns=0.3, pin_pf=0.02, leakage_nw=4.0)
    long = Cell("X_1P_16x8", 1.0, 16, 8, 10.0, 20.0, access_ns=1.5, setup_ns=0.2, pin_pf=0.04, leakage_nw=9.0)
    columns = ((long,), (deep, shallow))
    found = model_of(MappedMemory(Memory("m", 16, 11, 1), columns, 3.0, 8, 1.0))
    assert found.read_pj.tolist() == [13.0] * 8 + [11.0] * 3
    assert found.write_pj.tolist() == [25.0] * 8 + [22.0] * 3
    assert found.leakage_nw == 20.0
    assert found.pin_pf == pytest.approx(0.07)
    assert (found.access_ns, found.setup_ns) == (2.0, 0.3)


def test_a_macro_without_energies_is_refused() -> None:
    mute = Cell("X_1P_4x8", 1.0, 4, 8)
    with pytest.raises(IntarsiaError, match="does not say what an access to X_1P_4x8 takes; check PDK_ROOT"):
        model_of(MappedMemory(Memory("m", 8, 4, 1), ((mute,),), 1.0, 0, 0.0))
