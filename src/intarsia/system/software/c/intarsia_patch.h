// SPDX-License-Identifier: Apache-2.0
//
// Template, included by others: writes the windows of 2 * WORDS consecutive pixels side by side, two pixels in the
// lanes of a word: patch[tap][word]. Padding and pixels beyond the last are zeros.
//
// Also clears and requantizes the sums of one output channel of these pixels.
//
// Parameters: those of the template that includes it.

#ifndef INTARSIA_PATCH_H
#define INTARSIA_PATCH_H

// An output pixel and where its window begins; a pixel beyond the last begins outside.
struct intarsia_pixel {
    int32_t out_row, out_column, row, column;
};

static inline struct intarsia_pixel intarsia_first(const struct intarsia_window *window)
{
    struct intarsia_pixel pixel = {0, 0, 0, 0};
    pixel.row = -window->top;
    pixel.column = -window->left;
    return pixel;
}

static inline void intarsia_advance(const struct intarsia_window *window, struct intarsia_pixel *pixel)
{
    ++pixel->out_column;
    pixel->column += window->stride_width;
    if (pixel->out_column == window->out_width) {
        ++pixel->out_row;
        pixel->out_column = 0;
        pixel->row = pixel->out_row < window->out_height ? pixel->row + window->stride_height : window->height;
        pixel->column = -window->left;
    }
}

static inline int32_t intarsia_inside(const struct intarsia_window *window, int32_t row, int32_t column, int32_t width)
{
    return row >= 0 && row < window->height && column >= 0 && column + width <= window->width;
}
#endif

#define INTARSIA_PACK(i) out[(i) * INTARSIA_WORDS] = (uint32_t)p[i] + ((uint32_t)q[i] << 16);

static void INTARSIA_JOIN(INTARSIA_FUNCTION, _both)(
    const INTARSIA_X *restrict p, const INTARSIA_X *restrict q, int32_t run, uint32_t *restrict out)
{
    for (; run >= 4; run -= 4) {
        INTARSIA_EACH_4(INTARSIA_PACK)
        p += 4;
        q += 4;
        out += 4 * INTARSIA_WORDS;
    }
    for (; run > 0; --run) {
        INTARSIA_PACK(0)
        ++p;
        ++q;
        out += INTARSIA_WORDS;
    }
}

static void INTARSIA_JOIN(INTARSIA_FUNCTION, _pair)(
    const struct intarsia_window *window, const INTARSIA_X *restrict x, struct intarsia_pixel *restrict pixel,
    uint32_t *restrict out)
{
    const int32_t channels = window->channels, x_row = window->width * channels, width = window->kernel_width;
    int32_t row0 = pixel->row;
    const int32_t column0 = pixel->column;
    intarsia_advance(window, pixel);
    int32_t row1 = pixel->row;
    const int32_t column1 = pixel->column;
    intarsia_advance(window, pixel);
    for (int32_t i = 0; i < window->kernel_height; ++i, ++row0, ++row1) {
        if (intarsia_inside(window, row0, column0, width) && intarsia_inside(window, row1, column1, width)) {
            const int32_t at0 = row0 * x_row + column0 * channels, at1 = row1 * x_row + column1 * channels;
            INTARSIA_JOIN(INTARSIA_FUNCTION, _both)(x + at0, x + at1, width * channels, out);
            out += width * channels * INTARSIA_WORDS;
            continue;
        }
        for (int32_t j = 0; j < width; ++j) {
            const int32_t has0 = intarsia_inside(window, row0, column0 + j, 1);
            const int32_t has1 = intarsia_inside(window, row1, column1 + j, 1);
            const INTARSIA_X *p = has0 ? x + row0 * x_row + (column0 + j) * channels : x;
            const INTARSIA_X *q = has1 ? x + row1 * x_row + (column1 + j) * channels : x;
            const uint32_t low = has0 ? 0xffffffff : 0, high = has1 ? 0xffffffff : 0;
            for (int32_t c = channels; c > 0; --c, ++p, ++q, out += INTARSIA_WORDS) {
                *out = ((uint32_t)*p & low) + (((uint32_t)*q & high) << 16);
            }
        }
    }
}

#undef INTARSIA_PACK

// Held apart from each other, so that compilers do not call memset for a few words.
#define INTARSIA_CLEAR_WORD(j) sums[2 * (j)] = 0; sums[2 * (j) + 1] = zero;

static inline void INTARSIA_JOIN(INTARSIA_FUNCTION, _clear)(int32_t *sums)
{
    int32_t zero = 0;
    INTARSIA_HOLD(zero);
    INTARSIA_JOIN(INTARSIA_EACH_, INTARSIA_WORDS)(INTARSIA_CLEAR_WORD)
}

#undef INTARSIA_CLEAR_WORD

static void INTARSIA_JOIN(INTARSIA_FUNCTION, _finish)(
    const struct intarsia_window *window, int32_t count, const int32_t *restrict sums,
    const struct INTARSIA_CHANNEL *restrict channel,
#ifdef INTARSIA_R
    const INTARSIA_R *restrict r, INTARSIA_TOTAL added,
#endif
    INTARSIA_Y *restrict y)
{
    const int32_t outputs = window->outputs, lo = window->lo, hi = window->hi, shift = channel->shift;
    const INTARSIA_TOTAL multiplier = channel->multiplier, bias = channel->bias;
    for (int32_t pixel = 0, at = 0; pixel < count; ++pixel, at += outputs) {
#ifdef INTARSIA_R
        INTARSIA_TOTAL total = (sums[pixel] * multiplier + bias + r[at] * added) >> shift;
#else
        INTARSIA_TOTAL total = (sums[pixel] * multiplier + bias) >> shift;
#endif
        if (total < lo) {
            total = lo;
        }
        if (total > hi) {
            total = hi;
        }
        y[at] = (INTARSIA_Y)total;
    }
}
