// SPDX-License-Identifier: Apache-2.0
// Activation memory: banks of one port each, for two clients. Words that follow each other, or lie a power of two apart,
// are in different banks (bank_of in intarsia_pkg).
//
// The first client is always served. The second one reads, and waits where the first one uses its bank.
//
// Parameters:
//   Width, Enables   of a word, as in intarsia_memory.
//   Depth            words of all banks together (2·Banks to 65536).
//   Banks            1, 2 or 4.
// Latency: as intarsia_memory; each client sees the words that it read itself, until the bank is read again.
module intarsia_banks
  import intarsia_pkg::bank_of;
#(
  parameter int unsigned Width,
  parameter int unsigned Enables,
  parameter int unsigned Depth,
  parameter int unsigned Banks,
  localparam int unsigned AddressBits = $clog2(Depth),
  localparam int unsigned BankDepth   = (Depth + Banks - 1) / Banks,
  localparam int unsigned BankBits    = Banks > 1 ? $clog2(Banks) : 1,
  localparam int unsigned RowBits     = $clog2(BankDepth)
) (
  input  logic                   clk_i,
  // First client.
  input  logic                   req_i,
  input  logic                   we_i,
  input  logic [Enables-1:0]     be_i,
  input  logic [AddressBits-1:0] addr_i,
  input  logic [Width-1:0]       wdata_i,
  output logic [Width-1:0]       rdata_o,
  // Second client.
  input  logic                   read_req_i,
  input  logic [AddressBits-1:0] read_addr_i,
  output logic                   read_gnt_o,  // a request would be served in this cycle
  output logic [Width-1:0]       read_rdata_o
);
  if (Banks != 1 && Banks != 2 && Banks != 4) begin : gen_bad_banks
    $error("intarsia_banks: Banks must be 1, 2 or 4");
  end

  logic [BankBits-1:0] bank, read_bank, bank_q, read_bank_q;
  logic [15:0]         row, read_row;
  assign bank = BankBits'(bank_of(16'(addr_i), Banks));
  assign read_bank = BankBits'(bank_of(16'(read_addr_i), Banks));
  assign row = 16'(addr_i) >> $clog2(Banks);
  assign read_row = 16'(read_addr_i) >> $clog2(Banks);
  assign read_gnt_o = !(req_i && bank == read_bank);

  logic [Banks-1:0][Width-1:0] rdata;
  logic [Banks-1:0]            impl;
  for (genvar b = 0; b < Banks; b++) begin : gen_bank
    logic first, second;
    assign first = req_i && bank == BankBits'(b);
    assign second = read_req_i && read_gnt_o && read_bank == BankBits'(b);
    intarsia_memory #(.Width(Width), .Depth(BankDepth), .Enables(Enables)) u_memory (
      .clk_i,
      .impl_i('0),
      .impl_o(impl[b]),
      .req_i(first || second),
      .we_i(first && we_i),
      .be_i,
      .addr_i(first ? RowBits'(row) : RowBits'(read_row)),
      .wdata_i,
      .rdata_o(rdata[b])
    );
  end

  always_ff @(posedge clk_i) begin
    if (req_i && !we_i) bank_q <= bank;
    if (read_req_i && read_gnt_o) read_bank_q <= read_bank;
  end
  assign rdata_o = rdata[bank_q];
  assign read_rdata_o = rdata[read_bank_q];

  logic unused;
  assign unused = ^{row, read_row, impl};

`ifndef SYNTHESIS
  c_conflict: cover property (@(posedge clk_i) read_req_i && !read_gnt_o);
`endif
endmodule
