// SPDX-License-Identifier: Apache-2.0
//
// Template: convolution of two pixels with one multiplication. The inputs of two pixels lie in the lanes of a word; the
// word times a weight holds both products, and sums of words hold both sums as long as these keep within 16 bits. After
// `chunk` taps, when they might not, the lanes are added to 32-bit sums. 2 * WORDS pixels and CHANNELS output channels
// are computed at a time.
//
// Parameters: as of intarsia_conv.h (inputs of up to 8 bits), and
//   INTARSIA_WORDS     1 to 8
// Weights: (outputs / CHANNELS, taps, CHANNELS). `patch` holds taps * WORDS words.

#include "intarsia_kernels.h"

#define INTARSIA_EACH INTARSIA_JOIN(INTARSIA_EACH_, INTARSIA_CHANNELS)
#define INTARSIA_EACH_WORD INTARSIA_JOIN(INTARSIA_EACH_, INTARSIA_WORDS)
#define INTARSIA_WORDS_OF INTARSIA_JOIN(INTARSIA_WORDS_, INTARSIA_WORDS)
#define INTARSIA_TOTAL INTARSIA_JOIN(INTARSIA_JOIN(int, INTARSIA_SUM), _t)
#define INTARSIA_CHANNEL INTARSIA_JOIN(intarsia_channel, INTARSIA_SUM)

#include "intarsia_patch.h"

#ifdef INTARSIA_R
#define INTARSIA_ADDED(c) r + first * outputs + (c), multipliers[c],
#else
#define INTARSIA_ADDED(c)
#endif

#define INTARSIA_ZERO_WORD(c, j) uint32_t a##c##_##j = 0;
#define INTARSIA_ZERO(c) INTARSIA_WORDS_OF(INTARSIA_ZERO_WORD, c)
#define INTARSIA_LOAD(j) const uint32_t x##j = p[j];
#define INTARSIA_MAC_WORD(c, j) a##c##_##j += x##j * weight; INTARSIA_HOLD(a##c##_##j);
#define INTARSIA_MAC(c) { const uint32_t weight = (uint32_t)v[c]; INTARSIA_WORDS_OF(INTARSIA_MAC_WORD, c) }
#define INTARSIA_TAP { INTARSIA_EACH_WORD(INTARSIA_LOAD) INTARSIA_EACH(INTARSIA_MAC) } \
    p += INTARSIA_WORDS; \
    v += INTARSIA_CHANNELS;
#define INTARSIA_READ_WORD(c, j) \
    sums[c][2 * (j)] += intarsia_low(a##c##_##j); \
    sums[c][2 * (j) + 1] += intarsia_high(a##c##_##j);
#define INTARSIA_READ(c) INTARSIA_WORDS_OF(INTARSIA_READ_WORD, c)

static void INTARSIA_FUNCTION(
    const struct intarsia_window *window, const INTARSIA_X *restrict x, const INTARSIA_W *restrict w, int32_t chunk,
    uint32_t *restrict patch, const struct INTARSIA_CHANNEL *restrict channels,
#ifdef INTARSIA_R
    const INTARSIA_R *restrict r, const INTARSIA_TOTAL *restrict multipliers,
#endif
    INTARSIA_Y *restrict y)
{
    const int32_t outputs = window->outputs, pixels = window->out_height * window->out_width;
    const int32_t taps = window->kernel_height * window->kernel_width * window->channels;
    struct intarsia_pixel pixel = intarsia_first(window);
    for (int32_t first = 0; first < pixels; first += 2 * INTARSIA_WORDS) {
        const int32_t count = intarsia_least(2 * INTARSIA_WORDS, pixels - first);
        for (int32_t word = 0; word < INTARSIA_WORDS; ++word) {
            INTARSIA_JOIN(INTARSIA_FUNCTION, _pair)(window, x, &pixel, patch + word);
        }
        const INTARSIA_W *v = w;
        for (int32_t group = 0; group < outputs; group += INTARSIA_CHANNELS) {
            int32_t sums[INTARSIA_CHANNELS][2 * INTARSIA_WORDS];
            for (int32_t channel = 0; channel < INTARSIA_CHANNELS; ++channel) {
                INTARSIA_JOIN(INTARSIA_FUNCTION, _clear)(sums[channel]);
            }
            const uint32_t *p = patch;
            for (int32_t tap = 0; tap < taps; tap += chunk) {
                const int32_t size = intarsia_least(chunk, taps - tap);
                INTARSIA_EACH(INTARSIA_ZERO)
                if (size & 1) {
                    INTARSIA_TAP
                }
                for (const uint32_t *const end = p + (size & ~1) * INTARSIA_WORDS; p != end;) {
                    INTARSIA_TAP
                    INTARSIA_TAP
                }
                INTARSIA_EACH(INTARSIA_READ)
            }
            for (int32_t channel = 0; channel < INTARSIA_CHANNELS; ++channel) {
                INTARSIA_JOIN(INTARSIA_FUNCTION, _finish)(
                    window, count, sums[channel], channels + group + channel,
                    INTARSIA_ADDED(group + channel) y + first * outputs + group + channel);
            }
        }
    }
}

#undef INTARSIA_EACH
#undef INTARSIA_EACH_WORD
#undef INTARSIA_WORDS_OF
#undef INTARSIA_TOTAL
#undef INTARSIA_CHANNEL
#undef INTARSIA_ADDED
#undef INTARSIA_ZERO_WORD
#undef INTARSIA_ZERO
#undef INTARSIA_LOAD
#undef INTARSIA_MAC_WORD
#undef INTARSIA_MAC
#undef INTARSIA_TAP
#undef INTARSIA_READ_WORD
#undef INTARSIA_READ
#undef INTARSIA_FUNCTION
#undef INTARSIA_X
#undef INTARSIA_W
#undef INTARSIA_Y
#undef INTARSIA_ACC
#undef INTARSIA_SUM
#undef INTARSIA_CHANNELS
#undef INTARSIA_WORDS
#undef INTARSIA_R
