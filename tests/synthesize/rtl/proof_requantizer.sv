// SPDX-License-Identifier: Apache-2.0
// The requantizer with its specification as an assertion: what it gives is the formula of its header, in integers wide
// enough for every value, of the inputs of the cycles before.
module proof_requantizer
  import intarsia_pkg::ShiftBits;
#(
  parameter bit          Wrong = 1'b0, // a formula that rounds by one too many, to be refuted
  parameter int unsigned AccBits = 16,
  parameter int unsigned ScaleBits = 2,
  parameter int unsigned BiasBits = 20,
  parameter int unsigned ResidualBits = 2,
  parameter int unsigned ResidualShiftBits = 2,
  localparam int unsigned ResidualPorts = ResidualBits == 0 ? 1 : ResidualBits
) (
  input logic                         clk_i,
  input logic signed [AccBits-1:0]    acc_i,
  input logic signed [7:0]            residual_i,
  input logic [ScaleBits-1:0]         scale_i,
  input logic [ShiftBits-1:0]         shift_i,
  input logic signed [BiasBits-1:0]   bias_i,
  input logic [ResidualPorts-1:0]     residual_scale_i,
  input logic [ResidualShiftBits-1:0] residual_shift_i,
  input logic signed [7:0]            lo_i,
  input logic signed [7:0]            hi_i
);
  localparam int unsigned ProductBits = AccBits + ScaleBits;
  localparam int unsigned WideBits    = (ProductBits > BiasBits ? ProductBits : BiasBits) + 2;

  // Constant in a layer.
  localparam int unsigned LayerBits = ResidualPorts + ResidualShiftBits + 16;
  logic [LayerBits-1:0] layer, layer_q;
  assign layer = {residual_scale_i, residual_shift_i, lo_i, hi_i};
  always_ff @(posedge clk_i) layer_q <= layer;

  logic signed [7:0] y;
  intarsia_requantizer #(
    .AccBits(AccBits),
    .ScaleBits(ScaleBits),
    .BiasBits(BiasBits),
    .ResidualBits(ResidualBits),
    .ResidualShiftBits(ResidualShiftBits)
  ) u_requantizer (
    .clk_i,
    .acc_i,
    .residual_i,
    .scale_i,
    .shift_i,
    .bias_i,
    .residual_scale_i,
    .residual_shift_i,
    .lo_i,
    .hi_i,
    .y_o(y)
  );

  logic signed [AccBits-1:0]  acc_q;
  logic signed [7:0]          residual_q;
  logic signed [WideBits-1:0] total_q, sum_d, sum_q, shifted;
  logic [ShiftBits-1:0]       shift_q;
  logic signed [7:0]          expected_q;
  logic [3:0]                 known_q = '0; // registers hold what inputs gave
  always_comb begin
    sum_d = total_q >>> shift_q;
    if (ResidualBits > 0) sum_d = sum_d + WideBits'(residual_q) * $signed({1'b0, residual_scale_i});
    shifted = ResidualBits > 0 ? sum_q >>> residual_shift_i : sum_q;
  end
  always_ff @(posedge clk_i) begin
    acc_q <= acc_i;
    residual_q <= residual_i;
    total_q <= WideBits'(acc_q) * $signed({1'b0, scale_i}) + WideBits'(bias_i) + WideBits'(Wrong);
    shift_q <= shift_i;
    sum_q <= sum_d;
    if (shifted < WideBits'(lo_i)) expected_q <= lo_i;
    else if (shifted > WideBits'(hi_i)) expected_q <= hi_i;
    else expected_q <= shifted[7:0];
    known_q <= {known_q[2:0], 1'b1};
  end
  always_comb begin
    assume (layer == layer_q);
    assume (lo_i <= hi_i);
    if (known_q[3]) assert (y == expected_q);
  end
endmodule
