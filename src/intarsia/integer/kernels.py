"""One layer on a batch of images, with BLAS, and yet exact.

A weight layer's planes are folded into one matrix W' = Σ_p m_p·W_p, and everything is scaled by 2^−s, so that

    y = clip(⌊x·(W'·2^−s) + (c + 2^(s−1))·2^−s⌋, lo, hi)

is one floating-point matrix product and one floor. All partial sums, in any order, are integers times 2^−s; a binary
floating-point format with a significand of b bits holds them exactly as long as no magnitude passes 2^b·2^−s.
That bound is computed from the weights and the input's format when a kernel is built: float32 where 2^24 is
enough, else float64 (2^53), else the kernel is refused. So the result equals the integer definition bit for bit.

Activations are (N, H, W, C) arrays of the smallest integer type that holds their format.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.integer.formats import ActivationFormat
from intarsia.integer.network import Add, AveragePool, Conv2d, Ints, Layer, Linear, MaxPool, Tensor, WeightLayer

Floats = NDArray[Any]
Kernel = Callable[..., Ints]

#: Elements of a matrix of unfolded windows: large enough for BLAS, small enough for a core's cache.
PIECE = 40_000


def storage(form: ActivationFormat) -> np.dtype[Any]:
    """Return the smallest NumPy integer type that holds the format."""
    return np.dtype(f"{'' if form.signed else 'u'}int{8 if form.bits <= 8 else 16}")


def build_kernel(layer: Layer, inputs: list[Tensor]) -> Kernel:
    """Return a function from the layer's input arrays to its output array, all (N, H, W, C).

    Raises:
        IntarsiaError: a sum could pass 2^53, which float64 does not hold exactly.
    """
    match layer:
        case Conv2d() if layer.depthwise:
            return _depthwise(layer, inputs[0])
        case Conv2d() | Linear():
            return _convolution(layer, inputs[0])
        case Add():
            return _add(layer, inputs)
        case AveragePool():
            return _average_pool(layer, inputs[0])
        case MaxPool():
            return _max_pool(layer, inputs[0])


def _convolution(layer: WeightLayer, source: Tensor) -> Kernel:
    """Unfold windows in pieces that fit the cache and multiply; a linear layer is a kernel as large as its input."""
    channels, *size = source.shape
    if isinstance(layer, Conv2d):
        kernel, stride, padding = layer.kernel, layer.stride, layer.padding
    else:
        kernel, stride, padding = (size[0], size[1]), (1, 1), (0, 0, 0, 0)
    outputs, out_h, out_w = layer.output.shape
    matrix, offset, number = _fold(layer, source, (outputs, channels, *kernel))
    matrix = np.ascontiguousarray(matrix.transpose(2, 3, 1, 0).reshape(-1, outputs))
    length = matrix.shape[0]
    form = storage(layer.output.format)
    finish = _finisher(layer.requantization.lo, layer.requantization.hi)

    def run(x: Ints) -> Ints:
        windows = _windows(_pad(x, padding, 0), kernel, stride, (out_h, out_w))
        out = np.empty((x.shape[0], out_h, out_w, outputs), form)
        pieces = list(_pieces(x.shape[0], out_h, out_w * length))
        most = max((_extent(images) * _extent(rows) for images, rows in pieces), default=0) * out_w
        columns, sums = np.empty((most, length), number), np.empty((most, outputs), number)
        for images, rows in pieces:
            part = out[images, rows]
            pixels = part.size // outputs
            np.copyto(columns[:pixels].reshape(*part.shape[:3], kernel[0], -1), windows[images, rows])
            total = np.matmul(columns[:pixels], matrix, out=sums[:pixels])
            total += offset
            finish(total, part.reshape(pixels, outputs) if part.flags.c_contiguous else part)
        return out

    return run


def _depthwise(layer: Conv2d, source: Tensor) -> Kernel:
    """Accumulate the taps one by one, on all channels at once."""
    (kernel_h, kernel_w), (stride_h, stride_w), padding = layer.kernel, layer.stride, layer.padding
    outputs, out_h, out_w = layer.output.shape
    weights, offset, number = _fold(layer, source, (outputs, 1, kernel_h, kernel_w))
    taps = [(i, j, weights[:, 0, i, j].copy()) for i in range(kernel_h) for j in range(kernel_w)]
    form = storage(layer.output.format)
    finish = _finisher(layer.requantization.lo, layer.requantization.hi)
    rows_reach, columns_reach = (out_h - 1) * stride_h + 1, (out_w - 1) * stride_w + 1

    def run(x: Ints) -> Ints:
        out = np.empty((x.shape[0], out_h, out_w, outputs), form)
        step = max(1, PIECE // (x.shape[1] * x.shape[2] * outputs))
        for start in range(0, x.shape[0], step):
            part = out[start : start + step]
            padded = _pad(x[start : start + step], padding, 0).astype(number)
            total, product = np.empty(part.shape, number), np.empty(part.shape, number)
            total[:] = offset
            for i, j, tap in taps:
                seen = padded[:, i : i + rows_reach : stride_h, j : j + columns_reach : stride_w]
                total += np.multiply(seen, tap, out=product)
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


def _fold(layer: WeightLayer, source: Tensor, shape: tuple[int, ...]) -> tuple[Floats, Floats, np.dtype[Any]]:
    """Return Σ_p m_p·W_p·2^−s in `shape` (O, I, KH, KW), (c + 2^(s−1))·2^−s, and the type that makes both exact."""
    outputs = shape[0]
    folded = sum(
        plane.weights.reshape(shape).astype(np.int64) * plane.multiplier.astype(np.int64).reshape(-1, 1, 1, 1)
        for plane in layer.planes
    )
    shift = layer.requantization.shift.astype(np.int64)
    offset = layer.requantization.bias.astype(np.int64) + ((np.int64(1) << shift) >> 1)
    # In floating point, because the magnitudes of very many wide planes would wrap around in int64 unnoticed.
    reach = np.abs(np.asarray(folded, float)).reshape(outputs, -1).sum(axis=1) * _magnitude(source) + np.abs(offset)
    number = _exact(float(reach.max()), layer.output.name)
    matrix = np.ldexp(np.asarray(folded, float), -shift.reshape(-1, 1, 1, 1)).astype(number)
    return matrix, np.ldexp(offset.astype(float), -shift).astype(number), number


def _exact(bound: float, name: str) -> np.dtype[Any]:
    """Return the floating-point type whose integers up to `bound` are exact."""
    if bound < 2**24:
        return np.dtype(np.float32)
    if bound < 2**52:  # one bit less than float64 has, since the bound itself was rounded
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
    n, height, width, channels = x.shape
    out = np.full((n, height + top + bottom, width + left + right, channels), value, x.dtype)
    out[:, top : top + height, left : left + width] = x
    return out


def _windows(x: Ints, kernel: tuple[int, int], stride: tuple[int, int], out: tuple[int, int]) -> Ints:
    """Return the view (N, OH, OW, KH, KW·C) of every window; a row of a window is contiguous memory."""
    x = np.ascontiguousarray(x)
    n, height, width, channels = x.shape
    # Not x.strides: along an axis of length 1 NumPy leaves them undefined, but a window reads across that axis.
    column = channels * x.itemsize
    row = width * column
    strides = (height * row, row * stride[0], column * stride[1], row, x.itemsize)
    return as_strided(x, (n, *out, kernel[0], kernel[1] * channels), strides, writeable=False)


def _pieces(n: int, rows: int, row_size: int) -> Iterator[tuple[slice, slice]]:
    """Cut n images of `rows` rows into pieces of about PIECE elements: several images, or some rows of one."""
    images = PIECE // (rows * row_size)
    if images >= 1:
        for start in range(0, n, images):
            yield slice(start, min(n, start + images)), slice(0, rows)
        return
    height = max(1, PIECE // row_size)
    for image in range(n):
        for row in range(0, rows, height):
            yield slice(image, image + 1), slice(row, min(rows, row + height))


def _extent(part: slice) -> int:
    return int(part.stop - part.start)


def _magnitude(x: Tensor) -> int:
    return max(-x.format.lo, x.format.hi)
