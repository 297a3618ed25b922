// SPDX-License-Identifier: Apache-2.0
// Loader: walks over the input of a layer and streams its words into the activation window, ahead of the lanes.
//
// Word mode, in this order: outer tile, output row, pixel tile, inner tile, digit, kernel row, channel block, kernel
// column chunk, word. Window mode: outer tile, output row, output pixel, new window column, window row. Words outside
// the input are padding: they take their cycle but no memory access. In window mode the first column of an output row is
// loaded in full; of the others, one of nothing but padding takes one cycle, and rows above and below the input none,
// because the staging registers keep them.
//
// Two stages compute the address (coordinates, then address); the third issues the read when there is room.
//
// Parameters: Lanes, words of the ring (8 or 16); AddressBits of the activation memory.
// Latency: the first read is issued three cycles after start_i; then one per cycle.
module intarsia_loader
  import intarsia_pkg::*;
#(
  parameter int unsigned Lanes,
  parameter int unsigned AddressBits,
  localparam int unsigned IndexBits = $clog2(Lanes)
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
  output logic                   ren_o,
  output logic [AddressBits-1:0] raddr_o,
  // Write into the window, one cycle after the read.
  output logic                   write_o,
  output logic [IndexBits-1:0]   write_index_o,
  output logic                   write_pad_o,
  output logic                   write_column_o // window mode: padding for every row of the staging column
);
  if (Lanes != 8 && Lanes != 16) begin : gen_bad_lanes
    $error("intarsia_loader: Lanes must be 8 or 16");
  end

  // Loop counters.
  logic        running_q;
  logic [7:0]  outer_q, inner_q, row_q, block_q, chunk_q;
  logic [3:0]  digit_q;
  logic [15:0] y_q;
  logic [7:0]  word_q;
  // The current tile of pixels in a row, worked out when it is entered: the loop ends depend on it within a cycle.
  logic [15:0] pixels_left_q;   // from its first pixel to the end of the row
  logic [2:0]  more_pixels_q;   // its pixels, less one
  logic        first_x_q, last_x_q;
  // Constants of the layer, worked out when it starts: last word of a tile of k + 1 pixels; columns between two tiles.
  logic [7:0][7:0]    word_end_q;
  logic signed [17:0] x_tile_step_q;
  // Window mode: coordinate of the present column, and whether it lies beside the input.
  logic signed [17:0] x_column_q;
  logic               beside_q;
  // Window mode: rows of the window above the input, and rows from its first one to the end of the input.
  logic [7:0]         above_q;
  logic signed [17:0] y_room_q;
  // Window mode, a cycle later: first and last row of the window inside the input, and whether there is any.
  logic [7:0]         top_q, bottom_q;
  logic               rows_inside_q;
  // Running coordinates.
  logic signed [17:0] y_origin_q, x_origin_q, x_chunk_q, x_word_q;

  logic [15:0] pixels_left_d;
  logic [7:0]  row_end, word_end, new_columns;
  logic        whole, beside;
  logic signed [17:0] x_first_column;
  always_comb begin
    pixels_left_d = (start_i || last_x_q) ? layer_i.out_width : pixels_left_q - {12'd0, layer_i.tile_pixels};
    new_columns = first_x_q ? layer_i.kernel_x : {4'd0, layer_i.new_columns};
    row_end = layer_i.window ? new_columns - 8'd1 : layer_i.kernel_y - 8'd1;
    // With one row there is nothing to save, and the second column would come before top_q is known.
    whole = !layer_i.window || layer_i.kernel_y == 8'd1 || (first_x_q && row_q == 8'd0);
    beside = !whole && (beside_q || !rows_inside_q);
    word_end = whole ? word_end_q[more_pixels_q] : bottom_q;
    x_first_column = $signed({10'd0, layer_i.kernel_x - new_columns});
  end

  logic last_word, last_chunk, last_block, last_row, last_digit, last_inner, last_x, last_y, last_outer;
  always_comb begin
    last_word  = word_q == word_end || beside;
    last_chunk = layer_i.window || chunk_q == layer_i.chunks - 8'd1;
    last_block = layer_i.window || block_q == layer_i.blocks - 8'd1;
    last_row   = row_q == row_end;
    last_digit = layer_i.window || digit_q == layer_i.digits - 4'd1;
    last_inner = layer_i.window || inner_q == layer_i.inner_tiles - 8'd1;
    last_x     = last_x_q;
    last_y     = y_q == layer_i.out_height - 16'd1;
    last_outer = outer_q == layer_i.outer_tiles - 8'd1;
  end

  // Stages.
  logic               valid1_q, valid2_q, ready1, ready2, issue;
  logic signed [17:0] y1_q, x1_q;
  logic [15:0]        offset1_q;
  logic [15:0]        address2_q;
  logic               pad2_q;
  // Window mode: row of the staging column, the column's last word, and whether it is all padding.
  logic [1:0]         row1_q, row2_q;
  logic               last1_q, last2_q, beside1_q, beside2_q;
  logic               step;

  assign ready2 = issue || !valid2_q;
  assign ready1 = ready2 || !valid1_q;
  assign step = running_q && ready1;

  logic signed [17:0] stride_y, stride_x;
  assign stride_y = $signed({10'd0, layer_i.stride_y});
  assign stride_x = $signed({10'd0, layer_i.stride_x});
  logic [7:0][7:0] word_end_d;
  always_comb begin
    for (int unsigned k = 0; k < 8; k++) begin
      word_end_d[k] = layer_i.kernel_x - 8'd1;
      for (int unsigned i = 0; i < 3; i++) begin
        if (((k >> i) & 1) != 0) word_end_d[k] = word_end_d[k] + ({4'd0, layer_i.pixel_step} << i);
      end
      if (layer_i.window) word_end_d[k] = layer_i.kernel_y - 8'd1;
    end
  end

  logic next_first_x;
  assign next_first_x = start_i || last_x_q;

  // Window mode: columns after this one, in this pixel's window and in the next one's.
  logic signed [17:0] x_next_column, x_next_pixel;
  always_comb begin
    x_next_column = x_column_q + 18'sd1;
    x_next_pixel = x_column_q + stride_x - $signed({14'd0, layer_i.new_columns}) + 18'sd1;
  end
  always_ff @(posedge clk_i) begin
    if (start_i || (step && last_word && last_row && last_x)) begin
      x_column_q <= -$signed({10'd0, layer_i.pad_x});
      beside_q <= 1'b0;
    end else if (step && last_word) begin
      x_column_q <= last_row ? x_next_pixel : x_next_column;
      beside_q <= last_row ? outside(x_next_pixel, layer_i.in_width) : outside(x_next_column, layer_i.in_width);
    end
  end

  function automatic logic outside(input logic signed [17:0] x, input logic [15:0] width);
    return x[17] || x >= $signed({2'b00, width});
  endfunction

  logic enter_tile, last_tile;
  assign enter_tile = start_i || (step && last_word && last_chunk && last_block && last_row && last_digit && last_inner);
  assign last_tile = pixels_left_d <= {12'd0, layer_i.tile_pixels};

  // The rows of the window inside the input.
  logic       enter_row;
  logic [7:0] inside_end;
  assign enter_row = enter_tile && next_first_x;
  always_comb begin
    if (y_room_q[17]) inside_end = 8'd0;
    else if (y_room_q < $signed({10'd0, layer_i.kernel_y})) inside_end = y_room_q[7:0];
    else inside_end = layer_i.kernel_y;
  end
  always_ff @(posedge clk_i) begin
    if (enter_row) begin
      if (start_i || last_y) begin
        above_q <= layer_i.pad_y;
        y_room_q <= $signed({2'b00, layer_i.in_height}) + $signed({10'd0, layer_i.pad_y});
      end else begin
        above_q <= above_q > layer_i.stride_y ? above_q - layer_i.stride_y : 8'd0;
        y_room_q <= y_room_q - stride_y;
      end
    end
    top_q <= above_q;
    bottom_q <= inside_end - 8'd1;
    rows_inside_q <= above_q < inside_end;
  end

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      word_end_q <= word_end_d;
      x_tile_step_q <= $signed({14'd0, layer_i.tile_pixels}) * stride_x;
    end
    if (enter_tile) begin
      pixels_left_q <= pixels_left_d;
      more_pixels_q <= last_tile ? pixels_left_d[2:0] - 3'd1 : layer_i.tile_pixels[2:0] - 3'd1;
      first_x_q <= next_first_x;
      last_x_q <= last_tile;
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      running_q <= 1'b0;
    end else if (start_i) begin
      running_q <= 1'b1;
      outer_q <= '0;
      inner_q <= '0;
      row_q <= '0;
      block_q <= '0;
      chunk_q <= '0;
      digit_q <= '0;
      y_q <= '0;
      word_q <= '0;
      y_origin_q <= -$signed({10'd0, layer_i.pad_y});
      x_origin_q <= -$signed({10'd0, layer_i.pad_x});
      x_chunk_q <= '0;
      x_word_q <= '0;
    end else if (step) begin
      if (!last_word) word_q <= word_q + 8'd1;
      else word_q <= layer_i.window && layer_i.kernel_y != 8'd1 && !(last_row && last_x) ? top_q : '0;
      x_word_q <= last_word ? '0 : x_word_q + $signed({10'd0, layer_i.load_step});
      if (last_word) begin
        chunk_q <= last_chunk ? '0 : chunk_q + 8'd1;
        x_chunk_q <= last_chunk ? '0 : x_chunk_q + $signed({10'd0, layer_i.kernel_x});
        if (last_chunk) begin
          block_q <= last_block ? '0 : block_q + 8'd1;
          if (last_block) begin
            row_q <= last_row ? '0 : row_q + 8'd1;
            if (last_row) begin
              digit_q <= last_digit ? '0 : digit_q + 4'd1;
              if (last_digit) begin
                inner_q <= last_inner ? '0 : inner_q + 8'd1;
                if (last_inner) begin
                  x_origin_q <= last_x ? -$signed({10'd0, layer_i.pad_x}) : x_origin_q + x_tile_step_q;
                  if (last_x) begin
                    y_q <= last_y ? '0 : y_q + 16'd1;
                    y_origin_q <= last_y ? -$signed({10'd0, layer_i.pad_y}) : y_origin_q + stride_y;
                    if (last_y) begin
                      outer_q <= outer_q + 8'd1;
                      if (last_outer) running_q <= 1'b0;
                    end
                  end
                end
              end
            end
          end
        end
      end
    end
  end

  // Stage 1: coordinates. In window mode rows run innermost, columns take the place of kernel rows.
  logic signed [17:0] y1_d, x1_d;
  always_comb begin
    if (layer_i.window) begin
      y1_d = y_origin_q + $signed({10'd0, word_q});
      x1_d = x_origin_q + x_first_column + $signed({10'd0, row_q});
    end else begin
      y1_d = y_origin_q + $signed({10'd0, row_q});
      x1_d = x_origin_q + x_chunk_q + x_word_q;
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid1_q <= 1'b0;
    end else if (ready1) begin
      valid1_q <= running_q;
      y1_q <= y1_d;
      x1_q <= x1_d;
      row1_q <= word_q[1:0];
      last1_q <= last_word;
      beside1_q <= beside;
      offset1_q <= layer_i.in_base + {8'd0, layer_i.outer_moves_input ? outer_q : 8'd0} + {8'd0, block_q};
    end
  end

  // Stage 2: address. Arithmetic modulo 2^16, so a negative distance between two tensors works as a row pitch.
  logic in_bounds;
  assign in_bounds = !y1_q[17] && !x1_q[17] && y1_q < $signed({2'b00, layer_i.in_height}) &&
                  x1_q < $signed({2'b00, layer_i.in_width});
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid2_q <= 1'b0;
    end else if (ready2) begin
      valid2_q <= valid1_q;
      pad2_q <= !in_bounds || beside1_q;
      row2_q <= row1_q;
      last2_q <= last1_q;
      beside2_q <= beside1_q;
      address2_q <= offset1_q + 16'(y1_q) * layer_i.in_row_pitch + 16'(x1_q) * 16'(layer_i.in_col_pitch);
    end
  end

  // Stage 3: issue.
  logic [IndexBits:0]   fill_q;
  logic [IndexBits-1:0] ring_q;
  logic [IndexBits-1:0] index_d;
  logic                 room;
  assign fill_o = fill_q;
  assign room = layer_i.window ? (!column_full_o || push_i) : fill_q < (IndexBits + 1)'(Lanes);
  assign issue = valid2_q && room;
  assign index_d = layer_i.window ? IndexBits'(row2_q) : ring_q;
  assign ren_o = issue && !pad2_q;
  assign raddr_o = address2_q[AddressBits-1:0];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      fill_q <= '0;
      column_full_o <= 1'b0;
      ring_q <= '0;
      write_o <= 1'b0;
    end else begin
      write_o <= issue;
      if (issue) begin
        write_index_o <= index_d;
        write_pad_o <= pad2_q;
        write_column_o <= beside2_q;
      end
      if (start_i) begin
        fill_q <= '0;
        column_full_o <= 1'b0;
        ring_q <= '0;
      end else begin
        fill_q <= fill_q + (IndexBits + 1)'(issue && !layer_i.window) - (release_i ? release_count_i : '0);
        if (issue) ring_q <= ring_q + 1'b1;
        if (issue && last2_q) column_full_o <= 1'b1;
        else if (push_i) column_full_o <= 1'b0;
      end
    end
  end

  if (AddressBits < 16) begin : gen_unused
    logic unused;
    assign unused = ^address2_q[15:AddressBits];
  end

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (fill_q <= (IndexBits + 1)'(Lanes)) else $error("more words in the window than it holds");
      assert (!release_i || release_count_i <= fill_q) else $error("words released that were never loaded");
      assert (!push_i || column_full_o) else $error("an incomplete column was pushed");
    end
  end
`endif
endmodule
