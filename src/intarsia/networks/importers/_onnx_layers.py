# SPDX-License-Identifier: Apache-2.0
"""ONNX operators that compute: layers, pools, arithmetic with constants, clips."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from intarsia.networks.importers._graph import Four, Pair
from intarsia.networks.importers._onnx_attributes import Attributes, Unsupported, numbers, padding
from intarsia.networks.importers._onnx_constants import Constant, floats
from intarsia.networks.importers._onnx_state import Handler, State


def flat_pair(values: tuple[int, ...]) -> Pair:
    """Return (height, width) of a window's numbers, one for a signal."""
    return (1, values[0]) if len(values) == 1 else (values[0], values[1])


def convolution_geometry(
    state: State, source: str, kernel: tuple[int, ...], attributes: Attributes
) -> tuple[Pair, Pair, Four]:
    """Return stride, dilation and padding of a convolution.

    Raises:
        Unsupported: the kernel has other axes than the tensor, or an attribute does not fit it.
    """
    if len(kernel) != state.axes(source) - 2 or not kernel:
        raise Unsupported(f"has a kernel of {kernel} for a tensor of {state.axes(source)} axes")
    if attributes.integers("kernel_shape", kernel) != kernel:
        raise Unsupported(f"has a kernel_shape that its weights with a kernel of {kernel} do not have")
    stride = flat_pair(numbers(attributes, "strides", len(kernel)))
    dilation = flat_pair(numbers(attributes, "dilations", len(kernel)))
    size = flat_pair(kernel)
    reach = ((size[0] - 1) * dilation[0] + 1, (size[1] - 1) * dilation[1] + 1)
    return stride, dilation, padding(attributes, state.builder.shape(source)[1:], reach, stride, len(kernel))


def square(constant: Constant) -> Constant:
    """Return a kernel (O, I, K) as (O, I, 1, K); one with four axes as it is."""
    return constant.moved(lambda values: values[:, :, None]) if constant.values.ndim == 3 else constant


def _convolution(state: State, node: Any, attributes: Attributes) -> None:
    source, stored = state.source(node), state.constant(node, 1, "weights")
    if stored.values.ndim not in (3, 4):
        raise Unsupported(f"has weights of shape {stored.values.shape}; only 1-D and 2-D convolutions are supported")
    kernel = tuple(int(size) for size in stored.values.shape[2:])
    stride, dilation, sides = convolution_geometry(state, source, kernel, attributes)
    bias = state.given(node, 2)
    state.builder.convolution(
        source,
        node.output[0],
        state.name(node, stored, bias),
        state.weights(square(stored)),
        None if bias is None else floats(bias).reshape(-1),
        stride=stride,
        padding=sides,
        groups=attributes.integer("group", 1),
        dilation=dilation,
    )
    state.like(source, node.output[0])


def _gemm(state: State, node: Any, attributes: Attributes) -> None:
    if attributes.integer("transA", 0):
        raise Unsupported("has the attribute transA")
    alpha, beta = attributes.real("alpha", 1.0), attributes.real("beta", 1.0)
    bias = state.given(node, 2)
    dense(state, node, bias, transposed=bool(attributes.integer("transB", 0)), alpha=alpha, beta=beta)


def _matmul(state: State, node: Any, attributes: Attributes) -> None:
    dense(state, node, None, transposed=False)


def dense(
    state: State, node: Any, bias: Constant | None, *, transposed: bool, alpha: float = 1.0, beta: float = 1.0
) -> None:
    """Add a fully connected layer: alpha · weights · x + beta · bias."""
    stored = state.constant(node, 1, "weights")
    if stored.values.ndim != 2:
        raise Unsupported(f"has weights of shape {stored.values.shape} instead of (inputs, outputs)")
    if not (np.isfinite([alpha, beta]).all() and alpha > 0):
        raise Unsupported(f"has the attributes alpha = {alpha:g} and beta = {beta:g}")
    found = stored if transposed else stored.moved(np.transpose)
    weights = state.weights(found if alpha == 1.0 else found.scaled(alpha))
    values = None if bias is None else floats(bias).reshape(-1) * np.float32(beta)
    if values is not None and values.size == 1:
        values = np.broadcast_to(values, weights.values.shape[:1])
    state.builder.dense(state.source(node), node.output[0], state.name(node, stored, bias), weights, values)


def _normalization(state: State, node: Any, attributes: Attributes) -> None:
    if attributes.integer("training_mode", 0):
        raise Unsupported("is in training mode; export the network in evaluation mode")
    gamma, beta, mean, variance = (
        state.constant(node, 1 + i, what) for i, what in enumerate(("scale", "bias", "mean", "variance"))
    )
    arrays = [floats(constant).reshape(-1) for constant in (mean, variance, gamma, beta)]
    epsilon = attributes.real("epsilon", 1e-5)
    if not (arrays[1] + epsilon > 0).all():
        raise Unsupported("has a negative variance")
    source = state.source(node)
    state.builder.normalization(source, node.output[0], state.name(node, gamma), arrays, epsilon)
    state.like(source, node.output[0])


def _clip_to(state: State, node: Any, lo: float | None, hi: float | None) -> None:
    name = state.anywise(node)
    if name in state.coded:
        raise Unsupported("reads the integers of a quantized tensor, not its real values")
    state.builder.clip(name, node.output[0], state.name(node), lo, hi)
    state.like(name, node.output[0])


def _relu(state: State, node: Any, attributes: Attributes) -> None:
    _clip_to(state, node, 0.0, None)


def _clip(state: State, node: Any, attributes: Attributes) -> None:
    limits = [attributes.real("min", -np.inf), attributes.real("max", np.inf)]
    for i in (0, 1):
        given = state.given(node, 1 + i)
        if given is not None:
            limits[i] = given.number("limit")
    if state.anywise(node) in state.coded:
        _clip_integers(state, node, limits)
        return
    lo, hi = (None if abs(limit) > 3e38 else limit for limit in limits)
    _clip_to(state, node, lo, hi)


def _clip_integers(state: State, node: Any, limits: list[float]) -> None:
    """Narrow the range of a quantizer: how fewer than 8 bits are written between its two halves."""
    name, output = state.anywise(node), str(node.output[0])
    narrowed = state.coded[name].clipped(*limits)
    if narrowed is None or not (state.only_reader(name) and state.builder.narrow(name, output, narrowed)):
        raise Unsupported("clips the integers of a quantized tensor, but does not follow its quantizer alone")
    state.like(name, output)
    state.coded[output] = narrowed


def _least(state: State, node: Any, attributes: Attributes) -> None:
    """Take the minimum or the maximum with a constant as a clip."""
    at = next((i for i, name in enumerate(node.input) if name in state.constants), -1)
    if at < 0 or len(node.input) != 2 or state.constants[node.input[at]].values.size != 1:
        raise Unsupported("is supported for one tensor and one number only")
    value = state.constants[node.input[at]].number("limit")
    source, output = state.anywise(node, 1 - at), str(node.output[0])
    if source in state.coded:
        raise Unsupported("reads the integers of a quantized tensor, not its real values")
    lo, hi = (None, value) if node.op_type == "Min" else (value, None)
    state.builder.clip(source, output, state.name(node), lo, hi)
    state.like(source, output)


def _add(state: State, node: Any, attributes: Attributes) -> None:
    if any(name in state.constants for name in node.input):
        _arithmetic(state, node, attributes)
        return
    if len(node.input) != 2:
        raise Unsupported(f"adds {len(node.input)} tensors")
    first, second = state.source(node), state.source(node, 1)
    if state.axes(first) != state.axes(second):
        raise Unsupported("adds tensors with different numbers of axes")
    state.builder.addition(first, second, node.output[0], state.name(node))
    state.like(first, node.output[0])


def _arithmetic(state: State, node: Any, attributes: Attributes) -> None:
    """Take x · c, x / c, x + c, x − c or c − x as a normalization."""
    kind = node.op_type
    at = next((i for i, name in enumerate(node.input) if name in state.constants), -1)
    if at < 0 or (at == 0 and kind == "Div") or len(node.input) != 2:
        raise Unsupported("is supported for one tensor and one constant (the divisor, of a division) only")
    source = state.anywise(node, 1 - at)
    if source in state.coded:
        raise Unsupported("reads the integers of a quantized tensor, not its real values")
    values = state.by_channel(source, floats(state.constant(node, at, "constant")))
    with np.errstate(divide="ignore"):
        values = {"Div": np.reciprocal, "Sub": np.positive if at == 0 else np.negative}.get(kind, np.positive)(values)
    if not np.isfinite(values).all():
        raise Unsupported("divides by 0")
    factor, term = (values, None) if kind in ("Mul", "Div") else (None, values)
    if kind == "Sub" and at == 0:
        factor = np.full(1, -1.0, np.float32)
    output = str(node.output[0])
    only = state.only_reader(source)
    state.builder.affine(source, output, state.name(node), factor, term, only=only)
    state.like(source, output)


def _pool(state: State, node: Any, attributes: Attributes) -> None:
    maximum, source = node.op_type == "MaxPool", state.anywise(node)
    if source in state.channels_last or (source in state.coded and not maximum):
        source = state.source(node)  # says what is wrong
    pool(state, node, source, attributes, maximum=maximum)
    state.like(source, node.output[0])


def pool(state: State, node: Any, source: str, attributes: Attributes, *, maximum: bool, **more: Any) -> None:
    """Add a pool with the attributes of ONNX."""
    kernel, axes = attributes.integers("kernel_shape", None), state.axes(source) - 2
    if kernel is None or len(kernel) != axes or not axes:
        raise Unsupported(f"has the kernel {kernel} for a tensor of {axes + 2} axes")
    if numbers(attributes, "dilations", axes) != (1,) * axes:
        raise Unsupported("has a dilation")
    size, stride = flat_pair(kernel), flat_pair(numbers(attributes, "strides", axes))
    sides = padding(attributes, state.builder.shape(source)[1:], size, stride, axes)
    if not maximum and any(sides) and not attributes.integer("count_include_pad", 0):
        raise Unsupported("has padding that does not count (attribute count_include_pad)")
    ceil = bool(attributes.integer("ceil_mode", 0))
    state.builder.pool(
        source,
        node.output[0],
        state.name(node),
        maximum=maximum,
        kernel=size,
        stride=stride,
        padding=sides,
        ceil=ceil,
        **more,
    )


def _global(state: State, node: Any, attributes: Attributes) -> None:
    """Pool over all places: `Global…Pool`, or a reduction over height and width."""
    source, output = state.anywise(node), str(node.output[0])
    if source in state.coded:
        raise Unsupported("reads the integers of a quantized tensor, not its real values")
    axes, count = state.given(node, 1), state.axes(source)
    every = tuple(range(2, count)) if node.op_type.startswith("Global") else tuple(range(count))
    over = attributes.integers("axes", every) if axes is None else tuple(int(v) for v in axes.values.ravel())
    first = 1 if source in state.channels_last else 2
    places = set(range(first, first + count - 2))
    if {axis % count for axis in over or ()} != places or not places:
        raise Unsupported(f"has the axes {over}; only all of height and width are supported")
    size, maximum = state.builder.shape(source)[1:], "Max" in node.op_type
    keeps = node.op_type.startswith("Global") or attributes.integer("keepdims", 1)
    pooled = output if keeps else (output, "pooled")
    state.builder.pool(
        source, pooled, state.name(node), maximum=maximum, kernel=size, stride=size, padding=(0, 0, 0, 0)
    )
    if keeps:
        state.like(source, output)
    else:
        state.builder.flatten(pooled, output)


def end(state: State, node: Any, attributes: Attributes) -> None:
    """Leave out what only shapes the result."""
    name = state.anywise(node)
    if name in state.channels_last:
        name = state.source(node)  # says what is wrong
    axes = state.axes(name)
    axis = attributes.integer("axis", -1 if axes == 2 else 0)
    if not node.op_type.endswith("Sigmoid") and axis % axes != 1:
        raise Unsupported(f"has the axis {axis}; only the axis of the classes, 1, is supported")
    state.builder.end(name, node.output[0], node.op_type)


_GLOBAL = "over all of height and width"
_CLIPS = "a range that holds 0"
_CONSTANT = "two tensors of one shape, or a tensor and one constant per channel"
LAYERS: Mapping[str, Handler] = MappingProxyType(
    {
        "Conv": Handler(_convolution, "1-D and 2-D; any stride, padding, dilation and groups"),
        "Gemm": Handler(_gemm, "constant weights"),
        "MatMul": Handler(_matmul, "constant weights"),
        "BatchNormalization": Handler(_normalization, "anywhere"),
        "Relu": Handler(_relu),
        "Clip": Handler(_clip, _CLIPS),
        "Min": Handler(_least, f"with a number; {_CLIPS}"),
        "Max": Handler(_least, f"with a number; {_CLIPS}"),
        "Add": Handler(_add, _CONSTANT),
        "Sum": Handler(_add, "of two"),
        "Sub": Handler(_arithmetic, "one constant per channel"),
        "Mul": Handler(_arithmetic, "one constant per channel"),
        "Div": Handler(_arithmetic, "by one constant per channel"),
        "AveragePool": Handler(_pool, "padding counts, or there is none"),
        "MaxPool": Handler(_pool, "ceil_mode too"),
        "GlobalAveragePool": Handler(_global),
        "GlobalMaxPool": Handler(_global),
        "ReduceMean": Handler(_global, _GLOBAL),
        "ReduceMax": Handler(_global, _GLOBAL),
        "Softmax": Handler(end, "at the end; left out"),
        "LogSoftmax": Handler(end, "at the end; left out"),
        "Sigmoid": Handler(end, "at the end; left out"),
    }
)
