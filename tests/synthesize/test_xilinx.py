# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from intarsia.errors import IntarsiaError
from intarsia.synthesize.xilinx import XilinxResources, _mapping, map_xilinx
from intarsia.synthesize.yosys import Design

MULTIPLIER = """
module multiplier (
  input  logic               clk_i,
  input  logic signed [15:0] a_i,
  input  logic signed [15:0] b_i,
  output logic signed [31:0] product_o
);
  always_ff @(posedge clk_i) product_o <= a_i * b_i;
endmodule
"""
REGISTERS = """
module registers (
  input  logic       clk_i,
  input  logic [6:0] a_i,
  output logic [6:0] q_o,
  output logic       any_o
);
  always_ff @(posedge clk_i) q_o <= a_i;
  assign any_o = ^q_o[5:0];
endmodule
"""


def written(folder: Path, top: str, source: str) -> Design:
    path = folder / f"{top}.sv"
    path.write_text(source, encoding="utf-8")
    return Design((path,), top)


def test_a_registered_multiplication_is_one_dsp_slice_with_its_registers(tmp_path: Path) -> None:
    design = written(tmp_path, "multiplier", MULTIPLIER)
    assert map_xilinx(design).total == XilinxResources(lut=0, ff=0, dsp=1, bram=0, carry=0)
    without = map_xilinx(design, dsp=False).total
    assert (without.dsp, without.ff) == (0, 32)
    assert without.lut > 200
    assert without.carry > 0


def test_registers_and_a_function_of_six_inputs_are_counted(tmp_path: Path) -> None:
    found = map_xilinx(written(tmp_path, "registers", REGISTERS)).total
    assert found == XilinxResources(lut=1, ff=7, dsp=0, bram=0, carry=0)


def test_resources_by_part_of_an_array_with_a_memory(mac_array: Callable[..., Design]) -> None:
    found = map_xilinx(mac_array(Lanes=3))
    assert (found.total.dsp, found.total.bram) == (3, 0.5)  # 512 words of 24 bits: a block RAM of 18 Kbit
    parts = {part.module: part for part in found.parts}
    assert parts["mac_cell"].instances == 3
    assert parts["mac_cell"].own.dsp == 3
    assert parts["intarsia_memory"].own.bram == 0.5
    assert sum(part.own.lut for part in found.parts) == found.total.lut
    assert map_xilinx(mac_array(Lanes=3, Depth=1024)).total.bram == 1


def test_a_memory_of_the_engine_with_byte_enables_is_block_ram(engine_sources: tuple[Path, ...]) -> None:
    found = map_xilinx(Design(engine_sources, "intarsia_memory", {"Width": 64, "Depth": 1024, "Enables": 8})).total
    assert (found.bram, found.ff, found.dsp) == (2, 0, 0)


def test_distributed_memory_and_shift_registers_are_lookup_tables() -> None:
    cells = {"RAM32M": 2, "RAM64X1D": 1, "SRL16E": 3, "MUXF7": 5, "CARRY4": 4}
    cells |= {"RAMB36E1": 1, "RAMB18E1": 3, "FDRE_1": 6}
    assert _mapping("top", stat_of(cells)).total == XilinxResources(lut=13, ff=6, dsp=0, bram=2.5, carry=4)


def test_a_cell_that_is_not_counted_is_told() -> None:
    with pytest.raises(IntarsiaError, match=r"left cells \$_XOR_ of unknown area"):
        _mapping("top", stat_of({"LUT2": 1, "$_XOR_": 1}))


def stat_of(cells: dict[str, int]) -> str:
    """What Yosys writes of a design of one module."""
    return json.dumps({"modules": {"\\top": {"num_cells_by_type": cells}}})
