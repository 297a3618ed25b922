// SPDX-License-Identifier: Apache-2.0
// AXI4-Lite subordinate in front of an OBI subordinate.
//
// One transaction at a time: a write, when its address and its data are there, or a read; if both wait, they take turns.
// An error response becomes SLVERR. Protection bits are without effect.
//
// Parameters: AddressBits, bits of the address (3 to 32).
// Latency: an access begins in the cycle in which the last of its parts is there; its response is registered, one cycle
// after the OBI response.
module intarsia_axi_lite #(
  parameter int unsigned AddressBits = 26
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  // AXI4-Lite.
  input  logic                   s_axi_awvalid,
  output logic                   s_axi_awready,
  input  logic [AddressBits-1:0] s_axi_awaddr,
  input  logic [2:0]             s_axi_awprot,
  input  logic                   s_axi_wvalid,
  output logic                   s_axi_wready,
  input  logic [31:0]            s_axi_wdata,
  input  logic [3:0]             s_axi_wstrb,
  output logic                   s_axi_bvalid,
  input  logic                   s_axi_bready,
  output logic [1:0]             s_axi_bresp,
  input  logic                   s_axi_arvalid,
  output logic                   s_axi_arready,
  input  logic [AddressBits-1:0] s_axi_araddr,
  input  logic [2:0]             s_axi_arprot,
  output logic                   s_axi_rvalid,
  input  logic                   s_axi_rready,
  output logic [31:0]            s_axi_rdata,
  output logic [1:0]             s_axi_rresp,
  // OBI.
  output logic                   obi_req_o,
  input  logic                   obi_gnt_i,
  output logic [AddressBits-1:0] obi_addr_o,
  output logic                   obi_we_o,
  output logic [3:0]             obi_be_o,
  output logic [31:0]            obi_wdata_o,
  input  logic                   obi_rvalid_i,
  input  logic [31:0]            obi_rdata_i,
  input  logic                   obi_err_i
);
  if (AddressBits < 3 || AddressBits > 32) begin : gen_bad_address
    $error("intarsia_axi_lite: AddressBits must be 3 to 32");
  end

  // Request: the transaction that was chosen stays until it is granted.
  typedef enum logic [1:0] {Idle, Requested, Waiting, Responding} state_e;
  state_e      state_q, state_d;
  logic        write, write_q, can_write, can_read, turn_q, error_q;
  logic [31:0] rdata_q;
  assign can_write = s_axi_awvalid && s_axi_wvalid;
  assign can_read = s_axi_arvalid;
  assign write = state_q == Idle ? can_write && (!can_read || turn_q) : write_q;
  assign obi_req_o = (state_q == Idle && (can_write || can_read)) || state_q == Requested;
  assign obi_we_o = write;
  assign obi_addr_o = write ? s_axi_awaddr : s_axi_araddr;
  assign obi_be_o = write ? s_axi_wstrb : '1;
  assign obi_wdata_o = s_axi_wdata;
  assign s_axi_awready = obi_req_o && obi_gnt_i && write;
  assign s_axi_wready = s_axi_awready;
  assign s_axi_arready = obi_req_o && obi_gnt_i && !write;
  assign s_axi_bvalid = state_q == Responding && write_q;
  assign s_axi_rvalid = state_q == Responding && !write_q;
  assign s_axi_bresp = {error_q, 1'b0};
  assign s_axi_rresp = {error_q, 1'b0};
  assign s_axi_rdata = rdata_q;

  always_comb begin
    state_d = state_q;
    unique case (state_q)
      Idle, Requested: if (obi_req_o) state_d = obi_gnt_i ? Waiting : Requested;
      Waiting: if (obi_rvalid_i) state_d = Responding;
      Responding: if (write_q ? s_axi_bready : s_axi_rready) state_d = Idle;
      default: state_d = Idle;
    endcase
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= Idle;
      turn_q <= 1'b0;
    end else begin
      state_q <= state_d;
      if (obi_req_o && obi_gnt_i) turn_q <= !write;
    end
  end
  always_ff @(posedge clk_i) begin
    if (state_q == Idle) write_q <= write;
    if (obi_rvalid_i) begin
      rdata_q <= obi_rdata_i;
      error_q <= obi_err_i;
    end
  end

  logic unused;
  assign unused = ^{s_axi_awprot, s_axi_arprot};

`ifndef SYNTHESIS
  // AXI: what is valid stays as it is until it is taken. OBI: likewise, and one request at a time.
  a_aw: assert property (@(posedge clk_i) disable iff (!rst_ni) s_axi_awvalid && !s_axi_awready |=>
      s_axi_awvalid && $stable(s_axi_awaddr))
  else $error("the system changed or took back a write address");
  a_w: assert property (@(posedge clk_i) disable iff (!rst_ni) s_axi_wvalid && !s_axi_wready |=>
      s_axi_wvalid && $stable(s_axi_wdata) && $stable(s_axi_wstrb))
  else $error("the system changed or took back write data");
  a_ar: assert property (@(posedge clk_i) disable iff (!rst_ni) s_axi_arvalid && !s_axi_arready |=>
      s_axi_arvalid && $stable(s_axi_araddr))
  else $error("the system changed or took back a read address");
  a_b: assert property (@(posedge clk_i) disable iff (!rst_ni) s_axi_bvalid && !s_axi_bready |=>
      s_axi_bvalid && $stable(s_axi_bresp))
  else $error("a write response changed before it was taken");
  a_r: assert property (@(posedge clk_i) disable iff (!rst_ni) s_axi_rvalid && !s_axi_rready |=>
      s_axi_rvalid && $stable(s_axi_rdata) && $stable(s_axi_rresp))
  else $error("a read response changed before it was taken");
  a_obi: assert property (@(posedge clk_i) disable iff (!rst_ni) obi_req_o && !obi_gnt_i |=>
      obi_req_o && $stable(obi_addr_o) && $stable(obi_we_o) && $stable(obi_be_o) &&
      ($stable(obi_wdata_o) || !obi_we_o))
  else $error("a request changed or was taken back before it was granted");
  a_response: assert property (@(posedge clk_i) disable iff (!rst_ni) obi_rvalid_i |-> state_q == Waiting)
  else $error("the subordinate answered what was not asked");
`endif
endmodule
