// SPDX-License-Identifier: Apache-2.0
// Sequencer: walks over the work of a layer, one step of all lanes a cycle, as soon as its operands are there.
//
// Loop order: outer tile, output row, pixel tile, inner tile, digit, kernel row, channel block, kernel column chunk,
// kernel column, pixel. In window mode the kernel lies in the window, so the kernel loops are trivial, and before the
// first step of a pixel the window is pushed on by its new columns (the last push comes with that step).
//
// A step waits for its activation word (word mode), for the pushes (window mode), and its first step for free
// accumulators. It never waits for weights: they are one stream, whose next word is read while the step that starts a
// block is issued.
//
// Parameters: Lanes (8 or 16); AccSlots (2 to 16); DenseAddressBits, SparseAddressBits of the weight memories.
// Latency: control bundles leave in the cycle of issue (stage 0); intarsia_engine delays them to stages 1 to 3.
module intarsia_sequencer
  import intarsia_pkg::*;
#(
  parameter int unsigned Lanes,
  parameter int unsigned AccSlots,
  parameter int unsigned DenseAddressBits,
  parameter int unsigned SparseAddressBits,
  localparam int unsigned IndexBits = $clog2(Lanes),
  localparam int unsigned PtrBits   = $clog2(AccSlots)
) (
  input  logic                         clk_i,
  input  logic                         rst_ni,
  input  logic                         start_i,
  input  descriptor_t                  layer_i,
  // From and to the loader.
  input  logic [IndexBits:0]           fill_i,
  input  logic                         column_full_i,
  output logic                         release_o,
  output logic [IndexBits:0]           release_count_o,
  // From the drain: an accumulator slot is free again.
  input  logic                         free_i,
  // Weight streams, read in the cycle of issue.
  output logic                         dense_ren_o,
  output logic [DenseAddressBits-1:0]  dense_raddr_o,
  output logic                         sparse_ren_o,
  output logic [SparseAddressBits-1:0] sparse_raddr_o,
  // The step.
  output logic                         push_o,         // the window moves on
  output logic                         valid_o,        // the lanes compute
  output logic [IndexBits-1:0]         ring_index_o,   // word mode: which word
  output logic [IndexBits-1:0]         channel_o,      // window mode, not depthwise: which channel
  output logic [PtrBits-1:0]           acc_ptr_o,
  output logic                         load_o,         // first step of a pixel
  output logic                         triple_o,       // first step of a further digit
  output logic                         sparse_o,       // the sparse plane takes part
  output logic                         sparse_load_o,
  output logic                         last_o          // last step of a pixel
);
  if (AccSlots < 2 || AccSlots > 16) begin : gen_bad_slots
    $error("intarsia_sequencer: AccSlots must be 2 to 16");
  end

  logic        running_q;
  logic [7:0]  outer_q, inner_q, row_q, block_q, chunk_q, column_q;
  logic [3:0]  digit_q, pixel_q, pushes_q;
  logic [15:0] y_q, x_q;
  logic [7:0]  word_index_q, column_index_q; // of the step in its set of words
  logic [IndexBits-1:0] ring_base_q;
  logic [PtrBits-1:0]   acc_base_q;
  logic [4:0]           acc_used_q;
  logic [15:0] dense_q, dense_outer_q, sparse_q, sparse_outer_q;
  logic        held_q;

  logic [15:0] pixels_left;
  logic [3:0]  pixels;
  logic        last_pixel, last_column, last_chunk, last_block, last_row, last_digit, last_inner, last_x, last_y;
  logic        last_outer, last_words, first_words;
  logic [7:0]  kernel_y, chunks, kernel_x;
  always_comb begin
    kernel_y = layer_i.window ? 8'd1 : layer_i.kernel_y;
    chunks   = layer_i.window ? 8'd1 : layer_i.chunks;
    kernel_x = layer_i.window ? 8'd1 : layer_i.kernel_x;
    pixels_left = layer_i.out_width - x_q;
    pixels = (pixels_left < {12'd0, layer_i.tile_pixels}) ? pixels_left[3:0] : layer_i.tile_pixels;
    last_pixel  = pixel_q == pixels - 4'd1;
    last_column = column_q == kernel_x - 8'd1;
    last_chunk  = chunk_q == chunks - 8'd1;
    last_block  = block_q == layer_i.blocks - 8'd1;
    last_row    = row_q == kernel_y - 8'd1;
    last_digit  = digit_q == layer_i.digits - 4'd1;
    last_inner  = inner_q == layer_i.inner_tiles - 8'd1;
    last_x      = pixels_left <= {12'd0, layer_i.tile_pixels};
    last_y      = y_q == layer_i.out_height - 16'd1;
    last_outer  = outer_q == layer_i.outer_tiles - 8'd1;
    first_words = row_q == '0 && block_q == '0 && chunk_q == '0 && column_q == '0;
    last_words  = last_row && last_block && last_chunk && last_column;
  end

  // When a step may go.
  logic first, operands, room, fire, push_only, block_start, tile_end;
  always_comb begin
    first = first_words && digit_q == '0;
    operands = layer_i.window ? (pushes_q == 4'd0 || (pushes_q == 4'd1 && column_full_i))
                              : 8'(fill_i) > word_index_q;
    room = !first || acc_used_q < 5'(AccSlots);
    fire = running_q && operands && room;
    push_only = running_q && layer_i.window && pushes_q > 4'd1 && column_full_i;
    push_o = push_only || (fire && pushes_q == 4'd1);
    block_start = fire && !(layer_i.hold && held_q) && pixel_q == '0;
    tile_end = fire && last_words && last_pixel && last_digit;
  end

  assign valid_o = fire;
  assign ring_index_o = ring_base_q + word_index_q[IndexBits-1:0];
  assign channel_o = block_q[IndexBits-1:0];
  assign load_o = first;
  assign triple_o = first_words && digit_q != '0;
  assign sparse_o = layer_i.sparse && last_digit;
  assign sparse_load_o = first_words;
  assign last_o = last_words && last_digit;
  assign release_o = fire && !layer_i.window && last_column && last_pixel;
  assign release_count_o = (IndexBits + 1)'(word_index_q + 8'd1);

  logic [PtrBits:0] acc_sum;
  always_comb begin
    acc_sum = {1'b0, acc_base_q} + (PtrBits + 1)'(pixel_q);
    acc_ptr_o = PtrBits'((acc_sum >= (PtrBits + 1)'(AccSlots)) ? acc_sum - (PtrBits + 1)'(AccSlots) : acc_sum);
  end

  // Weight streams.
  logic [15:0] dense_next, sparse_next;
  assign dense_ren_o = block_start;
  assign dense_raddr_o = dense_q[DenseAddressBits-1:0];
  assign sparse_ren_o = block_start && sparse_o;
  assign sparse_raddr_o = sparse_q[SparseAddressBits-1:0];
  assign dense_next = dense_q + 16'(dense_ren_o);
  assign sparse_next = sparse_q + 16'(sparse_ren_o);

  logic [3:0] pushes_start, pushes_next;
  assign pushes_start = layer_i.window ? layer_i.kernel_x[3:0] : 4'd0;
  assign pushes_next = !layer_i.window ? 4'd0 : last_x ? layer_i.kernel_x[3:0] : layer_i.new_columns;

  logic [PtrBits-1:0] acc_after_tile;
  assign acc_after_tile = (acc_ptr_o == PtrBits'(AccSlots - 1)) ? '0 : acc_ptr_o + 1'b1;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      running_q <= 1'b0;
      acc_used_q <= '0;
    end else if (start_i) begin
      running_q <= 1'b1;
      outer_q <= '0;
      inner_q <= '0;
      row_q <= '0;
      block_q <= '0;
      chunk_q <= '0;
      column_q <= '0;
      digit_q <= '0;
      pixel_q <= '0;
      pushes_q <= pushes_start;
      y_q <= '0;
      x_q <= '0;
      word_index_q <= '0;
      column_index_q <= '0;
      ring_base_q <= '0;
      acc_base_q <= '0;
      acc_used_q <= '0;
      dense_q <= layer_i.dense_base;
      dense_outer_q <= layer_i.dense_base;
      sparse_q <= layer_i.sparse_base;
      sparse_outer_q <= layer_i.sparse_base;
      held_q <= 1'b0;
    end else begin
      acc_used_q <= acc_used_q + 5'(fire && first) - 5'(free_i);
      if (push_o) pushes_q <= pushes_q - 4'd1;
      if (fire) begin
        held_q <= 1'b1;
        dense_q <= dense_next;
        sparse_q <= sparse_next;
        pixel_q <= last_pixel ? '0 : pixel_q + 4'd1;
        word_index_q <= word_index_q + {4'd0, layer_i.pixel_step};
        if (last_pixel) begin
          column_q <= last_column ? '0 : column_q + 8'd1;
          word_index_q <= last_column ? '0 : column_index_q + 8'd1;
          column_index_q <= last_column ? '0 : column_index_q + 8'd1;
          if (last_column) begin
            ring_base_q <= ring_base_q + IndexBits'(word_index_q + 8'd1);
            chunk_q <= last_chunk ? '0 : chunk_q + 8'd1;
            if (last_chunk) begin
              block_q <= last_block ? '0 : block_q + 8'd1;
              if (last_block) begin
                row_q <= last_row ? '0 : row_q + 8'd1;
                if (last_row) digit_q <= last_digit ? '0 : digit_q + 4'd1;
              end
            end
          end
        end
        if (tile_end) begin
          acc_base_q <= acc_after_tile;
          inner_q <= last_inner ? '0 : inner_q + 8'd1;
          if (last_inner) begin
            pushes_q <= pushes_next;
            x_q <= last_x ? '0 : x_q + {12'd0, layer_i.tile_pixels};
            dense_q <= dense_outer_q;
            sparse_q <= sparse_outer_q;
            if (last_x) begin
              y_q <= last_y ? '0 : y_q + 16'd1;
              if (last_y) begin
                outer_q <= outer_q + 8'd1;
                dense_q <= dense_next;
                sparse_q <= sparse_next;
                dense_outer_q <= dense_next;
                sparse_outer_q <= sparse_next;
                if (last_outer) running_q <= 1'b0;
              end
            end
          end
        end
      end
    end
  end

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (acc_used_q <= 5'(AccSlots)) else $error("more accumulators in use than there are");
      assert (!free_i || acc_used_q != '0) else $error("an accumulator freed that was not in use");
    end
  end
`endif
endmodule
