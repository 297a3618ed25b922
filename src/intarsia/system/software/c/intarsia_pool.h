// SPDX-License-Identifier: Apache-2.0
//
// Template: average or max pooling. Padding counts as zeros in an average, and never wins a maximum.
//
// Parameters:
//   INTARSIA_FUNCTION  its name
//   INTARSIA_X, _Y     types of inputs and (unsigned) outputs
//   INTARSIA_ACC       of sums: int32_t or int64_t
//   INTARSIA_SUM       of requantization: 32 or 64
//   INTARSIA_MAXIMUM   0: clip((sum * multiplier + bias) >> shift); 1: the maximum, `channel` is not read

#include "intarsia_kernels.h"

#define INTARSIA_TOTAL INTARSIA_JOIN(INTARSIA_JOIN(int, INTARSIA_SUM), _t)
#define INTARSIA_CHANNEL INTARSIA_JOIN(intarsia_channel, INTARSIA_SUM)

static void INTARSIA_FUNCTION(
    const struct intarsia_window *window, const INTARSIA_X *restrict x,
    const struct INTARSIA_CHANNEL *restrict channel, INTARSIA_Y *restrict y)
{
    const int32_t channels = window->channels, x_row = window->width * channels;
#if !INTARSIA_MAXIMUM
    const int32_t lo = window->lo, hi = window->hi;
#endif
    for (int32_t out_row = 0; out_row < window->out_height; ++out_row) {
        const struct intarsia_span rows = intarsia_clip(
            out_row * window->stride_height - window->top, window->kernel_height, window->height);
        for (int32_t column = 0; column < window->out_width; ++column) {
            const struct intarsia_span columns = intarsia_clip(
                column * window->stride_width - window->left, window->kernel_width, window->width);
            const int32_t count = columns.count == 0 ? 0 : rows.count;
            const int32_t row_start = rows.start + rows.first, column_start = columns.start + columns.first;
            const INTARSIA_X *corner = count == 0 ? x : x + row_start * x_row + column_start * channels;
            for (int32_t c = 0; c < channels; ++c) {
                const INTARSIA_X *row = corner + c;
#if INTARSIA_MAXIMUM
                INTARSIA_X best = *row;
#else
                INTARSIA_ACC acc = 0;
#endif
                for (int32_t i = 0; i < count; ++i) {
                    const INTARSIA_X *p = row + i * x_row;
                    for (int32_t left = columns.count; left > 0; --left) {
#if INTARSIA_MAXIMUM
                        if (*p > best) {
                            best = *p;
                        }
#else
                        acc += *p;
#endif
                        if (left > 1) {
                            p += channels;
                        }
                    }
                }
#if INTARSIA_MAXIMUM
                (void)channel;
                y[c] = (INTARSIA_Y)best;
#else
                INTARSIA_FINISH(INTARSIA_TOTAL, INTARSIA_Y, acc, 0, 0, y + c);
#endif
            }
            y += channels;
        }
    }
}

#undef INTARSIA_TOTAL
#undef INTARSIA_CHANNEL
#undef INTARSIA_FUNCTION
#undef INTARSIA_X
#undef INTARSIA_Y
#undef INTARSIA_ACC
#undef INTARSIA_SUM
#undef INTARSIA_MAXIMUM
