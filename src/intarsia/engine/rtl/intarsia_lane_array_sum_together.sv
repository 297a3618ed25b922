// SPDX-License-Identifier: Apache-2.0
// Sum-Together lane array: Lanes lanes of 16-bit multipliers with the choice of their activations, in the place of
// intarsia_lane_array.
//
// Weights are registered in stage 1 (only when they change), used in stage 2, accumulators are updated in stage 3.
//
// Activations of a lane: the chosen word (word mode), or its own channel of the words of the window (depthwise layers in
// window mode; other layers have no window here). With 8-bit activations it multiplies all positions of the window in
// one step, one part each; with 4-bit ones, too, in half of its parts; with 16-bit ones half of the positions, those
// that half_i says. Lane l has channel l of those at channel_i, a multiple of Lanes.
//
// Parameters: Lanes and Block (8 or 16) as in intarsia_lane_array; LeastBits, Quadrants, AccBits, AccSlots as in
// intarsia_lane_sum_together.
// Latency: a step issued in cycle t (stage 0) updates the accumulators at the end of cycle t + 3.
module intarsia_lane_array_sum_together #(
  parameter int unsigned Lanes,
  parameter int unsigned Block,
  parameter int unsigned LeastBits,
  parameter bit          Quadrants,
  parameter int unsigned AccBits,
  parameter int unsigned AccSlots,
  localparam int unsigned ChannelBits = $clog2(Block) + 1,
  localparam int unsigned PtrBits     = $clog2(AccSlots),
  localparam int unsigned WordBits    = 8 * Block
) (
  input  logic                                 clk_i,
  // Constant in a layer.
  input  logic                                 own_i,         // a depthwise layer in window mode
  input  logic [1:0]                           format_i,      // bits of operands: 4, 8 or 16 as 0, 1 or 2
  // Stage 1.
  input  logic                                 dense_new_i,   // dense_i holds the word read in stage 0
  input  logic [Lanes*WordBits-1:0]            dense_i,
  // Stage 2.
  input  logic                                 valid_i,
  input  logic [ChannelBits-1:0]               channel_i,
  input  logic                                 half_i,
  input  logic [WordBits-1:0]                  word_i,
  input  logic [Block-1:0][WordBits-1:0]       window_i,
  // Stage 3.
  input  logic                                 acc_en_i,
  input  logic                                 acc_load_i,
  input  logic                                 acc_max_i,
  input  logic [PtrBits-1:0]                   write_ptr_i,
  // Result.
  input  logic [PtrBits-1:0]                   read_ptr_i,
  output logic [Lanes-1:0][AccBits-1:0]        acc_o
);
  if (Lanes != 8 && Lanes != 16) begin : gen_bad_lanes
    $error("intarsia_lane_array_sum_together: Lanes must be 8 or 16");
  end
  localparam int unsigned Halfwords = Block / 2;

  logic is_4, is_8;
  assign is_4 = LeastBits <= 4 && format_i == 2'd0;
  assign is_8 = LeastBits <= 8 && format_i == 2'd1;
  logic [1:0] count;
  assign count = is_4 ? 2'd2 : is_8 ? 2'd1 : 2'd0;

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [WordBits-1:0] weights_q, own, bytes, nibbles, x;
    always_ff @(posedge clk_i) begin
      if (dense_new_i) weights_q <= dense_i[l*WordBits+:WordBits];
    end

    always_comb begin
      own = '0;
      bytes = '0;
      nibbles = '0;
      for (int unsigned p = 0; p < Block; p++) begin
        // Of several tiles' channels in a word, those of this one.
        for (int unsigned c = 0; c < Block; c += Lanes) begin
          if (channel_i[ChannelBits-2:0] == (ChannelBits - 1)'(c)) bytes[8*p+:8] = window_i[p][8*(c+(l%Block))+:8];
        end
        for (int unsigned c = 0; c < 2 * Block; c += Lanes) begin
          if (channel_i == ChannelBits'(c)) nibbles[4*p+:4] = window_i[p][4*(c+l)+:4];
        end
      end
      for (int unsigned p = 0; p < Halfwords; p++) begin
        own[16*p+:16] = half_i ? window_i[Halfwords+p][16*(l%Halfwords)+:16] : window_i[p][16*(l%Halfwords)+:16];
      end
      if (is_8) own = bytes;
      if (is_4) own = nibbles;
      x = own_i ? own : word_i;
    end

    intarsia_lane_sum_together #(
      .Block(Block),
      .LeastBits(LeastBits),
      .Quadrants(Quadrants),
      .AccBits(AccBits),
      .AccSlots(AccSlots)
    ) u_lane (
      .clk_i,
      .count_i(count),
      .x_i(x),
      .weights_i(weights_q),
      .valid_i,
      .acc_en_i,
      .load_i(acc_load_i),
      .max_i(acc_max_i),
      .write_ptr_i,
      .read_ptr_i,
      .acc_o(acc_o[l])
    );
  end
endmodule
