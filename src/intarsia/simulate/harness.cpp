// SPDX-License-Identifier: Apache-2.0
// Drives one simulated engine from Python (ctypes): one C call a job. Built with the Verilator model into a shared
// library; the model's name and the widths come from the model itself.
#include <cstdint>
#include <cstring>
#include <memory>

#include "Vintarsia_engine.h"
#ifndef NETLIST
#include "Vintarsia_engine___024root.h"
#endif
#include "verilated.h"

namespace {
struct Simulation {
  VerilatedContext context;
  Vintarsia_engine top;

  // The model draws the first content of its registers and memories while it is constructed.
  explicit Simulation(uint32_t seed) : top{seeded(&context, seed)} {
    context.fatalOnError(false);  // a failed assertion ends the run, not the process
    top.clk_i = 0;
    top.req_i = 0;
    top.we_i = 0;
    top.addr_i = 0;
    top.wdata_i = 0;
    top.start_i = 0;
    top.rst_ni = 1;
    top.eval();
    reset();
  }
  static VerilatedContext* seeded(VerilatedContext* context, uint32_t seed) {
    Verilated::threadContextp(context);
    context->randReset(2);  // random, not 0
    context->randSeed(int(seed));
    return context;
  }
  // Assertions report to the context of the thread that runs the model.
  void enter() { Verilated::threadContextp(&context); }
  void reset() {
    top.rst_ni = 0;
    for (int i = 0; i < 4; ++i) tick();
    top.rst_ni = 1;
    tick();
  }
  void tick() {
    top.clk_i = 0;
    top.eval();
    top.clk_i = 1;
    top.eval();
  }
  void write(uint32_t address, uint32_t data) {
    top.req_i = 1;
    top.we_i = 1;
    top.addr_i = address;
    top.wdata_i = data;
    tick();
    top.req_i = 0;
    top.we_i = 0;
  }
  // Whether the bus answered; a read takes a few cycles.
  bool read(uint32_t address, uint32_t* data) {
    top.req_i = 1;
    top.we_i = 0;
    top.addr_i = address;
    tick();
    top.req_i = 0;
    for (int waited = 0; !top.rvalid_o; ++waited) {
      if (waited == 1000) return false;
      tick();
    }
    *data = top.rdata_o;
    return true;
  }
};
#ifdef NETLIST
void copy_activations(Vintarsia_engine&, uint8_t* to, uint64_t bytes) { std::memset(to, 0, bytes); }
#else
// The banks of the activation memory; BANKS and BLOCK, the bytes of a word, are those of the build.
#define BANK(b) top.rootp->intarsia_engine__DOT__u_activations__DOT__gen_bank__BRA__##b##__KET____DOT__u_memory__DOT__words[0]

void copy_activations(Vintarsia_engine& top, uint8_t* to, uint64_t bytes) {
  const uint8_t* banks[] = {
    reinterpret_cast<const uint8_t*>(&BANK(0)),
#if BANKS > 1
    reinterpret_cast<const uint8_t*>(&BANK(1)),
#endif
#if BANKS > 2
    reinterpret_cast<const uint8_t*>(&BANK(2)), reinterpret_cast<const uint8_t*>(&BANK(3)),
#endif
  };
  for (uint64_t word = 0; word < bytes / BLOCK; ++word) {
    uint64_t bank = 0;  // bank_of in intarsia.engine.layout
    for (uint64_t rest = word; BANKS > 1 && rest; rest /= BANKS) bank ^= rest % BANKS;
    std::memcpy(to + word * BLOCK, banks[bank] + word / BANKS * BLOCK, BLOCK);
  }
}
#endif
}  // namespace

extern "C" {

// `seed` (1 to 2^31 - 1) draws the first content of all registers and memories.
Simulation* engine_create(uint32_t seed) { return new Simulation(seed); }

void engine_destroy(Simulation* simulation) {
  simulation->enter();
  delete simulation;
}

// Reset the hardware and forget failed assertions; memories keep their content.
void engine_reset(Simulation* simulation) {
  simulation->enter();
  simulation->context.gotError(false);
  simulation->context.gotFinish(false);  // else no further assertion would be noticed
  simulation->context.errorCount(0);
  simulation->reset();
}

// Write what cover points saw to a file, if the simulation was built with them.
void engine_cover(Simulation* simulation, const char* path) {
  simulation->enter();
#if VM_COVERAGE
  simulation->context.coveragep()->write(path);
#else
  (void)path;
#endif
}

// Whether an assertion of the hardware has failed since the last reset.
int32_t engine_failed(Simulation* simulation) { return simulation->context.gotError(); }

// Write `words` wide words of `parts` 32-bit parts each from word address `base` (of the memory port, 32-bit) on; a wide word
// takes `stride` addresses. Returns the clock cycles it took.
uint64_t engine_write(Simulation* simulation, uint32_t base, uint32_t words, uint32_t parts, uint32_t stride,
                      const uint32_t* data) {
  simulation->enter();
  for (uint32_t w = 0; w < words; ++w)
    for (uint32_t p = 0; p < parts; ++p) simulation->write(base + w * stride + p, data[w * parts + p]);
  return uint64_t(words) * parts;
}

// As engine_write; returns 0, or −1 when the bus does not answer.
int32_t engine_read(Simulation* simulation, uint32_t base, uint32_t words, uint32_t parts, uint32_t stride,
                    uint32_t* data) {
  simulation->enter();
  for (uint32_t w = 0; w < words; ++w)
    for (uint32_t p = 0; p < parts; ++p)
      if (!simulation->read(base + w * stride + p, data + w * parts + p)) return -1;
  return 0;
}

// Start the program and run to its end, at most `limit` cycles. For layer l, counts[7*l …] become: cycles, steps,
// activation reads, activation writes, residual, weight and parameter reads. When `snapshots` is given, the whole
// activation memory (`memory_bytes`) is copied there after each layer. Returns the layers that ended, or −1 at the
// limit, −2 when there are more than `layers` of them, −3 when an assertion of the hardware failed, −4 before a layer
// that cannot be run, −5 when an access went beyond the end of a memory.
int32_t engine_run(Simulation* simulation, uint32_t layers, uint64_t limit, uint64_t* counts,
                   uint8_t* snapshots, uint64_t memory_bytes) {
  simulation->enter();
  Vintarsia_engine& top = simulation->top;
  std::memset(counts, 0, sizeof(uint64_t) * 7 * layers);
  top.start_i = 1;
  simulation->tick();
  top.start_i = 0;
  uint32_t layer = 0;
  for (uint64_t cycle = 0; cycle < limit; ++cycle) {
    top.clk_i = 0;
    top.eval();
    const bool done = top.layer_done_o, finished = top.finished_o, fault = top.fault_o;
    if (layer < layers) {
      uint64_t* c = counts + 7 * layer;
      c[0] += 1;
      c[1] += top.step_o;
      for (int i = 0; i < 5; ++i) c[2 + i] += (top.accesses_o >> i) & 1;
    }
    top.clk_i = 1;
    top.eval();
    if (done) {
      if (layer >= layers) return -2;
      if (snapshots) copy_activations(top, snapshots + layer * memory_bytes, memory_bytes);
      ++layer;
    }
    if (simulation->context.gotError()) return -3;
    if (fault) return -4;
    if (top.overrun_o) return -5;
    if (finished) return int32_t(layer);
  }
  return -1;
}
}
