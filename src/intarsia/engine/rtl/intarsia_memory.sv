// SPDX-License-Identifier: Apache-2.0
// Memory with one write and one read port, both synchronous.
//
// The only place where storage beyond registers is described: block RAM is inferred from it on an FPGA, and an SRAM
// macro can take its place on an ASIC.
//
// Parameters: Width, bits of a word (1 or more); Depth, words (2 to 65536).
// Latency: the word at raddr_i appears on rdata_o one cycle after ren_i and stays until the next ren_i. A word must not
// be read in the cycle in which it is written: memories differ in what that gives.
module intarsia_memory #(
  parameter int unsigned Width,
  parameter int unsigned Depth,
  localparam int unsigned AddressBits = $clog2(Depth)
) (
  input  logic                   clk_i,
  input  logic                   wen_i,
  input  logic [AddressBits-1:0] waddr_i,
  input  logic [Width-1:0]       wdata_i,
  input  logic                   ren_i,
  input  logic [AddressBits-1:0] raddr_i,
  output logic [Width-1:0]       rdata_o
);
  if (Width < 1) begin : gen_bad_width
    $error("intarsia_memory: Width must be at least 1");
  end
  if (Depth < 2 || Depth > 65536) begin : gen_bad_depth
    $error("intarsia_memory: Depth must be 2 to 65536");
  end

  logic [Width-1:0] words [Depth];

  always_ff @(posedge clk_i) begin
    if (wen_i) words[waddr_i] <= wdata_i;
    if (ren_i) rdata_o <= words[raddr_i];
  end

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    assert (!wen_i || 32'(waddr_i) < Depth) else $error("a word written beyond the memory's end");
    assert (!ren_i || 32'(raddr_i) < Depth) else $error("a word read beyond the memory's end");
    assert (!wen_i || !ren_i || waddr_i != raddr_i) else $error("a word read while it is written");
  end
`endif
endmodule
