// SPDX-License-Identifier: Apache-2.0
// Memory with one port for reading and writing, synchronous.
//
// The only place where storage beyond registers is described: block RAM is inferred from it on an FPGA, and an SRAM
// macro can take its place on an ASIC. What such a macro needs beside (test, repair, power) goes through impl_i and
// impl_o, which have no effect here.
//
// Parameters:
//   Width     bits of a word (1 or more).
//   Depth     words (2 to 1048576).
//   Enables   parts of a word that are written one by one (a divisor of Width).
//   ImplIn, ImplOut   bits of the implementation's own ports (1 or more).
// Latency: the word that is read in a cycle appears on rdata_o in the next one and stays until the next read.
module intarsia_memory #(
  parameter int unsigned Width,
  parameter int unsigned Depth,
  parameter int unsigned Enables = 1,
  parameter int unsigned ImplIn  = 1,
  parameter int unsigned ImplOut = 1,
  localparam int unsigned AddressBits = $clog2(Depth),
  localparam int unsigned PartBits    = Width / Enables
) (
  input  logic                   clk_i,
  input  logic [ImplIn-1:0]      impl_i,
  output logic [ImplOut-1:0]     impl_o,
  input  logic                   req_i,
  input  logic                   we_i,
  input  logic [Enables-1:0]     be_i,     // parts that are written
  input  logic [AddressBits-1:0] addr_i,
  input  logic [Width-1:0]       wdata_i,
  output logic [Width-1:0]       rdata_o
);
  if (Width < 1 || Enables < 1 || Width % Enables != 0) begin : gen_bad_width
    $error("intarsia_memory: Width must be at least 1 and a multiple of Enables");
  end
  if (Depth < 2 || Depth > 1048576) begin : gen_bad_depth
    $error("intarsia_memory: Depth must be 2 to 1048576");
  end

  logic [Width-1:0] words [Depth];

  always_ff @(posedge clk_i) begin
    if (req_i && !we_i) rdata_o <= words[addr_i];
    for (int unsigned i = 0; i < Enables; i++) begin
      if (req_i && we_i && be_i[i]) words[addr_i][i*PartBits+:PartBits] <= wdata_i[i*PartBits+:PartBits];
    end
  end
  assign impl_o = '0;
  logic unused;
  assign unused = ^impl_i;
endmodule
