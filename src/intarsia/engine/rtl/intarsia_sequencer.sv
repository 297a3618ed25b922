// SPDX-License-Identifier: Apache-2.0
// Sequencer: walks over the work of a layer, one step of all lanes a cycle, as soon as its operands are there.
//
// Loop order: tile, output row, pixel tile, pass, kernel row, channel block, kernel column chunk, kernel column, pixel.
// In window mode the kernel lies in the window, so the kernel loops are trivial, and before the first step of a pixel
// the window is pushed on by its new columns (the last push comes with that step).
//
// A step waits for its activation word (word mode), for the pushes (window mode), its first step for free accumulators,
// and the step that begins a weight block for that block.
//
// Parameters: Lanes, Block (8 or 16); AccSlots (2 to 16).
// Latency: control bundles leave in the cycle of issue (stage 0); intarsia_engine delays them to stages 1 to 3.
module intarsia_sequencer
  import intarsia_pkg::*;
#(
  parameter int unsigned Lanes,
  parameter int unsigned Block,
  parameter int unsigned AccSlots,
  localparam int unsigned IndexBits = $clog2(Block),
  localparam int unsigned PtrBits   = $clog2(AccSlots)
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 start_i,
  input  descriptor_t          layer_i,
  // Operands.
  input  logic [IndexBits:0]   fill_i,         // word mode: words in the ring
  input  logic                 column_full_i,  // window mode: a new column is there
  input  logic                 weights_ready_i,
  input  logic                 free_i,         // an accumulator is free again
  output logic                 release_o,
  output logic [IndexBits:0]   release_count_o,
  output logic                 push_o,
  output logic                 take_o,         // a weight block
  // The step.
  output logic                 valid_o,
  output logic [IndexBits-1:0] ring_index_o,
  output logic [IndexBits:0]   channel_o,
  output logic                 half_o,         // depthwise layers of 16-bit activations: which positions of the window
  output logic [PtrBits-1:0]   acc_ptr_o,
  output logic                 load_o,         // first of a pixel: replace the accumulator
  output logic                 digit_o,       // first of a further pass
  output logic                 sparse_o,       // the slots count
  output logic                 last_o          // last of a pixel
);
  localparam int unsigned Levels = 9;
  localparam int unsigned Pixel = 0, Column = 1, Chunk = 2, Channel = 3, Row = 4, Pass = 5, PixelTile = 6, Y = 7,
                          Tile = 8;
  logic [Levels-1:0][15:0] ends, index;
  logic [Levels-1:0]       last, wrap;
  logic                    fire, running_q;
  // Ends are registers, and so is whether they are 0: subtractions would come before every step. The end of the
  // innermost loop depends on the pixel tile.
  logic [Levels-1:1][15:0] ends_d, ends_q;
  logic [Levels-1:1]       single_q;
  logic [3:0]              pixels_q, last_pixels_q;
  logic                    last_pixel;
  always_comb begin
    ends_d[Column] = layer_i.window ? '0 : 16'(layer_i.kernel_x) - 16'd1;
    ends_d[Chunk] = layer_i.window ? '0 : 16'(layer_i.chunks) - 16'd1;
    ends_d[Channel] = 16'(layer_i.blocks) - 16'd1;
    ends_d[Row] = layer_i.window ? '0 : 16'(layer_i.kernel_y) - 16'd1;
    ends_d[Pass] = 16'(layer_i.digits) - 16'd1;
    ends_d[PixelTile] = layer_i.x_tiles - 16'd1;
    ends_d[Y] = layer_i.out_height - 16'd1;
    ends_d[Tile] = 16'(layer_i.tiles) - 16'd1;
  end
  always_ff @(posedge clk_i) begin
    pixels_q <= layer_i.tile_pixels - 4'd1;
    last_pixels_q <= layer_i.last_pixels - 4'd1;
    ends_q <= ends_d;
    for (int unsigned i = 1; i < Levels; i++) single_q[i] <= ends_d[i] == '0;
  end
  assign ends = {ends_q, 16'(last[PixelTile] ? last_pixels_q : pixels_q)};
  assign last_pixel = last[PixelTile] ? index[Pixel][3:0] == last_pixels_q : index[Pixel][3:0] == pixels_q;
  intarsia_nest #(
    .Levels(Levels), .Widths({8'd8, 8'd16, 8'd16, 8'd4, 8'd8, 8'd8, 8'd8, 8'd8, 8'd4}), .Own(9'd1)
  ) u_nest (
    .clk_i, .clear_i(start_i), .step_i(fire), .ends_i(ends), .single_i({single_q, 1'b0}),
    .own_last_i({8'd0, last_pixel}), .index_o(index), .last_o(last), .wrap_o(wrap)
  );

  // When a step may go.
  logic [7:0] word_q, word_d, column_q, column_d; // index of the step's word in its set, and of its column's first
  logic [3:0] pushes_q, pushes_d;                 // new columns that the step waits for
  logic [4:0] used_q, used_d;                     // accumulators
  // Whether loops are at their first index, known before the step: a comparison of all would come before every wait.
  logic       first_pixel_q, first_words_q, first_pass_q, first_tile_q;
  logic       first, block_start, operands, room;
  always_ff @(posedge clk_i) begin
    if (start_i) {first_pixel_q, first_words_q, first_pass_q, first_tile_q} <= '1;
    else if (fire) begin
      first_pixel_q <= wrap[Pixel];
      if (wrap[Pixel]) first_words_q <= wrap[Row];
      if (wrap[Row]) first_pass_q <= wrap[Pass];
      if (wrap[Pass]) first_tile_q <= wrap[Y];
    end
  end
  always_comb begin
    first = first_words_q && first_pass_q;
    if (layer_i.window) operands = pushes_q == 4'd0 || (pushes_q == 4'd1 && column_full_i);
    else operands = 8'(fill_i) > word_q;
    room = !first || used_q < 5'(AccSlots);
    block_start = first_pixel_q && (!layer_i.resident || (first && first_tile_q));
    fire = running_q && operands && room && (!block_start || weights_ready_i);
    push_o = layer_i.window && running_q && column_full_i && (pushes_q > 4'd1 || (fire && pushes_q == 4'd1));
  end
  assign take_o = fire && block_start;

  logic [IndexBits-1:0] ring_q, ring_d;
  always_comb begin
    ring_d = ring_q;
    word_d = word_q;
    column_d = column_q;
    if (fire) word_d = word_q + {4'd0, layer_i.pixel_step};
    if (fire && wrap[Pixel]) begin
      column_d = wrap[Column] ? 8'd0 : column_q + 8'd1;
      word_d = column_d;
    end
    if (fire && wrap[Column]) ring_d = ring_q + IndexBits'(word_q + 8'd1);
    pushes_d = pushes_q - 4'(push_o);
    // The last step of a pixel: the next one's columns.
    if (fire && wrap[Pass]) pushes_d = wrap[PixelTile] ? layer_i.kernel_x[3:0] : layer_i.new_columns;
    used_d = used_q + 5'(fire && first) - 5'(free_i);
    if (start_i) begin
      ring_d = '0;
      word_d = '0;
      column_d = '0;
      pushes_d = layer_i.kernel_x[3:0];
      used_d = '0;
    end
  end
  always_ff @(posedge clk_i) begin
    ring_q <= ring_d;
    word_q <= word_d;
    column_q <= column_d;
    pushes_q <= pushes_d;
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      running_q <= 1'b0;
      used_q <= '0;
    end else begin
      used_q <= used_d;
      if (start_i) running_q <= 1'b1;
      else if (fire && wrap[Tile]) running_q <= 1'b0;
    end
  end

  // Accumulators of the tile's pixels, one after the other in the ring of all slots.
  logic [PtrBits-1:0] base_q, next;
  logic [PtrBits:0]   sum;
  assign sum = {1'b0, base_q} + (PtrBits + 1)'(index[Pixel]);
  assign acc_ptr_o = PtrBits'(sum >= (PtrBits + 1)'(AccSlots) ? sum - (PtrBits + 1)'(AccSlots) : sum);
  assign next = acc_ptr_o == PtrBits'(AccSlots - 1) ? '0 : acc_ptr_o + 1'b1;
  always_ff @(posedge clk_i) begin
    if (start_i) base_q <= '0;
    else if (fire && wrap[Pass]) base_q <= next;
  end

  assign valid_o = fire;
  assign ring_index_o = ring_q + word_q[IndexBits-1:0];
  // Channels of a depthwise tile: where a word holds those of several tiles, its own ones.
  assign channel_o = layer_i.depthwise ? (IndexBits + 1)'(index[Tile] * 16'(Lanes)) : (IndexBits + 1)'(index[Channel]);
  assign half_o = index[Channel][0];
  assign load_o = first;
  assign digit_o = first_words_q && !first_pass_q;
  assign sparse_o = layer_i.sparse && last[Pass];
  assign last_o = last[Column] && last[Chunk] && last[Channel] && last[Row] && last[Pass];
  assign release_o = fire && !layer_i.window && wrap[Column];
  assign release_count_o = (IndexBits + 1)'(word_q + 8'd1);

  logic unused;
  assign unused = ^{index, wrap, last};

`ifndef SYNTHESIS
  a_used: assert property (@(posedge clk_i) disable iff (!rst_ni) used_q <= 5'(AccSlots))
  else $error("more accumulators in use than there are");
  a_free: assert property (@(posedge clk_i) disable iff (!rst_ni) free_i |-> used_q != '0)
  else $error("an accumulator freed that was not in use");
  c_operands: cover property (@(posedge clk_i) disable iff (!rst_ni) running_q && !operands && room);
  c_room: cover property (@(posedge clk_i) disable iff (!rst_ni) running_q && operands && !room);
  c_weights: cover property (@(posedge clk_i) disable iff (!rst_ni)
      running_q && operands && room && block_start && !weights_ready_i);
  c_digit: cover property (@(posedge clk_i) disable iff (!rst_ni) fire && digit_o);
  c_resident: cover property (@(posedge clk_i) disable iff (!rst_ni) fire && layer_i.resident && !block_start);
`endif
endmodule
