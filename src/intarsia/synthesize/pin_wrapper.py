# SPDX-License-Identifier: Apache-2.0
"""A wrapper with four pins for designs that have more ports than a package has pins.

All inputs are fed from one shift register. All outputs are registered and folded into a second shift register by
exclusive or, so that no output is removed as unused and no path leaves the chip.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from intarsia.errors import IntarsiaError
from intarsia.files import write_text
from intarsia.synthesize.yosys import Design, run_yosys

# Clock and reset go straight to pins.
_DIRECT = ("clk_i", "rst_ni")
_WIRE = re.compile(r"^\s*wire ((?:[a-z]+(?: \d+)? )*)\\(\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Port:
    """A port of a module: its name, its width in bits, and whether it is an input."""

    name: str
    width: int
    is_input: bool


def ports(design: Design, *, timeout_s: float = 300.0) -> tuple[Port, ...]:
    """Return the ports of a design's top module, in alphabetical order.

    Raises:
        IntarsiaError: the design has an error.
    """
    commands = [design.read_command("--ignore-assertions"), f"tee -q -o ports.txt dump {design.top}/x:*"]
    text = run_yosys(commands, inputs=design.sources, outputs=("ports.txt",), timeout_s=timeout_s)["ports.txt"]
    found = []
    for options, name in _WIRE.findall(text):
        width = re.search(r"width (\d+)", options)
        found.append(Port(name, int(width.group(1)) if width else 1, "input" in options))
    return tuple(sorted(found, key=lambda port: port.name))


def harness_top(design: Design) -> str:
    """Return the name of the harness module around a design."""
    return f"{design.top}_harness"


def write_harness(design: Design, folder: Path, *, timeout_s: float = 300.0) -> Path:
    """Write the harness of a design to a SystemVerilog file in `folder` and return its path.

    Raises:
        IntarsiaError: the design has an error or no clock `clk_i`.
    """
    path = folder / f"{harness_top(design)}.sv"
    write_text(path, harness_source(design, ports(design, timeout_s=timeout_s)))
    return path


def harness_source(design: Design, all_ports: tuple[Port, ...]) -> str:
    """Return the SystemVerilog of the harness around a design with the given ports.

    Raises:
        IntarsiaError: there is no clock `clk_i`, or nothing to observe.
    """
    inputs = [port for port in all_ports if port.is_input and port.name not in _DIRECT]
    outputs = [port for port in all_ports if not port.is_input]
    names = {port.name for port in all_ports}
    if "clk_i" not in names or not outputs:
        raise IntarsiaError(f"the harness needs a port clk_i and an output; {design.top} lacks one of them.")
    width_in, width_out = (max(1, sum(port.width for port in group)) for group in (inputs, outputs))
    connections = [f".{name}({name})" for name in _DIRECT if name in names]
    for group, signal in ((inputs, "in_q"), (outputs, "out")):
        base = 0
        for port in group:
            connections.append(f".{port.name}({signal}[{base}+:{port.width}])")
            base += port.width
    parameters = ", ".join(f".{name}({int(value)})" for name, value in sorted(design.parameters.items()))
    return f"""\
// Generated: shift registers around {design.top}, so that it needs four pins only.
module {harness_top(design)} (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic scan_i,
  output logic scan_o
);
  logic [{width_in - 1}:0] in_q;
  logic [{width_out - 1}:0] out, out_q, fold_q;
  always_ff @(posedge clk_i) begin
    in_q <= {width_in}'({{in_q, scan_i}});
    out_q <= out;
    fold_q <= out_q ^ {width_out}'({{fold_q, 1'b0}});
  end
  assign scan_o = fold_q[{width_out - 1}];
  {design.top} #({parameters}) u_design ({", ".join(connections)});
endmodule
"""
