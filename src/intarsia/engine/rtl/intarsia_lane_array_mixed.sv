// SPDX-License-Identifier: Apache-2.0
// Lane array of mixed rows: dense lanes with weights of different width, in the place of intarsia_lane_array_dense and
// with its ports. The first Lanes8 lanes have weights of 8 bits, the next Lanes4 of 4, the others of 2.
//
// Weights are registered in stage 1 (only when they change), used in stage 2, accumulators are updated in stage 3. The
// weight word holds the Block weights of lane 0, then those of lane 1, and so on. Weights that are wider than their lane
// are digits, to the base of that lane (intarsia_lane_dense).
//
// Parameters: Lanes and Block (8 or 16) as in intarsia_lane_array; Lanes8 and Lanes4 (0 to Lanes, and so is their sum);
// AccBits, AccSlots as in intarsia_lane_dense.
// Latency: a step issued in cycle t (stage 0) updates the accumulators at the end of cycle t + 3.
module intarsia_lane_array_mixed #(
  parameter int unsigned Lanes,
  parameter int unsigned Block,
  parameter int unsigned Lanes8,
  parameter int unsigned Lanes4,
  parameter int unsigned AccBits,
  parameter int unsigned AccSlots,
  localparam int unsigned IndexBits = $clog2(Block),
  localparam int unsigned PtrBits   = $clog2(AccSlots),
  localparam int unsigned DenseBits = Block * (2 * Lanes + 6 * Lanes8 + 2 * Lanes4)
) (
  input  logic                                 clk_i,
  // Constant in a layer.
  input  logic                                 window_mode_i,
  input  logic                                 depthwise_i,
  // Stage 1.
  input  logic                                 dense_new_i,   // dense_i holds the word read in stage 0
  input  logic [DenseBits-1:0]                 dense_i,
  // Stage 2.
  input  logic                                 valid_i,
  input  logic [IndexBits-1:0]                 channel_i,
  input  logic [Block-1:0][7:0]                word_i,
  input  logic [Block-1:0][Block-1:0][7:0]     window_i,      // [word][channel]
  // Stage 3.
  input  logic                                 acc_en_i,
  input  logic                                 acc_load_i,
  input  logic                                 acc_digit_i,
  input  logic                                 acc_max_i,
  input  logic [PtrBits-1:0]                   write_ptr_i,
  // Result.
  input  logic [PtrBits-1:0]                   read_ptr_i,
  output logic [Lanes-1:0][AccBits-1:0]        acc_o
);
  if (Lanes != 8 && Lanes != 16) begin : gen_bad_lanes
    $error("intarsia_lane_array_mixed: Lanes must be 8 or 16");
  end
  if (Lanes8 > Lanes || Lanes4 > Lanes - Lanes8) begin : gen_bad_widths
    $error("intarsia_lane_array_mixed: Lanes8 and Lanes4 must be 0 to Lanes, and so must be their sum");
  end

  logic [Block-1:0][7:0]            common;
  logic [Lanes-1:0][Block-1:0][7:0] own;
  intarsia_operands #(.Lanes(Lanes), .Block(Block)) u_operands (
    .window_mode_i,
    .depthwise_i,
    .channel_i,
    .word_i,
    .window_i,
    .common_o(common),
    .own_o(own)
  );

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    localparam int unsigned WeightBits = l < Lanes8 ? 8 : l < Lanes8 + Lanes4 ? 4 : 2;
    // Those before it: of 8 bits, of 4 or more.
    localparam int unsigned Before8 = l < Lanes8 ? l : Lanes8;
    localparam int unsigned Before4 = l < Lanes8 + Lanes4 ? l : Lanes8 + Lanes4;
    localparam int unsigned Base    = Block * (2 * l + 2 * Before4 + 4 * Before8);
    logic [Block-1:0][WeightBits-1:0] weights_q;
    always_ff @(posedge clk_i) begin
      if (dense_new_i) weights_q <= dense_i[Base+:Block*WeightBits];
    end

    intarsia_lane_dense #(
      .Block(Block),
      .WeightBits(WeightBits),
      .Digits(1'b1),
      .AccBits(AccBits),
      .AccSlots(AccSlots)
    ) u_lane (
      .clk_i,
      .x_i(common),
      .own_i(own[l]),
      .depthwise_i,
      .weights_i(weights_q),
      .valid_i,
      .acc_en_i,
      .load_i(acc_load_i),
      .digit_i(acc_digit_i),
      .max_i(acc_max_i),
      .write_ptr_i,
      .read_ptr_i,
      .acc_o(acc_o[l])
    );
  end
endmodule
