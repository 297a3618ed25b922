// SPDX-License-Identifier: Apache-2.0
// First in, first out.
//
// Parameters: Width of an entry in bits; Depth, entries (a power of two, 2 to 16).
// Latency: an entry that is pushed in cycle t is at the head in cycle t + 1 at the earliest.
module intarsia_fifo #(
  parameter int unsigned Width,
  parameter int unsigned Depth = 4,
  localparam int unsigned PtrBits = $clog2(Depth)
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             push_i,  // not while full
  input  logic [Width-1:0] data_i,
  input  logic             pop_i,   // not while empty
  output logic [Width-1:0] data_o,  // the oldest entry
  output logic             empty_o,
  output logic             full_o
);
  if (Depth < 2 || Depth > 16 || 1 << PtrBits != Depth) begin : gen_bad_depth
    $error("intarsia_fifo: Depth must be a power of two, 2 to 16");
  end

  logic [Width-1:0]   entries_q [Depth];
  logic [PtrBits-1:0] head_q, tail_q;
  logic [PtrBits:0]   count_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {head_q, tail_q, count_q} <= '0;
    end else begin
      if (push_i) tail_q <= tail_q + 1'b1;
      if (pop_i) head_q <= head_q + 1'b1;
      count_q <= count_q + (PtrBits + 1)'(push_i) - (PtrBits + 1)'(pop_i);
    end
  end
  always_ff @(posedge clk_i) begin
    if (push_i) entries_q[tail_q] <= data_i;
  end
  assign data_o = entries_q[head_q];
  assign empty_o = count_q == '0;
  assign full_o = count_q == (PtrBits + 1)'(Depth);

`ifndef SYNTHESIS
  a_push: assert property (@(posedge clk_i) disable iff (!rst_ni) push_i |-> !full_o)
  else $error("an entry too many");
  a_pop: assert property (@(posedge clk_i) disable iff (!rst_ni) pop_i |-> !empty_o)
  else $error("an entry that is not there");
`endif
endmodule
