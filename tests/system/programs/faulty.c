// SPDX-License-Identifier: Apache-2.0
// Reads from nowhere and does not handle the fault; or, with WORSE, faults again in its handler.
#include "platform.h"

#ifdef WORSE
void on_fault(fault_t fault, uint32_t pc, uint32_t address) {
  (void)fault;
  (void)pc;
  (void)address;
  __asm__ volatile(".word 0xffffffff");
}
#endif

int main(void) {
  uart_puts("before ");
  (void)read32(0x20000000u);
  uart_puts("after");
  return 0;
}
