# SPDX-License-Identifier: Apache-2.0
"""One layer on a batch of images, with BLAS, and yet exact.

A weight layer is one matrix W, and then

    y = clip((m·(W·x) + 2^(s−t)·n·r + c + 2^(s−1)) >> s, lo, hi)

BLAS multiplies floating-point numbers. All partial sums, in any order, are integers; a binary floating-point format
with a significand of b bits holds them exactly as long as none passes 2^b. That bound is computed from the weights and
the formats when a kernel is built. Where 2^24 is enough for all of y, everything is in float32, with m·2^−s folded
into the matrix: sums are integers times 2^−s, and the shift is a floor. Otherwise the product is in float32 or, beyond
2^24, in float64, and its sums become integers, of 32 bits where these are enough for the rest of y, or of 64. Pools
and additions whose sums could pass 2^52 are refused.

Activations are (H, N, W, C) arrays of the smallest integer type that holds their format. With the channels last, a row
of a window is one run of memory, and is unfolded as one; with the images next to the columns, one row of outputs of all
images is one matrix.
"""

import math
import threading
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

Numbers = NDArray[Any]
Kernel = Callable[..., Ints]

#: Elements of a piece of unfolded windows and its sums: large enough for BLAS, small enough for a core's cache.
PIECE = 300_000

#: Multiplications of a product up to which OpenBLAS does not copy the operands first, and is a quarter faster.
_SMALL_PRODUCT = 1_000_000
#: Pixels below which such a product is not worth while, and pixels that make copying worth while.
_FEW_PIXELS = 16
_MANY_PIXELS = 64

_SINGLE = 2.0**24
_DOUBLE = 2.0**52  # one bit less than float64 has, since the bound itself is rounded
_INT32 = 2.0**31


class Scratch(threading.local):
    """Memory that kernels use again and again, for each thread its own: to get as much from the system each time takes
    as long as to compute. What a name stands for is lost when an array of that name is made again.
    """

    def __init__(self) -> None:
        self._memory: dict[str, NDArray[np.uint8]] = {}

    def empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Numbers:
        """Return an array of any values."""
        size = math.prod(shape) * dtype.itemsize
        if name not in self._memory or self._memory[name].size < size:
            self._memory[name] = np.empty(size, np.uint8)
        return np.ndarray(shape, dtype, self._memory[name])

    def copy(self, name: str, values: Numbers, dtype: np.dtype[Any]) -> Numbers:
        """Return a copy of `values`, converted."""
        array = self.empty(name, values.shape, dtype)
        np.copyto(array, values, casting="unsafe")
        return array


def storage(form: ActivationFormat) -> np.dtype[Any]:
    """Return the smallest NumPy integer type that holds the format."""
    return np.dtype(f"{'' if form.signed else 'u'}int{8 if form.bits <= 8 else 16}")


def build_kernel(layer: Layer, inputs: list[Tensor]) -> Kernel:
    """Return a function from a `Scratch` and the layer's input arrays to its output array, all (H, N, W, C).

    Raises:
        IntarsiaError: a sum of a pool or an addition could pass 2^52.
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
    """A weight layer's matrix, and what becomes of its products; the latter in the type of the sums.

    Attributes:
        matrix: W (KH, KW, I, O) in the type of the products; W·m·2^−s if all is folded into it.
        multiplier: m (O,); None if folded.
        offset: c + 2^(s−1) (O,); times 2^−s if folded.
        residual: 2^(s−t)·n (O,), by which a residual is multiplied; times 2^−s if folded.
        shift: s (O,); None if folded.
    """

    matrix: Numbers
    multiplier: Numbers | None
    offset: Numbers
    residual: Numbers
    shift: Numbers | None


def _weights(layer: WeightLayer, inputs: list[Tensor]) -> _Weights:
    """Return a layer's weights in the narrowest types whose sums are exact."""
    matrix = weight_matrix(layer.planes).transpose(2, 3, 1, 0).astype(float)
    own = layer.requantization
    multiplier, bias, shift = (values.astype(np.int64) for values in (own.multiplier, own.bias, own.shift))
    offset = bias + ((np.int64(1) << shift) >> 1)
    residual = np.zeros(len(shift))
    if layer.residual is not None:
        residual = np.ldexp(float(layer.residual.multiplier), shift - layer.residual.shift)
    reach = np.abs(matrix).sum(axis=(0, 1, 2)) * _magnitude(inputs[0])  # in float64, which cannot wrap around
    total = float((reach * multiplier + np.abs(offset) + residual * _magnitude(inputs[-1])).max())
    if total < _SINGLE:
        folded, start, added = (
            np.ldexp(values, -shift).astype(np.float32) for values in (matrix * multiplier, offset, residual)
        )
        return _Weights(folded, None, start, added, None)
    products = _exact(float(reach.max()), layer.output.name)
    sums = np.int32 if total < _INT32 else np.int64
    return _Weights(matrix.astype(products), *(v.astype(sums) for v in (multiplier, offset, residual, shift)))


def _convolution(layer: Conv2d, inputs: list[Tensor]) -> Kernel:
    """Unfold windows and multiply."""
    outputs, _, out_w = layer.output.shape
    weights = _weights(layer, inputs)
    matrix = weights.matrix.reshape(-1, outputs)
    at_once = _SMALL_PRODUCT // matrix.size

    def products(scratch: Scratch, x: Numbers) -> Numbers:
        windows = _windows(scratch, x, layer)
        rows, pixels = windows.shape[:2]
        sums = scratch.empty("sums", (rows, pixels, outputs), x.dtype)
        for some in _slices(pixels, at_once if at_once >= _FEW_PIXELS else pixels):
            np.matmul(windows[:, some], matrix, out=sums[:, some])
        return sums.reshape(-1, x.shape[1], out_w * outputs)

    return _in_pieces(layer, weights, products, len(matrix) // layer.kernel[0])


def _windows(scratch: Scratch, x: Numbers, layer: Conv2d) -> Numbers:
    """Return the windows as matrices (pixels, KH · KW · C), one for each row of outputs or one for all.

    They are unfolded along the columns only, with the rows of x side by side: each matrix is a view, and they overlap.
    """
    if layer.kernel == layer.stride == (1, 1):
        return x.reshape(1, -1, x.shape[3])
    (kernel_h, kernel_w), (stride_h, stride_w) = layer.kernel, layer.stride
    out_w = layer.output.shape[2]
    runs = _runs(x, kernel_w, stride_w, out_w).transpose(1, 2, 0)
    unfolded = scratch.copy("unfolded", runs, runs.dtype)
    height, run = len(x), runs.itemsize
    shape = ((height - kernel_h) // stride_h + 1, x.shape[1] * out_w, kernel_h * kernel_w * x.shape[3])
    strides = (stride_h * run, height * run, x.itemsize)
    return as_strided(unfolded.view(x.dtype), shape, strides, writeable=False)


def _depthwise(layer: Conv2d, inputs: list[Tensor]) -> Kernel:
    """Accumulate the taps one by one, each on whole rows."""
    (kernel_h, kernel_w), (stride_h, stride_w) = layer.kernel, layer.stride
    outputs, _, out_w = layer.output.shape
    weights = _weights(layer, inputs)
    taps = np.tile(weights.matrix.reshape(kernel_h, kernel_w, outputs), out_w)

    def products(scratch: Scratch, x: Numbers) -> Numbers:
        reach = len(x) - kernel_h + 1
        shape = (-(-reach // stride_h), x.shape[1], out_w * outputs)
        sums, product = (scratch.empty(name, shape, x.dtype) for name in ("sums", "product"))
        sums[:] = 0
        for j in range(kernel_w):
            column = _columns(scratch, x, j, stride_w, out_w)
            for i in range(kernel_h):
                sums += np.multiply(column[i : i + reach : stride_h], taps[i, j], out=product)
        return sums

    return _in_pieces(layer, weights, products, 2 * outputs)


def _in_pieces(layer: Conv2d, weights: _Weights, products: Callable[[Scratch, Numbers], Numbers], run: int) -> Kernel:
    """Return the kernel that has `products` multiply the rows of some images that fit the cache, and requantizes.

    `products` makes (rows, images, columns · channels) of padded inputs; for each of their rows and each column of
    outputs it needs `run` numbers.
    """
    kernel_h, stride_h = layer.kernel[0], layer.stride[0]
    outputs, out_h, out_w = layer.output.shape
    form = storage(layer.output.format)
    finish = _requantizer(layer, weights)
    first, further = (out_w * (rows * run + outputs) for rows in (kernel_h, stride_h))
    rows_at_once = 1 + min(out_h - 1, max(0, PIECE // max(1, _MANY_PIXELS // out_w) - first) // further)
    images_at_once = max(1, PIECE // (first + (rows_at_once - 1) * further))

    def kernel(scratch: Scratch, x: Ints, *residual: Ints) -> Ints:
        x = _pad(x, layer.padding, 0)
        out = np.empty((out_h, x.shape[1], out_w * outputs), form)
        added = [r.reshape(out.shape) for r in residual]
        for images in _slices(x.shape[1], images_at_once):
            for rows in _slices(out_h, rows_at_once):
                seen = x[rows.start * stride_h : (rows.stop - 1) * stride_h + kernel_h, images]
                sums = products(scratch, scratch.copy("seen", seen, weights.matrix.dtype))
                finish(scratch, sums, [r[rows, images] for r in added], out[rows, images])
        return out.reshape(out_h, -1, out_w, outputs)

    return kernel


def _requantizer(layer: WeightLayer, weights: _Weights) -> Callable[[Scratch, Numbers, list[Ints], Ints], None]:
    """Return a function that makes outputs of products and residuals, and stores them in its last argument; all are
    (rows, images, columns · channels).
    """

    def tiled(values: Numbers) -> Numbers:
        # Repeated for every column, so that NumPy's innermost loops are long.
        return np.tile(values, layer.output.shape[2])

    offset, added = tiled(weights.offset), tiled(weights.residual)
    multiplier = None if weights.multiplier is None else tiled(weights.multiplier)
    shift = None if weights.shift is None else tiled(weights.shift)

    def finish(scratch: Scratch, total: Numbers, residuals: list[Ints], out: Ints) -> None:
        if multiplier is not None:
            total = scratch.copy("total", total, offset.dtype)
            total *= multiplier
        total += offset
        for residual in residuals:
            part = scratch.copy("residual", residual, offset.dtype)
            part *= added
            total += part
        if shift is not None:
            total >>= shift
        _store(total, layer.requantization.lo, layer.requantization.hi, out)

    return finish


def _add(layer: Add, inputs: list[Tensor]) -> Kernel:
    half = (1 << layer.shift) >> 1
    bound = half + sum(m * _magnitude(t) for m, t in zip(layer.multipliers, inputs, strict=True))
    number = _exact(bound, layer.output.name)
    first, second, offset = (number.type(v * 2.0**-layer.shift) for v in (*layer.multipliers, half))
    form = storage(layer.output.format)

    def run(scratch: Scratch, a: Ints, b: Ints) -> Ints:
        total = scratch.copy("total", a, number)
        total *= first
        other = scratch.copy("other", b, number)
        other *= second
        total += other
        total += offset
        return _store(total, layer.lo, layer.hi, np.empty(total.shape, form))

    return run


def _average_pool(layer: AveragePool, source: Tensor) -> Kernel:
    half = (1 << layer.shift) >> 1
    area = layer.kernel[0] * layer.kernel[1]
    number = _exact(half + layer.multiplier * area * _magnitude(source), layer.output.name)
    scale, offset = number.type(layer.multiplier * 2.0**-layer.shift), number.type(half * 2.0**-layer.shift)
    form = storage(layer.output.format)

    def run(scratch: Scratch, x: Ints) -> Ints:
        total = _slide(scratch, scratch.copy("seen", _pad(x, layer.padding, 0), number), layer, np.add)
        total *= scale
        total += offset
        return _store(total, layer.lo, layer.hi, np.empty(total.shape, form))

    return run


def _max_pool(layer: MaxPool, source: Tensor) -> Kernel:
    lowest = source.format.lo
    return lambda scratch, x: _slide(scratch, _pad(x, layer.padding, lowest), layer, np.maximum)


def _slide(scratch: Scratch, x: Numbers, layer: AveragePool | MaxPool, join: np.ufunc) -> Numbers:
    """Join every window with `join`: first along the rows, which are whole runs of memory, then along the columns."""
    channels, out_h, out_w = layer.output.shape
    (kernel_h, kernel_w), (stride_h, stride_w) = layer.kernel, layer.stride
    reach = (out_h - 1) * stride_h + 1
    tall = scratch.copy("tall", x[0:reach:stride_h], x.dtype)
    for i in range(1, kernel_h):
        join(tall, x[i : i + reach : stride_h], out=tall)
    out = _runs(tall, 1, stride_w, out_w).copy().view(x.dtype)
    for j in range(1, kernel_w):
        join(out, _columns(scratch, tall, j, stride_w, out_w), out=out)
    return out.reshape(out_h, -1, out_w, channels)


def _exact(bound: float, name: str) -> np.dtype[Any]:
    """Return the floating-point type whose integers up to `bound` are exact."""
    if bound < _SINGLE:
        return np.dtype(np.float32)
    if bound < _DOUBLE:
        return np.dtype(np.float64)
    raise IntarsiaError(f"layer {name}: its sums can pass 2^52; use narrower multipliers or smaller windows.")


def _store(total: Numbers, lo: int, hi: int, out: Ints) -> Ints:
    """Store ⌊total⌋, clipped, in `out`, which has its shape; may change `total`."""
    number = total.dtype
    if lo < 0 and number.kind == "f":  # the conversion to integers truncates, which is the floor from zero up
        np.floor(total, out=total)
    np.clip(total, number.type(lo), number.type(hi), out=out, casting="unsafe")
    return out


def _pad(x: Ints, padding: tuple[int, int, int, int], value: int) -> Ints:
    if not any(padding):
        return x
    top, left, bottom, right = padding
    height, images, width, channels = x.shape
    out = np.full((height + top + bottom, images, width + left + right, channels), value, x.dtype)
    out[top : top + height, :, left : left + width] = x
    return out


def _columns(scratch: Scratch, x: Numbers, start: int, stride: int, count: int) -> Numbers:
    """Return a copy of every `stride`-th column, `count` of them, as (H, N, columns · C)."""
    runs = _runs(x, 1, stride, count, start)
    return scratch.copy("columns", runs, runs.dtype).view(x.dtype)


def _runs(x: Numbers, length: int, stride: int, count: int, start: int = 0) -> NDArray[np.void]:
    """Return the view (H, N, count) of runs of `length` columns, all channels, `stride` columns apart; each run is one
    item, and so copied as one.
    """
    height, images, width, channels = x.shape
    column = channels * x.itemsize
    strides = (images * width * column, width * column, stride * column)
    return np.ndarray((height, images, count), f"V{length * column}", x, start * column, strides)


def _slices(count: int, step: int) -> Iterator[slice]:
    return (slice(start, min(count, start + step)) for start in range(0, count, step))


def _magnitude(x: Tensor) -> int:
    return max(-x.format.lo, x.format.hi)
