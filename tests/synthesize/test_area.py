# SPDX-License-Identifier: Apache-2.0
import re
from collections.abc import Callable
from pathlib import Path

import pyosys
import pytest

from intarsia.synthesize.area import _MAP, TRANSISTORS, AreaReport, liberty_area, transistors
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.yosys import Design, run_yosys


def by_module(report: AreaReport) -> dict[str, float]:
    return {part.module: part.own for part in report.parts}


def test_parts_add_up_and_instances_count_as_often_as_they_are(mac_array: Callable[..., Design]) -> None:
    one, four = (transistors(mac_array(Lanes=lanes)) for lanes in (1, 4))
    assert four.unit == "transistors"
    assert four.total == sum(by_module(four).values())
    assert by_module(four)["mac_cell"] == 4 * by_module(one)["mac_cell"] > 0
    assert [(part.module, part.instances) for part in four.parts] == [("mac_array", 1), ("mac_cell", 4)]
    assert four.parts[0].inclusive == four.total
    assert four.flip_flops == 4 * 24


def test_memories_are_counted_in_bits_and_do_not_become_flip_flops(mac_array: Callable[..., Design]) -> None:
    report = transistors(mac_array(Lanes=2, Depth=1024))
    [memory] = report.memories
    assert (memory.path, memory.width, memory.depth, memory.ports) == ("u_weights", 16, 1024, 2)
    assert report.memory_bits == 16 * 1024
    assert report.flip_flops == 2 * 24


def test_every_cell_has_the_transistors_that_yosys_gives_it() -> None:
    header = Path(pyosys.__file__).parent / "share" / "include" / "kernel" / "cost.h"
    table = header.read_text().split("cmos_gate_cost", 1)[1].split("return db", 1)[0]
    costs = {f"$_{cell}_": int(cost) for cell, cost in re.findall(r"ID\(\$_(\w+)_\), *(\d+)", table)}
    assert len(costs) > 15
    ours = {cell: cost for cell, cost in TRANSISTORS.items() if not cell.startswith("$_DFF_PN")}
    assert ours == {cell: cost for cell, cost in costs.items() if cell != "$_DFF_N_"}


def test_transistors_agree_with_yosys_own_count(tmp_path: Path) -> None:
    source = tmp_path / "mixed.sv"
    source.write_text(
        "module mixed(input logic clk_i, input logic [3:0] a_i, b_i, output logic [3:0] y_o);\n"
        "  always_ff @(posedge clk_i) y_o <= (a_i + b_i) ^ (a_i & b_i);\nendmodule\n"
    )
    design = Design((source,), "mixed")
    commands = [
        design.read_command(),
        *("proc", "opt", "techmap", "opt", "dfflegalize -cell $_DFF_P_ x"),
        f"abc -g cmos -script +{_MAP}",
        "tee -q -o stat.txt stat -tech cmos",
    ]
    text = run_yosys(commands, inputs=[source], outputs=["stat.txt"])["stat.txt"]
    assert int(re.findall(r"transistors: *(\d+)", text)[0]) == transistors(design).total > 100


@pytest.mark.pdk
def test_a_pdk_gives_gates_macros_and_the_slowest_path(mac_array: Callable[..., Design], pdk: Pdk) -> None:
    report = liberty_area(mac_array(Lanes=4), pdk)
    assert report.unit == "kGE"
    assert report.total == pytest.approx(sum(by_module(report).values()))
    assert 2 < report.total < 6  # four 8 × 8 multipliers with 24-bit accumulators
    assert report.flip_flops == 96
    [macro] = report.macros
    assert macro.macros == (("RM_IHPSG13_2P_512x32_c2_bm_bist", 1),)
    assert macro.area_um2 == pytest.approx(150650.1373)
    assert macro.multiplexers == 0
    assert report.sram_area_um2 == pytest.approx(macro.area_um2)
    assert report.path is not None
    assert report.path.module == "mac_cell"
    assert 500 < report.path.delay_ps < 20000


@pytest.mark.pdk
def test_a_faster_setting_is_faster_and_larger(mac_array: Callable[..., Design], pdk: Pdk) -> None:
    small, fast = (liberty_area(mac_array(Lanes=1), pdk, setting=setting) for setting in ("smallest", "fastest"))
    assert small.path is not None
    assert fast.path is not None
    assert fast.path.delay_ps < small.path.delay_ps
    assert fast.total > small.total


def test_flip_flops_with_a_common_enable_get_a_clock_gate(pdk: Pdk, tmp_path: Path) -> None:
    """A gate for eight flip-flops is smaller than eight multiplexers; three keep theirs."""
    source = tmp_path / "kept.sv"
    source.write_text(
        "module kept #(parameter int unsigned Bits) (input logic clk_i, en_i, input logic [Bits-1:0] a_i,\n"
        "  output logic [Bits-1:0] y_o);\n  always_ff @(posedge clk_i) if (en_i) y_o <= a_i;\nendmodule\n"
    )
    [gate, *_] = pdk.cells.clock_gates
    few, many = (liberty_area(Design((source,), "kept", {"Bits": bits}), pdk) for bits in (3, 8))
    flip_flop, gate_ge = (pdk.cells.areas_um2[cell] / pdk.gate_um2 for cell in ("sg13g2_dfrbpq_1", gate.cell))
    assert 1000 * many.total == pytest.approx(8 * flip_flop + gate_ge)
    assert 1000 * few.total > 3 * (flip_flop + 2)
    assert (few.flip_flops, many.flip_flops) == (3, 8)
