// Proof harness: whatever legal trits are packed, intarsia_trits unpacks them.
module trits_round_trip #(
  parameter int unsigned Count = 16,
  parameter bit          Wrong = 0,  // a deliberate fault, to see that the proof can fail
  localparam int unsigned Rest = Count % 5,
  localparam int unsigned RestBits = Rest == 0 ? 0 : Rest == 1 ? 2 : Rest == 2 ? 4 : Rest == 3 ? 5 : 7,
  localparam int unsigned PackedBits = 8 * (Count / 5) + RestBits
) (
  input logic [Count-1:0] negative_i,
  input logic [Count-1:0] nonzero_i
);
  logic [Count-1:0][1:0]  trits, unpacked;
  logic [PackedBits-1:0]  packed_trits;
  logic [(Count+4)/5-1:0][7:0] codes;

  function automatic logic [7:0] pack(logic [4:0][1:0] group, int unsigned size);
    logic [7:0] code = 8'd0;
    for (int unsigned i = size; i > 0; i--) begin
      code = code * 8'd3 + (group[i-1] == 2'b11 ? 8'd0 : group[i-1] == 2'b01 ? 8'd2 : 8'd1);
    end
    return code;
  endfunction

  for (genvar i = 0; i < Count; i++) begin : gen_trit
    assign trits[i] = {negative_i[i] & nonzero_i[i], nonzero_i[i]};
  end
  for (genvar b = 0; b < Count / 5; b++) begin : gen_byte
    assign codes[b] = pack(trits[5*b+:5], 5);
    assign packed_trits[8*b+:8] = codes[b];
  end
  if (Rest > 0) begin : gen_rest
    assign codes[Count/5] = pack(10'(trits[Count-1-:Rest]), Rest);
    assign packed_trits[PackedBits-1-:RestBits] = codes[Count/5][RestBits-1:0] ^ RestBits'(Wrong);
  end

  intarsia_trits #(.Count(Count)) u_trits (.packed_i(packed_trits), .trits_o(unpacked));

  always_comb begin
    assert (unpacked == trits);
  end
endmodule
