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


def image_shape(shape: tuple[int, ...]) -> Shape | None:
    """Return (channels, height, width) of a shape (N, H, W, C) or (N, features); None for any other."""
    if len(shape) == 4:
        return shape[3], shape[1], shape[2]
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
