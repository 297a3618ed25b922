// SPDX-License-Identifier: Apache-2.0
// Runs a network in software, as an exported C library, for a few images and prints each result: a line of values
// behind `out`. Marks tell the simulation when an inference begins and ends.
#include NETWORK_HEADER
#include "platform.h"

enum { BEGIN = 1, END };

extern const uint32_t images[];
extern const uint32_t image_count, image_words;

static OUTPUT_TYPE output[OUTPUT_SIZE];

int main(void) {
  for (uint32_t i = 0; i < image_count; i++) {
    system_mark(BEGIN);
    NETWORK_RUN((const INPUT_TYPE *)(images + i * image_words), output);
    system_mark(END);
    uart_puts("out");
    for (uint32_t o = 0; o < OUTPUT_SIZE; o++) {
      uart_putc(' ');
      uart_put_i32(output[o]);
    }
    uart_putc('\n');
  }
  return 0;
}
