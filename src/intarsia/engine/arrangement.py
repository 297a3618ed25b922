# SPDX-License-Identifier: Apache-2.0
"""A network with its channels in another order, and with narrower rows: the same values of every tensor.

- A row whose planes all count 2^k-fold is divided by that factor. The shift of its requantization is lowered by k, and
  its bias is divided likewise and rounded down; that is exact, as everything else before the shift is a multiple of
  2^k. Factors that weights have by chance are left: an engine is fitted before they are known.
- The channels of a tensor are permuted: in the rows of what writes it, in the columns of what reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from intarsia.engine.bits import Ints
from intarsia.engine.rows import Order
from intarsia.integer import (
    Conv2d,
    IntegerNetwork,
    Layer,
    Linear,
    Pattern,
    Plane,
    Requantization,
    WeightFormat,
    WeightLayer,
    weight_matrix,
)
from intarsia.integer.formats import MOST_TIE

_INT8 = WeightFormat("int8")


@dataclass(frozen=True, eq=False)
class Arrangement:
    """A network as an execution unit wants it: the same values, where `orders` says so in another order of channels.

    `orders`: by tensor, for each channel of `network` that of the original; tensors without one keep their order.
    """

    network: IntegerNetwork
    orders: Mapping[str, Order]


def with_narrow_rows(network: IntegerNetwork) -> IntegerNetwork:
    """Return a network of the same values whose rows have no factor 2^k from the shifts of their planes, as far as the
    shifts of their requantization allow.
    """
    layers = tuple(_narrowed(layer) if isinstance(layer, Conv2d | Linear) else layer for layer in network.layers)
    return replace(network, layers=layers)


def reordered(network: IntegerNetwork, orders: Mapping[str, Order]) -> IntegerNetwork:
    """Return a network with the channels of its tensors in other orders.

    Args:
        network: whose weight layers are made of dense planes, as `with_narrow_rows` returns it.
        orders: of tensors that are not to keep their own; tensors that a residual, an addition, a pool or a depthwise
            layer joins have the same, and the input has none.
    """
    return replace(network, layers=tuple(_reordered(layer, orders) for layer in network.layers))


def _narrowed(layer: WeightLayer) -> WeightLayer:
    matrix = weight_matrix(layer.planes).astype(np.int64)
    own = layer.requantization
    used = np.stack([(plane.weights != 0).reshape(len(matrix), -1).any(axis=1) for plane in layer.planes])
    ties = np.array([[plane.shift] for plane in layer.planes])
    factor = np.where(used, ties, MOST_TIE + 1).min(axis=0)
    factor = np.where(used.any(axis=0), factor, 0)
    shift = own.shift.astype(np.int64)
    # No less than 1 remains of a shift, so that rounding adds a whole number; and no less than the residual's.
    least = 1 if layer.residual is None else max(1, layer.residual.shift)
    factor = np.clip(np.minimum(factor, shift - least), 0, None)
    requantization = replace(own, shift=shift - factor, bias=own.bias.astype(np.int64) >> factor)
    return replace(
        layer, planes=_planes(matrix >> factor.reshape(-1, 1, 1, 1)), requantization=_typed(requantization, own)
    )


def _typed(requantization: Requantization, like: Requantization) -> Requantization:
    """Return a requantization with the types of numbers that another has."""
    return replace(
        requantization,
        shift=requantization.shift.astype(like.shift.dtype),
        bias=requantization.bias.astype(like.bias.dtype),
    )


def _planes(matrix: Ints) -> tuple[Plane, ...]:
    """Return dense planes that a matrix is the sum of: one, if 8 bits hold it."""
    most = _INT8.limit
    if int(np.abs(matrix).max(initial=0)) <= most:
        return (Plane(matrix.astype(np.int8), _INT8, Pattern()),)
    half = 1 << (MOST_TIE - 1)
    low = (matrix + half) % (2 * half) - half
    rest = (matrix - low) >> MOST_TIE
    planes = [Plane(low.astype(np.int8), _INT8, Pattern())]
    while rest.any():
        part = np.clip(rest, -most, most)
        planes.append(Plane(part.astype(np.int8), _INT8, Pattern(), MOST_TIE))
        rest = rest - part
    return tuple(planes)


def _reordered(layer: Layer, orders: Mapping[str, Order]) -> Layer:
    if not isinstance(layer, Conv2d | Linear):
        return layer
    outputs, inputs = orders.get(layer.output.name), orders.get(layer.input)
    planes, requantization = layer.planes, layer.requantization
    if outputs is not None:
        rows = np.array(outputs)
        planes = tuple(replace(plane, weights=plane.weights[rows]) for plane in planes)
        requantization = replace(
            requantization,
            multiplier=requantization.multiplier[rows],
            bias=requantization.bias[rows],
            shift=requantization.shift[rows],
        )
    if inputs is not None and not (isinstance(layer, Conv2d) and layer.depthwise):
        planes = tuple(replace(plane, weights=plane.weights[:, np.array(inputs)]) for plane in planes)
    return replace(layer, planes=planes, requantization=requantization)
