// SPDX-License-Identifier: Apache-2.0
// Multiplier of four smaller ones: the product of its operands, or the sum of the products of their halves.
//
// Parameters: Bits, of an operand (8, of four multipliers of 4 bits); it is a part of intarsia_multiplier_quadrants.
// Latency: none, combinational.
module intarsia_quadrants #(
  parameter int unsigned Bits,
  parameter bit          Splits,       // 0: split_i is without effect
  localparam int unsigned Half = Bits / 2
) (
  input  logic            split_i,     // multiply half by half, all signed, and add
  input  logic            a_signed_i,  // of the whole operands
  input  logic            b_signed_i,
  input  logic [Bits-1:0] a_i,
  input  logic [Bits-1:0] b_i,
  output logic [2*Bits:0] y_o          // signed
);
  // A half with the sign that it counts with.
  function automatic logic signed [Half:0] signed_half(input logic [Half-1:0] value, input logic is_signed);
    return {is_signed && value[Half-1], value};
  endfunction

  logic split;
  assign split = Splits && split_i;
  logic signed [Half:0]  a_high, a_low, b_high, b_low, a_crossed, b_crossed;
  logic signed [Bits:0]  high, low, high_low, low_high;
  logic signed [2*Bits:0] crossed;
  always_comb begin
    a_high = signed_half(a_i[Half+:Half], a_signed_i || split);
    b_high = signed_half(b_i[Half+:Half], b_signed_i || split);
    a_low = signed_half(a_i[0+:Half], split);
    b_low = signed_half(b_i[0+:Half], split);
    // Where the crossed products do not count, their operands stand still at 0.
    a_crossed = a_high & {(Half + 1) {!split}};
    b_crossed = b_high & {(Half + 1) {!split}};
    high = (Bits + 1)'(a_high) * (Bits + 1)'(b_high);
    low = (Bits + 1)'(a_low) * (Bits + 1)'(b_low);
    high_low = (Bits + 1)'(a_crossed) * (Bits + 1)'(b_low);
    low_high = (Bits + 1)'(a_low) * (Bits + 1)'(b_crossed);
    crossed = (2 * Bits + 1)'(high_low) + (2 * Bits + 1)'(low_high);
    if (split) y_o = (2 * Bits + 1)'(high) + (2 * Bits + 1)'(low);
    else y_o = ((2 * Bits + 1)'(high) << Bits) + (crossed << Half) + (2 * Bits + 1)'(low);
  end
  if (!Splits) begin : gen_whole
    logic unused;
    assign unused = split_i;
  end
endmodule
