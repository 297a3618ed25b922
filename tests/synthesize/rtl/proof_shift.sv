// SPDX-License-Identifier: Apache-2.0
// The saturating shift with its specification as assertions.
module proof_shift #(
  parameter int unsigned InBits = 33,
  parameter int unsigned OutBits = 8,
  parameter int unsigned ShiftBits = 5
) (
  input  logic [InBits-1:0]    x_i,
  input  logic [ShiftBits-1:0] shift_i,
  output logic [OutBits-1:0]   y_o
);
  intarsia_shift_saturate #(.InBits(InBits), .OutBits(OutBits), .ShiftBits(ShiftBits)) u_shift (
    .x_i,
    .shift_i,
    .y_o
  );

  localparam logic signed [InBits-1:0] Greatest = (InBits'(1) << (OutBits - 1)) - InBits'(1);
  logic signed [InBits-1:0] shifted;
  assign shifted = $signed(x_i) >>> shift_i;
  always_comb begin
    if (shifted > Greatest) assert (y_o == OutBits'(Greatest));
    else if (shifted < -Greatest - InBits'(1)) assert (y_o == OutBits'(-Greatest - InBits'(1)));
    else assert (InBits'($signed(y_o)) == shifted);
  end
endmodule
