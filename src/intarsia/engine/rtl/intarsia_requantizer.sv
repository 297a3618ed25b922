// SPDX-License-Identifier: Apache-2.0
// Requantizer of one lane: clip((dense·m0 + sparse·m1 + bias) >> shift, lo, hi).
//
// The rounding constant 2^(shift−1) is part of the bias (the compiler adds it), and so is the offset of tensors that
// hold unsigned 8-bit values as value − 128; with both, a bias of 32 bits grows to at most
// BiasBits (the compiler refuses more).
//
// Parameters: AccBits, of the accumulators (16 to 32); ScaleBits, of the unsigned multipliers (2 to 16).
// Latency: accumulators in cycle t, parameters in cycle t + 1, result registered at the end of cycle t + 3.
module intarsia_requantizer
  import intarsia_pkg::*;
#(
  parameter int unsigned AccBits,
  parameter int unsigned ScaleBits
) (
  input  logic                      clk_i,
  input  logic signed [AccBits-1:0] dense_i,
  input  logic signed [AccBits-1:0] sparse_i,
  input  logic [ScaleBits-1:0]      dense_scale_i,
  input  logic [ScaleBits-1:0]      sparse_scale_i,
  input  logic [ShiftBits-1:0]      shift_i,
  input  logic signed [BiasBits-1:0] bias_i,
  input  logic signed [7:0]         lo_i,
  input  logic signed [7:0]         hi_i,
  output logic signed [7:0]         y_o
);
  if (AccBits < 16 || AccBits > 32 || ScaleBits < 2 || ScaleBits > 16) begin : gen_bad
    $error("intarsia_requantizer: AccBits must be 16 to 32 and ScaleBits 2 to 16");
  end

  localparam int unsigned ProductBits = AccBits + ScaleBits + 1;
  localparam int unsigned TotalBits   = (ProductBits > BiasBits ? ProductBits : BiasBits) + 2;

  logic signed [AccBits-1:0]     dense_q, sparse_q;
  logic signed [ProductBits-1:0] dense_product_q, sparse_product_q;
  logic signed [BiasBits-1:0]    bias_q;
  logic [ShiftBits-1:0]          shift1_q, shift2_q;
  logic signed [TotalBits-1:0]   total_q, shifted;

  assign shifted = total_q >>> shift2_q;

  always_ff @(posedge clk_i) begin
    dense_q <= dense_i;
    sparse_q <= sparse_i;
    dense_product_q <= dense_q * $signed({1'b0, dense_scale_i});
    sparse_product_q <= sparse_q * $signed({1'b0, sparse_scale_i});
    bias_q <= bias_i;
    shift1_q <= shift_i;
    total_q <= TotalBits'(dense_product_q) + TotalBits'(sparse_product_q) + TotalBits'(bias_q);
    shift2_q <= shift1_q;
    if (shifted < TotalBits'(lo_i)) y_o <= lo_i;
    else if (shifted > TotalBits'(hi_i)) y_o <= hi_i;
    else y_o <= shifted[7:0];
  end
endmodule
