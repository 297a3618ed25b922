// SPDX-License-Identifier: Apache-2.0
// Runs a network on the accelerator for a few images and prints each result: a line of hexadecimal words behind `out`.
// Marks tell the simulation when a phase begins.
#include "intarsia.h"
#include "platform.h"

enum { LOAD = 1, LOADED, IMAGE, STARTED, FINISHED, FETCHED };

extern const intarsia_program_t program;
extern const uint32_t images[];
extern const uint32_t image_count, image_words;

static uint32_t output[OUTPUT_WORDS];

static int failed(const char *what, intarsia_status_t status) {
  uart_puts(what);
  uart_puts(": ");
  uart_puts(intarsia_message(status));
  uart_putc('\n');
  return (int)status;
}

int main(void) {
  intarsia_device_t device;
  irq_enable(IRQ_ACCELERATOR);
  intarsia_status_t status = intarsia_open(&device, ACCELERATOR_BASE, irq_wait);
  if (status != INTARSIA_OK) return failed("open", status);
  system_mark(LOAD);
  status = intarsia_load(&device, &program);
  system_mark(LOADED);
  if (status != INTARSIA_OK) return failed("load", status);
  for (uint32_t i = 0; i < image_count; i++) {
    system_mark(IMAGE);
    status = intarsia_put_image(&device, &program, images + i * image_words);
    system_mark(STARTED);
    if (status != INTARSIA_OK) return failed("image", status);
    intarsia_start(&device);
    status = intarsia_finish(&device);
    system_mark(FINISHED);
    if (status != INTARSIA_OK) return failed("run", status);
    status = intarsia_get_output(&device, &program, output);
    system_mark(FETCHED);
    if (status != INTARSIA_OK) return failed("output", status);
    uart_puts("out");
    for (uint32_t w = 0; w < program.output_length; w++) {
      uart_putc(' ');
      uart_put_hex(output[w]);
    }
    uart_putc('\n');
  }
  return 0;
}
