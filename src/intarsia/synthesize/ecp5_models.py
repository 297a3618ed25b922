# SPDX-License-Identifier: Apache-2.0
"""Simulation models of the ECP5 cells for which Yosys has none: block RAMs and multipliers, as our netlists use them.

Lookup tables, carry chains, flip-flops and distributed RAM have models in Yosys (`lattice/cells_sim_ecp5.v`).
"""

from collections.abc import Iterable

#: Parameters of a block RAM that hold its first content, which the engine never uses.
_CONTENT = ",\n".join(f"  parameter INITVAL_{number:02X} = 320'd0" for number in range(64))


def block_ram_and_multiplier() -> str:
    """Return Verilog modules DP16KD and MULT18X18D; a use that is not modelled stops elaboration."""
    return "\n".join(["// Generated: models of ECP5 cells.", _block_ram(), _multiplier()])


def _block_ram() -> str:
    """Two ports of one width up to 18 bits, or one that writes 36 bits and one that reads them.

    In words of 18 and 36 bits the lowest address bits enable parts of 9 bits.
    """
    unused = ", ".join(f"OCE{p}, RST{p}, CS{p}0, CS{p}1, CS{p}2" for p in "AB")
    return f"""\
module DP16KD #(
  parameter DATA_WIDTH_A = 18, parameter DATA_WIDTH_B = 18, parameter REGMODE_A = "NOREG",
  parameter REGMODE_B = "NOREG", parameter RESETMODE = "SYNC", parameter ASYNC_RESET_RELEASE = "SYNC",
  parameter CSDECODE_A = "0b000", parameter CSDECODE_B = "0b000", parameter CLKAMUX = "CLKA",
  parameter CLKBMUX = "CLKB", parameter WRITEMODE_A = "NORMAL", parameter WRITEMODE_B = "NORMAL",
  parameter GSR = "AUTO",
{_CONTENT}
) (
{_ports([each for port in "AB" for each in _port(port)])}
);
  localparam Width = DATA_WIDTH_A;
  localparam Shift = Width == 36 ? 5 : Width == 18 ? 4 : Width == 9 ? 3 : Width == 4 ? 2 : Width == 2 ? 1 : 0;
  localparam Parts = Width < 18 ? 1 : Width / 9;
  localparam PartBits = Width / Parts;
  if (DATA_WIDTH_A != DATA_WIDTH_B || REGMODE_A != "NOREG" || REGMODE_B != "NOREG" || WRITEMODE_A != "NORMAL"
      || WRITEMODE_B != "NORMAL") begin : gen_other
    $error("DP16KD: this use of a block RAM is not modelled");
  end
  reg [Width-1:0] words [0:(1 << (14 - Shift))-1];
{_bits("A")}{_bits("B")}  if (Width == 36) begin : gen_wide
    wire [35:0] data = {{dataB, dataA}};
    always @(posedge CLKA) if (CEA && WEA)
      for (int p = 0; p < Parts; p = p + 1)
        if (addressA[p]) words[addressA >> Shift][p*PartBits+:PartBits] <= data[p*PartBits+:PartBits];
    always @(posedge CLKB) if (CEB) {{readB, readA}} <= words[addressB >> Shift];
  end else begin : gen_two
{_two_ports_of("A")}{_two_ports_of("B")}  end
  wire unused = ^{{{unused}}};
endmodule
"""


def _bits(port: str) -> str:
    return f"""\
  wire [13:0] address{port} = {_bus(f"AD{port}", 14)};
  wire [17:0] data{port} = {_bus(f"DI{port}", 18)};
  reg [17:0] read{port};
  assign {_bus(f"DO{port}", 18)} = read{port};
"""


def _port(port: str) -> list[tuple[str, str]]:
    inputs = [*_names(f"DI{port}", 18), *_names(f"AD{port}", 14), *_names(f"CS{port}", 3)]
    inputs += [f"{name}{port}" for name in ("CE", "OCE", "CLK", "WE", "RST")]
    return [*(("input", name) for name in inputs), *(("output", name) for name in _names(f"DO{port}", 18))]


def _two_ports_of(port: str) -> str:
    address = f"address{port}"
    return f"""\
    always @(posedge CLK{port}) begin
      if (CE{port} && WE{port}) begin
        for (int p = 0; p < Parts; p = p + 1)
          if (Parts == 1 || {address}[p])
            words[{address} >> Shift][p*PartBits+:PartBits] <= data{port}[p*PartBits+:PartBits];
      end else if (CE{port}) begin
        read{port} <= 18'(words[{address} >> Shift]);
      end
    end
"""


def _multiplier() -> str:
    """Without registers: the product of A and B; other ports stay open."""
    inputs = [*_names("A", 18), *_names("B", 18), *_names("C", 18), "SIGNEDA", "SIGNEDB", "SOURCEA", "SOURCEB"]
    ports = [*(("input", name) for name in inputs), *(("output", name) for name in _names("P", 36))]
    return f"""\
module MULT18X18D (
{_ports(ports)}
);
  wire [17:0] a = {_bus("A", 18)}, b = {_bus("B", 18)};
  wire signed [18:0] left = {{SIGNEDA && a[17], a}}, right = {{SIGNEDB && b[17], b}};
  wire signed [37:0] product = left * right;
  assign {_bus("P", 36)} = product[35:0];
  wire unused = ^{{{_bus("C", 18)}, SOURCEA, SOURCEB, product[37:36]}};
endmodule
"""


def _ports(ports: Iterable[tuple[str, str]]) -> str:
    return ",\n".join(f"  {direction} {name}" for direction, name in ports)


def _names(name: str, count: int) -> list[str]:
    return [f"{name}{bit}" for bit in range(count)]


def _bus(name: str, count: int) -> str:
    return f"{{{', '.join(reversed(_names(name, count)))}}}"
