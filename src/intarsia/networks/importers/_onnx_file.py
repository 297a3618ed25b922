# SPDX-License-Identifier: Apache-2.0
"""Opens an .onnx file: its nodes, its constants, its one input and its one output."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intarsia.errors import IntarsiaError
from intarsia.networks.importers._budget import Budget
from intarsia.networks.importers._onnx_attributes import Attributes, Unsupported
from intarsia.networks.importers._onnx_constants import Constant
from intarsia.packages import load_package

_MOST_NODES = 100_000  # with functions inlined
_DEEPEST = 50


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """What an import needs of an ONNX model.

    Attributes:
        nodes: in order of execution (protobuf messages), without those that only hold a constant.
        constants: by name.
        input: name of the input.
        shape: of the input, with the batch; sizes that are open are −1.
        integers: whether the input holds integers, not floats.
        output: name of the output.
        size: bytes of the file and of the data beside it.
    """

    nodes: Sequence[Any]
    constants: dict[str, Constant]
    input: str
    shape: tuple[int, ...]
    integers: bool
    output: str
    size: int


def read_file(path: Path) -> OnnxFile:
    """Read an .onnx file, with the external data beside it if there are any.

    Raises:
        IntarsiaError: it is damaged or not a network of one input and one output, or a package is missing.
    """
    onnx = _package()
    try:
        model, size = _model(onnx, path)
        if model.functions:
            _check_functions(model)
            model = onnx.inliner.inline_local_functions(model)
        stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        _check_texts(model.graph)
    except Exception as error:  # protobuf, the loader of external data and NumPy each raise kinds of their own
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise IntarsiaError(f"{path.name} is damaged or incomplete ({reason}); export it again.") from error
    graph = model.graph
    constants = {name: Constant(values, (name,)) for name, values in stored.items()}
    nodes = []
    for node in graph.node:
        if node.op_type != "Constant":
            nodes.append(node)
        elif node.output:
            constants[node.output[0]] = Constant(_constant(onnx, node, path.name), (node.output[0],))
    inputs = [value for value in graph.input if value.name not in constants]
    for what, values in (("inputs", inputs), ("outputs", graph.output)):
        if len(values) != 1:
            raise IntarsiaError(f"{path.name} has {len(values)} {what}; only 1 is supported.")
    kind, shape = _shape(onnx, inputs[0], path.name)
    return OnnxFile(nodes, constants, inputs[0].name, shape, kind != onnx.TensorProto.FLOAT, graph.output[0].name, size)


def data_files(path: Path) -> tuple[Path, ...]:
    """Return the files in which an .onnx file keeps its large constants, if it does.

    Raises:
        IntarsiaError: the file is damaged, or one of those is missing.
    """
    onnx = _package()
    try:
        names = _locations(onnx, onnx.load(path, load_external_data=False))
    except Exception as error:  # as above
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise IntarsiaError(f"{path.name} is damaged or incomplete ({reason}); export it again.") from error
    found = tuple(path.parent / name for name in names)
    if missing := [file.name for file in found if not file.is_file()]:
        raise IntarsiaError(f"{path.name} keeps its weights in {missing[0]}, which is missing; put it into its folder.")
    return found


def whole(path: Path) -> bytes:
    """Return an .onnx file with all its constants in it.

    Raises:
        IntarsiaError: it is damaged or incomplete, or larger than one file can be.
    """
    onnx = _package()
    try:
        return bytes(_model(onnx, path)[0].SerializeToString(deterministic=True))
    except Exception as error:  # as above
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise IntarsiaError(f"{path.name} is damaged or incomplete ({reason}); export it again.") from error


def _model(onnx: Any, path: Path) -> tuple[Any, int]:
    """Return a model with the data beside it, and how many bytes all of that takes.

    Raises:
        ValueError: its tensors take far more, because many lie in the same place.
    """
    model, size = onnx.load(path, load_external_data=False), path.stat().st_size
    size += sum((path.parent / name).stat().st_size for name in _locations(onnx, model))
    budget = Budget(size)
    if not budget.allows(sum(math.prod(tensor.dims) for tensor in model.graph.initializer)):
        raise ValueError(f"it {budget.reason}")
    onnx.load_external_data_for_model(model, str(path.parent))
    return model, size


def _locations(onnx: Any, model: Any) -> list[str]:
    """Return the names of the files in which a model keeps its large constants."""
    tensors = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    return sorted({entry.value for t in tensors for entry in t.external_data if entry.key == "location"})


def _check_functions(model: Any) -> None:
    """Refuse functions that call functions until their nodes fill the memory, or themselves."""
    bodies = {(function.domain, function.name): function.node for function in model.functions}
    counts: dict[tuple[str, str], int] = {}

    def count(nodes: Sequence[Any], depth: int) -> int:
        if depth > _DEEPEST:
            raise ValueError("its functions call each other too deeply")
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in bodies and key not in counts:
                counts[key] = count(bodies[key], depth + 1)
            total += counts.get(key, 1)
        return total

    if (total := count(model.graph.node, 0)) > _MOST_NODES:
        raise ValueError(f"its functions stand for {total:,} nodes")


def _package() -> Any:
    onnx = load_package("onnx", "import")
    load_package("onnx.inliner", "import")  # it becomes an attribute of the package
    return onnx


def _check_texts(graph: Any) -> None:
    """Refuse names that are not text: protobuf gives those as bytes."""
    names = [value.name for value in (*graph.input, *graph.output, *graph.initializer)]
    for node in graph.node:
        names += [node.op_type, node.name, *node.input, *node.output, *(entry.name for entry in node.attribute)]
    if not all(isinstance(name, str) for name in names):
        raise ValueError("a name is not UTF-8 text")


def _constant(onnx: Any, node: Any, source: str) -> Any:
    """Return the values of a node that holds a constant."""
    try:
        tensor = Attributes(node).tensor("value")
        if tensor is not None:
            return onnx.numpy_helper.to_array(tensor)
        numbers = [onnx.helper.get_attribute_value(attribute) for attribute in node.attribute]
        names = [attribute.name for attribute in node.attribute]
        if names in (["value_float"], ["value_floats"], ["value_int"], ["value_ints"]):
            kind = "float32" if names[0].startswith("value_float") else "int64"
            return np.asarray(numbers[0], kind)
    except (ValueError, TypeError, Unsupported) as error:
        raise IntarsiaError(f"{source}: constant {node.output[0]!r} is damaged ({error}); export it again.") from error
    raise IntarsiaError(f"{source}: constant {node.output[0]!r} is of an unknown kind ({', '.join(names)}).")


def _shape(onnx: Any, value: Any, source: str) -> tuple[int, tuple[int, ...]]:
    tensor, kinds = value.type.tensor_type, onnx.TensorProto
    if tensor.elem_type not in (kinds.FLOAT, kinds.INT8, kinds.UINT8):
        names = {number: name for name, number in kinds.DataType.items()}
        kind = names.get(tensor.elem_type, f"type {tensor.elem_type}")
        raise IntarsiaError(
            f"{source}: input {value.name!r} has elements of {kind}; only FLOAT, INT8 and UINT8 are supported."
        )
    return int(tensor.elem_type), tuple(
        int(size.dim_value) if size.WhichOneof("value") == "dim_value" else -1 for size in tensor.shape.dim
    )
