// SPDX-License-Identifier: Apache-2.0
// Control: runs a program. Starts a layer, reads the next one's descriptor while it works, and goes on when its last word
// is written. A layer that cannot be run (an empty loop, bounds that exclude every value, a window that does not move by
// pixels, data that would begin beyond a memory) ends the program before it starts: fault_o.
//
// Parameters: AddressBits of the program memory; ActDepth, WeightDepth, words of the memories.
// Latency: a layer starts in the cycle after the end of the one before, but at least DescriptorWords + 2 cycles after
// that one's start; the first one starts DescriptorWords + 3 cycles after run_i.
module intarsia_control
  import intarsia_pkg::*;
#(
  parameter int unsigned AddressBits,
  parameter int unsigned ActDepth,
  parameter int unsigned WeightDepth
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   run_i,         // begin the program at its first descriptor
  output logic                   ren_o,
  output logic [AddressBits:0]   raddr_o,       // one bit more, for a program without a last layer
  input  logic [31:0]            rdata_i,
  output logic                   start_o,       // the layer starts; layer_o is valid
  output descriptor_t            layer_o,
  input  logic                   layer_done_i,
  output logic                   busy_o,
  output logic                   finished_o,    // pulse: the program has ended
  output logic                   fault_o        // pulse, with finished_o: it has a layer that cannot be run
);
  localparam int unsigned CountBits = $clog2(DescriptorWords + 2);
  typedef enum logic [1:0] {Idle, First, Start, Wait} state_e;
  state_e state_q, state_d;
  logic [DescriptorWords*32-1:0] next_q;   // the descriptor being read
  descriptor_t                   layer_q;
  logic [AddressBits:0]          address_q;
  logic [CountBits-1:0]          count_q;  // words asked for, one more when the last one is there
  logic                          reading, there, take;

  // After the last layer's descriptor there is nothing to read.
  assign reading = state_q == First || ((state_q == Start || state_q == Wait) && !layer_q.last);
  assign there = count_q == CountBits'(DescriptorWords + 1);
  assign take = there && (state_q == First || (state_q == Wait && layer_done_i && !layer_q.last));
  always_comb begin
    state_d = state_q;
    unique case (state_q)
      Idle: if (run_i) state_d = First;
      First: if (there) state_d = Start;
      Start: state_d = fault_o ? Idle : Wait;
      Wait: if (layer_done_i) state_d = layer_q.last ? Idle : there ? Start : First;
      default: state_d = Idle;
    endcase
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= Idle;
      count_q <= '0;
    end else begin
      state_q <= state_d;
      if (run_i || take) count_q <= '0;
      else if (reading && !there) count_q <= count_q + 1'b1;
    end
  end
  always_ff @(posedge clk_i) begin
    if (state_q == Idle) address_q <= '0;
    else if (ren_o) address_q <= address_q + 1'b1;
    if (reading && count_q != '0 && !there) next_q <= {rdata_i, next_q[DescriptorWords*32-1:32]};
    if (take) layer_q <= next_q[DescriptorBits-1:0];
  end

  assign layer_o = layer_q;
  assign ren_o = reading && count_q < CountBits'(DescriptorWords);
  assign raddr_o = address_q;
  assign busy_o = state_q != Idle;
  assign finished_o = fault_o || (state_q == Wait && layer_done_i && layer_q.last);

  // The layer at the end of the queue is looked at in the cycle before it starts.
  descriptor_t next;
  logic        bad_q;
  assign next = next_q[DescriptorBits-1:0];
  always_ff @(posedge clk_i) begin
    if (take) begin
      bad_q <= has_empty_loop(next) || next.lo > next.hi ||
               (next.window && (next.new_columns == '0 || next.tile_pixels != 4'd1)) ||
               32'(next.in_base) >= ActDepth || 32'(next.out_base) >= ActDepth ||
               (next.residual && 32'(next.residual_base) >= ActDepth) || 32'(next.weight_base) >= WeightDepth;
    end
  end
  assign fault_o = state_q == Start && bad_q;
  assign start_o = state_q == Start && !bad_q;

  if (DescriptorBits < DescriptorWords * 32) begin : gen_unused
    logic unused;
    assign unused = ^next_q[DescriptorWords*32-1:DescriptorBits];
  end
endmodule
