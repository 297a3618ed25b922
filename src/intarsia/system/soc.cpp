// SPDX-License-Identifier: Apache-2.0
// Drives one simulated system from Python (ctypes). Built with the Verilator model into a shared library; IBEX is
// defined where the core is Ibex.
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "Vintarsia_soc.h"
#include "Vintarsia_soc___024root.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

namespace {
#define MEMBER(name) top.rootp->intarsia_soc__DOT__##name
#ifdef IBEX
#define RETIRED MEMBER(gen_ibex__DOT__u_core__DOT__u_core__DOT__cs_registers_i__DOT__minstret_counter_i__DOT__counter)
#else
#define RETIRED MEMBER(gen_picorv32__DOT__u_core__DOT__u_core__DOT__count_instr)
#endif

// Counted since the reset; the order is that of Counts in simulation.py.
struct Counts {
  uint64_t cycles, instructions;
  uint64_t busy[3];   // accelerator: engine, DMA, other
  uint64_t waits[3];  // data port, instruction port, DMA
};
struct Mark {
  uint64_t number;
  Counts counts;
};

enum Status { RUNNING = 0, EXITED = 1, STOPPED = 2, FAILED = 3 };

struct Simulation {
  VerilatedContext context;
  Vintarsia_soc top;
  Counts counts{};
  std::string uart;
  std::vector<Mark> marks;
  uint32_t exit_code = 0;
  const bool assertions;
#if VM_TRACE
  VerilatedVcdC trace;
#endif

  // The model draws the first content of its registers and memories while it is constructed.
  Simulation(uint32_t seed, const char* waves, bool assertions)
      : top{seeded(&context, seed)}, assertions{assertions} {
    context.fatalOnError(false);  // a failed assertion ends the run, not the process
#if VM_TRACE
    top.trace(&trace, 99);
    trace.open(waves);
#else
    (void)waves;
#endif
    top.clk_i = 0;
    top.rst_ni = 1;
    top.eval();
    top.rst_ni = 0;
    top.eval();
  }
  static VerilatedContext* seeded(VerilatedContext* context, uint32_t seed) {
    Verilated::threadContextp(context);
    context->traceEverOn(VM_TRACE);
    context->randReset(2);  // random, not 0
    context->randSeed(int(seed));
    return context;
  }
  // Assertions report to the context of the thread that runs the model.
  void enter() { Verilated::threadContextp(&context); }
  void edge(int level) {
    top.clk_i = level;
    top.eval();
#if VM_TRACE
    context.timeInc(5);
    trace.dump(context.time());
#endif
  }
  void tick() {
    edge(0);
    edge(1);
  }
  void reset() {
    context.gotError(false);
    context.gotFinish(false);  // else no further assertion would be noticed
    context.errorCount(0);
    // Before the first clock edges, registers hold what was drawn: no assertion can hold.
    context.assertOn(false);
    top.rst_ni = 0;
    for (int i = 0; i < 4; ++i) tick();
    context.assertOn(assertions);
    top.rst_ni = 1;
    counts = Counts{};
    uart.clear();
    marks.clear();
  }
  // What the outputs say of the cycle that follows a clock edge.
  Status observe() {
    counts.cycles += 1;
    const uint32_t busy = top.busy_o, waits = top.wait_o;
    if (busy | waits) {
      for (int i = 0; i < 3; ++i) {
        counts.busy[i] += busy >> i & 1;
        counts.waits[i] += waits >> i & 1;
      }
    }
    if (top.uart_valid_o) uart.push_back(char(top.uart_data_o));
    if (top.mark_valid_o) marks.push_back({top.value_o, counted()});
    if (top.exit_valid_o) {
      exit_code = top.value_o;
      return EXITED;
    }
    return top.trap_o ? STOPPED : RUNNING;
  }
  Counts counted() {
    Counts now = counts;
    now.instructions = RETIRED;
    return now;
  }
  uint8_t* bank(uint32_t number) {
    return reinterpret_cast<uint8_t*>(number ? &MEMBER(u_data__DOT__u_memory__DOT__words)[0]
                                             : &MEMBER(u_code__DOT__u_memory__DOT__words)[0]);
  }
};
}  // namespace

extern "C" {

// `seed` (1 to 2^31 - 1) draws the first content of all registers and memories. `waves` is a file for all signals, if
// the simulation was built with them. `assertions`: those of the hardware are checked.
Simulation* system_create(uint32_t seed, const char* waves, int32_t assertions) {
  return new Simulation(seed, waves, assertions != 0);
}

void system_destroy(Simulation* simulation) {
  simulation->enter();
#if VM_TRACE
  simulation->trace.close();
#endif
  delete simulation;
}

// Reset the hardware and forget what was counted; RAM keeps its content.
void system_reset(Simulation* simulation) {
  simulation->enter();
  simulation->reset();
}

// Copy bytes to or from a RAM bank (0, code; 1, data). The caller keeps to its size.
void system_write(Simulation* simulation, uint32_t bank, uint32_t offset, const uint8_t* from, uint32_t bytes) {
  std::memcpy(simulation->bank(bank) + offset, from, bytes);
}
void system_read(Simulation* simulation, uint32_t bank, uint32_t offset, uint8_t* to, uint32_t bytes) {
  std::memcpy(to, simulation->bank(bank) + offset, bytes);
}

// Run for at most `limit` cycles. Returns a Status.
int32_t system_run(Simulation* simulation, uint64_t limit) {
  simulation->enter();
  for (uint64_t i = 0; i < limit; ++i) {
    simulation->tick();
    if (simulation->context.gotError()) return FAILED;
    if (const Status status = simulation->observe()) return status;
  }
  return RUNNING;
}

void system_counts(Simulation* simulation, uint64_t* to) {
  const Counts counts = simulation->counted();
  std::memcpy(to, &counts, sizeof counts);
}

uint32_t system_exit_code(Simulation* simulation) { return simulation->exit_code; }

// What the program has sent to the UART, and how many bytes it is.
const char* system_uart(Simulation* simulation, uint64_t* bytes) {
  *bytes = simulation->uart.size();
  return simulation->uart.data();
}

// The marks that the program has set: a number and the counts of each, if `to` is given. Returns how many there are.
uint64_t system_marks(Simulation* simulation, uint64_t* to) {
  if (to) std::memcpy(to, simulation->marks.data(), simulation->marks.size() * sizeof(Mark));
  return simulation->marks.size();
}
}
