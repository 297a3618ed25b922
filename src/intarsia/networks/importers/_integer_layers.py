# SPDX-License-Identifier: Apache-2.0
"""Weight layers of an imported integer network: their integers, planes and geometry."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.integer import Conv2d, Linear, Pattern, Plane, Requantization, Tensor
from intarsia.networks.importers._graph import Convolution, Dense, Four, Op
from intarsia.networks.importers._layout import plain_kernel
from intarsia.networks.importers._scales import weight_format

_MOST = 127  # the greatest weight of a plane
_WIDEST = 255  # of an 8-bit integer less a zero-point


@dataclass(frozen=True)
class Pending:
    """A layer whose output is not known yet: result = total · gain + term (arrays of (C,)), then a clip in real units.

    `total` is what the layer sums in integers: weights × inputs, a window, or (gain is then by input) two tensors.
    """

    op: Op
    sources: tuple[str, ...]
    padding: Four
    gain: NDArray[np.float64]
    term: NDArray[np.float64]
    lo: float = -math.inf
    hi: float = math.inf


def signed_weights(pending: Pending) -> NDArray[np.int64]:
    """Return a layer's weights. Multipliers are not negative: a negative gain changes the sign of the weights."""
    op = pending.op
    assert isinstance(op, Convolution | Dense) and op.weights.integers is not None  # noqa: S101 (checked at its start)
    integers = op.weights.integers.astype(np.int64)
    if isinstance(op, Convolution):
        integers = plain_kernel(integers, op.groups, op.dilation, depthwise=op.depthwise)
    found: NDArray[np.int64] = integers * np.where(pending.gain < 0, -1, 1).reshape(-1, *[1] * (integers.ndim - 1))
    return found


def planes_of(integers: NDArray[np.integer[Any]], where: str) -> tuple[Plane, ...]:
    """Return weights as one plane, or as a sum of several where some lie beyond ±127.

    Raises:
        IntarsiaError: a weight has more than 9 bits.
    """
    greatest = int(np.abs(integers).max())
    if greatest > _WIDEST:
        raise IntarsiaError(f"{where} has the weight {greatest}; weights of at most 9 bits are supported.")
    planes: list[Plane] = []
    rest = integers
    while not planes or rest.any():
        part = np.clip(rest, -_MOST, _MOST)
        rest = rest - part
        limit = int(np.abs(part).max())
        planes.append(Plane(part.astype(np.int8), weight_format(limit), Pattern()))
    return tuple(planes)


def weight_layer(
    pending: Pending, source: Tensor, output: Tensor, planes: tuple[Plane, ...], requantization: Requantization
) -> Conv2d | Linear:
    """Return the layer of the integer network."""
    op = pending.op
    if not isinstance(op, Convolution):
        whole = tuple(replace(plane, weights=plane.weights.reshape(-1, *source.shape)) for plane in planes)
        return Linear(source.name, output, whole, requantization)
    return Conv2d(source.name, output, planes, requantization, op.stride, pending.padding, depthwise=op.depthwise)
