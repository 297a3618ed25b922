// SPDX-License-Identifier: Apache-2.0
// A counter that stays below Limit (test design for proofs by induction).
module proof_counter #(
  parameter int unsigned Limit = 10,
  parameter int unsigned Claim = 10
) (
  input  logic       clk_i,
  input  logic       rst_ni,
  output logic [3:0] count_o
);
  logic [3:0] count_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) count_q <= '0;
    else count_q <= (count_q >= 4'(Limit - 1)) ? '0 : count_q + 4'd1;
  end
  assign count_o = count_q;

  logic started_q = 1'b0;
  always_ff @(posedge clk_i) started_q <= started_q || !rst_ni;
  always_comb begin
    if (started_q) assert (count_q < 4'(Claim));
  end
endmodule
