// SPDX-License-Identifier: Apache-2.0
// The accelerator with both of its buses for cocotb: OBI, or AXI4-Lite in front of it, and OBI to the system's memory.
// parameters.svh is written by accelerator_build.py. The buses have no ready signal of their own for OBI's responses;
// the models want one.
module accelerator_bench (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        use_axi_i, // AXI4-Lite drives the subordinate
  input  logic        host_req,
  output logic        host_gnt,
  input  logic [25:0] host_addr,
  input  logic        host_we,
  input  logic [3:0]  host_be,
  input  logic [31:0] host_wdata,
  output logic        host_rvalid,
  input  logic        host_rready,
  output logic [31:0] host_rdata,
  output logic        host_err,
  output logic        memory_req,
  input  logic        memory_gnt,
  output logic [31:0] memory_addr,
  output logic        memory_we,
  output logic [3:0]  memory_be,
  output logic [31:0] memory_wdata,
  input  logic        memory_rvalid,
  output logic        memory_rready,
  input  logic [31:0] memory_rdata,
  input  logic        memory_err,
  input  logic        axi_awvalid,
  output logic        axi_awready,
  input  logic [25:0] axi_awaddr,
  input  logic [2:0]  axi_awprot,
  input  logic        axi_wvalid,
  output logic        axi_wready,
  input  logic [31:0] axi_wdata,
  input  logic [3:0]  axi_wstrb,
  output logic        axi_bvalid,
  input  logic        axi_bready,
  output logic [1:0]  axi_bresp,
  input  logic        axi_arvalid,
  output logic        axi_arready,
  input  logic [25:0] axi_araddr,
  input  logic [2:0]  axi_arprot,
  output logic        axi_rvalid,
  input  logic        axi_rready,
  output logic [31:0] axi_rdata,
  output logic [1:0]  axi_rresp,
  output logic        irq_o,
  output logic [2:0]  busy_o
);
  logic        req, gnt, we, rvalid, err, axi_req, axi_we;
  logic [25:0] addr, axi_addr;
  logic [3:0]  be, axi_be;
  logic [31:0] wdata, rdata, axi_wdata_out;
  assign req = use_axi_i ? axi_req : host_req;
  assign addr = use_axi_i ? axi_addr : host_addr;
  assign we = use_axi_i ? axi_we : host_we;
  assign be = use_axi_i ? axi_be : host_be;
  assign wdata = use_axi_i ? axi_wdata_out : host_wdata;
  assign host_gnt = gnt && !use_axi_i;
  assign host_rvalid = rvalid && !use_axi_i;
  assign host_rdata = rdata;
  assign host_err = err && !use_axi_i;
  assign memory_rready = 1'b1;

  intarsia_axi_lite u_axi_lite (
    .clk_i, .rst_ni,
    .s_axi_awvalid(axi_awvalid), .s_axi_awready(axi_awready), .s_axi_awaddr(axi_awaddr), .s_axi_awprot(axi_awprot),
    .s_axi_wvalid(axi_wvalid), .s_axi_wready(axi_wready), .s_axi_wdata(axi_wdata), .s_axi_wstrb(axi_wstrb),
    .s_axi_bvalid(axi_bvalid), .s_axi_bready(axi_bready), .s_axi_bresp(axi_bresp),
    .s_axi_arvalid(axi_arvalid), .s_axi_arready(axi_arready), .s_axi_araddr(axi_araddr), .s_axi_arprot(axi_arprot),
    .s_axi_rvalid(axi_rvalid), .s_axi_rready(axi_rready), .s_axi_rdata(axi_rdata), .s_axi_rresp(axi_rresp),
    .obi_req_o(axi_req), .obi_gnt_i(gnt && use_axi_i), .obi_addr_o(axi_addr), .obi_we_o(axi_we), .obi_be_o(axi_be),
    .obi_wdata_o(axi_wdata_out), .obi_rvalid_i(rvalid && use_axi_i), .obi_rdata_i(rdata), .obi_err_i(err)
  );

  intarsia_accelerator #(
    `include "parameters.svh"
  ) u_accelerator (
    .clk_i, .rst_ni,
    .sbr_req_i(req), .sbr_gnt_o(gnt), .sbr_addr_i(addr), .sbr_we_i(we), .sbr_be_i(be), .sbr_wdata_i(wdata),
    .sbr_rvalid_o(rvalid), .sbr_rdata_o(rdata), .sbr_err_o(err),
    .mgr_req_o(memory_req), .mgr_gnt_i(memory_gnt), .mgr_addr_o(memory_addr), .mgr_we_o(memory_we),
    .mgr_be_o(memory_be), .mgr_wdata_o(memory_wdata), .mgr_rvalid_i(memory_rvalid), .mgr_rdata_i(memory_rdata),
    .mgr_err_i(memory_err),
    .irq_o, .busy_o
  );

  logic unused;
  assign unused = host_rready;
endmodule
