// SPDX-License-Identifier: Apache-2.0
// Reset synchronizer: the reset is asserted at once, without a clock, and released with the clock.
//
// Latency: the release passes two rising clock edges after rst_ni has risen.
module intarsia_reset (
  input  logic clk_i,
  input  logic rst_ni,  // from a pin, in any phase
  output logic rst_no   // for all flip-flops of the clock
);
  logic [1:0] stages_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) stages_q <= '0;
    else stages_q <= {stages_q[0], 1'b1};
  end
  assign rst_no = stages_q[1];
endmodule
