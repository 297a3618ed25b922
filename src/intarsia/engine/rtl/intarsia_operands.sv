// SPDX-License-Identifier: Apache-2.0
// Choice of the activations that the lanes of an array multiply.
//
// The block that is common to all lanes is the word (word mode) or one channel of each word of the window (window
// mode); in a depthwise layer it is 0, and each lane has a channel of the window of its own. Lane l takes channel
// l mod Block, and if there are fewer lanes than channels, l beside the upper bits of channel_i.
//
// Parameters: Lanes, output channels (8 or 16); Block, activations of a word, and words of the window (8 or 16).
// Latency: none, combinational.
module intarsia_operands #(
  parameter int unsigned Lanes,
  parameter int unsigned Block,
  localparam int unsigned IndexBits = $clog2(Block)
) (
  input  logic                             window_mode_i,
  input  logic                             depthwise_i,
  input  logic [IndexBits-1:0]             channel_i,
  input  logic [Block-1:0][7:0]            word_i,
  input  logic [Block-1:0][Block-1:0][7:0] window_i,      // [word][channel]
  output logic [Block-1:0][7:0]            common_o,
  output logic [Lanes-1:0][Block-1:0][7:0] own_o
);
  if (Lanes != 8 && Lanes != 16) begin : gen_bad_lanes
    $error("intarsia_operands: Lanes must be 8 or 16");
  end
  if (Block != 8 && Block != 16) begin : gen_bad_block
    $error("intarsia_operands: Block must be 8 or 16");
  end

  // A tree of words: node i has nodes 2·i and 2·i + 1 below it.
  logic [2*Block-1:1][Block-1:0][7:0] nodes;
  logic                               word;
  for (genvar c = 0; c < Block; c++) begin : gen_leaf
    logic here;
    assign here = window_mode_i && !depthwise_i && channel_i == IndexBits'(c);
    for (genvar i = 0; i < Block; i++) begin : gen_word
      assign nodes[Block+c][i] = window_i[i][c] & {8{here}};
    end
  end
  for (genvar i = 1; i < Block; i++) begin : gen_node
    assign nodes[i] = nodes[2*i] | nodes[2*i+1];
  end
  assign word = !window_mode_i && !depthwise_i;
  assign common_o = nodes[1] | (word_i & {(8 * Block) {word}});

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    for (genvar i = 0; i < Block; i++) begin : gen_word
      if (Lanes < Block) begin : gen_part
        assign own_o[l][i] = window_i[i][{channel_i[IndexBits-1:$clog2(Lanes)], ($clog2(Lanes))'(l)}];
      end else begin : gen_whole
        assign own_o[l][i] = window_i[i][l%Block];
      end
    end
  end
endmodule
