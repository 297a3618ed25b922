// SPDX-License-Identifier: Apache-2.0
//
// Runs one inference on the counter of instructions, see rv32_counter.c. NAME, IN_SIZE, OUT_SIZE and the types are
// macros of the build.

#include <stdint.h>

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

void JOIN(NAME, _run)(const IN_TYPE *input, OUT_TYPE *output);

// The compiler makes calls of these out of loops.
void *memcpy(void *restrict to, const void *restrict from, __SIZE_TYPE__ size)
{
    volatile uint8_t *t = to;
    for (const uint8_t *f = from; size > 0; --size) {
        *t++ = *f++;
    }
    return to;
}

void *memset(void *to, int value, __SIZE_TYPE__ size)
{
    volatile uint8_t *t = to;
    for (; size > 0; --size) {
        *t++ = (uint8_t)value;
    }
    return to;
}

int main(void)
{
    JOIN(NAME, _run)((const IN_TYPE *)0xf00000, (OUT_TYPE *)0xf80000);
    *(volatile int32_t *)0xfff000 = -1;
    for (;;) {
    }
}

__attribute__((naked, section(".start"))) void _start(void)
{
    __asm__("lui sp, 0xe00\n j main");
}
