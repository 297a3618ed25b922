// SPDX-License-Identifier: Apache-2.0
// The engine as a part of a system: registers, interrupt, watchdog, a DMA, and an OBI subordinate for all of it.
//
// Address (of bytes): bits 25…22 choose the registers (0) or a memory of the engine (intarsia_pkg::Region…, as in
// intarsia_host); bits 21…2 a register or a 32-bit part of a memory's word. The registers are those of registers.rdl.
// Only whole words of the memories are accessed, only activations are read, and only while neither engine nor DMA are
// busy; every other access is answered with an error and noted in ERROR.access. Registers can be accessed at all times,
// but those of the DMA not be written while it is busy. What is written to the padding behind the parts of a word has no
// effect but on CHECK.
//
// A start is refused, and noted in ERROR, while engine or DMA are busy, and with a program that is damaged or of another
// build. A run that meets a layer which cannot be run, goes beyond a memory or takes LIMIT cycles is ended by a reset of
// the engine, and noted. CHECK is a CRC-32 (that of Ethernet and zlib) of the words written to weights and program.
//
// Clock and reset: one clock; rst_ni is asserted at any time and released synchronously to clk_i.
//
// Parameters: those of intarsia_engine; Build, their fingerprint (intarsia.system.accelerator).
// Latency: an access is granted at once unless a read of a memory or a reset of the engine is under way, and answered in
// the next cycle, a read of a memory in the second one. The engine is reset after each run and
// each CONTROL.abort; nothing is granted in that cycle, nor in the one after the write of an abort.
module intarsia_accelerator
  import intarsia_pkg::*;
  import intarsia_registers_pkg::*;
#(
  parameter logic [31:0] Build             = 32'd0,
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
  // OBI subordinate.
  input  logic        sbr_req_i,
  output logic        sbr_gnt_o,
  input  logic [25:0] sbr_addr_i,
  input  logic        sbr_we_i,
  input  logic [3:0]  sbr_be_i,
  input  logic [31:0] sbr_wdata_i,
  output logic        sbr_rvalid_o,
  output logic [31:0] sbr_rdata_o,
  output logic        sbr_err_o,
  // OBI manager.
  output logic        mgr_req_o,
  input  logic        mgr_gnt_i,
  output logic [31:0] mgr_addr_o,
  output logic        mgr_we_o,
  output logic [3:0]  mgr_be_o,
  output logic [31:0] mgr_wdata_o,
  input  logic        mgr_rvalid_i,
  input  logic [31:0] mgr_rdata_i,
  input  logic        mgr_err_i,
  output logic        irq_o,
  // For observers: {an access is under way, the DMA is busy, the engine runs}.
  output logic [2:0]  busy_o
);
  localparam int unsigned BlockBits  = weight_block_bits(Unit, Lanes, Block, Slots, SlotBits, Positions, WeightBits,
                                                         Lanes8, Lanes4);
  localparam int unsigned WordBits   = BlockBits / WeightParts;
  localparam int unsigned ActBits    = 8 * Block;

  intarsia_registers__in_t  from_hardware;
  intarsia_registers__out_t registers;

  // The engine is reset by a flip-flop: no glitch can. The DMA ends its transfer as the bus demands.
  logic engine_rst_nq, abort, engine_runs, engine_busy, ended_q, done_q, finished, fault, overrun, layer_done, start;
  logic timeout, asked, dma_asked, dma_busy, idle;
  // A run has ended; one cycle later it is known whether its last access went beyond a memory. Then the engine is reset:
  // a damaged program may leave loads and steps under way that the next one would take for its own.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      engine_rst_nq <= 1'b0;
      ended_q <= 1'b0;
      done_q <= 1'b0;
    end else begin
      engine_rst_nq <= !abort && !ended_q;
      ended_q <= finished;
      done_q <= finished && !fault && !timeout && !overrun;
    end
  end
  assign engine_busy = engine_runs || ended_q;
  // What an access may need: nothing else uses the memories, and the engine is not being reset.
  assign idle = !engine_busy && !dma_busy && engine_rst_nq;

  // Bus. One access at a time; that of a memory's word for reading takes two cycles.
  typedef enum logic [1:0] {Ready, Answer, Read} state_e;
  state_e      state_q;
  logic        accept, to_registers, to_memory, allowed, locked, in_memory, error_q, memory_read;
  logic [3:0]  region;
  logic [19:0] offset;
  logic [31:0] answer_q, register_data, engine_rdata;
  logic        register_error, engine_rvalid, register_read_error, register_write_error, read_ack, write_ack;
  assign region = sbr_addr_i[25:22];
  assign offset = sbr_addr_i[21:2];
  assign sbr_gnt_o = state_q != Read && engine_rst_nq && !registers.CONTROL.abort.value;
  assign accept = sbr_req_i && sbr_gnt_o;
  assign to_registers = accept && region == '0;
  assign to_memory = accept && region != '0;
  always_comb begin
    unique case (region)
      RegionActivations: in_memory = 32'(offset) < bus_words(ActBits) * ActDepth;
      RegionWeights:     in_memory = sbr_we_i && 32'(offset) < bus_words(WordBits) * WeightDepth;
      RegionProgram:     in_memory = sbr_we_i && 32'(offset) < ProgramDepth;
      default:           in_memory = 1'b0;
    endcase
  end
  // A start that has been written takes effect one cycle later.
  assign allowed = to_memory && in_memory && sbr_be_i == '1 && idle && !asked && !dma_asked;
  assign locked = sbr_we_i && offset[4] && (dma_busy || dma_asked);
  assign memory_read = allowed && !sbr_we_i;
  assign register_error = register_read_error || register_write_error;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) state_q <= Ready;
    else if (memory_read) state_q <= Read;
    else if (accept) state_q <= Answer;
    else if (state_q != Read || engine_rvalid) state_q <= Ready;
  end
  always_ff @(posedge clk_i) begin
    error_q <= to_registers ? register_error : !allowed;
    answer_q <= to_registers ? register_data : '0;
  end
  assign sbr_rvalid_o = state_q == Answer || (state_q == Read && engine_rvalid);
  assign sbr_rdata_o = state_q == Read ? engine_rdata : answer_q;
  assign sbr_err_o = state_q == Answer && error_q;

  logic [1:0] stall;
  intarsia_registers u_registers (
    .clk(clk_i),
    .arst_n(rst_ni),
    .s_cpuif_req(to_registers),
    .s_cpuif_req_is_wr(sbr_we_i),
    // Registers end before the address space does: the last address is that of none.
    .s_cpuif_addr(offset[19:5] == '0 && !locked ? {offset[4:0], 2'b00} : 7'h7c),
    .s_cpuif_wr_data(sbr_wdata_i),
    .s_cpuif_wr_biten({{8{sbr_be_i[3]}}, {8{sbr_be_i[2]}}, {8{sbr_be_i[1]}}, {8{sbr_be_i[0]}}}),
    .s_cpuif_req_stall_wr(stall[0]),
    .s_cpuif_req_stall_rd(stall[1]),
    .s_cpuif_rd_ack(read_ack),
    .s_cpuif_rd_err(register_read_error),
    .s_cpuif_rd_data(register_data),
    .s_cpuif_wr_ack(write_ack),
    .s_cpuif_wr_err(register_write_error),
    .hwif_in(from_hardware),
    .hwif_out(registers)
  );

  // Start, watchdog, counters.
  logic        dma_start, dma_done, dma_bus_error, dma_range_error, same_build, same_check;
  logic [31:0] cycles_q, check_q;
  logic [15:0] layers_q;
  assign asked = registers.CONTROL.start.value;
  assign same_build = registers.PROGRAM_BUILD.fingerprint.value == Build;
  assign same_check = registers.PROGRAM_CHECK.crc.value == ~check_q;
  assign start = asked && idle && same_build && same_check;
  assign timeout = engine_runs && cycles_q >= registers.LIMIT.cycles.value;
  assign abort = registers.CONTROL.abort.value || timeout || overrun;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      cycles_q <= '0;
      layers_q <= '0;
    end else if (start) begin
      cycles_q <= '0;
      layers_q <= '0;
    end else if (engine_runs) begin
      if (!timeout) cycles_q <= cycles_q + 32'd1;
      layers_q <= layers_q + 16'(layer_done);
    end
  end

  // Memories of the engine.
  logic        engine_req, engine_we, dma_req, dma_we;
  logic [23:0] engine_addr, dma_addr;
  logic [31:0] engine_wdata, dma_wdata;
  assign engine_req = dma_busy ? dma_req : allowed;
  assign engine_we = dma_busy ? dma_we : sbr_we_i;
  assign engine_addr = dma_busy ? dma_addr : {region, offset};
  assign engine_wdata = dma_busy ? dma_wdata : sbr_wdata_i;
  function automatic logic [31:0] crc32(input logic [31:0] crc, input logic [31:0] data);
    logic [31:0] value;
    value = crc ^ data;
    for (int unsigned i = 0; i < 32; i++) value = (value >> 1) ^ (value[0] ? 32'hedb88320 : '0);
    return value;
  endfunction
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) check_q <= '1;
    else if (registers.CONTROL.check_restart.value) check_q <= '1;
    else if (engine_req && engine_we && engine_addr[23:20] != RegionActivations) check_q <= crc32(check_q, engine_wdata);
  end

  logic unused_step;
  logic [4:0] unused_accesses;
  intarsia_engine #(
    .Unit(Unit), .Slots(Slots), .SlotBits(SlotBits), .PlaneShiftBits(PlaneShiftBits), .Positions(Positions),
    .Places(Places), .WeightBits(WeightBits), .WeightDigits(WeightDigits), .Lanes8(Lanes8), .Lanes4(Lanes4),
    .LeastBits(LeastBits), .Quadrants(Quadrants), .Lanes(Lanes), .Block(Block), .ScaleBits(ScaleBits),
    .BiasBits(BiasBits), .ResidualBits(ResidualBits), .ResidualShiftBits(ResidualShiftBits), .AccBits(AccBits),
    .AccSlots(AccSlots), .RequantLanes(RequantLanes), .WeightParts(WeightParts), .ActBanks(ActBanks),
    .ActDepth(ActDepth), .WeightDepth(WeightDepth), .ProgramDepth(ProgramDepth)
  ) u_engine (
    .clk_i, .rst_ni(engine_rst_nq),
    .start_i(start), .busy_o(engine_runs), .finished_o(finished), .fault_o(fault), .overrun_o(overrun),
    .req_i(engine_req), .we_i(engine_we), .addr_i(engine_addr), .wdata_i(engine_wdata),
    .rvalid_o(engine_rvalid), .rdata_o(engine_rdata),
    .layer_done_o(layer_done), .accesses_o(unused_accesses), .step_o(unused_step)
  );

  // DMA.
  assign dma_asked = registers.DMA_CONTROL.start.value;
  assign dma_start = dma_asked && idle;
  intarsia_dma #(
    .ActBits(ActBits), .WeightBits(WordBits), .ActDepth(ActDepth), .WeightDepth(WeightDepth), .ProgramDepth(ProgramDepth)
  ) u_dma (
    .clk_i, .rst_ni, .start_i(dma_start), .stop_i(abort), .registers_i(registers), .busy_o(dma_busy), .done_o(dma_done),
    .bus_error_o(dma_bus_error), .range_error_o(dma_range_error),
    .req_o(mgr_req_o), .gnt_i(mgr_gnt_i), .addr_o(mgr_addr_o), .we_o(mgr_we_o), .be_o(mgr_be_o), .wdata_o(mgr_wdata_o),
    .rvalid_i(mgr_rvalid_i), .rdata_i(mgr_rdata_i), .err_i(mgr_err_i),
    .engine_req_o(dma_req), .engine_we_o(dma_we), .engine_addr_o(dma_addr), .engine_wdata_o(dma_wdata),
    .engine_rvalid_i(engine_rvalid), .engine_rdata_i(engine_rdata)
  );

  always_comb begin
    from_hardware.BUILD.fingerprint.next = Build;
    from_hardware.STATUS.busy.next = engine_busy || asked;
    from_hardware.STATUS.done.hwset = done_q && !overrun;
    from_hardware.STATUS.dma_busy.next = dma_busy || dma_asked;
    from_hardware.STATUS.dma_done.hwset = dma_done;
    from_hardware.ERROR.version.hwset = asked && !same_build;
    from_hardware.ERROR.check.hwset = asked && same_build && !same_check;
    from_hardware.ERROR.layer.hwset = fault;
    from_hardware.ERROR.overrun.hwset = overrun;
    from_hardware.ERROR.timeout.hwset = timeout;
    from_hardware.ERROR.start.hwset = asked && !idle;
    from_hardware.ERROR.access.hwset = (to_memory && !allowed) || (to_registers && register_error);
    from_hardware.ERROR.bus.hwset = dma_bus_error;
    from_hardware.ERROR.dma.hwset = dma_range_error || (dma_asked && !dma_start);
    from_hardware.CYCLES.cycles.next = cycles_q;
    from_hardware.LAYERS.layers.next = layers_q;
    from_hardware.CHECK.crc.next = ~check_q;
  end
  logic any_error;
  assign any_error = registers.ERROR.version.value || registers.ERROR.check.value || registers.ERROR.layer.value ||
                     registers.ERROR.overrun.value || registers.ERROR.timeout.value || registers.ERROR.start.value ||
                     registers.ERROR.access.value || registers.ERROR.bus.value || registers.ERROR.dma.value;
  assign irq_o = (registers.INTERRUPT_ENABLE.done.value && registers.STATUS.done.value) ||
                 (registers.INTERRUPT_ENABLE.dma_done.value && registers.STATUS.dma_done.value) ||
                 (registers.INTERRUPT_ENABLE.error.value && any_error);
  assign busy_o = {state_q != Ready, dma_busy, engine_runs};

  logic unused;
  assign unused = ^{unused_accesses, unused_step, stall, read_ack, write_ack, sbr_addr_i[1:0]};

`ifndef SYNTHESIS
  // OBI: a request stays as it is until it is granted; each granted one gets one response, in order, and nothing else
  // does. The a_… of the system's part tell of a fault outside.
  logic [2:0] sbr_open_q, mgr_open_q; // granted and not answered
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) {sbr_open_q, mgr_open_q} <= '0;
    else begin
      sbr_open_q <= sbr_open_q + 3'(accept) - 3'(sbr_rvalid_o);
      mgr_open_q <= mgr_open_q + 3'(mgr_req_o && mgr_gnt_i) - 3'(mgr_rvalid_i);
    end
  end
  a_sbr_request: assert property (@(posedge clk_i) disable iff (!rst_ni) sbr_req_i && !sbr_gnt_o |=>
      sbr_req_i && $stable(sbr_addr_i) && $stable(sbr_we_i) && $stable(sbr_be_i) &&
      ($stable(sbr_wdata_i) || !sbr_we_i))
  else $error("the system changed or took back a request before it was granted");
  a_sbr_response: assert property (@(posedge clk_i) disable iff (!rst_ni) sbr_open_q == 3'(sbr_rvalid_o || state_q == Read))
  else $error("a response without a request, or none");
  a_sbr_error: assert property (@(posedge clk_i) disable iff (!rst_ni) sbr_err_o |-> sbr_rvalid_o)
  else $error("an error without a response");
  a_mgr_request: assert property (@(posedge clk_i) disable iff (!rst_ni) mgr_req_o && !mgr_gnt_i |=>
      mgr_req_o && $stable(mgr_addr_o) && $stable(mgr_we_o) && $stable(mgr_be_o) && ($stable(mgr_wdata_o) || !mgr_we_o))
  else $error("the DMA changed or took back a request before it was granted");
  a_mgr_aligned: assert property (@(posedge clk_i) disable iff (!rst_ni) mgr_req_o |-> mgr_addr_o[1:0] == '0)
  else $error("an address that is not a multiple of 4");
  a_mgr_response: assert property (@(posedge clk_i) disable iff (!rst_ni) mgr_rvalid_i |-> mgr_open_q != '0)
  else $error("the system answered what was not asked");
  a_mgr_idle: assert property (@(posedge clk_i) disable iff (!rst_ni) !dma_busy |-> !mgr_req_o && mgr_open_q == '0)
  else $error("the DMA ended before its last response");
  a_reset: assert property (@(posedge clk_i) disable iff (!rst_ni) state_q == Read |-> engine_rst_nq)
  else $error("the engine was reset while a memory was read");
  c_wait: cover property (@(posedge clk_i) disable iff (!rst_ni) sbr_req_i && !sbr_gnt_o && state_q != Read);
  c_late: cover property (@(posedge clk_i) disable iff (!rst_ni) done_q && overrun);
`endif
endmodule
