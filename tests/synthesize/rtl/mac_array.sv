// SPDX-License-Identifier: Apache-2.0
// Lanes multiply-accumulate cells that share one activation, weights from a memory (test design).
module mac_array #(
  parameter int unsigned Lanes = 2,
  parameter int unsigned Depth = 512
) (
  input  logic                     clk_i,
  input  logic                     clear_i,
  input  logic signed [7:0]        a_i,
  input  logic                     write_i,
  input  logic [$clog2(Depth)-1:0] address_i,
  input  logic [8*Lanes-1:0]       data_i,
  output logic [24*Lanes-1:0]      acc_o
);
  logic [8*Lanes-1:0] weights;

  intarsia_memory #(
    .Width(8 * Lanes),
    .Depth(Depth)
  ) u_weights (
    .clk_i,
    .write_i,
    .write_address_i(address_i),
    .write_data_i   (data_i),
    .read_address_i (address_i),
    .read_data_o    (weights)
  );

  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lanes
    mac_cell u_cell (
      .clk_i,
      .clear_i,
      .a_i,
      .b_i  (weights[8*lane+:8]),
      .acc_o(acc_o[24*lane+:24])
    );
  end
endmodule
