// SPDX-License-Identifier: Apache-2.0
// The functions that compilers call for copies and clears: words where both addresses allow it, else bytes.
#include "platform.h"

typedef uint32_t __attribute__((may_alias)) word_t;

static bool both_aligned(const void *a, const void *b) { return (((uintptr_t)a | (uintptr_t)b) & 3) == 0; }

void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
  uint8_t *target = to;
  const uint8_t *source = from;
  if (both_aligned(to, from)) {
    for (; bytes >= 16; bytes -= 16, target += 16, source += 16) {
      const word_t *s = (const word_t *)source;
      word_t *t = (word_t *)target;
      word_t a = s[0], b = s[1], c = s[2], d = s[3];
      t[0] = a, t[1] = b, t[2] = c, t[3] = d;
    }
    for (; bytes >= 4; bytes -= 4, target += 4, source += 4) *(word_t *)target = *(const word_t *)source;
  }
  for (; bytes; --bytes) *target++ = *source++;
  return to;
}

void *memmove(void *to, const void *from, size_t bytes) {
  uint8_t *target = to;
  const uint8_t *source = from;
  if (target < source) {
    for (; bytes; --bytes) *target++ = *source++;
  } else {
    while (bytes--) target[bytes] = source[bytes];
  }
  return to;
}

void *memset(void *to, int value, size_t bytes) {
  uint8_t *target = to;
  if (both_aligned(to, to)) {
    const word_t word = (uint8_t)value * 0x01010101u;
    for (; bytes >= 16; bytes -= 16, target += 16) {
      word_t *t = (word_t *)target;
      t[0] = word, t[1] = word, t[2] = word, t[3] = word;
    }
    for (; bytes >= 4; bytes -= 4, target += 4) *(word_t *)target = word;
  }
  for (; bytes; --bytes) *target++ = (uint8_t)value;
  return to;
}

int memcmp(const void *a, const void *b, size_t bytes) {
  const uint8_t *x = a, *y = b;
  for (; bytes; --bytes, ++x, ++y) {
    if (*x != *y) return *x - *y;
  }
  return 0;
}
