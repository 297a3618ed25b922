// SPDX-License-Identifier: Apache-2.0
// Sum-Together multiplier, of quadrants: N = 1, 2 or 4 products of 16/N-bit signed operands, added up.
//
// Four multipliers of 8 × 8 bits make the halves' products. For N = 1 all four count, at three weights; for N = 2 those
// of high by high and low by low, at the weight 1; for N = 4 these two are split once more. What does not count has
// operands of 0.
//
// Parameters: LeastBits, of a part (4, 8, or 16: one product only, count_i is without effect).
// Latency: none, combinational.
module intarsia_multiplier_quadrants #(
  parameter int unsigned LeastBits
) (
  input  logic [1:0]  count_i, // binary logarithm of N
  input  logic [15:0] a_i,
  input  logic [15:0] b_i,
  output logic [31:0] y_o      // signed
);
  if (LeastBits != 4 && LeastBits != 8 && LeastBits != 16) begin : gen_bad_parts
    $error("intarsia_multiplier_quadrants: LeastBits must be 4, 8 or 16");
  end

  logic together, quarters;
  assign together = LeastBits < 16 && count_i != 2'd0;
  assign quarters = LeastBits < 8 && count_i == 2'd2;

  logic [7:0]         a_crossed, b_crossed;
  logic signed [16:0] high, low, high_low, low_high;
  logic signed [33:0] crossed, y;
  assign a_crossed = a_i[15:8] & {8{!together}};
  assign b_crossed = b_i[15:8] & {8{!together}};
  intarsia_quadrants #(.Bits(8), .Splits(LeastBits < 8)) u_high (
    .split_i(quarters), .a_signed_i(1'b1), .b_signed_i(1'b1), .a_i(a_i[15:8]), .b_i(b_i[15:8]), .y_o(high)
  );
  intarsia_quadrants #(.Bits(8), .Splits(LeastBits < 8)) u_low (
    .split_i(quarters), .a_signed_i(together), .b_signed_i(together), .a_i(a_i[7:0]), .b_i(b_i[7:0]), .y_o(low)
  );
  intarsia_quadrants #(.Bits(8), .Splits(1'b0)) u_high_low (
    .split_i(1'b0), .a_signed_i(1'b1), .b_signed_i(1'b0), .a_i(a_crossed), .b_i(b_i[7:0]), .y_o(high_low)
  );
  intarsia_quadrants #(.Bits(8), .Splits(1'b0)) u_low_high (
    .split_i(1'b0), .a_signed_i(1'b0), .b_signed_i(1'b1), .a_i(a_i[7:0]), .b_i(b_crossed), .y_o(low_high)
  );
  assign crossed = 34'(high_low) + 34'(low_high);
  assign y = together ? 34'(high) + 34'(low) : (34'(high) << 16) + (crossed << 8) + 34'(low);
  assign y_o = y[31:0];

  logic unused;
  assign unused = ^{y[33:32], count_i};
endmodule
