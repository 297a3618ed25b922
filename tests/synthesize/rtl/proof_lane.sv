// SPDX-License-Identifier: Apache-2.0
// The superposition lane with its specification as an assertion: acc·{0, 1, 3} + (dot << k) + slots in plain arithmetic,
// on one of its accumulators, in steps of every cycle.
module proof_lane #(
  parameter bit          Wrong = 1'b0, // a specification without the slots, to be refuted
  parameter bit          Depthwise = 1'b0, // activations are the lane's own
  parameter int unsigned Block = 8,
  parameter int unsigned Slots = 1,
  parameter int unsigned SlotBits = 2,
  parameter int unsigned PlaneShiftBits = 1,
  parameter int unsigned AccBits = 16,
  localparam int unsigned IndexBits = $clog2(Block)
) (
  input logic                            clk_i,
  input logic [PlaneShiftBits-1:0]       plane_shift_i,
  input logic [Block-1:0][7:0]           x_i,
  input logic [Block-1:0][1:0]           trits_i,
  input logic [Slots-1:0][SlotBits-1:0]  values_i,
  input logic [Slots-1:0][IndexBits-1:0] choices_i,
  input logic                            sparse_i,
  input logic                            acc_en_i,
  input logic                            load_i,
  input logic                            digit_i
);
  logic [AccBits-1:0] acc;
  intarsia_lane #(
    .Block(Block),
    .Slots(Slots),
    .SlotBits(SlotBits),
    .PlaneShiftBits(PlaneShiftBits),
    .AccBits(AccBits),
    .AccSlots(2)
  ) u_lane (
    .clk_i,
    .plane_shift_i,
    .x_i(Depthwise ? '0 : x_i),
    .own_i(x_i),
    .depthwise_i(Depthwise),
    .trits_i,
    .values_i,
    .choices_i,
    .sparse_i,
    .valid_i(1'b1),
    .acc_en_i,
    .load_i,
    .digit_i,
    .max_i(1'b0),
    .write_ptr_i(1'b0),
    .read_ptr_i(1'b0),
    .acc_o(acc)
  );

  logic signed [AccBits-1:0] dot_d, dot_q, slots_d, slots_q, acc_q;
  logic                      summed_q = 1'b0; // sums are those of given operands
  logic                      known_q = 1'b0;  // the accumulator is that of given sums
  always_comb begin
    dot_d = '0;
    slots_d = '0;
    for (int unsigned i = 0; i < Block; i++) begin
      if (trits_i[i] == 2'b01) dot_d = dot_d + AccBits'($signed(x_i[i]));
      if (trits_i[i] == 2'b11) dot_d = dot_d - AccBits'($signed(x_i[i]));
    end
    for (int unsigned s = 0; s < Slots; s++) begin
      if (sparse_i && !Wrong) begin
        slots_d = slots_d + AccBits'($signed(x_i[choices_i[s]])) * AccBits'($signed(values_i[s]));
      end
    end
  end
  always_ff @(posedge clk_i) begin
    dot_q <= dot_d;
    slots_q <= slots_d;
    summed_q <= 1'b1;
    if (acc_en_i) begin
      acc_q <= (load_i ? '0 : digit_i ? acc_q + acc_q + acc_q : acc_q) + (dot_q << plane_shift_i) + slots_q;
      if (load_i) known_q <= summed_q;
    end
  end
  always_comb begin
    for (int unsigned i = 0; i < Block; i++) assume (trits_i[i] != 2'b10);
    if (known_q) assert (acc == acc_q);
  end
endmodule
