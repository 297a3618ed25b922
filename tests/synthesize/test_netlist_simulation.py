# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator

from intarsia.errors import IntarsiaError
from intarsia.synthesize.netlist.cells import Cells, Kind, read_cells
from intarsia.synthesize.netlist.compiled import compiled
from intarsia.synthesize.netlist.simulation import FLOP_DATA, FLOP_OUTPUT, FLOP_RISE, GATE_PULSES
from intarsia.synthesize.netlist.trees import add_trees
from intarsia.synthesize.pdk import Pdk
from netlists import MEMORY, Bench, Module, Pins, Plain, memory_model, memory_pins, read_module, small_cells

INPUTS = ("clk_i", "rst_ni", "a", "b", "c")


def random_module(rng: Generator, cells: Cells, size: int) -> Module:
    """Return random logic with registers that feed back, gated clocks (in each other, too), resets and a memory."""
    models = list(cells.models.values())
    logic = [model for model in models if model.kind is Kind.LOGIC]
    flops = [model for model in models if model.kind is Kind.FLIP_FLOP]
    [gate] = [model for model in models if model.kind is Kind.CLOCK_GATE]
    stored = [f"r{number}" for number in range(size // 3)]
    known = ["a", "b", "c", "0", "1", *stored, "rdata_o0", "rdata_o1"]
    clocks = ["clk_i", *(f"g{number}" for number in range(4))]
    made: dict[str, tuple[str, Pins]] = {}
    for number in range(size):
        model = logic[rng.integers(len(logic))]
        pins = {pin: str(rng.choice(known[-12:])) for pin in model.inputs}
        made[f"u_{number}"] = (model.name, {**pins, model.outputs[0]: f"n{number}"})
        known.append(f"n{number}")
    for number, name in enumerate(stored):
        model = flops[rng.integers(len(flops))]
        clock, data, *clear = model.inputs
        pins = {clock: str(rng.choice(clocks)), data: str(rng.choice(known))}
        # A reset from logic would come with every glitch of it, of which the reference knows nothing.
        pins |= {name: str(rng.choice(["rst_ni", "rst_ni", "1", "c"])) for name in clear}
        if len(model.outputs) > 1:
            pins[model.outputs[1]] = f"inverted{number}"
            made[f"v_{number}"] = (logic[0].name, dict.fromkeys(logic[0].inputs, f"inverted{number}"))
        made[f"r_{number}"] = (model.name, {**pins, model.outputs[0]: name})
    for number in range(4):  # a gate's own clock may come from one that is after it in the netlist
        source = str(rng.choice(["clk_i", *clocks[number + 2 :]]))
        clock, enable = gate.inputs
        made[f"g_{number}"] = (
            gate.name,
            {clock: source, enable: str(rng.choice(known)), gate.outputs[0]: f"g{number}"},
        )
    some = {pin: [str(rng.choice(known)) for _ in nets] for pin, nets in memory_pins(enables=2).items()}
    made["u_memory"] = (MEMORY, {**some, "clk_i": ["clk_i"], "rdata_o": ["rdata_o0", "rdata_o1"]})
    watched = [*stored, *known[-20:], *(net for net in known if net.startswith("inverted"))]
    return Module({name: name for name in INPUTS}, {"y": watched}, made)


def agrees(rng: Generator, cells: Cells, size: int, *, trees: bool) -> None:
    """Run a random netlist for some cycles and compare it with plain Python."""
    netlist = read_module(random_module(rng, cells, size), cells)
    if trees:
        netlist = add_trees(netlist, cells, clock="clk_i", memory_pf={"u_memory": 0.01})
    plain = Plain(netlist)
    with Bench(netlist, cells, memories={"u_memory": memory_model()}, period_ns=100.0) as bench:
        words = rng.integers(0, 2, (4, 2))
        bench.simulation.store("u_memory", words.astype(np.uint8))
        plain.words["u_memory"][:] = words
        for cycle in range(25):
            inputs = {name: int(rng.integers(2)) for name in INPUTS[2:]}
            inputs["rst_ni"] = int(cycle > 2 and rng.random() < 0.9)
            bench.step(**inputs)
            plain.step(**inputs)
            assert bench.simulation.value("y") == plain.value("y"), cycle
        assert np.array_equal(bench.simulation.stored("u_memory"), plain.words["u_memory"])


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(6, 40), st.booleans())
def test_a_netlist_settles_to_what_its_cells_compute(seed: int, size: int, trees: bool) -> None:
    agrees(np.random.default_rng(seed), small_cells(), size, trees=trees)


@pytest.mark.pdk
@pytest.mark.parametrize("seed", range(8))
def test_a_netlist_of_all_cells_of_the_real_library_does_so_too(pdk: Pdk, seed: int) -> None:
    agrees(np.random.default_rng(seed), read_cells(pdk.cells.path), 120, trees=seed % 2 == 0)


def bench(cells: dict[str, tuple[str, Pins]], inputs: str = "clk_i a b", outputs: str = "y", **options: float) -> Bench:
    ports = {name: name for name in inputs.split()}
    netlist = read_module(Module(ports, {name: name for name in outputs.split()}, cells), small_cells())
    return Bench(netlist, small_cells(), **options)


def test_an_inverted_output_is_1_before_any_edge_even_in_reset_with_its_clock_stopped() -> None:
    cells: dict[str, tuple[str, Pins]] = {
        "g": ("ICG", {"CLK": "clk_i", "EN": "0", "GCLK": "gated"}),
        "r": ("DFF", {"CLK": "gated", "D": "a", "RST_N": "b", "Q": "q", "A_N": "y"}),
    }
    with bench(cells, outputs="q y") as found:
        found.step(a=1, b=0)
        assert (found.simulation.value("q"), found.simulation.value("y")) == (0, 1)


def glitch(delay: str, load: float) -> tuple[int, int]:
    """Return how often the output of an XOR changes whose inputs rise at once, one through a cell, and that cell's."""
    cells: dict[str, tuple[str, Pins]] = {
        "u_1": (delay, {"A": "a", ("Y" if delay == "INV" else "X"): "late"}),
        "u_2": ("XOR2", {"A": "a", "B": "late", "Y": "y"}),
    }
    with bench(cells, inputs="clk_i a", load=load) as found:
        found.step(a=0)
        before = found.simulation.value("y")
        found.count()
        found.step(a=1)
        toggles = found.simulation.activity().toggles
        assert found.simulation.value("y") == before
        return int(toggles[found.net("y")]), int(toggles[found.net("late")])


def test_a_pulse_longer_than_the_delay_is_a_glitch_and_a_shorter_one_is_swallowed() -> None:
    assert glitch("DELAY", 0.001) == (2, 1)  # inputs differ for 0.5 ns, XOR2 takes less than 0.1
    assert glitch("INV", 0.001) == (0, 1)  # 0.05 ns
    assert glitch("DELAY", 0.5) == (2, 1)  # 1.5 ns and 1.1 ns
    assert glitch("INV", 0.5) == (0, 1)


def test_every_cell_delays_as_its_tables_say() -> None:
    """The mean over the inputs of NAND2, a rising output; a falling one is 0.015 later."""
    cells: dict[str, tuple[str, Pins]] = {"u": ("NAND2", {"A": "a", "B": "b", "Y": "y"})}
    with bench(cells, load=0.01) as found:
        found.step(a=1, b=1)
        rise, fall = (found.timing.delays[0, :, edge].mean() for edge in (0, 1))
        assert (rise, fall) == pytest.approx((0.03 + 0.02 + 0.025, 0.03 + 0.02 + 0.025 + 0.015))


def test_latest_change_is_the_end_of_the_slowest_chain_that_switched() -> None:
    cells: dict[str, tuple[str, Pins]] = {
        "r": ("DFFQ", {"CLK": "clk_i", "D": "a", "Q": "q"}),
        "u": ("DELAY", {"A": "q", "X": "y"}),
    }
    with bench(cells, load=0.0) as found:
        found.step(a=0)
        assert found.simulation.latest_ns == 0
        found.step(a=1)
        slew = 0.05 + 0.1 / 8
        assert found.simulation.latest_ns == pytest.approx(0.1 + 0.025 + 0.5 + slew / 4, abs=0.002)


def test_a_clock_gate_stops_the_flip_flops_after_it_and_counts() -> None:
    cells: dict[str, tuple[str, Pins]] = {
        "g": ("ICG", {"CLK": "clk_i", "EN": "b", "GCLK": "gated"}),
        "r_1": ("DFFQ", {"CLK": "gated", "D": "a", "Q": "y"}),
        "r_2": ("DFFQ", {"CLK": "clk_i", "D": "a", "Q": "z"}),
    }
    with bench(cells, outputs="y z") as found:
        found.step(a=0, b=1)
        found.count()
        seen = []
        for a, b in ((1, 0), (0, 0), (1, 1), (1, 1), (0, 0)):
            found.step(a=a, b=b)
            seen.append((found.simulation.value("y"), found.simulation.value("z")))
        assert seen == [(0, 1), (0, 0), (1, 1), (1, 1), (1, 0)]
        activity = found.simulation.activity()
        assert activity.cycles == 5
        assert activity.pulses.tolist() == [2, 0, 0]
        gate, gated, free = (activity.counters[slice(*activity.first[i : i + 2])] for i in range(3))
        assert gate[GATE_PULSES : GATE_PULSES + 2].tolist() == [2, 3]
        assert gated[FLOP_RISE : FLOP_RISE + 4].tolist() == [0, 1, 0, 1]  # (output, data): 0 1, then 1 1
        assert free[FLOP_RISE : FLOP_RISE + 4].sum() == 5
        assert free[FLOP_OUTPUT : FLOP_OUTPUT + 2].tolist() == [2, 2]
        assert free[FLOP_DATA : FLOP_DATA + 4].tolist() == [2, 2, 0, 0]  # while the clock is low: fall, rise
        assert [activity.toggles[found.net(name)] for name in ("y", "z", "a", "b", "gated")] == [1, 4, 4, 3, 0]


def test_a_gate_of_a_gated_clock_passes_what_that_one_passed_in_this_cycle() -> None:
    cells: dict[str, tuple[str, Pins]] = {
        "inner": ("ICG", {"CLK": "outer", "EN": "a", "GCLK": "gated"}),
        "u_outer": ("ICG", {"CLK": "clk_i", "EN": "b", "GCLK": "outer"}),
        "r": ("DFFQ", {"CLK": "gated", "D": "n", "Q": "y"}),
        "u": ("INV", {"A": "y", "Y": "n"}),
    }
    with bench(cells) as found:
        found.count()
        values = []
        for a, b in ((1, 0), (1, 1), (1, 0), (0, 1), (1, 1)):
            found.step(a=a, b=b)
            values.append(found.simulation.value("y"))
        assert values == [0, 1, 1, 1, 0]
        assert found.simulation.activity().pulses.tolist() == [2, 3, 0, 0]


def memory_bench(access_ns: float = 0.5, period_ns: float = 20.0) -> Bench:
    pins = memory_pins(width=4, enables=2)
    inputs = {"clk_i": "clk_i", **{f"{pin}_x": nets for pin, nets in pins.items() if pin not in ("clk_i", "rdata_o")}}
    module = Module(inputs, {"q": pins["rdata_o"]}, {"u_memory": (MEMORY, pins), "u": ("INV", {"A": "rdata_o0"})})
    netlist, memories = read_module(module, small_cells()), {"u_memory": memory_model(4, access_ns)}
    return Bench(netlist, small_cells(), memories=memories, period_ns=period_ns)


def test_a_memory_writes_parts_of_words_and_reads_words() -> None:
    with memory_bench() as found:
        found.simulation.store("u_memory", np.array([[0, 0, 0, 0], [1, 0, 0, 1]], np.uint8))
        found.count()
        found.step(req_i_x=1, we_i_x=0, addr_i_x=1)
        assert found.simulation.value("q") == 0b1001
        found.step(we_i_x=1, be_i_x=0b10, wdata_i_x=0b0110, addr_i_x=1)
        assert found.simulation.value("q") == 0b1001  # a write reads nothing
        found.step(req_i_x=0, we_i_x=0, addr_i_x=3)
        found.step(req_i_x=1, addr_i_x=1)
        assert found.simulation.value("q") == 0b0101
        found.step(we_i_x=1, be_i_x=0b11, wdata_i_x=0b1111, addr_i_x=2)
        found.step(we_i_x=1, be_i_x=0b00, wdata_i_x=0b0000, addr_i_x=2)
        assert found.simulation.stored("u_memory").tolist() == [[0] * 4, [1, 0, 1, 0], [1] * 4, [0] * 4]
        activity = found.simulation.activity()
        assert activity.reads["u_memory"].tolist() == [0, 2, 0, 0]
        assert activity.writes["u_memory"].tolist() == [0, 1, 2, 0]
        changed = [activity.toggles[net] for net in found.netlist.ports["q"]]
        assert changed == [1, 0, 1, 2]  # 0000, 1001, 0101; the first is the least bit


def test_what_does_not_settle_in_the_period_is_refused() -> None:
    cells: dict[str, tuple[str, Pins]] = {
        "r": ("DFFQ", {"CLK": "clk_i", "D": "n", "Q": "q"}),
        "u_1": ("DELAY", {"A": "q", "X": "y"}),
        "u_2": ("INV", {"A": "y", "Y": "n"}),
    }
    with bench(cells, period_ns=1.0) as found:
        found.step()
        assert 0.6 < found.simulation.latest_ns < 1.0
    with bench(cells, period_ns=0.7) as found, pytest.raises(IntarsiaError) as error:
        found.step()
    assert str(error.value) == "the netlist does not settle in 0.7 ns; choose a slower clock."


@pytest.mark.parametrize("access_ns", [1.5, 2.9, 3.0, 3.1, 7.3])
def test_a_memory_that_is_slower_than_the_period_is_refused(access_ns: float) -> None:
    with memory_bench(access_ns, period_ns=1.0) as found:
        found.simulation.store("u_memory", np.ones((4, 4), np.uint8))
        with pytest.raises(IntarsiaError, match="does not settle in 1 ns"):
            found.step(req_i_x=1)


def test_counting_can_stop_and_differences_are_what_happened_between() -> None:
    cells: dict[str, tuple[str, Pins]] = {
        "g": ("ICG", {"CLK": "clk_i", "EN": "b", "GCLK": "gated"}),
        "r": ("DFFQ", {"CLK": "gated", "D": "n", "Q": "y"}),
        "u": ("INV", {"A": "y", "Y": "n"}),
    }
    with bench(cells) as found:
        found.step(b=1)
        assert not found.simulation.activity().toggles.any()
        assert found.simulation.activity().cycles == 0
        found.count()
        for _ in range(3):
            found.step()
        before = found.simulation.activity()
        for _ in range(4):
            found.step()
        found.simulation.count(False)
        found.step()
        after = found.simulation.activity()
        found.simulation.count(True)
        assert (before.cycles, after.cycles) == (3, 7)
        between = after.since(before)
        assert (between.cycles, between.pulses.tolist()) == (4, [4, 0, 0])
        for name in ("y", "n"):
            net = found.net(name)
            assert (before.toggles[net], after.toggles[net], between.toggles[net]) == (3, 7, 4)
        assert np.array_equal(between.counters, after.counters - before.counters)


def test_a_run_ends_when_a_port_is_1() -> None:
    cells: dict[str, tuple[str, Pins]] = {
        "r_1": ("DFFQ", {"CLK": "clk_i", "D": "a", "Q": "q"}),
        "r_2": ("DFFQ", {"CLK": "clk_i", "D": "q", "Q": "y"}),
    }
    with bench(cells) as found:
        assert found.simulation.run(7, until="y") == 7
        found.drive(a=1)
        assert found.simulation.run(7, until="y") == 2


def test_a_cell_without_inputs_drives_its_constant_and_switches_never() -> None:
    cells: dict[str, tuple[str, Pins]] = {"u_1": ("XOR2", {"A": "a", "B": "one", "Y": "y"}),
                                          "u_2": ("TIE1", {"Y": "one"})}  # fmt: skip
    with bench(cells) as found:
        found.count()
        found.step(a=1)
        assert found.simulation.value("y") == 0
        activity = found.simulation.activity()
        assert (activity.toggles[found.net("y")], activity.toggles[found.net("one")]) == (1, 0)


def test_the_simulator_is_compiled_once(tmp_path: Path) -> None:
    first = compiled(tmp_path)
    written = first.stat().st_mtime_ns
    assert compiled(tmp_path) == first
    assert first.stat().st_mtime_ns == written
    assert [path.name for path in first.parent.parent.iterdir()] == [first.parent.name]


def test_a_missing_compiler_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(IntarsiaError, match=r"^g\+\+ is missing, the simulation of netlists needs it; install it"):
        compiled(tmp_path)
