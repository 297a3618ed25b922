// SPDX-License-Identifier: Apache-2.0
// Dense lane array: Lanes lanes with weights of one width, to compare the superposition array with at the same throughput.
//
// As intarsia_lane_array: weights are registered in stage 1 (only when they change), used in stage 2, accumulators are
// updated in stage 3; a lane takes the common word, one channel of the window, or its own channel of the window.
//
// Parameters: Lanes (8 or 16), lanes and inputs of each; WeightBits, AccBits, AccSlots as in intarsia_lane_dense.
// Latency: a step issued in cycle t updates the accumulators at the end of cycle t + 3.
module intarsia_lane_array_dense #(
  parameter int unsigned Lanes,
  parameter int unsigned WeightBits,
  parameter int unsigned AccBits,
  parameter int unsigned AccSlots,
  localparam int unsigned IndexBits = $clog2(Lanes),
  localparam int unsigned PtrBits   = $clog2(AccSlots),
  localparam int unsigned LaneBits  = Lanes * WeightBits
) (
  input  logic                                 clk_i,
  // Stage 1.
  input  logic                                 weights_new_i, // weights_i holds the word read in stage 0
  input  logic [Lanes-1:0][LaneBits-1:0]       weights_i,
  // Stage 2.
  input  logic                                 valid_i,
  input  logic                                 window_mode_i,
  input  logic                                 depthwise_i,
  input  logic [IndexBits-1:0]                 channel_i,
  input  logic [Lanes-1:0][7:0]                word_i,
  input  logic [Lanes-1:0][Lanes-1:0][7:0]     window_i,
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
    $error("intarsia_lane_array_dense: Lanes must be 8 or 16");
  end

  // The block that is common to all lanes.
  logic [Lanes-1:0][7:0] common;
  always_comb begin
    for (int unsigned i = 0; i < Lanes; i++) common[i] = window_mode_i ? window_i[i][channel_i] : word_i[i];
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [Lanes-1:0][WeightBits-1:0] weights_q;
    logic [Lanes-1:0][7:0]            x;

    always_ff @(posedge clk_i) begin
      if (weights_new_i) weights_q <= weights_i[l];
    end

    always_comb begin
      for (int unsigned i = 0; i < Lanes; i++) x[i] = depthwise_i ? window_i[i][l] : common[i];
    end

    intarsia_lane_dense #(
      .Block(Lanes),
      .WeightBits(WeightBits),
      .AccBits(AccBits),
      .AccSlots(AccSlots)
    ) u_lane (
      .clk_i,
      .x_i(x),
      .weights_i(weights_q),
      .valid_i,
      .acc_en_i,
      .acc_load_i,
      .acc_max_i,
      .write_ptr_i,
      .read_ptr_i,
      .acc_o(acc_o[l])
    );
  end
endmodule
