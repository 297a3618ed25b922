// SPDX-License-Identifier: Apache-2.0
// Ibex (RV32IMC, three stages) with two OBI managers: instructions and data.
//
// A data access that is answered with err is an access-fault exception of its instruction (mcause 5 or 7, mtval its
// address); an instruction fetched with err is one when it is executed (mcause 1). Interrupts: 7, timer; 11, external.
//
// Configuration: one-cycle multiplier, writeback stage, branch target ALU; no cache, memory protection, debug module or
// security hardening. The clock is not gated: in `wfi` the core waits with its clock running. Execution begins at 0x80;
// the vector table, which software may move, is at 0x00. Registers are a small memory, as it suits an FPGA.
// Latency: none is added.
module intarsia_ibex
  import ibex_pkg::*;
(
  input  logic        clk_i,
  input  logic        rst_ni,
  // OBI manager of instructions; it only reads.
  output logic        instr_req_o,
  input  logic        instr_gnt_i,
  output logic [31:0] instr_addr_o,
  input  logic        instr_rvalid_i,
  input  logic [31:0] instr_rdata_i,
  input  logic        instr_err_i,
  // OBI manager of data.
  output logic        data_req_o,
  input  logic        data_gnt_i,
  output logic [31:0] data_addr_o,
  output logic        data_we_o,
  output logic [3:0]  data_be_o,
  output logic [31:0] data_wdata_o,
  input  logic        data_rvalid_i,
  input  logic [31:0] data_rdata_i,
  input  logic        data_err_i,
  // Interrupt lines.
  input  logic        irq_timer_i,
  input  logic        irq_external_i,
  // An exception in the handler of an exception: software has lost control.
  output logic        double_fault_o
);
  logic [4:0]  raddr_a, raddr_b, waddr;
  logic [31:0] rdata_a, rdata_b, wdata;
  logic        we, dummy_id, dummy_wb;

  // The cache is left out; its ports carry nothing.
  logic [IC_TAG_SIZE-1:0]  ic_tags [IC_NUM_WAYS];
  logic [IC_LINE_SIZE-1:0] ic_lines [IC_NUM_WAYS];
  logic [IC_NUM_WAYS-1:0]  ic_tag_req, ic_data_req;
  logic [IC_INDEX_W-1:0]   ic_tag_addr, ic_data_addr;
  logic [IC_TAG_SIZE-1:0]  ic_tag_wdata;
  logic [IC_LINE_SIZE-1:0] ic_data_wdata;
  logic                    ic_tag_write, ic_data_write, ic_key_req;
  for (genvar i = 0; i < IC_NUM_WAYS; i++) begin : gen_no_cache
    assign ic_tags[i] = '0;
    assign ic_lines[i] = '0;
  end

  logic        irq_pending, alert_minor, alert_internal, alert_bus, regfile_err;
  ibex_mubi_t  busy;
  crash_dump_t crash;
  ibex_core #(
    .RV32M(RV32MSingleCycle), .BranchTargetALU(1'b1), .WritebackStage(1'b1), .MHPMCounterNum(0)
  ) u_core (
    .clk_i, .rst_ni, .hart_id_i('0), .boot_addr_i('0),
    .instr_req_o, .instr_gnt_i, .instr_rvalid_i, .instr_addr_o, .instr_rdata_i, .instr_err_i,
    .data_req_o, .data_gnt_i, .data_rvalid_i, .data_we_o, .data_be_o, .data_addr_o, .data_wdata_o, .data_rdata_i,
    .data_err_i,
    .dummy_instr_id_o(dummy_id), .dummy_instr_wb_o(dummy_wb), .rf_raddr_a_o(raddr_a), .rf_raddr_b_o(raddr_b),
    .rf_waddr_wb_o(waddr), .rf_we_wb_o(we), .rf_wdata_wb_ecc_o(wdata), .rf_rdata_a_ecc_i(rdata_a),
    .rf_rdata_b_ecc_i(rdata_b),
    .ic_tag_req_o(ic_tag_req), .ic_tag_write_o(ic_tag_write), .ic_tag_addr_o(ic_tag_addr),
    .ic_tag_wdata_o(ic_tag_wdata), .ic_tag_rdata_i(ic_tags), .ic_data_req_o(ic_data_req),
    .ic_data_write_o(ic_data_write), .ic_data_addr_o(ic_data_addr), .ic_data_wdata_o(ic_data_wdata),
    .ic_data_rdata_i(ic_lines), .ic_scr_key_valid_i(1'b1), .ic_scr_key_req_o(ic_key_req),
    .irq_software_i(1'b0), .irq_timer_i, .irq_external_i, .irq_fast_i('0), .irq_nm_i(1'b0),
    .irq_pending_o(irq_pending),
    .debug_req_i(1'b0), .crash_dump_o(crash), .double_fault_seen_o(double_fault_o),
    .fetch_enable_i(IbexMuBiOn), .alert_minor_o(alert_minor), .alert_major_internal_o(alert_internal),
    .alert_major_bus_o(alert_bus), .core_busy_o(busy)
  );
  ibex_register_file_fpga u_registers (
    .clk_i, .rst_ni, .test_en_i(1'b0), .dummy_instr_id_i(dummy_id), .dummy_instr_wb_i(dummy_wb),
    .raddr_a_i(raddr_a), .rdata_a_o(rdata_a), .raddr_b_i(raddr_b), .rdata_b_o(rdata_b),
    .waddr_a_i(waddr), .wdata_a_i(wdata), .we_a_i(we), .err_o(regfile_err)
  );

  logic unused;
  assign unused = ^{ic_tag_req, ic_data_req, ic_tag_addr, ic_data_addr, ic_tag_wdata, ic_data_wdata, ic_tag_write,
                    ic_data_write, ic_key_req, irq_pending, alert_minor, alert_internal, alert_bus, regfile_err, busy,
                    crash};
endmodule
