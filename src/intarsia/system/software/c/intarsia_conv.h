// SPDX-License-Identifier: Apache-2.0
//
// Template: 2-D convolution, pointwise and fully connected layer. Two pixels and CHANNELS output channels are computed
// at a time, so that each input and each weight, once loaded, is used several times. Taps in the padding are left out:
// there is no check in the innermost loop, and no copy of the image.
//
// Parameters:
//   INTARSIA_FUNCTION  its name
//   INTARSIA_X, _W, _Y types of inputs, weights and (unsigned) outputs
//   INTARSIA_ACC       of accumulators: int32_t, or int64_t
//   INTARSIA_SUM       of requantization: 32 or 64
//   INTARSIA_CHANNELS  1, 2, 4 or 8; divides the number of outputs
//   INTARSIA_R         type of the residual, if there is one
//
// Weights: (outputs / CHANNELS, kernel height, kernel width, input channels, CHANNELS).

#include "intarsia_kernels.h"

#define INTARSIA_EACH INTARSIA_JOIN(INTARSIA_EACH_, INTARSIA_CHANNELS)
#define INTARSIA_TOTAL INTARSIA_JOIN(INTARSIA_JOIN(int, INTARSIA_SUM), _t)
#define INTARSIA_CHANNEL INTARSIA_JOIN(intarsia_channel, INTARSIA_SUM)

#define INTARSIA_FIRST_ZERO(c) INTARSIA_ACC a##c = 0;
#define INTARSIA_SECOND_ZERO(c) INTARSIA_ACC b##c = 0;
#define INTARSIA_FIRST_MAC(c) a##c += x0 * v[c]; INTARSIA_HOLD(a##c);
#define INTARSIA_BOTH_MAC(c) { const INTARSIA_ACC w0 = v[c]; a##c += x0 * w0; b##c += x1 * w0; INTARSIA_HOLD(a##c); INTARSIA_HOLD(b##c); }
#ifdef INTARSIA_R
#define INTARSIA_FIRST_ADDED(c) (INTARSIA_TOTAL)r[c] * added[c]
#define INTARSIA_SECOND_ADDED(c) (INTARSIA_TOTAL)r[outputs + c] * added[c]
#else
#define INTARSIA_FIRST_ADDED(c) 0
#define INTARSIA_SECOND_ADDED(c) 0
#endif
#define INTARSIA_FIRST_STORE(c) INTARSIA_FINISH(INTARSIA_TOTAL, INTARSIA_Y, a##c, c, INTARSIA_FIRST_ADDED(c), y);
#define INTARSIA_SECOND_STORE(c) \
    INTARSIA_FINISH(INTARSIA_TOTAL, INTARSIA_Y, b##c, c, INTARSIA_SECOND_ADDED(c), y + outputs);

// All outputs of one pixel: `rows` runs of `run` inputs each.
static void INTARSIA_JOIN(INTARSIA_FUNCTION, _one)(
    const struct intarsia_window *window, const INTARSIA_X *restrict x, int32_t rows, int32_t run,
    const INTARSIA_W *restrict w, const struct INTARSIA_CHANNEL *restrict channel,
#ifdef INTARSIA_R
    const INTARSIA_R *restrict r, const INTARSIA_TOTAL *restrict added,
#endif
    INTARSIA_Y *restrict y)
{
    const int32_t x_row = window->width * window->channels, lo = window->lo, hi = window->hi;
    const int32_t w_row = window->kernel_width * window->channels * INTARSIA_CHANNELS;
    int32_t w_group = 0;
    for (int32_t group = 0; group < window->outputs; group += INTARSIA_CHANNELS) {
        INTARSIA_EACH(INTARSIA_FIRST_ZERO)
        for (int32_t row = 0; row < rows; ++row) {
            const INTARSIA_X *p = x + row * x_row;
            const INTARSIA_X *const end = p + run, *const unrolled = p + run / 4 * 4;
            const INTARSIA_W *v = w + w_group + row * w_row;
            for (; p != unrolled; p += 4) {
                { const INTARSIA_ACC x0 = p[0]; INTARSIA_EACH(INTARSIA_FIRST_MAC) v += INTARSIA_CHANNELS; }
                { const INTARSIA_ACC x0 = p[1]; INTARSIA_EACH(INTARSIA_FIRST_MAC) v += INTARSIA_CHANNELS; }
                { const INTARSIA_ACC x0 = p[2]; INTARSIA_EACH(INTARSIA_FIRST_MAC) v += INTARSIA_CHANNELS; }
                { const INTARSIA_ACC x0 = p[3]; INTARSIA_EACH(INTARSIA_FIRST_MAC) v += INTARSIA_CHANNELS; }
            }
            for (; p != end; ++p) {
                const INTARSIA_ACC x0 = p[0];
                INTARSIA_EACH(INTARSIA_FIRST_MAC)
                v += INTARSIA_CHANNELS;
            }
        }
        INTARSIA_EACH(INTARSIA_FIRST_STORE)
        w_group += window->kernel_height * w_row;
        channel += INTARSIA_CHANNELS;
        y += INTARSIA_CHANNELS;
#ifdef INTARSIA_R
        r += INTARSIA_CHANNELS;
        added += INTARSIA_CHANNELS;
#endif
    }
}

// The same for this pixel and its right neighbour, whose window begins `step` inputs later.
static void INTARSIA_JOIN(INTARSIA_FUNCTION, _two)(
    const struct intarsia_window *window, const INTARSIA_X *restrict x, int32_t step, int32_t rows, int32_t run,
    const INTARSIA_W *restrict w, const struct INTARSIA_CHANNEL *restrict channel,
#ifdef INTARSIA_R
    const INTARSIA_R *restrict r, const INTARSIA_TOTAL *restrict added,
#endif
    INTARSIA_Y *restrict y)
{
    const int32_t outputs = window->outputs;
    const int32_t x_row = window->width * window->channels, lo = window->lo, hi = window->hi;
    const int32_t w_row = window->kernel_width * window->channels * INTARSIA_CHANNELS;
    int32_t w_group = 0;
    for (int32_t group = 0; group < outputs; group += INTARSIA_CHANNELS) {
        INTARSIA_EACH(INTARSIA_FIRST_ZERO)
        INTARSIA_EACH(INTARSIA_SECOND_ZERO)
        for (int32_t row = 0; row < rows; ++row) {
            const INTARSIA_X *p = x + row * x_row;
            const INTARSIA_X *q = p + step;
            const INTARSIA_X *const end = p + run, *const unrolled = p + run / 4 * 4;
            const INTARSIA_W *v = w + w_group + row * w_row;
            for (; p != unrolled; p += 4, q += 4) {
                { const INTARSIA_ACC x0 = p[0], x1 = q[0]; INTARSIA_EACH(INTARSIA_BOTH_MAC) v += INTARSIA_CHANNELS; }
                { const INTARSIA_ACC x0 = p[1], x1 = q[1]; INTARSIA_EACH(INTARSIA_BOTH_MAC) v += INTARSIA_CHANNELS; }
                { const INTARSIA_ACC x0 = p[2], x1 = q[2]; INTARSIA_EACH(INTARSIA_BOTH_MAC) v += INTARSIA_CHANNELS; }
                { const INTARSIA_ACC x0 = p[3], x1 = q[3]; INTARSIA_EACH(INTARSIA_BOTH_MAC) v += INTARSIA_CHANNELS; }
            }
            for (; p != end; ++p, ++q) {
                const INTARSIA_ACC x0 = p[0], x1 = q[0];
                INTARSIA_EACH(INTARSIA_BOTH_MAC)
                v += INTARSIA_CHANNELS;
            }
        }
        INTARSIA_EACH(INTARSIA_FIRST_STORE)
        INTARSIA_EACH(INTARSIA_SECOND_STORE)
        w_group += window->kernel_height * w_row;
        channel += INTARSIA_CHANNELS;
        y += INTARSIA_CHANNELS;
#ifdef INTARSIA_R
        r += INTARSIA_CHANNELS;
        added += INTARSIA_CHANNELS;
#endif
    }
}

#ifdef INTARSIA_R
#define INTARSIA_ADDED r, added,
#else
#define INTARSIA_ADDED
#endif

static void INTARSIA_FUNCTION(
    const struct intarsia_window *window, const INTARSIA_X *restrict x, const INTARSIA_W *restrict w,
    const struct INTARSIA_CHANNEL *restrict channel,
#ifdef INTARSIA_R
    const INTARSIA_R *restrict r, const INTARSIA_TOTAL *restrict added,
#endif
    INTARSIA_Y *restrict y)
{
    const int32_t channels = window->channels, step = window->stride_width * channels;
    for (int32_t out_row = 0; out_row < window->out_height; ++out_row) {
        const struct intarsia_span rows = intarsia_clip(
            out_row * window->stride_height - window->top, window->kernel_height, window->height);
        for (int32_t column = 0; column < window->out_width;) {
            const int32_t start = column * window->stride_width - window->left;
            const struct intarsia_span columns = intarsia_clip(start, window->kernel_width, window->width);
            const int32_t tap = rows.first * window->kernel_width + columns.first;
            const int32_t run = columns.count * channels;
            const int32_t count = run == 0 ? 0 : rows.count;
            const int32_t corner = count == 0 ? 0 : (rows.start + rows.first) * window->width + start + columns.first;
            const INTARSIA_W *taps = count == 0 ? w : w + tap * channels * INTARSIA_CHANNELS;
            // The neighbour, too, has all its columns inside.
            const int32_t two = start >= 0 && column + 1 < window->out_width
                && start + window->stride_width + window->kernel_width <= window->width;
            if (two) {
                INTARSIA_JOIN(INTARSIA_FUNCTION, _two)(
                    window, x + corner * channels, step, count, run, taps, channel, INTARSIA_ADDED y);
            } else {
                INTARSIA_JOIN(INTARSIA_FUNCTION, _one)(
                    window, x + corner * channels, count, run, taps, channel, INTARSIA_ADDED y);
            }
            column += 1 + two;
            y += (1 + two) * window->outputs;
#ifdef INTARSIA_R
            r += (1 + two) * window->outputs;
#endif
        }
    }
}

#undef INTARSIA_EACH
#undef INTARSIA_TOTAL
#undef INTARSIA_CHANNEL
#undef INTARSIA_FIRST_ZERO
#undef INTARSIA_SECOND_ZERO
#undef INTARSIA_FIRST_MAC
#undef INTARSIA_BOTH_MAC
#undef INTARSIA_FIRST_ADDED
#undef INTARSIA_SECOND_ADDED
#undef INTARSIA_FIRST_STORE
#undef INTARSIA_SECOND_STORE
#undef INTARSIA_ADDED
#undef INTARSIA_FUNCTION
#undef INTARSIA_X
#undef INTARSIA_W
#undef INTARSIA_Y
#undef INTARSIA_ACC
#undef INTARSIA_SUM
#undef INTARSIA_CHANNELS
#undef INTARSIA_R
