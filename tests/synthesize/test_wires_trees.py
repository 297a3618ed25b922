# SPDX-License-Identifier: Apache-2.0
from itertools import pairwise
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia.errors import IntarsiaError
from intarsia.synthesize.netlist.cells import Cells
from intarsia.synthesize.netlist.clocks import clock_gates, is_clock_buffer
from intarsia.synthesize.netlist.flat import Netlist, read_netlist
from intarsia.synthesize.netlist.trees import MOST_SINKS, add_trees
from intarsia.synthesize.netlist.wires import Sinks, Wires
from netlists import MEMORY, WIRE_PF, WIRE_UM, Module, Plain, memory_pins, read_module, small_cells, write_json

AREA_OF_INV, PIN_OF_INV, PIN_OF_BUF = 1.0, 0.003, 0.002
INV = ("INV", {"A": "a", "Y": []})


@pytest.fixture(scope="module")
def cells() -> Cells:
    return small_cells()


def loads(netlist: Netlist, cells: Cells, memory_pf: float = 0.0) -> np.ndarray:
    wires = Wires(netlist, cells, memory_pf={memory.path: memory_pf for memory in netlist.memories})
    return wires.loads(netlist, Sinks(netlist))


@pytest.mark.parametrize("sinks", [0, 1, 2, 3, 5, 64, 70])
def test_a_net_within_a_block_has_its_pins_and_the_wire_of_the_table(cells: Cells, sinks: int) -> None:
    top = Module({"a": "a", "b": "b"}, {}, {"u": ("NAND2", {"A": "b", "B": "b", "Y": "a"})} if not sinks else
                 {f"u_{i}": INV for i in range(sinks)})  # fmt: skip
    netlist = read_module(top, cells)
    length = (0.0, *WIRE_UM)[sinks] if sinks <= 3 else WIRE_UM[2] + 7.5 * (sinks - 3)
    [net] = netlist.ports["a"]
    assert loads(netlist, cells)[net] == pytest.approx(sinks * PIN_OF_INV + length * WIRE_PF)


def test_pins_that_differ_and_memories_count_as_they_are(cells: Cells) -> None:
    top = Module({"clk_i": "clk_i", "a": "a"}, {}, {
        "u_0": ("XOR2", {"A": "a", "B": "a", "Y": "req_i0"}),
        "u_1": ("NAND2", {"A": "req_i0", "B": "req_i0", "Y": []}),
        "u_memory": (MEMORY, {**memory_pins(), "addr_i": ["a", "1"], "wdata_i": ["0", "0"]}),
    })  # fmt: skip
    netlist = read_module(top, cells)
    found = loads(netlist, cells, memory_pf=0.125)
    [a] = netlist.ports["a"]
    assert found[a] == pytest.approx(0.005 + 0.0045 + 0.125 + WIRE_UM[2] * WIRE_PF)
    assert found[netlist.outputs[0, 0]] == pytest.approx(0.003 + 0.0035 + 0.125 + WIRE_UM[2] * WIRE_PF)
    [rdata, _] = netlist.memories[0].ports["rdata_o"]
    assert found[rdata] == 0  # drives nothing


def test_a_net_between_blocks_crosses_half_the_side_of_the_smallest_around_them(cells: Cells) -> None:
    leaf = Module({"a": "a"}, {"y": "y"}, {"u": ("INV", {"A": "a", "Y": "y"})})
    pair = Module({"a": "a"}, {"y": "y"}, {
        "u_first": ("leaf", {"a": "a", "y": "_between"}),
        "u_second": ("leaf", {"a": "_between", "y": "y"}),
    })  # fmt: skip
    top = Module({"a": "a"}, {"y": "y"}, {
        "u_left": ("pair", {"a": "a", "y": "_middle"}),
        "u_right": ("pair", {"a": "_middle", "y": "_last"}),
        "u_end": ("XOR2", {"A": "_last", "B": "_last", "Y": "y"}),
    })  # fmt: skip
    netlist = read_netlist(write_json({"top": top, "pair": pair, "leaf": leaf}), "top", cells, "intarsia_memory")
    found = loads(netlist, cells)
    wire = WIRE_UM[0] * WIRE_PF
    in_pair = 0.5 * sqrt(2 * AREA_OF_INV / 0.7) * WIRE_PF
    in_top = 0.5 * sqrt((4 * AREA_OF_INV + 3.0) / 0.7) * WIRE_PF
    first, middle, last = (int(netlist.outputs[cell, 0]) for cell in (0, 1, 3))
    assert found[netlist.ports["a"][0]] == pytest.approx(PIN_OF_INV + wire)  # in one block alone
    assert found[first] == pytest.approx(PIN_OF_INV + wire + in_pair)
    assert found[middle] == pytest.approx(PIN_OF_INV + wire + in_top)
    assert found[last] == pytest.approx(0.005 + 0.0045 + WIRE_UM[1] * WIRE_PF + in_top)


def many(leaves: int, each: int) -> dict[str, Module]:
    """A net with `each` flip-flops and as many gates in each of some blocks, and a clock gate for the last block."""
    clocked = {"CLK": "clk_i", "D": "d", "RST_N": "rst_ni"}
    leaf = Module(
        {"clk_i": "clk_i", "rst_ni": "rst_ni", "a": "a", "d": "d"},
        {"y": [f"y{i}" for i in range(each)]},
        {
            **{f"u_{i}": ("NAND2", {"A": "a", "B": f"q{i}", "Y": f"y{i}"}) for i in range(each)},
            **{f"r_{i}": ("DFF", {**clocked, "Q": f"q{i}"}) for i in range(each)},
        },
    )
    outputs = [[f"y{block}_{i}" for i in range(each)] for block in range(leaves)]
    common = {"rst_ni": "rst_ni", "a": "_a", "d": "d"}
    top = Module(
        {"clk_i": "clk_i", "rst_ni": "rst_ni", "a": "a", "d": "d", "en": "en"},
        {"y": [net for block in outputs for net in block]},
        {
            "u_a": ("INV", {"A": "a", "Y": "_a"}),
            "u_gate": ("ICG", {"CLK": "clk_i", "EN": "en", "GCLK": "_gated"}),
            **{
                f"u_{block}": ("leaf", {**common, "clk_i": "_gated" if block == leaves - 1 else "clk_i", "y": nets})
                for block, nets in enumerate(outputs)
            },
        },
    )
    return {"top": top, "leaf": leaf}


def grown(cells: Cells, leaves: int, each: int) -> tuple[Netlist, Netlist]:
    plain = read_netlist(write_json(many(leaves, each)), "top", cells, "intarsia_memory")
    return plain, add_trees(plain, cells, clock="clk_i", memory_pf={})


@given(st.integers(1, 6), st.integers(1, 20), st.data())
def test_trees_bound_sinks_and_loads_and_change_no_function(leaves: int, each: int, data: st.DataObject) -> None:
    cells = small_cells()
    plain, netlist = grown(cells, leaves, each)
    assert Sinks(netlist).counts.max() <= MOST_SINKS
    added = np.arange(len(plain.kinds), len(netlist.kinds))
    found = loads(netlist, cells)
    for cell in added:
        model = netlist.models[netlist.kinds[cell]]
        load = found[netlist.outputs[cell, 0]]
        strongest = model.name == "BUFX4"
        assert strongest or load <= 0.5 * model.pins["X"].most_load
        assert not strongest or load > 0.5 * 0.125  # the weaker one would not do
    first, second = Plain(plain), Plain(netlist)
    for _ in range(4):
        inputs = {port: data.draw(st.integers(0, 1)) for port in ("rst_ni", "a", "d", "en")}
        first.step(**inputs)
        second.step(**inputs)
        assert first.value("y") == second.value("y")


def test_few_sinks_of_a_small_load_get_no_tree(cells: Cells) -> None:
    plain, netlist = grown(cells, 1, 4)
    assert len(netlist.kinds) == len(plain.kinds)


def test_every_sink_is_as_far_behind_and_neighbours_share_a_branch(cells: Cells) -> None:
    plain, netlist = grown(cells, 20, 16)  # 320 sinks of `a`: twenty branches, then two
    drivers = {int(net): cell for cell, net in enumerate(netlist.outputs[:, 0])}
    source = int(plain.outputs[0, 0])
    assert netlist.models[netlist.kinds[drivers[source]]].name == "INV"
    branches: dict[int, list[int]] = {}
    for cell in range(len(plain.kinds)):
        if netlist.models[netlist.kinds[cell]].name == "NAND2":
            net, passed = int(netlist.inputs[cell, 0]), []
            while net != source:
                passed.append(drivers[net])
                net = int(netlist.inputs[drivers[net], 0])
            assert len(passed) == 2
            branches.setdefault(passed[0], []).append(int(netlist.owners[cell]))
    assert [len(set(blocks)) for blocks in branches.values()] == [1] * 20  # a block each
    assert all(netlist.owners[branch] == blocks[0] for branch, blocks in branches.items())
    assert all(second[0] > first[0] for first, second in pairwise(branches.values()))


def test_a_clock_tree_is_known_as_such_and_gates_are_found_through_it(cells: Cells) -> None:
    plain, netlist = grown(cells, 3, 20)
    before, after = clock_gates(plain, "clk_i"), clock_gates(netlist, "clk_i")
    gate = next(i for i in range(len(plain.kinds)) if plain.models[plain.kinds[i]].name == "ICG")
    assert np.array_equal(after[: len(before)], before)
    assert set(before.tolist()) == {-1, gate}
    buffers = np.flatnonzero(is_clock_buffer(netlist, "clk_i"))
    assert len(buffers) == 3 + 2  # 41 sinks of the clock, 20 of the gated one
    assert min(buffers) >= len(plain.kinds)
    assert sorted(after[buffers].tolist()) == [-1, -1, -1, gate, gate]
    assert not is_clock_buffer(plain, "clk_i").any()


def test_a_clock_through_logic_is_refused(cells: Cells) -> None:
    for kind, pins in (("INV", {"A": "clk_i"}), ("NAND2", {"A": "clk_i", "B": "d"})):
        top = Module({"clk_i": "clk_i", "d": "d"}, {"q": "q"}, {
            "u": (kind, {**pins, "Y": "_clock"}),
            "r": ("DFFQ", {"CLK": "_clock", "D": "d", "Q": "q"}),
        })  # fmt: skip
        with pytest.raises(IntarsiaError, match=r"only buffers and clock gates may drive a clock\.$"):
            clock_gates(read_module(top, cells), "clk_i")


def test_a_design_without_the_clock_or_a_library_without_buffers_is_refused(cells: Cells) -> None:
    netlist = read_module(Module({"a": "a"}, {}, {"u": INV}), cells)
    with pytest.raises(IntarsiaError, match="the design has no clock port clk_i"):
        add_trees(netlist, cells, clock="clk_i", memory_pf={})
    none = Cells({}, cells.voltage, cells.wire_pf, cells.wire_um)
    with pytest.raises(IntarsiaError, match="the cell library has no buffers"):
        add_trees(netlist, none, clock="a", memory_pf={})
