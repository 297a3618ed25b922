// SPDX-License-Identifier: Apache-2.0
// Lane array: Lanes superposition lanes with the unpacking of their weights and the choice of their activations.
//
// Weights are read by the sequencer in stage 0, unpacked and registered here in stage 1 (only when they change), used
// in stage 2; accumulators are updated in stage 3.
//
// Activations of a lane: the chosen word (word mode); one channel of the window (window mode); or the lane's own channel
// of the window (depthwise).
//
// Parameters: as intarsia_lane and intarsia_engine, without slots (Slots = 0) no sparse plane, and
//   Positions  where the sparse weights lie in the block:
//     0  own: each lane has positions of its own and a gather. A slot of the weight word is value, then index.
//     1  shared: all lanes have the same; the common block is gathered once. The word holds the values of all lanes,
//        then one index a slot. A step of a depthwise layer has no common block, so no sparse plane.
//     2  fixed: slot s is position (Lanes - 4 + s·(Lanes / Slots)) mod Lanes; the first is, in window mode, the newest
//        pixel, which every kernel fills. The word holds the values only.
// Latency: a step issued in cycle t updates the accumulators at the end of cycle t + 3.
module intarsia_lane_array #(
  parameter int unsigned Lanes,
  parameter int unsigned Slots,
  parameter int unsigned SlotBits,
  parameter int unsigned AccBits,
  parameter int unsigned AccSlots,
  parameter int unsigned Positions = 0,
  localparam int unsigned Own        = 0,
  localparam int unsigned Shared     = 1,
  localparam int unsigned Fixed      = 2,
  localparam int unsigned IndexBits  = $clog2(Lanes),
  localparam int unsigned PtrBits    = $clog2(AccSlots),
  localparam int unsigned TritBits   = 8 * (Lanes / 5) + (Lanes % 5 == 1 ? 2 : Lanes % 5 == 3 ? 5 : 0),
  localparam int unsigned DenseBits  = Lanes * TritBits,
  localparam int unsigned SlotPorts  = Slots == 0 ? 1 : Slots, // no port can be empty
  localparam int unsigned ChoiceBits = Positions == Own ? IndexBits : 8, // see intarsia_lane
  localparam int unsigned FieldBits  = SlotBits + (Positions == Own ? IndexBits : 0), // of a slot of a lane
  localparam int unsigned ValuesEnd  = Lanes * SlotPorts * FieldBits,
  localparam int unsigned SparseBits = ValuesEnd + (Positions == Shared ? SlotPorts * IndexBits : 0)
) (
  input  logic                                 clk_i,
  // Stage 1.
  input  logic                                 dense_new_i,   // dense_i holds the word read in stage 0
  input  logic [DenseBits-1:0]                 dense_i,
  input  logic                                 sparse_new_i,
  input  logic [SparseBits-1:0]                sparse_i,
  // Stage 2.
  input  logic                                 valid_i,
  input  logic                                 window_mode_i,
  input  logic                                 depthwise_i,
  input  logic [IndexBits-1:0]                 channel_i,
  input  logic [Lanes-1:0][7:0]                word_i,
  input  logic [Lanes-1:0][Lanes-1:0][7:0]     window_i,
  // Stage 3.
  input  logic                                 dense_en_i,
  input  logic                                 dense_load_i,
  input  logic                                 dense_triple_i,
  input  logic                                 dense_max_i,
  input  logic                                 sparse_en_i,
  input  logic                                 sparse_load_i,
  input  logic [PtrBits-1:0]                   write_ptr_i,
  // Result.
  input  logic [PtrBits-1:0]                   read_ptr_i,
  output logic [Lanes-1:0][AccBits-1:0]        dense_o,
  output logic [Lanes-1:0][AccBits-1:0]        sparse_o
);
  if (Lanes != 8 && Lanes != 16) begin : gen_bad_lanes
    $error("intarsia_lane_array: Lanes must be 8 or 16");
  end
  if (Positions != Own && Positions != Shared && Positions != Fixed) begin : gen_bad_positions
    $error("intarsia_lane_array: Positions must be 0 (own), 1 (shared) or 2 (fixed)");
  end

  // The block that is common to all lanes.
  logic [Lanes-1:0][7:0] common;
  always_comb begin
    for (int unsigned i = 0; i < Lanes; i++) common[i] = window_mode_i ? window_i[i][channel_i] : word_i[i];
  end

  // The activations at the positions that are common to all lanes.
  logic [SlotPorts-1:0][7:0] gathered;
  if (Slots == 0) begin : gen_no_sparse
    assign gathered = '0;
    logic unused;
    assign unused = ^{sparse_new_i, sparse_i, gathered};
  end else if (Positions == Shared) begin : gen_shared
    logic [Slots-1:0][IndexBits-1:0] indices_q;
    always_ff @(posedge clk_i) begin
      if (sparse_new_i) indices_q <= sparse_i[ValuesEnd+:Slots*IndexBits];
    end
    for (genvar s = 0; s < Slots; s++) begin : gen_gather
      assign gathered[s] = common[indices_q[s]];
    end
  end else begin : gen_not_shared
    assign gathered = '0;
    logic unused;
    assign unused = ^gathered;
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [Lanes-1:0][1:0]                trits_d, trits_q;
    logic [SlotPorts-1:0][SlotBits-1:0]   values_q;
    logic [SlotPorts-1:0][ChoiceBits-1:0] choices;
    logic [Lanes-1:0][7:0]                x;

    intarsia_trits #(.Count(Lanes)) u_trits (
      .packed_i(dense_i[l*TritBits+:TritBits]),
      .trits_o(trits_d)
    );

    for (genvar s = 0; s < Slots; s++) begin : gen_slot
      localparam int unsigned Base = (l * Slots + s) * FieldBits;
      always_ff @(posedge clk_i) begin
        if (sparse_new_i) values_q[s] <= sparse_i[Base+:SlotBits];
      end
      if (Positions == Own) begin : gen_own
        logic [IndexBits-1:0] index_q;
        always_ff @(posedge clk_i) begin
          if (sparse_new_i) index_q <= sparse_i[Base+SlotBits+:IndexBits];
        end
        assign choices[s] = index_q;
      end else if (Positions == Shared) begin : gen_shared
        assign choices[s] = gathered[s];
      end else begin : gen_fixed
        assign choices[s] = x[(Lanes-4+s*(Lanes/Slots))%Lanes];
      end
    end
    if (Slots == 0) begin : gen_no_slot
      assign {values_q, choices} = '0;
    end
    always_ff @(posedge clk_i) begin
      if (dense_new_i) trits_q <= trits_d;
    end

    always_comb begin
      for (int unsigned i = 0; i < Lanes; i++) x[i] = depthwise_i ? window_i[i][l] : common[i];
    end

    intarsia_lane #(
      .Block(Lanes),
      .Slots(Slots),
      .SlotBits(SlotBits),
      .OwnGather(Positions == Own),
      .AccBits(AccBits),
      .AccSlots(AccSlots)
    ) u_lane (
      .clk_i,
      .x_i(x),
      .trits_i(trits_q),
      .values_i(values_q),
      .choices_i(choices),
      .valid_i,
      .dense_en_i,
      .dense_load_i,
      .dense_triple_i,
      .dense_max_i,
      .sparse_en_i,
      .sparse_load_i,
      .write_ptr_i,
      .read_ptr_i,
      .dense_o(dense_o[l]),
      .sparse_o(sparse_o[l])
    );
  end

`ifndef SYNTHESIS
  if (Slots > 0 && Positions == Shared) begin : gen_check
    logic depthwise_q;
    always_ff @(posedge clk_i) begin
      if (valid_i) depthwise_q <= depthwise_i;
      assert (!(sparse_en_i && depthwise_q)) else $error("a sparse plane at shared positions in a depthwise layer");
    end
  end
`endif
endmodule
