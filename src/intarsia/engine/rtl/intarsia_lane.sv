// SPDX-License-Identifier: Apache-2.0
// Superposition lane: the hardware of one output channel.
//
// Each cycle it multiplies a block of activations by a block of trits (sign-and-gate and an adder tree, no multiplier)
// and, beside it, the activations that the sparse plane points at by their high-precision weights. Both go into one
// accumulator: acc = acc·{1, 3} + (dot << k) + slots.
//
// Parameters:
//   Block           activations of a block (8 or 16).
//   Slots           sparse weights of a block (0 to 4); with 0 their inputs are without effect.
//   SlotBits        bits of a sparse weight (2 to 8).
//   OwnGather       what choices_i says of a slot's activation: 1, its position in the block, and the lane gathers it;
//                   0, the activation itself.
//   PlaneShiftBits  bits of the dense plane's binary shift k (0 to 3); with 0 there is no shift, and one unused bit.
//   AccBits         bits of an accumulator (16 to 48).
//   AccSlots        output pixels whose accumulators are held (2 to 16).
// Latency: operands in cycle t, their sums registered at its end, accumulators updated at the end of cycle t + 1 under
// the control given in cycle t + 1.
module intarsia_lane #(
  parameter int unsigned Block,
  parameter int unsigned Slots,
  parameter int unsigned SlotBits,
  parameter bit          OwnGather = 1'b1,
  parameter int unsigned PlaneShiftBits,
  parameter int unsigned AccBits,
  parameter int unsigned AccSlots,
  localparam int unsigned IndexBits  = $clog2(Block),
  localparam int unsigned ChoiceBits = OwnGather ? IndexBits : 8,
  localparam int unsigned PtrBits    = $clog2(AccSlots),
  localparam int unsigned SlotPorts  = Slots == 0 ? 1 : Slots, // no port can be empty
  localparam int unsigned ShiftPorts = PlaneShiftBits == 0 ? 1 : PlaneShiftBits
) (
  input  logic                                 clk_i,
  input  logic [ShiftPorts-1:0]                plane_shift_i, // k, constant in a layer
  // Operands.
  input  logic [Block-1:0][7:0]                x_i,           // common to all lanes; 0 in a depthwise layer
  input  logic [Block-1:0][7:0]                own_i,         // the lane's own, in a depthwise layer
  input  logic                                 depthwise_i,
  input  logic [Block-1:0][1:0]                trits_i,
  input  logic [SlotPorts-1:0][SlotBits-1:0]   values_i,
  input  logic [SlotPorts-1:0][ChoiceBits-1:0] choices_i,
  input  logic                                 sparse_i,      // the slots count; else their multipliers stand still
  input  logic                                 valid_i,       // the sums are registered
  // Accumulation of the sums registered before.
  input  logic                                 acc_en_i,
  input  logic                                 load_i,        // replace
  input  logic                                 digit_i,      // times three, then add: the next digit
  input  logic                                 max_i,         // keep the greater
  input  logic [PtrBits-1:0]                   write_ptr_i,
  // Result.
  input  logic [PtrBits-1:0]                   read_ptr_i,
  output logic [AccBits-1:0]                   acc_o
);
  if (Block != 8 && Block != 16) begin : gen_bad_block
    $error("intarsia_lane: Block must be 8 or 16");
  end
  if (Slots > 4 || SlotBits < 2 || SlotBits > 8) begin : gen_bad_slots
    $error("intarsia_lane: Slots must be 0 to 4 and SlotBits must be 2 to 8");
  end

  localparam int unsigned DotBits   = 9 + IndexBits;
  localparam int unsigned SlotsBits = Slots == 0 ? 1 : 7 + SlotBits + $clog2(Slots + 1);

  logic [Block-1:0][7:0] x;
  assign x = x_i | (own_i & {(8 * Block) {depthwise_i}});

  // Dense plane. A negative term is the one's complement; the missing ones are added as a count. Terms have inverted
  // sign bits, so that no sign is extended: each is 128 too great.
  logic [Block-1:0][7:0] terms;
  logic [DotBits-1:0]    dot_d, dot_q;
  always_comb begin
    dot_d = DotBits'(0) - DotBits'(128 * Block);
    for (int unsigned i = 0; i < Block; i++) begin
      terms[i] = ((x[i] & {8{trits_i[i] == 2'b01}}) | (~x[i] & {8{trits_i[i][1]}})) ^ 8'h80;
      dot_d = dot_d + DotBits'(terms[i]) + DotBits'(trits_i[i][1]);
    end
  end
  always_ff @(posedge clk_i) begin
    if (valid_i) dot_q <= dot_d;
  end

  // Sparse plane: partial products of Baugh and Wooley. Those with one sign bit are negative, and stand inverted.
  logic [SlotsBits-1:0] slots_q;
  if (Slots > 0) begin : gen_sparse
    localparam logic [31:0] Constant = 32'(Slots) * (32'd128 + (32'd1 << (SlotBits - 1)) - (32'd1 << (SlotBits + 7)));
    logic [Slots-1:0][7:0]               chosen;
    logic [Slots-1:0][SlotBits-1:0][7:0] rows;
    logic [SlotsBits-1:0]                slots_d;
    for (genvar s = 0; s < Slots; s++) begin : gen_slot
      if (OwnGather) begin : gen_gather
        // A tree: node i has nodes 2·i and 2·i + 1 below it.
        logic [2*Block-1:1][7:0] nodes;
        for (genvar i = 0; i < Block; i++) begin : gen_leaf
          logic here;
          assign here = sparse_i && choices_i[s] == IndexBits'(i);
          assign nodes[Block+i] = x[i] & {8{here}};
        end
        for (genvar i = 1; i < Block; i++) begin : gen_node
          assign nodes[i] = nodes[2*i] | nodes[2*i+1];
        end
        assign chosen[s] = nodes[1];
      end else begin : gen_given
        assign chosen[s] = choices_i[s] & {8{sparse_i}};
      end
    end
    always_comb begin
      slots_d = SlotsBits'(Constant);
      for (int unsigned s = 0; s < Slots; s++) begin
        for (int unsigned j = 0; j < SlotBits; j++) begin
          rows[s][j] = (chosen[s] & {8{values_i[s][j]}}) ^ (j == SlotBits - 1 ? 8'h7f : 8'h80);
          slots_d = slots_d + (SlotsBits'(rows[s][j]) << j);
        end
      end
    end
    always_ff @(posedge clk_i) begin
      if (valid_i) slots_q <= slots_d;
    end
  end else begin : gen_no_sparse
    assign slots_q = '0;
    logic unused;
    assign unused = ^{values_i, choices_i, sparse_i};
  end

  intarsia_accumulators #(
    .DotBits(DotBits),
    .SlotsBits(Slots == 0 ? 0 : SlotsBits),
    .PlaneShiftBits(PlaneShiftBits),
    .Radix(3),
    .AccBits(AccBits),
    .AccSlots(AccSlots)
  ) u_accumulators (
    .clk_i,
    .dot_i(dot_q),
    .slots_i(slots_q),
    .plane_shift_i,
    .en_i(acc_en_i),
    .load_i,
    .digit_i,
    .max_i,
    .write_ptr_i,
    .read_ptr_i,
    .acc_o
  );

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (valid_i) begin
      for (int unsigned i = 0; i < Block; i++) begin
        assert (trits_i[i] != 2'b10) else $error("a trit that is negative and zero");
      end
      assert (!depthwise_i || x_i == '0) else $error("a common block in a depthwise layer");
    end
  end
`endif
endmodule
