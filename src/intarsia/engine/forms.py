# SPDX-License-Identifier: Apache-2.0
"""Forms of a network: the same values, stored and computed in another way.

There are two freedoms that save cycles with any execution unit, both of them decided before anything is mapped:

- **transposed**: rows and columns of every tensor and kernel exchanged. A row of output pixels that starts again costs
  the engine cycles in window mode, so long rows are better than many.
- **unfolded**: the host writes the input as patches (`Patches`), and the first layer becomes a 1×1 kernel over them.

Before that, a unit may want the channels of tensors in another order (`intarsia.engine.arrangement`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from intarsia.engine.program import Patches
from intarsia.engine.rows import Order
from intarsia.integer import Add, Conv2d, IntegerNetwork, Layer, Linear, Pattern, Plane, Tensor


@dataclass(frozen=True, eq=False)
class Form:
    """A network as the engine is to compute it, and how its tensors are stored for that."""

    network: IntegerNetwork
    transposed: bool = False
    patches: Patches | None = None
    orders: Mapping[str, Order] = field(default_factory=dict)


def forms(network: IntegerNetwork, block: int) -> Iterator[Form]:
    """Yield the forms of a network, the plain one first; transposed ones only where the input is not square."""
    plain = [Form(network)]
    if network.input.shape[1] != network.input.shape[2]:
        plain.append(Form(_transpose(network), transposed=True))
    for form in plain:
        yield form
        unfolded = _unfold(form, block)
        if unfolded is not None:
            yield unfolded


def _transpose(network: IntegerNetwork) -> IntegerNetwork:
    layers = tuple(_transpose_layer(layer) for layer in network.layers)
    return replace(network, input=_transpose_tensor(network.input), layers=layers)


def _transpose_tensor(tensor: Tensor) -> Tensor:
    channels, height, width = tensor.shape
    return replace(tensor, shape=(channels, width, height))


def _transpose_layer(layer: Layer) -> Layer:
    output = _transpose_tensor(layer.output)
    if isinstance(layer, Add):
        return replace(layer, output=output)
    if isinstance(layer, Conv2d | Linear):
        planes = tuple(replace(plane, weights=plane.weights.swapaxes(2, 3)) for plane in layer.planes)
        layer = replace(layer, output=output, planes=planes)
    if isinstance(layer, Linear):
        return layer
    top, left, bottom, right = layer.padding
    padding, stride = (left, top, right, bottom), (layer.stride[1], layer.stride[0])
    if isinstance(layer, Conv2d):
        return replace(layer, stride=stride, padding=padding)
    kernel = (layer.kernel[1], layer.kernel[0])
    return replace(layer, output=output, kernel=kernel, stride=stride, padding=padding)


def _unfold(form: Form, block: int) -> Form | None:
    """Unfold the input; None where it is also read otherwise, or where nothing can be gained."""
    network = form.network
    first, source = network.layers[0], network.input
    reads = sum(layer.inputs.count(source.name) for layer in network.layers)
    if reads > 1 or source.shape[0] % block == 0:
        return None
    if isinstance(first, Linear):
        patches = Patches(source.shape[1:], (1, 1), (0, 0, 0, 0), form.transposed)
    elif isinstance(first, Conv2d) and not first.depthwise:
        patches = Patches(first.kernel, first.stride, first.padding, form.transposed)
    else:
        return None
    if patches.kernel == (1, 1):
        return None
    planes = tuple(_flattened(plane, patches) for plane in first.planes)
    unfolded = replace(source, shape=patches.shape(source.shape))
    layer = Conv2d(source.name, first.output, planes, first.requantization, residual=first.residual)
    return Form(replace(network, input=unfolded, layers=(layer, *network.layers[1:])), form.transposed, patches)


def _flattened(plane: Plane, patches: Patches) -> Plane:
    """Return a plane over patches: where most are not zero can no longer be said by a rule."""
    pattern = plane.pattern if plane.pattern.kind in ("dense", "outputs") else Pattern("unstructured")
    weights = patches.merge(plane.weights.transpose(1, 2, 3, 0)).T[:, :, None, None]
    return replace(plane, weights=np.ascontiguousarray(weights), pattern=pattern)
