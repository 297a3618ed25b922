// SPDX-License-Identifier: Apache-2.0
//
// Template: convolution of ternary and sparse planes with additions of listed inputs. The inputs of two pixels lie in
// the lanes of a word, as in intarsia_packed.h, and a listed tap stands for 2 * WORDS inputs. Weights of 0 cost nothing.
//
// Two output channels are computed together. Their ternary weights at a tap are equal, opposite, or only one is not
// zero; with s, d, a, b the sums of the inputs of each kind, each with its sign, the channels' sums are s + d + a and
// s - d + b. So a tap that both use is added once.
//
// `code` is a stream of numbers. For each two channels:
//   segments of ternary weights, segments of other weights;
//   each ternary segment: scale, then the lists s+, s-, d+, d-, a+, a-, b+, b-;
//   each other segment: channel (0 or 1), then a list of taps and weights.
// A list is the number of pairs in it, then their taps as byte offsets into the patch; the tap behind the last holds
// zeros and fills up a list. A segment ends before a lane could leave 16 bits; sums of ternary weights count scale-fold.
//
// Parameters: as of intarsia_conv.h (inputs of up to 8 bits) without INTARSIA_W and _CHANNELS, and
//   INTARSIA_WORDS     1 to 8
// `patch` holds (taps + 1) * WORDS words.

#include "intarsia_kernels.h"

#define INTARSIA_EACH_WORD INTARSIA_JOIN(INTARSIA_EACH_, INTARSIA_WORDS)
#define INTARSIA_TOTAL INTARSIA_JOIN(INTARSIA_JOIN(int, INTARSIA_SUM), _t)
#define INTARSIA_CHANNEL INTARSIA_JOIN(intarsia_channel, INTARSIA_SUM)

#include "intarsia_patch.h"

#ifdef INTARSIA_R
#define INTARSIA_ADDED(c) r + first * outputs + (c), multipliers[c],
#else
#define INTARSIA_ADDED(c)
#endif

#define INTARSIA_WORD_AT(offset) (const uint32_t *)(const void *)((const uint8_t *)patch + (offset))
#define INTARSIA_ZERO_U(j) uint32_t u##j = 0;
#define INTARSIA_ZERO_V(j) uint32_t v##j = 0;
#define INTARSIA_PLUS_U(j) u##j += p[j];
#define INTARSIA_MINUS_U(j) u##j -= p[j];
#define INTARSIA_PLUS_V(j) v##j += p[j];
#define INTARSIA_MINUS_V(j) v##j -= p[j];
#define INTARSIA_MAC_U(j) u##j += p[j] * weight;
#define INTARSIA_BUTTERFLY(j) { const uint32_t d = v##j; v##j = u##j - d; u##j += d; }
#define INTARSIA_LIST(STEP)                                        \
    for (int32_t pairs = *code++; pairs > 0; --pairs, code += 2) { \
        const uint32_t *p = INTARSIA_WORD_AT(code[0]);             \
        INTARSIA_EACH_WORD(STEP)                                   \
        p = INTARSIA_WORD_AT(code[1]);                             \
        INTARSIA_EACH_WORD(STEP)                                   \
    }
#define INTARSIA_READ_U(j) \
    sums[0][2 * (j)] += scale * intarsia_low(u##j); \
    sums[0][2 * (j) + 1] += scale * intarsia_high(u##j);
#define INTARSIA_READ_V(j) \
    sums[1][2 * (j)] += scale * intarsia_low(v##j); \
    sums[1][2 * (j) + 1] += scale * intarsia_high(v##j);
#define INTARSIA_READ_OTHER(j) \
    sum[2 * (j)] += intarsia_low(u##j); \
    sum[2 * (j) + 1] += intarsia_high(u##j);

static void INTARSIA_FUNCTION(
    const struct intarsia_window *window, const INTARSIA_X *restrict x, const uint16_t *restrict codes,
    uint32_t *restrict patch, const struct INTARSIA_CHANNEL *restrict channels,
#ifdef INTARSIA_R
    const INTARSIA_R *restrict r, const INTARSIA_TOTAL *restrict multipliers,
#endif
    INTARSIA_Y *restrict y)
{
    const int32_t outputs = window->outputs, pixels = window->out_height * window->out_width;
    const int32_t taps = window->kernel_height * window->kernel_width * window->channels;
    for (int32_t word = 0; word < INTARSIA_WORDS; ++word) {
        patch[taps * INTARSIA_WORDS + word] = 0;
    }
    struct intarsia_pixel pixel = intarsia_first(window);
    for (int32_t first = 0; first < pixels; first += 2 * INTARSIA_WORDS) {
        const int32_t count = intarsia_least(2 * INTARSIA_WORDS, pixels - first);
        for (int32_t word = 0; word < INTARSIA_WORDS; ++word) {
            INTARSIA_JOIN(INTARSIA_FUNCTION, _pair)(window, x, &pixel, patch + word);
        }
        const uint16_t *code = codes;
        for (int32_t c = 0; c < outputs; c += 2) {
            int32_t sums[2][2 * INTARSIA_WORDS];
            for (int32_t channel = 0; channel < 2; ++channel) {
                INTARSIA_JOIN(INTARSIA_FUNCTION, _clear)(sums[channel]);
            }
            int32_t segments = *code++;
            int32_t others = *code++;
            for (; segments > 0; --segments) {
                const int32_t scale = *code++;
                INTARSIA_EACH_WORD(INTARSIA_ZERO_U)
                INTARSIA_EACH_WORD(INTARSIA_ZERO_V)
                INTARSIA_LIST(INTARSIA_PLUS_U)
                INTARSIA_LIST(INTARSIA_MINUS_U)
                INTARSIA_LIST(INTARSIA_PLUS_V)
                INTARSIA_LIST(INTARSIA_MINUS_V)
                INTARSIA_EACH_WORD(INTARSIA_BUTTERFLY)
                INTARSIA_LIST(INTARSIA_PLUS_U)
                INTARSIA_LIST(INTARSIA_MINUS_U)
                INTARSIA_LIST(INTARSIA_PLUS_V)
                INTARSIA_LIST(INTARSIA_MINUS_V)
                INTARSIA_EACH_WORD(INTARSIA_READ_U)
                INTARSIA_EACH_WORD(INTARSIA_READ_V)
            }
            for (; others > 0; --others) {
                int32_t *const sum = sums[*code++];
                INTARSIA_EACH_WORD(INTARSIA_ZERO_U)
                for (int32_t entries = *code++; entries > 0; --entries, code += 2) {
                    const uint32_t *p = INTARSIA_WORD_AT(code[0]);
                    const uint32_t weight = (uint32_t)((int32_t)(code[1] ^ 0x8000) - 0x8000);  // sign extension
                    INTARSIA_EACH_WORD(INTARSIA_MAC_U)
                }
                INTARSIA_EACH_WORD(INTARSIA_READ_OTHER)
            }
            for (int32_t channel = c; channel < intarsia_least(c + 2, outputs); ++channel) {
                INTARSIA_JOIN(INTARSIA_FUNCTION, _finish)(
                    window, count, sums[channel - c], channels + channel,
                    INTARSIA_ADDED(channel) y + first * outputs + channel);
            }
        }
    }
}

#undef INTARSIA_EACH_WORD
#undef INTARSIA_TOTAL
#undef INTARSIA_CHANNEL
#undef INTARSIA_ADDED
#undef INTARSIA_WORD_AT
#undef INTARSIA_ZERO_U
#undef INTARSIA_ZERO_V
#undef INTARSIA_PLUS_U
#undef INTARSIA_MINUS_U
#undef INTARSIA_PLUS_V
#undef INTARSIA_MINUS_V
#undef INTARSIA_MAC_U
#undef INTARSIA_BUTTERFLY
#undef INTARSIA_LIST
#undef INTARSIA_READ_U
#undef INTARSIA_READ_V
#undef INTARSIA_READ_OTHER
#undef INTARSIA_FUNCTION
#undef INTARSIA_X
#undef INTARSIA_Y
#undef INTARSIA_SUM
#undef INTARSIA_WORDS
#undef INTARSIA_R
