// SPDX-License-Identifier: Apache-2.0
// Lane array: Lanes superposition lanes with the unpacking of their weights and the choice of their activations.
//
// Weights are read by the sequencer in stage 0, registered here in stage 1 (only when they change), used in stage 2;
// accumulators are updated in stage 3.
//
// Activations of a lane: the chosen word (word mode); channel channel_i of the window (window mode); or, in a depthwise
// layer, a channel of its own of the window. Lane l takes channel l mod Block, and if there are fewer lanes than
// channels, l beside the upper bits of channel_i: a multiple of Lanes then chooses the channels.
//
// Parameters:
//   Lanes      output channels (8 or 16).
//   Block      activations of a word, and words of the window (8 or 16); it may differ from Lanes.
//   Slots, SlotBits, PlaneShiftBits, AccBits, AccSlots   as in intarsia_lane.
//   Positions  where the sparse weights lie in the block:
//     0  own: each lane has positions of its own and a gather. A slot of the weight word is value, then index.
//     1  shared: all lanes have the same; the common block is gathered once. The word holds the values of all lanes,
//        then one index a slot.
//     2  fixed: the position of slot s is in bits 4s to 4s + 3 of Places. The word holds the values only.
//     Shared and fixed ones are of the common block, so that a step of a depthwise layer in window mode, in which each
//     lane has a block of its own, has no sparse plane.
//   Places     positions of the slots where they are fixed; else without effect.
// Latency: a step issued in cycle t (stage 0) updates the accumulators at the end of cycle t + 3.
module intarsia_lane_array #(
  parameter int unsigned Lanes,
  parameter int unsigned Block,
  parameter int unsigned Slots,
  parameter int unsigned SlotBits,
  parameter int unsigned PlaneShiftBits,
  parameter int unsigned AccBits,
  parameter int unsigned AccSlots,
  parameter int unsigned Positions,
  parameter int unsigned Places,
  localparam int unsigned Own        = 0,
  localparam int unsigned Shared     = 1,
  localparam int unsigned Fixed      = 2,
  localparam int unsigned IndexBits  = $clog2(Block),
  localparam int unsigned PtrBits    = $clog2(AccSlots),
  localparam int unsigned TritBits   = 8 * (Block / 5) + (Block % 5 == 1 ? 2 : Block % 5 == 3 ? 5 : 0),
  localparam int unsigned DenseBits  = Lanes * TritBits,
  localparam int unsigned SlotPorts  = Slots == 0 ? 1 : Slots, // no port can be empty
  localparam int unsigned ShiftPorts = PlaneShiftBits == 0 ? 1 : PlaneShiftBits,
  localparam int unsigned ChoiceBits = Positions == Own ? IndexBits : 8, // see intarsia_lane
  localparam int unsigned FieldBits  = SlotBits + (Positions == Own ? IndexBits : 0), // of a slot of a lane
  localparam int unsigned ValuesEnd  = Lanes * SlotPorts * FieldBits,
  localparam int unsigned SparseBits = ValuesEnd + (Positions == Shared ? SlotPorts * IndexBits : 0)
) (
  input  logic                                 clk_i,
  // Constant in a layer.
  input  logic                                 window_mode_i,
  input  logic                                 depthwise_i,
  input  logic [ShiftPorts-1:0]                plane_shift_i,
  // Stage 1.
  input  logic                                 dense_new_i,   // dense_i holds the word read in stage 0
  input  logic [DenseBits-1:0]                 dense_i,
  input  logic                                 sparse_new_i,
  input  logic [SparseBits-1:0]                sparse_i,
  // Stage 2.
  input  logic                                 valid_i,
  input  logic                                 sparse_en_i,   // the slots count in this step
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
    $error("intarsia_lane_array: Lanes must be 8 or 16");
  end
  if (Positions != Own && Positions != Shared && Positions != Fixed) begin : gen_bad_positions
    $error("intarsia_lane_array: Positions must be 0 (own), 1 (shared) or 2 (fixed)");
  end
  if (Positions == Fixed) begin : gen_check_places
    for (genvar s = 0; s < Slots; s++) begin : gen_place
      if (((Places >> (4 * s)) & 15) >= Block) begin : gen_bad_place
        $error("intarsia_lane_array: Places must be positions of the block");
      end
    end
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
    logic [TritBits-1:0]                  packed_q;
    logic [Block-1:0][1:0]                trits;
    logic [SlotPorts-1:0][SlotBits-1:0]   values_q;
    logic [SlotPorts-1:0][ChoiceBits-1:0] choices;

    // Trits are kept packed: unpacking takes less time than choosing activations.
    always_ff @(posedge clk_i) begin
      if (dense_new_i) packed_q <= dense_i[l*TritBits+:TritBits];
    end
    intarsia_trits #(.Count(Block)) u_trits (
      .packed_i(packed_q),
      .trits_o(trits)
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
        assign choices[s] = common[(Places >> (4 * s)) & 15];
      end
    end
    if (Slots == 0) begin : gen_no_slot
      assign {values_q, choices} = '0;
    end

    intarsia_lane #(
      .Block(Block),
      .Slots(Slots),
      .SlotBits(SlotBits),
      .OwnGather(Positions == Own),
      .PlaneShiftBits(PlaneShiftBits),
      .AccBits(AccBits),
      .AccSlots(AccSlots)
    ) u_lane (
      .clk_i,
      .x_i(common),
      .own_i(own[l]),
      .depthwise_i,
      .trits_i(trits),
      .values_i(values_q),
      .choices_i(choices),
      .sparse_i(sparse_en_i),
      .plane_shift_i,
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

`ifndef SYNTHESIS
  if (Slots > 0 && Positions != Own) begin : gen_check
    always_ff @(posedge clk_i) begin
      assert (!(valid_i && sparse_en_i && depthwise_i))
      else $error("a sparse plane at common positions in a layer without common blocks");
    end
  end
`endif
endmodule
