// SPDX-License-Identifier: Apache-2.0
// The Intarsia engine: runs an integer network from one start command to one interrupt.
//
// Data flow: activation memory → loader → window → lanes (weights from the weight memory) → drain (requantization, and
// a residual) → activation memory. The sequencer issues one step of all lanes a cycle; loader, weight fetcher, sequencer
// and drain walk the same loop nest on their own and meet only through counts of what is filled and what is free.
//
// Pipeline of a step: 0 issue, weights taken; 1 weights to the lanes, activation word chosen; 2 products;
// 3 accumulators.
//
// Parameters:
//   Unit          execution unit: 0, superposition (Slots, SlotBits, PlaneShiftBits, Positions, Places: see
//                 intarsia_lane_array); 1, dense (WeightBits, WeightDigits); 2, mixed rows (Lanes8, Lanes4);
//                 3, Sum-Together (LeastBits, Quadrants).
//   Lanes         output channels per cycle (8 or 16).
//   Block         input channels per cycle, bytes of an activation word (8 or 16, at least Lanes).
//   ScaleBits     bits of a requantization multiplier (2 to 16); BiasBits, of a bias (16 to 48).
//   ResidualBits  bits of a residual's multiplier (0 to 16; 0, no residuals); ResidualShiftBits, of its shift (4 or 5).
//   AccBits       bits of an accumulator (16 to 48); AccSlots, output pixels held (2 to 16).
//   RequantLanes  lanes requantized a cycle (a divisor of Lanes; of Lanes/2 if there are 16-bit activations).
//   WeightParts   words of a weight block (1, 2 or 4); ActBanks, banks of the activation memory (1, 2 or 4).
//   ActDepth, WeightDepth, ProgramDepth   words of the memories (16 to 65536).
// Latency: see docs/inside.md; the cycle model in intarsia.engine.cycles gives every layer's cycles exactly.
module intarsia_engine
  import intarsia_pkg::*;
#(
  parameter int unsigned Unit              = 0,
  parameter int unsigned Slots             = 1,
  parameter int unsigned SlotBits          = 8,
  parameter int unsigned PlaneShiftBits    = 3,
  parameter int unsigned Positions         = 0,
  parameter int unsigned Places            = 0,
  parameter int unsigned WeightBits        = 8,
  parameter int unsigned WeightDigits      = 0,
  parameter int unsigned Lanes8            = 2,
  parameter int unsigned Lanes4            = 0,
  parameter int unsigned LeastBits         = 4,
  parameter int unsigned Quadrants         = 0,
  parameter int unsigned Lanes             = 16,
  parameter int unsigned Block             = 16,
  parameter int unsigned ScaleBits         = 6,
  parameter int unsigned BiasBits          = 40,
  parameter int unsigned ResidualBits      = 6,
  parameter int unsigned ResidualShiftBits = 5,
  parameter int unsigned AccBits           = 24,
  parameter int unsigned AccSlots          = 6,
  parameter int unsigned RequantLanes      = 8,
  parameter int unsigned WeightParts       = 1,
  parameter int unsigned ActBanks          = 4,
  parameter int unsigned ActDepth          = 4096,
  parameter int unsigned WeightDepth       = 1024,
  parameter int unsigned ProgramDepth      = 512
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  // Program.
  input  logic        start_i,      // run it; without effect while busy
  output logic        busy_o,
  output logic        finished_o,   // pulse: it has ended
  output logic        fault_o,      // pulse, with finished_o: before a layer that cannot be run
  output logic        overrun_o,    // a memory was accessed beyond its end in the cycle before; the engine must be reset
  // Memory port (intarsia_host).
  input  logic        req_i,
  input  logic        we_i,
  input  logic [23:0] addr_i,
  input  logic [31:0] wdata_i,
  output logic        rvalid_o,
  output logic [31:0] rdata_o,
  // For observers: a layer has ended; memory accesses of this cycle {requantization read, weights read, residual read,
  // activation write, activation read}; a step computes.
  output logic        layer_done_o,
  output logic [4:0]  accesses_o,
  output logic        step_o
);
  if (Unit > 3) begin : gen_bad_unit
    $error("intarsia_engine: Unit must be 0 (superposition), 1 (dense), 2 (mixed rows) or 3 (Sum-Together)");
  end
  if (Block < Lanes) begin : gen_bad_block
    $error("intarsia_engine: Block must be at least Lanes");
  end

  localparam int unsigned IndexBits  = $clog2(Block);
  localparam int unsigned PtrBits    = $clog2(AccSlots);
  localparam int unsigned TritBits   = trit_bits(Block);
  localparam bit          OwnIndices = Positions == 0;
  localparam bit          OneIndices = Unit == 0 && Positions == 1;
  localparam int unsigned SlotField  = Slots * (SlotBits + (OwnIndices ? IndexBits : 0));
  localparam int unsigned LaneBits   = TritBits + SlotField; // of a superposition
  localparam int unsigned BlockBits  = weight_block_bits(Unit, Lanes, Block, Slots, SlotBits, Positions, WeightBits,
                                                         Lanes8, Lanes4);
  localparam int unsigned WordBits   = BlockBits / WeightParts;
  localparam int unsigned ParamBits  = ScaleBits + ShiftBits + BiasBits;
  localparam int unsigned ParamWords = param_words(WordBits, ParamBits, Lanes);
  localparam int unsigned ActBits    = 8 * Block;
  // Bits of stored activations, at least and at most; the least part of a word that is written.
  localparam int unsigned LeastAct    = Unit == 3 ? LeastBits : 8;
  localparam int unsigned GreatestAct = Unit == 3 ? 16 : 8;
  localparam int unsigned PartBits    = LeastAct * Lanes / (Unit == 3 ? 2 : 1);
  localparam int unsigned Enables     = ActBits / PartBits;
  localparam int unsigned ActAddr    = $clog2(ActDepth);
  localparam int unsigned WeightAddr = $clog2(WeightDepth);
  localparam int unsigned ProgramAddr = $clog2(ProgramDepth);

  // Control and host.
  descriptor_t layer;
  logic start, layer_done, busy;
  logic host_act_wen, host_weight_wen, host_program_wen, host_act_ren;
  logic [15:0] host_waddr, host_act_raddr;
  logic [ActBits-1:0]  host_act_wdata, act_rdata, loader_rdata;
  logic [WordBits-1:0] host_weight_wdata, weight_rdata;
  logic [31:0] host_program_wdata, program_rdata;
  logic program_ren;
  logic [ProgramAddr:0] program_raddr;

  intarsia_host #(.ActBits(ActBits), .WeightBits(WordBits)) u_host (
    .clk_i, .rst_ni, .req_i, .we_i, .addr_i, .wdata_i, .rvalid_o, .rdata_o,
    .act_wen_o(host_act_wen), .weight_wen_o(host_weight_wen), .program_wen_o(host_program_wen), .waddr_o(host_waddr),
    .act_wdata_o(host_act_wdata), .weight_wdata_o(host_weight_wdata), .program_wdata_o(host_program_wdata),
    .act_ren_o(host_act_ren), .act_raddr_o(host_act_raddr), .act_rdata_i(act_rdata)
  );

  intarsia_control #(.AddressBits(ProgramAddr), .ActDepth(ActDepth), .WeightDepth(WeightDepth)) u_control (
    .clk_i, .rst_ni, .run_i(start_i), .ren_o(program_ren), .raddr_o(program_raddr), .rdata_i(program_rdata),
    .start_o(start), .layer_o(layer), .layer_done_i(layer_done), .busy_o(busy), .finished_o, .fault_o
  );
  assign busy_o = busy;

  // Loader and window.
  logic                  release_words, column_full, push, loader_want, loader_req, loader_gnt, window_write, window_pad;
  logic                  window_column;
  logic [IndexBits:0]    release_count, fill;
  logic [IndexBits-1:0]  window_index;
  logic [15:0]           loader_addr;
  logic [ActBits-1:0]    window_word, x_q;
  logic [Block-1:0][ActBits-1:0] window_slots;

  intarsia_loader #(.Block(Block)) u_loader (
    .clk_i, .rst_ni, .start_i(start), .layer_i(layer),
    .release_i(release_words), .release_count_i(release_count), .push_i(push),
    .fill_o(fill), .column_full_o(column_full),
    .want_o(loader_want), .req_o(loader_req), .addr_o(loader_addr), .gnt_i(loader_gnt),
    .write_o(window_write), .write_index_o(window_index), .write_pad_o(window_pad), .write_column_o(window_column)
  );
  logic [ActBits-1:0] padding;
  always_comb begin
    padding = {Block{layer.pad_lowest, 7'd0}};
    if (LeastAct == 4 && layer.in_format == 2'd0) padding = {(2 * Block) {layer.pad_lowest, 3'd0}};
    if (LeastAct == 16 || (Unit == 3 && layer.in_format == 2'd2)) padding = {(Block / 2) {layer.pad_lowest, 15'd0}};
  end
  assign window_word = window_pad ? padding : loader_rdata;

  // Weights.
  logic                       weights_ready, take, block_ren, param_ren;
  logic [15:0]                block_raddr, param_raddr;
  logic [BlockBits-1:0]       block;
  intarsia_weights #(
    .Parts(WeightParts), .WordBits(WordBits), .ParamWords(ParamWords)
  ) u_weights (
    .clk_i, .rst_ni, .start_i(start), .layer_i(layer), .ready_o(weights_ready), .take_i(take), .block_o(block),
    .param_ren_i(param_ren), .ren_o(block_ren), .raddr_o(block_raddr), .rdata_i(weight_rdata)
  );

  // Sequencer: stage 0.
  logic                 valid, load, digit, sparse, last, free, half;
  logic [IndexBits-1:0] ring_index;
  logic [IndexBits:0]   channel;
  logic [PtrBits-1:0]   acc_ptr;
  intarsia_sequencer #(.Lanes(Lanes), .Block(Block), .AccSlots(AccSlots)) u_sequencer (
    .clk_i, .rst_ni, .start_i(start), .layer_i(layer),
    .fill_i(fill), .column_full_i(column_full), .weights_ready_i(weights_ready), .free_i(free),
    .release_o(release_words), .release_count_o(release_count), .push_o(push), .take_o(take),
    .valid_o(valid), .ring_index_o(ring_index), .channel_o(channel), .half_o(half), .acc_ptr_o(acc_ptr),
    .load_o(load), .digit_o(digit), .sparse_o(sparse), .last_o(last)
  );

  // Stages 1 to 3 of a step.
  typedef struct packed {
    logic                 load;
    logic                 digit;
    logic                 sparse;
    logic                 last;
    logic [PtrBits-1:0]   acc_ptr;
    logic                 half;
    logic [IndexBits:0]   channel;
  } step_t;
  step_t                  step_q [StepStages];
  logic [StepStages-1:0]  valid_q;
  logic                   push_q, take_q;
  logic [IndexBits-1:0]   ring_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {valid_q, push_q, take_q} <= '0;
    end else begin
      valid_q <= {valid_q[StepStages-2:0], valid};
      push_q <= push;
      take_q <= take;
    end
  end
  always_ff @(posedge clk_i) begin
    ring_q <= ring_index;
    step_q[0] <= '{load: load, digit: digit, sparse: sparse, last: last, acc_ptr: acc_ptr, half: half,
                    channel: channel};
    for (int unsigned i = 1; i < StepStages; i++) step_q[i] <= step_q[i-1];
  end

  intarsia_window #(.Block(Block)) u_window (
    .clk_i, .window_mode_i(layer.window), .write_i(window_write), .write_index_i(window_index),
    .write_column_i(window_column),
    .word_i(window_word), .push_i(push_q), .select_i(valid_q[0]), .ring_index_i(ring_q),
    .x_q_o(x_q), .slots_o(window_slots)
  );

  // Lanes.
  logic [PtrBits-1:0]            drain_ptr;
  logic [Lanes-1:0][AccBits-1:0] acc;
  if (Unit == 0) begin : gen_superposition
    localparam int unsigned ShiftPorts = PlaneShiftBits == 0 ? 1 : PlaneShiftBits;
    // As intarsia_lane_array has them; without slots it has a port of one, without effect.
    localparam int unsigned SlotPorts  = Slots == 0 ? 1 : Slots;
    localparam int unsigned ValuesEnd  = Lanes * SlotPorts * (SlotBits + (OwnIndices ? IndexBits : 0));
    localparam int unsigned SparseBits = ValuesEnd + (OneIndices ? SlotPorts * IndexBits : 0);
    logic [Lanes*TritBits-1:0] trits;
    logic [SparseBits-1:0]     slots;
    for (genvar l = 0; l < Lanes; l++) begin : gen_lane
      assign trits[l*TritBits+:TritBits] = block[l*LaneBits+:TritBits];
      if (Slots > 0) begin : gen_slots
        assign slots[l*SlotField+:SlotField] = block[l*LaneBits+TritBits+:SlotField];
      end
    end
    if (Slots == 0) begin : gen_no_slots
      assign slots = '0;
    end else if (OneIndices) begin : gen_indices
      assign slots[ValuesEnd+:Slots*IndexBits] = block[Lanes*LaneBits+:Slots*IndexBits];
      logic unused_rest;
      assign unused_rest = ^block[BlockBits-1:Lanes*LaneBits];
    end
    intarsia_lane_array #(
      .Lanes(Lanes), .Block(Block), .Slots(Slots), .SlotBits(SlotBits), .PlaneShiftBits(PlaneShiftBits),
      .AccBits(AccBits), .AccSlots(AccSlots), .Positions(Positions), .Places(Places)
    ) u_array (
      .clk_i, .window_mode_i(layer.window), .depthwise_i(layer.depthwise),
      .plane_shift_i(layer.plane_shift[ShiftPorts-1:0]),
      .dense_new_i(take_q), .dense_i(trits), .sparse_new_i(take_q), .sparse_i(slots),
      .valid_i(valid_q[1]), .sparse_en_i(step_q[1].sparse), .channel_i(step_q[1].channel[IndexBits-1:0]),
      .word_i(x_q), .window_i(window_slots),
      .acc_en_i(valid_q[2]), .acc_load_i(step_q[2].load), .acc_digit_i(step_q[2].digit),
      .acc_max_i(layer.maximum), .write_ptr_i(step_q[2].acc_ptr), .read_ptr_i(drain_ptr), .acc_o(acc)
    );
  end else if (Unit == 1) begin : gen_dense
    intarsia_lane_array_dense #(
      .Lanes(Lanes), .Block(Block), .WeightBits(WeightBits), .Digits(WeightDigits != 0), .AccBits(AccBits),
      .AccSlots(AccSlots)
    ) u_array (
      .clk_i, .window_mode_i(layer.window), .depthwise_i(layer.depthwise),
      .dense_new_i(take_q), .dense_i(block),
      .valid_i(valid_q[1]), .channel_i(step_q[1].channel[IndexBits-1:0]), .word_i(x_q), .window_i(window_slots),
      .acc_en_i(valid_q[2]), .acc_load_i(step_q[2].load), .acc_digit_i(step_q[2].digit), .acc_max_i(layer.maximum),
      .write_ptr_i(step_q[2].acc_ptr), .read_ptr_i(drain_ptr), .acc_o(acc)
    );
  end else if (Unit == 2) begin : gen_mixed
    intarsia_lane_array_mixed #(
      .Lanes(Lanes), .Block(Block), .Lanes8(Lanes8), .Lanes4(Lanes4), .AccBits(AccBits), .AccSlots(AccSlots)
    ) u_array (
      .clk_i, .window_mode_i(layer.window), .depthwise_i(layer.depthwise),
      .dense_new_i(take_q), .dense_i(block),
      .valid_i(valid_q[1]), .channel_i(step_q[1].channel[IndexBits-1:0]), .word_i(x_q), .window_i(window_slots),
      .acc_en_i(valid_q[2]), .acc_load_i(step_q[2].load), .acc_digit_i(step_q[2].digit), .acc_max_i(layer.maximum),
      .write_ptr_i(step_q[2].acc_ptr), .read_ptr_i(drain_ptr), .acc_o(acc)
    );
  end else begin : gen_sum_together
    intarsia_lane_array_sum_together #(
      .Lanes(Lanes), .Block(Block), .LeastBits(LeastBits), .Quadrants(Quadrants != 0), .AccBits(AccBits),
      .AccSlots(AccSlots)
    ) u_array (
      .clk_i, .own_i(layer.window), .format_i(layer.in_format),
      .dense_new_i(take_q), .dense_i(block),
      .valid_i(valid_q[1]), .channel_i(step_q[1].channel), .half_i(step_q[1].half), .word_i(x_q),
      .window_i(window_slots),
      .acc_en_i(valid_q[2]), .acc_load_i(step_q[2].load), .acc_max_i(layer.maximum),
      .write_ptr_i(step_q[2].acc_ptr), .read_ptr_i(drain_ptr), .acc_o(acc)
    );
  end

  // Drain.
  logic               drain_req, drain_we;
  logic [Enables-1:0] drain_be;
  logic [15:0]        drain_addr;
  logic [ActBits-1:0] drain_wdata;
  intarsia_drain #(
    .Lanes(Lanes), .Block(Block), .RequantLanes(RequantLanes), .LeastBits(LeastAct), .GreatestBits(GreatestAct),
    .AccBits(AccBits), .AccSlots(AccSlots), .ScaleBits(ScaleBits), .BiasBits(BiasBits), .ResidualBits(ResidualBits), .ResidualShiftBits(ResidualShiftBits),
    .Banks(ActBanks), .WordBits(WordBits)
  ) u_drain (
    .clk_i, .rst_ni, .start_i(start), .layer_i(layer), .ready_i(valid_q[2] && step_q[2].last), .free_o(free),
    .acc_ptr_o(drain_ptr), .acc_i(acc),
    .param_ren_o(param_ren), .param_raddr_o(param_raddr), .param_rdata_i(weight_rdata),
    .req_o(drain_req), .we_o(drain_we), .be_o(drain_be), .addr_o(drain_addr), .wdata_o(drain_wdata),
    .rdata_i(act_rdata), .loader_want_i(loader_want), .loader_addr_i(loader_addr), .done_o(layer_done)
  );

  // Memories. The host has them while the engine is idle.
  logic [1:0] impl;
  intarsia_banks #(.Width(ActBits), .Enables(Enables), .Depth(ActDepth), .Banks(ActBanks)) u_activations (
    .clk_i,
    .req_i(busy ? drain_req : host_act_wen || host_act_ren),
    .we_i(busy ? drain_we : host_act_wen),
    .be_i(busy ? drain_be : '1),
    .addr_i(busy ? ActAddr'(drain_addr) : host_act_wen ? ActAddr'(host_waddr) : ActAddr'(host_act_raddr)),
    .wdata_i(busy ? drain_wdata : host_act_wdata),
    .rdata_o(act_rdata),
    .read_req_i(loader_req), .read_addr_i(ActAddr'(loader_addr)), .read_gnt_o(loader_gnt), .read_rdata_o(loader_rdata)
  );
  intarsia_memory #(.Width(WordBits), .Depth(WeightDepth)) u_weight_memory (
    .clk_i, .impl_i('0), .impl_o(impl[0]),
    .req_i(host_weight_wen || param_ren || block_ren), .we_i(host_weight_wen), .be_i('1),
    .addr_i(host_weight_wen ? WeightAddr'(host_waddr) : WeightAddr'(param_ren ? param_raddr : block_raddr)),
    .wdata_i(host_weight_wdata), .rdata_o(weight_rdata)
  );
  intarsia_memory #(.Width(32), .Depth(ProgramDepth)) u_program_memory (
    .clk_i, .impl_i('0), .impl_o(impl[1]),
    .req_i(host_program_wen || program_ren), .we_i(host_program_wen), .be_i('1),
    .addr_i(ProgramAddr'(host_program_wen ? 17'(host_waddr) : 17'(program_raddr))),
    .wdata_i(host_program_wdata), .rdata_o(program_rdata)
  );

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) overrun_o <= 1'b0;
    else overrun_o <= (loader_req && 32'(loader_addr) >= ActDepth) || (drain_req && 32'(drain_addr) >= ActDepth) ||
                      (param_ren && 32'(param_raddr) >= WeightDepth) || (block_ren && 32'(block_raddr) >= WeightDepth) ||
                      (program_ren && 32'(program_raddr) >= ProgramDepth);
  end

  assign layer_done_o = layer_done;
  assign accesses_o = {param_ren, block_ren, drain_req && !drain_we, drain_req && drain_we, loader_req && loader_gnt};
  assign step_o = valid;

  logic unused;
  assign unused = ^{host_waddr, host_act_raddr, layer, step_q[0], step_q[2], impl};

`ifndef SYNTHESIS
  a_host: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (host_act_wen |-> 32'(host_waddr) < ActDepth) and (host_act_ren |-> 32'(host_act_raddr) < ActDepth) and
      (host_weight_wen |-> 32'(host_waddr) < WeightDepth) and (host_program_wen |-> 32'(host_waddr) < ProgramDepth))
  else $error("the host touched a word beyond a memory's end");
  a_weights: assert property (@(posedge clk_i) disable iff (!rst_ni) !(param_ren && block_ren))
  else $error("two reads of the weight memory in a cycle");
`endif
endmodule
