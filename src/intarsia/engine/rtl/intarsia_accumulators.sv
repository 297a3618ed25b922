// SPDX-License-Identifier: Apache-2.0
// Accumulators of one lane: one for each output pixel that the lane holds.
//
// In a step, one of them takes acc·{1, Radix} + (dot << k) + slots, or the same without acc (load), or the greater of acc
// and dot (max). Each has a write enable of its own, so that its clock can be gated; they are read by AND-OR trees.
//
// Parameters:
//   DotBits         bits of the dense plane's dot product, signed (8 to AccBits).
//   SlotsBits       bits of the sparse plane's sum, signed (2 to 32); 0: there is none, slots_i is without effect.
//   PlaneShiftBits  bits of the dense plane's shift k (0 to 3); 0: there is none, plane_shift_i is without effect.
//   Radix           of the digits that weights may have (Horner's rule): 3, or a power of two of 4 to 256; 0: there are
//                   none, digit_i is without effect.
//   MaxBits         bits of what a maximum is taken of (8 or 16).
//   AccBits         bits of an accumulator (16 to 48); the compiler proves that none overflows.
//   AccSlots        output pixels (2 to 16).
// Latency: an accumulator changes at the end of the cycle in which sums and control are given; reading takes no cycle.
module intarsia_accumulators #(
  parameter int unsigned DotBits,
  parameter int unsigned SlotsBits,
  parameter int unsigned PlaneShiftBits,
  parameter int unsigned Radix,
  parameter int unsigned MaxBits = 8,
  parameter int unsigned AccBits,
  parameter int unsigned AccSlots,
  localparam int unsigned PtrBits    = $clog2(AccSlots),
  localparam int unsigned SlotsPorts = SlotsBits == 0 ? 1 : SlotsBits, // no port can be empty
  localparam int unsigned ShiftPorts = PlaneShiftBits == 0 ? 1 : PlaneShiftBits
) (
  input  logic                         clk_i,
  input  logic signed [DotBits-1:0]    dot_i,
  input  logic signed [SlotsPorts-1:0] slots_i,
  input  logic [ShiftPorts-1:0]        plane_shift_i, // k, constant in a layer
  input  logic                         en_i,
  input  logic                         load_i,        // replace
  input  logic                         digit_i,       // times Radix, then add
  input  logic                         max_i,         // keep the greater; both are of MaxBits, k and slots are 0
  input  logic [PtrBits-1:0]           write_ptr_i,
  input  logic [PtrBits-1:0]           read_ptr_i,
  output logic [AccBits-1:0]           acc_o
);
  if (AccBits < 16 || AccBits > 48 || AccSlots < 2 || AccSlots > 16) begin : gen_bad_acc
    $error("intarsia_accumulators: AccBits must be 16 to 48 and AccSlots must be 2 to 16");
  end
  if (DotBits < 8 || DotBits > AccBits) begin : gen_bad_dot
    $error("intarsia_accumulators: DotBits must be 8 to AccBits");
  end
  if (!(Radix inside {0, 3, 4, 8, 16, 32, 64, 128, 256})) begin : gen_bad_radix
    $error("intarsia_accumulators: Radix must be 0, 3 or a power of two of 4 to 256");
  end
  if (PlaneShiftBits > 3) begin : gen_bad_shift
    $error("intarsia_accumulators: PlaneShiftBits must be 0 to 3");
  end

  logic [AccBits-1:0]  acc_q [AccSlots];
  logic [AccSlots-1:0] written, read;
  logic [AccBits-1:0]  acc, dot, slots, next;
  logic                keep;

  always_comb begin
    acc   = '0; // and stays so in a load
    acc_o = '0;
    for (int unsigned s = 0; s < AccSlots; s++) begin
      written[s] = write_ptr_i == PtrBits'(s);
      read[s]    = read_ptr_i == PtrBits'(s);
      acc   = acc | (acc_q[s] & {AccBits{written[s] && !load_i}});
      acc_o = acc_o | (acc_q[s] & {AccBits{read[s]}});
    end
  end

  if (PlaneShiftBits == 0) begin : gen_no_shift
    assign dot = AccBits'(dot_i);
    logic unused;
    assign unused = ^plane_shift_i;
  end else begin : gen_shift
    localparam int unsigned ShiftedBits = DotBits + (1 << PlaneShiftBits) - 1;
    localparam int unsigned WideBits    = ShiftedBits < AccBits ? ShiftedBits : AccBits;
    logic signed [WideBits-1:0] wide;
    assign wide = WideBits'(dot_i) << plane_shift_i;
    assign dot = AccBits'(wide);
  end
  if (SlotsBits == 0) begin : gen_no_slots
    assign slots = '0;
    logic unused;
    assign unused = slots_i;
  end else begin : gen_slots
    assign slots = AccBits'(slots_i);
  end

  // The greater one is the accumulator: nothing is written.
  assign keep = max_i && !load_i && $signed(acc[MaxBits-1:0]) >= $signed(dot_i[MaxBits-1:0]);

  if (Radix == 3) begin : gen_ternary
    assign next = (acc & {AccBits{!max_i}}) + ({acc[AccBits-2:0], 1'b0} & {AccBits{digit_i}}) + dot + slots;
  end else if (Radix != 0) begin : gen_binary
    assign next = ((digit_i ? acc << $clog2(Radix) : acc) & {AccBits{!max_i}}) + dot + slots;
  end else begin : gen_no_digits
    assign next = (acc & {AccBits{!max_i}}) + dot + slots;
    logic unused;
    assign unused = digit_i;
  end

  for (genvar s = 0; s < AccSlots; s++) begin : gen_slot
    always_ff @(posedge clk_i) begin
      if (en_i && !keep && written[s]) acc_q[s] <= next;
    end
  end

`ifndef SYNTHESIS
  logic signed [AccBits-1:0] held;
  assign held = acc_q[write_ptr_i];
  always_ff @(posedge clk_i) begin
    if (en_i) begin
      assert (32'(write_ptr_i) < AccSlots) else $error("an accumulator beyond the last");
      assert (!(max_i && digit_i)) else $error("max and the next digit in one step");
      assert (!max_i || (slots == '0 && dot == AccBits'(dot_i) && dot == AccBits'($signed(dot_i[MaxBits-1:0]))))
      else $error("max of what is no activation");
      assert (!max_i || load_i || held == AccBits'($signed(held[MaxBits-1:0]))) else $error("max beside what is no activation");
    end
  end
`endif
endmodule
