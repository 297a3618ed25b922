# SPDX-License-Identifier: Apache-2.0
"""Small files that ask for all memory or hours of work are refused in one sentence, before anything is allocated."""

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import tflite
from onnx import TensorProto, helper, numpy_helper
from onnx_files import Graph, normal, saved
from test_import_tflite import everything
from tflite_files import File

from intarsia.errors import IntarsiaError
from intarsia.networks.importers import import_float

UNJUSTIFIED = "unpacks to more than .* MiB, which its size does not justify"


def refused(path: Path, reason: str) -> None:
    with pytest.raises(IntarsiaError, match=reason):
        import_float(path)


def test_lists_that_lie_on_each_other_are_counted_every_time(tmp_path: Path) -> None:
    b = flatbuffers.Builder(1024)
    many = b.CreateNumpyVector(np.zeros(20_000, np.int32))
    tflite.OperatorStart(b)
    tflite.OperatorAddInputs(b, many)
    tflite.OperatorAddOutputs(b, many)
    operator = tflite.OperatorEnd(b)
    name, shape = b.CreateString("x"), b.CreateNumpyVector(np.array([1, 4], np.int32))
    tflite.TensorStart(b)
    tflite.TensorAddShape(b, shape)
    tflite.TensorAddName(b, name)
    tensor = tflite.TensorEnd(b)
    write = File()
    operators, tensors = write._offsets(b, [operator] * 20_000), write._offsets(b, [tensor])
    tflite.SubGraphStart(b)
    tflite.SubGraphAddTensors(b, tensors)
    tflite.SubGraphAddOperators(b, operators)
    graphs = write._offsets(b, [tflite.SubGraphEnd(b)])
    tflite.BufferStart(b)
    buffers = write._offsets(b, [tflite.BufferEnd(b)])
    codes = write._offsets(b, [write._code(b, "RELU")])
    tflite.ModelStart(b)
    tflite.ModelAddOperatorCodes(b, codes)
    tflite.ModelAddSubgraphs(b, graphs)
    tflite.ModelAddBuffers(b, buffers)
    b.Finish(tflite.ModelEnd(b), b"TFL3")
    (tmp_path / "a.tflite").write_bytes(bytes(b.Output()))
    refused(tmp_path / "a.tflite", UNJUSTIFIED)


def test_a_constant_that_many_layers_read_is_counted_every_time(tmp_path: Path) -> None:
    graph, x = Graph(("N", 512)), "x"
    weights = graph.stored(np.zeros((512, 512)))
    for _ in range(40):
        x = graph.node("MatMul", x, weights)
    refused(saved(graph.content(x), tmp_path), UNJUSTIFIED)


@pytest.mark.parametrize("kind", ["Concat", "Gather", "Add", "ConstantOfShape"])
def test_constants_that_grow_are_refused(kind: str, tmp_path: Path) -> None:
    graph = Graph()
    grown = graph.stored(normal(1, 64), dtype=np.float32)
    for _ in range(24):
        if kind == "Concat":
            grown = graph.node("Concat", grown, grown, axis=1)
        elif kind == "Gather":
            grown = graph.node("Gather", grown, graph.stored(np.zeros(4096), dtype=np.int64), axis=0)
        elif kind == "Add":
            column = graph.stored(normal(1 << 16, 1), dtype=np.float32)
            grown = graph.node("Add", column, graph.stored(normal(1, 1 << 16), dtype=np.float32))
            break
        else:
            grown = graph.node("ConstantOfShape", graph.stored([1 << 20, 1 << 20], dtype=np.int64))
            break
    refused(saved(graph.content(graph.node("Conv", "x", grown)), tmp_path), UNJUSTIFIED)


def test_functions_that_call_functions_are_refused_before_they_are_inlined(tmp_path: Path) -> None:
    opset = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    functions = []
    for level in range(20):
        kind, domain = ("Relu", "") if level == 0 else (f"f{level - 1}", "own")
        nodes = [
            helper.make_node(kind, ["a"], ["b"], domain=domain),
            helper.make_node(kind, ["b"], ["c"], domain=domain),
        ]
        functions.append(helper.make_function("own", f"f{level}", ["a"], ["c"], nodes, opset))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 4, 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("f19", ["x"], ["y"], domain="own")], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=opset, ir_version=9, functions=functions)
    refused(saved(model.SerializeToString(), tmp_path), "its functions stand for 1,048,576 nodes")


def test_constants_that_share_external_data_are_counted_every_time(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(bytes(1 << 20))
    graph = Graph()
    last = graph.node("Conv", "x", graph.stored(normal(4, 3, 3, 3)))
    for number in range(600):
        tensor = numpy_helper.from_array(np.zeros(1, np.float32), f"t{number}")
        tensor.ClearField("raw_data")
        del tensor.dims[:]
        tensor.dims.append(1 << 18)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights"), ("offset", "0"), ("length", str(1 << 20))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        graph.constants.append(tensor)
    refused(saved(graph.content(last), tmp_path), UNJUSTIFIED)


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("MaxPool", {"kernel_shape": [1 << 27, 1 << 27], "pads": [(1 << 27) - 9] * 4}),
        ("AveragePool", {"kernel_shape": [1 << 20, 3], "pads": [1 << 20, 0, 1 << 20, 0], "count_include_pad": 1}),
        ("Conv", {"pads": [1 << 30] * 4}),
        ("Conv", {"dilations": [1 << 20, 1 << 20], "pads": [1 << 10] * 4}),
    ],
)
def test_windows_and_paddings_without_bounds_are_refused(kind: str, attributes: dict[str, Any], tmp_path: Path) -> None:
    graph = Graph()
    inputs = ["x", graph.stored(normal(4, 3, 3, 3))] if kind == "Conv" else ["x"]
    refused(saved(graph.content(graph.node(kind, *inputs, **attributes)), tmp_path), r"Conv|Pool")


@pytest.mark.parametrize("limit", [np.array("abc"), np.array([1.0, 2.0])])
def test_a_limit_that_is_not_one_number_is_refused(limit: Any, tmp_path: Path) -> None:
    graph = Graph()
    x = graph.node("Conv", "x", graph.stored(normal(4, 3, 3, 3)))
    name = graph.stored(limit, dtype=object if limit.dtype.kind == "U" else np.float32)
    refused(saved(graph.content(graph.node("Clip", x, name)), tmp_path), "has a limit that is not one number")


def test_an_ordinary_file_is_within_its_limits(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(everything(0))
    assert import_float(tmp_path / "a.tflite").shape
