// SPDX-License-Identifier: Apache-2.0
// Drain: takes finished accumulators in order, requantizes RequantLanes lanes a cycle, adds a residual and writes the
// output words.
//
// Order of the output words: tile, row, pixel, as the sequencer finishes them. The requantization of a tile is read
// from the weight memory before its first word and kept in registers. A residual is read with the first group of its
// word, in a cycle in which no word is written.
//
// The loader reads the activation memory in nearly every cycle, and a cycle that it loses is lost. So a finished word
// waits in a register for a cycle in which the loader does not need its bank, at most until the next word is finished;
// a residual waits for one cycle.
//
// Parameters:
//   Lanes, Block       as elsewhere; RequantLanes, a divisor of Lanes.
//   AccBits, AccSlots, ScaleBits, BiasBits, ResidualBits, ResidualShiftBits   as elsewhere.
//   AddressBits, Banks of the activation memory.
//   WordBits           of the weight memory; WeightAddressBits, of its addresses.
// Latency: an output word of G = Lanes/RequantLanes groups read in cycles t … t + G − 1 is written in cycle
// t + G + RequantStages at the earliest.
module intarsia_drain
  import intarsia_pkg::*;
#(
  parameter int unsigned Lanes,
  parameter int unsigned Block,
  parameter int unsigned RequantLanes,
  parameter int unsigned AccBits,
  parameter int unsigned AccSlots,
  parameter int unsigned ScaleBits,
  parameter int unsigned BiasBits,
  parameter int unsigned ResidualBits,
  parameter int unsigned ResidualShiftBits,
  parameter int unsigned AddressBits,
  parameter int unsigned Banks,
  parameter int unsigned WordBits,
  parameter int unsigned WeightAddressBits,
  localparam int unsigned PtrBits    = $clog2(AccSlots),
  localparam int unsigned ParamBits  = ScaleBits + ShiftBits + BiasBits,
  localparam int unsigned PerWord    = params_per_word(WordBits, ParamBits, Lanes),
  localparam int unsigned ParamWords = param_words(WordBits, ParamBits, Lanes),
  localparam int unsigned Enables    = Block / Lanes
) (
  input  logic                         clk_i,
  input  logic                         rst_ni,
  input  logic                         start_i,
  input  descriptor_t                  layer_i,
  input  logic                         ready_i,     // accumulators of one more pixel are final at the end of this cycle
  output logic                         free_o,      // its slot may be loaded again
  output logic [PtrBits-1:0]           acc_ptr_o,
  input  logic [Lanes-1:0][AccBits-1:0] acc_i,
  // Weight memory.
  output logic                         param_ren_o,
  output logic [WeightAddressBits-1:0] param_raddr_o,
  input  logic [WordBits-1:0]          param_rdata_i,
  // Activation memory.
  output logic                         req_o,
  output logic                         we_o,
  output logic [Enables-1:0]           be_o,
  output logic [AddressBits-1:0]       addr_o,
  output logic [Block-1:0][7:0]        wdata_o,
  input  logic [Block-1:0][7:0]        rdata_i,
  input  logic                         loader_req_i,
  input  logic [AddressBits-1:0]       loader_addr_i,
  output logic                         done_o       // with the last write of the layer
);
  if (RequantLanes < 1 || Lanes % RequantLanes != 0) begin : gen_bad
    $error("intarsia_drain: RequantLanes must divide Lanes");
  end
  if (WordBits < ParamBits) begin : gen_bad_word
    $error("intarsia_drain: a word of the weight memory must hold the requantization of a lane");
  end

  localparam int unsigned Groups    = Lanes / RequantLanes;
  localparam int unsigned GroupBits = Groups > 1 ? $clog2(Groups) : 1;
  localparam int unsigned PartBits  = Enables > 1 ? $clog2(Enables) : 1;
  // A freed slot is loaded StepStages cycles after the step that may follow in the next cycle, and has a new value in
  // the cycle after that, so free it that early.
  localparam int unsigned FreeGroup = Groups > StepStages + 2 ? Groups - StepStages - 2 : 0;

  // The walk over output words.
  localparam int unsigned Levels = 3;
  localparam int unsigned X = 0, Y = 1, Tile = 2;
  logic [Levels-1:0][15:0] ends, index;
  logic [Levels-1:0]       last, wrap;
  logic                    advance;
  assign ends = {16'(layer_i.tiles) - 16'd1, layer_i.out_height - 16'd1, layer_i.out_width - 16'd1};
  intarsia_nest #(.Levels(Levels), .Widths({8'd8, 8'd16, 8'd16})) u_nest (
    .clk_i, .clear_i(start_i), .step_i(advance), .ends_i(ends), .index_o(index), .last_o(last), .wrap_o(wrap)
  );
  logic [15:0] row_q, row_d, offset_q, offset_d, tile_word;
  assign tile_word = (index[Tile] + 16'd1) >> $clog2(Enables);
  always_comb begin
    row_d = row_q;
    if (advance && wrap[X]) row_d = wrap[Y] ? tile_word : row_q + layer_i.out_row_pitch;
    offset_d = offset_q;
    if (advance) offset_d = wrap[X] ? row_d : offset_q + 16'(layer_i.out_col_pitch);
    if (start_i) begin
      row_d = '0;
      offset_d = '0;
    end
  end
  always_ff @(posedge clk_i) begin
    row_q <= row_d;
    offset_q <= offset_d;
  end

  // Requantization of the tile.
  logic [15:0]             param_q, param_tile_q;
  logic [7:0]              left_q, left_d;
  logic                    param_read_q;
  logic [7:0]              param_number_q;
  logic [ParamWords-1:0][PerWord-1:0][ParamBits-1:0] params_q;
  assign param_ren_o = left_q != '0;
  assign param_raddr_o = param_q[WeightAddressBits-1:0];
  always_comb begin
    left_d = left_q - 8'(param_ren_o);
    if (start_i || (advance && wrap[Y] && !wrap[Tile])) left_d = 8'(ParamWords);
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      left_q <= '0;
      param_read_q <= 1'b0;
    end else begin
      left_q <= left_d;
      param_read_q <= param_ren_o;
    end
  end
  always_ff @(posedge clk_i) begin
    if (start_i) begin
      param_q <= layer_i.weight_base;
      param_tile_q <= layer_i.weight_base;
    end else if (advance && wrap[Y]) begin
      param_q <= param_tile_q + layer_i.tile_words;
      param_tile_q <= param_tile_q + layer_i.tile_words;
    end else if (param_ren_o) begin
      param_q <= param_q + 16'd1;
    end
    param_number_q <= 8'(ParamWords) - left_q;
    for (int unsigned w = 0; w < ParamWords; w++) begin
      if (param_read_q && param_number_q == 8'(w)) params_q[w] <= param_rdata_i[PerWord*ParamBits-1:0];
    end
  end

  // Groups of a word.
  logic [GroupBits-1:0] group_q;
  logic [PtrBits-1:0]   ptr_q;
  logic [4:0]           ready_q;
  logic                 starts, active, last_group, whole_q, writes, wants, waited_q;
  logic [15:0]          residual_address;
  assign residual_address = layer_i.residual_base + offset_q;
  assign wants = group_q == '0 && ready_q != '0 && left_q == '0;
  assign starts = wants && (!layer_i.residual || (!writes && (waited_q || !loader_needs(residual_address))));
  assign active = group_q != '0 || starts;
  assign last_group = group_q == GroupBits'(Groups - 1);
  assign advance = active && last_group;
  assign free_o = active && group_q == GroupBits'(FreeGroup);
  assign acc_ptr_o = ptr_q;
  function automatic logic loader_needs(input logic [15:0] address);
    return loader_req_i && bank_of(16'(loader_addr_i), Banks) == bank_of(address, Banks);
  endfunction
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      ready_q <= '0;
      group_q <= '0;
      waited_q <= 1'b0;
    end else if (start_i) begin
      ready_q <= '0;
      group_q <= '0;
      waited_q <= 1'b0;
    end else begin
      waited_q <= wants && !starts && !writes;
      ready_q <= ready_q + 5'(ready_i) - 5'(advance);
      if (active) group_q <= last_group ? '0 : group_q + 1'b1;
    end
  end
  always_ff @(posedge clk_i) begin
    if (start_i) ptr_q <= '0;
    else if (advance) ptr_q <= ptr_q == PtrBits'(AccSlots - 1) ? '0 : ptr_q + 1'b1;
  end

  // Stages 1 to RequantStages of a group.
  localparam int unsigned Stages = RequantStages;
  logic [Stages-1:1]                valid_q, done_q;
  logic [Stages:1][GroupBits-1:0]   stage_group_q;
  logic [Stages:1][15:0]            address_q;
  logic [Stages:1][PartBits-1:0]    part_q;
  logic                             residual_read, last_q;
  assign residual_read = layer_i.residual && active && group_q == '0;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_q <= '0;
      done_q <= '0;
      whole_q <= 1'b0;
    end else begin
      valid_q <= {valid_q[Stages-2:1], advance};
      done_q <= {done_q[Stages-2:1], advance && wrap[Tile]};
      whole_q <= valid_q[Stages-1];
    end
  end
  always_ff @(posedge clk_i) begin
    last_q <= done_q[Stages-1];
    stage_group_q <= {stage_group_q[Stages-1:1], group_q};
    address_q <= {address_q[Stages-1:1], offset_q};
    part_q <= {part_q[Stages-1:1], Enables > 1 ? PartBits'(index[Tile]) : PartBits'(0)};
  end

  // Residual: its word comes with stage 1 of the first group; later groups find it in a register.
  logic [Lanes-1:0][7:0] residual_word, residual_q, residual;
  logic                  residual_read_q;
  always_comb begin
    residual_word = '0;
    for (int unsigned p = 0; p < Enables; p++) begin
      if (part_q[1] == PartBits'(p)) residual_word = rdata_i[p*Lanes+:Lanes];
    end
    residual = residual_read_q ? residual_word : residual_q;
  end
  always_ff @(posedge clk_i) begin
    residual_read_q <= residual_read;
    if (residual_read_q) residual_q <= residual_word;
  end

  logic [Lanes-1:0][ParamBits-1:0] params;
  for (genvar l = 0; l < Lanes; l++) begin : gen_param
    assign params[l] = params_q[l/PerWord][l%PerWord];
  end
  logic [RequantLanes-1:0][7:0] bytes;
  for (genvar l = 0; l < RequantLanes; l++) begin : gen_lane
    logic [AccBits-1:0]   acc;
    logic [ParamBits-1:0] param;
    logic [7:0]           added;
    always_comb begin
      acc = '0;
      param = '0;
      added = '0;
      for (int unsigned g = 0; g < Groups; g++) begin
        if (group_q == GroupBits'(g)) acc = acc_i[g*RequantLanes+l];
        if (stage_group_q[1] == GroupBits'(g)) begin
          param = params[g*RequantLanes+l];
          added = layer_i.residual ? residual[g*RequantLanes+l] : 8'd0;
        end
      end
    end
    intarsia_requantizer #(
      .AccBits(AccBits),
      .ScaleBits(ScaleBits),
      .BiasBits(BiasBits),
      .ResidualBits(ResidualBits),
      .ResidualShiftBits(ResidualShiftBits)
    ) u_requantizer (
      .clk_i,
      .acc_i(acc),
      .residual_i(added),
      .scale_i(param[ScaleBits-1:0]),
      .shift_i(param[ScaleBits+:ShiftBits]),
      .bias_i(param[ScaleBits+ShiftBits+:BiasBits]),
      .residual_scale_i(layer_i.residual_scale[(ResidualBits == 0 ? 1 : ResidualBits)-1:0]),
      .residual_shift_i(layer_i.residual_shift[ResidualShiftBits-1:0]),
      .lo_i(layer_i.lo),
      .hi_i(layer_i.hi),
      .y_o(bytes[l])
    );
  end

  // The newest group is at the requantizers' outputs, the groups before it are kept here.
  logic [Lanes-1:0][7:0] kept_q, word;
  if (Groups > 1) begin : gen_keep
    always_ff @(posedge clk_i) begin
      for (int unsigned g = 0; g < Groups; g++) begin
        if (stage_group_q[Stages] == GroupBits'(g)) kept_q[g*RequantLanes+:RequantLanes] <= bytes;
      end
    end
    always_comb begin
      word = kept_q;
      word[(Groups-1)*RequantLanes+:RequantLanes] = bytes;
    end
  end else begin : gen_whole
    assign kept_q = '0;
    assign word = bytes;
  end

  // The word that waits to be written.
  logic                  waiting_q, waiting_last_q;
  logic [15:0]           waiting_address_q;
  logic [PartBits-1:0]   waiting_part_q;
  logic [Lanes-1:0][7:0] waiting_word_q;
  assign writes = waiting_q && (whole_q || !loader_needs(waiting_address_q));
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) waiting_q <= 1'b0;
    else waiting_q <= whole_q || (waiting_q && !writes);
  end
  always_ff @(posedge clk_i) begin
    if (whole_q) begin
      waiting_word_q <= word;
      waiting_address_q <= layer_i.out_base + address_q[Stages];
      waiting_part_q <= part_q[Stages];
      waiting_last_q <= last_q;
    end
  end

  assign req_o = writes || residual_read;
  assign we_o = writes;
  assign be_o = Enables'(1) << waiting_part_q;
  assign wdata_o = {Enables{waiting_word_q}};
  assign addr_o = AddressBits'(writes ? waiting_address_q : residual_address);
  assign done_o = writes && waiting_last_q;

  logic unused;
  assign unused = ^{kept_q, index, last, param_q, layer_i.residual_scale, layer_i.residual_shift, part_q,
                    stage_group_q};

`ifndef SYNTHESIS
  a_ready: assert property (@(posedge clk_i) disable iff (!rst_ni) ready_q <= 5'(AccSlots))
  else $error("more finished pixels than accumulators");
  a_start: assert property (@(posedge clk_i) disable iff (!rst_ni) start_i |-> ready_q == '0)
  else $error("a layer started before the last one was drained");
  a_written: assert property (@(posedge clk_i) disable iff (!rst_ni) writes |-> 32'(waiting_address_q) < 1 << AddressBits)
  else $error("an output beyond the activation memory");
  a_read: assert property (@(posedge clk_i) disable iff (!rst_ni)
      residual_read |-> 32'(residual_address) < 1 << AddressBits)
  else $error("a residual beyond the activation memory");
  a_params: assert property (@(posedge clk_i) disable iff (!rst_ni) param_ren_o |-> 32'(param_q) < 1 << WeightAddressBits)
  else $error("requantization beyond the weight memory");
  a_port: assert property (@(posedge clk_i) disable iff (!rst_ni) !(writes && residual_read))
  else $error("a residual read while a word is written");
  c_residual: cover property (@(posedge clk_i) disable iff (!rst_ni) wants && !starts);
  c_yields: cover property (@(posedge clk_i) disable iff (!rst_ni) waiting_q && !writes);
  c_insists: cover property (@(posedge clk_i) disable iff (!rst_ni)
      writes && whole_q && loader_needs(waiting_address_q));
  c_params: cover property (@(posedge clk_i) disable iff (!rst_ni) ready_q != '0 && left_q != '0);
`endif
endmodule
