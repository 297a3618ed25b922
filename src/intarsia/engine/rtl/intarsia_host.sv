// SPDX-License-Identifier: Apache-2.0
// Memory port: writes images and program into the engine's memories and reads results, 32 bits at a time.
//
// Address, in 32-bit words: bits 23…20 choose the memory (intarsia_pkg::Region…). The low bits choose the 32-bit part of
// a wide word, least significant first; parts are gathered, and the word is written with its last part. Only Activations
// can be read; all else reads as 0. The port may be used only while the engine is not busy, and only within the
// memories (intarsia_accelerator refuses other accesses).
//
// Parameters: widths of the wide words in bits.
// Latency: a write takes effect at once; read data are valid with rvalid_o two cycles after the request.
module intarsia_host
  import intarsia_pkg::*;
#(
  parameter int unsigned ActBits,
  parameter int unsigned WeightBits,
  localparam int unsigned ActParts  = (ActBits + 31) / 32
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic                  req_i,
  input  logic                  we_i,
  input  logic [23:0]           addr_i,
  input  logic [31:0]           wdata_i,
  output logic                  rvalid_o,
  output logic [31:0]           rdata_o,
  // To the memories.
  output logic                  act_wen_o,
  output logic                  weight_wen_o,
  output logic                  program_wen_o,
  output logic [15:0]           waddr_o,
  output logic [ActBits-1:0]    act_wdata_o,
  output logic [WeightBits-1:0] weight_wdata_o,
  output logic [31:0]           program_wdata_o,
  output logic                  act_ren_o,
  output logic [15:0]           act_raddr_o,
  input  logic [ActBits-1:0]    act_rdata_i
);
  localparam int unsigned WeightParts = (WeightBits + 31) / 32;
  localparam int unsigned ActShift    = $clog2(ActParts);
  localparam int unsigned WeightShift = $clog2(WeightParts);
  localparam int unsigned Widest      = WeightParts > ActParts ? WeightParts : ActParts;
  localparam int unsigned PartBits    = $clog2(Widest);

  logic [3:0]  region;
  logic [19:0] offset;
  assign region = addr_i[23:20];
  assign offset = addr_i[19:0];

  // Part of a wide word, and whether it is the last.
  logic [PartBits-1:0] part;
  logic                whole;
  logic [19:0]         index;
  always_comb begin
    part = '0;
    whole = 1'b0;
    index = offset;
    unique case (region)
      RegionActivations: begin
        part = PartBits'(offset[ActShift-1:0]);
        whole = offset[ActShift-1:0] == ActShift'(ActParts - 1);
        index = offset >> ActShift;
      end
      RegionWeights: begin
        part = WeightParts > 1 ? PartBits'(offset & 20'((1 << WeightShift) - 1)) : '0;
        whole = (offset & 20'((1 << WeightShift) - 1)) == 20'(WeightParts - 1);
        index = offset >> WeightShift;
      end
      default: ;
    endcase
  end

  // Parts gathered so far, with the one at the port.
  logic [Widest-1:0][31:0] parts_q, parts;
  logic                    write;
  assign write = req_i && we_i;
  always_comb begin
    parts = parts_q;
    parts[part] = wdata_i;
  end
  always_ff @(posedge clk_i) begin
    if (write) parts_q <= parts;
  end
  logic [Widest*32-1:0] flat;
  assign flat = parts;
  assign act_wdata_o = flat[ActBits-1:0];
  assign weight_wdata_o = flat[WeightBits-1:0];
  assign program_wdata_o = wdata_i;
  assign waddr_o = index[15:0];
  assign act_wen_o = write && whole && region == RegionActivations;
  assign weight_wen_o = write && whole && region == RegionWeights;
  assign program_wen_o = write && region == RegionProgram;

  // Reads.
  logic                read1_q, read2_q, act1_q;
  logic [PartBits-1:0] part1_q;
  logic [31:0]         data2_q;
  logic [ActParts-1:0][31:0] act_parts;
  assign act_parts = (ActParts * 32)'(act_rdata_i);
  assign act_ren_o = req_i && !we_i && region == RegionActivations;
  assign act_raddr_o = index[15:0];
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      read1_q <= 1'b0;
      read2_q <= 1'b0;
    end else begin
      read1_q <= req_i && !we_i;
      read2_q <= read1_q;
    end
  end
  always_ff @(posedge clk_i) begin
    act1_q <= act_ren_o;
    part1_q <= part;
    data2_q <= act1_q ? act_parts[part1_q[ActShift-1:0]] : '0;
  end
  assign rvalid_o = read2_q;
  assign rdata_o = data2_q;

`ifndef SYNTHESIS
  a_region: assert property (@(posedge clk_i) disable iff (!rst_ni) req_i |-> index[19:16] == '0)
  else $error("an address beyond the memories");
`endif

  logic unused;
  assign unused = ^{flat, part1_q, index};
endmodule
