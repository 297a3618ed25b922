// SPDX-License-Identifier: Apache-2.0
//
// Template, included by others: writes the windows of 2 * WORDS consecutive pixels side by side, two pixels in the
// lanes of a word: patch[tap][word]. Padding and pixels beyond the last are zeros.
//
// Parameters: INTARSIA_FUNCTION, INTARSIA_X, INTARSIA_WORDS, of the template that includes it.

#ifndef INTARSIA_PATCH_H
#define INTARSIA_PATCH_H

// Where the window of a pixel begins; one beyond the last begins outside.
static inline void intarsia_corner(const struct intarsia_window *window, int32_t pixel, int32_t *row, int32_t *column)
{
    const int32_t out_row = pixel / window->out_width;
    if (out_row >= window->out_height) {
        *row = window->height;
        *column = window->width;
        return;
    }
    *row = out_row * window->stride_height - window->top;
    *column = (pixel - out_row * window->out_width) * window->stride_width - window->left;
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
    const struct intarsia_window *window, const INTARSIA_X *restrict x, int32_t pixel, uint32_t *restrict out)
{
    const int32_t channels = window->channels, x_row = window->width * channels, width = window->kernel_width;
    int32_t row0, row1, column0, column1;
    intarsia_corner(window, pixel, &row0, &column0);
    intarsia_corner(window, pixel + 1, &row1, &column1);
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
