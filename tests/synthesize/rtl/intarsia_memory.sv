// SPDX-License-Identifier: Apache-2.0
// Stand-in for the engine's memory wrapper (test design): one write port, one registered read port.
module intarsia_memory #(
  parameter int unsigned Width = 16,
  parameter int unsigned Depth = 256
) (
  input  logic                     clk_i,
  input  logic                     write_i,
  input  logic [$clog2(Depth)-1:0] write_address_i,
  input  logic [Width-1:0]         write_data_i,
  input  logic [$clog2(Depth)-1:0] read_address_i,
  output logic [Width-1:0]         read_data_o
);
  logic [Width-1:0] words[Depth];
  logic [Width-1:0] read_data_q;

  always_ff @(posedge clk_i) begin
    if (write_i) words[write_address_i] <= write_data_i;
    read_data_q <= words[read_address_i];
  end
  assign read_data_o = read_data_q;
endmodule
