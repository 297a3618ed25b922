// SPDX-License-Identifier: Apache-2.0
// A small RISC-V system around the accelerator: processor, two RAM banks, UART, timer, system control.
//
//   0x0000_0000  code bank: CodeBytes of RAM      0x4000_0000  UART
//   0x1000_0000  data bank: DataBytes of RAM      0x4000_1000  timer
//   0x8000_0000  accelerator (64 MiB)             0x4000_2000  system control
//
// All other addresses are answered with err. Managers of the crossbar are the processor's data port (of PicoRV32, for
// instructions, too), its instruction port (Ibex only) and the accelerator's DMA; they work in parallel unless they meet
// at a bank. Instruction port and DMA reach the RAM banks only.
//
// There is one clock. rst_ni may fall and rise in any phase: the reset is asserted at once and released with the clock
// (intarsia_reset). RAM keeps its content, and holds the program when the reset is released.
//
// Parameters:
//   Core                  0, PicoRV32; 1, Ibex.
//   CodeBytes, DataBytes  size of the RAM banks (64 to 4194304, a multiple of 4).
//   UartDivisor           clock cycles per bit of the UART (1 to 65535).
//   Accelerator           1; or 0: there is none, its addresses are answered with err.
//   all others            of the accelerator, see intarsia_engine.
// Latency: execution begins three cycles after the release of the reset.
module intarsia_soc #(
  parameter int unsigned Core              = 0,
  parameter int unsigned CodeBytes         = 131072,
  parameter int unsigned DataBytes         = 131072,
  parameter int unsigned UartDivisor       = 217,
  parameter int unsigned Accelerator       = 1,
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
  output logic        uart_tx_o,
  // For observers: a byte is written to the UART; the program exits with a code or sets a mark, both with value_o; the
  // processor has stopped for good; the accelerator is busy (see intarsia_accelerator); in this
  // cycle {the DMA, the instruction port, the data port} waits: a request is not granted, or a response is late.
  output logic        uart_valid_o,
  output logic [7:0]  uart_data_o,
  output logic        exit_valid_o,
  output logic        mark_valid_o,
  output logic [31:0] value_o,
  output logic        trap_o,
  output logic [2:0]  busy_o,
  output logic [2:0]  wait_o
);
  if (Core > 1) begin : gen_bad_core
    $error("intarsia_soc: Core must be 0 (PicoRV32) or 1 (Ibex)");
  end
  if (Accelerator > 1) begin : gen_bad_accelerator
    $error("intarsia_soc: Accelerator must be 0 or 1");
  end

  // Managers and subordinates of the crossbar.
  localparam int unsigned Data        = 0;
  localparam int unsigned Instr       = 1;
  localparam int unsigned Dma         = 2;
  localparam int unsigned CodeBank    = 0;
  localparam int unsigned DataBank    = 1;
  localparam int unsigned Peripherals = 2;
  localparam int unsigned Engine      = 3;
  localparam logic [3:0][31:0] Base = {32'h8000_0000, 32'h4000_0000, 32'h1000_0000, 32'h0000_0000};
  localparam logic [3:0][31:0] Mask = {32'hFC00_0000, 32'hFFFF_0000, 32'hF000_0000, 32'hF000_0000};
  // Instructions are fetched from RAM only, and DMA takes no part in peripherals; see intarsia_obi_crossbar for loops.
  localparam logic [2:0][3:0] Reach = {4'b0011, 4'b0011, 4'b1111};

  logic rst_n;
  intarsia_reset u_reset (.clk_i, .rst_ni, .rst_no(rst_n));

  logic [2:0]       mgr_req, mgr_gnt, mgr_we, mgr_rvalid, mgr_err;
  logic [2:0][31:0] mgr_addr, mgr_wdata, mgr_rdata;
  logic [2:0][3:0]  mgr_be;
  logic [3:0]       sbr_req, sbr_gnt, sbr_we, sbr_rvalid, sbr_err;
  logic [3:0][31:0] sbr_addr, sbr_wdata, sbr_rdata;
  logic [3:0][3:0]  sbr_be;
  intarsia_obi_crossbar #(.Managers(3), .Subordinates(4), .Base(Base), .Mask(Mask), .Reach(Reach)) u_crossbar (
    .clk_i, .rst_ni(rst_n),
    .mgr_req_i(mgr_req), .mgr_gnt_o(mgr_gnt), .mgr_addr_i(mgr_addr), .mgr_we_i(mgr_we), .mgr_be_i(mgr_be),
    .mgr_wdata_i(mgr_wdata), .mgr_rvalid_o(mgr_rvalid), .mgr_rdata_o(mgr_rdata), .mgr_err_o(mgr_err),
    .sbr_req_o(sbr_req), .sbr_gnt_i(sbr_gnt), .sbr_addr_o(sbr_addr), .sbr_we_o(sbr_we), .sbr_be_o(sbr_be),
    .sbr_wdata_o(sbr_wdata), .sbr_rvalid_i(sbr_rvalid), .sbr_rdata_i(sbr_rdata), .sbr_err_i(sbr_err)
  );

  // The processor.
  logic        timer_irq, accelerator_irq, error;
  logic [31:0] error_addr;
  assign {mgr_we[Instr], mgr_be[Instr], mgr_wdata[Instr]} = {1'b0, 4'hF, 32'd0};
  if (Core == 0) begin : gen_picorv32
    intarsia_picorv32 u_core (
      .clk_i, .rst_ni(rst_n), .req_o(mgr_req[Data]), .gnt_i(mgr_gnt[Data]), .addr_o(mgr_addr[Data]),
      .we_o(mgr_we[Data]), .be_o(mgr_be[Data]), .wdata_o(mgr_wdata[Data]), .rvalid_i(mgr_rvalid[Data]),
      .rdata_i(mgr_rdata[Data]), .err_i(mgr_err[Data]), .irq_timer_i(timer_irq), .irq_external_i(accelerator_irq),
      .error_o(error), .error_addr_o(error_addr), .trap_o
    );
    assign {mgr_req[Instr], mgr_addr[Instr]} = '0;
    logic unused;
    assign unused = ^{mgr_gnt[Instr], mgr_rvalid[Instr], mgr_rdata[Instr], mgr_err[Instr]};
  end else begin : gen_ibex
    intarsia_ibex u_core (
      .clk_i, .rst_ni(rst_n), .instr_req_o(mgr_req[Instr]), .instr_gnt_i(mgr_gnt[Instr]),
      .instr_addr_o(mgr_addr[Instr]), .instr_rvalid_i(mgr_rvalid[Instr]), .instr_rdata_i(mgr_rdata[Instr]),
      .instr_err_i(mgr_err[Instr]),
      .data_req_o(mgr_req[Data]), .data_gnt_i(mgr_gnt[Data]), .data_addr_o(mgr_addr[Data]), .data_we_o(mgr_we[Data]),
      .data_be_o(mgr_be[Data]), .data_wdata_o(mgr_wdata[Data]), .data_rvalid_i(mgr_rvalid[Data]),
      .data_rdata_i(mgr_rdata[Data]), .data_err_i(mgr_err[Data]),
      .irq_timer_i(timer_irq), .irq_external_i(accelerator_irq), .double_fault_o(trap_o)
    );
    assign {error, error_addr} = '0;
  end

  // Memories and peripherals.
  intarsia_obi_ram #(.Bytes(CodeBytes), .RegionBits(28)) u_code (
    .clk_i, .rst_ni(rst_n), .req_i(sbr_req[CodeBank]), .gnt_o(sbr_gnt[CodeBank]), .addr_i(sbr_addr[CodeBank][27:0]),
    .we_i(sbr_we[CodeBank]), .be_i(sbr_be[CodeBank]), .wdata_i(sbr_wdata[CodeBank]), .rvalid_o(sbr_rvalid[CodeBank]),
    .rdata_o(sbr_rdata[CodeBank]), .err_o(sbr_err[CodeBank])
  );
  intarsia_obi_ram #(.Bytes(DataBytes), .RegionBits(28)) u_data (
    .clk_i, .rst_ni(rst_n), .req_i(sbr_req[DataBank]), .gnt_o(sbr_gnt[DataBank]), .addr_i(sbr_addr[DataBank][27:0]),
    .we_i(sbr_we[DataBank]), .be_i(sbr_be[DataBank]), .wdata_i(sbr_wdata[DataBank]), .rvalid_o(sbr_rvalid[DataBank]),
    .rdata_o(sbr_rdata[DataBank]), .err_o(sbr_err[DataBank])
  );
  intarsia_peripherals #(.Core(Core), .UartDivisor(UartDivisor)) u_peripherals (
    .clk_i, .rst_ni(rst_n), .req_i(sbr_req[Peripherals]), .gnt_o(sbr_gnt[Peripherals]),
    .addr_i(sbr_addr[Peripherals][15:0]), .we_i(sbr_we[Peripherals]), .be_i(sbr_be[Peripherals]),
    .wdata_i(sbr_wdata[Peripherals]), .rvalid_o(sbr_rvalid[Peripherals]), .rdata_o(sbr_rdata[Peripherals]),
    .err_o(sbr_err[Peripherals]),
    .uart_tx_o, .uart_valid_o, .uart_data_o, .timer_irq_o(timer_irq), .error_i(error), .error_addr_i(error_addr),
    .exit_valid_o, .mark_valid_o, .value_o
  );

  if (Accelerator == 1) begin : gen_accelerator
    intarsia_accelerator #(
      .Build(Build),
      .Unit(Unit), .Slots(Slots), .SlotBits(SlotBits), .PlaneShiftBits(PlaneShiftBits), .Positions(Positions),
      .Places(Places), .WeightBits(WeightBits), .WeightDigits(WeightDigits), .Lanes8(Lanes8), .Lanes4(Lanes4),
      .LeastBits(LeastBits), .Quadrants(Quadrants), .Lanes(Lanes), .Block(Block), .ScaleBits(ScaleBits),
      .BiasBits(BiasBits), .ResidualBits(ResidualBits), .ResidualShiftBits(ResidualShiftBits),
      .AccBits(AccBits), .AccSlots(AccSlots), .RequantLanes(RequantLanes), .WeightParts(WeightParts),
      .ActBanks(ActBanks), .ActDepth(ActDepth), .WeightDepth(WeightDepth), .ProgramDepth(ProgramDepth)
    ) u_accelerator (
      .clk_i, .rst_ni(rst_n),
      .sbr_req_i(sbr_req[Engine]), .sbr_gnt_o(sbr_gnt[Engine]), .sbr_addr_i(sbr_addr[Engine][25:0]),
      .sbr_we_i(sbr_we[Engine]), .sbr_be_i(sbr_be[Engine]), .sbr_wdata_i(sbr_wdata[Engine]),
      .sbr_rvalid_o(sbr_rvalid[Engine]), .sbr_rdata_o(sbr_rdata[Engine]), .sbr_err_o(sbr_err[Engine]),
      .mgr_req_o(mgr_req[Dma]), .mgr_gnt_i(mgr_gnt[Dma]), .mgr_addr_o(mgr_addr[Dma]), .mgr_we_o(mgr_we[Dma]),
      .mgr_be_o(mgr_be[Dma]), .mgr_wdata_o(mgr_wdata[Dma]), .mgr_rvalid_i(mgr_rvalid[Dma]),
      .mgr_rdata_i(mgr_rdata[Dma]), .mgr_err_i(mgr_err[Dma]),
      .irq_o(accelerator_irq), .busy_o
    );
  end else begin : gen_no_accelerator
    logic rvalid_q;
    always_ff @(posedge clk_i or negedge rst_n) begin
      if (!rst_n) rvalid_q <= 1'b0;
      else rvalid_q <= sbr_req[Engine];
    end
    assign {sbr_gnt[Engine], sbr_rvalid[Engine], sbr_rdata[Engine], sbr_err[Engine]} = {1'b1, rvalid_q, 32'd0, 1'b1};
    assign {mgr_req[Dma], mgr_addr[Dma], mgr_we[Dma], mgr_be[Dma], mgr_wdata[Dma]} = '0;
    assign {accelerator_irq, busy_o} = '0;
    logic unused_accelerator;
    assign unused_accelerator = ^{sbr_we[Engine], sbr_be[Engine], sbr_wdata[Engine], mgr_gnt[Dma], mgr_rvalid[Dma],
                                  mgr_rdata[Dma], mgr_err[Dma]};
  end

  logic [2:0] awaited_q;
  always_ff @(posedge clk_i or negedge rst_n) begin
    if (!rst_n) awaited_q <= '0;
    else awaited_q <= (mgr_req & mgr_gnt) | (awaited_q & ~mgr_rvalid);
  end
  assign wait_o = (mgr_req & ~mgr_gnt) | (awaited_q & ~mgr_rvalid);

  logic unused_addr;
  assign unused_addr = ^{sbr_addr[CodeBank][31:28], sbr_addr[DataBank][31:28], sbr_addr[Peripherals][31:16],
                         sbr_addr[Engine]};
endmodule
