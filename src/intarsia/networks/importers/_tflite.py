"""From a .tflite file to a `Graph`: NHWC becomes NCHW, fused activations become operators of their own."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.networks.importers._builder import GraphBuilder
from intarsia.networks.importers._flatbuffer import FileModel, FileOperator, FileTensor, read_model
from intarsia.networks.importers._graph import Floats, Four, Graph, Pair, Quantization, Weights
from intarsia.networks.importers._layout import image_shape, same_padding
from intarsia.networks.importers._names import from_tensors

_Handler = Callable[[FileOperator], None]

_INTEGERS = {"INT8": (-128, 127), "UINT8": (0, 255)}
_SIZES = ("SHAPE", "STRIDED_SLICE", "PACK")  # what a reshape takes the open batch with
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
        self.builder = GraphBuilder(source)
        self.unpacked: dict[int, Weights] = {}
        self.weak: list[str] = []
        conv, pool = self._convolution, self._pool
        self.handlers: dict[str, _Handler] = {
            "CONV_2D": conv,
            "DEPTHWISE_CONV_2D": conv,
            "FULLY_CONNECTED": self._dense,
            "ADD": self._add,
            "MUL": self._multiply,
            "AVERAGE_POOL_2D": pool,
            "MAX_POOL_2D": pool,
            "MEAN": self._mean,
            "PAD": self._pad,
            "RESHAPE": self._reshape,
            "SQUEEZE": self._reshape,
            "RELU": lambda op: self._rectify(op, None),
            "RELU6": lambda op: self._rectify(op, 6.0),
            "QUANTIZE": self._quantize,
            "DEQUANTIZE": self._dequantize,
        }
        self.handlers.update(dict.fromkeys(_ENDS, self._end) | dict.fromkeys(_SIZES, self._size))

    def graph(self) -> Graph:
        self._input()
        if len(self.model.outputs) != 1:
            raise IntarsiaError(f"{self.source} has {len(self.model.outputs)} outputs; only 1 is supported.")
        for op in self.model.operators:
            if len(op.outputs) != 1 or not op.inputs or min(op.inputs[:1], default=-1) < 0 or op.outputs[0] < 0:
                raise IntarsiaError(f"{self.source}: operator {op.kind} needs an input and one output.")
            output = self.model.tensors[op.outputs[0]]
            self.builder.enter(op.kind, output.name)
            if op.kind not in self.handlers:
                raise self.builder.fail(f"is not supported; supported are {', '.join(sorted(self.handlers))}")
            if output.dynamic:
                raise self.builder.fail(f"has the dynamic shape {output.shape}; export the model with a fixed one")
            self.handlers[op.kind](op)
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
        self.builder.input(index, shape, self._quantization(tensor))

    def _check_shape(self, index: int, tensor: FileTensor) -> None:
        """Hold the shape that the file states against the one that follows from the operators."""
        stated = image_shape(tensor.shape)
        if not self.builder.knows(index) or stated is None:
            return
        found = self.builder.shape(index)
        if found != stated and (found[1:] != (1, 1) or math.prod(stated) != found[0]):
            raise self.builder.fail(f"states a shape of {tensor.shape}, but makes {found} (channels, height, width)")

    def _quantization(self, tensor: FileTensor) -> Quantization | None:
        """Return how integers stand for a computed tensor; None for floats."""
        if tensor.dtype == "FLOAT32":
            return None
        if tensor.dtype not in _INTEGERS:
            kind = "int16x8 quantization" if tensor.dtype == "INT16" else "activations"
            raise self.builder.fail(f"has activations of type {tensor.dtype}, but {kind} of that type is not supported")
        if tensor.scales.size != 1:
            count = tensor.scales.size
            raise self.builder.fail(f"has {count} scales for its activations instead of 1 (field quantization)")
        scale, zero = float(tensor.scales[0]), int(tensor.zero_points[0])
        lo, hi = _INTEGERS[tensor.dtype]
        if not (math.isfinite(scale) and scale > 0 and lo <= zero <= hi):
            raise self.builder.fail(f"has a scale of {scale} and a zero-point of {zero} (field quantization)")
        return Quantization(scale, zero, lo, hi)

    def _weights(self, index: int, layout: tuple[int, ...], axis: int) -> Weights:
        """Return a constant, its axes rearranged to `layout`; `axis` of the file has the output channels."""
        tensor = self._tensor(index)
        if index in self.unpacked:
            found = self.unpacked[index]
            return Weights(found.values.transpose(layout))
        if not tensor.constant:
            raise self.builder.fail(f"takes its weights {tensor.name!r} from another operator, not from the file")
        stored = self._stored(tensor)
        if stored.ndim != len(layout):
            raise self.builder.fail(f"has weights of shape {stored.shape}, which need {len(layout)} axes")
        if tensor.dtype == "FLOAT32":
            return Weights(self._finite(stored).transpose(layout))
        if tensor.dtype not in _INTEGERS:
            raise self.builder.fail(f"has weights of type {tensor.dtype}")
        integers = self._centered(tensor, stored, axis)
        scales = np.broadcast_to(tensor.scales, stored.shape[axis])
        along = np.moveaxis(integers, axis, 0)
        real = np.moveaxis(along * scales.reshape(-1, *[1] * (stored.ndim - 1)), 0, axis)
        return Weights(self._finite(real).transpose(layout), integers.transpose(layout), scales)

    def _centered(self, tensor: FileTensor, stored: NDArray[Any], axis: int) -> NDArray[np.int16]:
        """Return stored integers less their zero-point, after a check of the quantization."""
        count = tensor.scales.size
        if count not in (1, stored.shape[axis]) or (count > 1 and tensor.axis != axis):
            raise self.builder.fail(f"has {count} scales for its weights along axis {tensor.axis} (field quantization)")
        if not (np.isfinite(tensor.scales).all() and (tensor.scales > 0).all()):
            raise self.builder.fail("has a weight scale that is not above 0 (field quantization)")
        if count > 1 and tensor.zero_points.any():
            raise self.builder.fail("has weights with a zero-point for each channel, which is not supported")
        if np.abs(tensor.zero_points).max() > 255:
            raise self.builder.fail(f"has the weight zero-point {tensor.zero_points[0]} (field quantization)")
        centered: NDArray[np.int16] = (stored.astype(np.int64) - tensor.zero_points[0]).astype(np.int16)
        return centered

    def _bias(self, op: FileOperator, scales: NDArray[np.float64] | None) -> Floats | None:
        """Return the bias in real units; `scales` are those of its integers."""
        if len(op.inputs) < 3 or op.inputs[2] < 0:
            return None
        tensor = self._tensor(op.inputs[2])
        if op.inputs[2] in self.unpacked:
            return self.unpacked[op.inputs[2]].values
        if not tensor.constant:
            raise self.builder.fail("takes its bias from another operator, not from the file")
        stored = self._stored(tensor).reshape(-1)
        if tensor.dtype == "FLOAT32":
            return self._finite(stored)
        own = tensor.scales if scales is None else scales  # kernels add the integers, whatever scale is written there
        if tensor.dtype != "INT32" or own is None or own.size not in (1, stored.size):
            raise self.builder.fail(f"has a bias of type {tensor.dtype}, whose scale is not known")
        return self._finite(stored * own)

    def _constant(self, index: int) -> NDArray[Any]:
        tensor = self._tensor(index)
        if not tensor.constant or tensor.dtype not in ("INT32", "INT64"):
            raise self.builder.fail(f"takes sizes from {tensor.name!r}, which is no constant of the file")
        return self._stored(tensor)

    def _stored(self, tensor: FileTensor) -> NDArray[Any]:
        try:
            return tensor.values()
        except ValueError as error:
            raise self.builder.fail(f"has a constant {tensor.name[:80]!r} that {error}") from error

    def _finite(self, values: NDArray[Any]) -> Floats:
        result = np.asarray(values, np.float32)
        if not np.isfinite(result).all():
            raise self.builder.fail("has a weight or bias that is not finite")
        return result

    def _tensor(self, index: int) -> FileTensor:
        if index < 0:
            raise self.builder.fail("lacks an input")
        return self.model.tensors[index]

    def _name(self, op: FileOperator, *endings: str) -> str:
        names = [self.model.tensors[i].name for i in (*op.inputs[1:2], *op.outputs) if i >= 0]
        if op.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            names = names[-1:]
        return from_tensors(names, endings, op.kind.lower())

    def _activated(self, op: FileOperator) -> tuple[object, Quantization | None, Callable[[str], None]]:
        """Return where the operator itself is to write, with which quantization, and what adds its activation."""
        output = op.outputs[0]
        quantization = self._quantization(self.model.tensors[output])
        function = op.options["FusedActivationFunction"]
        if function == 0:
            return output, quantization, lambda name: None
        if function not in (1, 3):
            raise self.builder.fail(f"has the fused activation number {function}; only RELU and RELU6 are supported")
        ceiling = None if function == 1 else 6.0
        raw = (output, "before its activation")
        return raw, None, lambda name: self.builder.rectifier(raw, output, f"{name}_relu", ceiling, quantization)

    def _convolution(self, op: FileOperator) -> None:
        depthwise, options = op.kind == "DEPTHWISE_CONV_2D", op.options
        source, index = op.inputs[0], op.inputs[1] if len(op.inputs) > 1 else -1
        channels, height, width = self.builder.shape(source)
        if (options["DilationHFactor"], options["DilationWFactor"]) != (1, 1):
            raise self.builder.fail("has a dilation")
        if depthwise:
            weights = self._weights(index, (3, 0, 1, 2), 3)
            if weights.values.shape[0] != channels != 1:
                raise self.builder.fail(f"has a depth multiplier of {weights.values.shape[0] / channels:g}, not 1")
            depthwise = channels != 1
        else:
            weights = self._weights(index, (0, 3, 1, 2), 0)
            if weights.values.shape[1] != channels:
                raise self.builder.fail(f"has groups: {weights.values.shape[1]} of {channels} channels a filter")
        kernel, stride = weights.values.shape[2:], (options["StrideH"], options["StrideW"])
        name = self._name(op, "depthwise", "conv2d", "convolution")
        self._note_dynamic(source, weights, name)
        result, quantization, activate = self._activated(op)
        self.builder.convolution(
            source,
            result,
            name,
            weights,
            self._bias(op, self._product(source, weights)),
            stride=stride,
            padding=self._padding(options["Padding"], (height, width), (kernel[0], kernel[1]), stride),
            depthwise=depthwise,
            quantization=quantization,
        )
        activate(name)

    def _dense(self, op: FileOperator) -> None:
        if op.options["WeightsFormat"] != 0:
            raise self.builder.fail("has shuffled weights (field weights_format)")
        source = op.inputs[0]
        weights = self._weights(op.inputs[1] if len(op.inputs) > 1 else -1, (0, 1), 0)
        name = self._name(op, "matmul", "biasadd")
        self._note_dynamic(source, weights, name)
        result, quantization, activate = self._activated(op)
        flat = (op.outputs[0], "its input, flattened")
        self.builder.flatten(source, flat, channels_last=True)
        bias = self._bias(op, self._product(source, weights))
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

    def _pool(self, op: FileOperator) -> None:
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

    def _mean(self, op: FileOperator) -> None:
        axes = {int(axis) % 4 for axis in self._constant(op.inputs[1] if len(op.inputs) > 1 else -1).reshape(-1)}
        source, output = op.inputs[0], op.outputs[0]
        if axes != {1, 2} or self.builder.flat(source):
            raise self.builder.fail(f"has the axes {sorted(axes)}; only height and width (1, 2) are supported")
        size = self.builder.shape(source)[1:]
        quantization = self._quantization(self.model.tensors[output])
        name, pooled, none = self._name(op, "mean"), (output, "pooled"), (0, 0, 0, 0)
        self.builder.pool(
            source, pooled, name, maximum=False, kernel=size, stride=size, padding=none, quantization=quantization
        )
        if op.options["KeepDims"]:
            self.builder.alias(pooled, output)
        else:
            self.builder.flatten(pooled, output)

    def _add(self, op: FileOperator) -> None:
        first, second = self._two(op)
        name = self._name(op, "add")
        if not self.builder.knows(second):
            self._affine(op, first, second, name)
            return
        result, quantization, activate = self._activated(op)
        self.builder.addition(first, second, result, name, quantization)
        activate(name)

    def _multiply(self, op: FileOperator) -> None:
        first, second = self._two(op)
        if self.builder.knows(second):
            raise self.builder.fail("multiplies two computed tensors")
        self._affine(op, first, second, self._name(op, "mul"))

    def _two(self, op: FileOperator) -> tuple[int, int]:
        """Return the two inputs, the one that depends on the network's input first."""
        if len(op.inputs) != 2 or min(op.inputs) < 0:
            raise self.builder.fail("needs two inputs")
        first, second = op.inputs
        return (first, second) if self.builder.knows(first) else (second, first)

    def _affine(self, op: FileOperator, source: int, constant: int, name: str) -> None:
        result, quantization, activate = self._activated(op)
        tensor = self._tensor(constant)
        if self.builder.quantization(source) is not None or quantization is not None or tensor.dtype != "FLOAT32":
            raise self.builder.fail("has a quantized constant; fold it into the layer before it")
        values = self._finite(self._stored(tensor)).reshape(-1) if tensor.constant else np.zeros(0, np.float32)
        factor, term = (values, None) if op.kind == "MUL" else (None, values)
        only = sum(other.inputs.count(source) for other in self.model.operators) == 1
        self.builder.affine(source, result, name, factor, term, only=only)
        activate(name)

    def _pad(self, op: FileOperator) -> None:
        sizes = self._constant(op.inputs[1] if len(op.inputs) > 1 else -1)
        if sizes.shape != (4, 2) or sizes[0].any() or sizes[3].any():
            raise self.builder.fail(f"pads by {sizes.tolist()}; only height and width are supported")
        (top, bottom), (left, right) = ([int(n) for n in row] for row in sizes[1:3])
        self.builder.pad(op.inputs[0], op.outputs[0], "pad", (top, left, bottom, right))

    def _reshape(self, op: FileOperator) -> None:
        source, output = op.inputs[0], op.outputs[0]
        target = self.model.tensors[output].shape
        shape = image_shape(target)
        # The order of the elements stays only where there is one channel or one pixel.
        keeps = shape is not None and len(target) == 4 and (shape[0] == 1 or shape[1:] == (1, 1))
        if shape is not None and keeps and self.builder.reshape_input(source, output, shape):
            self.builder.dropped.append(f"a reshape of the input, which is now {shape}")
            return
        if len(target) == 4 and shape == self.builder.shape(source) and not self.builder.flat(source):
            self.builder.alias(source, output)
            return
        if shape is None or math.prod(target[1:]) != max(target[1:], default=0):
            raise self.builder.fail(f"makes the shape {target}; only a flatten to (N, features) is supported")
        self.builder.flatten(source, output, channels_last=True)

    def _rectify(self, op: FileOperator, ceiling: float | None) -> None:
        quantization = self._quantization(self.model.tensors[op.outputs[0]])
        self.builder.rectifier(op.inputs[0], op.outputs[0], self._name(op, "relu"), ceiling, quantization)

    def _quantize(self, op: FileOperator) -> None:
        quantization = self._quantization(self.model.tensors[op.outputs[0]])
        if quantization is None:
            raise self.builder.fail("makes floats")
        self.builder.requantize(op.inputs[0], op.outputs[0], "quantize", quantization)

    def _dequantize(self, op: FileOperator) -> None:
        source, output = op.inputs[0], op.outputs[0]
        if self.builder.knows(source):
            self.builder.alias(source, output)
            return
        tensor = self._tensor(source)
        if not tensor.constant:
            raise self.builder.fail("reads a tensor that nothing before it makes from the input")
        stored = self._stored(tensor)
        if tensor.dtype == "FLOAT16":
            self.unpacked[output] = Weights(self._finite(stored))
        elif tensor.dtype in _INTEGERS and stored.ndim > 0 and tensor.axis in range(stored.ndim):
            axes = tuple(range(stored.ndim))
            self.unpacked[output] = Weights(self._weights(source, axes, tensor.axis).values)
        else:
            raise self.builder.fail(f"unpacks a constant of type {tensor.dtype}")

    def _size(self, op: FileOperator) -> None:
        if self.model.tensors[op.outputs[0]].dtype not in ("INT32", "INT64"):
            raise self.builder.fail("is supported for the sizes of a reshape only")

    def _end(self, op: FileOperator) -> None:
        self.builder.end(op.inputs[0], op.outputs[0], _ENDS[op.kind])
