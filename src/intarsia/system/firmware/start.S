// SPDX-License-Identifier: Apache-2.0
// Start-up code, the same for both cores: stack, global pointer, .data, .bss, then main; its result is the exit code.
//
// STACK_TOP is the end of the data bank (a multiple of 16), given by the toolchain.

  .section .start, "ax"
  .globl _start
_start:
  .option push
  .option norelax
  la gp, __global_pointer$
  .option pop
  li sp, STACK_TOP

  // All copies and clears go in steps of 16 bytes: the linker script aligns both ends to that.
  la a0, data_source
  la a1, data_start
  la a2, data_end
1:
  bgeu a1, a2, 2f
  lw t0, 0(a0)
  lw t1, 4(a0)
  lw t2, 8(a0)
  lw t3, 12(a0)
  sw t0, 0(a1)
  sw t1, 4(a1)
  sw t2, 8(a1)
  sw t3, 12(a1)
  addi a0, a0, 16
  addi a1, a1, 16
  j 1b
2:
  la a1, bss_start
  la a2, bss_end
3:
  bgeu a1, a2, 4f
  sw zero, 0(a1)
  sw zero, 4(a1)
  sw zero, 8(a1)
  sw zero, 12(a1)
  addi a1, a1, 16
  j 3b
4:
  call trap_init
  li a0, 0
  li a1, 0
  call main
  call system_exit
5:
  j 5b
