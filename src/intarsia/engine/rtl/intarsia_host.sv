// Host port: a 32-bit bus on which the host writes images, starts the program and reads results.
//
// Address, in 32-bit words: bits 23…20 choose the region (intarsia_pkg::Region…). In a memory region the low bits
// choose the 32-bit part of a wide word, least significant first; parts are gathered and the word is written with its
// last part. Registers: Control (write 1 to start), Status (bit 0 busy, bit 1 done), Cycles, Identity. The memories
// may be touched only while the engine is idle.
//
// Parameters: widths of the wide words in bits, depths as in intarsia_engine.
// Latency: a write takes effect at once; read data are valid with rvalid_o two cycles after the request.
module intarsia_host
  import intarsia_pkg::*;
#(
  parameter int unsigned ActBits    = 128,
  parameter int unsigned DenseBits  = 416,
  parameter int unsigned SparseBits = 192,
  parameter int unsigned ParamBits  = 488,
  localparam int unsigned ActParts  = (ActBits + 31) / 32
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  // Bus.
  input  logic                  req_i,
  input  logic                  we_i,
  input  logic [23:0]           addr_i,
  input  logic [31:0]           wdata_i,
  output logic                  rvalid_o,
  output logic [31:0]           rdata_o,
  // To the engine.
  output logic                  run_o,
  input  logic                  busy_i,
  input  logic                  finished_i,
  output logic                  irq_o,
  // To the memories.
  output logic                  act_wen_o,
  output logic                  dense_wen_o,
  output logic                  sparse_wen_o,
  output logic                  param_wen_o,
  output logic                  program_wen_o,
  output logic [15:0]           waddr_o,
  output logic [ActBits-1:0]    act_wdata_o,
  output logic [DenseBits-1:0]  dense_wdata_o,
  output logic [SparseBits-1:0] sparse_wdata_o,
  output logic [ParamBits-1:0]  param_wdata_o,
  output logic [31:0]           program_wdata_o,
  output logic                  act_ren_o,
  output logic [15:0]           act_raddr_o,
  input  logic [ActBits-1:0]    act_rdata_i
);
  localparam int unsigned DenseParts  = (DenseBits + 31) / 32;
  localparam int unsigned SparseParts = (SparseBits + 31) / 32;
  localparam int unsigned ParamParts  = (ParamBits + 31) / 32;
  localparam int unsigned ActShift    = $clog2(ActParts);
  localparam int unsigned DenseShift  = $clog2(DenseParts);
  localparam int unsigned SparseShift = $clog2(SparseParts);
  localparam int unsigned ParamShift  = $clog2(ParamParts);
  localparam int unsigned WidestA     = DenseParts > SparseParts ? DenseParts : SparseParts;
  localparam int unsigned WidestB     = ParamParts > ActParts ? ParamParts : ActParts;
  localparam int unsigned Widest      = WidestA > WidestB ? WidestA : WidestB;
  localparam int unsigned PartBits    = $clog2(Widest);

  logic [3:0]  region;
  logic [19:0] offset;
  assign region = addr_i[23:20];
  assign offset = addr_i[19:0];

  // Part of a wide word, and whether it is the last.
  logic [PartBits-1:0] part;
  logic                whole;
  logic [15:0]         index;
  always_comb begin
    part = '0;
    whole = 1'b0;
    index = offset[15:0];
    unique case (region)
      RegionActivations: begin
        part = PartBits'(offset[ActShift-1:0]);
        whole = offset[ActShift-1:0] == ActShift'(ActParts - 1);
        index = 16'(offset >> ActShift);
      end
      RegionDense: begin
        part = PartBits'(offset[DenseShift-1:0]);
        whole = offset[DenseShift-1:0] == DenseShift'(DenseParts - 1);
        index = 16'(offset >> DenseShift);
      end
      RegionSparse: begin
        part = PartBits'(offset[SparseShift-1:0]);
        whole = offset[SparseShift-1:0] == SparseShift'(SparseParts - 1);
        index = 16'(offset >> SparseShift);
      end
      RegionParameters: begin
        part = PartBits'(offset[ParamShift-1:0]);
        whole = offset[ParamShift-1:0] == ParamShift'(ParamParts - 1);
        index = 16'(offset >> ParamShift);
      end
      default: ;
    endcase
  end

  // Parts gathered so far, with the one on the bus.
  logic [Widest-1:0][31:0] parts_q, parts;
  always_comb begin
    parts = parts_q;
    parts[part] = wdata_i;
  end
  logic write;
  assign write = req_i && we_i;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) parts_q <= '0;
    else if (write) parts_q <= parts;
  end
  logic [Widest*32-1:0] flat;
  assign flat = parts;
  assign act_wdata_o = flat[ActBits-1:0];
  assign dense_wdata_o = flat[DenseBits-1:0];
  assign sparse_wdata_o = flat[SparseBits-1:0];
  assign param_wdata_o = flat[ParamBits-1:0];
  assign program_wdata_o = wdata_i;
  assign waddr_o = index;
  assign act_wen_o = write && whole && region == RegionActivations;
  assign dense_wen_o = write && whole && region == RegionDense;
  assign sparse_wen_o = write && whole && region == RegionSparse;
  assign param_wen_o = write && whole && region == RegionParameters;
  assign program_wen_o = write && region == RegionProgram;

  // Registers.
  logic        done_q;
  logic [31:0] cycles_q;
  assign run_o = write && region == RegionRegisters && offset[1:0] == RegisterControl && wdata_i[0] && !busy_i;
  assign irq_o = done_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      done_q <= 1'b0;
      cycles_q <= '0;
    end else if (run_o) begin
      done_q <= 1'b0;
      cycles_q <= '0;
    end else if (busy_i) begin
      cycles_q <= cycles_q + 32'd1;
      if (finished_i) done_q <= 1'b1;
    end
  end

  // Reads.
  logic                read1_q, read2_q, act1_q;
  logic [PartBits-1:0] part1_q;
  logic [31:0]         register1_q, data2_q, act_part;
  logic [ActParts-1:0][31:0] act_parts;
  assign act_parts = (ActParts * 32)'(act_rdata_i);
  assign act_part = act_parts[part1_q[ActShift-1:0]];
  assign act_ren_o = req_i && !we_i && region == RegionActivations;
  assign act_raddr_o = index;
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
    unique case (offset[1:0])
      RegisterStatus:   register1_q <= {30'd0, done_q, busy_i};
      RegisterCycles:   register1_q <= cycles_q;
      RegisterIdentity: register1_q <= Identity;
      default:          register1_q <= '0;
    endcase
    data2_q <= act1_q ? act_part : register1_q;
  end
  assign rvalid_o = read2_q;
  assign rdata_o = data2_q;

  logic unused;
  assign unused = ^{flat, part1_q, offset};
endmodule
