// SPDX-License-Identifier: Apache-2.0
// Loader: walks over the input of a layer and streams its words into the activation window, ahead of the lanes.
//
// Word mode, in this order: tile, output row, pixel tile, pass, kernel row, channel block, kernel column chunk, word.
// Window mode: tile, output row, output pixel, new window column, window row. Words outside the input are padding: they
// take their cycle but no memory access. In window mode the first column of an output row is loaded in full; of the
// others, one of nothing but padding takes one cycle, and rows above and below the input none, because the staging
// registers keep them.
//
// Three stages compute the address (coordinates, products, sum); the fourth issues the read when there is room and the
// memory grants it. Between them is a spare place, so that whether the third one goes on is not known to the walk in the
// same cycle: no path leads from the lanes' sequencer through the memory's grant back into the loops.
//
// Parameters:
//   Block          words of the ring (8 or 16).
// Latency: the first read is issued LoaderStages cycles after start_i; then one per cycle.
module intarsia_loader
  import intarsia_pkg::*;
#(
  parameter int unsigned Block,
  localparam int unsigned IndexBits = $clog2(Block)
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   start_i,      // the descriptor is valid from here on
  input  descriptor_t            layer_i,
  // Room in the window.
  input  logic                   release_i,    // word mode: the sequencer has used up a set of words
  input  logic [IndexBits:0]     release_count_i,
  input  logic                   push_i,       // window mode: the staging column moves on
  output logic [IndexBits:0]     fill_o,       // word mode: words issued and not released
  output logic                   column_full_o,// window mode: the staging column is complete
  // Activation memory.
  output logic                   want_o,       // a word is wanted, now or when there is room
  output logic                   req_o,
  output logic [15:0]            addr_o,
  input  logic                   gnt_i,        // a request would be served in this cycle
  // Write into the window, one cycle after the read.
  output logic                   write_o,
  output logic [IndexBits-1:0]   write_index_o,
  output logic                   write_pad_o,
  output logic                   write_column_o // window mode: padding for every row of the staging column
);
  // The walk. In window mode columns take the place of kernel rows, and words that of window rows.
  localparam int unsigned Levels = 8;
  localparam int unsigned Word = 0, Chunk = 1, Channel = 2, Row = 3, Pass = 4, PixelTile = 5, Y = 6, Tile = 7;
  logic [Levels-1:0][15:0] ends, index;
  logic [Levels-1:0]       last, wrap;
  logic                    step, running_q;
  // Window mode: whether the present column lies beside the input; the first row of the window inside the input, how
  // many follow it, and whether there is any.
  logic       beside_q, rows_inside_q;
  logic [7:0] top_q, rows_q;

  // Ends are registers, and so is whether they are 0: subtractions would come before every step. Those of words and of
  // rows depend on where the walk is; all that they can be is compared at once.
  logic [Levels-1:1][15:0] ends_d, ends_q;
  logic [Levels-1:1]       single_q;
  logic [7:0]              words_q, last_words_q, kernel_rows_q;
  logic [15:0]             first_columns_q;
  logic                    first_x_q, first_row_q, whole, beside, last_word, last_row;
  always_comb begin
    ends_d[Chunk] = layer_i.window ? '0 : 16'(layer_i.chunks) - 16'd1;
    ends_d[Channel] = layer_i.window ? '0 : 16'(layer_i.blocks) - 16'd1;
    ends_d[Row] = (layer_i.window ? 16'(layer_i.new_columns) : 16'(layer_i.kernel_y)) - 16'd1;
    ends_d[Pass] = layer_i.window ? '0 : 16'(layer_i.digits) - 16'd1;
    ends_d[PixelTile] = layer_i.x_tiles - 16'd1;
    ends_d[Y] = layer_i.out_height - 16'd1;
    ends_d[Tile] = 16'(layer_i.tiles) - 16'd1;
  end
  always_ff @(posedge clk_i) begin
    words_q <= layer_i.load_words - 8'd1;
    last_words_q <= layer_i.last_words - 8'd1;
    kernel_rows_q <= layer_i.kernel_y - 8'd1;
    first_columns_q <= 16'(layer_i.kernel_x) - 16'd1;
    ends_q <= ends_d;
    for (int unsigned i = 1; i < Levels; i++) single_q[i] <= ends_d[i] == '0;
    if (start_i) {first_x_q, first_row_q} <= '1;
    else if (step) begin
      if (wrap[Channel]) first_row_q <= wrap[Row];
      if (wrap[Pass]) first_x_q <= wrap[PixelTile];
    end
  end
  always_comb begin
    // With one row there is nothing to save, and the second column would come before top_q is known.
    whole = !layer_i.window || kernel_rows_q == 8'd0 || (first_x_q && first_row_q);
    beside = !whole && (beside_q || !rows_inside_q);
    if (!layer_i.window) last_word = last[PixelTile] ? index[Word][7:0] == last_words_q : index[Word][7:0] == words_q;
    else if (whole) last_word = index[Word][7:0] == kernel_rows_q;
    else last_word = beside ? index[Word][7:0] == 8'd0 : index[Word][7:0] == rows_q;
    last_row = layer_i.window && first_x_q ? index[Row] == first_columns_q : index[Row] == ends_q[Row];
    ends = {ends_q, 16'd0};
    if (layer_i.window && first_x_q) ends[Row] = first_columns_q;
    if (!layer_i.window) ends[Word] = 16'(last[PixelTile] ? last_words_q : words_q);
    else if (whole) ends[Word] = 16'(kernel_rows_q);
    else ends[Word] = beside ? 16'd0 : 16'(rows_q);
  end
  intarsia_nest #(
    .Levels(Levels), .Widths({8'd8, 8'd16, 8'd16, 8'd4, 8'd8, 8'd8, 8'd8, 8'd8}), .Own(8'b00001001)
  ) u_nest (
    .clk_i, .clear_i(start_i), .step_i(step), .ends_i(ends), .single_i({single_q, 1'b0}),
    .own_last_i({4'd0, last_row, 2'd0, last_word}), .index_o(index), .last_o(last), .wrap_o(wrap)
  );

  // Stages.
  logic               valid1_q, valid2_q, valid3_q, valid4_q, ready1, ready2, issue;
  logic signed [17:0] y1_q, x1_q;
  logic [15:0]        offset1_q, offset2_q, row2_address_q, column2_address_q;
  // Window mode: row of the staging column, the column's last word, and whether it is all padding.
  logic [1:0]         row1_q, row2_q;
  logic               last1_q, last2_q, beside1_q, beside2_q, pad2_q;
  assign ready2 = !valid4_q || !valid2_q;
  assign ready1 = ready2 || !valid1_q;
  assign step = running_q && ready1;

  function automatic logic outside(input logic signed [17:0] x, input logic [15:0] width);
    return x[17] || x >= $signed({2'b00, width});
  endfunction

  // Running coordinates.
  logic signed [17:0] y_origin_q, y_origin_d, x_origin_q, x_origin_d, x_chunk_q, x_chunk_d, x_word_q, x_word_d;
  logic signed [17:0] x_column_q, x_column_d, pad_x, pad_y, next_column, next_pixel;
  logic               beside_d, row_ends;
  always_comb begin
    pad_x = -$signed({10'd0, layer_i.pad_x});
    pad_y = -$signed({10'd0, layer_i.pad_y});
    row_ends = step && wrap[PixelTile];
    x_word_d = x_word_q;
    x_chunk_d = x_chunk_q;
    x_origin_d = x_origin_q;
    y_origin_d = y_origin_q;
    if (step) x_word_d = wrap[Word] ? '0 : x_word_q + $signed({10'd0, layer_i.load_step});
    if (step && wrap[Word]) x_chunk_d = wrap[Chunk] ? '0 : x_chunk_q + $signed({10'd0, layer_i.kernel_x});
    if (step && wrap[Pass]) x_origin_d = wrap[PixelTile] ? pad_x : x_origin_q + $signed({2'd0, layer_i.x_step});
    if (row_ends) y_origin_d = wrap[Y] ? pad_y : y_origin_q + $signed({10'd0, layer_i.stride_y});
    if (start_i) begin
      x_word_d = '0;
      x_chunk_d = '0;
      x_origin_d = pad_x;
      y_origin_d = pad_y;
    end
    // Window mode: the present column, and the next one in this pixel's window or the next one's.
    next_column = x_column_q + 18'sd1;
    next_pixel = next_column + $signed({2'd0, layer_i.x_step}) - $signed({14'd0, layer_i.new_columns});
    x_column_d = x_column_q;
    beside_d = beside_q;
    if (start_i || row_ends) begin
      x_column_d = pad_x;
      beside_d = 1'b0;
    end else if (step && wrap[Word]) begin
      x_column_d = wrap[Row] ? next_pixel : next_column;
      beside_d = wrap[Row] ? outside(next_pixel, layer_i.in_width) : outside(next_column, layer_i.in_width);
    end
  end
  always_ff @(posedge clk_i) begin
    x_word_q <= x_word_d;
    x_chunk_q <= x_chunk_d;
    x_origin_q <= x_origin_d;
    y_origin_q <= y_origin_d;
    x_column_q <= x_column_d;
    beside_q <= beside_d;
  end

  // Window mode: rows of the window above the input, and rows from its first one to the end of the input.
  logic [7:0]         above_q, above_d, inside_end;
  logic signed [17:0] room_q, room_d;
  always_comb begin
    above_d = above_q;
    room_d = room_q;
    if (start_i || (row_ends && wrap[Y])) begin
      above_d = layer_i.pad_y;
      room_d = $signed({2'b00, layer_i.in_height}) + $signed({10'd0, layer_i.pad_y});
    end else if (row_ends) begin
      above_d = above_q > layer_i.stride_y ? above_q - layer_i.stride_y : 8'd0;
      room_d = room_q - $signed({10'd0, layer_i.stride_y});
    end
    if (room_q[17]) inside_end = 8'd0;
    else if (room_q < $signed({10'd0, layer_i.kernel_y})) inside_end = room_q[7:0];
    else inside_end = layer_i.kernel_y;
  end
  always_ff @(posedge clk_i) begin
    above_q <= above_d;
    room_q <= room_d;
    top_q <= above_q;
    rows_q <= inside_end - 8'd1 - above_q;
    rows_inside_q <= above_q < inside_end;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) running_q <= 1'b0;
    else if (start_i) running_q <= 1'b1;
    else if (step && wrap[Tile]) running_q <= 1'b0;
  end

  // Stage 1: coordinates.
  logic [7:0]  row;
  logic [15:0] tile_word;
  assign row = whole ? index[Word][7:0] : top_q + index[Word][7:0];
  assign tile_word = layer_i.moves_input ? index[Tile] >> layer_i.in_tile_shift : 16'd0;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) valid1_q <= 1'b0;
    else if (ready1) valid1_q <= running_q;
  end
  always_ff @(posedge clk_i) begin
    if (ready1) begin
      y1_q <= y_origin_q + $signed({10'd0, layer_i.window ? row : index[Row][7:0]});
      x1_q <= layer_i.window ? x_column_q : x_origin_q + x_chunk_q + x_word_q;
      row1_q <= row[1:0];
      last1_q <= wrap[Word];
      beside1_q <= beside;
      offset1_q <= layer_i.in_base + tile_word + index[Channel];
    end
  end

  // Stage 2: products.
  logic in_bounds;
  assign in_bounds = !outside(y1_q, layer_i.in_height) && !outside(x1_q, layer_i.in_width);
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) valid2_q <= 1'b0;
    else if (ready2) valid2_q <= valid1_q;
  end
  always_ff @(posedge clk_i) begin
    if (ready2) begin
      pad2_q <= !in_bounds || beside1_q;
      row2_q <= row1_q;
      last2_q <= last1_q;
      beside2_q <= beside1_q;
      offset2_q <= offset1_q;
      row2_address_q <= 16'(y1_q) * layer_i.in_row_pitch;
      column2_address_q <= 16'(x1_q) * 16'(layer_i.in_col_pitch);
    end
  end

  // Stage 3: the address, and a spare place behind it.
  typedef struct packed {
    logic        pad;
    logic [1:0]  row;
    logic        last;
    logic        beside;
    logic [15:0] address;
  } load_t;
  load_t load3_d, load3_q, load4_q;
  logic  moves;
  assign load3_d = '{pad: pad2_q, row: row2_q, last: last2_q, beside: beside2_q,
                     address: offset2_q + row2_address_q + column2_address_q};
  assign moves = issue || !valid3_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid3_q <= 1'b0;
      valid4_q <= 1'b0;
    end else begin
      if (moves) valid3_q <= valid4_q || valid2_q;
      valid4_q <= !moves && (valid4_q || valid2_q);
    end
  end
  always_ff @(posedge clk_i) begin
    if (moves) load3_q <= valid4_q ? load4_q : load3_d;
    if (!valid4_q) load4_q <= load3_d;
  end

  // Stage 4: issue.
  logic [IndexBits:0]   fill_q, fill_d;
  logic [IndexBits-1:0] ring_q;
  logic                 room, full_q, full_d;
  assign room = layer_i.window ? (!full_q || push_i) : fill_q < (IndexBits + 1)'(Block);
  assign want_o = valid3_q && !load3_q.pad;
  assign req_o = want_o && room;
  assign addr_o = load3_q.address;
  assign issue = valid3_q && room && (load3_q.pad || gnt_i);
  assign fill_o = fill_q;
  assign column_full_o = full_q;
  always_comb begin
    fill_d = fill_q + (IndexBits + 1)'(issue && !layer_i.window) - (release_i ? release_count_i : '0);
    full_d = full_q;
    if (issue && load3_q.last) full_d = 1'b1;
    else if (push_i) full_d = 1'b0;
    if (start_i) begin
      fill_d = '0;
      full_d = 1'b0;
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      fill_q <= '0;
      full_q <= 1'b0;
      write_o <= 1'b0;
    end else begin
      fill_q <= fill_d;
      full_q <= full_d;
      write_o <= issue;
    end
  end
  always_ff @(posedge clk_i) begin
    if (start_i) ring_q <= '0;
    else if (issue) ring_q <= ring_q + 1'b1;
    if (issue) begin
      write_index_o <= layer_i.window ? IndexBits'(load3_q.row) : ring_q;
      write_pad_o <= load3_q.pad;
      write_column_o <= load3_q.beside;
    end
  end

  logic unused;
  assign unused = ^{load3_q, index, last, wrap};

`ifndef SYNTHESIS
  a_fill: assert property (@(posedge clk_i) disable iff (!rst_ni) fill_q <= (IndexBits + 1)'(Block))
  else $error("more words in the window than it holds");
  a_release: assert property (@(posedge clk_i) disable iff (!rst_ni) release_i |-> release_count_i <= fill_q)
  else $error("words released that were never loaded");
  a_push: assert property (@(posedge clk_i) disable iff (!rst_ni) push_i |-> full_q)
  else $error("an incomplete column was pushed");
  a_latency: assert property (@(posedge clk_i) disable iff (!rst_ni) $past(start_i, LoaderStages) |-> valid3_q)
  else $error("the first word came late");
  c_wait: cover property (@(posedge clk_i) disable iff (!rst_ni) req_o && !gnt_i);
  c_beside: cover property (@(posedge clk_i) disable iff (!rst_ni) issue && load3_q.beside);
  c_full: cover property (@(posedge clk_i) disable iff (!rst_ni) valid3_q && !room);
`endif
endmodule
