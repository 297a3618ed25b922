// SPDX-License-Identifier: Apache-2.0
// Control: runs a program. Reads a layer's descriptor, starts the layer, waits until its last word is written, goes on.
//
// Parameters: AddressBits of the program memory.
// Latency: DescriptorWords + 2 cycles from the end of a layer to the start of the next.
module intarsia_control
  import intarsia_pkg::*;
#(
  parameter int unsigned AddressBits
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   run_i,         // begin the program at its first descriptor
  output logic                   ren_o,
  output logic [AddressBits-1:0] raddr_o,
  input  logic [31:0]            rdata_i,
  output logic                   start_o,       // the layer starts; layer_o is valid
  output descriptor_t            layer_o,
  input  logic                   layer_done_i,
  output logic                   busy_o,
  output logic                   finished_o     // pulse: the program has ended
);
  typedef enum logic [1:0] {Idle, Fetch, Start, Wait} state_e;
  state_e state_q;
  logic [DescriptorWords*32-1:0] shift_q;
  logic [AddressBits-1:0]        address_q;
  logic [4:0]                    count_q;

  assign layer_o = shift_q[DescriptorBits-1:0];
  assign ren_o = state_q == Fetch && count_q < 5'(DescriptorWords);
  assign raddr_o = address_q;
  assign start_o = state_q == Start;
  assign busy_o = state_q != Idle;
  assign finished_o = state_q == Wait && layer_done_i && layer_o.last;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= Idle;
      shift_q <= '0;
      address_q <= '0;
      count_q <= '0;
    end else begin
      unique case (state_q)
        Idle: if (run_i) begin
          state_q <= Fetch;
          address_q <= '0;
          count_q <= '0;
        end
        Fetch: begin
          count_q <= count_q + 5'd1;
          if (ren_o) address_q <= address_q + 1'b1;
          if (count_q != '0) shift_q <= {rdata_i, shift_q[DescriptorWords*32-1:32]};
          if (count_q == 5'(DescriptorWords)) state_q <= Start;
        end
        Start: state_q <= Wait;
        Wait: if (layer_done_i) begin
          state_q <= layer_o.last ? Idle : Fetch;
          count_q <= '0;
        end
        default: state_q <= Idle;
      endcase
    end
  end

`ifndef SYNTHESIS
  a_walk: assert property (@(posedge clk_i) disable iff (!rst_ni) start_o |->
      layer_o.tile_pixels != '0 && layer_o.last_pixels != '0 && layer_o.digits != '0 && layer_o.tiles != '0 &&
      layer_o.x_tiles != '0 && layer_o.tile_blocks != '0 && layer_o.pixel_tiles != '0)
  else $error("a layer of no pixels, passes, tiles or blocks");
  a_kernel: assert property (@(posedge clk_i) disable iff (!rst_ni) start_o |->
      layer_o.kernel_y != '0 && layer_o.blocks != '0 && layer_o.chunks != '0 && layer_o.kernel_x != '0)
  else $error("a layer with an empty kernel");
  a_output: assert property (@(posedge clk_i) disable iff (!rst_ni) start_o |->
      layer_o.out_height != '0 && layer_o.out_width != '0)
  else $error("a layer with no output");
  a_clip: assert property (@(posedge clk_i) disable iff (!rst_ni) start_o |-> layer_o.lo <= layer_o.hi)
  else $error("bounds that exclude every value");
  a_window: assert property (@(posedge clk_i) disable iff (!rst_ni) start_o && layer_o.window |->
      layer_o.new_columns != '0 && layer_o.tile_pixels == 4'd1)
  else $error("a window that does not move by pixels");
`endif

  if (DescriptorBits < DescriptorWords * 32) begin : gen_unused
    logic unused;
    assign unused = ^shift_q[DescriptorWords*32-1:DescriptorBits];
  end
endmodule
