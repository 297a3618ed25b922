// SPDX-License-Identifier: Apache-2.0
// Prints something, then never ends.
#include "platform.h"

int main(void) {
  uart_puts("so far");
  for (;;) {
  }
}
