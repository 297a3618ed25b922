# SPDX-License-Identifier: Apache-2.0
"""ONNX operators of quantized networks: quantize and dequantize pairs, QONNX, and layers on integers (QLinear…)."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intarsia.networks.importers._graph import Floats, Quantization, Weights
from intarsia.networks.importers._onnx_attributes import Attributes, Unsupported
from intarsia.networks.importers._onnx_constants import (
    QUANTIZERS,
    Constant,
    checked,
    dequantized,
    linear_range,
    quantization,
)
from intarsia.networks.importers._onnx_layers import convolution_geometry, end, pool, square
from intarsia.networks.importers._onnx_state import Handler, State

_QONNX = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general", "brevitas.onnx", "")
_MICROSOFT = ("com.microsoft",)
_LINEAR_DOMAINS = ("", "ai.onnx", "com.microsoft")  # onnxruntime's own quantizers are those of ONNX with more types


def linear(scale: Constant, zero: Constant | None, number: int = 0) -> Quantization:
    """Return what integers of `QuantizeLinear` stand for; `number` is its attribute `output_dtype`.

    Raises:
        Unsupported: there is a scale for each channel, or a number is impossible.
    """
    if scale.values.size != 1 or (zero is not None and zero.values.size != 1):
        raise Unsupported("has a scale or zero-point for each channel of an activation")
    lo, hi = linear_range(None if zero is None else zero.values.dtype, number)
    return checked(scale.number("scale"), 0.0 if zero is None else zero.number("zero-point"), lo, hi)


def _quantize_linear(state: State, node: Any, attributes: Attributes) -> None:
    name = state.anywise(node)
    if name in state.coded:
        raise Unsupported("quantizes the integers of a quantized tensor again")
    found = linear(state.constant(node, 1, "scale"), state.given(node, 2), attributes.integer("output_dtype", 0))
    _round(state, node, found)
    state.coded[str(node.output[0])] = found


def _dequantize_linear(state: State, node: Any, attributes: Attributes) -> None:
    name, output = state.anywise(node), str(node.output[0])
    _require_coding(state, node, 0, state.constant(node, 1, "scale"), state.given(node, 2))
    state.builder.alias(name, output)
    state.like(name, output)
    state.coded.pop(output, None)


def _require_coding(state: State, node: Any, index: int, scale: Constant, zero: Constant | None) -> None:
    """Hold the scale and zero-point with which a tensor is read against those with which it was made."""
    name = state.anywise(node, index)
    if name not in state.coded:
        raise Unsupported("reads real values as the integers of a quantized tensor")
    if scale.values.size != 1 or (zero is not None and zero.values.size != 1):
        raise Unsupported("has a scale or zero-point for each channel of an activation")
    made, shift = state.coded[name], 0.0 if zero is None else zero.number("zero-point")
    if not math.isclose(scale.number("scale"), made.scale, rel_tol=1e-6) or shift != made.zero_point:
        raise Unsupported("reads a quantized tensor with another scale or zero-point than it was made with")


def _round(state: State, node: Any, result: Quantization) -> None:
    name, output = state.anywise(node), str(node.output[0])
    state.builder.requantize(name, output, state.name(node), result)
    state.like(name, output)  # rounding is the same in any order


def _quant(state: State, node: Any, attributes: Attributes) -> None:
    scale, zero, bits = (
        state.constant(node, 1 + i, what) for i, what in enumerate(("scale", "zero-point", "bit width"))
    )
    if state.anywise(node) in state.coded:
        raise Unsupported("quantizes the integers of a quantized tensor again")
    _round(state, node, quantization(attributes, scale, zero, bits))


def _bipolar(state: State, node: Any, attributes: Attributes) -> None:
    scale = state.constant(node, 1, "scale")
    if scale.values.size != 1:
        raise Unsupported("has a scale for each channel of an activation")
    source, output = state.anywise(node), str(node.output[0])
    if source in state.coded:
        raise Unsupported("quantizes the integers of a quantized tensor again")
    state.builder.sign(source, output, state.name(node), scale.number("scale"))
    state.like(source, output)


class _Integers:
    """The inputs of a layer on integers, by the places where they stand."""

    def __init__(self, state: State, node: Any) -> None:
        self.state, self.node = state, node

    def activation(self, index: int) -> str:
        """Return a quantized tensor, after a check of the scale and zero-point behind it."""
        scale = self.state.constant(self.node, index + 1, "scale")
        _require_coding(self.state, self.node, index, scale, self.state.given(self.node, index + 2))
        return self.state.anywise(self.node, index)

    def weights(self, index: int, axis: int) -> Constant:
        """Return constant weights, a scale for each place along `axis` or one."""
        stored = self.state.constant(self.node, index, "weights")
        scale = self.state.constant(self.node, index + 1, "scale").values
        zero = self.state.given(self.node, index + 2)
        found = dequantized(stored.values, scale, None if zero is None else zero.values, axis)
        return Constant(found.values, stored.roots, found.integers, found.scales)

    def result(self, index: int) -> Quantization:
        """Return how the result is quantized."""
        scale, zero = self.state.constant(self.node, index, "scale"), self.state.given(self.node, index + 1)
        return linear(scale, zero)

    def bias(self, index: int, source: str, weights: Weights) -> Floats | None:
        """Return a bias in real units: its integers have the step of the products."""
        stored = self.state.given(self.node, index)
        if stored is None or weights.scales is None:
            return None
        steps: NDArray[np.float64] = weights.scales * self.state.coded[source].scale
        return np.asarray(stored.values.reshape(-1) * steps, np.float32)

    def done(self, source: str, result: Quantization) -> None:
        """Note the layer's result."""
        output = str(self.node.output[0])
        self.state.like(source, output)
        self.state.coded[output] = result


def _qlinear_convolution(state: State, node: Any, attributes: Attributes) -> None:
    inputs = _Integers(state, node)
    source, stored, result = inputs.activation(0), inputs.weights(3, 0), inputs.result(6)
    if source in state.channels_last:
        raise Unsupported("reads a tensor in another order than (N, channels, height, width)")
    kernel = tuple(int(size) for size in stored.values.shape[2:])
    stride, dilation, sides = convolution_geometry(state, source, kernel, attributes)
    weights = state.weights(square(stored))
    state.builder.convolution(
        source,
        node.output[0],
        state.name(node, stored),
        weights,
        inputs.bias(8, source, weights),
        stride=stride,
        padding=sides,
        groups=attributes.integer("group", 1),
        dilation=dilation,
        quantization=result,
    )
    inputs.done(source, result)


def _qlinear_matmul(state: State, node: Any, attributes: Attributes) -> None:
    inputs = _Integers(state, node)
    source, stored, result = inputs.activation(0), inputs.weights(3, 1), inputs.result(6)
    _dense(inputs, source, stored.moved(np.transpose), None, result)


def _qgemm(state: State, node: Any, attributes: Attributes) -> None:
    if attributes.integer("transA", 0) or attributes.real("alpha", 1.0) != 1.0:
        raise Unsupported("has the attribute alpha or transA")
    transposed = bool(attributes.integer("transB", 0))
    inputs = _Integers(state, node)
    source, stored = inputs.activation(0), inputs.weights(3, 0 if transposed else 1)
    result = inputs.result(7) if len(node.input) > 7 and node.input[7] else None
    _dense(inputs, source, stored if transposed else stored.moved(np.transpose), 6, result)


def _dense(inputs: _Integers, source: str, stored: Constant, bias: int | None, result: Quantization | None) -> None:
    state, node = inputs.state, inputs.node
    if stored.values.ndim != 2:
        raise Unsupported(f"has weights of shape {stored.values.shape} instead of (inputs, outputs)")
    weights = state.weights(stored)
    values = None if bias is None else inputs.bias(bias, source, weights)
    name = state.name(node, stored)
    state.builder.dense(source, node.output[0], name, weights, values, quantization=result)
    if result is not None:
        inputs.done(source, result)


def _qlinear_add(state: State, node: Any, attributes: Attributes) -> None:
    inputs = _Integers(state, node)
    if any(str(node.input[i]) in state.constants for i in (0, 3) if i < len(node.input)):
        raise Unsupported("adds a constant to integers")
    first, second, result = inputs.activation(0), inputs.activation(3), inputs.result(6)
    state.builder.addition(first, second, node.output[0], state.name(node), result)
    inputs.done(first, result)


def _qlinear_pool(state: State, node: Any, attributes: Attributes) -> None:
    inputs = _Integers(state, node)
    source, result = inputs.activation(0), inputs.result(3)
    if attributes.integer("channels_last", 0) or source in state.channels_last:
        raise Unsupported("reads a tensor in another order than (N, channels, height, width)")
    if node.op_type == "QLinearAveragePool":
        pool(state, node, source, attributes, maximum=False, quantization=result)
    else:
        size = state.builder.shape(source)[1:]
        name = state.name(node)
        state.builder.pool(
            source, node.output[0], name, maximum=False, kernel=size, stride=size, padding=(0,) * 4, quantization=result
        )
    inputs.done(source, result)


def _quantized_end(state: State, node: Any, attributes: Attributes) -> None:
    """Leave out a softmax or sigmoid on integers at the end, with what rounds its result."""
    inputs = _Integers(state, node)
    inputs.activation(0)
    end(state, node, attributes)
    state.coded[str(node.output[0])] = inputs.result(3)


_ROUNDS = "of an activation: one scale"
LINEAR: Mapping[str, Handler] = MappingProxyType(
    {
        "QuantizeLinear": Handler(_quantize_linear, f"{_ROUNDS}; integers of 2 to 16 bits", _LINEAR_DOMAINS),
        "DequantizeLinear": Handler(_dequantize_linear, "with the scale of its quantizer", _LINEAR_DOMAINS),
        **{kind: Handler(_quant, f"{_ROUNDS}, rounding to the nearest", _QONNX) for kind in QUANTIZERS},
        "BipolarQuant": Handler(_bipolar, "of an activation: with import_integer", _QONNX),
        "QLinearConv": Handler(_qlinear_convolution, "as Conv"),
        "QLinearMatMul": Handler(_qlinear_matmul, "constant weights"),
        "QGemm": Handler(_qgemm, "constant weights", _MICROSOFT),
        "QLinearAdd": Handler(_qlinear_add, "two tensors of one shape", _MICROSOFT),
        "QLinearAveragePool": Handler(_qlinear_pool, "as AveragePool", _MICROSOFT),
        "QLinearGlobalAveragePool": Handler(_qlinear_pool, "", _MICROSOFT),
        "QLinearSigmoid": Handler(_quantized_end, "at the end; left out", _MICROSOFT),
        "QLinearSoftmax": Handler(_quantized_end, "at the end; left out", _MICROSOFT),
    }
)
