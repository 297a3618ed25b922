# SPDX-License-Identifier: Apache-2.0
"""Padding and the order of axes: what TFLite, ONNX and PyTorch each write in their own way."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intarsia.networks.importers._graph import Four, Pair, Shape, Weights


def same_padding(size: Pair, kernel: Pair, stride: Pair, *, upper: bool = True) -> Four:
    """Return the padding that leaves ⌈size / stride⌉ windows, (top, left, bottom, right).

    An odd row or column is at the bottom and the right if `upper`, as in TensorFlow, else at the top and the left.
    """
    height, width = (max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in zip(size, kernel, stride, strict=True))
    less = (height // 2, width // 2)
    more = (height - less[0], width - less[1])
    return (*less, *more) if upper else (*more, *less)


def sum_padding(first: Four, second: Four) -> Four:
    """Add two paddings."""
    top, left, bottom, right = (a + b for a, b in zip(first, second, strict=True))
    return top, left, bottom, right


def window_count(size: Pair, kernel: Pair, stride: Pair, padding: Four) -> Pair:
    """Return how many windows there are, down and across."""
    top, left, bottom, right = padding
    return (size[0] + top + bottom - kernel[0]) // stride[0] + 1, (size[1] + left + right - kernel[1]) // stride[1] + 1


def ceil_padding(size: Pair, kernel: Pair, stride: Pair, padding: Four) -> Four:
    """Return the padding with which every last window that begins within the image or its padding is whole."""
    top, left, bottom, right = padding

    def more(n: int, k: int, s: int, before: int, after: int) -> int:
        missing = -(n + before + after - k) % s
        begin = n + before + after - k + missing  # of the last window
        return missing if begin < n + before else 0  # one that sees padding alone does not count

    down = more(size[0], kernel[0], stride[0], top, bottom)
    across = more(size[1], kernel[1], stride[1], left, right)
    return top, left, bottom + down, right + across


def plain_kernel(kernel: NDArray[Any], groups: int, dilation: Pair, *, depthwise: bool) -> NDArray[Any]:
    """Return a kernel (O, I / groups, KH, KW) as one without groups and dilation, its gaps filled with zeros.

    A depthwise one keeps its groups: (O, 1, …), else (O, I, …).
    """
    outputs, inputs, height, width = kernel.shape
    spread = np.zeros((outputs, inputs, (height - 1) * dilation[0] + 1, (width - 1) * dilation[1] + 1), kernel.dtype)
    spread[:, :, :: dilation[0], :: dilation[1]] = kernel
    if depthwise or groups == 1:
        return spread
    whole = np.zeros((outputs, inputs * groups, *spread.shape[2:]), kernel.dtype)
    for group, rows in enumerate(np.split(np.arange(outputs), groups)):
        whole[rows, group * inputs : (group + 1) * inputs] = spread[rows]
    return whole


def image_shape(shape: tuple[int, ...]) -> Shape | None:
    """Return (channels, height, width) of a shape (N, H, W, C), (N, L, C) or (N, features); None for any other."""
    if len(shape) == 4:
        return shape[3], shape[1], shape[2]
    if len(shape) == 3:
        return shape[2], 1, shape[1]
    return (shape[1], 1, 1) if len(shape) == 2 else None


def channels_first(shape: Shape) -> NDArray[np.int64]:
    """Return for each feature in (row, column, channel) order its place in (channel, row, column) order."""
    channels, height, width = shape
    places = np.arange(channels * height * width, dtype=np.int64).reshape(channels, height, width)
    return places.transpose(1, 2, 0).ravel()


def placed(values: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    """Return an array whose last axis is rearranged: element i goes to places[i]."""
    out = np.empty_like(values)
    out[..., places] = values
    return out


def placed_weights(weights: Weights, shape: Shape) -> Weights:
    """Return weights over features in (row, column, channel) order for (channel, row, column) order."""
    to = channels_first(shape)
    integers = None if weights.integers is None else placed(weights.integers, to)
    return Weights(placed(weights.values, to), integers, weights.scales)
