# SPDX-License-Identifier: Apache-2.0
"""One layer on a batch of images, with BLAS, and yet exact.

A weight layer is one matrix W, and everything after it is scaled by 2^−s, so that

    y = clip(⌊(W·x)·(m·2^−s) + r·(n·2^−t) + (c + 2^(s−1))·2^−s⌋, lo, hi)

is one floating-point matrix product, a multiplication and a floor. All partial sums, in any order, are integers, or
integers times 2^−s; a binary floating-point format with a significand of b bits holds them exactly as long as none
passes 2^b, or 2^b·2^−s. That bound is computed from the weights and the formats when a kernel is built: the product is
in float32 where 2^24 is enough, and so is what follows, with m·2^−s folded into the matrix. Otherwise float64 (2^52)
takes over, from the accumulators on if these fit float32, which BLAS multiplies at twice the speed.

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
from intarsia.integer.layers import (
    Add,
    AveragePool,
    Conv2d,
    Ints,
    Layer,
    Linear,
    MaxPool,
    Tensor,
    WeightLayer,
    weight_matrix,
)

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
            return _depthwise(layer, inputs)
        case Conv2d():
            return _convolution(layer, inputs)
        case Linear():
            return _convolution(layer.convolution, inputs)
        case Add():
            return _add(layer, inputs)
        case AveragePool():
            return _average_pool(layer, inputs[0])
        case MaxPool():
            return _max_pool(layer, inputs[0])


@dataclass(frozen=True, eq=False)
class _Weights:
    """A weight layer's matrix (O, K), and what becomes of its products.

    Attributes:
        matrix: W, or, where `gain` is None, W·m·2^−s, in the type of the products.
        gain: m·2^−s (O, 1) as float64, by which the products are still to be multiplied; None if they are not.
        offset: (c + 2^(s−1))·2^−s (O, 1), in the type of the sums that it is added to.
        residual: n·2^−t, by which a residual is multiplied.
    """

    matrix: Floats
    gain: Floats | None
    offset: Floats
    residual: float


def _weights(layer: WeightLayer, inputs: list[Tensor]) -> _Weights:
    """Return a layer's weights in the narrowest types whose sums are exact.

    Raises:
        IntarsiaError: there are none.
    """
    matrix = weight_matrix(layer.planes).reshape(layer.output.shape[0], -1).astype(float)
    multiplier, bias, shift = (
        getattr(layer.requantization, field).astype(np.int64)[:, None] for field in ("multiplier", "bias", "shift")
    )
    offset = (bias + ((np.int64(1) << shift) >> 1)).astype(float)
    reach = np.abs(matrix).sum(axis=1, keepdims=True) * _magnitude(inputs[0])  # in float64, which cannot wrap around
    total, residual = reach * multiplier + np.abs(offset), 0.0
    if layer.residual is not None:
        residual = layer.residual.multiplier * 2.0**-layer.residual.shift
        total = total + residual * np.exp2(shift.astype(float)) * _magnitude(inputs[1])
    number = _exact(float(total.max()), layer.output.name)
    offset = np.ldexp(offset, -shift).astype(number)
    if number == np.float32:
        return _Weights(np.ldexp(matrix * multiplier, -shift).astype(number), None, offset, residual)
    products = _exact(float(reach.max()), layer.output.name)
    return _Weights(matrix.astype(products), np.ldexp(multiplier.astype(float), -shift), offset, residual)


def _convolution(layer: Conv2d, inputs: list[Tensor]) -> Kernel:
    """Unfold windows in pieces that fit the cache and multiply."""
    channels = inputs[0].shape[0]
    kernel, stride, padding = layer.kernel, layer.stride, layer.padding
    outputs, out_h, out_w = layer.output.shape
    weights = _weights(layer, inputs)
    length = weights.matrix.shape[1]
    form = storage(layer.output.format)
    finish = _requantizer(layer, weights)

    def run(x: Ints, *residual: Ints) -> Ints:
        images = x.shape[3]
        windows = _windows(_pad(x, padding, 0), kernel, stride, (out_h, out_w))
        out = np.empty((outputs, out_h, out_w, images), form)
        height = max(1, min(out_h, PIECE // (length * out_w * images)))
        columns = np.empty((length, height * out_w * images), weights.matrix.dtype)
        sums = np.empty((outputs, columns.shape[1]), columns.dtype)
        for rows in _slices(out_h, height):
            part = out[:, rows]
            pixels = part.size // outputs
            unfolded = columns[:, :pixels].reshape(channels, *kernel, *part.shape[1:])
            np.copyto(unfolded, windows[:, :, :, rows])
            total = np.matmul(weights.matrix, columns[:, :pixels], out=sums[:, :pixels])
            finish(total, [r[:, rows].reshape(outputs, -1) for r in residual], part)
        return out

    return run


def _depthwise(layer: Conv2d, inputs: list[Tensor]) -> Kernel:
    """Accumulate the taps one by one, on some channels of all images at once."""
    (kernel_h, kernel_w), (stride_h, stride_w) = layer.kernel, layer.stride
    outputs, out_h, out_w = layer.output.shape
    weights = _weights(layer, inputs)
    taps, number = weights.matrix[:, :, None, None, None], weights.matrix.dtype
    form = storage(layer.output.format)
    finish = _requantizer(layer, weights)
    reach_h, reach_w = (out_h - 1) * stride_h + 1, (out_w - 1) * stride_w + 1

    def run(x: Ints, *residual: Ints) -> Ints:
        images = x.shape[3]
        out = np.empty((outputs, out_h, out_w, images), form)
        for channels in _slices(outputs, max(1, PIECE // (x.shape[1] * x.shape[2] * images))):
            part = out[channels]
            padded = _pad(x[channels], layer.padding, 0).astype(number)
            total, product = np.zeros(part.shape, number), np.empty(part.shape, number)
            for tap in range(kernel_h * kernel_w):
                i, j = divmod(tap, kernel_w)
                seen = padded[:, i : i + reach_h : stride_h, j : j + reach_w : stride_w]
                total += np.multiply(seen, taps[channels, tap], out=product)
            rows = (len(part), -1)
            finish(total.reshape(rows), [r[channels].reshape(rows) for r in residual], part, channels)
        return out

    return run


def _requantizer(layer: WeightLayer, weights: _Weights) -> Callable[..., None]:
    """Return a function that makes outputs of products (channels, pixels) and residuals of as many, and stores them in
    `out`; `channels` says which these are.
    """
    store = _finisher(layer.requantization.lo, layer.requantization.hi)

    def finish(total: Floats, residuals: list[Ints], out: Ints, channels: slice = slice(None)) -> None:
        if weights.gain is not None:
            total = total * weights.gain[channels]
        total += weights.offset[channels]
        for residual in residuals:
            total += residual * total.dtype.type(weights.residual)
        store(total, out)

    return finish


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


def _exact(bound: float, name: str) -> np.dtype[Any]:
    """Return the floating-point type whose integers up to `bound` are exact."""
    if bound < _SINGLE:
        return np.dtype(np.float32)
    if bound < _DOUBLE:
        return np.dtype(np.float64)
    raise IntarsiaError(f"layer {name}: its sums can pass 2^52; use narrower multipliers or smaller windows.")


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
