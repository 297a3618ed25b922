# SPDX-License-Identifier: Apache-2.0
"""One layer on a batch of images, with BLAS, and yet exact.

A weight layer's planes are folded into one matrix W' = Σ_p m_p·W_p and everything is scaled by 2^−s, so that

    y = clip(⌊(W'·2^−s)·x + (c + 2^(s−1))·2^−s⌋, lo, hi)

is one floating-point matrix product and one floor. All partial sums, in any order, are integers times 2^−s; a binary
floating-point format with a significand of b bits holds them exactly as long as no magnitude passes 2^b·2^−s.
That bound is computed from the weights and the input's format when a kernel is built: float32 where 2^24 is enough.
Where it is not, the folded weights are cut into high and low parts, W' = 2^k·H + L, whose sums each keep below 2^24;
then ⌊(2^k·h + l)·2^−s⌋ = ⌊(h + ⌊l·2^−k⌋)·2^(k−s)⌋, still in float32, which BLAS multiplies at twice the speed of
float64. Where no k serves, float64 (2^52) does; beyond that a kernel is refused.

Activations are (C, H, W, N) arrays of the smallest integer type that holds their format: with the images last, a row
of windows is one long run of memory.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.integer.formats import ActivationFormat
from intarsia.integer.layers import Add, AveragePool, Conv2d, Ints, Layer, Linear, MaxPool, Tensor, WeightLayer

Floats = NDArray[Any]
Kernel = Callable[..., Ints]

#: Elements of a matrix of unfolded windows: large enough for BLAS, small enough for a core's cache.
PIECE = 200_000

_SINGLE = 2.0**24
_DOUBLE = 2.0**52  # one bit less than float64 has, since the bound itself is rounded


def storage(form: ActivationFormat) -> np.dtype[Any]:
    """Return the smallest NumPy integer type that holds the format."""
    return np.dtype(f"{'' if form.signed else 'u'}int{8 if form.bits <= 8 else 16}")


def build_kernel(layer: Layer, inputs: list[Tensor]) -> Kernel:
    """Return a function from the layer's input arrays to its output array, all (C, H, W, N).

    Raises:
        IntarsiaError: a sum could pass 2^52.
    """
    match layer:
        case Conv2d() if layer.depthwise:
            return _depthwise(layer, inputs[0])
        case Conv2d():
            return _convolution(layer, inputs[0])
        case Linear():
            return _convolution(layer.convolution, inputs[0])
        case Add():
            return _add(layer, inputs)
        case AveragePool():
            return _average_pool(layer, inputs[0])
        case MaxPool():
            return _max_pool(layer, inputs[0])


@dataclass(frozen=True, eq=False)
class _Matrix:
    """Weights and offset, times 2^−s, as one matrix (O, K + 1); or high and low parts one above the other (2·O, K + 1).

    `join` (O, 1) is 2^(k−s), by which a floored low sum is to be multiplied; None if there are no parts.
    """

    values: Floats
    join: Floats | None


def _convolution(layer: Conv2d, source: Tensor) -> Kernel:
    """Unfold windows in pieces that fit the cache and multiply."""
    channels = source.shape[0]
    kernel, stride, padding = layer.kernel, layer.stride, layer.padding
    outputs, out_h, out_w = layer.output.shape
    matrix = _matrix(layer, source)
    length = matrix.values.shape[1] - 1
    form = storage(layer.output.format)
    finish = _finisher(layer.requantization.lo, layer.requantization.hi)

    def run(x: Ints) -> Ints:
        images = x.shape[3]
        windows = _windows(_pad(x, padding, 0), kernel, stride, (out_h, out_w))
        out = np.empty((outputs, out_h, out_w, images), form)
        height = max(1, min(out_h, PIECE // (length * out_w * images)))
        columns = np.empty((length + 1, height * out_w * images), matrix.values.dtype)
        columns[-1] = 1  # the offset's column
        sums = np.empty((matrix.values.shape[0], columns.shape[1]), columns.dtype)
        for rows in _slices(out_h, height):
            part = out[:, rows]
            pixels = part.size // outputs
            unfolded = columns[:length, :pixels].reshape(channels, *kernel, *part.shape[1:])
            np.copyto(unfolded, windows[:, :, :, rows])
            total = np.matmul(matrix.values, columns[:, :pixels], out=sums[:, :pixels])
            if matrix.join is not None:
                total, low = total[:outputs], total[outputs:]
                np.floor(low, out=low)
                low *= matrix.join
                total += low
            finish(total, part)
        return out

    return run


def _depthwise(layer: Conv2d, source: Tensor) -> Kernel:
    """Accumulate the taps one by one, on some channels of all images at once."""
    (kernel_h, kernel_w), (stride_h, stride_w) = layer.kernel, layer.stride
    outputs, out_h, out_w = layer.output.shape
    folded, offset, shift = _fold(layer)
    number = _exact(_reach(folded, offset, source).max(), layer.output.name)
    weights = np.ldexp(folded.astype(float), -shift).astype(number)[:, :, None, None, None]
    start = np.ldexp(offset.astype(float), -shift).astype(number)[:, :, None, None]
    form = storage(layer.output.format)
    finish = _finisher(layer.requantization.lo, layer.requantization.hi)
    reach_h, reach_w = (out_h - 1) * stride_h + 1, (out_w - 1) * stride_w + 1

    def run(x: Ints) -> Ints:
        images = x.shape[3]
        out = np.empty((outputs, out_h, out_w, images), form)
        for channels in _slices(outputs, max(1, PIECE // (x.shape[1] * x.shape[2] * images))):
            part = out[channels]
            padded = _pad(x[channels], layer.padding, 0).astype(number)
            total, product = np.empty(part.shape, number), np.empty(part.shape, number)
            total[:] = start[channels]
            for tap in range(kernel_h * kernel_w):
                i, j = divmod(tap, kernel_w)
                seen = padded[:, i : i + reach_h : stride_h, j : j + reach_w : stride_w]
                total += np.multiply(seen, weights[channels, tap], out=product)
            finish(total, part)
        return out

    return run


def _add(layer: Add, inputs: list[Tensor]) -> Kernel:
    half = (1 << layer.shift) >> 1
    bound = half + sum(m * _magnitude(t) for m, t in zip(layer.multipliers, inputs, strict=True))
    number = _exact(bound, layer.output.name)
    first, second, offset = (number.type(v * 2.0**-layer.shift) for v in (*layer.multipliers, half))
    form = storage(layer.output.format)
    finish = _finisher(layer.lo, layer.hi)

    def run(a: Ints, b: Ints) -> Ints:
        total = a.astype(number)
        total *= first
        other = b.astype(number)
        other *= second
        total += other
        total += offset
        return finish(total, np.empty(total.shape, form))

    return run


def _average_pool(layer: AveragePool, source: Tensor) -> Kernel:
    half = (1 << layer.shift) >> 1
    area = layer.kernel[0] * layer.kernel[1]
    number = _exact(half + layer.multiplier * area * _magnitude(source), layer.output.name)
    scale, offset = number.type(layer.multiplier * 2.0**-layer.shift), number.type(half * 2.0**-layer.shift)
    form = storage(layer.output.format)
    finish = _finisher(layer.lo, layer.hi)

    def run(x: Ints) -> Ints:
        total = _slide(_pad(x, layer.padding, 0).astype(number), layer, np.add)
        total *= scale
        total += offset
        return finish(total, np.empty(total.shape, form))

    return run


def _max_pool(layer: MaxPool, source: Tensor) -> Kernel:
    lowest = source.format.lo
    return lambda x: _slide(_pad(x, layer.padding, lowest), layer, np.maximum)


def _slide(x: NDArray[Any], layer: AveragePool | MaxPool, join: np.ufunc) -> NDArray[Any]:
    """Join every window with `join`: first along the columns, then along the rows."""
    _, out_h, out_w = layer.output.shape
    (kernel_h, kernel_w), (stride_h, stride_w) = layer.kernel, layer.stride
    reach = (out_w - 1) * stride_w + 1
    wide = x[:, :, 0:reach:stride_w].copy()
    for j in range(1, kernel_w):
        join(wide, x[:, :, j : j + reach : stride_w], out=wide)
    reach = (out_h - 1) * stride_h + 1
    out = wide[:, 0:reach:stride_h].copy()
    for i in range(1, kernel_h):
        join(out, wide[:, i : i + reach : stride_h], out=out)
    return out


def _fold(layer: WeightLayer) -> tuple[Ints, Ints, Ints]:
    """Return Σ_p m_p·W_p (O, K), c + 2^(s−1) (O, 1) and s (O, 1), all int64."""
    folded: Ints = np.zeros((layer.output.shape[0], layer.planes[0].weights[0].size), np.int64)
    for plane in layer.planes:
        folded += plane.weights.reshape(folded.shape).astype(np.int64) * plane.multiplier.astype(np.int64)[:, None]
    shift = layer.requantization.shift.astype(np.int64)[:, None]
    offset = layer.requantization.bias.astype(np.int64)[:, None] + ((np.int64(1) << shift) >> 1)
    return folded, offset, shift


def _matrix(layer: WeightLayer, source: Tensor) -> _Matrix:
    """Return the narrowest matrix whose products are exact."""
    folded, offset, shift = _fold(layer)
    reach = _reach(folded, offset, source).max()
    columns = np.hstack([folded, offset])
    if reach < _SINGLE:
        return _Matrix(np.ldexp(columns.astype(float), -shift).astype(np.float32), None)
    cut = _cut(folded, offset, shift, source)
    if cut is None:
        number = _exact(reach, layer.output.name)
        return _Matrix(np.ldexp(columns.astype(float), -shift).astype(number), None)
    high, low = _parts(columns, cut)
    values = np.vstack([np.ldexp(high.astype(float), cut - shift), np.ldexp(low.astype(float), -cut)])
    return _Matrix(values.astype(np.float32), np.ldexp(1.0, cut - shift).astype(np.float32))


def _cut(folded: Ints, offset: Ints, shift: Ints, source: Tensor) -> Ints | None:
    """Return for each channel a k (O, 1) at which high and low sums are exact in float32; None if one has none."""
    found = np.full(shift.shape, -1)
    for k in range(1, 24):
        cut = np.full(shift.shape, k)
        high_offset, low_offset = _parts(offset, cut)
        high, low = _parts(folded, cut)
        low_reach = _reach(low, low_offset, source)
        high_reach = _reach(high, high_offset, source) + low_reach * 2.0**-k + 1
        fits = (np.maximum(low_reach, high_reach) < _SINGLE) & (k <= shift)
        found = np.where((found < 0) & fits, cut, found)
    return None if (found < 0).any() else found


def _parts(values: Ints, cut: Ints) -> tuple[Ints, Ints]:
    """Return h and l with values = 2^cut·h + l and −2^(cut−1) ≤ l < 2^(cut−1)."""
    high = (values + (np.int64(1) << (cut - 1))) >> cut
    return high, values - (high << cut)


def _reach(folded: Ints, offset: Ints, source: Tensor) -> NDArray[np.float64]:
    """Return a bound (O, 1) of the magnitude of every partial sum; in float64, which cannot wrap around."""
    total = np.abs(folded.astype(float)).sum(axis=1, keepdims=True)
    return np.asarray(total * _magnitude(source) + np.abs(offset.astype(float)))


def _exact(bound: float, name: str) -> np.dtype[Any]:
    """Return the floating-point type whose integers up to `bound` are exact."""
    if bound < _SINGLE:
        return np.dtype(np.float32)
    if bound < _DOUBLE:
        return np.dtype(np.float64)
    raise IntarsiaError(f"layer {name}: its sums can pass 2^52; use narrower multipliers or fewer planes.")


def _finisher(lo: int, hi: int) -> Callable[[Floats, Ints], Ints]:
    """Return a function that floors and clips `total` in place and stores it in `out` (as many elements)."""

    def finish(total: Floats, out: Ints) -> Ints:
        if lo < 0:  # the conversion to integers truncates, which is the floor from zero up
            np.floor(total, out=total)
        np.maximum(total, total.dtype.type(lo), out=total)
        np.minimum(total, total.dtype.type(hi), out=total)
        np.copyto(out, total.reshape(out.shape), casting="unsafe")
        return out

    return finish


def _pad(x: Ints, padding: tuple[int, int, int, int], value: int) -> Ints:
    if not any(padding):
        return x
    top, left, bottom, right = padding
    channels, height, width, images = x.shape
    out = np.full((channels, height + top + bottom, width + left + right, images), value, x.dtype)
    out[:, top : top + height, left : left + width] = x
    return out


def _windows(x: Ints, kernel: tuple[int, int], stride: tuple[int, int], out: tuple[int, int]) -> Ints:
    """Return the view (C, KH, KW, OH, OW, N) of every window."""
    x = np.ascontiguousarray(x)
    channels, height, width, images = x.shape
    # Not x.strides: along an axis of length 1 NumPy leaves them undefined.
    column = images * x.itemsize
    row = width * column
    strides = (height * row, row, column, row * stride[0], column * stride[1], x.itemsize)
    return as_strided(x, (channels, *kernel, *out, images), strides, writeable=False)


def _slices(count: int, step: int) -> Iterator[slice]:
    return (slice(start, min(count, start + step)) for start in range(0, count, step))


def _magnitude(x: Tensor) -> int:
    return max(-x.format.lo, x.format.hi)
