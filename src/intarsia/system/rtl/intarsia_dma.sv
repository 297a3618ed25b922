// SPDX-License-Identifier: Apache-2.0
// DMA: moves data between the system's memory (OBI manager) and the memories of the engine (32-bit memory port).
//
// - To the engine: 32-bit words, one after the other; padding between wide words of the engine is skipped. Or an image
//   of bytes (row, column, channel) that is unfolded on its way: each pixel holds the runs of bytes that a kernel sees
//   from there. Two nested loops go over the pixels; what a run has outside of the image reads as 0.
// - To the system: 32-bit words.
//
// A transfer ends with done_o unless it is stopped, or with an error: bus_error_o, an error response of the system;
// range_error_o, an address that is not a multiple of 4, an empty transfer, a memory that cannot be read, or a word
// beyond a memory's end. It may have moved part of the data then. However it ends, each request that was made has been
// granted and answered before busy_o falls.
//
// Parameters: widths of the engine's words in bits, and how many words its memories have.
// Latency, if the system grants at once and answers in the next cycle: to the engine one 32-bit word per cycle, and 6
// cycles; to the system 5 cycles per word, and 3. Of an unfolded image, each run takes as many cycles as it touches
// words of the system, what it has left of the image, right of it, or in a row outside of it, one for every 4 bytes
// begun, and so does fill. Up to 4 requests are under way, so an answer that comes later than 2 cycles after its grant
// takes speed.
module intarsia_dma
  import intarsia_pkg::*;
  import intarsia_registers_pkg::*;
#(
  parameter int unsigned ActBits,
  parameter int unsigned WeightBits,
  parameter int unsigned ActDepth,
  parameter int unsigned WeightDepth,
  parameter int unsigned ProgramDepth
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  logic                    start_i,      // take a transfer; not while busy
  input  logic                    stop_i,       // end the transfer soon, without done_o
  /* verilator lint_off UNUSEDSIGNAL */
  input  intarsia_registers__out_t registers_i, // the transfer; constant while busy
  /* verilator lint_on UNUSEDSIGNAL */
  output logic                    busy_o,
  output logic                    done_o,
  output logic                    bus_error_o,
  output logic                    range_error_o,
  // System: OBI manager.
  output logic                    req_o,
  input  logic                    gnt_i,
  output logic [31:0]             addr_o,
  output logic                    we_o,
  output logic [3:0]              be_o,
  output logic [31:0]             wdata_o,
  input  logic                    rvalid_i,
  input  logic [31:0]             rdata_i,
  input  logic                    err_i,
  // Memory port of the engine.
  output logic                    engine_req_o,
  output logic                    engine_we_o,
  output logic [23:0]             engine_addr_o,
  output logic [31:0]             engine_wdata_o,
  input  logic                    engine_rvalid_i,
  input  logic [31:0]             engine_rdata_i
);
  localparam int unsigned ActParts    = (ActBits + 31) / 32;
  localparam int unsigned WeightParts = (WeightBits + 31) / 32;
  localparam int unsigned ActShift    = $clog2(ActParts);
  localparam int unsigned WeightShift = $clog2(WeightParts);

  // Prepare…: three products of rows and bytes of a row, by one multiplier.
  typedef enum logic [3:0] {
    Idle, PrepareOrigin, PrepareInner, PrepareOuter, Move, Drain, Fetch, Fetched, Store, Stored
  } state_e;
  state_e state_q, state_d;

  // Fields of the transfer.
  logic        unfold, to_system;
  logic [31:0] address;
  logic [15:0] row_bytes, rows, run_bytes;
  assign unfold = registers_i.DMA_CONTROL.unfold.value;
  assign to_system = registers_i.DMA_CONTROL.to_system.value;
  assign address = registers_i.DMA_ADDRESS.address.value;
  assign row_bytes = registers_i.DMA_IMAGE.bytes.value;
  assign rows = registers_i.DMA_IMAGE.rows.value;
  assign run_bytes = registers_i.DMA_PIXEL.bytes.value;

  // Errors that are seen at the start.
  logic bad;
  always_comb begin
    bad = 1'b0;
    if (unfold) begin
      bad = to_system || run_bytes == '0 || registers_i.DMA_PIXEL.runs.value == '0 ||
            registers_i.DMA_INNER.count.value == '0 || registers_i.DMA_OUTER.count.value == '0;
    end else begin
      bad = address[1:0] != '0 || registers_i.DMA_LENGTH.words.value == '0;
    end
    if (to_system && registers_i.DMA_TARGET.memory.value != RegionActivations) bad = 1'b1;
  end

  // Products.
  logic signed [16:0] factor;
  logic signed [33:0] product;
  logic [31:0]        inner_step_q, outer_step_q;
  always_comb begin
    unique case (state_q)
      PrepareOrigin: factor = 17'($signed(registers_i.DMA_ORIGIN.row.value));
      PrepareInner:  factor = {9'd0, registers_i.DMA_INNER.rows.value};
      default:       factor = {9'd0, registers_i.DMA_OUTER.rows.value};
    endcase
  end
  assign product = factor * $signed({1'b0, row_bytes});

  // Where in the image: of the outer loop's turn, of the pixel, of the run, of the segment. x counts bytes.
  typedef struct packed {
    logic [31:0]        address;
    logic signed [17:0] y;
    logic signed [17:0] x;
  } place_t;
  place_t      outer_q, inner_q, run_q, here_q, origin, next_outer, next_inner, next_run;
  logic [15:0] outer_left_q, inner_left_q, bytes_left_q;
  logic [7:0]  runs_left_q;
  logic [6:0]  fill_left_q;
  logic        filling_q;
  logic [19:0] words_left_q;
  assign origin = '{address: address + product[31:0] + 32'($signed(registers_i.DMA_ORIGIN.byte_.value)),
                    y: 18'($signed(registers_i.DMA_ORIGIN.row.value)),
                    x: 18'($signed(registers_i.DMA_ORIGIN.byte_.value))};
  assign next_outer = '{address: outer_q.address + outer_step_q,
                        y: outer_q.y + 18'(registers_i.DMA_OUTER.rows.value),
                        x: outer_q.x + 18'(registers_i.DMA_OUTER.bytes.value)};
  assign next_inner = '{address: inner_q.address + inner_step_q,
                        y: inner_q.y + 18'(registers_i.DMA_INNER.rows.value),
                        x: inner_q.x + 18'(registers_i.DMA_INNER.bytes.value)};
  assign next_run = '{address: run_q.address + 32'(row_bytes), y: run_q.y + 18'd1, x: run_q.x};

  // The segment: up to 4 bytes of one word of the system, or so many of 0.
  logic               zero, in_rows, last_of_run, last_of_pixel, last_of_inner, last, advance;
  logic [2:0]         count;
  logic signed [18:0] to_begin, to_end;
  assign in_rows = here_q.y >= 0 && here_q.y < $signed({2'b00, rows});
  assign to_begin = -19'(here_q.x);                                // bytes to the begin of the row
  assign to_end = $signed({3'b000, row_bytes}) - 19'(here_q.x); // bytes to its end
  function automatic logic [2:0] least(input logic [2:0] bound, input logic signed [18:0] value);
    return value < $signed({16'd0, bound}) ? value[2:0] : bound;
  endfunction
  always_comb begin
    zero = filling_q || !in_rows || here_q.x < 0 || to_end <= 0;
    count = 3'd4;
    if (!unfold) begin
      zero = 1'b0;
    end else if (filling_q) begin
      count = least(3'd4, $signed({12'd0, fill_left_q}));
    end else begin
      count = least(3'd4, $signed({3'b000, bytes_left_q}));
      if (in_rows && here_q.x < 0) count = least(count, to_begin);
      if (in_rows && here_q.x >= 0 && to_end > 0) begin
        count = least(count, to_end);
        count = least(count, $signed({16'd0, 3'd4 - {1'b0, here_q.address[1:0]}}));
      end
    end
  end
  assign last_of_run = bytes_left_q == 16'(count);
  assign last_of_pixel = filling_q ? fill_left_q == 7'(count) :
                         last_of_run && runs_left_q == 8'd1 && registers_i.DMA_PIXEL.fill.value == '0;
  assign last_of_inner = last_of_pixel && inner_left_q == 16'd1;
  assign last = unfold ? last_of_inner && outer_left_q == 16'd1 : words_left_q == 20'd1;

  // Segments under way, in order, and the words that were read for them.
  typedef struct packed {
    logic       zero;
    logic       fill;
    logic [1:0] first; // byte of the word
    logic [2:0] count;
  } segment_t;
  segment_t    made, segment;
  logic [31:0] read_word;
  logic        no_segment, no_word, full, words_full, pop, got, out_of_range, stop;
  // It moves no more data, because of: an error response, a word beyond a memory's end, stop_i.
  logic        failed_q, bus_failed_q, range_failed_q, stopped_q;
  assign made = '{zero: zero, fill: unfold && filling_q, first: unfold ? here_q.address[1:0] : 2'd0, count: count};
  assign got = rvalid_i && (state_q == Move || state_q == Drain);
  assign advance = state_q == Move && !full && (zero || gnt_i);
  assign pop = !no_segment && (segment.zero || !no_word);
  assign stop = (got && err_i) || out_of_range || stop_i;
  intarsia_fifo #(.Width($bits(segment_t))) u_segments (
    .clk_i, .rst_ni, .push_i(advance), .data_i(made), .pop_i(pop), .data_o(segment), .empty_o(no_segment), .full_o(full)
  );
  // As many as segments, so that there is always room for an answer.
  intarsia_fifo #(.Width(32)) u_words (
    .clk_i, .rst_ni, .push_i(got), .data_i(rdata_i), .pop_i(pop && !segment.zero), .data_o(read_word),
    .empty_o(no_word), .full_o(words_full)
  );

  // Bytes, up to a whole word for the engine.
  logic [31:0] word;
  logic [63:0] bytes;
  logic [2:0]  held_q;
  logic [3:0]  held_d;
  logic [31:0] rest_q;
  logic        write;
  // Padding is 0 as the image has it, before 128 is taken off; fill is 0 in the engine.
  assign word = (segment.zero ? '0 : read_word >> {segment.first, 3'b000}) ^
                {4{unfold && registers_i.DMA_PIXEL.unsigned_bytes.value && !segment.fill, 7'd0}};
  always_comb begin
    bytes = {32'd0, rest_q};
    for (int unsigned i = 0; i < 4; i++) begin
      if (3'(i) < segment.count) bytes[8*(32'(held_q)+i)+:8] = word[8*i+:8];
    end
  end
  assign held_d = {1'b0, held_q} + {1'b0, segment.count};
  assign write = pop && held_d >= 4'd4 && !failed_q;

  // Where in the engine.
  logic [16:0] index_q; // one bit more than the memories' addresses, so that it does not begin again behind the last
  logic [19:0] engine_offset;
  logic [7:0]  part_q, parts;
  logic [3:0]  memory;
  logic        step;
  assign memory = registers_i.DMA_TARGET.memory.value;
  always_comb begin
    parts = 8'd1;
    engine_offset = 20'(index_q);
    out_of_range = 1'b1;
    unique case (memory)
      RegionActivations: begin
        parts = 8'(ActParts);
        engine_offset = 20'(32'(index_q) << ActShift) | 20'(part_q);
        out_of_range = 32'(index_q) >= ActDepth;
      end
      RegionWeights: begin
        parts = 8'(WeightParts);
        engine_offset = 20'(32'(index_q) << WeightShift) | 20'(part_q);
        out_of_range = 32'(index_q) >= WeightDepth;
      end
      RegionProgram: out_of_range = 32'(index_q) >= ProgramDepth;
      default: ;
    endcase
    if (!write && state_q != Fetch) out_of_range = 1'b0;
  end
  assign step = write || (state_q == Stored && rvalid_i);
  assign engine_req_o = (write || state_q == Fetch) && !out_of_range;
  assign engine_we_o = state_q != Fetch;
  assign engine_addr_o = {memory, engine_offset};
  assign engine_wdata_o = bytes[31:0];

  // To the system.
  logic [31:0] data_q;
  assign req_o = (state_q == Move && !full && !zero) || state_q == Store;
  assign we_o = state_q == Store;
  assign addr_o = state_q == Store ? outer_q.address : {here_q.address[31:2], 2'b00};
  assign be_o = '1;
  assign wdata_o = data_q;

  always_comb begin
    state_d = state_q;
    unique case (state_q)
      Idle: if (start_i && !bad) state_d = PrepareOrigin;
      PrepareOrigin: state_d = PrepareInner;
      PrepareInner: state_d = PrepareOuter;
      PrepareOuter: state_d = to_system ? Fetch : Move;
      // A request that was made is not taken back.
      Move: if (advance && (last || failed_q || stop)) state_d = Drain;
            else if ((failed_q || stop) && !req_o) state_d = Drain;
      Drain: if (no_segment) state_d = Idle;
      Fetch: state_d = out_of_range ? Idle : Fetched;
      Fetched: if (stopped_q) state_d = Idle;
               else if (engine_rvalid_i) state_d = Store;
      Store: if (gnt_i) state_d = Stored;
      Stored: if (rvalid_i) state_d = err_i || stopped_q || words_left_q == 20'd1 ? Idle : Fetch;
      default: state_d = Idle;
    endcase
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= Idle;
      failed_q <= 1'b0;
      bus_failed_q <= 1'b0;
      range_failed_q <= 1'b0;
      stopped_q <= 1'b0;
    end else begin
      state_q <= state_d;
      stopped_q <= state_q != Idle && (stopped_q || stop_i);
      if (state_q == Idle) begin
        failed_q <= 1'b0;
        bus_failed_q <= 1'b0;
        range_failed_q <= 1'b0;
      end else if (stop && !failed_q) begin
        failed_q <= 1'b1;
        bus_failed_q <= got && err_i;
        range_failed_q <= out_of_range;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (state_q == Idle) held_q <= '0;
    else if (pop) held_q <= 3'(held_d >= 4'd4 ? held_d - 4'd4 : held_d);
    if (pop) rest_q <= held_d >= 4'd4 ? bytes[63:32] : bytes[31:0];
    if (state_q == Fetched && engine_rvalid_i) data_q <= engine_rdata_i;
  end

  // Loops.
  always_ff @(posedge clk_i) begin
    unique case (state_q)
      Idle: begin
        words_left_q <= registers_i.DMA_LENGTH.words.value;
        index_q <= 17'(registers_i.DMA_TARGET.word.value);
        part_q <= '0;
      end
      PrepareOrigin: begin
        if (unfold) {outer_q, inner_q, run_q, here_q} <= {4{origin}};
        else {outer_q, here_q} <= {2{{address, 36'd0}}};
      end
      PrepareInner: inner_step_q <= product[31:0] + 32'(registers_i.DMA_INNER.bytes.value);
      PrepareOuter: begin
        outer_step_q <= product[31:0] + 32'(registers_i.DMA_OUTER.bytes.value);
        outer_left_q <= registers_i.DMA_OUTER.count.value;
        inner_left_q <= registers_i.DMA_INNER.count.value;
        runs_left_q <= registers_i.DMA_PIXEL.runs.value;
        bytes_left_q <= run_bytes;
        fill_left_q <= registers_i.DMA_PIXEL.fill.value;
        filling_q <= 1'b0;
      end
      default: ;
    endcase
    if (advance) begin
      words_left_q <= words_left_q - 1'b1;
      here_q.address <= here_q.address + 32'(count);
      here_q.x <= here_q.x + 18'(count);
      if (filling_q) fill_left_q <= fill_left_q - 7'(count);
      else bytes_left_q <= bytes_left_q - 16'(count);
      if (unfold && last_of_pixel) begin
        bytes_left_q <= run_bytes;
        runs_left_q <= registers_i.DMA_PIXEL.runs.value;
        fill_left_q <= registers_i.DMA_PIXEL.fill.value;
        filling_q <= 1'b0;
        if (last_of_inner) begin
          inner_left_q <= registers_i.DMA_INNER.count.value;
          outer_left_q <= outer_left_q - 1'b1;
          {outer_q, inner_q, run_q, here_q} <= {4{next_outer}};
        end else begin
          inner_left_q <= inner_left_q - 1'b1;
          {inner_q, run_q, here_q} <= {3{next_inner}};
        end
      end else if (unfold && !filling_q && last_of_run) begin
        bytes_left_q <= run_bytes;
        runs_left_q <= runs_left_q - 1'b1;
        filling_q <= runs_left_q == 8'd1;
        {run_q, here_q} <= {2{next_run}};
      end
    end
    if (step) begin
      part_q <= part_q == parts - 1'b1 ? '0 : part_q + 1'b1;
      if (part_q == parts - 1'b1) index_q <= index_q + 1'b1;
    end
    if (state_q == Stored && rvalid_i) begin
      outer_q.address <= outer_q.address + 32'd4;
      words_left_q <= words_left_q - 1'b1;
    end
  end

  // The end: of a transfer to the engine when its last segment is used up.
  logic ended, bus_failed, range_failed;
  assign ended = state_q != Idle && state_d == Idle;
  assign bus_failed = bus_failed_q || (rvalid_i && err_i);
  assign range_failed = range_failed_q || out_of_range;
  assign busy_o = state_q != Idle;
  assign range_error_o = (state_q == Idle && start_i && bad) || (ended && range_failed);
  assign bus_error_o = ended && bus_failed;
  assign done_o = ended && !bus_failed && !range_failed && !stopped_q;

  logic unused;
  assign unused = words_full ^ ^product[33:32];
endmodule
