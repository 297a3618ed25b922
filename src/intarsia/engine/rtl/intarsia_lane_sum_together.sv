// SPDX-License-Identifier: Apache-2.0
// Sum-Together lane: the hardware of one output channel with multipliers of 16 × 16 bits that also add up 2 products of
// 8 bits or 4 of 4 bits.
//
// Each cycle it multiplies a word of activations by a word of weights, part by part, and adds all products in one tree.
// Control and accumulators are those of intarsia_lane.
//
// Parameters:
//   Block      bytes of a word (8 or 16); there are Block/2 multipliers.
//   LeastBits  bits of the narrowest operands (4, 8 or 16).
//   Quadrants  how a multiplier is built: 0, intarsia_multiplier_array; 1, intarsia_multiplier_quadrants.
//   AccBits    bits of an accumulator (16 to 48, at least 31 + log2(Block): the sum of a word fits).
//   AccSlots   output pixels whose accumulators are held (2 to 16).
// Latency: operands in cycle t, dot product registered at its end, accumulator updated at the end of cycle t + 1 under
// the control given in cycle t + 1.
module intarsia_lane_sum_together #(
  parameter int unsigned Block,
  parameter int unsigned LeastBits,
  parameter bit          Quadrants,
  parameter int unsigned AccBits,
  parameter int unsigned AccSlots,
  localparam int unsigned PtrBits     = $clog2(AccSlots),
  localparam int unsigned Multipliers = Block / 2,
  localparam int unsigned DotBits     = 32 + $clog2(Multipliers)
) (
  input  logic                            clk_i,
  input  logic [1:0]                      count_i,     // binary logarithm of the products per multiplier
  // Operands: parts of 16, 8 or 4 bits, signed.
  input  logic [Multipliers-1:0][15:0]    x_i,
  input  logic [Multipliers-1:0][15:0]    weights_i,
  input  logic                            valid_i,     // the dot product is registered
  // Accumulation of the dot product registered before.
  input  logic                            acc_en_i,
  input  logic                            load_i,      // replace
  input  logic                            max_i,       // keep the greater
  input  logic [PtrBits-1:0]              write_ptr_i,
  // Result.
  input  logic [PtrBits-1:0]              read_ptr_i,
  output logic [AccBits-1:0]              acc_o
);
  if (Block != 8 && Block != 16) begin : gen_bad_block
    $error("intarsia_lane_sum_together: Block must be 8 or 16");
  end
  if (AccBits < DotBits) begin : gen_bad_acc
    $error("intarsia_lane_sum_together: AccBits must hold the sum of a word");
  end

  logic [Multipliers-1:0][31:0] products;
  for (genvar m = 0; m < Multipliers; m++) begin : gen_multiplier
    if (Quadrants) begin : gen_quadrants
      intarsia_multiplier_quadrants #(.LeastBits(LeastBits)) u_multiplier (
        .count_i, .a_i(x_i[m]), .b_i(weights_i[m]), .y_o(products[m])
      );
    end else begin : gen_array
      intarsia_multiplier_array #(.Bits(16), .LeastBits(LeastBits)) u_multiplier (
        .count_i, .a_i(x_i[m]), .b_i(weights_i[m]), .y_o(products[m])
      );
    end
  end

  logic [DotBits-1:0] dot_d, dot_q;
  always_comb begin
    dot_d = '0;
    for (int unsigned m = 0; m < Multipliers; m++) dot_d = dot_d + DotBits'($signed(products[m]));
  end
  always_ff @(posedge clk_i) begin
    if (valid_i) dot_q <= dot_d;
  end

  intarsia_accumulators #(
    .DotBits(DotBits),
    .SlotsBits(0),
    .PlaneShiftBits(0),
    .Radix(0),
    .MaxBits(16),
    .AccBits(AccBits),
    .AccSlots(AccSlots)
  ) u_accumulators (
    .clk_i,
    .dot_i(dot_q),
    .slots_i(1'b0),
    .plane_shift_i(1'b0),
    .en_i(acc_en_i),
    .load_i,
    .digit_i(1'b0),
    .max_i,
    .write_ptr_i,
    .read_ptr_i,
    .acc_o
  );
endmodule
