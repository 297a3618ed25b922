// SPDX-License-Identifier: Apache-2.0
// Dense lane: the hardware of one output channel with weights of one width, to compare the superposition lane with.
//
// Each cycle it multiplies a block of activations by a block of weights, one multiplier each, and adds the products in a
// tree. Control and accumulator slots are those of intarsia_lane; there is one plane, so one accumulator.
//
// Parameters:
//   Block       activations of a block (8 or 16).
//   WeightBits  bits of a weight, two's complement (2 to 8).
//   AccBits     bits of an accumulator (16 to 32, at least 8 + WeightBits + log2(Block): the sum of a block fits).
//   AccSlots    output pixels whose accumulators are held (2 to 16).
// Latency: operands in cycle t, dot product registered at its end, accumulator updated at the end of cycle t + 1 under
// the control given in cycle t + 1.
module intarsia_lane_dense #(
  parameter int unsigned Block,
  parameter int unsigned WeightBits,
  parameter int unsigned AccBits,
  parameter int unsigned AccSlots,
  localparam int unsigned PtrBits = $clog2(AccSlots),
  // (−128)·(−2^(WeightBits − 1)) needs 8 + WeightBits bits with its sign; Block such products log2(Block) more.
  localparam int unsigned ProductBits = 8 + WeightBits,
  localparam int unsigned DotBits     = ProductBits + $clog2(Block)
) (
  input  logic                              clk_i,
  // Operands, signed.
  input  logic [Block-1:0][7:0]             x_i,
  input  logic [Block-1:0][WeightBits-1:0]  weights_i,
  input  logic                              valid_i,    // the dot product is registered
  // Accumulation of the dot product registered before.
  input  logic                              acc_en_i,
  input  logic                              acc_load_i, // replace
  input  logic                              acc_max_i,  // keep the greater
  input  logic [PtrBits-1:0]                write_ptr_i,
  // Result.
  input  logic [PtrBits-1:0]                read_ptr_i,
  output logic signed [AccBits-1:0]         acc_o
);
  if (Block != 8 && Block != 16) begin : gen_bad_block
    $error("intarsia_lane_dense: Block must be 8 or 16");
  end
  if (WeightBits < 2 || WeightBits > 8) begin : gen_bad_weight
    $error("intarsia_lane_dense: WeightBits must be 2 to 8");
  end
  if (AccBits < 16 || AccBits < DotBits || AccBits > 32 || AccSlots < 2 || AccSlots > 16) begin : gen_bad_acc
    $error("intarsia_lane_dense: AccBits must be 16 to 32 and hold the sum of a block, and AccSlots must be 2 to 16");
  end

  logic [Block-1:0][ProductBits-1:0] products;
  for (genvar i = 0; i < Block; i++) begin : gen_product
    logic signed [7:0] x;
    logic signed [WeightBits-1:0] weight;
    logic signed [ProductBits-1:0] product;
    assign x = x_i[i];
    assign weight = weights_i[i];
    assign product = x * weight;
    assign products[i] = product;
  end

  logic signed [DotBits-1:0] dot_d, dot_q;
  always_comb begin
    dot_d = '0;
    for (int unsigned i = 0; i < Block; i++) dot_d = dot_d + DotBits'($signed(products[i]));
  end
  always_ff @(posedge clk_i) begin
    if (valid_i) dot_q <= dot_d;
  end

  // Accumulators.
  logic signed [AccBits-1:0] acc_q [AccSlots];
  logic signed [AccBits-1:0] acc_now, dot_wide, acc_next;
  always_comb begin
    acc_now = acc_q[write_ptr_i];
    dot_wide = AccBits'(dot_q);
    acc_next = (acc_load_i ? '0 : acc_now) + dot_wide;
    if (acc_max_i && !acc_load_i) acc_next = (acc_now > dot_wide) ? acc_now : dot_wide;
  end
  always_ff @(posedge clk_i) begin
    if (acc_en_i) acc_q[write_ptr_i] <= acc_next;
  end

  assign acc_o = acc_q[read_ptr_i];
endmodule
