# SPDX-License-Identifier: Apache-2.0
"""Export to ONNX with integer operators: any runtime that follows the standard gives the same integers.

A weight layer becomes one ConvInteger or MatMulInteger (one for each plane where its matrix takes more than 8 bits, and
one for every 7 bits of a plane that does alone), then 64-bit integer arithmetic. ONNX shifts only unsigned numbers, so
the arithmetic shift is written as ((total + 2^61) >> s) − 2^(61 − s), which is the same for |total| < 2^61. The clip
stands before that subtraction, on unsigned numbers, because onnxruntime's Clip, Max and Min of int64 are wrong for some
values beyond 32 bits (its pull request 25280; seen with 1.31 on x86).

Weights take the signedness of the activations (unsigned ones get the zero point 128). Mixed signs would be exact by
the standard too, but on x86 processors without VNNI onnxruntime adds pairs of such products in 16 bits and saturates.
16-bit activations go through the 8-bit operators byte by byte.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError, unreadable
from intarsia.files import replacing
from intarsia.integer.formats import ActivationFormat
from intarsia.integer.kernels import storage
from intarsia.integer.layers import (
    Add,
    AveragePool,
    Conv2d,
    Ints,
    Layer,
    Linear,
    MaxPool,
    Tensor,
    WeightLayer,
    weight_matrix,
)
from intarsia.integer.network import IntegerNetwork
from intarsia.integer.runtime import load_onnxruntime
from intarsia.packages import load_package

OPSET = 21
IR_VERSION = 10
_PRODUCER = "intarsia"
_OFFSET_BITS = 61
_LARGEST_WEIGHT = 127  # in magnitude, of the operators' 8 bits


def export(network: IntegerNetwork, path: Path, *, all_outputs: bool = False) -> None:
    """Write the network as an ONNX graph to `path`, in one step.

    The graph's input and outputs are named as in the network and have the shape (N, C, H, W), N free, and the smallest
    integer type that holds their format. With `all_outputs` every layer's tensor is an output, in order of execution.
    Scales stand in the model's metadata as `scale.TENSOR`.

    Raises:
        IntarsiaError: the package onnx is missing, or the file cannot be written.
    """
    onnx = load_package("onnx", "onnx")
    graph = _Graph(onnx, network)
    for layer in network.layers:
        graph.layer(layer)
    outputs = [layer.output for layer in network.layers] if all_outputs else [network.output]
    model = graph.model(outputs)
    onnx.checker.check_model(model, full_check=True)
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def is_export(path: Path) -> bool:
    """Whether a file is a graph that `export` wrote."""
    onnx = load_package("onnx", "onnx")
    try:
        return bool(onnx.load(path, load_external_data=False).producer_name == _PRODUCER)
    except Exception:  # the reader has no common class of its own for what it raises
        return False


def execute(path: Path, images: Ints, *, threads: int | None = None, batch: int = 100) -> dict[str, Ints]:
    """Run an exported graph in onnxruntime on `images` (N, C, H, W); return every graph output by name.

    Raises:
        IntarsiaError: the package onnxruntime is missing, or it refuses the file or the images.
    """
    runtime = load_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        source = session.get_inputs()[0]
        width = np.dtype(source.type.removeprefix("tensor(").removesuffix(")"))
        names = [output.name for output in session.get_outputs()]
        chunks = [
            session.run(names, {source.name: images[start : start + batch].astype(width)})
            for start in range(0, max(1, len(images)), batch)
        ]
    except Exception as error:  # onnxruntime has no common class of its own for what it raises
        raise IntarsiaError(f"onnxruntime refuses {path}: {error}") from error
    return {name: np.concatenate(parts) for name, parts in zip(names, zip(*chunks, strict=True), strict=True)}


class _Graph:
    """Collects nodes and constants; every method that computes returns the name of its result."""

    def __init__(self, onnx: ModuleType, network: IntegerNetwork) -> None:
        self._onnx = onnx
        self._network = network
        self._tensors = network.tensors
        if "" in self._tensors:
            raise IntarsiaError("a tensor of the network has an empty name, which ONNX cannot express; rename it.")
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._prefix = ""

    def model(self, outputs: Sequence[Tensor]) -> Any:
        """Return the finished model."""
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes,
            self._network.name,
            [self._value(self._network.input)],
            [self._value(tensor) for tensor in outputs],
            self._constants,
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name=_PRODUCER)
        scales = {f"scale.{name}": repr(float(tensor.scale)) for name, tensor in self._tensors.items()}
        helper.set_model_props(model, scales)
        return model

    def layer(self, layer: Layer) -> None:
        """Append a layer, which writes the tensor of its own name."""
        self._prefix = layer.output.name
        match layer:
            case Conv2d() | Linear():
                self._weight_layer(layer)
            case Add():
                parts = [
                    self._node("Mul", self._wide(name), self._constant(np.int64(multiplier)))
                    for name, multiplier in zip(layer.inputs, layer.multipliers, strict=True)
                ]
                self._scaled(self._node("Add", *parts), layer)
            case AveragePool():
                ones = np.ones((layer.output.shape[0], 1, *layer.kernel), np.int64)
                total = self._convolve(layer.input, ones, layer, groups=ones.shape[0])
                self._scaled(self._node("Mul", total, self._constant(np.int64(layer.multiplier))), layer)
            case MaxPool():
                self._max_pool(layer)

    def _weight_layer(self, layer: WeightLayer) -> None:
        clip = layer.requantization
        multiplier, bias, shift = (values.astype(np.int64) for values in (clip.multiplier, clip.bias, clip.shift))
        total = self._node("Mul", self._accumulators(layer), self._constant(_column(multiplier)))
        offset = bias + ((np.int64(1) << shift) >> 1)
        total = self._node("Add", total, self._constant(_column(offset)))
        if layer.residual is not None:
            factor = layer.residual.multiplier * (np.int64(1) << (shift - layer.residual.shift))
            part = self._node("Mul", self._wide(layer.residual.input), self._constant(_column(factor)))
            total = self._node("Add", total, part)
        self._finish(total, _column(shift), clip.lo, clip.hi, layer.output)

    def _accumulators(self, layer: WeightLayer) -> str:
        """Return W·x as int64 (N, O, H, W)."""
        matrix = weight_matrix(layer.planes)
        if np.abs(matrix).max() <= _LARGEST_WEIGHT:
            return self._products(layer, matrix)
        parts = [
            self._node("Mul", self._products(layer, part), self._constant(np.int64(1 << (plane.shift + place))))
            for plane in layer.planes
            for part, place in _narrow_parts(plane.weights)
        ]
        return self._sum(parts)

    def _products(self, layer: WeightLayer, weights: Ints) -> str:
        if isinstance(layer, Linear):
            return self._multiply(layer.input, weights, layer)
        return self._convolve(layer.input, weights, layer, groups=len(weights) if layer.depthwise else 1)

    def _convolve(self, x: str, weights: Ints, layer: Conv2d | AveragePool, *, groups: int) -> str:
        attributes: dict[str, Any] = {"kernel_shape": weights.shape[2:], "strides": layer.stride, "pads": layer.padding}
        form = self._tensors[x].format
        return self._accumulate("ConvInteger", x, form, weights, attributes | {"group": groups})

    def _multiply(self, x: str, weights: Ints, layer: Linear) -> str:
        flat, matrix = self._node("Flatten", x), weights.reshape(len(weights), -1).T
        product = self._accumulate("MatMulInteger", flat, self._tensors[x].format, matrix, {})
        return self._node("Reshape", product, self._constant(np.array([-1, *layer.output.shape], np.int64)))

    def _accumulate(
        self, operator: str, x: str, form: ActivationFormat, weights: Ints, attributes: dict[str, Any]
    ) -> str:
        """Return the exact accumulators as int64; activations of 16 bits go as high and low bytes."""
        signed = form.signed
        if form.bits <= 8:
            return self._accumulate_byte(operator, x, weights, signed, attributes)
        wide, radix = self._wide(x), self._constant(np.int64(256))
        low = self._node("Mod", wide, radix)
        high = self._node("Div", self._node("Sub", wide, low), radix)
        low_sum = self._accumulate_byte(operator, self._cast(low, np.uint8), weights, False, attributes)
        byte = np.int8 if signed else np.uint8
        high_sum = self._accumulate_byte(operator, self._cast(high, byte), weights, signed, attributes)
        return self._node("Add", low_sum, self._node("Mul", high_sum, radix))

    def _accumulate_byte(self, operator: str, x: str, weights: Ints, signed: bool, attributes: dict[str, Any]) -> str:
        stored = weights.astype(np.int8) if signed else (weights.astype(np.int16) + 128).astype(np.uint8)
        zero_point = np.int8(0) if signed else np.uint8(128)
        names = (x, self._constant(stored), "", self._constant(zero_point))
        return self._wide(self._node(operator, *names, **attributes))

    def _scaled(self, total: str, layer: Add | AveragePool) -> None:
        half = self._constant(np.int64((1 << layer.shift) >> 1))
        total = self._node("Add", total, half)
        self._finish(total, np.array(layer.shift, np.int64), layer.lo, layer.hi, layer.output)

    def _finish(self, total: str, shift: NDArray[np.int64], lo: int, hi: int, output: Tensor) -> None:
        """Shift to the right, clip, and store as the output."""
        zero = np.int64(1) << (_OFFSET_BITS - shift)  # what stands for 0 after the shift
        raised = self._node("Add", total, self._constant(np.int64(1 << _OFFSET_BITS)))
        amount = self._constant(shift.astype(np.uint64))
        value = self._node("BitShift", self._cast(raised, np.uint64), amount, direction="RIGHT")
        value = self._node("Max", value, self._constant((zero + lo).astype(np.uint64)))
        value = self._node("Min", value, self._constant((zero + hi).astype(np.uint64)))
        value = self._node("Sub", self._cast(value, np.int64), self._constant(zero))
        self._cast(value, storage(output.format), output.name)

    def _max_pool(self, layer: MaxPool) -> None:
        window: dict[str, Any] = {"kernel_shape": layer.kernel, "strides": layer.stride, "pads": layer.padding}
        if layer.output.format.bits <= 8:
            self._node("MaxPool", layer.input, result=layer.output.name, **window)
            return
        # ONNX pools integers of 8 bits only; float32 holds those of 16 exactly.
        pooled = self._node("MaxPool", self._cast(layer.input, np.float32), **window)
        self._cast(pooled, storage(layer.output.format), layer.output.name)

    def _sum(self, names: list[str]) -> str:
        total = names[0]
        for name in names[1:]:
            total = self._node("Add", total, name)
        return total

    def _wide(self, name: str) -> str:
        return self._cast(name, np.int64)

    def _cast(self, name: str, dtype: Any, result: str = "") -> str:
        to = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self._node("Cast", name, result=result, to=to)

    def _node(self, operator: str, *inputs: str, result: str = "", **attributes: Any) -> str:
        result = result or self._fresh(operator)
        self._nodes.append(self._onnx.helper.make_node(operator, list(inputs), [result], result, **attributes))
        return result

    def _constant(self, values: Any) -> str:
        name = self._fresh("constant")
        self._constants.append(
            self._onnx.numpy_helper.from_array(np.ascontiguousarray(values).reshape(np.shape(values)), name)
        )
        return name

    def _fresh(self, kind: str) -> str:
        """Return a name that no tensor of the network has."""
        name = f"{self._prefix}/{kind}.{len(self._nodes)}.{len(self._constants)}"
        while name in self._tensors:
            name += "'"
        return name

    def _value(self, tensor: Tensor) -> Any:
        kind = self._onnx.helper.np_dtype_to_tensor_dtype(storage(tensor.format))
        return self._onnx.helper.make_tensor_value_info(tensor.name, kind, ["N", *tensor.shape])


def _narrow_parts(weights: Ints) -> Iterator[tuple[Ints, int]]:
    """Yield weights that the operators take, and the binary places by which each counts, that add up to `weights`."""
    rest, place = weights.astype(np.int32), 0
    while np.abs(rest).max() > _LARGEST_WEIGHT:
        low = ((rest + 64) & 127) - 64
        yield low, place
        rest, place = (rest - low) >> 7, place + 7
    yield rest, place


def _column(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one value a channel in the shape that broadcasts over (N, C, H, W)."""
    return values.reshape(1, -1, 1, 1)
