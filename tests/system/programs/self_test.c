// SPDX-License-Identifier: Apache-2.0
// Checks the system from within: prints the line of each check that fails, returns how many did.
#include "platform.h"

#define SCRATCH (ACCELERATOR_BASE + 0x00)  // of tests/system/rtl/intarsia_accelerator.sv
#define SOURCE (ACCELERATOR_BASE + 0x04)
#define COUNT (ACCELERATOR_BASE + 0x08)
#define SUM (ACCELERATOR_BASE + 0x0c)
#define DONE (ACCELERATOR_BASE + 0x10)
#define DMA_ERRORS (ACCELERATOR_BASE + 0x14)
#define NOWHERE 0x20000004u

static uint32_t failures;
static volatile uint32_t faults, fault_address, timer_interrupts, accelerator_interrupts;
static volatile fault_t last_fault;
static uint32_t cleared[5];
static volatile int32_t initialized[3] = {-1, 2, 0x7fffffff};
static const uint32_t constants[64] = {1, 2, 3, 4, [63] = 100};

static void check(bool good, int line) {
  if (good) return;
  ++failures;
  uart_puts("line ");
  uart_put_i32(line);
  uart_puts(" failed\n");
}
#define CHECK(condition) check(condition, __LINE__)

void on_fault(fault_t fault, uint32_t pc, uint32_t address) {
  (void)pc;
  ++faults;
  last_fault = fault;
  fault_address = address;
}

void on_timer(void) {
  ++timer_interrupts;
  timer_set(UINT64_MAX);
}

void on_accelerator(void) {
  ++accelerator_interrupts;
  write32(DONE, 0);
}

static void arithmetic(void) {
  volatile int32_t a = -7, b = 3, zero = 0, least = INT32_MIN, minus = -1;
  volatile uint32_t big = 0xfffffff9u;
  CHECK(a * b == -21);
  CHECK((int32_t)((int64_t)a * b >> 32) == -1);
  CHECK((uint32_t)((uint64_t)big * big >> 32) == 0xfffffff2u);
  CHECK(a / b == -2 && a % b == -1);
  CHECK(big / 3u == 1431655763u && big % 10u == 9u);
  int32_t quotient, remainder;
  __asm__ volatile("div %0, %1, %2" : "=r"(quotient) : "r"(a), "r"(zero));
  __asm__ volatile("rem %0, %1, %2" : "=r"(remainder) : "r"(a), "r"(zero));
  CHECK(quotient == -1 && remainder == -7);
  __asm__ volatile("div %0, %1, %2" : "=r"(quotient) : "r"(least), "r"(minus));
  CHECK(quotient == INT32_MIN);
  volatile uint64_t wide = 1000000000000ull;
  volatile uint32_t shift = 31;
  CHECK(wide / 7 == 142857142857ull && wide % 1000003 == 9);
  CHECK(a >> 1 == -4 && big >> shift == 1 && (1u << shift) == 0x80000000u);
}

static void accesses(void) {
  volatile union {
    uint32_t word;
    uint16_t halves[2];
    uint8_t bytes[4];
  } cell = {.word = 0x01020304};
  CHECK(cell.bytes[0] == 4 && cell.bytes[3] == 1 && cell.halves[1] == 0x0102);
  cell.bytes[1] = 0xff;
  CHECK(cell.word == 0x0102ff04);
  cell.halves[1] = 0x8000;
  CHECK(cell.word == 0x8000ff04 && (int16_t)cell.halves[1] == INT16_MIN && (int8_t)cell.bytes[1] == -1);
  CHECK(cleared[0] == 0 && cleared[4] == 0);
  CHECK(initialized[0] == -1 && initialized[1] == 2 && initialized[2] == INT32_MAX);
  CHECK(constants[3] == 4 && constants[63] == 100 && (uintptr_t)constants >= DATA_BASE);
}

static void copies(void) {
  static uint8_t from[80], to[80];
  for (uint32_t i = 0; i < sizeof from; ++i) from[i] = (uint8_t)(i * 7 + 1);
  for (uint32_t begin = 0; begin < 5; ++begin) {
    for (uint32_t bytes = 0; bytes < 40; ++bytes) {
      memset(to, 0xa5, sizeof to);
      CHECK(memcpy(to + begin, from + 4, bytes) == to + begin);
      CHECK(memcmp(to + begin, from + 4, bytes) == 0);
      CHECK(to[begin + bytes] == 0xa5 && (begin == 0 || to[begin - 1] == 0xa5));
    }
  }
  memcpy(to, from, sizeof to);
  memmove(to + 3, to, 40);
  CHECK(memcmp(to + 3, from, 40) == 0);
  memmove(to, to + 3, 40);
  CHECK(memcmp(to, from, 40) == 0);
  CHECK(memcmp("a", "b", 1) < 0);
}

static void interrupts(void) {
  const uint64_t begin = timer_now();
  timer_set(begin + 2000);
  irq_enable(IRQ_TIMER);
  irq_wait();  // no handler: it only ends the waiting
  CHECK(timer_now() >= begin + 2000 && timer_now() < begin + 3000 && timer_interrupts == 0);
  irq_on();  // the line is still high
  while (!timer_interrupts) {
  }
  CHECK(timer_interrupts == 1);
  timer_set(timer_now() + 500);
  irq_wait();
  CHECK(timer_interrupts == 2);
  irq_disable(IRQ_TIMER);
  timer_set(timer_now());
  for (volatile int i = 0; i < 20; ++i) {
  }
  CHECK(timer_interrupts == 2);
  timer_set(UINT64_MAX);
  irq_off();
}

static void bus_errors(void) {
  CHECK(faults == 0);
  write32(NOWHERE, 1);
  CHECK(faults == 1 && last_fault == FAULT_BUS && fault_address == NOWHERE);
  (void)read32(NOWHERE + 8);
  CHECK(faults == 2 && fault_address == NOWHERE + 8);
  (void)read32(DATA_BASE + (4u << 20));  // beyond the RAM
  CHECK(faults == 3);
  *(volatile uint8_t *)(uintptr_t)(TIMER_BASE + 8) = 1;  // registers take whole words
  CHECK(faults == 4);
  write32(TIMER_BASE, 1);  // read only
  CHECK(faults == 5);
  (void)read32(ACCELERATOR_BASE + 0x100);
  CHECK(faults == 6 && fault_address == ACCELERATOR_BASE + 0x100);
  __asm__ volatile(".word 0xffffffff");
  CHECK(faults == 7 && last_fault == FAULT_ILLEGAL);
  __asm__ volatile(".2byte 0x9002");  // c.ebreak
  CHECK(faults == 8 && last_fault == FAULT_ILLEGAL);
}

static void accelerator(void) {
  write32(SCRATCH, 0x12345678);
  CHECK(read32(SCRATCH) == 0x12345678);
  static uint32_t words[50];
  uint32_t sum = 0;
  for (uint32_t i = 0; i < 50; ++i) sum += words[i] = i * i * 12345678;
  write32(SOURCE, (uint32_t)(uintptr_t)words);
  irq_enable(IRQ_ACCELERATOR);
  write32(COUNT, 50);
  irq_wait();
  CHECK(read32(SUM) == sum && read32(DONE) == 1 && read32(DMA_ERRORS) == 0);
  irq_on();
  while (!accelerator_interrupts) {
  }
  CHECK(accelerator_interrupts == 1 && read32(DONE) == 0);
  irq_off();
  write32(SOURCE, NOWHERE);
  write32(COUNT, 3);
  irq_wait();
  CHECK(read32(DMA_ERRORS) == 3);
  write32(DONE, 0);
}

static void counters(void) {
  const uint64_t instructions_before = instructions(), cycles_before = cycles(), time = timer_now();
  for (volatile int i = 0; i < 100; ++i) {
  }
  const uint64_t executed = instructions() - instructions_before, took = cycles() - cycles_before;
  CHECK(executed > 300 && executed < 1500 && took >= executed && took < 10000);
  CHECK(timer_now() - time >= took - 100);
  CHECK(read32(CONTROL_BASE + 8) == CORE_NUMBER);
}

int main(void) {
  system_mark(1);
  arithmetic();
  accesses();
  copies();
  interrupts();
  bus_errors();
  accelerator();
  counters();
  system_mark(2);
  uart_put_u64(18446744073709551615ull);
  uart_putc(' ');
  uart_put_i32(INT32_MIN);
  uart_putc(' ');
  uart_put_u32(0);
  uart_putc(' ');
  uart_put_hex(0x00c0ffee);
  uart_putc('\n');
  return (int)failures;
}
