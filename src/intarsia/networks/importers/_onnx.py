"""From an .onnx file to a `Graph`: float networks, QONNX, and quantize and dequantize pairs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from intarsia.networks.importers._builder import GraphBuilder
from intarsia.networks.importers._graph import Floats, Graph, Quantization, Shape, Weights
from intarsia.networks.importers._names import from_parameters, from_tensors
from intarsia.networks.importers._onnx_attributes import Attributes, Unsupported, padding, permutation, two
from intarsia.networks.importers._onnx_constants import (
    QUANTIZERS,
    Constant,
    checked,
    floats,
    fold,
    integer_range,
    quantization,
)
from intarsia.networks.importers._onnx_file import OnnxFile, read_file

_ENDS = ("Softmax", "LogSoftmax", "Sigmoid")


def read_onnx(path: Path) -> Graph:
    """Read an .onnx file.

    Raises:
        IntarsiaError: the file is damaged, or has an operator, a shape or a quantization that is not supported.
    """
    return _Importer(path.name, read_file(path)).graph()


class _Importer:
    def __init__(self, source: str, file: OnnxFile) -> None:
        self.source, self.file = source, file
        self.builder = GraphBuilder(source)
        self.constants = dict(file.constants)
        self.channels_last: set[str] = set()  # tensors that a transpose only shows in another order
        pool, mean, arithmetic = self._pool, self._mean, self._arithmetic
        self.handlers: dict[str, Callable[[Any, Attributes], None]] = {
            "Conv": self._convolution,
            "Gemm": self._gemm,
            "MatMul": self._matmul,
            "BatchNormalization": self._normalization,
            "Relu": lambda node, a: self._rectify(node, None),
            "Clip": self._clip,
            "Add": self._add,
            "Sub": arithmetic,
            "Mul": arithmetic,
            "Div": arithmetic,
            "AveragePool": pool,
            "MaxPool": pool,
            "GlobalAveragePool": mean,
            "ReduceMean": mean,
            "Flatten": self._flatten,
            "Reshape": self._reshape,
            "Squeeze": self._squeeze,
            "Transpose": self._transpose,
            "Pad": self._pad,
            "Shape": self._shape,
            "Dropout": self._pass,
            "Identity": self._pass,
            "QuantizeLinear": self._quantize_linear,
            "DequantizeLinear": self._pass,
        }
        self.handlers.update(dict.fromkeys(QUANTIZERS, self._quantize))
        self.handlers.update(dict.fromkeys(_ENDS, self._end))

    def graph(self) -> Graph:
        self._input()
        for node in self.file.nodes:
            output = node.output[0] if node.output else ""
            self.builder.enter(node.op_type, node.name or output)
            if not output:
                raise self.builder.fail("has no output")
            try:
                self._read(node, Attributes(node))
            except Unsupported as error:
                raise self.builder.fail(str(error)) from error
        return self.builder.finish(self.file.output)

    def _read(self, node: Any, attributes: Attributes) -> None:
        if all(name in self.constants for name in node.input if name) and any(node.input):
            inputs = [self.constants[name] if name else None for name in node.input]
            self.constants[node.output[0]] = fold(node.op_type, attributes, inputs)
        elif node.op_type in self.handlers and node.input:
            self.handlers[node.op_type](node, attributes)
        else:
            raise Unsupported(f"is not supported; supported are {', '.join(sorted(self.handlers))}")

    def _input(self) -> None:
        name, shape = self.file.input, self.file.shape
        self.builder.enter("input", name)
        if len(shape) not in (2, 4):
            raise self.builder.fail(f"has {len(shape)} axes; 2 (N, features) or 4 (N, C, H, W) are supported")
        if min(shape[1:]) < 1:
            raise self.builder.fail("has a dynamic shape; export the network with fixed sizes (the batch may be open)")
        if len(shape) == 2:
            inner = (name, "as an image")
            self.builder.input(inner, (shape[1], 1, 1))
            if all(node.op_type == "Reshape" for node in self.file.nodes if name in node.input):
                self.builder.alias(inner, name)
            else:
                self.builder.flatten(inner, name)
            return
        if self._transposed(name):
            self.builder.input(name, (shape[3], shape[1], shape[2]))
            self.channels_last.add(name)
            self.builder.dropped.append("a transpose of the input, which is now (channels, height, width)")
        else:
            self.builder.input(name, (shape[1], shape[2], shape[3]))

    def _transposed(self, name: str) -> bool:
        """Whether an image is (N, height, width, channels): its only reader, behind quantizers, transposes it."""
        for _ in self.file.nodes:
            readers = [node for node in self.file.nodes if name in node.input]
            if len(readers) != 1 or not readers[0].output:
                return False
            if readers[0].op_type == "Transpose":
                return permutation(readers[0]) == (0, 3, 1, 2)
            if readers[0].op_type not in (*QUANTIZERS, "QuantizeLinear", "DequantizeLinear", "Identity"):
                return False
            name = readers[0].output[0]
        return False

    def _constant(self, node: Any, index: int, what: str) -> Constant:
        name = node.input[index] if index < len(node.input) else ""
        if name not in self.constants:
            raise Unsupported(f"takes its {what} from another operator, not from the file")
        return self.constants[name]

    def _given(self, node: Any, index: int) -> Constant | None:
        """Return an optional constant."""
        if index >= len(node.input) or not node.input[index]:
            return None
        return self._constant(node, index, f"input {index}")

    def _source(self, node: Any, index: int = 0) -> str:
        name = str(node.input[index])
        if name in self.channels_last:
            raise Unsupported("reads a tensor in another order than (N, channels, height, width)")
        return name

    def _weights(self, constant: Constant) -> Weights:
        values = floats(constant)
        if constant.integers is None or constant.scales is None:
            return Weights(values)
        by_channel = constant.scales.reshape(constant.scales.shape[0], -1)
        if not (by_channel == by_channel[:, :1]).all():
            raise Unsupported("has weights with several scales for one output channel")
        return Weights(values, constant.integers, by_channel[:, 0].astype(np.float64))

    def _name(self, node: Any, *constants: Constant | None) -> str:
        roots = [root for constant in constants if constant is not None for root in constant.roots]
        kind = str(node.op_type)
        found = from_parameters(roots)
        if found:
            return found
        names = [root for root in roots[:1] if "/" in root] + [node.name.removeprefix("node_"), node.output[0]]
        return from_tensors(names, (kind.lower(), "conv2d", "matmul"), kind.lower())

    def _convolution(self, node: Any, attributes: Attributes) -> None:
        source, stored = self._source(node), self._constant(node, 1, "weights")
        if stored.values.ndim != 4:
            raise Unsupported(f"has weights of shape {stored.values.shape}; only 2-D convolutions are supported")
        weights, group = self._weights(stored), attributes.integer("group", 1)
        channels, height, width = self.builder.shape(source)
        kernel = (weights.values.shape[2], weights.values.shape[3])
        stride = two(attributes, "strides")
        if attributes.integers("kernel_shape", kernel) != kernel:
            raise Unsupported(f"has a kernel_shape that its weights of shape {weights.values.shape} do not have")
        if two(attributes, "dilations") != (1, 1):
            raise Unsupported("has a dilation")
        if group not in (1, channels) or (group > 1 and weights.values.shape[0] != channels):
            raise Unsupported(f"has {group} groups for {channels} channels (1 or depthwise only)")
        bias = self._given(node, 2)
        self.builder.convolution(
            source,
            node.output[0],
            self._name(node, stored, bias),
            weights,
            None if bias is None else floats(bias).reshape(-1),
            stride=stride,
            padding=padding(attributes, (height, width), kernel, stride),
            depthwise=group > 1,
        )

    def _gemm(self, node: Any, attributes: Attributes) -> None:
        factors = (attributes.real("alpha", 1.0), attributes.real("beta", 1.0), attributes.integer("transA", 0))
        if factors != (1.0, 1.0, 0):
            raise Unsupported("has the attributes alpha, beta or transA")
        self._dense(node, self._given(node, 2), transposed=bool(attributes.integer("transB", 0)))

    def _matmul(self, node: Any, attributes: Attributes) -> None:
        self._dense(node, None, transposed=False)

    def _dense(self, node: Any, bias: Constant | None, *, transposed: bool) -> None:
        stored = self._constant(node, 1, "weights")
        if stored.values.ndim != 2:
            raise Unsupported(f"has weights of shape {stored.values.shape} instead of (inputs, outputs)")
        weights = self._weights(stored if transposed else stored.moved(np.transpose))
        values = None if bias is None else floats(bias).reshape(-1)
        if values is not None and values.size == 1:
            values = np.broadcast_to(values, weights.values.shape[:1])
        self.builder.dense(self._source(node), node.output[0], self._name(node, stored, bias), weights, values)

    def _normalization(self, node: Any, attributes: Attributes) -> None:
        if attributes.integer("training_mode", 0):
            raise Unsupported("is in training mode; export the network in evaluation mode")
        gamma, beta, mean, variance = (
            self._constant(node, 1 + i, what) for i, what in enumerate(("scale", "bias", "mean", "variance"))
        )
        arrays = [floats(constant).reshape(-1) for constant in (mean, variance, gamma, beta)]
        epsilon = attributes.real("epsilon", 1e-5)
        if not (arrays[1] + epsilon > 0).all():
            raise Unsupported("has a negative variance")
        self.builder.normalization(self._source(node), node.output[0], self._name(node, gamma), arrays, epsilon)

    def _rectify(self, node: Any, ceiling: float | None) -> None:
        self.builder.rectifier(self._source(node), node.output[0], self._name(node), ceiling)

    def _clip(self, node: Any, attributes: Attributes) -> None:
        bounds = [attributes.real("min", -np.inf), attributes.real("max", np.inf)]
        for i in (0, 1):
            given = self._given(node, 1 + i)
            if given is not None and given.values.size == 1:
                bounds[i] = float(given.values.item())
        if bounds[0] != 0.0 or not bounds[1] > 0.0:
            raise Unsupported(f"clips to {bounds[0]:g} … {bounds[1]:g}; only from 0 up is supported")
        self._rectify(node, None if bounds[1] > 3e38 else bounds[1])

    def _add(self, node: Any, attributes: Attributes) -> None:
        if any(name in self.constants for name in node.input):
            self._arithmetic(node, attributes)
            return
        if len(node.input) != 2:
            raise Unsupported(f"adds {len(node.input)} tensors")
        self.builder.addition(self._source(node), self._source(node, 1), node.output[0], self._name(node))

    def _arithmetic(self, node: Any, attributes: Attributes) -> None:
        """Take x · c, x / c, x + c or x − c as a normalization."""
        kind = node.op_type
        at = next((i for i, name in enumerate(node.input) if name in self.constants), -1)
        if at < 0 or (at == 0 and kind in ("Sub", "Div")) or len(node.input) != 2:
            raise Unsupported("is supported with one constant, as the second input, only")
        source = self._source(node, 1 - at)
        values = self._by_channel(source, floats(self._constant(node, at, "constant")))
        values = {"Sub": np.negative, "Div": np.reciprocal}.get(kind, np.positive)(values)
        if not np.isfinite(values).all():
            raise Unsupported("divides by 0")
        factor, term = (values, None) if kind in ("Mul", "Div") else (None, values)
        only = sum(list(other.input).count(source) for other in self.file.nodes) == 1
        self.builder.affine(source, node.output[0], self._name(node), factor, term, only=only)

    def _by_channel(self, source: str, values: Floats) -> Floats:
        """Return a constant as one value a channel (or one value), after a check that it is broadcast so."""
        axes, channels = (2 if self.builder.flat(source) else 4), self.builder.shape(source)[0]
        shape = (1,) * (axes - values.ndim) + values.shape
        if values.size != 1 and shape != (1, channels, 1, 1)[:axes]:
            raise Unsupported(f"has a constant of shape {values.shape}, which is not one value a channel")
        return values.reshape(-1)

    def _pool(self, node: Any, attributes: Attributes) -> None:
        maximum, source = node.op_type == "MaxPool", self._source(node)
        kernel = attributes.integers("kernel_shape", None)
        if kernel is None or len(kernel) != 2:
            raise Unsupported(f"has the kernel {kernel}; only 2-D windows are supported")
        if attributes.integer("ceil_mode", 0) or two(attributes, "dilations") != (1, 1):
            raise Unsupported("has the attribute ceil_mode or dilations")
        stride, size = two(attributes, "strides"), self.builder.shape(source)[1:]
        sides = padding(attributes, size, (kernel[0], kernel[1]), stride)
        if not maximum and any(sides) and not attributes.integer("count_include_pad", 0):
            raise Unsupported("has padding that does not count (attribute count_include_pad)")
        self.builder.pool(
            source,
            node.output[0],
            self._name(node),
            maximum=maximum,
            kernel=(kernel[0], kernel[1]),
            stride=stride,
            padding=sides,
        )

    def _mean(self, node: Any, attributes: Attributes) -> None:
        source, output = self._source(node), str(node.output[0])
        axes = self._given(node, 1)
        every = (2, 3) if node.op_type == "GlobalAveragePool" else (0, 1, 2, 3)  # where the node names none
        over = attributes.integers("axes", every) if axes is None else tuple(int(v) for v in axes.values.ravel())
        if {axis % 4 for axis in over or ()} != {2, 3} or self.builder.flat(source):
            raise Unsupported(f"has the axes {over}; only height and width (2, 3) are supported")
        size, pooled = self.builder.shape(source)[1:], (output, "pooled")
        self.builder.pool(
            source, pooled, self._name(node), maximum=False, kernel=size, stride=size, padding=(0, 0, 0, 0)
        )
        if node.op_type == "GlobalAveragePool" or attributes.integer("keepdims", 1):
            self.builder.alias(pooled, output)
        else:
            self.builder.flatten(pooled, output)

    def _flatten(self, node: Any, attributes: Attributes) -> None:
        if attributes.integer("axis", 1) not in (1, -3):
            raise Unsupported(f"flattens from axis {attributes.integer('axis', 1)}, not from 1")
        self._make_flat(node)

    def _make_flat(self, node: Any) -> None:
        name = str(node.input[0])
        self.builder.flatten(name, node.output[0], channels_last=name in self.channels_last)

    def _reshape(self, node: Any, attributes: Attributes) -> None:
        target = [int(size) for size in self._constant(node, 1, "shape").values.ravel()]
        name = str(node.input[0])
        shape = self.builder.shape(name)
        features = int(np.prod(shape))
        if len(target) == 4:
            self._make_image(node, target, features)
            return
        if len(target) != 2 or target[1] not in (-1, features) or target[0] not in (-1, 0, 1):
            raise Unsupported(f"makes the shape {target}; only a flatten to (N, features) is supported")
        self._make_flat(node)

    def _make_image(self, node: Any, target: list[int], features: int) -> None:
        name, output = str(node.input[0]), str(node.output[0])
        open_axes = [i for i, size in enumerate(target) if size == -1 and i > 0]
        known = int(np.prod([size for size in target[1:] if size != -1]))
        if len(open_axes) == 1 and known > 0:
            target[open_axes[0]] = features // known
        shape: Shape = (target[1], target[2], target[3])
        if shape == self.builder.shape(name) and not self.builder.flat(name):
            self._pass(node, Attributes(node))
        elif min(shape) > 0 and self.builder.reshape_input(name, output, shape):
            self.builder.dropped.append(f"a reshape of the input, which is now {shape}")
        else:
            raise Unsupported(f"makes the shape {target}; only a flatten to (N, features) is supported")

    def _squeeze(self, node: Any, attributes: Attributes) -> None:
        given = self._given(node, 1)
        axes = attributes.integers("axes", None) if given is None else tuple(int(v) for v in given.values.ravel())
        last = (1, 2) if str(node.input[0]) in self.channels_last else (2, 3)
        if axes is None or tuple(sorted(axis % 4 for axis in axes)) != last:
            raise Unsupported(f"has the axes {axes}; only height and width are supported")
        if self.builder.shape(node.input[0])[1:] != (1, 1):
            raise Unsupported("removes axes that have more than one element")
        self._make_flat(node)

    def _transpose(self, node: Any, attributes: Attributes) -> None:
        name, output, order = str(node.input[0]), str(node.output[0]), permutation(node)
        if (order, name in self.channels_last) not in (((0, 3, 1, 2), True), ((0, 2, 3, 1), False)):
            raise Unsupported(f"permutes an activation by {order}")
        self.builder.alias(name, output)
        if name not in self.channels_last:
            self.channels_last.add(output)

    def _pad(self, node: Any, attributes: Attributes) -> None:
        value, axes = self._given(node, 2), self._given(node, 3)
        filler = attributes.real("value", 0.0) if value is None else float(value.values.ravel()[:1].sum())
        if attributes.text("mode", "constant") != "constant" or filler != 0.0 or axes is not None:
            raise Unsupported("pads with anything but zeros on all axes")
        sizes = attributes.integers("pads", None)
        if sizes is None:
            sizes = tuple(int(size) for size in self._constant(node, 1, "sizes").values.ravel())
        if len(sizes) != 8 or any(sizes[i] for i in (0, 1, 4, 5)):
            raise Unsupported(f"pads by {sizes}; only height and width are supported")
        self.builder.pad(self._source(node), node.output[0], "pad", (sizes[2], sizes[3], sizes[6], sizes[7]))

    def _shape(self, node: Any, attributes: Attributes) -> None:
        """Give the sizes of an activation, the batch as −1, for a reshape that is made of them."""
        name = self._source(node)
        sizes = self.builder.shape(name)
        known = [-1, sizes[0]] if self.builder.flat(name) else [-1, *sizes]
        start, end = attributes.integer("start", 0), attributes.integer("end", len(known))
        self.constants[node.output[0]] = Constant(np.array(known[start:end], np.int64))

    def _pass(self, node: Any, attributes: Attributes) -> None:
        name, output = str(node.input[0]), str(node.output[0])
        self.builder.alias(name, output)
        if name in self.channels_last:
            self.channels_last.add(output)

    def _quantize(self, node: Any, attributes: Attributes) -> None:
        scale, zero, bits = (
            self._constant(node, 1 + i, what) for i, what in enumerate(("scale", "zero-point", "bit width"))
        )
        self._round(node, quantization(attributes, scale, zero, bits))

    def _round(self, node: Any, result: Quantization) -> None:
        name, output = str(node.input[0]), str(node.output[0])
        self.builder.requantize(name, output, self._name(node), result)
        if name in self.channels_last:  # rounding is the same in any order
            self.channels_last.add(output)

    def _quantize_linear(self, node: Any, attributes: Attributes) -> None:
        scale, zero = self._constant(node, 1, "scale"), self._given(node, 2)
        lo, hi = integer_range(zero)
        if scale.values.size != 1 or (zero is not None and zero.values.size != 1):
            raise Unsupported("has a scale or zero-point for each channel of an activation")
        zero_point = 0.0 if zero is None else float(zero.values.item())
        self._round(node, checked(float(scale.values.item()), zero_point, lo, hi))

    def _end(self, node: Any, attributes: Attributes) -> None:
        if attributes.integer("axis", -1) == 0:
            raise Unsupported("has the axis 0; only the axis of the classes is supported")
        self.builder.end(self._source(node), node.output[0], node.op_type)
