// SPDX-License-Identifier: Apache-2.0
// Nest of loops: counters of which the innermost, 0, runs fastest. Loader, sequencer, drain and weight fetcher each walk
// over a layer with one of their own.
//
// That a loop is at its end is kept in a register beside its index, so that a step does not begin with a comparison. A
// loop whose end changes during the layer brings the comparison itself.
//
// Parameters:
//   Levels   loops (1 to 12).
//   Widths   bits of each counter, 8 bits per level, level 0 the least significant (1 to 16).
//   Own      levels, one bit each, for which own_last_i says whether the index is the greatest.
// Latency: indices change one cycle after step_i; last_o and wrap_o follow them at once.
module intarsia_nest #(
  parameter int unsigned              Levels,
  parameter logic [Levels-1:0][7:0]   Widths,
  parameter logic [Levels-1:0]        Own = '0
) (
  input  logic                     clk_i,
  input  logic                     clear_i,     // begin again
  input  logic                     step_i,
  input  logic [Levels-1:0][15:0]  ends_i,      // the greatest index of each loop, from the cycle after clear_i on
  input  logic [Levels-1:0]        single_i,    // that it is 0, in the cycle after clear_i
  input  logic [Levels-1:0]        own_last_i,
  output logic [Levels-1:0][15:0]  index_o,
  output logic [Levels-1:0]        last_o,      // the loop is at its greatest index
  output logic [Levels-1:0]        wrap_o       // and so are all loops inside
);
  if (Levels < 1 || Levels > 12) begin : gen_bad_levels
    $error("intarsia_nest: Levels must be 1 to 12");
  end

  logic [Levels-1:0][15:0] index_q, index_d;
  logic [Levels-1:0]       moves, last_q, last_d;
  logic                    fresh_q; // the first cycle after clear_i
  for (genvar i = 0; i < Levels; i++) begin : gen_level
    localparam logic [15:0] Mask = 16'((17'd1 << Widths[i]) - 17'd1);
    logic [15:0] next;
    assign next = (index_q[i] + 16'd1) & Mask;
    assign last_o[i] = Own[i] ? own_last_i[i] : fresh_q ? single_i[i] : last_q[i];
    assign wrap_o[i] = &last_o[i:0];
    if (i == 0) begin : gen_inner
      assign moves[i] = step_i;
    end else begin : gen_outer
      assign moves[i] = step_i && wrap_o[i-1];
    end
`ifndef SYNTHESIS
    a_width: assert property (@(posedge clk_i) step_i |-> (ends_i[i] & ~Mask) == '0)
    else $error("a loop that its counter is too narrow for");
    a_last: assert property (@(posedge clk_i) step_i |-> last_o[i] == (index_q[i] == ends_i[i]))
    else $error("a loop that does not know its end");
`endif
    always_comb begin
      index_d[i] = index_q[i];
      last_d[i] = last_o[i];
      if (clear_i || (moves[i] && last_o[i])) begin
        index_d[i] = '0;
        last_d[i] = (ends_i[i] & Mask) == '0;
      end else if (moves[i]) begin
        index_d[i] = next;
        last_d[i] = next == (ends_i[i] & Mask);
      end
    end
  end
  always_ff @(posedge clk_i) begin
    index_q <= index_d;
    last_q <= last_d;
    fresh_q <= clear_i;
  end
  assign index_o = index_q;
  logic unused;
  assign unused = ^{own_last_i, single_i};
endmodule
