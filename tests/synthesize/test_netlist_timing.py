# SPDX-License-Identifier: Apache-2.0
from itertools import pairwise

import numpy as np
import pytest

from intarsia.errors import IntarsiaError
from intarsia.synthesize.netlist.cells import Cells, read_cells
from intarsia.synthesize.netlist.flat import Netlist
from intarsia.synthesize.netlist.timing import MemoryTiming, Timing, analyze
from intarsia.synthesize.pdk import Pdk
from netlists import MEMORY, Module, Pins, memory_pins, read_module, small_cells

EXACT = {"abs": 1e-9, "rel": 0}


def timed(netlist: Netlist, load: float, memories: dict[str, MemoryTiming] | None = None) -> Timing:
    """Return the timing with one load for all nets."""
    return analyze(netlist, np.full(netlist.nets, load), memories or {})


def small(cells: dict[str, tuple[str, Pins]], inputs: str = "clk_i a b", outputs: str = "y") -> Netlist:
    ports = {name: name for name in inputs.split()}
    return read_module(Module(ports, {name: name for name in outputs.split()}, cells), small_cells())


def test_a_chain_of_inverters_by_hand() -> None:
    """Every delay is base + slew/4 + 2 · load (+ 0.015 if the output falls), every slew 0.05 + slew/8 + 4 · load."""
    netlist = small({
        "u_1": ("INV", {"A": "a", "Y": "_1"}), "u_2": ("INV", {"A": "_1", "Y": "_2"}),
        "u_3": ("INV", {"A": "_2", "Y": "y"}),
    })  # fmt: skip
    found = timed(netlist, 0.01)
    slew_1 = 0.05 + 0.1 / 8 + 0.04
    slew_2 = 0.05 + slew_1 / 8 + 0.04
    common = 3 * (0.02 + 0.02) + 0.25 * (0.1 + slew_1 + slew_2)
    assert found.path.period_ns == pytest.approx(common + 2 * 0.015, **EXACT)  # falls, rises, falls
    assert (found.path.start, found.path.end) == ("a", "y")
    assert [step.cell for step in found.path.steps] == ["", "INV", "INV", "INV"]
    times = [step.time_ns for step in found.path.steps]
    assert times[:2] == pytest.approx([0.0, 0.02 + 0.02 + 0.025 + 0.015], **EXACT)
    assert times[2] == pytest.approx(2 * 0.04 + 0.025 + 0.015 + 0.25 * slew_1, **EXACT)
    last = int(netlist.outputs[2, 0])
    assert found.slews[last] == pytest.approx([0.05 + slew_2 / 8 + 0.04] * 2, **EXACT)
    assert found.delays[1, 0] == pytest.approx([0.04 + 0.25 * slew_1, 0.055 + 0.25 * slew_1], **EXACT)


def test_flip_flop_to_flip_flop_with_setup_by_hand() -> None:
    netlist = small({
        "r_1": ("DFF", {"CLK": "clk_i", "D": "a", "RST_N": "1", "Q": "q"}),
        "u_1": ("XOR2", {"A": "b", "B": "q", "Y": "d"}),
        "r_2": ("DFFQ", {"CLK": "clk_i", "D": "d", "Q": "y"}),
    })  # fmt: skip
    found = timed(netlist, 0.02)
    slew_q = 0.05 + 0.1 / 8 + 0.08
    slew_d = 0.05 + slew_q / 8 + 0.08
    reached = 0.1 + 0.025 + 0.04 + 0.015  # Q falls, then D rises or falls: B is not unate
    d_rises = reached + 0.055 + 0.25 * slew_q + 0.04
    setup_rise = 0.05 + 0.5 * slew_d + 0.125 * 0.1
    assert found.path.period_ns == pytest.approx(d_rises + 0.015 + setup_rise + 0.01, **EXACT)  # D falls
    assert (found.path.start, found.path.end) == ("q", "y")
    assert [step.net for step in found.path.steps] == ["q", "d"]
    assert [step.time_ns for step in found.path.steps] == pytest.approx([reached, d_rises + 0.015], **EXACT)


def test_the_slowest_arc_counts_whatever_its_condition() -> None:
    """A of XOR2 has 0.05 for a rising and 0.06 for a falling input of its own: unate, by the state of B."""
    netlist = small({"u": ("XOR2", {"A": "a", "B": "1", "Y": "y"})})
    assert timed(netlist, 0.0).path.period_ns == pytest.approx(0.06 + 0.025 + 0.015, **EXACT)


def test_a_path_follows_the_edge_that_decides() -> None:
    """Y rises late, through A of the first gate; its fall is decided by another input, which is off the path."""
    netlist = small({
        "r": ("DFFQ", {"CLK": "clk_i", "D": "0", "Q": "q"}),
        "s": ("DFFQ", {"CLK": "clk_i", "D": "0", "Q": "s"}),
        "u_1": ("DELAY", {"A": "q", "X": "late"}),
        "u_2": ("BUF", {"A": "s", "X": "early"}),
        "u_3": ("MUX2", {"A0": "late", "A1": "early", "S": "a", "Y": "y"}),
    })  # fmt: skip
    path = timed(netlist, 0.01).path
    assert [step.net for step in path.steps] == ["q", "late", "y"]
    times = [step.time_ns for step in path.steps]
    assert times == sorted(times)
    assert times[-1] == path.period_ns


@pytest.mark.parametrize("pins", ["ab", "ba"])
def test_the_start_of_a_path_is_where_its_steps_begin(pins: str) -> None:
    """NAND2: B is slower by 0.01. Whichever arc comes first, steps and times are those of the slowest edge."""
    netlist = small({"u_1": ("NAND2", {"A": pins[0], "B": pins[1], "Y": "_n"}), "u_2": ("INV", {"A": "_n", "Y": "y"})})
    path = timed(netlist, 0.0).path
    assert path.start == pins[1]
    assert path.steps[1].time_ns == pytest.approx(0.035 + 0.025 + 0.015, **EXACT)


def test_each_step_of_a_path_leads_to_the_next_by_a_delay_of_its_cell(pdk: Pdk) -> None:
    """On random logic of the real library, where edges of a cell differ."""
    cells, rng = read_cells(pdk.cells.path), np.random.default_rng(5)
    kinds = [name for name, model in cells.models.items() if model.kind.value == 0 and 2 <= len(model.inputs) <= 4]
    for _ in range(20):
        nets, made = ["a", "b", "clk_i"], {}
        for number in range(30):
            kind = str(rng.choice(kinds))
            model = cells.models[kind]
            pins = {pin: str(rng.choice(nets[-8:])) for pin in model.inputs}
            made[f"u_{number}"] = (kind, {**pins, model.outputs[0]: f"n{number}"})
            nets.append(f"n{number}")
        top = Module({name: name for name in ("a", "b", "clk_i")}, {"y": "n29"}, made)
        netlist = read_module(top, cells)
        found = analyze(netlist, rng.uniform(0.002, 0.1, netlist.nets), {})
        times = {netlist.names.index(step.net): step.time_ns for step in found.path.steps}
        drivers = {int(net): cell for cell, net in enumerate(netlist.outputs[:, 0])}
        path = list(times)
        for before, after in pairwise(path):
            cell = drivers[after]
            pins = np.flatnonzero(netlist.inputs[cell] == before)
            assert len(pins)
            most = found.delays[cell, pins].max()
            assert 0 < times[after] - times[before] <= most + 1e-9
        assert times[path[-1]] == found.path.period_ns


def test_constants_start_no_path_and_an_unconnected_output_is_no_loop() -> None:
    netlist = small({
        "u_1": ("DELAY", {"A": "0", "X": "_n"}),
        "u_2": ("NAND2", {"A": "_n", "B": "a", "Y": "y"}),
        "u_3": ("INV", {"A": "y", "Y": []}),
        "u_4": ("TIE1", {"Y": "_one"}),
        "u_5": ("INV", {"A": "_one", "Y": []}),
    })  # fmt: skip
    path = timed(netlist, 0.0).path
    assert path.period_ns == pytest.approx(0.035 + 0.025 + 0.015, **EXACT)
    assert [step.net for step in path.steps] == ["a", "y"]


def test_a_loop_without_a_register_is_refused_and_one_with_it_is_not() -> None:
    loop = {"u_1": ("NAND2", {"A": "a", "B": "_2", "Y": "_1"}), "u_2": ("INV", {"A": "_1", "Y": "_2"}),
            "u_3": ("INV", {"A": "_2", "Y": "y"})}  # fmt: skip
    with pytest.raises(IntarsiaError, match=r"^logic of the netlist feeds back on itself without a register; break"):
        timed(small(loop), 0.0)
    toggle = {"u": ("INV", {"A": "y", "Y": "_n"}), "r": ("DFFQ", {"CLK": "clk_i", "D": "_n", "Q": "y"})}
    assert timed(small(toggle), 0.0).path.period_ns > 0.1


def test_memories_begin_and_end_paths() -> None:
    pins = {**memory_pins(), "req_i": ["a"], "we_i": ["b"], "wdata_i": ["wdata_i0", "0"]}
    netlist = small({
        "u_memory": (MEMORY, pins),
        "u_1": ("BUF", {"A": "rdata_o0", "X": "y"}),
        "u_2": ("DELAY", {"A": "a", "X": "wdata_i0"}),
    })  # fmt: skip
    slow_read = timed(netlist, 0.0, {"u_memory": MemoryTiming(2.0, 0.3)}).path
    assert slow_read.period_ns == pytest.approx(2.0 + 0.04 + 0.025 + 0.015, **EXACT)
    assert (slow_read.start, slow_read.end) == ("rdata_o0", "y")
    slow_write = timed(netlist, 0.0, {"u_memory": MemoryTiming(0.1, 0.3)}).path
    assert slow_write.period_ns == pytest.approx(0.5 + 0.025 + 0.015 + 0.3, **EXACT)
    assert (slow_write.start, slow_write.end) == ("a", "u_memory.wdata_i")


def test_an_enable_of_a_clock_gate_is_an_end_with_its_setup() -> None:
    netlist = small({
        "u_1": ("DELAY", {"A": "a", "X": "_en"}),
        "g": ("ICG", {"CLK": "clk_i", "EN": "_en", "GCLK": "gated"}),
        "r": ("DFFQ", {"CLK": "gated", "D": "b", "Q": "y"}),
    })  # fmt: skip
    path = timed(netlist, 0.0).path
    slew = 0.05 + 0.1 / 8
    assert path.period_ns == pytest.approx(0.5 + 0.025 + 0.015 + 0.04 + 0.5 * slew + 0.0125 + 0.01, **EXACT)
    assert (path.start, path.end) == ("a", "gated")


def between(x: float, x0: float, x1: float, y0: float, y1: float) -> float:
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


@pytest.mark.pdk
def test_inverters_of_the_real_library_by_the_numbers_in_its_file(pdk: Pdk) -> None:
    """Loads of 0.0234 pF, a column of all tables; slews lie between two rows."""
    cells: Cells = read_cells(pdk.cells.path)
    inverters = {"u_1": ("sg13g2_inv_1", {"A": "a", "Y": "_1"}), "u_2": ("sg13g2_inv_1", {"A": "_1", "Y": "y"})}
    netlist = read_module(Module({"a": "a"}, {"y": "y"}, inverters), cells)
    found = timed(netlist, 0.0234)
    rise = between(0.1, 0.0966, 0.174, 0.127379, 0.16103)
    fall = between(0.1, 0.0966, 0.174, 0.11785, 0.151895)
    assert found.delays[0, 0] == pytest.approx([rise, fall], **EXACT)
    rise_slew = between(0.1, 0.0966, 0.174, 0.110169, 0.128637)
    fall_slew = between(0.1, 0.0966, 0.174, 0.0889091, 0.108866)
    second_rise = between(fall_slew, 0.0186, 0.0966, 0.0848969, 0.127379)
    second_fall = between(rise_slew, 0.0966, 0.174, 0.11785, 0.151895)
    assert found.path.period_ns == pytest.approx(max(fall + second_rise, rise + second_fall), **EXACT)


@pytest.mark.pdk
def test_a_register_of_the_real_library_with_setup_by_the_numbers_in_its_file(pdk: Pdk) -> None:
    pins = {"CLK": "clk_i", "RESET_B": "1"}
    netlist = read_module(
        Module({"clk_i": "clk_i", "a": "a"}, {"y": "y"}, {
            "r_1": ("sg13g2_dfrbpq_1", {**pins, "D": "0", "Q": "q"}),
            "r_2": ("sg13g2_dfrbpq_1", {**pins, "D": "q", "Q": "y"}),
        }),
        read_cells(pdk.cells.path),
    )  # fmt: skip
    found = timed(netlist, 0.0234)
    rise = between(0.1, 0.0966, 0.174, 0.259633, 0.285242)
    fall = between(0.1, 0.0966, 0.174, 0.24679, 0.272095)
    rise_slew = between(0.1, 0.0966, 0.174, 0.103076, 0.103077)
    fall_slew = between(0.1, 0.0966, 0.174, 0.0787181, 0.0787191)

    def setup(slew: float, rows: list[list[float]]) -> float:
        columns = [between(0.1, 0.0186, 0.51636, *row) for row in rows]
        return between(slew, 0.0186, 0.51636, *columns)

    rise += setup(rise_slew, [[0.112479, 0.0401797], [0.274294, 0.185892]])
    fall += setup(fall_slew, [[0.112479, -0.0147285], [0.291765, 0.168066]])
    assert found.path.period_ns == pytest.approx(max(rise, fall), **EXACT)
    assert (found.path.start, found.path.end) == ("q", "y")
