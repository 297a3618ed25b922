// SPDX-License-Identifier: Apache-2.0
// Requantizer of one lane: clip((((acc·m + bias) >> shift) + r·n) >> residual_shift, lo, hi), arithmetic shifts.
//
// The rounding constants of both shifts are part of the bias (the compiler adds them), and so is the offset of tensors
// that hold unsigned 8-bit values as value − 128.
//
// Values are saturated after each shift, which changes no result. The second shift is at most D = 2^ResidualShiftBits − 1,
// and |r·n| is at most R = 2^(OutBits − 1 + ResidualBits). The first is saturated at ±2^(F−1) with 2^(F−1) ≥
// (2^(OutBits − 1) − 1)·2^D + R: where it
// is greater, both it and its saturated value end at hi, whatever r·n is; where it is less, at lo.
//
// Parameters:
//   OutBits            bits of the result and of the residual (8 or 16).
//   AccBits            bits of an accumulator (16 to 48).
//   ScaleBits          bits of the multiplier m, unsigned (2 to 16).
//   BiasBits           bits of the bias, signed (16 to 48); the compiler refuses a greater one. Without a residual,
//                      AccBits + ScaleBits + 2 are enough where shift is at most AccBits + ScaleBits − OutBits: a greater
//                      bias would saturate every result.
//   ResidualBits       bits of the residual's multiplier n, unsigned (1 to 16); 0: no residual and one shift only,
//                      residual_i, residual_scale_i and residual_shift_i are without effect.
//   ResidualShiftBits  bits of the second shift (1 to 5).
// Latency: accumulator in cycle t; residual, multiplier, shift and bias in cycle t + 1; result registered at the end of
// cycle t + 3. The other inputs are constant in a layer.
module intarsia_requantizer
  import intarsia_pkg::ShiftBits;
#(
  parameter int unsigned OutBits = 8,
  parameter int unsigned AccBits,
  parameter int unsigned ScaleBits,
  parameter int unsigned BiasBits,
  parameter int unsigned ResidualBits = 0,
  parameter int unsigned ResidualShiftBits = 4,
  localparam int unsigned ResidualPorts = ResidualBits == 0 ? 1 : ResidualBits // no port can be empty
) (
  input  logic                         clk_i,
  // Cycle t.
  input  logic signed [AccBits-1:0]    acc_i,
  // Cycle t + 1.
  input  logic signed [OutBits-1:0]    residual_i,
  input  logic [ScaleBits-1:0]         scale_i,
  input  logic [ShiftBits-1:0]         shift_i,
  input  logic signed [BiasBits-1:0]   bias_i,
  // Constant in a layer.
  input  logic [ResidualPorts-1:0]     residual_scale_i,
  input  logic [ResidualShiftBits-1:0] residual_shift_i,
  input  logic signed [OutBits-1:0]    lo_i,
  input  logic signed [OutBits-1:0]    hi_i,
  output logic signed [OutBits-1:0]    y_o
);
  if (AccBits < 16 || AccBits > 48 || ScaleBits < 2 || ScaleBits > 16) begin : gen_bad_scale
    $error("intarsia_requantizer: AccBits must be 16 to 48 and ScaleBits must be 2 to 16");
  end
  if (BiasBits < 16 || BiasBits > 48) begin : gen_bad_bias
    $error("intarsia_requantizer: BiasBits must be 16 to 48");
  end
  if (ResidualBits > 16 || ResidualShiftBits < 1 || ResidualShiftBits > 5) begin : gen_bad_residual
    $error("intarsia_requantizer: ResidualBits must be 0 to 16 and ResidualShiftBits must be 1 to 5");
  end

  localparam int unsigned ProductBits = AccBits + ScaleBits;
  localparam int unsigned TotalBits   = (ProductBits > BiasBits ? ProductBits : BiasBits) + 1;

  // Cycle t + 1: rows of the product with inverted sign bits, so that no sign is extended, and the bias.
  logic [AccBits-1:0]   acc_q, row;
  logic [TotalBits-1:0] total_d, total_q;
  logic [ShiftBits-1:0] shift_q;
  always_comb begin
    total_d = (TotalBits'(1) << (AccBits - 1)) - (TotalBits'(1) << (AccBits + ScaleBits - 1)) + TotalBits'(bias_i);
    for (int unsigned j = 0; j < ScaleBits; j++) begin
      row = acc_q & {AccBits{scale_i[j]}};
      row[AccBits-1] = !row[AccBits-1];
      total_d = total_d + (TotalBits'(row) << j);
    end
  end
  always_ff @(posedge clk_i) begin
    acc_q   <= acc_i;
    total_q <= total_d;
    shift_q <= shift_i;
  end

  // Cycles t + 2 and t + 3.
  logic signed [OutBits-1:0] rounded;
  if (ResidualBits == 0) begin : gen_no_residual
    logic [OutBits-1:0] rounded_d, rounded_q;
    intarsia_shift_saturate #(.InBits(TotalBits), .OutBits(OutBits), .ShiftBits(ShiftBits)) u_shift (
      .x_i(total_q),
      .shift_i(shift_q),
      .y_o(rounded_d)
    );
    always_ff @(posedge clk_i) rounded_q <= rounded_d;
    assign rounded = rounded_q;
    logic unused;
    assign unused = ^{residual_i, residual_scale_i, residual_shift_i};
  end else begin : gen_residual
    localparam int unsigned AddendBits  = OutBits + ResidualBits;
    localparam int unsigned MostShift   = (1 << ResidualShiftBits) - 1;
    localparam int unsigned FirstBits   = MostShift >= OutBits - 1 + ResidualBits ? OutBits + MostShift
                                        : OutBits + 1 + (ResidualBits > MostShift ? ResidualBits : MostShift);
    localparam int unsigned SaturatedBits = FirstBits < TotalBits ? FirstBits : TotalBits;
    logic [OutBits-1:0]       residual_row;
    logic [AddendBits-1:0]    addend_d, addend_q;
    logic [SaturatedBits-1:0] first;
    logic [SaturatedBits:0]   sum_q;
    always_comb begin
      addend_d = (AddendBits'(1) << (OutBits - 1)) - (AddendBits'(1) << (ResidualBits + OutBits - 1));
      for (int unsigned j = 0; j < ResidualBits; j++) begin
        residual_row = residual_i & {OutBits{residual_scale_i[j]}};
        residual_row[OutBits-1] = !residual_row[OutBits-1];
        addend_d = addend_d + (AddendBits'(residual_row) << j);
      end
    end
    intarsia_shift_saturate #(.InBits(TotalBits), .OutBits(SaturatedBits), .ShiftBits(ShiftBits)) u_first_shift (
      .x_i(total_q),
      .shift_i(shift_q),
      .y_o(first)
    );
    intarsia_shift_saturate #(.InBits(SaturatedBits + 1), .OutBits(OutBits), .ShiftBits(ResidualShiftBits)) u_second_shift (
      .x_i(sum_q),
      .shift_i(residual_shift_i),
      .y_o(rounded)
    );
    always_ff @(posedge clk_i) begin
      addend_q   <= addend_d;
      sum_q      <= (SaturatedBits + 1)'($signed(first)) + (SaturatedBits + 1)'($signed(addend_q));
    end
  end

  always_ff @(posedge clk_i) begin
    if (rounded < lo_i) y_o <= lo_i;
    else if (rounded > hi_i) y_o <= hi_i;
    else y_o <= rounded;
  end
endmodule
