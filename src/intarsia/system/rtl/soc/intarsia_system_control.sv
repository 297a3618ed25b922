// SPDX-License-Identifier: Apache-2.0
// What a program tells a simulation, and what it asks about the system it runs in.
//
// Registers: EXIT (0x0, write: the program has ended with this code), MARK (0x4, write: the simulation notes its
// counters under this number), CORE (0x8, read: the parameter Core), ERROR (0xC, read: the address of the last data
// access of the processor that was answered with err; for cores that do not report it themselves).
//
// Parameters:
//   Core   what CORE reads as: 0, picorv32; 1, Ibex.
// Latency: the outputs follow a write in the same cycle.
module intarsia_system_control #(
  parameter int unsigned Core
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  // Registers (intarsia_peripherals).
  input  logic        req_i,
  input  logic        we_i,
  input  logic [11:0] addr_i,
  input  logic [31:0] wdata_i,
  output logic [31:0] rdata_o,
  output logic        err_o,
  // From the processor: a data access was answered with err.
  input  logic        error_i,
  input  logic [31:0] error_addr_i,
  // To the simulation.
  output logic        exit_valid_o,
  output logic        mark_valid_o,
  output logic [31:0] value_o
);
  localparam logic [11:0] Exit   = 12'h0;
  localparam logic [11:0] Mark   = 12'h4;
  localparam logic [11:0] CoreId = 12'h8;
  localparam logic [11:0] Error  = 12'hC;

  logic [31:0] error_addr_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) error_addr_q <= '0;
    else if (error_i) error_addr_q <= error_addr_i;
  end
  assign exit_valid_o = req_i && we_i && addr_i == Exit;
  assign mark_valid_o = req_i && we_i && addr_i == Mark;
  assign value_o = wdata_i;
  always_comb begin
    rdata_o = '0;
    if (addr_i == CoreId) rdata_o = Core;
    if (addr_i == Error) rdata_o = error_addr_q;
    err_o = we_i ? !(addr_i inside {Exit, Mark}) : !(addr_i inside {CoreId, Error});
  end
endmodule
