# SPDX-License-Identifier: Apache-2.0
"""The integer network's definition, written as plainly as it can be: int64 sums, the requantization, nothing else."""

import numpy as np
from numpy.typing import NDArray

from intarsia.integer import Add, AveragePool, Conv2d, IntegerNetwork, Layer, Linear, MaxPool, WeightLayer

Longs = NDArray[np.int64]


def reference_trace(network: IntegerNetwork, images: NDArray[np.integer]) -> dict[str, Longs]:
    """Return every tensor as (N, C, H, W) int64."""
    tensors = {network.input.name: images.astype(np.int64)}
    for layer in network.layers:
        tensors[layer.output.name] = _layer(layer, [tensors[name] for name in layer.inputs])
    return tensors


def _layer(layer: Layer, inputs: list[Longs]) -> Longs:
    x = inputs[0]
    match layer:
        case Linear():
            flat = x.reshape(len(x), np.prod(x.shape[1:]))
            total = sum(
                (flat @ plane.weights.astype(np.int64).reshape(len(plane.weights), -1).T) * 2**plane.shift
                for plane in layer.planes
            )
            return _finish(total[:, :, None, None], layer, inputs)
        case Conv2d():
            windows = _windows(x, layer)
            total = sum(
                _accumulate(windows, plane.weights.astype(np.int64), layer.depthwise) * 2**plane.shift
                for plane in layer.planes
            )
            return _finish(total, layer, inputs)
        case Add():
            total = inputs[0] * layer.multipliers[0] + inputs[1] * layer.multipliers[1]
            return requantize(total, layer.shift, layer.lo, layer.hi)
        case AveragePool():
            total = _windows(x, layer).sum(axis=(4, 5)) * layer.multiplier
            return requantize(total, layer.shift, layer.lo, layer.hi)
        case MaxPool():
            return _windows(x, layer, padding_value=np.iinfo(np.int64).min).max(axis=(4, 5))


def _accumulate(windows: Longs, weights: Longs, depthwise: bool) -> Longs:
    if depthwise:
        return np.einsum("ncyxij,cij->ncyx", windows, weights[:, 0])
    return np.einsum("ncyxij,ocij->noyx", windows, weights)


def _finish(accumulators: Longs, layer: WeightLayer, inputs: list[Longs]) -> Longs:
    own = layer.requantization
    multiplier, bias, shift = (v.astype(np.int64)[:, None, None] for v in (own.multiplier, own.bias, own.shift))
    total = accumulators * multiplier + bias
    if layer.residual is not None:
        total = total + inputs[1] * layer.residual.multiplier * 2 ** (shift - layer.residual.shift)
    return requantize(total, shift, own.lo, own.hi)


def _windows(x: Longs, layer: Conv2d | AveragePool | MaxPool, padding_value: int = 0) -> Longs:
    top, left, bottom, right = layer.padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=padding_value)
    windows = np.lib.stride_tricks.sliding_window_view(padded, layer.kernel, axis=(2, 3))
    return windows[:, :, :: layer.stride[0], :: layer.stride[1]]


def requantize(total: NDArray[np.int64], shift: NDArray[np.integer] | int, lo: int, hi: int) -> NDArray[np.int64]:
    """Return clip((total + 2^(shift−1)) >> shift, lo, hi), rounding half up; shift 0 adds nothing.

    `total` is acc·m + c, and what a residual adds, as 64-bit integers; `shift` (0 … 31) broadcasts against it.
    """
    amount = np.asarray(shift, np.int64)
    half = np.where(amount > 0, np.int64(1) << np.maximum(amount - 1, 0), 0)
    return np.asarray(np.clip((total + half) >> amount, lo, hi), np.int64)
