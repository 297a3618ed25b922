// SPDX-License-Identifier: Apache-2.0
// One signed 8 × 8 multiply-accumulate lane with an accumulator of AccBits bits (test design).
module mac_cell #(
  parameter int unsigned AccBits = 24
) (
  input  logic                      clk_i,
  input  logic                      clear_i,
  input  logic signed [7:0]         a_i,
  input  logic signed [7:0]         b_i,
  output logic signed [AccBits-1:0] acc_o
);
  if (AccBits < 16) begin : gen_illegal
    $error("AccBits must be at least 16");
  end

  logic signed [15:0] product;
  logic signed [AccBits-1:0] acc_d, acc_q;

  assign product = a_i * b_i;
  assign acc_d = (clear_i ? '0 : acc_q) + AccBits'(product);
  assign acc_o = acc_q;

  always_ff @(posedge clk_i) acc_q <= acc_d;
endmodule
