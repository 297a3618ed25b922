// SPDX-License-Identifier: Apache-2.0
// UART transmitter: 8 data bits, no parity, one stop bit. One byte can wait while another is sent.
//
// Registers: DATA (0x0, write: sends the low byte; refused with err while STATUS is 0), STATUS (0x4, bit 0: a byte can
// be written). valid_o and data_o show each byte when it is written, for simulation.
//
// Parameters:
//   Divisor   clock cycles per bit (1 to 65535).
// Latency: the start bit begins two cycles after the write if the line is idle; a byte takes 10 × Divisor cycles.
module intarsia_uart #(
  parameter int unsigned Divisor
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  // Registers (intarsia_peripherals).
  input  logic        req_i,
  input  logic        we_i,
  input  logic [11:0] addr_i,
  input  logic [31:0] wdata_i,
  output logic [31:0] rdata_o,
  output logic        err_o,
  // The line, and a tap of what is written.
  output logic        tx_o,
  output logic        valid_o,
  output logic [7:0]  data_o
);
  if (Divisor < 1 || Divisor > 65535) begin : gen_bad_divisor
    $error("intarsia_uart: Divisor must be 1 to 65535");
  end

  localparam logic [11:0] Data   = 12'h0;
  localparam logic [11:0] Status = 12'h4;

  logic        full_q, write, take;
  logic [7:0]  data_q;
  logic [9:0]  shift_q;  // stop bit, data, start bit; the line is its bit 0
  logic [3:0]  left_q;   // bits still to send
  logic [15:0] count_q;  // cycles left of this bit
  assign write = req_i && we_i && addr_i == Data && !full_q;
  assign take = full_q && left_q == '0;
  assign err_o = !((addr_i == Data && we_i && !full_q) || (addr_i == Status && !we_i));
  assign rdata_o = {31'd0, addr_i == Status && !full_q};
  assign tx_o = shift_q[0];
  assign valid_o = write;
  assign data_o = wdata_i[7:0];
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      full_q <= 1'b0;
      shift_q <= '1;
      left_q <= '0;
      count_q <= '0;
    end else begin
      full_q <= write || (full_q && !take);
      if (take) begin
        shift_q <= {1'b1, data_q, 1'b0};
        left_q <= 4'd10;
        count_q <= 16'(Divisor - 1);
      end else if (left_q != '0) begin
        count_q <= count_q == '0 ? 16'(Divisor - 1) : count_q - 16'd1;
        if (count_q == '0) begin
          left_q <= left_q - 4'd1;
          shift_q <= {1'b1, shift_q[9:1]};
        end
      end
    end
  end
  always_ff @(posedge clk_i) begin
    if (write) data_q <= wdata_i[7:0];
  end

  logic unused;
  assign unused = ^wdata_i;
endmodule
