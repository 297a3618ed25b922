// SPDX-License-Identifier: Apache-2.0
//
// Template: fully connected layer with two products of one multiplication: the weights of two outputs lie in the 16-bit
// lanes of a word, which is multiplied by an input. After `chunk` inputs, when the sums in the lanes might leave 16
// bits, they are added to 32-bit sums. 2 * WORDS outputs are computed at a time.
//
// Parameters: as of intarsia_conv.h without INTARSIA_W, _ACC and _CHANNELS, and
//   INTARSIA_WORDS     1, 2, 4 or 8; 2 * WORDS divides the number of outputs
// Weights: (outputs / (2 * WORDS), inputs, WORDS) words.

#include "intarsia_kernels.h"

#define INTARSIA_EACH INTARSIA_JOIN(INTARSIA_EACH_, INTARSIA_WORDS)
#define INTARSIA_TOTAL INTARSIA_JOIN(INTARSIA_JOIN(int, INTARSIA_SUM), _t)
#define INTARSIA_CHANNEL INTARSIA_JOIN(intarsia_channel, INTARSIA_SUM)
#ifdef INTARSIA_R
#define INTARSIA_ADDED(c) (INTARSIA_TOTAL)r[c] * added[c]
#else
#define INTARSIA_ADDED(c) 0
#endif

#define INTARSIA_ZERO(j) uint32_t a##j = 0;
#define INTARSIA_MAC(j) a##j += w[j] * input; INTARSIA_HOLD(a##j);
#define INTARSIA_TAP(t) { const uint32_t input = (uint32_t)p[t]; INTARSIA_EACH(INTARSIA_MAC) w += INTARSIA_WORDS; }
#define INTARSIA_READ(j) \
    sums[2 * (j)] += intarsia_low(a##j); \
    sums[2 * (j) + 1] += intarsia_high(a##j);
#define INTARSIA_CLEAR(j) sums[2 * (j)] = 0; sums[2 * (j) + 1] = 0;

static void INTARSIA_FUNCTION(
    const struct intarsia_window *window, const INTARSIA_X *restrict x, const uint32_t *restrict w, int32_t chunk,
    const struct INTARSIA_CHANNEL *restrict channel,
#ifdef INTARSIA_R
    const INTARSIA_R *restrict r, const INTARSIA_TOTAL *restrict added,
#endif
    INTARSIA_Y *restrict y)
{
    const int32_t lo = window->lo, hi = window->hi, inputs = window->channels;
    for (int32_t group = 0; group < window->outputs; group += 2 * INTARSIA_WORDS) {
        int32_t sums[2 * INTARSIA_WORDS];
        const INTARSIA_X *p = x;
        INTARSIA_EACH(INTARSIA_CLEAR)
        for (int32_t start = 0; start < inputs; start += chunk) {
            const int32_t size = intarsia_least(chunk, inputs - start);
            INTARSIA_EACH(INTARSIA_ZERO)
            for (const INTARSIA_X *const end = p + (size & ~3); p != end; p += 4) {
                INTARSIA_TAP(0)
                INTARSIA_TAP(1)
                INTARSIA_TAP(2)
                INTARSIA_TAP(3)
            }
            for (const INTARSIA_X *const end = p + (size & 3); p != end; ++p) {
                INTARSIA_TAP(0)
            }
            INTARSIA_EACH(INTARSIA_READ)
        }
        for (int32_t c = 0; c < 2 * INTARSIA_WORDS; ++c) {
            INTARSIA_FINISH(INTARSIA_TOTAL, INTARSIA_Y, sums[c], c, INTARSIA_ADDED(c), y);
        }
        channel += 2 * INTARSIA_WORDS;
        y += 2 * INTARSIA_WORDS;
#ifdef INTARSIA_R
        r += 2 * INTARSIA_WORDS;
        added += 2 * INTARSIA_WORDS;
#endif
    }
}

#undef INTARSIA_EACH
#undef INTARSIA_TOTAL
#undef INTARSIA_CHANNEL
#undef INTARSIA_ADDED
#undef INTARSIA_ZERO
#undef INTARSIA_MAC
#undef INTARSIA_TAP
#undef INTARSIA_READ
#undef INTARSIA_CLEAR
#undef INTARSIA_FUNCTION
#undef INTARSIA_X
#undef INTARSIA_Y
#undef INTARSIA_SUM
#undef INTARSIA_WORDS
#undef INTARSIA_R
