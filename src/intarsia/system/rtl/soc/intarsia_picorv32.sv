// SPDX-License-Identifier: Apache-2.0
// PicoRV32 (RV32IMC) with one OBI manager for instructions and data.
//
// Requests come from the core's look-ahead outputs, one cycle before its native request, so a memory that answers in
// the next cycle costs no wait state; a request that is not granted then is repeated from the native one.
//
// The core knows no bus errors. A data access that is answered with err reads as 0, and interrupt 5 is raised: the
// handler runs before the next instruction. An instruction that is fetched with err reads as 0, an illegal instruction
// (interrupt 1 if it is executed). Interrupts: 1, illegal instruction or ebreak; 2, misaligned access; 3, timer; 4,
// external (both while the line is high); 5, bus error. With interrupts 1 and 2 masked, or in the handler, their causes
// stop the core for good (trap_o).
//
// Configuration: one-cycle shifts, multiplier of one cycle latency, divider, 64-bit counters, compressed instructions.
// Execution begins at 0x80, interrupts at 0x00. The core is reset with the clock: rst_ni low for a cycle or more.
// Latency: none is added.
module intarsia_picorv32 (
  input  logic        clk_i,
  input  logic        rst_ni,
  // OBI manager.
  output logic        req_o,
  input  logic        gnt_i,
  output logic [31:0] addr_o,
  output logic        we_o,
  output logic [3:0]  be_o,
  output logic [31:0] wdata_o,
  input  logic        rvalid_i,
  input  logic [31:0] rdata_i,
  input  logic        err_i,
  // Interrupt lines.
  input  logic        irq_timer_i,
  input  logic        irq_external_i,
  // A data access was answered with err.
  output logic        error_o,
  output logic [31:0] error_addr_o,
  // The core has stopped until the next reset.
  output logic        trap_o
);
  localparam logic [31:0] Used   = 32'h0000_003E;  // interrupts 1 to 5
  localparam logic [31:0] Levels = 32'h0000_0018;  // interrupts that are lines, not pulses

  logic        valid, instruction, early, early_read, early_write;
  logic [31:0] address, wdata, early_address, early_wdata;
  logic [3:0]  strobes, early_strobes;
  logic        pending_q;
  assign early = early_read || early_write;
  assign req_o = early || (valid && !pending_q);
  assign addr_o = early ? early_address : address;
  assign we_o = early ? early_write : strobes != '0;
  assign be_o = !we_o ? '1 : early ? early_strobes : strobes;
  assign wdata_o = early ? early_wdata : wdata;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) pending_q <= 1'b0;
    else pending_q <= (req_o && gnt_i) || (pending_q && !rvalid_i);
  end
  assign error_o = rvalid_i && err_i && !instruction;
  assign error_addr_o = address;

  logic [31:0] pcpi_rs1, pcpi_rs2, pcpi_insn, eoi;
  logic        pcpi_valid, trace_valid;
  logic [35:0] trace_data;
  picorv32 #(
    .BARREL_SHIFTER(1'b1), .COMPRESSED_ISA(1'b1), .ENABLE_FAST_MUL(1'b1), .ENABLE_DIV(1'b1),
    .ENABLE_IRQ(1'b1), .ENABLE_IRQ_TIMER(1'b0), .MASKED_IRQ(~Used), .LATCHED_IRQ(~Levels),
    .PROGADDR_RESET(32'h80), .PROGADDR_IRQ(32'h0)
  ) u_core (
    .clk(clk_i), .resetn(rst_ni), .trap(trap_o),
    .mem_valid(valid), .mem_instr(instruction), .mem_ready(rvalid_i), .mem_addr(address), .mem_wdata(wdata),
    .mem_wstrb(strobes), .mem_rdata(err_i ? '0 : rdata_i),
    .mem_la_read(early_read), .mem_la_write(early_write), .mem_la_addr(early_address), .mem_la_wdata(early_wdata),
    .mem_la_wstrb(early_strobes),
    .pcpi_valid(pcpi_valid), .pcpi_insn(pcpi_insn), .pcpi_rs1(pcpi_rs1), .pcpi_rs2(pcpi_rs2),
    .pcpi_wr(1'b0), .pcpi_rd('0), .pcpi_wait(1'b0), .pcpi_ready(1'b0),
    .irq({26'd0, error_o, irq_external_i, irq_timer_i, 3'd0}), .eoi(eoi),
    .trace_valid(trace_valid), .trace_data(trace_data)
  );

  logic unused;
  assign unused = ^{pcpi_valid, pcpi_insn, pcpi_rs1, pcpi_rs2, eoi, trace_valid, trace_data};

`ifndef SYNTHESIS
  a_answer: assert property (@(posedge clk_i) disable iff (!rst_ni) rvalid_i |-> pending_q && (valid || trap_o))
  else $error("a response that the core does not wait for");
  a_same: assert property (@(posedge clk_i) disable iff (!rst_ni)
      early && !trap_o |=> trap_o || (valid && address == $past(early_address)))
  else $error("the core did not repeat its early request");
`endif
endmodule
