// SPDX-License-Identifier: Apache-2.0
// Does what a driver's user should not, and prints what the driver says: a line of name and status for each mistake.
// After each, the sound program must give its result again, else the program ends with the number of the mistake.
#include "intarsia.h"
#include "intarsia_registers.h"
#include "platform.h"

extern const intarsia_program_t program, bad_layer, overrun, endless, of_other_build, of_damaged_weights;
extern const uint32_t images[];
extern const uint32_t image_count, image_words;

#define NOWHERE 0x50000000u
#define ACTIVATIONS (ACCELERATOR_BASE + (1u << 22))
#define REGISTERS ((volatile intarsia_registers_t *)ACCELERATOR_BASE)

static intarsia_device_t device;
static uint32_t expected[OUTPUT_WORDS], output[OUTPUT_WORDS];
static int mistakes;
static uint32_t bus_faults;

void on_fault(fault_t fault, uint32_t pc, uint32_t address) {
  (void)pc;
  (void)address;
  bus_faults += fault == FAULT_BUS;
}

static bool sound(uint32_t *to) {
  return intarsia_load(&device, &program) == INTARSIA_OK && intarsia_run(&device, &program, images, to) == INTARSIA_OK;
}

static void told(const char *name, intarsia_status_t status) {
  uart_puts(name);
  uart_putc(' ');
  uart_put_u32(status);
  uart_putc('\n');
  mistakes++;
  bool same = sound(output);
  for (unsigned i = 0; i < OUTPUT_WORDS; i++) same = same && output[i] == expected[i];
  if (!same) system_exit(mistakes);
}

static intarsia_status_t run(const intarsia_program_t *other) {
  const intarsia_status_t status = intarsia_load(&device, other);
  if (status != INTARSIA_OK) return status;
  return intarsia_run(&device, other, images, output);
}

int main(void) {
  irq_enable(IRQ_ACCELERATOR);
  if (intarsia_open(&device, ACCELERATOR_BASE, irq_wait) != INTARSIA_OK || !sound(expected)) return 100;

  told("other_build", run(&of_other_build));
  told("damaged", run(&of_damaged_weights));
  // The driver notices these two when it loads; the hardware must refuse them too.
  intarsia_load(&device, &of_damaged_weights);
  intarsia_start(&device);
  told("damaged_start", intarsia_finish(&device));
  intarsia_load(&device, &program);
  REGISTERS->PROGRAM_BUILD = ~program.build;
  intarsia_start(&device);
  told("other_build_start", intarsia_finish(&device));
  told("bad_layer", run(&bad_layer));
  told("overrun", run(&overrun));
  told("endless", run(&endless));

  told("image_nowhere", intarsia_put_image(&device, &program, (const void *)NOWHERE));
  told("output_nowhere", intarsia_get_output(&device, &program, (uint32_t *)NOWHERE));
  intarsia_program_t changed = program;
  changed.weights = (const uint32_t *)NOWHERE;
  told("weights_nowhere", intarsia_load(&device, &changed));
  changed = program;
  changed.weight_length = 0xfffff;
  told("weights_too_long", intarsia_load(&device, &changed));
  changed = program;
  changed.output_length = 0;
  told("output_empty", intarsia_get_output(&device, &changed, output));
  told("output_misaligned", intarsia_get_output(&device, &program, (uint32_t *)((uintptr_t)output + 2)));

  // A second start, and an access to memory, in the middle of a run: noted, and the run goes on.
  intarsia_put_image(&device, &program, images);
  intarsia_start(&device);
  REGISTERS->CONTROL = INTARSIA_REGISTERS__CONTROL__START_bm;
  told("second_start", intarsia_finish(&device));
  intarsia_start(&device);
  (void)read32(ACTIVATIONS);
  told("read_while_busy", intarsia_finish(&device));
  intarsia_start(&device);
  write32(ACTIVATIONS, 1);
  told("write_while_busy", intarsia_finish(&device));
  intarsia_start(&device);
  intarsia_status_t status = intarsia_put_image(&device, &program, images);
  if (intarsia_finish(&device) != INTARSIA_OK) return 102;
  told("transfer_while_busy", status);
  // Nothing is changed then: what was loaded runs again.
  intarsia_start(&device);
  status = intarsia_load(&device, &program);
  if (intarsia_finish(&device) != INTARSIA_OK) return 103;
  if (intarsia_run(&device, &program, images, output) != INTARSIA_OK) return 104;
  told("load_while_busy", status);
  // The driver asks before; the hardware must refuse it, too.
  intarsia_start(&device);
  REGISTERS->DMA_CONTROL = INTARSIA_REGISTERS__DMA_CONTROL__START_bm;
  told("dma_while_busy", intarsia_finish(&device));
  intarsia_start(&device);
  (void)read32(ACCELERATOR_BASE + 0x1000);
  told("no_register", intarsia_finish(&device));
  if (bus_faults == 0) return 101;

  // The end of a run from outside.
  intarsia_start(&device);
  told("opened_again", intarsia_open(&device, ACCELERATOR_BASE, irq_wait));
  intarsia_start(&device);
  REGISTERS->CONTROL = INTARSIA_REGISTERS__CONTROL__ABORT_bm;
  told("aborted", intarsia_finish(&device));

  intarsia_device_t other;
  told("no_device", intarsia_open(&other, DATA_BASE, irq_wait));
  // The same without the interrupt.
  device.wait = 0;
  told("polled", run(&endless));
  uart_puts("end\n");
  return 0;
}
