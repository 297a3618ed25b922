// SPDX-License-Identifier: Apache-2.0
// Superposition lane: the hardware of one output channel.
//
// Each cycle it multiplies a block of activations by a block of trits (sign-and-gate and an adder tree, no multiplier)
// and, beside it, the activations that the sparse plane points at by their high-precision weights. The two planes keep
// accumulators of their own, because each has its own scale. Without slots there is no sparse plane, and its inputs are
// without effect.
//
// Parameters:
//   Block     activations of a block (8 or 16).
//   Slots     sparse weights of a block (0 to 4).
//   SlotBits  bits of a sparse weight (2 to 8).
//   OwnGather what choices_i says of a slot's activation: 1, its position in the block, and the lane gathers it; 0, the
//             activation itself.
//   AccBits   bits of an accumulator (16 to 32); the compiler proves that no sum overflows.
//   AccSlots  output pixels whose accumulators are held (2 to 16).
// Latency: operands in cycle t, products registered at its end, accumulators updated at the end of cycle t + 1 under
// the control given in cycle t + 1.
module intarsia_lane #(
  parameter int unsigned Block,
  parameter int unsigned Slots,
  parameter int unsigned SlotBits,
  parameter bit          OwnGather = 1'b1,
  parameter int unsigned AccBits,
  parameter int unsigned AccSlots,
  localparam int unsigned IndexBits  = $clog2(Block),
  localparam int unsigned ChoiceBits = OwnGather ? IndexBits : 8,
  localparam int unsigned PtrBits    = $clog2(AccSlots),
  localparam int unsigned SlotPorts  = Slots == 0 ? 1 : Slots // no port can be empty
) (
  input  logic                                 clk_i,
  // Operands.
  input  logic [Block-1:0][7:0]                x_i,
  input  logic [Block-1:0][1:0]                trits_i,
  input  logic [SlotPorts-1:0][SlotBits-1:0]   values_i,
  input  logic [SlotPorts-1:0][ChoiceBits-1:0] choices_i,
  input  logic                                 valid_i,        // products are registered
  // Accumulation of the products registered before.
  input  logic                                 dense_en_i,
  input  logic                                 dense_load_i,   // replace
  input  logic                                 dense_triple_i, // times three, then add: the next digit
  input  logic                                 dense_max_i,    // keep the greater
  input  logic                                 sparse_en_i,
  input  logic                                 sparse_load_i,
  input  logic [PtrBits-1:0]                   write_ptr_i,
  // Result.
  input  logic [PtrBits-1:0]                   read_ptr_i,
  output logic signed [AccBits-1:0]            dense_o,
  output logic signed [AccBits-1:0]            sparse_o
);
  if (Block != 8 && Block != 16) begin : gen_bad_block
    $error("intarsia_lane: Block must be 8 or 16");
  end
  if (Slots > 4 || SlotBits < 2 || SlotBits > 8) begin : gen_bad_slots
    $error("intarsia_lane: Slots must be 0 to 4 and SlotBits 2 to 8");
  end
  if (AccBits < 16 || AccBits > 32 || AccSlots < 2 || AccSlots > 16) begin : gen_bad_acc
    $error("intarsia_lane: AccBits must be 16 to 32 and AccSlots 2 to 16");
  end

  localparam int unsigned DotBits = 9 + IndexBits;

  // Dense plane. A negative term is the one's complement; the missing ones are added as a count.
  logic signed [DotBits-1:0] dot_d, dot_q;
  always_comb begin
    dot_d = '0;
    for (int unsigned i = 0; i < Block; i++) begin
      dot_d = dot_d + DotBits'($signed((x_i[i] & {8{trits_i[i][0]}}) ^ {8{trits_i[i][1]}}));
    end
    for (int unsigned i = 0; i < Block; i++) begin
      dot_d = dot_d + $signed({{(DotBits - 1) {1'b0}}, trits_i[i][1]});
    end
  end
  always_ff @(posedge clk_i) begin
    if (valid_i) dot_q <= dot_d;
  end

  logic signed [AccBits-1:0] dense_q [AccSlots];
  logic signed [AccBits-1:0] dense_now, dense_base, dot_wide, dense_next;
  always_comb begin
    dense_now = dense_q[write_ptr_i];
    dot_wide = AccBits'(dot_q);
    dense_base = dense_now;
    if (dense_triple_i) dense_base = dense_now + (dense_now <<< 1);
    if (dense_load_i) dense_base = '0;
    dense_next = dense_base + dot_wide;
    if (dense_max_i && !dense_load_i) dense_next = (dense_now > dot_wide) ? dense_now : dot_wide;
  end
  always_ff @(posedge clk_i) begin
    if (dense_en_i) dense_q[write_ptr_i] <= dense_next;
  end
  assign dense_o = dense_q[read_ptr_i];

  // Sparse plane. Each product in a wire of its own width.
  if (Slots > 0) begin : gen_sparse
    localparam int unsigned SumBits = 8 + SlotBits + $clog2(Slots + 1);
    logic signed [SumBits-1:0] sum_d, sum_q;
    logic [Slots-1:0][7+SlotBits:0] products;
    for (genvar s = 0; s < Slots; s++) begin : gen_slot
      logic signed [7:0] chosen;
      logic signed [SlotBits-1:0] value;
      if (OwnGather) begin : gen_gather
        assign chosen = x_i[choices_i[s]];
      end else begin : gen_given
        assign chosen = choices_i[s];
      end
      assign value = values_i[s];
      assign products[s] = (8 + SlotBits)'(chosen * value);
    end
    always_comb begin
      sum_d = '0;
      for (int unsigned s = 0; s < Slots; s++) sum_d = sum_d + SumBits'($signed(products[s]));
    end
    always_ff @(posedge clk_i) begin
      if (valid_i) sum_q <= sum_d;
    end

    logic signed [AccBits-1:0] sparse_q [AccSlots];
    logic signed [AccBits-1:0] sparse_now, sparse_next;
    always_comb begin
      sparse_now = sparse_load_i ? '0 : sparse_q[write_ptr_i];
      sparse_next = sparse_now + AccBits'(sum_q);
    end
    always_ff @(posedge clk_i) begin
      if (sparse_en_i) sparse_q[write_ptr_i] <= sparse_next;
    end
    assign sparse_o = sparse_q[read_ptr_i];
  end else begin : gen_no_sparse
    assign sparse_o = '0;
    logic unused;
    assign unused = ^{values_i, choices_i, sparse_en_i, sparse_load_i};
  end

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (valid_i) begin
      for (int unsigned i = 0; i < Block; i++) begin
        assert (trits_i[i] != 2'b10) else $error("a trit that is negative and zero");
      end
    end
  end
`endif
endmodule
