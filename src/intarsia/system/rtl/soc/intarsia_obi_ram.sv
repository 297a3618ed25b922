// SPDX-License-Identifier: Apache-2.0
// RAM as an OBI subordinate, with byte enables. Addresses from Bytes to the end of its region are answered with err.
//
// Parameters:
//   Bytes        size (64 to 4194304, a multiple of 4).
//   RegionBits   address bits within the region of the crossbar (at least those of Bytes, at most 32).
// Latency: a request is granted at once and answered in the next cycle.
module intarsia_obi_ram #(
  parameter int unsigned Bytes,
  parameter int unsigned RegionBits
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic                  req_i,
  output logic                  gnt_o,
  input  logic [RegionBits-1:0] addr_i,
  input  logic                  we_i,
  input  logic [3:0]            be_i,
  input  logic [31:0]           wdata_i,
  output logic                  rvalid_o,
  output logic [31:0]           rdata_o,
  output logic                  err_o
);
  if (Bytes < 64 || Bytes > 4194304 || Bytes % 4 != 0) begin : gen_bad_bytes
    $error("intarsia_obi_ram: Bytes must be 64 to 4194304 and a multiple of 4");
  end
  if (RegionBits > 32 || RegionBits < $clog2(Bytes)) begin : gen_bad_region
    $error("intarsia_obi_ram: RegionBits must hold every address of the RAM, and be at most 32");
  end

  localparam int unsigned Words       = Bytes / 4;
  localparam int unsigned AddressBits = $clog2(Words);

  logic inside_ram, rvalid_q, err_q, impl;
  assign inside_ram = 33'(addr_i) < 33'(Bytes);
  assign gnt_o = 1'b1;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      rvalid_q <= 1'b0;
      err_q <= 1'b0;
    end else begin
      rvalid_q <= req_i;
      err_q <= req_i && !inside_ram;
    end
  end
  assign rvalid_o = rvalid_q;
  assign err_o = err_q;

  intarsia_memory #(.Width(32), .Depth(Words), .Enables(4)) u_memory (
    .clk_i, .impl_i('0), .impl_o(impl),
    .req_i(req_i && inside_ram), .we_i, .be_i, .addr_i(addr_i[2+:AddressBits]), .wdata_i, .rdata_o
  );

  logic unused;
  assign unused = ^{addr_i, impl};
endmodule
