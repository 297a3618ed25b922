// SPDX-License-Identifier: Apache-2.0
// The Intarsia engine: runs an integer network from one start command to one interrupt.
//
// Data flow: activation memory → loader → window → lanes (weights streamed from the dense and sparse memories) →
// drain (requantization) → activation memory. The sequencer issues one step of all lanes a cycle; loader, sequencer and
// drain walk the same loop nest on their own and meet only through counts of what is filled and what is free.
//
// Pipeline of a step: 0 issue, weight memories read; 1 weights unpacked, activation word chosen; 2 products;
// 3 accumulators.
//
// Parameters:
//   Lanes         output channels per cycle and input channels of a block (8 or 16).
//   Slots         sparse weights of a lane in a block (1 to 4); SlotBits, bits of each (2 to 8).
//   ScaleBits     bits of a requantization multiplier (2 to 16).
//   AccBits       bits of an accumulator (16 to 32); AccSlots, output pixels held (2 to 16).
//   RequantLanes  lanes requantized a cycle (a divisor of Lanes).
//   ActDepth, DenseDepth, SparseDepth, ParamDepth, ProgramDepth   words of the memories (2 to 65536).
// Latency: see docs/inside.md; the cycle model in intarsia.engine.cycles gives every layer's cycles exactly.
module intarsia_engine
  import intarsia_pkg::*;
#(
  parameter int unsigned Lanes        = 16,
  parameter int unsigned Slots        = 1,
  parameter int unsigned SlotBits     = 8,
  parameter int unsigned ScaleBits    = 6,
  parameter int unsigned AccBits      = 24,
  parameter int unsigned AccSlots     = 6,
  parameter int unsigned RequantLanes = 8,
  parameter int unsigned ActDepth     = 4096,
  parameter int unsigned DenseDepth   = 1024,
  parameter int unsigned SparseDepth  = 1024,
  parameter int unsigned ParamDepth   = 128,
  parameter int unsigned ProgramDepth = 512
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  // Host bus (intarsia_host).
  input  logic        req_i,
  input  logic        we_i,
  input  logic [23:0] addr_i,
  input  logic [31:0] wdata_i,
  output logic        rvalid_o,
  output logic [31:0] rdata_o,
  output logic        irq_o,
  // For observers: a layer has ended; memory accesses of this cycle
  // {parameters read, sparse read, dense read, activation write, activation read}; a step computes.
  output logic        layer_done_o,
  output logic [4:0]  accesses_o,
  output logic        step_o
);
  // The lanes can be without a sparse plane; residual additions of the engine cannot.
  if (Slots < 1) begin : gen_bad_slots
    $error("intarsia_engine: Slots must be 1 to 4");
  end

  localparam int unsigned IndexBits   = $clog2(Lanes);
  localparam int unsigned PtrBits     = $clog2(AccSlots);
  localparam int unsigned TritBits    = 8 * (Lanes / 5) + (Lanes % 5 == 1 ? 2 : Lanes % 5 == 3 ? 5 : 0);
  localparam int unsigned ActBits     = 8 * Lanes;
  localparam int unsigned DenseBits   = Lanes * TritBits;
  localparam int unsigned SparseBits  = Lanes * Slots * (SlotBits + IndexBits);
  localparam int unsigned ParamBits   = RequantLanes * (2 * ScaleBits + ShiftBits + BiasBits);
  localparam int unsigned ActAddr     = $clog2(ActDepth);
  localparam int unsigned DenseAddr   = $clog2(DenseDepth);
  localparam int unsigned SparseAddr  = $clog2(SparseDepth);
  localparam int unsigned ParamAddr   = $clog2(ParamDepth);
  localparam int unsigned ProgramAddr = $clog2(ProgramDepth);

  // Control and host.
  descriptor_t layer;
  logic start, layer_done, busy, finished, run;
  logic host_act_wen, host_dense_wen, host_sparse_wen, host_param_wen, host_program_wen, host_act_ren;
  logic [15:0] host_waddr, host_act_raddr;
  logic [ActBits-1:0] host_act_wdata, act_rdata, act_wdata;
  logic [DenseBits-1:0] host_dense_wdata, dense_rdata;
  logic [SparseBits-1:0] host_sparse_wdata, sparse_rdata;
  logic [ParamBits-1:0] host_param_wdata, param_rdata;
  logic [31:0] host_program_wdata, program_rdata;
  logic program_ren;
  logic [ProgramAddr-1:0] program_raddr;

  intarsia_host #(
    .ActBits(ActBits), .DenseBits(DenseBits), .SparseBits(SparseBits), .ParamBits(ParamBits)
  ) u_host (
    .clk_i, .rst_ni, .req_i, .we_i, .addr_i, .wdata_i, .rvalid_o, .rdata_o,
    .run_o(run), .busy_i(busy), .finished_i(finished), .irq_o,
    .act_wen_o(host_act_wen), .dense_wen_o(host_dense_wen), .sparse_wen_o(host_sparse_wen),
    .param_wen_o(host_param_wen), .program_wen_o(host_program_wen), .waddr_o(host_waddr),
    .act_wdata_o(host_act_wdata), .dense_wdata_o(host_dense_wdata), .sparse_wdata_o(host_sparse_wdata),
    .param_wdata_o(host_param_wdata), .program_wdata_o(host_program_wdata),
    .act_ren_o(host_act_ren), .act_raddr_o(host_act_raddr), .act_rdata_i(act_rdata)
  );

  intarsia_control #(.AddressBits(ProgramAddr)) u_control (
    .clk_i, .rst_ni, .run_i(run), .ren_o(program_ren), .raddr_o(program_raddr), .rdata_i(program_rdata),
    .start_o(start), .layer_o(layer), .layer_done_i(layer_done), .busy_o(busy), .finished_o(finished)
  );

  // Loader and window.
  logic                  release_words, column_full, push, loader_ren, window_write, window_pad, window_column;
  logic [IndexBits:0]    release_count, fill;
  logic [IndexBits-1:0]  window_index;
  logic [ActAddr-1:0]    loader_raddr;
  logic [Lanes-1:0][7:0] window_word, x_q;
  logic [Lanes-1:0][Lanes-1:0][7:0] window_slots;

  intarsia_loader #(.Lanes(Lanes), .AddressBits(ActAddr)) u_loader (
    .clk_i, .rst_ni, .start_i(start), .layer_i(layer),
    .release_i(release_words), .release_count_i(release_count), .push_i(push),
    .fill_o(fill), .column_full_o(column_full), .ren_o(loader_ren), .raddr_o(loader_raddr),
    .write_o(window_write), .write_index_o(window_index), .write_pad_o(window_pad),
    .write_column_o(window_column)
  );
  assign window_word = window_pad ? {Lanes{layer.pad_lowest, 7'd0}} : act_rdata;

  // Sequencer: stage 0.
  logic                  dense_ren, sparse_ren, valid, load, triple, sparse, sparse_load, last, free;
  logic [DenseAddr-1:0]  dense_raddr;
  logic [SparseAddr-1:0] sparse_raddr;
  logic [IndexBits-1:0]  ring_index, channel;
  logic [PtrBits-1:0]    acc_ptr;

  intarsia_sequencer #(
    .Lanes(Lanes), .AccSlots(AccSlots), .DenseAddressBits(DenseAddr), .SparseAddressBits(SparseAddr)
  ) u_sequencer (
    .clk_i, .rst_ni, .start_i(start), .layer_i(layer), .fill_i(fill), .column_full_i(column_full),
    .release_o(release_words), .release_count_o(release_count), .free_i(free),
    .dense_ren_o(dense_ren), .dense_raddr_o(dense_raddr), .sparse_ren_o(sparse_ren), .sparse_raddr_o(sparse_raddr),
    .push_o(push), .valid_o(valid), .ring_index_o(ring_index), .channel_o(channel), .acc_ptr_o(acc_ptr),
    .load_o(load), .triple_o(triple), .sparse_o(sparse), .sparse_load_o(sparse_load), .last_o(last)
  );

  // Stages 1 to 3 of a step.
  typedef struct packed {
    logic                 load;
    logic                 triple;
    logic                 sparse;
    logic                 sparse_load;
    logic                 last;
    logic [PtrBits-1:0]   acc_ptr;
  } step_t;
  step_t                step1_q, step2_q, step3_q;
  logic                 valid1_q, valid2_q, valid3_q, push1_q, dense1_q, sparse1_q;
  logic [IndexBits-1:0] ring1_q, channel1_q, channel2_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {valid1_q, valid2_q, valid3_q, push1_q, dense1_q, sparse1_q} <= '0;
    end else begin
      valid1_q <= valid;
      valid2_q <= valid1_q;
      valid3_q <= valid2_q;
      push1_q <= push;
      dense1_q <= dense_ren;
      sparse1_q <= sparse_ren;
    end
  end
  always_ff @(posedge clk_i) begin
    ring1_q <= ring_index;
    step1_q <= '{load: load, triple: triple, sparse: sparse, sparse_load: sparse_load, last: last,
                 acc_ptr: acc_ptr};
    channel1_q <= channel;
    channel2_q <= channel1_q;
    step2_q <= step1_q;
    step3_q <= step2_q;
  end

  intarsia_window #(.Lanes(Lanes)) u_window (
    .clk_i, .window_mode_i(layer.window), .write_i(window_write), .write_index_i(window_index),
    .write_column_i(window_column),
    .word_i(window_word), .push_i(push1_q), .select_i(valid1_q), .ring_index_i(ring1_q),
    .x_q_o(x_q), .slots_o(window_slots)
  );

  // Lanes.
  logic [PtrBits-1:0]            drain_ptr;
  logic [Lanes-1:0][AccBits-1:0] dense_acc, sparse_acc;
  intarsia_lane_array #(
    .Lanes(Lanes), .Slots(Slots), .SlotBits(SlotBits), .AccBits(AccBits), .AccSlots(AccSlots)
  ) u_lane_array (
    .clk_i,
    .dense_new_i(dense1_q), .dense_i(dense_rdata), .sparse_new_i(sparse1_q), .sparse_i(sparse_rdata),
    .valid_i(valid2_q), .window_mode_i(layer.window), .depthwise_i(layer.depthwise), .channel_i(channel2_q),
    .word_i(x_q), .window_i(window_slots),
    .dense_en_i(valid3_q), .dense_load_i(step3_q.load), .dense_triple_i(step3_q.triple),
    .dense_max_i(layer.maximum), .sparse_en_i(valid3_q && step3_q.sparse), .sparse_load_i(step3_q.sparse_load),
    .write_ptr_i(step3_q.acc_ptr), .read_ptr_i(drain_ptr), .dense_o(dense_acc), .sparse_o(sparse_acc)
  );

  // Drain.
  logic                 param_ren, drain_wen;
  logic [ParamAddr-1:0] param_raddr;
  logic [ActAddr-1:0]   drain_waddr;
  logic [Lanes-1:0][7:0] drain_wdata;
  intarsia_drain #(
    .Lanes(Lanes), .RequantLanes(RequantLanes), .AccBits(AccBits), .AccSlots(AccSlots), .ScaleBits(ScaleBits),
    .AddressBits(ActAddr), .ParamAddressBits(ParamAddr)
  ) u_drain (
    .clk_i, .rst_ni, .start_i(start), .layer_i(layer), .ready_i(valid3_q && step3_q.last), .free_o(free),
    .acc_ptr_o(drain_ptr), .dense_i(dense_acc), .sparse_i(sparse_acc),
    .param_ren_o(param_ren), .param_raddr_o(param_raddr), .param_rdata_i(param_rdata),
    .wen_o(drain_wen), .waddr_o(drain_waddr), .wdata_o(drain_wdata), .done_o(layer_done)
  );

  // Memories. The host has them while the engine is idle.
  assign act_wdata = busy ? drain_wdata : host_act_wdata;
  intarsia_memory #(.Width(ActBits), .Depth(ActDepth)) u_act_memory (
    .clk_i,
    .wen_i(busy ? drain_wen : host_act_wen), .waddr_i(busy ? drain_waddr : host_waddr[ActAddr-1:0]),
    .wdata_i(act_wdata),
    .ren_i(busy ? loader_ren : host_act_ren), .raddr_i(busy ? loader_raddr : host_act_raddr[ActAddr-1:0]),
    .rdata_o(act_rdata)
  );
  intarsia_memory #(.Width(DenseBits), .Depth(DenseDepth)) u_dense_memory (
    .clk_i, .wen_i(host_dense_wen), .waddr_i(host_waddr[DenseAddr-1:0]), .wdata_i(host_dense_wdata),
    .ren_i(dense_ren), .raddr_i(dense_raddr), .rdata_o(dense_rdata)
  );
  intarsia_memory #(.Width(SparseBits), .Depth(SparseDepth)) u_sparse_memory (
    .clk_i, .wen_i(host_sparse_wen), .waddr_i(host_waddr[SparseAddr-1:0]), .wdata_i(host_sparse_wdata),
    .ren_i(sparse_ren), .raddr_i(sparse_raddr), .rdata_o(sparse_rdata)
  );
  intarsia_memory #(.Width(ParamBits), .Depth(ParamDepth)) u_param_memory (
    .clk_i, .wen_i(host_param_wen), .waddr_i(host_waddr[ParamAddr-1:0]), .wdata_i(host_param_wdata),
    .ren_i(param_ren), .raddr_i(param_raddr), .rdata_o(param_rdata)
  );
  intarsia_memory #(.Width(32), .Depth(ProgramDepth)) u_program_memory (
    .clk_i, .wen_i(host_program_wen), .waddr_i(host_waddr[ProgramAddr-1:0]), .wdata_i(host_program_wdata),
    .ren_i(program_ren), .raddr_i(program_raddr), .rdata_o(program_rdata)
  );

  assign layer_done_o = layer_done;
  assign accesses_o = {param_ren, sparse_ren, dense_ren, drain_wen, loader_ren};
  assign step_o = valid;

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert ((!host_act_wen || 32'(host_waddr) < ActDepth) && (!host_act_ren || 32'(host_act_raddr) < ActDepth) &&
              (!host_dense_wen || 32'(host_waddr) < DenseDepth) && (!host_sparse_wen || 32'(host_waddr) < SparseDepth) &&
              (!host_param_wen || 32'(host_waddr) < ParamDepth) && (!host_program_wen || 32'(host_waddr) < ProgramDepth))
      else $error("the host touched a word beyond a memory's end");
    end
  end
`endif

  logic unused;
  assign unused = ^{host_waddr, host_act_raddr};
endmodule
