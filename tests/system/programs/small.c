// SPDX-License-Identifier: Apache-2.0
// Sums a table that the test may replace, between two marks; prints the sum and returns 7.
#include "platform.h"

const volatile uint8_t table[256] = {1, 2, 3};
volatile uint32_t result = 0x00030201;

int main(void) {
  if (result != 0x00030201) return 1;  // the start-up code copies variables
  uint32_t sum = 0;
  system_mark(10);
  for (uint32_t i = 0; i < sizeof table; ++i) sum += table[i];
  system_mark(11);
  result = sum;
  uart_put_u32(sum);
  return 7;
}
