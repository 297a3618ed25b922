// SPDX-License-Identifier: Apache-2.0
// Sum-Together multiplier, as one array: N = 1, 2 or 4 products of Bits/N-bit signed operands, added up.
//
// Part p of a, the least significant first, is multiplied by part p of b. The parts of b are put in reverse order, so
// that all wanted products have the weight 2^(Bits − Bits/N) in the array of partial products; those between other parts
// are gated to 0. Negative partial products, those of one sign bit, stand inverted (Baugh and Wooley), and what is
// missing then is a constant of each N.
//
// Parameters:
//   Bits       of an operand (8 or 16).
//   LeastBits  of a part (Bits/4, Bits/2, or Bits: one product only, count_i is without effect).
// Latency: none, combinational.
module intarsia_multiplier_array #(
  parameter int unsigned Bits,
  parameter int unsigned LeastBits
) (
  input  logic [1:0]        count_i, // binary logarithm of N
  input  logic [Bits-1:0]   a_i,
  input  logic [Bits-1:0]   b_i,
  output logic [2*Bits-1:0] y_o      // signed
);
  localparam int unsigned Counts = $clog2(Bits / LeastBits) + 1;
  if (Bits != 8 && Bits != 16) begin : gen_bad_bits
    $error("intarsia_multiplier_array: Bits must be 8 or 16");
  end
  if (Counts > 3 || LeastBits << (Counts - 1) != Bits) begin : gen_bad_parts
    $error("intarsia_multiplier_array: LeastBits must be Bits, Bits/2 or Bits/4");
  end

  // Of row i, bit i of a, the bits of b in reverse order that make a wanted product, and those whose product is negative.
  function automatic logic [Bits-1:0] wanted_in(input int unsigned part, input int unsigned i);
    logic [Bits-1:0] ones;
    ones = Bits'((64'd1 << part) - 1);
    return ones << (Bits - part * (i / part + 1));
  endfunction
  function automatic logic [Bits-1:0] negative_in(input int unsigned part, input int unsigned i);
    logic [Bits-1:0] sign;
    sign = Bits'(1) << (Bits - part * (i / part) - 1);
    return i % part == part - 1 ? wanted_in(part, i) ^ sign : sign;
  endfunction
  function automatic logic [2*Bits-1:0] missing(input int unsigned part);
    logic [2*Bits-1:0] sum;
    sum = '0;
    for (int unsigned i = 0; i < Bits; i++) sum = sum - ((2 * Bits)'(negative_in(part, i)) << i);
    return sum;
  endfunction

  logic [Counts-1:0]               is_count;
  logic [Counts-1:0][Bits-1:0]     reversed;  // b with its parts in reverse order, of each N
  logic [Counts-1:0][2*Bits-1:0]   constants;
  for (genvar c = 0; c < Counts; c++) begin : gen_count
    localparam int unsigned Part = Bits >> c;
    localparam logic [2*Bits-1:0] Missing = missing(Part);
    assign is_count[c] = Counts == 1 || count_i == 2'(c);
    assign constants[c] = Missing & {(2 * Bits) {is_count[c]}};
    for (genvar p = 0; p < 1 << c; p++) begin : gen_part
      assign reversed[c][p*Part+:Part] = b_i[Bits-(p+1)*Part+:Part] & {Part{is_count[c]}};
    end
  end
  logic [Bits-1:0]   b;
  logic [2*Bits-1:0] constant;
  always_comb begin
    b = '0;
    constant = '0;
    for (int unsigned c = 0; c < Counts; c++) begin
      b = b | reversed[c];
      constant = constant | constants[c];
    end
  end

  logic [Bits-1:0][Bits-1:0] rows;
  for (genvar i = 0; i < Bits; i++) begin : gen_row
    logic [Counts-1:0][Bits-1:0] wanted, negative;
    for (genvar c = 0; c < Counts; c++) begin : gen_count
      localparam logic [Bits-1:0] Wanted = wanted_in(Bits >> c, i);
      localparam logic [Bits-1:0] Negative = negative_in(Bits >> c, i);
      assign wanted[c] = Wanted & {Bits{is_count[c]}};
      assign negative[c] = Negative & {Bits{is_count[c]}};
    end
    logic [Bits-1:0] gate, invert;
    always_comb begin
      gate = '0;
      invert = '0;
      for (int unsigned c = 0; c < Counts; c++) begin
        gate = gate | wanted[c];
        invert = invert | negative[c];
      end
    end
    assign rows[i] = (b & gate & {Bits{a_i[i]}}) ^ invert;
  end

  logic [2*Bits-1:0] total;
  always_comb begin
    total = constant;
    for (int unsigned i = 0; i < Bits; i++) total = total + ((2 * Bits)'(rows[i]) << i);
  end

  // The sum's weight.
  always_comb begin
    y_o = '0;
    for (int unsigned c = 0; c < Counts; c++) begin
      y_o = y_o | ((2 * Bits)'($signed(total) >>> (Bits - (Bits >> c))) & {(2 * Bits) {is_count[c]}});
    end
  end

  if (Counts == 1) begin : gen_one
    logic unused;
    assign unused = ^count_i;
  end
endmodule
