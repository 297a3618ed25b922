# SPDX-License-Identifier: Apache-2.0
"""Reads a .tflite file into plain data; whatever the bytes are, it either succeeds or says that the file is damaged."""

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.networks.importers._budget import Budget
from intarsia.packages import load_package

#: What NumPy type the tensors are stored in that an import understands.
_DTYPES = {
    "FLOAT32": np.float32,
    "FLOAT16": np.float16,
    "INT64": np.int64,
    "INT32": np.int32,
    "INT16": np.int16,
    "INT8": np.int8,
    "UINT8": np.uint8,
}

#: Operators with options, and the fields of these that an import reads.
_OPTIONS = {
    "CONV_2D": (
        "Conv2DOptions",
        ("Padding", "StrideH", "StrideW", "DilationHFactor", "DilationWFactor", "FusedActivationFunction"),
    ),
    "DEPTHWISE_CONV_2D": (
        "DepthwiseConv2DOptions",
        ("Padding", "StrideH", "StrideW", "DilationHFactor", "DilationWFactor", "FusedActivationFunction"),
    ),
    "AVERAGE_POOL_2D": (
        "Pool2DOptions",
        ("Padding", "StrideH", "StrideW", "FilterHeight", "FilterWidth", "FusedActivationFunction"),
    ),
    "FULLY_CONNECTED": ("FullyConnectedOptions", ("FusedActivationFunction", "WeightsFormat")),
    "ADD": ("AddOptions", ("FusedActivationFunction",)),
    "SUB": ("SubOptions", ("FusedActivationFunction",)),
    "MUL": ("MulOptions", ("FusedActivationFunction",)),
    "DIV": ("DivOptions", ("FusedActivationFunction",)),
    "MEAN": ("ReducerOptions", ("KeepDims",)),
}
_OPTIONS["MAX_POOL_2D"] = _OPTIONS["AVERAGE_POOL_2D"]

_PER_ENTRY = 32  # bytes that a number or a table takes in Python
_AXES = 8  # more than any layer's tensor has

#: What the accessors of the `tflite` package raise on bytes that are not a model.
_DAMAGE = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError, UnicodeDecodeError)


@dataclass(frozen=True, eq=False)
class FileTensor:
    """A tensor of the file, in its layout.

    Attributes:
        name: as the file has it.
        shape: with the batch.
        dynamic: whether a size other than the batch's is open.
        dtype: name of the type, `INT8` for example.
        data: the constant's bytes, None if the tensor is computed.
        scales, zero_points: of its quantization, empty if it has none.
        axis: along which there are several scales.
    """

    name: str
    shape: tuple[int, ...]
    dynamic: bool
    dtype: str
    data: bytes | None
    scales: NDArray[np.float64]
    zero_points: NDArray[np.int64]
    axis: int

    @property
    def constant(self) -> bool:
        """Whether the file holds its values."""
        return self.data is not None

    def values(self) -> NDArray[Any]:
        """Return the constant's values as they are stored.

        Raises:
            ValueError: the type is unknown, or the bytes do not fit the shape.
        """
        if self.dtype not in _DTYPES:
            raise ValueError(f"is stored as {self.dtype}")
        dtype = np.dtype(_DTYPES[self.dtype]).newbyteorder("<")
        if self.data is None or len(self.data) != math.prod(self.shape) * dtype.itemsize:
            raise ValueError(f"has {len(self.data or b'')} bytes, which do not fit its shape {self.shape}")
        return np.frombuffer(self.data, dtype).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class FileOperator:
    """An operator of the file; inputs that are left out are −1."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, int]


@dataclass(frozen=True, eq=False)
class FileModel:
    """A .tflite file: tensors by index, operators in order, indices of inputs and outputs, and its size in bytes."""

    tensors: tuple[FileTensor, ...]
    operators: tuple[FileOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    size: int


def read_model(path: Path) -> FileModel:
    """Read a .tflite file.

    Raises:
        IntarsiaError: the file cannot be read, is damaged or holds several subgraphs, or a package is missing.
    """
    tflite = load_package("tflite", "import")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise IntarsiaError(f"cannot read {path}: {error.strerror}.") from error
    if content[4:8] != b"TFL3":
        raise IntarsiaError(f"{path.name} is not a TFLite model (field identifier is not TFL3); export it again.")
    try:
        return _Reader(tflite, content).model()
    except _DAMAGE as error:
        raise IntarsiaError(f"{path.name} is damaged ({_clause(error)}); export it again.") from error


class _Reader:
    """Follows the offsets of one file; every count is held against the file's size before it is believed."""

    def __init__(self, package: ModuleType, content: bytes) -> None:
        self.package, self.content = package, content
        self.budget = Budget(len(content))
        self.kinds = _names(package.BuiltinOperator)
        self.types = _names(package.TensorType)

    def model(self) -> FileModel:
        model = self.package.Model.GetRootAs(self.content, 0)
        if model.SubgraphsLength() != 1:
            raise ValueError(f"field subgraphs has {model.SubgraphsLength()} entries, not 1")
        buffers = [self._bytes(entry) for entry in self._all(model.BuffersLength, model.Buffers)]
        codes = [
            max(entry.BuiltinCode(), entry.DeprecatedBuiltinCode())
            for entry in self._all(model.OperatorCodesLength, model.OperatorCodes)
        ]
        graph = model.Subgraphs(0)
        tensors = tuple(self._tensor(entry, buffers) for entry in self._all(graph.TensorsLength, graph.Tensors))
        operators = tuple(
            self._operator(entry, codes, len(tensors)) for entry in self._all(graph.OperatorsLength, graph.Operators)
        )
        inputs, outputs = self._ints(graph.InputsAsNumpy()), self._ints(graph.OutputsAsNumpy())
        for index in (*inputs, *outputs):
            if not 0 <= index < len(tensors):
                raise ValueError(f"field inputs or outputs names tensor {index}")
        return FileModel(tensors, operators, inputs, outputs, len(self.content))

    def _all(self, length: Callable[[], int], entry: Callable[[int], Any]) -> Iterator[Any]:
        count = length()
        if count > len(self.content) // 4:
            raise ValueError(f"a list has {count} entries, more than the file can hold")
        self._spend(count * _PER_ENTRY)
        return (entry(number) for number in range(count))

    def _bytes(self, buffer: Any) -> bytes | None:
        if buffer.Offset() > 1:
            raise ValueError("a buffer lies outside of the model")
        if buffer.DataIsNone():
            return None
        self._spend(buffer.DataLength())
        return bytes(buffer.DataAsNumpy())

    def _ints(self, values: Any) -> tuple[int, ...]:
        if not isinstance(values, np.ndarray):
            return ()
        self._spend(values.size * _PER_ENTRY)
        return tuple(values.tolist())

    def _spend(self, amount: int) -> None:
        """Count what is read: lists and buffers of a file may lie on top of each other."""
        if not self.budget.allows(amount):
            raise ValueError(f"it {self.budget.reason}")

    def _tensor(self, entry: Any, buffers: list[bytes | None]) -> FileTensor:
        number = entry.Buffer()
        if not 0 <= number < len(buffers):
            raise ValueError(f"a tensor's field buffer is {number}")
        shape = () if entry.ShapeIsNone() else self._ints(entry.ShapeAsNumpy())
        signature = () if entry.ShapeSignatureIsNone() else self._ints(entry.ShapeSignatureAsNumpy())
        if max(len(shape), len(signature)) > _AXES:
            raise ValueError(f"a tensor has {max(len(shape), len(signature))} axes")
        dtype = self.types.get(entry.Type(), f"type {entry.Type()}")
        if entry.Sparsity() is not None:
            dtype = f"sparse {dtype}"
        scales, zeros, axis = np.zeros(0), np.zeros(0, np.int64), 0
        quantization = entry.Quantization()
        if quantization is not None and not quantization.ScaleIsNone():
            self._spend(8 * (quantization.ScaleLength() + quantization.ZeroPointLength()))
            scales = np.asarray(quantization.ScaleAsNumpy(), np.float64)
            if not quantization.ZeroPointIsNone():
                zeros = np.asarray(quantization.ZeroPointAsNumpy(), np.int64)
            axis = int(quantization.QuantizedDimension())
        if zeros.shape != scales.shape:
            zeros = np.zeros(scales.shape, np.int64) + (zeros[0] if zeros.size == 1 else 0)
        name = (entry.Name() or b"").decode(errors="replace")
        self._spend(len(name))
        dynamic = any(size < 0 for size in (*shape[1:], *signature[1:]))
        return FileTensor(name, shape, dynamic, dtype, buffers[number], scales, zeros, axis)

    def _operator(self, entry: Any, codes: list[int], tensors: int) -> FileOperator:
        index = entry.OpcodeIndex()
        if not 0 <= index < len(codes):
            raise ValueError(f"an operator's field opcode_index is {index}")
        kind = self.kinds.get(codes[index], f"number {codes[index]}")
        inputs = () if entry.InputsIsNone() else self._ints(entry.InputsAsNumpy())
        outputs = () if entry.OutputsIsNone() else self._ints(entry.OutputsAsNumpy())
        named = (*inputs, *outputs)
        if named and not -1 <= min(named) <= max(named) < tensors:
            raise ValueError(f"an operator {kind} names a tensor from {min(named)} to {max(named)} of {tensors}")
        return FileOperator(kind, inputs, outputs, self._options(entry, kind))

    def _options(self, entry: Any, kind: str) -> dict[str, int]:
        if kind not in _OPTIONS:
            return {}
        table, fields = _OPTIONS[kind]
        union = entry.BuiltinOptions()
        if union is None or entry.BuiltinOptionsType() != getattr(self.package.BuiltinOptions, table):
            raise ValueError(f"an operator {kind} has no {table}")
        options = getattr(self.package, table)()
        options.Init(union.Bytes, union.Pos)
        return {field: int(getattr(options, field)()) for field in fields}


def _names(numbers: type) -> dict[int, str]:
    return {value: name for name, value in vars(numbers).items() if isinstance(value, int)}


def _clause(error: Exception) -> str:
    if isinstance(error, struct.error):
        return "an offset points outside of the file"
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
