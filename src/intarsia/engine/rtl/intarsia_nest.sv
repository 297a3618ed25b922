// SPDX-License-Identifier: Apache-2.0
// Nest of loops: counters of which the innermost, 0, runs fastest. Loader, sequencer, drain and weight fetcher each walk
// over a layer with one of their own.
//
// Parameters:
//   Levels   loops (1 to 12).
//   Widths   bits of each counter, 8 bits per level, level 0 the least significant (1 to 16).
// Latency: indices change one cycle after step_i; last_o and wrap_o follow the indices at once.
module intarsia_nest #(
  parameter int unsigned              Levels,
  parameter logic [Levels-1:0][7:0]   Widths
) (
  input  logic                     clk_i,
  input  logic                     clear_i,  // begin again
  input  logic                     step_i,
  input  logic [Levels-1:0][15:0]  ends_i,   // the greatest index of each loop, from the cycle after clear_i on
  output logic [Levels-1:0][15:0]  index_o,
  output logic [Levels-1:0]        last_o,   // the loop is at its greatest index
  output logic [Levels-1:0]        wrap_o    // and so are all loops inside
);
  if (Levels < 1 || Levels > 12) begin : gen_bad_levels
    $error("intarsia_nest: Levels must be 1 to 12");
  end

  logic [Levels-1:0][15:0] index_q, index_d;
  logic [Levels-1:0]       moves;
  for (genvar i = 0; i < Levels; i++) begin : gen_level
    localparam logic [15:0] Mask = 16'((17'd1 << Widths[i]) - 17'd1);
    assign last_o[i] = index_q[i] == (ends_i[i] & Mask);
    assign wrap_o[i] = &last_o[i:0];
    if (i == 0) begin : gen_inner
      assign moves[i] = step_i;
    end else begin : gen_outer
      assign moves[i] = step_i && wrap_o[i-1];
    end
`ifndef SYNTHESIS
    a_width: assert property (@(posedge clk_i) step_i |-> (ends_i[i] & ~Mask) == '0)
    else $error("a loop that its counter is too narrow for");
`endif
    always_comb begin
      index_d[i] = index_q[i];
      if (clear_i || (moves[i] && last_o[i])) index_d[i] = '0;
      else if (moves[i]) index_d[i] = (index_q[i] + 16'd1) & Mask;
    end
  end
  always_ff @(posedge clk_i) index_q <= index_d;
  assign index_o = index_q;
endmodule
