// SPDX-License-Identifier: Apache-2.0
// The trit decoder with its specification as assertions: packing its output again gives every legal word back.
module proof_trits #(
  parameter int unsigned Count = 16,
  localparam int unsigned Rest = Count % 5,
  localparam int unsigned RestBits = Rest == 0 ? 0 : Rest == 1 ? 2 : Rest == 2 ? 4 : Rest == 3 ? 5 : 7,
  localparam int unsigned Bytes = Count / 5,
  localparam int unsigned PackedBits = 8 * Bytes + RestBits
) (
  input  logic [PackedBits-1:0] packed_i,
  output logic [Count-1:0][1:0] trits_o
);
  intarsia_trits #(.Count(Count)) u_trits (.packed_i, .trits_o);

  for (genvar group = 0; group < (Count + 4) / 5; group++) begin : gen_group
    localparam int unsigned Here = group < Bytes ? 5 : Rest;
    localparam int unsigned Bits = group < Bytes ? 8 : RestBits;
    localparam int unsigned Codes = Here == 5 ? 243 : Here == 4 ? 81 : Here == 3 ? 27 : Here == 2 ? 9 : 3;
    logic [7:0] code, again;
    assign code = 8'(packed_i[8*group+:Bits]);
    always_comb begin
      again = '0;
      for (int unsigned i = Here; i > 0; i--) begin
        again = 8'(again + again + again);
        // {negative, non-zero}: −1 is digit 0, 0 is digit 1, +1 is digit 2
        if (trits_o[5*group+i-1] == 2'b00) again = again + 8'd1;
        if (trits_o[5*group+i-1] == 2'b01) again = again + 8'd2;
      end
    end
    always_comb begin
      if (code < 8'(Codes)) assert (again == code);
      for (int unsigned i = 0; i < Here; i++) assert (trits_o[5*group+i] != 2'b10);
    end
  end
endmodule
