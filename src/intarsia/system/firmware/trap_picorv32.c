// SPDX-License-Identifier: Apache-2.0
// Interrupts of PicoRV32 (platform.h), whose own instructions take the place of machine mode. Numbers of interrupts as
// in intarsia_picorv32.sv; 1, 2 and 5 are faults and always on.
#include "platform.h"

#define FAULTS (1u << 1 | 1u << 2 | 1u << 5)
#define LINE_TIMER 3
#define LINE_ACCELERATOR 4

static volatile uint32_t enabled;  // IRQ_…
static volatile bool handlers;

static uint32_t numbers(uint32_t lines) { return (lines & 3u) << LINE_TIMER; }

// maskirq: a bit that is set keeps its interrupt from being served.
static void set_mask(void) {
  const uint32_t mask = ~(FAULTS | (handlers ? numbers(enabled) : 0));
  __asm__ volatile(".insn r 0x0b, 6, 3, x0, %0, x0" ::"r"(mask) : "memory");
}

void trap_init(void) { set_mask(); }

void irq_enable(uint32_t lines) {
  enabled |= lines;
  set_mask();
}

void irq_disable(uint32_t lines) {
  enabled &= ~lines;
  set_mask();
}

void irq_on(void) {
  handlers = true;
  set_mask();
}

void irq_off(void) {
  handlers = false;
  set_mask();
}

// waitirq also ends when a line is high that is not enabled; then this loop keeps the processor busy.
void irq_wait(void) {
  const uint32_t awaited = numbers(enabled);
  uint32_t pending;
  do {
    __asm__ volatile(".insn r 0x0b, 4, 4, %0, x0, x0" : "=r"(pending)::"memory");
  } while (!(pending & awaited));
}

// The core goes on at pc in any case: it counts the faulting instruction as done.
void trap_dispatch(uint32_t pending, uint32_t pc) {
  pc &= ~1u;  // bit 0 says that the instruction before was a compressed one
  if (pending & 1u << 5) on_fault(FAULT_BUS, pc, read32(CONTROL_BASE + 12));
  if (pending & 1u << 1) on_fault(FAULT_ILLEGAL, pc, 0);
  if (pending & 1u << 2) on_fault(FAULT_MISALIGNED, pc, 0);
  if (pending & 1u << LINE_TIMER) on_timer();
  if (pending & 1u << LINE_ACCELERATOR) on_accelerator();
}
