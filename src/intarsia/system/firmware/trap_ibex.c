// SPDX-License-Identifier: Apache-2.0
// Interrupts and exceptions of Ibex in machine mode (platform.h).
#include "platform.h"

#define MSTATUS_MIE 8u
#define INTERRUPT 0x80000000u
#define CAUSE_TIMER (INTERRUPT | 7u)
#define CAUSE_EXTERNAL (INTERRUPT | 11u)

static uint32_t numbers(uint32_t lines) {
  return (lines & IRQ_TIMER ? 1u << 7 : 0) | (lines & IRQ_ACCELERATOR ? 1u << 11 : 0);
}

void trap_init(void) {
  __asm__ volatile("csrw mie, zero");
  __asm__ volatile("csrw mtvec, zero");
  __asm__ volatile("csrw mcountinhibit, zero");
}

void irq_enable(uint32_t lines) { __asm__ volatile("csrs mie, %0" ::"r"(numbers(lines)) : "memory"); }
void irq_disable(uint32_t lines) { __asm__ volatile("csrc mie, %0" ::"r"(numbers(lines)) : "memory"); }
void irq_on(void) { __asm__ volatile("csrs mstatus, %0" ::"r"(MSTATUS_MIE) : "memory"); }
void irq_off(void) { __asm__ volatile("csrc mstatus, %0" ::"r"(MSTATUS_MIE) : "memory"); }
void irq_wait(void) { __asm__ volatile("wfi" ::: "memory"); }

static fault_t fault_of(uint32_t cause) {
  switch (cause) {
    case 1: return FAULT_FETCH;
    case 5:
    case 7: return FAULT_BUS;
    default: return FAULT_ILLEGAL;
  }
}

// Returns where to go on. The instruction at pc is read to step over it: its lowest bits tell its length.
uint32_t trap_dispatch(uint32_t cause, uint32_t pc, uint32_t value) {
  if (cause == CAUSE_TIMER) {
    on_timer();
    return pc;
  }
  if (cause == CAUSE_EXTERNAL) {
    on_accelerator();
    return pc;
  }
  const fault_t fault = fault_of(cause);
  on_fault(fault, pc, fault == FAULT_BUS ? value : 0);
  return pc + ((*(const uint16_t *)(uintptr_t)pc & 3) == 3 ? 4 : 2);
}
