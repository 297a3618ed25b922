// SPDX-License-Identifier: Apache-2.0
//
// Template: convolution, depthwise convolution or fully connected layer with a Sum-Together multiplier, which computes
// and adds N products of operands of 16 / N bits. Inputs and weights are packed N to a half-word; unsigned inputs that
// need it are stored less `offset`, which the exporter adds to the bias.
//
// Parameters: as of intarsia_conv.h without INTARSIA_W, and
//   INTARSIA_N          1, 2 or 4
//   INTARSIA_DEPTHWISE  1: each output has its own input channel, and INTARSIA_CHANNELS is 1; else 0
// Weights: (outputs / CHANNELS, words, CHANNELS), words = taps / N rounded up. `patch` holds the words of one window.

#include "intarsia_kernels.h"

#ifndef INTARSIA_SUM_TOGETHER_H
#define INTARSIA_SUM_TOGETHER_H

static inline int32_t intarsia_operand(uint16_t word, int32_t position, int32_t bits)
{
    const int32_t sign = 1 << (bits - 1);
    return ((word >> (position * bits) & ((sign << 1) - 1)) ^ sign) - sign;
}

// What the reconfigurable 16 x 16 multiplier computes: the sum of n products of 16 / n-bit signed operands. A build for
// a processor that has it as an instruction defines INTARSIA_ST_MULTIPLY_ADD.
static inline int32_t st_multiply_add(uint16_t a, uint16_t b, int32_t n)
{
#ifdef INTARSIA_ST_MULTIPLY_ADD
    return INTARSIA_ST_MULTIPLY_ADD(a, b, n);
#else
    int32_t sum = 0;
    for (int32_t i = 0; i < n; ++i) {
        sum += intarsia_operand(a, i, 16 / n) * intarsia_operand(b, i, 16 / n);
    }
    return sum;
#endif
}
#endif

#define INTARSIA_EACH INTARSIA_JOIN(INTARSIA_EACH_, INTARSIA_CHANNELS)
#define INTARSIA_TOTAL INTARSIA_JOIN(INTARSIA_JOIN(int, INTARSIA_SUM), _t)
#define INTARSIA_CHANNEL INTARSIA_JOIN(intarsia_channel, INTARSIA_SUM)
#ifdef INTARSIA_R
#define INTARSIA_ADDED(c) (INTARSIA_TOTAL)r[c] * added[c]
#else
#define INTARSIA_ADDED(c) 0
#endif

#define INTARSIA_ZERO(c) INTARSIA_ACC a##c = 0;
#define INTARSIA_MAC(c) a##c += st_multiply_add(word, v[c], INTARSIA_N); INTARSIA_HOLD(a##c);
#define INTARSIA_STORE(c) INTARSIA_FINISH(INTARSIA_TOTAL, INTARSIA_Y, a##c, c, INTARSIA_ADDED(c), y);

// Packs `count` channels of the window of a pixel, from channel `first` on; returns the number of words.
static int32_t INTARSIA_JOIN(INTARSIA_FUNCTION, _pack)(
    const struct intarsia_window *window, const INTARSIA_X *restrict x, int32_t row, int32_t column, int32_t first,
    int32_t count, int32_t offset, uint16_t *restrict patch)
{
    const uint32_t mask = 0xffff >> (16 - 16 / INTARSIA_N);
    uint32_t word = 0;
    int32_t position = 0, words = 0;
    for (int32_t i = 0; i < window->kernel_height; ++i) {
        for (int32_t j = 0; j < window->kernel_width; ++j) {
            const int32_t inside = row + i >= 0 && row + i < window->height && column + j >= 0
                && column + j < window->width;
            const INTARSIA_X *p = x;
            if (inside) {
                p += ((row + i) * window->width + column + j) * window->channels + first;
            }
            for (int32_t c = 0; c < count; ++c) {
                word |= ((uint32_t)((inside ? p[c] : 0) - offset) & mask) << position;
                position += 16 / INTARSIA_N;
                if (position == 16) {
                    patch[words++] = (uint16_t)word;
                    word = 0;
                    position = 0;
                }
            }
        }
    }
    if (position > 0) {
        patch[words++] = (uint16_t)word;
    }
    return words;
}

static void INTARSIA_FUNCTION(
    const struct intarsia_window *window, const INTARSIA_X *restrict x, const uint16_t *restrict weights,
    int32_t offset, uint16_t *restrict patch, const struct INTARSIA_CHANNEL *restrict channels,
#ifdef INTARSIA_R
    const INTARSIA_R *restrict r, const INTARSIA_TOTAL *restrict multipliers,
#endif
    INTARSIA_Y *restrict y)
{
    const int32_t lo = window->lo, hi = window->hi;
    for (int32_t out_row = 0; out_row < window->out_height; ++out_row) {
        for (int32_t out_column = 0; out_column < window->out_width; ++out_column) {
            const int32_t row = out_row * window->stride_height - window->top;
            const int32_t column = out_column * window->stride_width - window->left;
            const struct INTARSIA_CHANNEL *channel = channels;
            const uint16_t *v = weights;
#ifdef INTARSIA_R
            const INTARSIA_TOTAL *added = multipliers;
#endif
#if !INTARSIA_DEPTHWISE
            const int32_t words = INTARSIA_JOIN(INTARSIA_FUNCTION, _pack)(
                window, x, row, column, 0, window->channels, offset, patch);
#endif
            for (int32_t group = 0; group < window->outputs; group += INTARSIA_CHANNELS) {
#if INTARSIA_DEPTHWISE
                const int32_t words = INTARSIA_JOIN(INTARSIA_FUNCTION, _pack)(
                    window, x, row, column, group, 1, offset, patch);
#endif
                INTARSIA_EACH(INTARSIA_ZERO)
                for (int32_t i = 0; i < words; ++i, v += INTARSIA_CHANNELS) {
                    const uint16_t word = patch[i];
                    INTARSIA_EACH(INTARSIA_MAC)
                }
                INTARSIA_EACH(INTARSIA_STORE)
                channel += INTARSIA_CHANNELS;
                y += INTARSIA_CHANNELS;
#ifdef INTARSIA_R
                r += INTARSIA_CHANNELS;
                added += INTARSIA_CHANNELS;
#endif
            }
        }
    }
}

#undef INTARSIA_EACH
#undef INTARSIA_TOTAL
#undef INTARSIA_CHANNEL
#undef INTARSIA_ADDED
#undef INTARSIA_ZERO
#undef INTARSIA_MAC
#undef INTARSIA_STORE
#undef INTARSIA_FUNCTION
#undef INTARSIA_X
#undef INTARSIA_Y
#undef INTARSIA_ACC
#undef INTARSIA_SUM
#undef INTARSIA_CHANNELS
#undef INTARSIA_N
#undef INTARSIA_DEPTHWISE
#undef INTARSIA_R
