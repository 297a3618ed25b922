// SPDX-License-Identifier: Apache-2.0
// The peripherals as one OBI subordinate: UART at 0x0000, timer at 0x1000, system control at 0x2000 of the region.
//
// Registers take and give whole words: a write with other byte enables, an address of no register and a forbidden
// direction are answered with err and have no effect. Each peripheral decodes its 4 KiB itself, answers within the
// cycle of the request, and acts only on a request that is granted.
//
// Parameters:
//   Core          see intarsia_system_control.
//   UartDivisor   clock cycles per bit of the UART (1 to 65535).
// Latency: a request is granted at once and answered in the next cycle.
module intarsia_peripherals #(
  parameter int unsigned Core,
  parameter int unsigned UartDivisor
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        req_i,
  output logic        gnt_o,
  input  logic [15:0] addr_i,
  input  logic        we_i,
  input  logic [3:0]  be_i,
  input  logic [31:0] wdata_i,
  output logic        rvalid_o,
  output logic [31:0] rdata_o,
  output logic        err_o,
  // UART, timer and system control.
  output logic        uart_tx_o,
  output logic        uart_valid_o,
  output logic [7:0]  uart_data_o,
  output logic        timer_irq_o,
  input  logic        error_i,
  input  logic [31:0] error_addr_i,
  output logic        exit_valid_o,
  output logic        mark_valid_o,
  output logic [31:0] value_o
);
  localparam int unsigned Number = 3;

  logic [Number-1:0]       chosen, errors;
  logic [Number-1:0][31:0] data;
  logic                    whole;
  logic [11:0]             offset;
  assign whole = !we_i || be_i == '1;
  assign offset = {addr_i[11:2], 2'b00};
  always_comb begin
    for (int unsigned i = 0; i < Number; i++) chosen[i] = req_i && whole && addr_i[15:12] == 4'(i);
  end

  intarsia_uart #(.Divisor(UartDivisor)) u_uart (
    .clk_i, .rst_ni, .req_i(chosen[0]), .we_i, .addr_i(offset), .wdata_i, .rdata_o(data[0]), .err_o(errors[0]),
    .tx_o(uart_tx_o), .valid_o(uart_valid_o), .data_o(uart_data_o)
  );
  intarsia_timer u_timer (
    .clk_i, .rst_ni, .req_i(chosen[1]), .we_i, .addr_i(offset), .wdata_i, .rdata_o(data[1]), .err_o(errors[1]),
    .irq_o(timer_irq_o)
  );
  intarsia_system_control #(.Core(Core)) u_control (
    .clk_i, .rst_ni, .req_i(chosen[2]), .we_i, .addr_i(offset), .wdata_i, .rdata_o(data[2]), .err_o(errors[2]),
    .error_i, .error_addr_i, .exit_valid_o, .mark_valid_o, .value_o
  );

  logic        rvalid_q, err_q;
  logic [31:0] rdata, rdata_q;
  always_comb begin
    rdata = '0;
    for (int unsigned i = 0; i < Number; i++) begin
      if (chosen[i]) rdata |= data[i];
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      rvalid_q <= 1'b0;
      err_q <= 1'b0;
    end else begin
      rvalid_q <= req_i;
      err_q <= req_i && !(|(chosen & ~errors));
    end
  end
  always_ff @(posedge clk_i) begin
    if (req_i) rdata_q <= rdata;
  end
  assign gnt_o = 1'b1;
  assign rvalid_o = rvalid_q;
  assign rdata_o = rdata_q;
  assign err_o = err_q;

  logic unused;
  assign unused = ^addr_i;
endmodule
