// SPDX-License-Identifier: Apache-2.0
// Drain: takes finished accumulators in order, requantizes RequantLanes lanes a cycle, adds a residual and writes the
// output words.
//
// Order of the output words: tile, row, pixel, as the sequencer finishes them, and the words of a pixel, where a tile's
// channels take two. A word that holds the channels of several tiles is written in parts. The requantization of a tile is read
// from the weight memory before its first word and kept in registers. A residual is read with the first group of its
// word, in a cycle in which no word is written.
//
// The loader reads the activation memory in nearly every cycle, and a cycle that it loses is lost. So a finished word
// waits in a register for a cycle in which the loader does not need its bank, at most until the next word is finished;
// a residual waits for one cycle.
//
// Parameters:
//   Lanes, Block       as elsewhere; RequantLanes, a divisor of Lanes, and of Lanes/2 where GreatestBits is 16.
//   LeastBits, GreatestBits   of a stored value: 8 and 8, or 16 at most and 4, 8 or 16 at least; with one width only,
//                      the descriptor's out_format is without effect.
//   AccBits, AccSlots, ScaleBits, BiasBits, ResidualBits, ResidualShiftBits   as elsewhere.
//   Banks              of the activation memory.
//   WordBits           of the weight memory.
// Latency: an output word of G groups (Lanes/RequantLanes, or half as many, of half a tile) read in cycles t … t + G − 1 is written in cycle
// t + G + RequantStages at the earliest.
module intarsia_drain
  import intarsia_pkg::*;
#(
  parameter int unsigned Lanes,
  parameter int unsigned Block,
  parameter int unsigned RequantLanes,
  parameter int unsigned LeastBits,
  parameter int unsigned GreatestBits,
  parameter int unsigned AccBits,
  parameter int unsigned AccSlots,
  parameter int unsigned ScaleBits,
  parameter int unsigned BiasBits,
  parameter int unsigned ResidualBits,
  parameter int unsigned ResidualShiftBits,
  parameter int unsigned Banks,
  parameter int unsigned WordBits,
  localparam int unsigned PtrBits    = $clog2(AccSlots),
  localparam int unsigned ParamBits  = ScaleBits + ShiftBits + BiasBits,
  localparam int unsigned PerWord    = params_per_word(WordBits, ParamBits, Lanes),
  localparam int unsigned ParamWords = param_words(WordBits, ParamBits, Lanes),
  localparam int unsigned ActBits    = 8 * Block,
  localparam int unsigned Enables    = ActBits / (LeastBits * Lanes / (GreatestBits > 8 ? 2 : 1))
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
  output logic [15:0]                  param_raddr_o,
  input  logic [WordBits-1:0]          param_rdata_i,
  // Activation memory.
  output logic                         req_o,
  output logic                         we_o,
  output logic [Enables-1:0]           be_o,
  output logic [15:0]                  addr_o,
  output logic [ActBits-1:0]           wdata_o,
  input  logic [ActBits-1:0]           rdata_i,
  input  logic                         loader_want_i,
  input  logic [15:0]                  loader_addr_i,
  output logic                         done_o       // with the last write of the layer
);
  if (RequantLanes < 1 || Lanes % RequantLanes != 0) begin : gen_bad
    $error("intarsia_drain: RequantLanes must divide Lanes");
  end
  if (GreatestBits == 16 ? !(LeastBits inside {4, 8, 16}) || 2 * RequantLanes > Lanes
                         : GreatestBits != 8 || LeastBits != 8) begin : gen_bad_widths
    $error("intarsia_drain: LeastBits and GreatestBits must be 8 and 8, or 4 to 16 and 16, for two groups at least");
  end
  if (WordBits < ParamBits) begin : gen_bad_word
    $error("intarsia_drain: a word of the weight memory must hold the requantization of a lane");
  end

  localparam int unsigned Groups    = Lanes / RequantLanes;
  localparam int unsigned GroupBits = Groups > 1 ? $clog2(Groups) : 1;
  localparam int unsigned PartBits  = Enables > 1 ? $clog2(Enables) : 1;
  // A freed slot is loaded StepStages cycles after the step that may follow in the next cycle, and has a new value in
  // the cycle after that, so free it that early; but not before the last group that may have to wait (`first`).
  function automatic logic [GroupBits-1:0] free_group(input int unsigned groups, input int unsigned first);
    return GroupBits'(groups > first + StepStages + 2 ? groups - StepStages - 2 : first);
  endfunction

  // Constant in a layer: whether values have 4 or 16 bits instead of 8, whether a tile has half the lanes' channels, and
  // whether these take two words.
  logic is_4, is_16, half, two;
  assign is_4 = LeastBits == 4 && layer_i.out_format == 2'd0;
  assign is_16 = GreatestBits == 16 && (LeastBits == 16 || layer_i.out_format == 2'd2);
  assign half = GreatestBits == 16 && layer_i.half_tile;
  assign two = GreatestBits == 16 && layer_i.out_two;

  // The walk over output words.
  localparam int unsigned Levels = 3;
  localparam int unsigned X = 0, Y = 1, Tile = 2;
  logic [Levels-1:0][15:0] ends, index;
  logic [Levels-1:0]       last, wrap;
  logic                    advance;
  logic [Levels-1:0][15:0] ends_d;
  logic [Levels-1:0]       single_q;
  assign ends_d = {16'(layer_i.tiles) - 16'd1, layer_i.out_height - 16'd1, layer_i.out_width - 16'd1};
  always_ff @(posedge clk_i) begin
    ends <= ends_d;
    for (int unsigned i = 0; i < Levels; i++) single_q[i] <= ends_d[i] == '0;
  end
  intarsia_nest #(.Levels(Levels), .Widths({8'd8, 8'd16, 8'd16})) u_nest (
    .clk_i, .clear_i(start_i), .step_i(advance), .ends_i(ends), .single_i(single_q), .own_last_i('0),
    .index_o(index), .last_o(last), .wrap_o(wrap)
  );
  logic [15:0] row_q, row_d, offset_q, offset_d, tile_word;
  assign tile_word = GreatestBits == 8 ? (index[Tile] + 16'd1) >> $clog2(Enables)
                                       : ((index[Tile] + 16'd1) << two) >> layer_i.out_tile_shift;
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
  logic [15:0] residual_q; // address of the residual's word, so that its bank is known early
  always_ff @(posedge clk_i) begin
    row_q <= row_d;
    offset_q <= offset_d;
    residual_q <= layer_i.residual_base + offset_d;
  end

  // Requantization of the tile.
  logic [15:0]             param_q, param_tile_q;
  logic [7:0]              left_q, left_d;
  logic                    param_read_q;
  logic [7:0]              param_number_q;
  logic [ParamWords-1:0][PerWord-1:0][ParamBits-1:0] params_q;
  assign param_ren_o = left_q != '0;
  assign param_raddr_o = param_q;
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
  logic                 starts, active, begins, ends_word, last_group, whole_q, writes, wants, waited_q;
  logic                 second; // word of a pixel
  logic [15:0]          residual_address;
  logic [15:0]          word_offset;
  if (Groups > 1) begin : gen_words
    localparam logic [GroupBits-1:0] Middle = GroupBits'(Groups / 2);
    assign second = two && group_q >= Middle;
    assign begins = group_q == '0 || (two && group_q == Middle);
    assign last_group = group_q == (half ? Middle - 1'b1 : GroupBits'(Groups - 1));
    assign ends_word = last_group || (two && group_q == Middle - 1'b1);
    assign free_o = active && group_q == (half ? free_group(Groups / 2, 0)
                                        : two ? free_group(Groups, Groups / 2) : free_group(Groups, 0));
  end else begin : gen_word
    assign second = 1'b0;
    assign {begins, last_group, ends_word} = '1;
    assign free_o = active;
    logic unused_word;
    assign unused_word = ^{half, two};
  end
  assign word_offset = offset_q + 16'(second);
  assign residual_address = residual_q + 16'(second);
  assign wants = begins && ready_q != '0 && left_q == '0;
  assign starts = wants && (!layer_i.residual || (!writes && (waited_q || !loader_needs(residual_address))));
  assign active = !begins || starts;
  assign advance = active && last_group;
  assign acc_ptr_o = ptr_q;
  function automatic logic loader_needs(input logic [15:0] address);
    return loader_want_i && bank_of(loader_addr_i, Banks) == bank_of(address, Banks);
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

  // Size of the part of a word that a tile's channels are: the 2^s-th.
  localparam int unsigned Sizes = $clog2(Enables) + 1;
  logic [Sizes-1:0]    is_size;
  logic [PartBits-1:0] part;
  for (genvar s = 0; s < Sizes; s++) begin : gen_is_size
    assign is_size[s] = GreatestBits == 8 ? s == Sizes - 1 : layer_i.out_tile_shift == 2'(s);
  end
  always_comb begin
    part = '0;
    for (int unsigned s = 1; s < Sizes; s++) begin
      if (is_size[s]) part = PartBits'(index[Tile][7:0] & 8'((1 << s) - 1));
    end
  end

  // Stages 1 to RequantStages of a group.
  localparam int unsigned Stages = RequantStages;
  logic [Stages-1:1]                valid_q, done_q;
  logic [Stages:1][GroupBits-1:0]   stage_group_q;
  logic [Stages:1][15:0]            address_q;
  logic [Stages:1][PartBits-1:0]    part_q;
  logic                             residual_read, last_q;
  assign residual_read = layer_i.residual && active && begins;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_q <= '0;
      done_q <= '0;
      whole_q <= 1'b0;
    end else begin
      valid_q <= {valid_q[Stages-2:1], active && ends_word};
      done_q <= {done_q[Stages-2:1], advance && wrap[Tile]};
      whole_q <= valid_q[Stages-1];
    end
  end
  always_ff @(posedge clk_i) begin
    last_q <= done_q[Stages-1];
    stage_group_q <= {stage_group_q[Stages-1:1], group_q};
    address_q <= {address_q[Stages-1:1], word_offset};
    part_q <= {part_q[Stages-1:1], part};
  end

  // Residual: its word comes with stage 1 of the first group; later groups find it in a register.
  logic [ActBits-1:0]                 residual_word, residual_rest_q, residual;
  logic [Lanes-1:0][GreatestBits-1:0] residuals;
  logic                               residual_read_q;
  always_comb begin
    residual_word = rdata_i;
    for (int unsigned s = 1; s < Sizes; s++) begin
      for (int unsigned p = 1; p < 1 << s; p++) begin
        if (is_size[s] && part_q[1] == PartBits'(p)) residual_word = rdata_i >> (p * (ActBits >> s));
      end
    end
    residual = residual_read_q ? residual_word : residual_rest_q;
  end
  for (genvar l = 0; l < Lanes; l++) begin : gen_residual
    always_comb begin
      residuals[l] = GreatestBits'($signed(residual[8*l%ActBits+:8]));
      if (is_4) residuals[l] = GreatestBits'($signed(residual[4*l+:4]));
      if (is_16) residuals[l] = GreatestBits'($signed(residual[GreatestBits*l%ActBits+:GreatestBits]));
    end
  end
  always_ff @(posedge clk_i) begin
    residual_read_q <= residual_read;
    if (residual_read_q) residual_rest_q <= residual_word;
  end

  logic [Lanes-1:0][ParamBits-1:0] params;
  for (genvar l = 0; l < Lanes; l++) begin : gen_param
    assign params[l] = params_q[l/PerWord][l%PerWord];
  end
  logic [RequantLanes-1:0][GreatestBits-1:0] values;
  for (genvar l = 0; l < RequantLanes; l++) begin : gen_lane
    logic [AccBits-1:0]   acc;
    logic [ParamBits-1:0] param;
    logic [GreatestBits-1:0] added;
    always_comb begin
      acc = '0;
      param = '0;
      added = '0;
      for (int unsigned g = 0; g < Groups; g++) begin
        if (group_q == GroupBits'(g)) acc = acc_i[g*RequantLanes+l];
        if (stage_group_q[1] == GroupBits'(g)) begin
          param = params[g*RequantLanes+l];
          added = layer_i.residual ? residuals[g*RequantLanes+l] : '0;
        end
      end
    end
    intarsia_requantizer #(
      .OutBits(GreatestBits),
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
      .lo_i(layer_i.lo[GreatestBits-1:0]),
      .hi_i(layer_i.hi[GreatestBits-1:0]),
      .y_o(values[l])
    );
  end

  // The newest group is at the requantizers' outputs, the groups of its word before it are kept here.
  logic [ActBits-1:0] kept_q, word;
  always_comb begin
    word = kept_q;
    for (int unsigned g = 0; g < Groups; g++) begin
      for (int unsigned l = 0; l < RequantLanes; l++) begin
        if (stage_group_q[Stages] == GroupBits'(g)) begin
          if (is_16) word[GreatestBits*(g*RequantLanes+l)%ActBits+:GreatestBits] = values[l];
          else if (is_4) word[4*(g*RequantLanes+l)+:4] = values[l][3:0];
          else word[8*(g*RequantLanes+l)%ActBits+:8] = values[l][7:0];
        end
      end
    end
  end
  if (Groups > 1) begin : gen_keep
    always_ff @(posedge clk_i) kept_q <= word;
  end else begin : gen_whole
    assign kept_q = '0;
  end

  // The word that waits to be written.
  logic                  waiting_q, waiting_last_q;
  logic [15:0]           waiting_address_q;
  logic [PartBits-1:0]   waiting_part_q;
  logic [ActBits-1:0]    waiting_word_q;
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
  // A tile's channels of a pixel are a part of a word: in all parts, of which one is written.
  logic [Sizes-1:0][ActBits-1:0] spread;
  logic [Sizes-1:0][Enables-1:0] enables;
  for (genvar s = 0; s < Sizes; s++) begin : gen_size
    assign spread[s] = {(1 << s) {waiting_word_q[(ActBits>>s)-1:0]}};
    for (genvar p = 0; p < Enables; p++) begin : gen_enable
      assign enables[s][p] = s == 0 || waiting_part_q == PartBits'(p >> (Sizes - 1 - s));
    end
  end
  always_comb begin
    wdata_o = '0;
    be_o = '0;
    for (int unsigned s = 0; s < Sizes; s++) begin
      wdata_o = wdata_o | (spread[s] & {ActBits{is_size[s]}});
      be_o = be_o | (enables[s] & {Enables{is_size[s]}});
    end
  end
  assign addr_o = writes ? waiting_address_q : residual_address;
  assign done_o = writes && waiting_last_q;

  logic unused;
  assign unused = ^{kept_q, residual, index, last, param_q, layer_i.lo, layer_i.hi, layer_i.out_format, half, two, layer_i.residual_scale, layer_i.residual_shift, part_q,
                    stage_group_q};

`ifndef SYNTHESIS
  a_ready: assert property (@(posedge clk_i) disable iff (!rst_ni) ready_q <= 5'(AccSlots))
  else $error("more finished pixels than accumulators");
  a_start: assert property (@(posedge clk_i) disable iff (!rst_ni) start_i |-> ready_q == '0)
  else $error("a layer started before the last one was drained");
  a_port: assert property (@(posedge clk_i) disable iff (!rst_ni) !(writes && residual_read))
  else $error("a residual read while a word is written");
  c_residual: cover property (@(posedge clk_i) disable iff (!rst_ni) wants && !starts);
  c_yields: cover property (@(posedge clk_i) disable iff (!rst_ni) waiting_q && !writes);
  c_insists: cover property (@(posedge clk_i) disable iff (!rst_ni)
      writes && whole_q && loader_needs(waiting_address_q));
  c_params: cover property (@(posedge clk_i) disable iff (!rst_ni) ready_q != '0 && left_q != '0);
`endif
endmodule
