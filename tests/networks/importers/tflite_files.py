# SPDX-License-Identifier: Apache-2.0
"""Writes small .tflite files, operator by operator, so that the tests need no converter and no stored models."""

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
import tflite
from numpy.typing import NDArray

_TABLES = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "ADD": "AddOptions",
    "SUB": "SubOptions",
    "MUL": "MulOptions",
    "DIV": "DivOptions",
    "EXPAND_DIMS": "ExpandDimsOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "SOFTMAX": "SoftmaxOptions",
    "RESHAPE": "ReshapeOptions",
    "SHAPE": "ShapeOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "PACK": "PackOptions",
}
#: Versions that know 8-bit tensors, where these are not the first.
_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "DEQUANTIZE": 3}
_VERSIONS |= dict.fromkeys(("ADD", "SUB", "MUL", "AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "SOFTMAX", "PAD"), 2)
_TYPES = {"float32": "FLOAT32", "float16": "FLOAT16", "int32": "INT32", "int8": "INT8", "uint8": "UINT8"}
_TYPES |= {"int16": "INT16", "int64": "INT64"}


_Operator = tuple[str, Sequence[int], Sequence[int], Mapping[str, float]]


class File:
    """A model under construction: tensors first, then the operators between them."""

    def __init__(self) -> None:
        self.tensors: list[dict[str, Any]] = []
        self.operators: list[_Operator] = []

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str = "float32",
        *,
        scales: Sequence[float] = (),
        zeros: Sequence[int] = (),
        axis: int = 0,
        signature: Sequence[int] | None = None,
    ) -> int:
        """Declare a tensor that is computed; return its number."""
        known = {"name": name, "shape": shape, "dtype": dtype, "data": None, "scales": scales, "axis": axis}
        self.tensors.append(known | {"zeros": zeros or [0] * len(scales), "signature": signature})
        return len(self.tensors) - 1

    def constant(
        self, name: str, values: NDArray[Any], scales: Sequence[float] = (), axis: int = 0, zeros: Sequence[int] = ()
    ) -> int:
        """Store a constant; return its number."""
        number = self.tensor(name, values.shape, str(values.dtype), scales=scales, axis=axis, zeros=zeros)
        self.tensors[number]["data"] = values.tobytes()
        return number

    def operator(self, kind: str, inputs: Sequence[int], output: int, **options: float) -> int:
        """Add an operator; return its output."""
        self.operators.append((kind, inputs, [output], options))
        return output

    def content(self, source: int, result: int) -> bytes:
        """Return the file."""
        b = flatbuffers.Builder(1024)
        data = [t["data"] for t in self.tensors if t["data"] is not None]
        buffers = [self._buffer(b, None)] + [self._buffer(b, content) for content in data]
        numbers = iter(range(1, len(buffers)))
        tensors = [self._tensor(b, t, 0 if t["data"] is None else next(numbers)) for t in self.tensors]
        kinds = sorted({kind for kind, *_ in self.operators})
        codes = [self._code(b, kind) for kind in kinds]
        operators = [self._operator(b, operator, kinds) for operator in self.operators]
        lists = [self._offsets(b, entries) for entries in (tensors, operators)]
        ends = [b.CreateNumpyVector(np.array([number], np.int32)) for number in (source, result)]
        tflite.SubGraphStart(b)
        tflite.SubGraphAddTensors(b, lists[0])
        tflite.SubGraphAddInputs(b, ends[0])
        tflite.SubGraphAddOutputs(b, ends[1])
        tflite.SubGraphAddOperators(b, lists[1])
        graphs = self._offsets(b, [tflite.SubGraphEnd(b)])
        lists = [self._offsets(b, entries) for entries in (codes, buffers)]
        tflite.ModelStart(b)
        tflite.ModelAddVersion(b, 3)
        tflite.ModelAddOperatorCodes(b, lists[0])
        tflite.ModelAddSubgraphs(b, graphs)
        tflite.ModelAddBuffers(b, lists[1])
        b.Finish(tflite.ModelEnd(b), b"TFL3")
        return bytes(b.Output())

    def _offsets(self, b: flatbuffers.Builder, entries: Sequence[int]) -> int:
        b.StartVector(4, len(entries), 4)
        for entry in reversed(entries):
            b.PrependUOffsetTRelative(entry)
        return int(b.EndVector())

    def _buffer(self, b: flatbuffers.Builder, content: bytes | None) -> int:
        # The interpreter wants constants at multiples of 16 bytes.
        vector = None
        if content is not None:
            b.StartVector(1, len(content), 16)
            b.head -= len(content)
            b.Bytes[b.head : b.head + len(content)] = content
            vector = b.EndVector()
        tflite.BufferStart(b)
        if vector is not None:
            tflite.BufferAddData(b, vector)
        return int(tflite.BufferEnd(b))

    def _tensor(self, b: flatbuffers.Builder, t: Mapping[str, Any], buffer: int) -> int:
        name, shape = b.CreateString(t["name"]), b.CreateNumpyVector(np.array(t["shape"], np.int32))
        signature = None if t["signature"] is None else b.CreateNumpyVector(np.array(t["signature"], np.int32))
        quantization = None
        if len(t["scales"]):
            scales = b.CreateNumpyVector(np.array(t["scales"], np.float32))
            zeros = b.CreateNumpyVector(np.array(t["zeros"], np.int64))
            tflite.QuantizationParametersStart(b)
            tflite.QuantizationParametersAddScale(b, scales)
            tflite.QuantizationParametersAddZeroPoint(b, zeros)
            tflite.QuantizationParametersAddQuantizedDimension(b, t["axis"])
            quantization = tflite.QuantizationParametersEnd(b)
        tflite.TensorStart(b)
        tflite.TensorAddShape(b, shape)
        tflite.TensorAddType(b, getattr(tflite.TensorType, _TYPES[t["dtype"]]))
        tflite.TensorAddBuffer(b, buffer)
        tflite.TensorAddName(b, name)
        if quantization is not None:
            tflite.TensorAddQuantization(b, quantization)
        if signature is not None:
            tflite.TensorAddShapeSignature(b, signature)
        return int(tflite.TensorEnd(b))

    def _code(self, b: flatbuffers.Builder, kind: str) -> int:
        number = getattr(tflite.BuiltinOperator, kind)
        tflite.OperatorCodeStart(b)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(b, min(number, 127))
        tflite.OperatorCodeAddVersion(b, _VERSIONS.get(kind, 1))
        tflite.OperatorCodeAddBuiltinCode(b, number)
        return int(tflite.OperatorCodeEnd(b))

    def _operator(self, b: flatbuffers.Builder, operator: _Operator, kinds: Sequence[str]) -> int:
        kind, inputs, outputs, options = operator
        ends = [b.CreateNumpyVector(np.array(numbers, np.int32)) for numbers in (inputs, outputs)]
        table = _TABLES.get(kind)
        union = None
        if table is not None:
            getattr(tflite, f"{table}Start")(b)
            for field, value in options.items():
                getattr(tflite, f"{table}Add{field}")(b, value)
            union = getattr(tflite, f"{table}End")(b)
        tflite.OperatorStart(b)
        tflite.OperatorAddOpcodeIndex(b, kinds.index(kind))
        tflite.OperatorAddInputs(b, ends[0])
        tflite.OperatorAddOutputs(b, ends[1])
        if union is not None:
            tflite.OperatorAddBuiltinOptionsType(b, getattr(tflite.BuiltinOptions, table))
            tflite.OperatorAddBuiltinOptions(b, union)
        return int(tflite.OperatorEnd(b))


def interpret(content: bytes, images: NDArray[Any]) -> NDArray[Any]:
    """Return what the TFLite interpreter's reference kernels make of images, one by one."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType  # noqa: PLC0415 (not on every system)

    interpreter = Interpreter(
        model_content=content, num_threads=1, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    results = []
    for image in images:
        interpreter.set_tensor(source, image[None])
        interpreter.invoke()
        results.append(interpreter.get_tensor(result)[0])
    return np.array(results)
