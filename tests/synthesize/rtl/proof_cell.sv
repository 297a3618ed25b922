// SPDX-License-Identifier: Apache-2.0
// A saturating adder of two's complement numbers with its specification as assertions (test design).
module proof_cell #(
  parameter bit Wrong = 1'b0
) (
  input  logic signed [7:0] a_i,
  input  logic signed [7:0] b_i,
  output logic signed [7:0] sum_o
);
  logic signed [8:0] wide;
  assign wide = 9'(a_i) + 9'(b_i);
  always_comb begin
    sum_o = wide[7:0];
    if (wide[8] != wide[7]) sum_o = wide[8] ? (Wrong ? -8'sd127 : -8'sd128) : 8'sd127;
  end

  always_comb begin
    if (wide > 9'sd127) assert (sum_o == 8'sd127);
    else if (wide < -9'sd128) assert (sum_o == -8'sd128);
    else assert (9'(sum_o) == wide);
  end
endmodule
