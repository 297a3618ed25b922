// SPDX-License-Identifier: Apache-2.0
// Unpacks balanced-ternary digits: five trits in a byte (value Σ (t_i + 1)·3^i), the rest in the fewest bits.
//
// Parameters: Count, trits (1 to 64). PackedBits follows from it: 8·(Count / 5) and 0, 2, 4, 5 or 7 bits for the rest.
// Output: two bits a trit, {negative, non-zero}; 2'b10 never occurs. Codes above 3^k − 1 never occur in a legal image;
// they unpack as some legal trits.
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

  // Digit `position` of code, as {negative, non-zero}: digit 0 stands for −1, 1 for 0, 2 for +1.
  function automatic logic [1:0] digit(logic [7:0] code, int unsigned position);
    int unsigned rest = {24'd0, code};
    for (int unsigned i = 0; i < position; i++) rest = rest / 3;
    unique case (rest % 3)
      0:       return 2'b11;
      1:       return 2'b00;
      default: return 2'b01;
    endcase
  endfunction

  // The table of all 256 codes, so that synthesis sees constants and no division.
  function automatic logic [255:0][9:0] make_table();
    logic [255:0][9:0] entries;
    for (int unsigned code = 0; code < 256; code++) begin
      for (int unsigned i = 0; i < 5; i++) entries[code][2*i+:2] = digit(8'(code), i);
    end
    return entries;
  endfunction
  localparam logic [255:0][9:0] Table = make_table();

  for (genvar i = 0; i < Count / 5; i++) begin : gen_byte
    assign trits_o[5*i+:5] = Table[packed_i[8*i+:8]];
  end
  if (Rest > 0) begin : gen_rest
    logic [7:0] code;
    logic [9:0] entry;
    assign code = 8'(packed_i[PackedBits-1-:RestBits]);
    assign entry = Table[code];
    assign trits_o[Count-1-:Rest] = entry[2*Rest-1:0];
    if (Rest < 5) begin : gen_unused
      logic unused;
      assign unused = ^entry[9:2*Rest];
    end
  end
endmodule
