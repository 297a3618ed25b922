// Lane array: Lanes superposition lanes with the unpacking of their weights and the choice of their activations.
//
// Weights are read by the sequencer in stage 0, unpacked and registered here in stage 1 (only when they change), used
// in stage 2; accumulators are updated in stage 3.
//
// Activations of a lane: the chosen word (word mode); one channel of the window (window mode); or the lane's own channel
// of the window (depthwise).
//
// Parameters: as intarsia_lane and intarsia_engine.
// Latency: a step issued in cycle t updates the accumulators at the end of cycle t + 3.
module intarsia_lane_array #(
  parameter int unsigned Lanes,
  parameter int unsigned Slots,
  parameter int unsigned SlotBits,
  parameter int unsigned AccBits,
  parameter int unsigned AccSlots,
  localparam int unsigned IndexBits  = $clog2(Lanes),
  localparam int unsigned PtrBits    = $clog2(AccSlots),
  localparam int unsigned TritBits   = 8 * (Lanes / 5) + (Lanes % 5 == 1 ? 2 : Lanes % 5 == 3 ? 5 : 0),
  localparam int unsigned DenseBits  = Lanes * TritBits,
  localparam int unsigned SparseBits = Lanes * Slots * (SlotBits + IndexBits)
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

  // The block that is common to all lanes.
  logic [Lanes-1:0][7:0] common;
  always_comb begin
    for (int unsigned i = 0; i < Lanes; i++) common[i] = window_mode_i ? window_i[i][channel_i] : word_i[i];
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [Lanes-1:0][1:0]           trits_d, trits_q;
    logic [Slots-1:0][SlotBits-1:0]  values_q;
    logic [Slots-1:0][IndexBits-1:0] indices_q;
    logic [Lanes-1:0][7:0]           x;

    intarsia_trits #(.Count(Lanes)) u_trits (
      .packed_i(dense_i[l*TritBits+:TritBits]),
      .trits_o(trits_d)
    );

    for (genvar s = 0; s < Slots; s++) begin : gen_slot
      localparam int unsigned Base = (l * Slots + s) * (SlotBits + IndexBits);
      always_ff @(posedge clk_i) begin
        if (sparse_new_i) begin
          values_q[s] <= sparse_i[Base+:SlotBits];
          indices_q[s] <= sparse_i[Base+SlotBits+:IndexBits];
        end
      end
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
      .AccBits(AccBits),
      .AccSlots(AccSlots)
    ) u_lane (
      .clk_i,
      .x_i(x),
      .trits_i(trits_q),
      .values_i(values_q),
      .indices_i(indices_q),
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
endmodule
