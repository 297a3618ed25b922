// SPDX-License-Identifier: Apache-2.0
//
// Template: depthwise convolution with a 3 x 3 kernel, padded by at most one column on either side, over inputs that
// are at least two columns wide. The nine weights of a channel stay in registers while its row is computed; each
// column of inputs is loaded once and added to all outputs that it belongs to.
//
// Parameters: as of intarsia_conv.h, without INTARSIA_CHANNELS, and
//   INTARSIA_STRIDE    of the columns: 1 or 2
// Weights: (channels, 3, 3).

#include "intarsia_kernels.h"

#define INTARSIA_TOTAL INTARSIA_JOIN(INTARSIA_JOIN(int, INTARSIA_SUM), _t)
#define INTARSIA_CHANNEL INTARSIA_JOIN(intarsia_channel, INTARSIA_SUM)
#ifdef INTARSIA_R
#define INTARSIA_ADDED (INTARSIA_TOTAL)r[c] * added[c]
#else
#define INTARSIA_ADDED 0
#endif

static void INTARSIA_FUNCTION(
    const struct intarsia_window *window, const INTARSIA_X *restrict x, const INTARSIA_W *restrict w,
    const struct INTARSIA_CHANNEL *restrict channel,
#ifdef INTARSIA_R
    const INTARSIA_R *restrict residual, const INTARSIA_TOTAL *restrict added,
#endif
    INTARSIA_Y *restrict y_row)
{
    const int32_t channels = window->channels, out_width = window->out_width, x_row = window->width * channels;
    const int32_t lo = window->lo, hi = window->hi;
    // Outputs whose last column of inputs is inside; the others, one at most, lack that column.
    const int32_t whole = intarsia_least(out_width, (window->width + window->left - 3) / INTARSIA_STRIDE + 1);
    for (int32_t out_row = 0; out_row < window->out_height; ++out_row) {
        const struct intarsia_span rows = intarsia_clip(
            out_row * window->stride_height - window->top, 3, window->height);
        for (int32_t c = 0; c < channels; ++c) {
            const INTARSIA_W *v = w + c * 9;
            int32_t p0 = rows.start * x_row + c, p1 = p0 + x_row, p2 = p1 + x_row;
            INTARSIA_ACC k00 = v[0], k01 = v[1], k02 = v[2];
            INTARSIA_ACC k10 = v[3], k11 = v[4], k12 = v[5];
            INTARSIA_ACC k20 = v[6], k21 = v[7], k22 = v[8];
            if (rows.count < 3) {  // a row in the padding reads the first row, times zero
                const int32_t end = rows.first + rows.count;
                if (rows.first > 0 || end < 1) {
                    k00 = k01 = k02 = 0;
                    p0 = c;
                }
                if (rows.first > 1 || end < 2) {
                    k10 = k11 = k12 = 0;
                    p1 = c;
                }
                if (rows.first > 2 || end < 3) {
                    k20 = k21 = k22 = 0;
                    p2 = c;
                }
            }
            INTARSIA_Y *y = y_row;
#ifdef INTARSIA_R
            const INTARSIA_R *r = residual;
#endif
#define INTARSIA_NEXT_COLUMN() (x0 = x[p0], x1 = x[p1], x2 = x[p2], p0 += channels, p1 += channels, p2 += channels)
#define INTARSIA_COLUMN(j) (k0##j * x0 + k1##j * x1 + k2##j * x2)
            INTARSIA_ACC x0, x1, x2;
            INTARSIA_ACC started = 0;  // the next output's sum of the columns that have been loaded
#if INTARSIA_STRIDE == 1
            INTARSIA_ACC after = 0;  // that of the output after it
            INTARSIA_NEXT_COLUMN();
            if (window->left == 0) {
                started = INTARSIA_COLUMN(0);
                INTARSIA_NEXT_COLUMN();
            }
            started += INTARSIA_COLUMN(1);
            after = INTARSIA_COLUMN(0);
#else
            if (window->left == 0) {
                INTARSIA_NEXT_COLUMN();
                started = INTARSIA_COLUMN(0);
            }
#endif
            for (int32_t left = whole; left > 0; --left) {
#if INTARSIA_STRIDE == 1
                INTARSIA_NEXT_COLUMN();
                const INTARSIA_ACC acc = started + INTARSIA_COLUMN(2);
                started = after + INTARSIA_COLUMN(1);
                after = INTARSIA_COLUMN(0);
#else
                INTARSIA_NEXT_COLUMN();
                started += INTARSIA_COLUMN(1);
                INTARSIA_NEXT_COLUMN();
                const INTARSIA_ACC acc = started + INTARSIA_COLUMN(2);
                started = INTARSIA_COLUMN(0);
#endif
                INTARSIA_FINISH(INTARSIA_TOTAL, INTARSIA_Y, acc, c, INTARSIA_ADDED, y);
                y += channels;
#ifdef INTARSIA_R
                r += channels;
#endif
            }
            if (whole < out_width) {
#if INTARSIA_STRIDE == 2
                INTARSIA_NEXT_COLUMN();
                started += INTARSIA_COLUMN(1);
#endif
                INTARSIA_FINISH(INTARSIA_TOTAL, INTARSIA_Y, started, c, INTARSIA_ADDED, y);
            }
        }
        y_row += out_width * channels;
#ifdef INTARSIA_R
        residual += out_width * channels;
#endif
    }
}

#undef INTARSIA_NEXT_COLUMN
#undef INTARSIA_COLUMN
#undef INTARSIA_TOTAL
#undef INTARSIA_CHANNEL
#undef INTARSIA_ADDED
#undef INTARSIA_FUNCTION
#undef INTARSIA_X
#undef INTARSIA_W
#undef INTARSIA_Y
#undef INTARSIA_ACC
#undef INTARSIA_SUM
#undef INTARSIA_STRIDE
#undef INTARSIA_R
