# SPDX-License-Identifier: Apache-2.0
"""What an integrator's tools ask of the sources: a file list, a FuseSoC core, a Bender manifest, an example."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from intarsia import __version__
from intarsia.engine.config import EngineConfig
from intarsia.engine.program import Program
from intarsia.engine.sources import require_same
from intarsia.files import write_text
from intarsia.system.accelerator import TOP, WAIVERS, module_parameters, write_accelerator
from intarsia.system.program_source import program_source
from intarsia.system.toolchain import firmware_folder

_DO_NOT_EDIT = "Made by `intarsia rtl`; do not edit."
_MADE = ("intarsia.f", "intarsia.core", "Bender.yml", "intarsia_example.sv")
_DRIVER = ("intarsia.h", "intarsia_registers.h", "intarsia.c")
_PROGRAM = "program.c"
_DESCRIPTION = "Accelerator for networks of a ternary and a sparse high-precision plane"


def write_rtl(folder: Path, config: EngineConfig, program: Program | None = None) -> list[Path]:
    """Write the sources of accelerator and engine, manifests for them, and an instance with an engine's parameters;
    with a program of this engine also the driver, and the program as C data (`program.c`).

    Sources that are there already must have just this content: they may have been changed by hand. What is made for
    the engine or the program is replaced, but not where it is another's.

    Raises:
        IntarsiaError: as `write_accelerator`, or the DMA cannot bring the program's input.
    """
    driver = (
        {} if program is None else {name: (firmware_folder() / name).read_text(encoding="utf-8") for name in _DRIVER}
    )
    data = {} if program is None else {_PROGRAM: f"// {_DO_NOT_EDIT}\n{program_source(program)}"}
    for name in (*_MADE, *data):
        require_same(folder / name, "", _DO_NOT_EDIT)
    for name, text in driver.items():
        require_same(folder / name, text)
    sources = write_accelerator(folder)
    names = [path.name for path in sources]
    texts = (file_list(names), fusesoc_core(names), bender_manifest(names), example(module_parameters(config)))
    made = dict(zip(_MADE, texts, strict=True)) | driver | data
    for name, text in made.items():
        write_text(folder / name, text)
    return [*sources, *(folder / name for name in made)]


def file_list(sources: Sequence[str]) -> str:
    """Return a file list for tools that take `-f`, with paths from its own folder."""
    return "\n".join([f"// {_DO_NOT_EDIT} In an order that compiles.", *sources, ""])


def fusesoc_core(sources: Sequence[str]) -> str:
    """Return a core description for FuseSoC (CAPI 2)."""
    return "\n".join(
        [
            "CAPI=2:",
            f"# {_DO_NOT_EDIT}",
            f"name: intarsia:ip:accelerator:{__version__}",
            f"description: {_DESCRIPTION}",
            "filesets:",
            "  rtl:",
            "    files:",
            *(f"      - {name}" for name in sources),
            "    file_type: systemVerilogSource",
            "  waivers:",
            "    files:",
            *(f"      - {name}" for name in WAIVERS),
            "    file_type: vlt",
            "targets:",
            "  default: &default",
            "    filesets: [rtl]",
            f"    toplevel: {TOP}",
            "  lint:",
            "    <<: *default",
            "    filesets: [waivers, rtl]",
            "    default_tool: verilator",
            "    tools:",
            "      verilator:",
            "        mode: lint-only",
            "        verilator_options: [-Wall]",
            "",
        ]
    )


def bender_manifest(sources: Sequence[str]) -> str:
    """Return a manifest for Bender."""
    return "\n".join(
        [
            f"# {_DO_NOT_EDIT}",
            "package:",
            "  name: intarsia",
            '  authors: ["The Intarsia authors"]',
            "sources:",
            *(f"  - {name}" for name in sources),
            "",
        ]
    )


_EXAMPLE = """// SPDX-License-Identifier: Apache-2.0
// {note}
// An instance of the accelerator for one network: its parameters are those of the engine that the network was compiled
// for. Connect sbr_… to the processor's OBI bus (or intarsia_axi_lite in front of it to AXI4-Lite), mgr_… to one that
// reaches the memory with images and weights, irq_o to the interrupt controller.
module intarsia_example (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        sbr_req_i,
  output logic        sbr_gnt_o,
  input  logic [25:0] sbr_addr_i,
  input  logic        sbr_we_i,
  input  logic [3:0]  sbr_be_i,
  input  logic [31:0] sbr_wdata_i,
  output logic        sbr_rvalid_o,
  output logic [31:0] sbr_rdata_o,
  output logic        sbr_err_o,
  output logic        mgr_req_o,
  input  logic        mgr_gnt_i,
  output logic [31:0] mgr_addr_o,
  output logic        mgr_we_o,
  output logic [3:0]  mgr_be_o,
  output logic [31:0] mgr_wdata_o,
  input  logic        mgr_rvalid_i,
  input  logic [31:0] mgr_rdata_i,
  input  logic        mgr_err_i,
  output logic        irq_o
);
  logic [2:0] busy;
  {top} #(
{parameters}
  ) u_accelerator (
    .clk_i, .rst_ni,
    .sbr_req_i, .sbr_gnt_o, .sbr_addr_i, .sbr_we_i, .sbr_be_i, .sbr_wdata_i, .sbr_rvalid_o, .sbr_rdata_o, .sbr_err_o,
    .mgr_req_o, .mgr_gnt_i, .mgr_addr_o, .mgr_we_o, .mgr_be_o, .mgr_wdata_o, .mgr_rvalid_i, .mgr_rdata_i, .mgr_err_i,
    .irq_o,
    .busy_o(busy) // for observers
  );
  logic unused;
  assign unused = ^busy;
endmodule
"""


def example(parameters: Mapping[str, int]) -> str:
    """Return a module that instantiates the accelerator with these parameters."""
    listed = ",\n".join(f"    .{name}({value})" for name, value in parameters.items())
    return _EXAMPLE.format(note=_DO_NOT_EDIT, top=TOP, parameters=listed)
