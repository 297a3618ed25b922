// SPDX-License-Identifier: Apache-2.0
// Weight fetcher: reads the weight blocks of a layer from the weight memory, in the order in which the lanes use them.
//
// A block takes Parts words of equal width. If that is one, the word is read when the step that begins the block is
// issued. If there are several, they are gathered in a register, ahead of that step, and go to the lanes together.
// Requantization comes from the same memory (intarsia_drain) and goes before.
//
// Loop order: tile, pixel tile (only the first where a single block is resident in the lanes), block, part.
//
// Parameters:
//   Parts        words of a block (1, 2 or 4).
//   WordBits     of the memory.
//   ParamWords   words of a tile's requantization, which lies before its blocks.
// Latency: a block that is taken in cycle t is on block_o in cycle t + 1.
module intarsia_weights
  import intarsia_pkg::*;
#(
  parameter int unsigned Parts,
  parameter int unsigned WordBits,
  parameter int unsigned ParamWords
) (
  input  logic                           clk_i,
  input  logic                           rst_ni,
  input  logic                           start_i,
  input  descriptor_t                    layer_i,
  // Sequencer.
  output logic                           ready_o,   // a block can be taken
  input  logic                           take_i,
  output logic [Parts*WordBits-1:0]      block_o,
  // Weight memory.
  input  logic                           param_ren_i, // requantization is read in this cycle
  output logic                           ren_o,
  output logic [15:0]                    raddr_o,
  input  logic [WordBits-1:0]            rdata_i
);
  if (Parts != 1 && Parts != 2 && Parts != 4) begin : gen_bad_parts
    $error("intarsia_weights: Parts must be 1, 2 or 4");
  end

  // The walk: part, block, pixel tile, tile.
  localparam int unsigned Levels = 4;
  logic [Levels-1:0][15:0] ends, index;
  logic [Levels-1:0]       wrap, last;
  logic [Levels-1:0][15:0] ends_d;
  logic [Levels-1:0]       single_q;
  assign ends_d = {16'(layer_i.tiles) - 16'd1,
                   layer_i.resident ? 16'd0 : layer_i.pixel_tiles - 16'd1,
                   layer_i.tile_blocks - 16'd1,
                   16'(Parts - 1)};
  always_ff @(posedge clk_i) begin
    ends <= ends_d;
    for (int unsigned i = 0; i < Levels; i++) single_q[i] <= ends_d[i] == '0;
  end
  intarsia_nest #(.Levels(Levels), .Widths({8'd8, 8'd16, 8'd16, 8'd2})) u_nest (
    .clk_i, .clear_i(start_i), .step_i(ren_o), .ends_i(ends), .single_i(single_q), .own_last_i('0),
    .index_o(index), .last_o(last), .wrap_o(wrap)
  );

  logic        running_q;
  logic [15:0] address_q, address_d, tile_q, tile_d;
  always_comb begin
    tile_d = tile_q;
    address_d = address_q;
    if (start_i) tile_d = layer_i.weight_base + 16'(ParamWords);
    else if (ren_o && wrap[2]) tile_d = tile_q + layer_i.tile_words;
    if (start_i || (ren_o && wrap[1])) address_d = tile_d;
    else if (ren_o) address_d = address_q + 16'd1;
  end
  always_ff @(posedge clk_i) begin
    tile_q <= tile_d;
    address_q <= address_d;
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) running_q <= 1'b0;
    else if (start_i) running_q <= 1'b1;
    else if (ren_o && wrap[3]) running_q <= 1'b0;
  end
  assign raddr_o = address_q;

  if (Parts == 1) begin : gen_whole
    assign ready_o = !param_ren_i;
    assign ren_o = take_i;
    assign block_o = rdata_i;
    logic unused;
    assign unused = running_q;
  end else begin : gen_parts
    localparam int unsigned PartBits = $clog2(Parts);
    logic [PartBits:0]             here_q, here_d;   // parts that were read
    logic                          read_q;
    logic [PartBits-1:0]           part_q;
    logic [Parts-1:0][WordBits-1:0] block_q;
    assign ready_o = here_q == (PartBits + 1)'(Parts);
    assign ren_o = running_q && !param_ren_i && (!ready_o || take_i);
    always_comb begin
      here_d = take_i ? '0 : here_q;
      if (ren_o) here_d = here_d + 1'b1;
      if (start_i) here_d = '0;
    end
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        here_q <= '0;
        read_q <= 1'b0;
      end else begin
        here_q <= here_d;
        read_q <= ren_o;
      end
    end
    always_ff @(posedge clk_i) begin
      part_q <= PartBits'(index[0]);
      if (read_q) block_q[part_q] <= rdata_i;
    end
    assign block_o = block_q;
  end

  logic unused_walk;
  assign unused_walk = ^{index, last, wrap, address_q};

`ifndef SYNTHESIS
  a_take: assert property (@(posedge clk_i) disable iff (!rst_ni) take_i |-> ready_o)
  else $error("a weight block taken that is not there");
  a_end: assert property (@(posedge clk_i) disable iff (!rst_ni) take_i && Parts == 1 |-> running_q)
  else $error("more weight blocks taken than the layer has");
  c_wait: cover property (@(posedge clk_i) disable iff (!rst_ni) running_q && param_ren_i);
`endif
endmodule
