// SPDX-License-Identifier: Apache-2.0
// The system around the accelerator as C sees it: UART, timer, counters, interrupts, exit. No C library is needed;
// memcpy, memmove, memset and memcmp are here because compilers call them.
#ifndef INTARSIA_PLATFORM_H
#define INTARSIA_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Address map (intarsia_soc.sv).
#define CODE_BASE 0x00000000u
#define DATA_BASE 0x10000000u
#define UART_BASE 0x40000000u
#define TIMER_BASE 0x40001000u
#define CONTROL_BASE 0x40002000u
#define ACCELERATOR_BASE 0x80000000u

static inline void write32(uintptr_t address, uint32_t value) { *(volatile uint32_t *)address = value; }
static inline uint32_t read32(uintptr_t address) { return *(volatile uint32_t *)address; }

// UART.
void uart_putc(char c);
void uart_puts(const char *text);  // without a line feed
void uart_put_u32(uint32_t value);  // decimal
void uart_put_i32(int32_t value);
void uart_put_u64(uint64_t value);
void uart_put_hex(uint32_t value);  // 8 hexadecimal digits

// End the program: the simulation stops here. main's result does the same.
__attribute__((noreturn)) void system_exit(uint32_t code);
// Let the simulation note its counters under a number (SystemRun.marks); one store.
static inline void system_mark(uint32_t number) { write32(CONTROL_BASE + 4, number); }

// Clock cycles and completed instructions since the reset. Ibex has the counters of machine mode only.
#ifdef CORE_IBEX
#define INTARSIA_COUNTER(name) "csrr %0, m" name "h\n\tcsrr %1, m" name "\n\tcsrr %2, m" name "h"
#else
#define INTARSIA_COUNTER(name) "rd" name "h %0\n\trd" name " %1\n\trd" name "h %2"
#endif
static inline uint64_t cycles(void) {
  uint32_t low, high, again;
  do {
    __asm__ volatile(INTARSIA_COUNTER("cycle") : "=&r"(high), "=&r"(low), "=r"(again));
  } while (high != again);
  return (uint64_t)high << 32 | low;
}
static inline uint64_t instructions(void) {
  uint32_t low, high, again;
  do {
    __asm__ volatile(INTARSIA_COUNTER("instret") : "=&r"(high), "=&r"(low), "=r"(again));
  } while (high != again);
  return (uint64_t)high << 32 | low;
}

// Timer: counts clock cycles since the reset; its line is high from the given time on.
uint64_t timer_now(void);
void timer_set(uint64_t time);

// Interrupt lines.
#define IRQ_TIMER 1u
#define IRQ_ACCELERATOR 2u
// Enable or disable lines; at start-up all are disabled.
void irq_enable(uint32_t lines);
void irq_disable(uint32_t lines);
// Whether an enabled line that is high calls its handler. At start-up it does not: it only ends irq_wait.
void irq_on(void);
void irq_off(void);
// Stop the processor until an enabled line is high; return at once if one is. With handlers on, they run first, and a
// line that its handler has lowered or disabled no longer ends it: a program that waits leaves them off.
void irq_wait(void);
// Handlers; a program may define its own. These disable their line.
void on_timer(void);
void on_accelerator(void);

// What cannot be ignored.
typedef enum { FAULT_BUS = 1, FAULT_FETCH = 2, FAULT_ILLEGAL = 3, FAULT_MISALIGNED = 4 } fault_t;
// Called after a fault; a program may define its own. If it returns, execution goes on after the faulting instruction,
// as if a load had read an undefined value. This one prints the fault and ends the program with exit code
// 0xFA000000 + fault.
//
//   fault        Ibex                                     PicoRV32
//   BUS          access answered with err                 the same; reported after the access, pc is the instruction
//                                                         that follows
//   FETCH        instruction fetched with err             reported as ILLEGAL
//   ILLEGAL      illegal instruction, ebreak, ecall       the same
//   MISALIGNED   never (the core splits the access)       misaligned access; address is not known (0)
void on_fault(fault_t fault, uint32_t pc, uint32_t address);

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);

#endif
