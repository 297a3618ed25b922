# SPDX-License-Identifier: Apache-2.0
"""ONNX files written by hand, and what onnxruntime and an import compute of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from intarsia.networks.importers import import_float

QONNX = "qonnx.custom_op.general"


class Graph:
    """A graph under construction: `node` returns the name of the result, `stored` that of a constant."""

    def __init__(self, shape: Sequence[Any] = ("N", 3, 9, 9), kind: int = TensorProto.FLOAT) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs = [helper.make_tensor_value_info("x", kind, list(shape))]

    def stored(self, values: Any, name: str = "", dtype: Any = np.float32) -> str:
        name = name or f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def node(self, kind: str, *inputs: str, domain: str = "", name: str = "", **attributes: Any) -> str:
        result = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [result], name, domain=domain, **attributes))
        return result

    def quant(
        self, x: str, scale: Any, bits: int, *, signed: int = 1, narrow: int = 0, zero: float = 0, **more: Any
    ) -> str:
        """A QONNX quantizer as Brevitas writes it."""
        inputs = (x, self.stored(scale), self.stored(zero), self.stored(bits))
        options = {"signed": signed, "narrow": narrow, "rounding_mode": "ROUND"} | more
        return self.node("Quant", *inputs, domain=QONNX, **options)

    def content(self, *results: str) -> bytes:
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in results]
        graph = helper.make_graph(self.nodes, "test", self.inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(QONNX, 1)]
        content: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
        return content


def saved(content: bytes, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def run(content: bytes, images: NDArray[Any]) -> NDArray[Any]:
    options = onnxruntime.SessionOptions()
    # Its fused integer kernels saturate at 16 bits on processors without the newest instructions.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    result: NDArray[Any] = session.run(None, {"x": images})[0]
    return result


def computed(path: Path, images: NDArray[Any], *, fold: bool = False) -> NDArray[Any]:
    with torch.no_grad():
        result: NDArray[Any] = import_float(path, fold=fold).module(torch.from_numpy(images)).numpy()
    return result


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed + sum(shape)).normal(0, 0.5, shape).astype(np.float32)
