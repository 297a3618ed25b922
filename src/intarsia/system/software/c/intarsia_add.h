// SPDX-License-Identifier: Apache-2.0
//
// Template: addition of two tensors, clip((a * first + b * second + half) >> shift).
//
// Parameters:
//   INTARSIA_FUNCTION  its name
//   INTARSIA_X, _R, _Y types of the inputs and of the (unsigned) output
//   INTARSIA_SUM       of sums: 32 or 64

#include "intarsia_kernels.h"

#ifndef INTARSIA_ADD_H
#define INTARSIA_ADD_H
struct intarsia_addition {
    int32_t size;           // elements
    int32_t first, second;  // multipliers
    int32_t half, shift;    // half of 2^shift
    int32_t lo, hi;
};
#endif

#define INTARSIA_TOTAL INTARSIA_JOIN(INTARSIA_JOIN(int, INTARSIA_SUM), _t)

static void INTARSIA_FUNCTION(
    const struct intarsia_addition *addition, const INTARSIA_X *a, const INTARSIA_R *b, INTARSIA_Y *restrict y)
{
    const int32_t first = addition->first, second = addition->second, half = addition->half;
    const int32_t shift = addition->shift, lo = addition->lo, hi = addition->hi;
    for (const INTARSIA_X *const end = a + addition->size; a != end; ++a, ++b, ++y) {
        INTARSIA_TOTAL total = ((INTARSIA_TOTAL)*a * first + (INTARSIA_TOTAL)*b * second + half) >> shift;
        if (total < lo) {
            total = lo;
        }
        if (total > hi) {
            total = hi;
        }
        *y = (INTARSIA_Y)total;
    }
}

#undef INTARSIA_TOTAL
#undef INTARSIA_FUNCTION
#undef INTARSIA_X
#undef INTARSIA_R
#undef INTARSIA_Y
#undef INTARSIA_SUM
