// SPDX-License-Identifier: Apache-2.0
// Dense lane: the hardware of one output channel with weights of one width, to compare the superposition lane with.
//
// Each cycle it multiplies a block of activations by a block of weights, one multiplier each, and adds the products in
// one tree. Choice of activations, control and accumulators are those of intarsia_lane.
//
// Parameters:
//   Block       activations of a block (8 or 16).
//   WeightBits  bits of a weight, two's complement (2 to 8).
//   Digits      1: weights may be digits to base 2^WeightBits of wider ones, most significant first; 0: digit_i is
//               without effect.
//   AccBits     bits of an accumulator (16 to 48, at least 8 + WeightBits + log2(Block): the sum of a block fits).
//   AccSlots    output pixels whose accumulators are held (2 to 16).
// Latency: operands in cycle t, dot product registered at its end, accumulator updated at the end of cycle t + 1 under
// the control given in cycle t + 1.
module intarsia_lane_dense #(
  parameter int unsigned Block,
  parameter int unsigned WeightBits,
  parameter bit          Digits,
  parameter int unsigned AccBits,
  parameter int unsigned AccSlots,
  localparam int unsigned PtrBits = $clog2(AccSlots),
  // (−128)·(−2^(WeightBits − 1)) needs 8 + WeightBits bits with its sign; Block such products log2(Block) more.
  localparam int unsigned DotBits = 8 + WeightBits + $clog2(Block)
) (
  input  logic                              clk_i,
  // Operands, signed.
  input  logic [Block-1:0][7:0]             x_i,         // common to all lanes; 0 in a depthwise layer
  input  logic [Block-1:0][7:0]             own_i,       // the lane's own in a depthwise layer
  input  logic                              depthwise_i,
  input  logic [Block-1:0][WeightBits-1:0]  weights_i,
  input  logic                              valid_i,     // the dot product is registered
  // Accumulation of the dot product registered before.
  input  logic                              acc_en_i,
  input  logic                              load_i,      // replace
  input  logic                              digit_i,     // times 2^WeightBits, then add: the next digit
  input  logic                              max_i,       // keep the greater
  input  logic [PtrBits-1:0]                write_ptr_i,
  // Result.
  input  logic [PtrBits-1:0]                read_ptr_i,
  output logic [AccBits-1:0]                acc_o
);
  if (Block != 8 && Block != 16) begin : gen_bad_block
    $error("intarsia_lane_dense: Block must be 8 or 16");
  end
  if (WeightBits < 2 || WeightBits > 8) begin : gen_bad_weight
    $error("intarsia_lane_dense: WeightBits must be 2 to 8");
  end
  if (AccBits < DotBits) begin : gen_bad_acc
    $error("intarsia_lane_dense: AccBits must hold the sum of a block");
  end

  logic [Block-1:0][7:0] x;
  assign x = x_i | (own_i & {(8 * Block) {depthwise_i}});

  // Partial products of Baugh and Wooley, all in one tree. Those with one sign bit are negative, and stand inverted.
  localparam logic [31:0] Constant = 32'(Block) * (32'd128 + (32'd1 << (WeightBits - 1)) - (32'd1 << (WeightBits + 7)));
  logic [Block-1:0][WeightBits-1:0][7:0] rows;
  logic [DotBits-1:0]                    dot_d, dot_q;
  always_comb begin
    dot_d = DotBits'(Constant);
    for (int unsigned i = 0; i < Block; i++) begin
      for (int unsigned j = 0; j < WeightBits; j++) begin
        rows[i][j] = (x[i] & {8{weights_i[i][j]}}) ^ (j == WeightBits - 1 ? 8'h7f : 8'h80);
        dot_d = dot_d + (DotBits'(rows[i][j]) << j);
      end
    end
  end
  always_ff @(posedge clk_i) begin
    if (valid_i) dot_q <= dot_d;
  end

  intarsia_accumulators #(
    .DotBits(DotBits),
    .SlotsBits(0),
    .PlaneShiftBits(0),
    .Radix(Digits ? 1 << WeightBits : 0),
    .AccBits(AccBits),
    .AccSlots(AccSlots)
  ) u_accumulators (
    .clk_i,
    .dot_i(dot_q),
    .slots_i(1'b0),
    .plane_shift_i(1'b0),
    .en_i(acc_en_i),
    .load_i,
    .digit_i,
    .max_i,
    .write_ptr_i,
    .read_ptr_i,
    .acc_o
  );
endmodule
