// SPDX-License-Identifier: Apache-2.0
// UART, timer, exit, and what a program may replace (platform.h).
#include "platform.h"

void uart_putc(char c) {
  while (!(read32(UART_BASE + 4) & 1)) {
  }
  write32(UART_BASE, (uint8_t)c);
}

void uart_puts(const char *text) {
  while (*text) uart_putc(*text++);
}

// By subtraction: a division of 64 bits would bring the compiler's library into every program.
void uart_put_u64(uint64_t value) {
  static const uint64_t units[20] = {
      10000000000000000000ull, 1000000000000000000ull, 100000000000000000ull, 10000000000000000ull,
      1000000000000000ull,     100000000000000ull,     10000000000000ull,     1000000000000ull,
      100000000000ull,         10000000000ull,         1000000000ull,         100000000ull,
      10000000ull,             1000000ull,             100000ull,             10000ull,
      1000ull,                 100ull,                 10ull,                 1ull};
  bool begun = false;
  for (int i = 0; i < 20; ++i) {
    char digit = '0';
    for (; value >= units[i]; value -= units[i]) ++digit;
    begun |= digit != '0' || i == 19;
    if (begun) uart_putc(digit);
  }
}

void uart_put_u32(uint32_t value) { uart_put_u64(value); }

void uart_put_i32(int32_t value) {
  if (value < 0) uart_putc('-');
  uart_put_u64(value < 0 ? 0u - (uint32_t)value : (uint32_t)value);
}

void uart_put_hex(uint32_t value) {
  for (int shift = 28; shift >= 0; shift -= 4) uart_putc("0123456789abcdef"[value >> shift & 15]);
}

void system_exit(uint32_t code) {
  write32(CONTROL_BASE, code);
  for (;;) {
  }
}

uint64_t timer_now(void) {
  uint32_t low, high;
  do {
    high = read32(TIMER_BASE + 4);
    low = read32(TIMER_BASE);
  } while (high != read32(TIMER_BASE + 4));
  return (uint64_t)high << 32 | low;
}

void timer_set(uint64_t time) {
  write32(TIMER_BASE + 8, UINT32_MAX);  // so that no value between the old and the new one is seen
  write32(TIMER_BASE + 12, (uint32_t)(time >> 32));
  write32(TIMER_BASE + 8, (uint32_t)time);
}

__attribute__((weak)) void on_timer(void) { irq_disable(IRQ_TIMER); }
__attribute__((weak)) void on_accelerator(void) { irq_disable(IRQ_ACCELERATOR); }

__attribute__((weak)) void on_fault(fault_t fault, uint32_t pc, uint32_t address) {
  static const char *const names[] = {"", "bus error", "fetch of nothing", "illegal instruction", "misaligned access"};
  uart_puts("fault: ");
  uart_puts(names[fault]);
  uart_puts(", pc ");
  uart_put_hex(pc);
  uart_puts(", address ");
  uart_put_hex(address);
  uart_putc('\n');
  system_exit(0xFA000000u + (uint32_t)fault);
}
