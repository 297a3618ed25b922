# SPDX-License-Identifier: Apache-2.0
"""From a .tflite file to a `Graph`: NHWC becomes NCHW, fused activations become operators of their own."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.networks.importers._budget import Budget
from intarsia.networks.importers._builder import GraphBuilder
from intarsia.networks.importers._flatbuffer import FileModel, FileOperator, FileTensor, read_model
from intarsia.networks.importers._graph import Floats, Four, Graph, Pair, Quantization, Weights
from intarsia.networks.importers._layout import image_shape, same_padding
from intarsia.networks.importers._names import from_tensors
from intarsia.networks.importers._tflite_constants import INTEGERS, Constants

_SIZES = ("SHAPE", "STRIDED_SLICE", "PACK")  # what a reshape takes the open batch with
#: Limits of fused activations by their numbers.
_FUSED: Mapping[int, tuple[float, float | None]] = MappingProxyType({1: (0.0, None), 2: (-1.0, 1.0), 3: (0.0, 6.0)})
_ENDS = {"SOFTMAX": "Softmax", "LOG_SOFTMAX": "LogSoftmax", "LOGISTIC": "Sigmoid"}


def read_tflite(path: Path) -> Graph:
    """Read a .tflite file with float or 8-bit activations.

    Raises:
        IntarsiaError: the file is damaged, or has an operator, a shape or a quantization that is not supported.
    """
    return _Importer(path.name, read_model(path)).graph()


class _Importer:
    def __init__(self, source: str, model: FileModel) -> None:
        self.source, self.model = source, model
        self.builder = GraphBuilder(source, Budget(model.size))
        self.constants = Constants(model, self.builder)
        self.weak: list[str] = []

    def graph(self) -> Graph:
        self._input()
        if len(self.model.outputs) != 1:
            raise IntarsiaError(f"{self.source} has {len(self.model.outputs)} outputs; only 1 is supported.")
        for op in self.model.operators:
            if len(op.outputs) != 1 or not op.inputs or min(op.inputs[:1], default=-1) < 0 or op.outputs[0] < 0:
                raise IntarsiaError(f"{self.source}: operator {op.kind} needs an input and one output.")
            output = self.model.tensors[op.outputs[0]]
            self.builder.enter(op.kind, output.name)
            if op.kind not in HANDLERS:
                raise self.builder.fail(f"is not supported; supported are {', '.join(sorted(HANDLERS))}")
            if output.dynamic:
                raise self.builder.fail(f"has the dynamic shape {output.shape}; export the model with a fixed one")
            HANDLERS[op.kind].read(self, op)
            self._check_shape(op.outputs[0], output)
        if self.weak:
            self.builder.dropped.append(f"dynamic quantization of the inputs of {', '.join(self.weak)}")
        return self.builder.finish(self.model.outputs[0])

    def _input(self) -> None:
        if len(self.model.inputs) != 1:
            raise IntarsiaError(f"{self.source} has {len(self.model.inputs)} inputs; only 1 is supported.")
        index = self.model.inputs[0]
        tensor = self.model.tensors[index]
        self.builder.enter("input", tensor.name)
        if tensor.dynamic:
            raise self.builder.fail(f"has the dynamic shape {tensor.shape}; export the model with a fixed one")
        shape = image_shape(tensor.shape)
        if shape is None:
            raise self.builder.fail(f"has the shape {tensor.shape}; 2 or 4 axes are supported")
        self.builder.input(index, shape, self.constants.quantization(tensor))

    def _check_shape(self, index: int, tensor: FileTensor) -> None:
        """Hold the shape that the file states against the one that follows from the operators."""
        stated = image_shape(tensor.shape)
        if not self.builder.knows(index) or stated is None:
            return
        found = self.builder.shape(index)
        if found != stated and (found[1:] != (1, 1) or math.prod(stated) != found[0]):
            raise self.builder.fail(f"states a shape of {tensor.shape}, but makes {found} (channels, height, width)")

    def _name(self, op: FileOperator, *endings: str) -> str:
        names = [self.model.tensors[i].name for i in (*op.inputs[1:2], *op.outputs) if i >= 0]
        if op.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            names = names[-1:]
        return from_tensors(names, endings, op.kind.lower())

    def _activated(self, op: FileOperator) -> tuple[object, Quantization | None, Callable[[str], None]]:
        """Return where the operator itself is to write, with which quantization, and what adds its activation."""
        output = op.outputs[0]
        quantization = self.constants.quantization(self.model.tensors[output])
        function = op.options["FusedActivationFunction"]
        if function == 0:
            return output, quantization, lambda name: None
        if function not in _FUSED:
            raise self.builder.fail(
                f"has the fused activation number {function}; only RELU, RELU_N1_TO_1 and RELU6 are supported"
            )
        lo, hi = _FUSED[function]
        raw = (output, "before its activation")
        return raw, None, lambda name: self.builder.clip(raw, output, f"{name}_relu", lo, hi, quantization=quantization)

    def convolution(self, op: FileOperator) -> None:
        depthwise, options = op.kind == "DEPTHWISE_CONV_2D", op.options
        source, index = op.inputs[0], op.inputs[1] if len(op.inputs) > 1 else -1
        channels, height, width = self.builder.shape(source)
        dilation = (options["DilationHFactor"], options["DilationWFactor"])
        layout, axis = ((3, 0, 1, 2), 3) if depthwise else ((0, 3, 1, 2), 0)
        weights = self.constants.weights(index, layout, axis)
        groups = channels // max(1, weights.values.shape[1])
        kernel, stride = weights.values.shape[2:], (options["StrideH"], options["StrideW"])
        reach = ((kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1)
        name = self._name(op, "depthwise", "conv2d", "convolution")
        self._note_dynamic(source, weights, name)
        result, quantization, activate = self._activated(op)
        self.builder.convolution(
            source,
            result,
            name,
            weights,
            self.constants.bias(op, self._product(source, weights)),
            stride=stride,
            padding=self._padding(options["Padding"], (height, width), reach, stride),
            groups=groups,
            dilation=dilation,
            quantization=quantization,
        )
        activate(name)

    def dense(self, op: FileOperator) -> None:
        if op.options["WeightsFormat"] != 0:
            raise self.builder.fail("has shuffled weights (field weights_format)")
        source = op.inputs[0]
        weights = self.constants.weights(op.inputs[1] if len(op.inputs) > 1 else -1, (0, 1), 0)
        name = self._name(op, "matmul", "biasadd")
        self._note_dynamic(source, weights, name)
        result, quantization, activate = self._activated(op)
        flat = (op.outputs[0], "its input, flattened")
        self.builder.flatten(source, flat, channels_last=True)
        bias = self.constants.bias(op, self._product(source, weights))
        self.builder.dense(flat, result, name, weights, bias, quantization=quantization)
        activate(name)

    def _product(self, source: int, weights: Weights) -> NDArray[np.float64] | None:
        quantization = self.builder.quantization(source)
        return None if quantization is None or weights.scales is None else weights.scales * quantization.scale

    def _note_dynamic(self, source: int, weights: Weights, name: str) -> None:
        """Note a layer whose input the interpreter would round as it comes: here it stays in floating point."""
        if weights.integers is not None and self.builder.quantization(source) is None:
            self.weak.append(name)

    def _padding(self, kind: int, size: Pair, kernel: Pair, stride: Pair) -> Four:
        if min(*kernel, *stride) < 1:
            raise self.builder.fail(f"has a kernel of {kernel} and a stride of {stride}")
        if kind == 1:
            return (0, 0, 0, 0)
        if kind != 0:
            raise self.builder.fail(f"has the padding number {kind}; only SAME and VALID are known")
        return same_padding(size, kernel, stride)

    def pool(self, op: FileOperator) -> None:
        maximum, options, source = op.kind == "MAX_POOL_2D", op.options, op.inputs[0]
        kernel, stride = (options["FilterHeight"], options["FilterWidth"]), (options["StrideH"], options["StrideW"])
        padding = self._padding(options["Padding"], self.builder.shape(source)[1:], kernel, stride)
        if not maximum and any(padding):
            raise self.builder.fail("has padding SAME, whose border pixels have divisors of their own")
        name = self._name(op, "avgpool", "maxpool")
        result, quantization, activate = self._activated(op)
        self.builder.pool(
            source,
            result,
            name,
            maximum=maximum,
            kernel=kernel,
            stride=stride,
            padding=padding,
            quantization=quantization,
        )
        activate(name)

    def mean(self, op: FileOperator) -> None:
        source, output = op.inputs[0], op.outputs[0]
        over, count = self.constants.constant(op.inputs[1] if len(op.inputs) > 1 else -1), self._axes(source)
        axes = sorted({int(axis) % count for axis in over.reshape(-1)})
        if axes != list(range(1, count - 1)) or count == 2:
            raise self.builder.fail(f"has the axes {axes}; only all of height and width are supported")
        size = self.builder.shape(source)[1:]
        quantization = self.constants.quantization(self.model.tensors[output])
        name, pooled, none = self._name(op, "mean"), (output, "pooled"), (0, 0, 0, 0)
        self.builder.pool(
            source, pooled, name, maximum=False, kernel=size, stride=size, padding=none, quantization=quantization
        )
        if op.options["KeepDims"]:
            self.builder.alias(pooled, output)
        else:
            self.builder.flatten(pooled, output)

    def add(self, op: FileOperator) -> None:
        first, second = self._two(op)
        name = self._name(op, "add")
        if not self.builder.knows(second):
            self._affine(op, first, second, name)
            return
        result, quantization, activate = self._activated(op)
        self.builder.addition(first, second, result, name, quantization)
        activate(name)

    def arithmetic(self, op: FileOperator) -> None:
        first, second = self._two(op)
        if self.builder.knows(second):
            raise self.builder.fail("reads two computed tensors; only one and a constant are supported")
        self._affine(op, first, second, self._name(op, op.kind.lower()))

    def _two(self, op: FileOperator) -> tuple[int, int]:
        """Return the two inputs, the one that depends on the network's input first."""
        if len(op.inputs) != 2 or min(op.inputs) < 0:
            raise self.builder.fail("needs two inputs")
        first, second = op.inputs
        return (first, second) if self.builder.knows(first) else (second, first)

    def _affine(self, op: FileOperator, source: int, constant: int, name: str) -> None:
        """Take x · c, x / c, x + c, x − c or c − x as a normalization."""
        result, quantization, activate = self._activated(op)
        values, swapped = self.constants.by_channel(constant), op.inputs[0] == constant
        if op.kind == "DIV" and (swapped or not values.all()):
            raise self.builder.fail("divides a constant, or by 0")
        factor: Floats | None = None
        term: Floats | None = None
        match op.kind:
            case "MUL":
                factor = values
            case "DIV":
                factor = np.float32(1) / values
            case "ADD":
                term = values
            case _:  # SUB, of the constant or from it
                factor, term = (np.full(1, -1, np.float32), values) if swapped else (None, -values)
        only = sum(other.inputs.count(source) for other in self.model.operators) == 1
        exact = result if quantization is None else (result, "before it is rounded")
        self.builder.affine(source, exact, name, factor, term, only=only)
        if quantization is not None:
            self.builder.requantize(exact, result, f"{name}_quantize", quantization)
        activate(name)

    def _axes(self, index: int) -> int:
        return 2 if self.builder.flat(index) else len(self.model.tensors[index].shape)

    def pad(self, op: FileOperator) -> None:
        sizes = self.constants.constant(op.inputs[1] if len(op.inputs) > 1 else -1)
        if sizes.shape != (self._axes(op.inputs[0]), 2) or len(sizes) < 3 or sizes[0].any() or sizes[-1].any():
            raise self.builder.fail(f"pads by {sizes.tolist()}; only height and width are supported")
        (top, bottom), (left, right) = [(0, 0), *([int(n) for n in row] for row in sizes[1:-1])][-2:]
        self.builder.pad(op.inputs[0], op.outputs[0], "pad", (top, left, bottom, right))

    def reshape(self, op: FileOperator) -> None:
        source, output = op.inputs[0], op.outputs[0]
        target = self.model.tensors[output].shape
        shape = image_shape(target)
        # The order of the elements stays only where there is one channel or one pixel.
        keeps = shape is not None and len(target) in (3, 4) and (shape[0] == 1 or shape[1:] == (1, 1))
        if shape is not None and keeps and self.builder.reshape_input(source, output, shape):
            self.builder.dropped.append(f"a reshape of the input, which is now {shape}")
            return
        if len(target) in (3, 4) and shape == self.builder.shape(source) and not self.builder.flat(source):
            self.builder.alias(source, output)
            return
        if shape is None or math.prod(target[1:]) != max(target[1:], default=0):
            raise self.builder.fail(f"makes the shape {target}; only a flatten to (N, features) is supported")
        self.builder.flatten(source, output, channels_last=True)

    def clip(self, op: FileOperator, lo: float, hi: float | None) -> None:
        quantization = self.constants.quantization(self.model.tensors[op.outputs[0]])
        self.builder.clip(op.inputs[0], op.outputs[0], self._name(op, "relu"), lo, hi, quantization=quantization)

    def quantize(self, op: FileOperator) -> None:
        quantization = self.constants.quantization(self.model.tensors[op.outputs[0]])
        if quantization is None:
            raise self.builder.fail("makes floats")
        self.builder.requantize(op.inputs[0], op.outputs[0], "quantize", quantization)

    def dequantize(self, op: FileOperator) -> None:
        source, output = op.inputs[0], op.outputs[0]
        if self.builder.knows(source):
            self.builder.alias(source, output)
            return
        tensor = self.constants.tensor(source)
        if not tensor.constant:
            raise self.builder.fail("reads a tensor that nothing before it makes from the input")
        stored = self.constants.stored(tensor)
        if tensor.dtype == "FLOAT16":
            self.constants.unpacked[output] = Weights(self.constants.finite(stored))
        elif tensor.dtype in INTEGERS and stored.ndim > 0 and tensor.axis in range(stored.ndim):
            axes = tuple(range(stored.ndim))
            self.constants.unpacked[output] = Weights(self.constants.weights(source, axes, tensor.axis).values)
        else:
            raise self.builder.fail(f"unpacks a constant of type {tensor.dtype}")

    def size(self, op: FileOperator) -> None:
        if self.model.tensors[op.outputs[0]].dtype not in ("INT32", "INT64"):
            raise self.builder.fail("is supported for the sizes of a reshape only")

    def end(self, op: FileOperator) -> None:
        self.builder.end(op.inputs[0], op.outputs[0], _ENDS[op.kind])


@dataclass(frozen=True)
class Handler:
    """Reads one kind of operator; `note` says what of it is supported, for the table in the documentation."""

    read: Callable[[_Importer, FileOperator], None]
    note: str = ""


def _clips(lo: float, hi: float | None) -> Handler:
    return Handler(lambda importer, op: importer.clip(op, lo, hi))


_CONVOLUTION = Handler(_Importer.convolution, "any stride, padding, dilation, groups and depth multiplier")
_ARITHMETIC = Handler(_Importer.arithmetic, "one constant per channel")
_RESHAPE = Handler(_Importer.reshape, "a flatten, an axis of one element, or of the input")
_END = Handler(_Importer.end, "at the end; left out")
_SIZE = Handler(_Importer.size, "for a reshape")
#: Every operator that an import reads.
HANDLERS: Mapping[str, Handler] = MappingProxyType(
    {
        "CONV_2D": _CONVOLUTION,
        "DEPTHWISE_CONV_2D": _CONVOLUTION,
        "FULLY_CONNECTED": Handler(_Importer.dense, "constant weights"),
        "ADD": Handler(_Importer.add, "two tensors of one shape, or a tensor and one constant per channel"),
        "SUB": _ARITHMETIC,
        "MUL": _ARITHMETIC,
        "DIV": _ARITHMETIC,
        "AVERAGE_POOL_2D": Handler(_Importer.pool, "padding VALID"),
        "MAX_POOL_2D": Handler(_Importer.pool),
        "MEAN": Handler(_Importer.mean, "over all of height and width"),
        "PAD": Handler(_Importer.pad, "height and width"),
        "RESHAPE": _RESHAPE,
        "SQUEEZE": _RESHAPE,
        "EXPAND_DIMS": _RESHAPE,
        "RELU": _clips(0.0, None),
        "RELU6": _clips(0.0, 6.0),
        "RELU_N1_TO_1": _clips(-1.0, 1.0),
        "QUANTIZE": Handler(_Importer.quantize, "to int8 or uint8"),
        "DEQUANTIZE": Handler(_Importer.dequantize, "of activations, or of int8, uint8 and float16 constants"),
        **dict.fromkeys(_ENDS, _END),
        **dict.fromkeys(_SIZES, _SIZE),
    }
)
