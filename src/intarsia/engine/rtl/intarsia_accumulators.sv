// SPDX-License-Identifier: Apache-2.0
// Accumulators of one lane: one for each output pixel that the lane holds.
//
// In a step, one of them takes acc·{1, 3} + sum, the sum alone (load), or the greater of both (max). Values are read by
// AND-OR trees, and each accumulator has a write enable of its own, so that its clock can be gated.
//
// Parameters:
//   SumBits   bits of a sum, signed (8 to AccBits).
//   AccBits   bits of an accumulator (16 to 32); the compiler proves that no accumulator overflows.
//   AccSlots  output pixels (2 to 16).
//   Triple    1: acc·3 + sum is possible (the next digit of Horner's rule); 0: triple_i is without effect.
// Latency: an accumulator changes at the end of the cycle in which sum and control are given; reading takes no cycle.
module intarsia_accumulators #(
  parameter int unsigned SumBits,
  parameter int unsigned AccBits,
  parameter int unsigned AccSlots,
  parameter bit          Triple,
  localparam int unsigned PtrBits = $clog2(AccSlots)
) (
  input  logic                      clk_i,
  input  logic signed [SumBits-1:0] sum_i,
  input  logic                      en_i,
  input  logic                      load_i,      // replace
  input  logic                      triple_i,    // times three, then add
  input  logic                      max_i,       // keep the greater; both are of 8 bits
  input  logic [PtrBits-1:0]        write_ptr_i,
  input  logic [PtrBits-1:0]        read_ptr_i,
  output logic signed [AccBits-1:0] acc_o
);
  if (AccBits < 16 || AccBits > 32 || AccSlots < 2 || AccSlots > 16) begin : gen_bad_acc
    $error("intarsia_accumulators: AccBits must be 16 to 32 and AccSlots must be 2 to 16");
  end
  if (SumBits < 8 || SumBits > AccBits) begin : gen_bad_sum
    $error("intarsia_accumulators: SumBits must be 8 to AccBits");
  end

  logic [AccBits-1:0]  acc_q [AccSlots];
  logic [AccBits-1:0]  now, base, twice, next;
  logic [AccSlots-1:0] chosen;
  logic                keep;

  always_comb begin
    now   = '0;
    acc_o = '0;
    for (int unsigned s = 0; s < AccSlots; s++) begin
      chosen[s] = write_ptr_i == PtrBits'(s);
      now   = now | (acc_q[s] & {AccBits{chosen[s] && !load_i}});
      acc_o = acc_o | (acc_q[s] & {AccBits{read_ptr_i == PtrBits'(s)}});
    end
  end

  // Not the sum but the accumulator is the greater one: nothing is written.
  assign keep  = max_i && !load_i && $signed(now[7:0]) >= $signed(sum_i[7:0]);
  assign base  = now & {AccBits{!max_i}};
  assign twice = Triple ? {now[AccBits-2:0], 1'b0} & {AccBits{triple_i}} : '0;
  assign next  = base + twice + AccBits'(sum_i);

  for (genvar s = 0; s < AccSlots; s++) begin : gen_slot
    always_ff @(posedge clk_i) begin
      if (en_i && !keep && chosen[s]) acc_q[s] <= next;
    end
  end

  if (!Triple) begin : gen_no_triple
    logic unused;
    assign unused = triple_i;
  end

`ifndef SYNTHESIS
  logic signed [AccBits-1:0] held;
  assign held = acc_q[write_ptr_i];
  always_ff @(posedge clk_i) begin
    if (en_i) begin
      assert (!(max_i && triple_i)) else $error("max and triple in one step");
      assert (!max_i || load_i || (held >= -128 && held <= 127 && sum_i >= -128 && sum_i <= 127))
      else $error("the greater of values of more than 8 bits");
    end
  end
`endif
endmodule
