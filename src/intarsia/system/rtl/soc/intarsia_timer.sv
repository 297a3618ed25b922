// SPDX-License-Identifier: Apache-2.0
// Timer of the RISC-V privileged architecture: mtime counts clock cycles; the interrupt is high while
// mtime ≥ mtimecmp. After a reset mtime is 0 and mtimecmp the greatest value, so that no interrupt comes.
//
// Registers: mtime (0x0, high half 0x4; read only), mtimecmp (0x8, high half 0xC).
//
// Latency: irq_o follows mtime and mtimecmp by one cycle.
module intarsia_timer (
  input  logic        clk_i,
  input  logic        rst_ni,
  // Registers (intarsia_peripherals).
  input  logic        req_i,
  input  logic        we_i,
  input  logic [11:0] addr_i,
  input  logic [31:0] wdata_i,
  output logic [31:0] rdata_o,
  output logic        err_o,
  output logic        irq_o
);
  localparam logic [11:0] Time        = 12'h0;
  localparam logic [11:0] TimeHigh    = 12'h4;
  localparam logic [11:0] Compare     = 12'h8;
  localparam logic [11:0] CompareHigh = 12'hC;

  logic [63:0] time_q, compare_q;
  logic        irq_q;
  always_comb begin
    err_o = 1'b0;
    rdata_o = '0;
    unique case (addr_i)
      Time:        {err_o, rdata_o} = {we_i, time_q[31:0]};
      TimeHigh:    {err_o, rdata_o} = {we_i, time_q[63:32]};
      Compare:     rdata_o = compare_q[31:0];
      CompareHigh: rdata_o = compare_q[63:32];
      default:     err_o = 1'b1;
    endcase
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      time_q <= '0;
      compare_q <= '1;
      irq_q <= 1'b0;
    end else begin
      time_q <= time_q + 64'd1;
      irq_q <= time_q >= compare_q;
      if (req_i && we_i && addr_i == Compare) compare_q[31:0] <= wdata_i;
      if (req_i && we_i && addr_i == CompareHigh) compare_q[63:32] <= wdata_i;
    end
  end
  assign irq_o = irq_q;
endmodule
