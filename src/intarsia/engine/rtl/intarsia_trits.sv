// SPDX-License-Identifier: Apache-2.0
// Unpacks trits: five in a byte, the rest in the fewest bits.
//
// A trit is {negative, non-zero}: 2'b00 is 0, 2'b01 is +1, 2'b11 is −1. The fourth code, 2'b10, is free to mark pairs of
// zeros, and this makes the decoder small:
//   pair (3 bits)   two trits of which one at least is not zero. 1 a b: both are non-zero, a and b are their signs
//                   (1 is negative); 0 0 b: only the second is; 0 1 b: only the first is; b is its sign.
//   triple (5 bits) {first trit, pair}; or, where the pair is two zeros, {2'b10, 1'b0, first trit}.
//   byte            {pair of the last two, triple of the first three}; or, where the last two are zeros,
//                   {upper 3 bits of the triple, 3'b101, lower 2 bits of the triple}.
// A rest of one trit stands as it is (2 bits), two are two (4), three a triple (5), four a triple and one (7).
//
// Parameters: Count, trits (1 to 64). PackedBits follows from it: 8·(Count / 5) and 0, 2, 4, 5 or 7 bits for the rest.
// Output: two bits a trit; 2'b10 comes from no legal word.
// Latency: none, combinational.
module intarsia_trits #(
  parameter int unsigned Count,
  localparam int unsigned Rest = Count % 5,
  localparam int unsigned RestBits = Rest == 0 ? 0 : Rest == 1 ? 2 : Rest == 2 ? 4 : Rest == 3 ? 5 : 7,
  localparam int unsigned PackedBits = 8 * (Count / 5) + RestBits
) (
  input  logic [PackedBits-1:0]  packed_i,
  output logic [Count-1:0][1:0]  trits_o
);
  if (Count < 1 || Count > 64) begin : gen_bad_count
    $error("intarsia_trits: Count must be 1 to 64");
  end

  function automatic logic [1:0][1:0] pair(logic [2:0] code, logic zeros);
    logic first, second;
    first  = !zeros && (code[2] || code[1]);
    second = !zeros && (code[2] || !code[1]);
    return {second && code[0], second, first && (code[2] ? code[1] : code[0]), first};
  endfunction

  function automatic logic [2:0][1:0] triple(logic [4:0] code);
    logic zeros;
    zeros = code[4] && !code[3];
    return {pair(code[2:0], zeros), zeros ? code[1:0] : code[4:3]};
  endfunction

  function automatic logic [4:0][1:0] five(logic [7:0] code);
    logic zeros;
    zeros = code[4:2] == 3'b101;
    return {pair(code[7:5], zeros), triple({zeros ? code[7:5] : code[4:2], code[1:0]})};
  endfunction

  for (genvar i = 0; i < Count / 5; i++) begin : gen_byte
    assign trits_o[5*i+:5] = five(packed_i[8*i+:8]);
  end
  if (Rest >= 3) begin : gen_triple
    assign trits_o[Count-Rest+:3] = triple(packed_i[PackedBits-RestBits+:5]);
    if (Rest == 4) begin : gen_fourth
      assign trits_o[Count-1] = packed_i[PackedBits-1-:2];
    end
  end else if (Rest > 0) begin : gen_plain
    assign trits_o[Count-1-:Rest] = packed_i[PackedBits-1-:2*Rest];
  end
endmodule
