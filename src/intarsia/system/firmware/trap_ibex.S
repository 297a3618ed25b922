// SPDX-License-Identifier: Apache-2.0
// Trap entry of Ibex, in machine mode. Every vector leads to the same place; the result of trap_dispatch is where to go
// on. Only the registers that a C function may change are saved.

#include "frame.h"

  .section .vectors, "ax"
  .option push
  .option norvc
  .rept 32
  j trap_entry
  .endr
  .option pop

  .text
  .globl trap_entry
trap_entry:
  SAVE_REGISTERS
  csrr a0, mcause
  csrr a1, mepc
  csrr a2, mtval
  call trap_dispatch
  csrw mepc, a0
  RESTORE_REGISTERS
  mret
