# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest

from intarsia.errors import IntarsiaError
from intarsia.synthesize.netlist.cells import Cells, Kind
from intarsia.synthesize.netlist.flat import HIGH, LOW, NO_NET, Block, Netlist, read_netlist
from intarsia.synthesize.yosys import run_yosys
from netlists import MEMORY, Module, memory_pins, read_module, small_cells, write_json, write_library


@pytest.fixture(scope="module")
def cells() -> Cells:
    return small_cells()


def read(cells: Cells, **modules: Module) -> Netlist:
    text = write_json({name.replace("__", "$"): module for name, module in modules.items()})
    return read_netlist(text, "top", cells, "intarsia_memory")


def cell(netlist: Netlist, kind: str) -> int:
    [number] = np.flatnonzero(netlist.kinds == [model.name for model in netlist.models].index(kind))
    return int(number)


def test_a_module_is_flattened_with_its_instances_names_and_blocks(cells: Cells) -> None:
    pair = Module(
        {"a": "a", "b": "b"},
        {"y": "y"},
        {"u1": ("NAND2", {"A": "a", "B": "b", "Y": "middle"}), "u2": ("INV", {"A": "middle", "Y": "y"})},
    )
    outer = Module({"p": "p"}, {"q": "q"}, {"u_in": ("pair$1", {"a": ["p"], "b": ["1"], "y": ["q"]})})
    top = Module(
        {"in": ["in0", "in1"]},
        {"out": ["out0", "out1"]},
        {
            "u_a": ("outer", {"p": "in0", "q": "out0"}),
            "u_b": ("pair$1", {"a": "out0", "b": "in1", "y": "out1"}),
        },
    )
    netlist = read(cells, top=top, outer=outer, pair__1=pair)
    assert netlist.blocks == (
        Block("", "top", -1),
        Block("u_a", "outer", 0),
        Block("u_a.u_in", "pair", 1),
        Block("u_b", "pair", 0),
    )
    assert netlist.owners.tolist() == [2, 2, 3, 3]
    assert [netlist.models[kind].name for kind in netlist.kinds] == ["NAND2", "INV"] * 2
    assert netlist.drives == {"in"}
    (in0, in1), (out0, out1) = netlist.ports["in"], netlist.ports["out"]
    first, second = netlist.outputs[0, 0], netlist.outputs[2, 0]
    assert netlist.inputs.tolist() == [[in0, HIGH], [first, NO_NET], [out0, in1], [second, NO_NET]]
    assert netlist.outputs.tolist() == [[first], [out0], [second], [out1]]
    assert netlist.names[first] == "u_a.u_in.middle"
    assert netlist.names[second] == "u_b.middle"
    assert [netlist.names[net] for net in (in0, out1)] == ["in[0]", "out[1]"]  # the outermost name
    assert netlist.areas_um2.tolist() == [1.5, 1.0, 1.5, 1.0]
    assert netlist.is_kind[Kind.LOGIC].all()


def test_a_constant_at_a_port_stays_one_whoever_else_reads_it(cells: Cells) -> None:
    """An output that is constant must not give its net to all other uses of that constant."""
    zero = Module({}, {"zero": "0", "one": "1"}, {})
    top = Module(
        {"a": "a"},
        {"y": "y", "always": "constant", "z": "z"},
        {
            "u_zero": ("constants", {"zero": "low", "one": "constant"}),
            "u1": ("NAND2", {"A": "a", "B": "low", "Y": "y"}),
            "u2": ("XOR2", {"A": "a", "B": "0", "Y": "z"}),
        },
    )
    netlist = read(cells, top=top, constants=zero)
    [a] = netlist.ports["a"]
    assert netlist.inputs[cell(netlist, "NAND2")].tolist() == [a, LOW]
    assert netlist.inputs[cell(netlist, "XOR2")].tolist() == [a, LOW]
    assert netlist.ports["always"] == (HIGH,)
    assert netlist.names[:2] == ("0", "1")


def test_a_constant_at_an_input_port_of_an_instance_reaches_its_cells(cells: Cells) -> None:
    inner = Module({"a": "a", "b": "b"}, {"y": "y"}, {"u": ("NAND2", {"A": "a", "B": "b", "Y": "y"})})
    top = Module({"a": "a"}, {"y": "y"}, {"u_inner": ("inner", {"a": "a", "b": "x", "y": "y"})})
    assert read(cells, top=top, inner=inner).inputs[0, 1] == LOW  # undefined is 0


def test_a_port_that_is_fed_through_is_one_net(cells: Cells) -> None:
    through = Module({"a": "a"}, {"x": "a", "y": "a"}, {})
    twice = Module({"a": "a"}, {"y": "y"}, {
        "u_1": ("through", {"a": "a", "x": "between", "y": "unused"}),
        "u_2": ("through", {"a": "between", "x": "y"}),
    })  # fmt: skip
    top = Module(
        {"a": "a"},
        {"y": "y"},
        {"u_first": ("INV", {"A": "_far", "Y": "y"}), "u_twice": ("twice", {"a": "a", "y": "_far"})},
    )
    netlist = read(cells, top=top, twice=twice, through=through)
    assert netlist.inputs[0].tolist() == list(netlist.ports["a"])
    both = read(cells, top=through)
    assert both.ports["x"] == both.ports["y"] == both.ports["a"]


def test_a_net_that_is_two_keeps_a_name(cells: Cells) -> None:
    through = Module({"a": "inside"}, {"y": "inside"}, {})
    top = Module(
        {"a": "a"},
        {"z": "z"},
        {
            "u_0": ("INV", {"A": "a", "Y": "_hidden"}),
            "u_1": ("through", {"a": "_hidden", "y": "known"}),
            "u_2": ("INV", {"A": "known", "Y": "z"}),
        },
    )
    netlist = read(cells, top=top, through=through)
    assert netlist.names[netlist.outputs[0, 0]] in {"known", "u_1.inside"}


def test_memories_are_taken_out_with_their_nets(cells: Cells) -> None:
    inner = Module(
        {"clk_i": "clk_i", "wdata_i": ["wdata_i0", "wdata_i1"]},
        {"q": "q"},
        {MEMORY.split(".")[1]: (MEMORY, memory_pins()), "u": ("INV", {"A": "rdata_o0", "Y": "q"})},
    )
    top = Module(
        {"clk_i": "clk_i", "d": ["d0", "d1"]},
        {"q": "q"},
        {"u_inner": ("inner", {"clk_i": "clk_i", "wdata_i": ["d0", "d1"], "q": "q"})},
    )
    netlist = read(cells, top=top, inner=inner)
    [memory] = netlist.memories
    assert (memory.path, memory.block) == ("u_inner.u_memory", 1)
    assert memory.ports["wdata_i"] == netlist.ports["d"]
    assert memory.ports["clk_i"] == netlist.ports["clk_i"]
    assert memory.ports["rdata_o"][0] == netlist.inputs[0, 0]
    assert len(netlist.kinds) == 1


def test_an_unconnected_pin_reads_zero_or_drives_nothing(cells: Cells) -> None:
    netlist = read_module(
        Module({"a": "a", "clk_i": "clk_i"}, {"q": "q"}, {
            "u_1": ("NAND2", {"A": "a", "Y": []}),
            "u_2": ("DFF", {"CLK": "clk_i", "D": "a", "RST_N": "1", "Q": "q"}),
        }),
        cells,
    )  # fmt: skip
    nand, flop = cell(netlist, "NAND2"), cell(netlist, "DFF")
    assert netlist.inputs[nand].tolist() == [*netlist.ports["a"], LOW, NO_NET]
    assert netlist.outputs[nand].tolist() == [NO_NET, NO_NET]
    assert netlist.outputs[flop].tolist() == [*netlist.ports["q"], NO_NET]


@pytest.mark.parametrize("kind", ["LATCH", "TRISTATE", "sg13g2_inv_1", "$_DFF_P_"])
def test_a_cell_that_cannot_be_simulated_is_refused(cells: Cells, kind: str) -> None:
    top = Module({"a": "a"}, {"y": "y"}, {"u": (kind, {"A": "a", "Y": "y"})})
    with pytest.raises(IntarsiaError) as error:
        read_module(top, cells)
    assert kind in str(error.value)
    assert str(error.value).endswith("map it to the library of PDK_ROOT.")
    assert "\n" not in str(error.value)


def test_a_file_is_read_as_yosys_writes_it(cells: Cells, tmp_path: Path) -> None:
    """Yosys itself reads the library and a netlist of it, and writes what is read here."""
    source = tmp_path / "top.v"
    source.write_text(
        "module part(input [1:0] a, output y, output zero);\n  assign zero = 1'b0;\n"
        "  NAND2 u (.A(a[0]), .B(a[1]), .Y(y));\nendmodule\n"
        "module top(input [1:0] a, output y, output zero);\n  wire n;\n"
        "  part u_part (.a(a), .y(n), .zero(zero));\n  INV u_inv (.A(n), .Y(y));\nendmodule\n"
    )
    library = write_library(tmp_path)
    commands = [f"read_liberty -lib {library.name}", "read_verilog top.v", "hierarchy -top top", "write_json out.json"]
    text = run_yosys(commands, inputs=(source, library), outputs=("out.json",))["out.json"]
    netlist = read_netlist(text, "top", cells, "intarsia_memory")
    assert [block.path for block in netlist.blocks] == ["", "u_part"]
    assert netlist.ports["zero"] == (LOW,)
    nand, inverter = cell(netlist, "NAND2"), cell(netlist, "INV")
    assert netlist.inputs[nand].tolist() == list(netlist.ports["a"])
    assert netlist.inputs[inverter, 0] == netlist.outputs[nand, 0]
    assert netlist.names[netlist.outputs[nand, 0]] == "n"
