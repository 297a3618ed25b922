// SPDX-License-Identifier: Apache-2.0
//
// What all kernels share. C99, freestanding: only <stdint.h> is needed. The kernels use no heap, no recursion, no
// function pointer and no floating point.
//
// Each kernel is a template: a header that is included once for each combination of types that a network has, with
// the types as macros. So a network contains only what it runs, and every function has fixed types.
//
// Tensors are stored as (height, width, channels), one value per int8_t, uint8_t, int16_t or uint16_t. An output is
// written through the unsigned type of its width; the bits are those of the signed type.

#ifndef INTARSIA_KERNELS_H
#define INTARSIA_KERNELS_H

#include <stdint.h>

// Called before layer `index`, and with the number of layers at the end; a build may define it, for example to read a
// cycle counter.
#ifndef INTARSIA_TRACE_LAYER
#define INTARSIA_TRACE_LAYER(index) ((void)0)
#endif

// A right shift of a negative number is left to the compiler by C99; all that matter shift in copies of the sign.
typedef char intarsia_right_shift_is_arithmetic[((-5) >> 1) == -3 ? 1 : -1];

// A window that slides over an image. All sizes are in elements; padding counts as zeros.
struct intarsia_window {
    int32_t height, width, channels;          // of the input
    int32_t out_height, out_width, outputs;   // of the output
    int32_t kernel_height, kernel_width;
    int32_t stride_height, stride_width;
    int32_t top, left;                        // padding
    int32_t lo, hi;                           // least and greatest output
};

// Requantization of an output channel: (acc * multiplier + bias) >> shift. The bias includes the rounding, half of
// 2^shift. Sums are 32 or 64 bits wide; the exporter proves which.
struct intarsia_channel32 {
    int32_t bias;
    uint16_t multiplier;
    uint8_t shift;
};

struct intarsia_channel64 {
    int64_t bias;
    uint16_t multiplier;
    uint8_t shift;
};

static inline int32_t intarsia_least(int32_t a, int32_t b) { return a < b ? a : b; }

static inline int32_t intarsia_greatest(int32_t a, int32_t b) { return a > b ? a : b; }

// Where a window begins in one direction: the first of its taps that is inside the image, and how many are.
struct intarsia_span {
    int32_t start, first, count;
};

static inline struct intarsia_span intarsia_clip(int32_t start, int32_t kernel, int32_t size)
{
    struct intarsia_span span;
    span.start = start;
    span.first = intarsia_least(intarsia_greatest(-start, 0), kernel);
    span.count = intarsia_greatest(intarsia_least(kernel, size - start) - span.first, 0);
    return span;
}

// Keeps a sum in a register at this place of the program. Without it, compilers load the operands of many
// multiplications ahead, run out of registers, and spill what they loaded: that costs twice the instructions.
#if defined(__GNUC__) && !defined(INTARSIA_PLAIN_C)
#define INTARSIA_HOLD(sum) __asm__ volatile("" : "+r"(sum) : : "memory")
#else
#define INTARSIA_HOLD(sum) ((void)0)
#endif

#define INTARSIA_JOIN_(a, b) a##b
#define INTARSIA_JOIN(a, b) INTARSIA_JOIN_(a, b)

// M(0) M(1) ... for each of some output channels or words.
#define INTARSIA_EACH_1(M) M(0)
#define INTARSIA_EACH_2(M) INTARSIA_EACH_1(M) M(1)
#define INTARSIA_EACH_3(M) INTARSIA_EACH_2(M) M(2)
#define INTARSIA_EACH_4(M) INTARSIA_EACH_3(M) M(3)
#define INTARSIA_EACH_5(M) INTARSIA_EACH_4(M) M(4)
#define INTARSIA_EACH_6(M) INTARSIA_EACH_5(M) M(5)
#define INTARSIA_EACH_7(M) INTARSIA_EACH_6(M) M(6)
#define INTARSIA_EACH_8(M) INTARSIA_EACH_7(M) M(7)

// M(c, 0) M(c, 1) ... for each of some words of channel c.
#define INTARSIA_WORDS_1(M, c) M(c, 0)
#define INTARSIA_WORDS_2(M, c) INTARSIA_WORDS_1(M, c) M(c, 1)
#define INTARSIA_WORDS_3(M, c) INTARSIA_WORDS_2(M, c) M(c, 2)
#define INTARSIA_WORDS_4(M, c) INTARSIA_WORDS_3(M, c) M(c, 3)
#define INTARSIA_WORDS_5(M, c) INTARSIA_WORDS_4(M, c) M(c, 4)
#define INTARSIA_WORDS_6(M, c) INTARSIA_WORDS_5(M, c) M(c, 5)
#define INTARSIA_WORDS_7(M, c) INTARSIA_WORDS_6(M, c) M(c, 6)
#define INTARSIA_WORDS_8(M, c) INTARSIA_WORDS_7(M, c) M(c, 7)

// Two 16-bit lanes in a word: low + high * 2^16, modulo 2^32. Words are added, and multiplied by a weight, lane by lane;
// a negative low lane borrows from the high one, which reading them undoes. The exporter proves that no lane leaves 16
// bits where it is read.
static inline int32_t intarsia_low(uint32_t word) { return (int32_t)((word & 0xffff) ^ 0x8000) - 0x8000; }

static inline int32_t intarsia_high(uint32_t word) { return (int32_t)((word + 0x8000) >> 16 ^ 0x8000) - 0x8000; }

// Writes out[c] from an accumulator; `channel`, `lo` and `hi` are the kernel's own names.
#define INTARSIA_FINISH(SUM, Y, acc, c, added, out)                                       \
    do {                                                                                  \
        SUM total_ = (SUM)(acc)*channel[c].multiplier + channel[c].bias + (added);        \
        total_ >>= channel[c].shift;                                                      \
        if (total_ < lo) {                                                                \
            total_ = lo;                                                                  \
        }                                                                                 \
        if (total_ > hi) {                                                                \
            total_ = hi;                                                                  \
        }                                                                                 \
        (out)[c] = (Y)total_;                                                             \
    } while (0)

#endif
