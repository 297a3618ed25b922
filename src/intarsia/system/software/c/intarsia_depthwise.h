// SPDX-License-Identifier: Apache-2.0
//
// Template: depthwise convolution with any kernel, stride and padding.
//
// Parameters: as of intarsia_conv.h, without INTARSIA_CHANNELS. Weights: (channels, kernel height, kernel width).

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
    const INTARSIA_R *restrict r, const INTARSIA_TOTAL *restrict added,
#endif
    INTARSIA_Y *restrict y)
{
    const int32_t channels = window->channels, taps = window->kernel_height * window->kernel_width;
    const int32_t lo = window->lo, hi = window->hi;
    for (int32_t out_row = 0; out_row < window->out_height; ++out_row) {
        const struct intarsia_span rows = intarsia_clip(
            out_row * window->stride_height - window->top, window->kernel_height, window->height);
        for (int32_t column = 0; column < window->out_width; ++column) {
            const struct intarsia_span columns = intarsia_clip(
                column * window->stride_width - window->left, window->kernel_width, window->width);
            const int32_t count = columns.count == 0 ? 0 : rows.count;
            const int32_t row_start = rows.start + rows.first, column_start = columns.start + columns.first;
            const INTARSIA_X *corner = count == 0 ? x : x + (row_start * window->width + column_start) * channels;
            const int32_t tap = count == 0 ? 0 : rows.first * window->kernel_width + columns.first;
            for (int32_t c = 0; c < channels; ++c) {
                INTARSIA_ACC acc = 0;
                for (int32_t row = 0; row < count; ++row) {
                    const INTARSIA_X *p = corner + row * window->width * channels + c;
                    const INTARSIA_W *v = w + c * taps + tap + row * window->kernel_width;
                    acc += (INTARSIA_ACC)*p * *v;
                    for (int32_t left = columns.count - 1; left > 0; --left) {
                        p += channels;
                        ++v;
                        acc += (INTARSIA_ACC)*p * *v;
                    }
                }
                INTARSIA_FINISH(INTARSIA_TOTAL, INTARSIA_Y, acc, c, INTARSIA_ADDED, y);
            }
            y += channels;
#ifdef INTARSIA_R
            r += channels;
#endif
        }
    }
}

#undef INTARSIA_TOTAL
#undef INTARSIA_CHANNEL
#undef INTARSIA_ADDED
#undef INTARSIA_FUNCTION
#undef INTARSIA_X
#undef INTARSIA_W
#undef INTARSIA_Y
#undef INTARSIA_ACC
#undef INTARSIA_SUM
#undef INTARSIA_R
