// SPDX-License-Identifier: Apache-2.0
// Drain: takes finished accumulators in order, requantizes RequantLanes lanes a cycle and writes the output words.
//
// Order of the output words: outer tile, row, pixel tile, inner tile, pixel, as the sequencer finishes them.
//
// Parameters: Lanes (8 or 16); RequantLanes, a divisor of Lanes; AccBits, AccSlots, ScaleBits as elsewhere;
// AddressBits of the activation memory, ParamAddressBits of the requantization memory.
// Latency: an output word of G = Lanes/RequantLanes groups read in cycles t … t + G − 1 is written in cycle t + G + 3.
module intarsia_drain
  import intarsia_pkg::*;
#(
  parameter int unsigned Lanes,
  parameter int unsigned RequantLanes,
  parameter int unsigned AccBits,
  parameter int unsigned AccSlots,
  parameter int unsigned ScaleBits,
  parameter int unsigned AddressBits,
  parameter int unsigned ParamAddressBits,
  localparam int unsigned PtrBits   = $clog2(AccSlots),
  localparam int unsigned LaneBits  = 2 * ScaleBits + ShiftBits + BiasBits,
  localparam int unsigned ParamBits = RequantLanes * LaneBits
) (
  input  logic                                 clk_i,
  input  logic                                 rst_ni,
  input  logic                                 start_i,
  input  descriptor_t                          layer_i,
  input  logic                                 ready_i,     // accumulators of one more pixel are final at the end of this cycle
  output logic                                 free_o,      // its slot may be loaded again
  output logic [PtrBits-1:0]                   acc_ptr_o,
  input  logic signed [Lanes-1:0][AccBits-1:0] dense_i,
  input  logic signed [Lanes-1:0][AccBits-1:0] sparse_i,
  output logic                                 param_ren_o,
  output logic [ParamAddressBits-1:0]          param_raddr_o,
  input  logic [ParamBits-1:0]                 param_rdata_i,
  output logic                                 wen_o,
  output logic [AddressBits-1:0]               waddr_o,
  output logic [Lanes-1:0][7:0]                wdata_o,
  output logic                                 done_o       // with the last write of the layer
);
  if (RequantLanes < 1 || Lanes % RequantLanes != 0) begin : gen_bad
    $error("intarsia_drain: RequantLanes must divide Lanes");
  end

  localparam int unsigned Groups    = Lanes / RequantLanes;
  localparam int unsigned GroupBits = Groups > 1 ? $clog2(Groups) : 1;
  // A freed slot is loaded three cycles after the step that may follow in the next cycle, so free it that early.
  localparam int unsigned FreeGroup = Groups > 5 ? Groups - 5 : 0;

  logic                 active, last_group, advance;
  logic [4:0]           ready_q;
  logic [GroupBits-1:0] group_q;
  logic [PtrBits-1:0]   ptr_q;
  logic [7:0]           outer_q, inner_q, tile;
  logic [15:0]          y_q, x_q, pixels_left;
  logic [3:0]           pixel_q, pixels;
  logic                 last_pixel, last_inner, last_x, last_y, last_outer, last_word;

  assign active = ready_q != '0;
  assign last_group = group_q == GroupBits'(Groups - 1);
  assign advance = active && last_group;
  assign free_o = active && group_q == GroupBits'(FreeGroup);
  assign acc_ptr_o = ptr_q;
  assign tile = outer_q + inner_q;
  assign param_ren_o = active;
  assign param_raddr_o = ParamAddressBits'(layer_i.param_base + 16'(tile) * 16'(Groups) + 16'(group_q));

  always_comb begin
    pixels_left = layer_i.out_width - x_q;
    pixels = (pixels_left < {12'd0, layer_i.tile_pixels}) ? pixels_left[3:0] : layer_i.tile_pixels;
    last_pixel = pixel_q == pixels - 4'd1;
    last_inner = inner_q == layer_i.inner_tiles - 8'd1;
    last_x = pixels_left <= {12'd0, layer_i.tile_pixels};
    last_y = y_q == layer_i.out_height - 16'd1;
    last_outer = outer_q == layer_i.outer_tiles - 8'd1;
    last_word = last_pixel && last_inner && last_x && last_y && last_outer;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      ready_q <= '0;
      group_q <= '0;
      ptr_q <= '0;
    end else if (start_i) begin
      ready_q <= '0;
      group_q <= '0;
      ptr_q <= '0;
      outer_q <= '0;
      inner_q <= '0;
      y_q <= '0;
      x_q <= '0;
      pixel_q <= '0;
    end else begin
      ready_q <= ready_q + 5'(ready_i) - 5'(advance);
      if (active) group_q <= last_group ? '0 : group_q + 1'b1;
      if (advance) begin
        ptr_q <= (ptr_q == PtrBits'(AccSlots - 1)) ? '0 : ptr_q + 1'b1;
        pixel_q <= last_pixel ? '0 : pixel_q + 4'd1;
        if (last_pixel) begin
          inner_q <= last_inner ? '0 : inner_q + 8'd1;
          if (last_inner) begin
            x_q <= last_x ? '0 : x_q + {12'd0, layer_i.tile_pixels};
            if (last_x) begin
              y_q <= last_y ? '0 : y_q + 16'd1;
              if (last_y) outer_q <= outer_q + 8'd1;
            end
          end
        end
      end
    end
  end

  // The group goes through the requantizers in stages 1 to 3 and is kept in stage 4 until its word is whole.
  logic [3:0]           valid_q, last_q;
  logic [3:0][GroupBits-1:0] stage_group_q;
  logic [15:0]          row_offset_q, column_offset_q, address2_q, address3_q, address4_q, tile1_q;
  logic                 write_q, done_q;
  logic [Lanes-1:0][7:0] word_q;
  logic [RequantLanes-1:0][7:0] bytes;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_q <= '0;
      last_q <= '0;
      write_q <= 1'b0;
      done_q <= 1'b0;
    end else begin
      valid_q <= {valid_q[2:0], active};
      last_q <= {last_q[2:0], active && last_group && last_word};
      write_q <= valid_q[2] && stage_group_q[2] == GroupBits'(Groups - 1);
      done_q <= last_q[2];
    end
  end
  always_ff @(posedge clk_i) begin
    stage_group_q <= {stage_group_q[2:0], group_q};
    row_offset_q <= y_q * layer_i.out_row_pitch;
    column_offset_q <= (x_q + {12'd0, pixel_q}) * 16'(layer_i.out_col_pitch);
    tile1_q <= layer_i.out_base + {8'd0, tile};
    address2_q <= row_offset_q + column_offset_q + tile1_q;
    address3_q <= address2_q;
    address4_q <= address3_q;
  end

  // Sparse accumulators that the layer does not write hold anything: keep them out.
  logic [RequantLanes-1:0][AccBits-1:0] dense_group, sparse_group;
  always_comb begin
    dense_group = '0;
    sparse_group = '0;
    for (int unsigned g = 0; g < Groups; g++) begin
      if (group_q == GroupBits'(g)) begin
        dense_group = dense_i[g*RequantLanes+:RequantLanes];
        if (layer_i.sparse) sparse_group = sparse_i[g*RequantLanes+:RequantLanes];
      end
    end
  end

  for (genvar l = 0; l < RequantLanes; l++) begin : gen_lane
    logic [LaneBits-1:0] param;
    assign param = param_rdata_i[l*LaneBits+:LaneBits];
    intarsia_requantizer #(
      .AccBits(AccBits),
      .ScaleBits(ScaleBits)
    ) u_requantizer (
      .clk_i,
      .dense_i(dense_group[l]),
      .sparse_i(sparse_group[l]),
      .dense_scale_i(param[ScaleBits-1:0]),
      .sparse_scale_i(param[2*ScaleBits-1:ScaleBits]),
      .shift_i(param[2*ScaleBits+:ShiftBits]),
      .bias_i(param[2*ScaleBits+ShiftBits+:BiasBits]),
      .lo_i(layer_i.lo),
      .hi_i(layer_i.hi),
      .y_o(bytes[l])
    );
  end

  // Stage 4: the newest group is at the requantizers' outputs, the groups before it are kept here.
  if (Groups > 1) begin : gen_keep
    always_ff @(posedge clk_i) begin
      for (int unsigned g = 0; g < Groups; g++) begin
        if (stage_group_q[3] == GroupBits'(g)) word_q[g*RequantLanes+:RequantLanes] <= bytes;
      end
    end
    always_comb begin
      wdata_o = word_q;
      wdata_o[(Groups-1)*RequantLanes+:RequantLanes] = bytes;
    end
  end else begin : gen_whole
    assign word_q = '0;
    assign wdata_o = bytes;
  end
  assign wen_o = write_q;
  assign waddr_o = address4_q[AddressBits-1:0];
  assign done_o = done_q;

  logic unused;
  assign unused = ^{word_q[Lanes-1-:RequantLanes], valid_q[3], last_q[3], stage_group_q[3]};
  if (AddressBits < 16) begin : gen_unused
    logic unused_address;
    assign unused_address = ^address4_q[15:AddressBits];
  end

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (ready_q <= 5'(AccSlots)) else $error("more finished pixels than accumulators");
      assert (!start_i || ready_q == '0) else $error("a layer started before the last one was drained");
    end
  end
`endif
endmodule
