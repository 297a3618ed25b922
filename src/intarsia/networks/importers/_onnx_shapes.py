# SPDX-License-Identifier: Apache-2.0
"""ONNX operators that only rearrange: flatten, reshape, transpose, padding."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from intarsia.networks.importers._graph import Shape
from intarsia.networks.importers._onnx_attributes import Attributes, Unsupported, permutation
from intarsia.networks.importers._onnx_constants import Constant
from intarsia.networks.importers._onnx_state import Handler, State

_FLATTENS = "only a flatten to (N, features) is supported"
#: Orders of axes that move the channels to the last place, and back.
TO_LAST = ((0, 2, 3, 1), (0, 2, 1))
TO_FIRST = ((0, 3, 1, 2), (0, 2, 1))


def pass_on(state: State, node: Any, attributes: Attributes) -> None:
    """Take a tensor as it is."""
    name, output = state.anywise(node), str(node.output[0])
    state.builder.alias(name, output)
    state.like(name, output)


def _dropout(state: State, node: Any, attributes: Attributes) -> None:
    training = state.given(node, 2)
    if (training is not None and bool(training.values.any())) or not attributes.integer("is_test", 1):
        raise Unsupported("is in training mode; export the network in evaluation mode")
    pass_on(state, node, attributes)


def _flatten(state: State, node: Any, attributes: Attributes) -> None:
    axis, axes = attributes.integer("axis", 1), state.axes(state.anywise(node))
    if axis not in (1, 1 - axes):
        raise Unsupported(f"flattens from axis {axis}, not from 1")
    _make_flat(state, node)


def _make_flat(state: State, node: Any) -> None:
    name, output = state.anywise(node), str(node.output[0])
    state.builder.flatten(name, output, channels_last=name in state.channels_last)
    if name in state.coded:
        state.coded[output] = state.coded[name]


def _reshape(state: State, node: Any, attributes: Attributes) -> None:
    name = state.anywise(node)
    target = _target(state, name, state.constant(node, 1, "shape"))
    if len(target) == 1:
        _make_flat(state, node)
        return
    shape = _image(target)
    if shape is None:
        raise Unsupported(f"makes the shape {(-1, *target)}; {_FLATTENS}")
    _make_image(state, node, shape, signal=len(target) == 2)


def _target(state: State, name: str, constant: Constant) -> tuple[int, ...]:
    """Return the sizes that a reshape makes, without the batch."""
    stated = [int(size) for size in constant.values.ravel()]
    shape = state.builder.shape(name)
    whole = math.prod(shape)
    inner = {2: (whole,), 3: (shape[0], shape[2]), 4: shape}[state.axes(name)]
    if name in state.channels_last:
        inner = (*inner[1:], inner[0])
    sizes = [inner[i - 1] if size == 0 and 0 < i <= len(inner) else size for i, size in enumerate(stated)]
    if len(sizes) < 2 or sizes[1:].count(-1) > 1 or min(sizes[1:], default=0) < -1 or 0 in sizes[1:]:
        raise Unsupported(f"makes the shape {stated}; {_FLATTENS}")
    known = math.prod(size for size in sizes[1:] if size != -1)
    found = tuple(whole // known if size == -1 else size for size in sizes[1:])
    # A batch of a fixed size is stated as itself; what counts is that each input keeps its own elements.
    fixed = max(state.file.shape[0], 1)
    if math.prod(found) != whole or sizes[0] not in (-1, 0, fixed):
        raise Unsupported(f"makes the shape {stated}; {_FLATTENS}")
    return found


def _image(sizes: tuple[int, ...]) -> Shape | None:
    if len(sizes) == 3:
        return sizes[0], sizes[1], sizes[2]
    return (sizes[0], 1, sizes[1]) if len(sizes) == 2 else None


def _make_image(state: State, node: Any, shape: Shape, *, signal: bool) -> None:
    """Let a tensor have another shape, if its elements stay in their places."""
    name, output = state.anywise(node), str(node.output[0])
    builder = state.builder
    if name in state.channels_last:
        raise Unsupported("reshapes a tensor in another order than (N, channels, height, width)")
    if builder.shape(name) == shape and not builder.flat(name):
        builder.alias(name, output)
    elif builder.reshape_input(name, output, shape):
        builder.dropped.append(f"a reshape of the input, which is now {shape}")
    else:
        raise Unsupported(f"makes the shape {(-1, *shape)}; {_FLATTENS}")
    if name in state.coded:
        state.coded[output] = state.coded[name]
    if signal:
        state.signals.add(output)


def _axes(state: State, node: Any, attributes: Attributes, count: int) -> tuple[int, ...]:
    given = state.given(node, 1)
    axes = attributes.integers("axes", None) if given is None else tuple(int(v) for v in given.values.ravel())
    if axes is None:
        raise Unsupported("does not say which axes")
    return tuple(sorted(axis % count for axis in axes))


def _squeeze(state: State, node: Any, attributes: Attributes) -> None:
    name = state.anywise(node)
    count, (_, height, width) = state.axes(name), state.builder.shape(name)
    axes = _axes(state, node, attributes, count)
    places = tuple(range(1, count - 1)) if name in state.channels_last else tuple(range(2, count))
    if count == 4 and axes == places[:1] and height == 1:
        pass_on(state, node, attributes)
        state.signals.add(str(node.output[0]))
    elif axes == places and (height, width) == (1, 1):
        _make_flat(state, node)
    else:
        raise Unsupported(f"removes the axes {axes}; only height and width of one element are supported")


def _unsqueeze(state: State, node: Any, attributes: Attributes) -> None:
    name = state.anywise(node)
    flat, channels = state.builder.flat(name), state.builder.shape(name)[0]
    given = state.given(node, 1)
    added = len(attributes.integers("axes", ()) or ()) if given is None else given.values.size
    axes = _axes(state, node, attributes, state.axes(name) + added)
    if axes == ((1,) if name in state.channels_last else (2,)) and name in state.signals:
        pass_on(state, node, attributes)
        state.signals.discard(str(node.output[0]))
    elif flat and axes in ((1,), (2,), (2, 3), (1, 2), (1, 3)):
        shape = {(1,): (1, 1, channels), (1, 2): (1, 1, channels), (1, 3): (1, channels, 1)}.get(axes, (channels, 1, 1))
        _make_image(state, node, shape, signal=len(axes) == 1)
    else:
        raise Unsupported(f"adds the axes {axes}; only those of height and width are supported")


def _transpose(state: State, node: Any, attributes: Attributes) -> None:
    name, order = state.anywise(node), permutation(node)
    last = name in state.channels_last
    if order not in (TO_FIRST if last else TO_LAST) or len(order) != state.axes(name):
        raise Unsupported(f"permutes an activation by {order}")
    pass_on(state, node, attributes)
    (state.channels_last.discard if last else state.channels_last.add)(str(node.output[0]))


def _pad(state: State, node: Any, attributes: Attributes) -> None:
    name = state.source(node)
    value, axes, count = state.given(node, 2), state.given(node, 3), state.axes(name)
    filler = attributes.real("value", 0.0) if value is None else float(value.values.ravel()[:1].sum())
    if attributes.text("mode", "constant") != "constant" or filler != 0.0 or axes is not None:
        raise Unsupported("pads with anything but zeros on all axes")
    sizes = attributes.integers("pads", None)
    if sizes is None:
        sizes = tuple(int(size) for size in state.constant(node, 1, "sizes").values.ravel())
    if len(sizes) != 2 * count or any(sizes[i] for i in (0, 1, count, count + 1)) or count == 2:
        raise Unsupported(f"pads by {sizes}; only height and width are supported")
    before, after = sizes[2:count], sizes[count + 2 :]
    if count == 3:
        before, after = (0, *before), (0, *after)
    state.builder.pad(name, node.output[0], "pad", (before[0], before[1], after[0], after[1]))
    state.like(name, str(node.output[0]))


def _shape(state: State, node: Any, attributes: Attributes) -> None:
    """Give the sizes of an activation, the batch as −1, for a reshape that is made of them."""
    name = state.source(node)
    sizes = state.builder.shape(name)
    known = [-1, *{2: sizes[:1], 3: (sizes[0], sizes[2]), 4: sizes}[state.axes(name)]]
    start, end = attributes.integer("start", 0), attributes.integer("end", len(known))
    state.constants[node.output[0]] = Constant(np.array(known[start:end], np.int64))


SHAPES: Mapping[str, Handler] = MappingProxyType(
    {
        "Flatten": Handler(_flatten, "from axis 1"),
        "Reshape": Handler(_reshape, "to (N, features), or of the input"),
        "Squeeze": Handler(_squeeze, "height and width of one element"),
        "Unsqueeze": Handler(_unsqueeze, "a signal to an image, or of the input"),
        "Transpose": Handler(_transpose, "channels from or to the last place"),
        "Pad": Handler(_pad, "height and width, with zeros"),
        "Shape": Handler(_shape, "for a reshape"),
        "Dropout": Handler(_dropout, "left out"),
        "Identity": Handler(pass_on),
    }
)
