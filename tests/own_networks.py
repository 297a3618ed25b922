# SPDX-License-Identifier: Apache-2.0
"""Networks of a user's own, as ONNX files written by hand: fixed weights, whatever PyTorch's versions do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Node = tuple[str, Sequence[str], Sequence[str], Mapping[str, Any]]


def write_network(
    path: Path, shape: tuple[int, ...], nodes: Sequence[Node], constants: Mapping[str, NDArray[np.floating]]
) -> Path:
    """Write a network from `x` (N, *shape) to `y`; a node is its operator, inputs, outputs and attributes."""
    import onnx  # noqa: PLC0415 (an optional part)

    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    made = [helper.make_node(kind, list(inputs), list(outputs), **options) for kind, inputs, outputs, options in nodes]
    inputs = [helper.make_tensor_value_info("x", floats, ["N", *shape])]
    outputs = [helper.make_tensor_value_info("y", floats, None)]
    stored = [onnx.numpy_helper.from_array(values.astype(np.float32), name) for name, values in constants.items()]
    graph = helper.make_graph(made, path.stem, inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def answers(path: Path, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what onnxruntime makes of inputs (N, …), (N, K)."""
    import onnxruntime  # noqa: PLC0415 (an optional part)

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(None, {"x": x})[0]
    return found.reshape(len(x), -1)


def perceptron(path: Path, x: NDArray[np.float32], outputs: int) -> Path:
    """Write a perceptron that tells inputs (N, F) apart, whatever the size of its columns: they are standardised in the
    weights of its first layer. Of inputs (N, F, H, W) it takes the greatest value of each channel.
    """
    random = np.random.default_rng(0)
    columns = x.astype(np.float64) if x.ndim == 2 else x.max(axis=(2, 3)).astype(np.float64)
    mean, spread, features = columns.mean(axis=0), columns.std(axis=0), columns.shape[1]
    first, second = random.normal(size=(16, features)) / spread, random.normal(size=(outputs, 16))
    constants = {"v": first, "b": -first @ mean, "w": second, "c": np.zeros(outputs)}
    pooling: list[Node] = [
        ("MaxPool", ["x"], ["p"], {"kernel_shape": x.shape[2:]}),
        ("Flatten", ["p"], ["f"], {}),
    ]
    nodes: list[Node] = [
        ("Gemm", ["x" if x.ndim == 2 else "f", "v", "b"], ["h"], {"transB": 1}),
        ("Relu", ["h"], ["r"], {}),
        ("Gemm", ["r", "w", "c"], ["y"], {"transB": 1}),
    ]
    return write_network(path, x.shape[1:], nodes if x.ndim == 2 else pooling + nodes, constants)
