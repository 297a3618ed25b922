// SPDX-License-Identifier: Apache-2.0
// Activation window: the registers between the activation memory and the lanes.
//
// Word mode: the Block words are a ring; the loader writes them in order, and one of them, chosen by ring_index_i, is
// sent to all lanes. A word, once read, so serves several kernel columns.
// Window mode: the words are columns of four pixels of a sliding window, slot = 4·column + row, newest column last.
// A new column is gathered in staging registers, word by word or with one word for all rows, and pushed in with one
// shift.
//
// Parameters: Block, bytes of a word and words held (8 or 16).
// Latency: a written word is visible one cycle later; the chosen word is registered (x_q_o) at the end of the cycle in
// which select_i is high.
module intarsia_window #(
  parameter int unsigned Block,
  localparam int unsigned IndexBits = $clog2(Block),
  localparam int unsigned Columns   = Block / 4
) (
  input  logic                              clk_i,
  input  logic                              window_mode_i,
  // From the loader.
  input  logic                              write_i,
  input  logic [IndexBits-1:0]              write_index_i, // ring slot, or row of the staging column
  input  logic                              write_column_i, // the word is for every row of the staging column
  input  logic [Block-1:0][7:0]             word_i,
  // From the sequencer.
  input  logic                              push_i,
  input  logic                              select_i,
  input  logic [IndexBits-1:0]              ring_index_i,
  // To the lanes.
  output logic [Block-1:0][7:0]             x_q_o,
  output logic [Block-1:0][Block-1:0][7:0]  slots_o
);
  if (Block != 8 && Block != 16) begin : gen_bad_lanes
    $error("intarsia_window: Block must be 8 or 16");
  end

  logic [Block-1:0][Block-1:0][7:0] slots_q;
  logic [3:0][Block-1:0][7:0]       staging_q;

  for (genvar c = 0; c < Columns; c++) begin : gen_column
    for (genvar r = 0; r < 4; r++) begin : gen_row
      localparam int unsigned Slot = 4 * c + r;
      logic [Block-1:0][7:0] neighbour;
      if (c == Columns - 1) begin : gen_newest
        assign neighbour = staging_q[r];
      end else begin : gen_older
        assign neighbour = slots_q[Slot+4];
      end
      always_ff @(posedge clk_i) begin
        if (push_i) slots_q[Slot] <= neighbour;
        else if (write_i && !window_mode_i && write_index_i == IndexBits'(Slot)) slots_q[Slot] <= word_i;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    for (int unsigned r = 0; r < 4; r++) begin
      if (write_i && window_mode_i && (write_column_i || write_index_i[1:0] == 2'(r))) staging_q[r] <= word_i;
    end
    if (select_i) x_q_o <= slots_q[ring_index_i];
  end

  assign slots_o = slots_q;
endmodule
