// SPDX-License-Identifier: Apache-2.0
// Arithmetic shift to the right, saturated to fewer bits: min(max(x >> shift, −2^(OutBits−1)), 2^(OutBits−1) − 1).
//
// Bits that no remaining shift can bring into the result are dropped after each stage of the shifter, and only whether
// one of them differs from the sign is kept.
//
// Parameters: InBits (OutBits to 64), OutBits (at least 2), ShiftBits of the amount (1 to 5).
// Latency: none, combinational.
module intarsia_shift_saturate #(
  parameter int unsigned InBits,
  parameter int unsigned OutBits,
  parameter int unsigned ShiftBits
) (
  input  logic [InBits-1:0]    x_i,
  input  logic [ShiftBits-1:0] shift_i,
  output logic [OutBits-1:0]   y_o
);
  if (OutBits < 2 || InBits < OutBits || InBits > 64 || ShiftBits < 1 || ShiftBits > 5) begin : gen_bad
    $error("intarsia_shift_saturate: InBits must be OutBits to 64, OutBits must be at least 2 and ShiftBits must be 1 to 5");
  end

  // A negative value as its one's complement: what is shifted in is then 0 for either sign.
  logic                         sign, over;
  logic [InBits-2:0]            rest;
  always_comb begin
    sign = x_i[InBits-1];
    rest = x_i[InBits-2:0] ^ {(InBits - 1) {sign}};
    over = 1'b0;
    for (int k = int'(ShiftBits) - 1; k >= 0; k--) begin
      if (shift_i[k]) rest = rest >> (1 << k);
      for (int unsigned b = OutBits + (1 << k) - 2; b < InBits - 1; b++) begin
        over = over || rest[b];
        rest[b] = 1'b0;
      end
    end
    y_o = {sign, (rest[OutBits-2:0] | {(OutBits - 1) {over}}) ^ {(OutBits - 1) {sign}}};
  end
endmodule
