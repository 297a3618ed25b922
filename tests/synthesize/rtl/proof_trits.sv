// SPDX-License-Identifier: Apache-2.0
// The trit decoder with its specification as assertions: a packer, written from the description of the code, followed by
// the decoder gives any trits back.
module proof_trits #(
  parameter int unsigned Count = 16,
  localparam int unsigned Rest = Count % 5,
  localparam int unsigned RestBits = Rest == 0 ? 0 : Rest == 1 ? 2 : Rest == 2 ? 4 : Rest == 3 ? 5 : 7,
  localparam int unsigned Bytes = Count / 5,
  localparam int unsigned PackedBits = 8 * Bytes + RestBits
) (
  input  logic [Count-1:0][1:0] trits_i,
  output logic [Count-1:0][1:0] trits_o
);
  logic [PackedBits-1:0] packed_bits;
  intarsia_trits #(.Count(Count)) u_trits (.packed_i(packed_bits), .trits_o);

  // A pair that is not two zeros.
  function automatic logic [2:0] pair(logic [1:0] first, logic [1:0] second);
    if (first[0] && second[0]) return {1'b1, first[1], second[1]};
    if (second[0]) return {2'b00, second[1]};
    return {2'b01, first[1]};
  endfunction

  function automatic logic [4:0] triple(logic [1:0] first, logic [1:0] second, logic [1:0] third);
    if (second == '0 && third == '0) return {3'b100, first};
    return {first, pair(second, third)};
  endfunction

  for (genvar g = 0; g < Bytes; g++) begin : gen_byte
    logic [4:0] lower;
    assign lower = triple(trits_i[5*g], trits_i[5*g+1], trits_i[5*g+2]);
    always_comb begin
      packed_bits[8*g+:8] = {pair(trits_i[5*g+3], trits_i[5*g+4]), lower};
      if (trits_i[5*g+3] == '0 && trits_i[5*g+4] == '0) packed_bits[8*g+:8] = {lower[4:2], 3'b101, lower[1:0]};
    end
  end
  if (Rest >= 3) begin : gen_triple
    assign packed_bits[8*Bytes+:5] = triple(trits_i[5*Bytes], trits_i[5*Bytes+1], trits_i[5*Bytes+2]);
    if (Rest == 4) begin : gen_fourth
      assign packed_bits[PackedBits-1-:2] = trits_i[Count-1];
    end
  end else if (Rest > 0) begin : gen_plain
    assign packed_bits[PackedBits-1:8*Bytes] = trits_i[Count-1:5*Bytes];
  end

  always_comb begin
    for (int unsigned i = 0; i < Count; i++) assume (trits_i[i] != 2'b10);
    assert (trits_o == trits_i);
  end
endmodule
