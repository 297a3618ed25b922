// SPDX-License-Identifier: Apache-2.0
// Interrupt entry of PicoRV32. The core jumps to 0x00 with its other interrupts off; q0 holds where to go on, q1 the
// interrupts to serve. Only the registers that a C function may change are saved.

#include "frame.h"

  .section .vectors, "ax"
  j trap_entry

  .text
  .globl trap_entry
trap_entry:
  SAVE_REGISTERS
  .insn r 0x0b, 4, 0, a0, x1, x0   // getq a0, q1
  .insn r 0x0b, 4, 0, a1, x0, x0   // getq a1, q0
  call trap_dispatch
  RESTORE_REGISTERS
  .insn r 0x0b, 0, 2, x0, x0, x0   // retirq
