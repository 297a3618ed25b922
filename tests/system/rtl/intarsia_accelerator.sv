// SPDX-License-Identifier: Apache-2.0
// Stands for the accelerator in tests of the system: scratch words, a subordinate that denies and delays, a small DMA.
//
// Words at 0x00 (SCRATCH), 0x04 (SOURCE, an address), 0x08 (COUNT: a write starts the DMA, which adds up that many
// words from SOURCE on), 0x0C (SUM), 0x10 (IRQ: 1 if the DMA has finished, a write clears it), 0x14 (ERRORS of the
// DMA). Other addresses are answered with err. A request is denied for one cycle, answered two cycles after the grant.
//
// Parameters: as intarsia_engine; without effect.
// Latency: two cycles from grant to answer.
module intarsia_accelerator #(
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
  // OBI manager: DMA.
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
  output logic [2:0]  busy_o
);
  logic        gnt_q, answer_q, rvalid_q, err_q, irq_q;
  logic [31:0] scratch_q, source_q, left_q, awaited_q, sum_q, errors_q, rdata_q;
  logic        write;
  assign sbr_gnt_o = gnt_q;
  assign write = sbr_req_i && gnt_q && sbr_we_i && sbr_be_i == '1;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {gnt_q, answer_q, rvalid_q, err_q, irq_q} <= '0;
      {scratch_q, source_q, left_q, awaited_q, sum_q, errors_q, rdata_q} <= '0;
    end else begin
      gnt_q <= sbr_req_i && !gnt_q;
      answer_q <= sbr_req_i && gnt_q;
      rvalid_q <= answer_q;
      if (sbr_req_i && gnt_q) begin
        err_q <= 1'b0;
        rdata_q <= '0;
        unique case (sbr_addr_i)
          26'h00:  rdata_q <= scratch_q;
          26'h04:  rdata_q <= source_q;
          26'h08:  rdata_q <= left_q;
          26'h0C:  rdata_q <= sum_q;
          26'h10:  rdata_q <= {31'd0, irq_q};
          26'h14:  rdata_q <= errors_q;
          default: err_q <= 1'b1;
        endcase
      end
      if (mgr_req_o && mgr_gnt_i) begin
        left_q <= left_q - 32'd1;
        source_q <= source_q + 32'd4;
      end
      if (mgr_rvalid_i) begin
        awaited_q <= awaited_q - 32'd1;
        sum_q <= sum_q + mgr_rdata_i;
        errors_q <= errors_q + 32'(mgr_err_i);
        if (awaited_q == 32'd1) irq_q <= 1'b1;
      end
      if (write) begin
        if (sbr_addr_i == 26'h00) scratch_q <= sbr_wdata_i;
        if (sbr_addr_i == 26'h04) source_q <= sbr_wdata_i;
        if (sbr_addr_i == 26'h08) begin
          left_q <= sbr_wdata_i;
          awaited_q <= sbr_wdata_i;
          {sum_q, errors_q} <= '0;
        end
        if (sbr_addr_i == 26'h10) irq_q <= 1'b0;
      end
    end
  end
  assign sbr_rvalid_o = rvalid_q;
  assign sbr_rdata_o = rdata_q;
  assign sbr_err_o = err_q;
  assign mgr_req_o = left_q != '0;
  assign mgr_addr_o = source_q;
  assign {mgr_we_o, mgr_be_o, mgr_wdata_o} = {1'b0, 4'hF, 32'd0};
  assign irq_o = irq_q;
  assign busy_o = {1'b0, awaited_q != '0, 1'b0};

  localparam int unsigned Unused [27] = '{
    Build, Unit, Slots, SlotBits, PlaneShiftBits, Positions, Places, WeightBits, WeightDigits, Lanes8,
    Lanes4, LeastBits, Quadrants, Lanes, Block, ScaleBits, BiasBits, ResidualBits,
    ResidualShiftBits, AccBits, AccSlots, RequantLanes, WeightParts, ActBanks, ActDepth,
    WeightDepth, ProgramDepth
  };
  logic unused;
  assign unused = ^Unused[0];
endmodule
