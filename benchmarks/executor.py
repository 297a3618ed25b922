# SPDX-License-Identifier: Apache-2.0
"""Images per second of Intarsia's executor and of qonnx's, on the same network, in one run.

    python benchmarks/executor.py [NETWORK.safetensors] [--images 500] [--threads 2] [--json FILE]

Without a file the network is a random one of ResNet-8's shape. qonnx (pip install intarsia[bench]) executes it twice:
as the exported graph of integer operators, and as the graph that QONNX users write: one float convolution with the
planes folded into its weights, then a Quant node (float32, so not bit-exact by construction). All run in turn, several
rounds, qonnx with several batch sizes, and the best of each counts; a matrix product tells how busy the machine was.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from intarsia.integer import Add, AveragePool, Conv2d, IntegerNetwork, Linear, weight_matrix
from intarsia.integer.executor import Executor
from intarsia.integer.file import load
from intarsia.integer.onnx import IR_VERSION, OPSET, export
from intarsia.integer.runtime import switch_telemetry_off

switch_telemetry_off()  # qonnx imports onnxruntime
from qonnx.core.modelwrapper import ModelWrapper  # noqa: E402
from qonnx.core.onnx_exec import execute_onnx  # noqa: E402
from qonnx.transformation.infer_shapes import InferShapes  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from random_networks import random_images, resnet8_like  # noqa: E402

ROUNDS = 7
BATCHES = (1, 10, 100)


class Race:
    """Runs several contestants in turn, so that all meet the same load, and keeps the best rate of each."""

    def __init__(self) -> None:
        self._runs: dict[str, tuple[Callable[[], Any], float]] = {}
        self.rates: dict[str, float] = {}
        self.cpu_rates: dict[str, float] = {}

    def enter(self, name: str, run: Callable[[], Any], count: float) -> None:
        """Add a contestant; one run of it does `count` units."""
        self._runs[name] = run, count

    def start(self) -> None:
        """Measure: units a second of wall time and of processor time (all threads together)."""
        for name, (run, count) in [*self._runs.items()] * ROUNDS:
            wall, processor = time.perf_counter(), time.process_time()
            run()
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            self.rates[name] = max(self.rates.get(name, 0), count / wall)
            self.cpu_rates[name] = max(self.cpu_rates.get(name, 0), count / processor)


def with_batch(model: onnx.ModelProto, batch: int) -> ModelWrapper:
    """Return the model for qonnx, which wants every shape fixed."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    for node in model.graph.node:  # it expects an explicit rank and no free axis in shapes
        if node.op_type == "Reshape":
            shape = next(c for c in model.graph.initializer if c.name == node.input[1])
            sizes = numpy_helper.to_array(shape).copy()
            sizes[0] = batch
            shape.CopyFrom(numpy_helper.from_array(sizes, shape.name))
    return ModelWrapper(model).transform(InferShapes())


def enter_qonnx(race: Race, name: str, model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """Enter the model once for each batch size, as `name@batch`; return its results for the last batch size."""
    source, result = model.graph.input[0], model.graph.output[0].name
    dtype = helper.tensor_dtype_to_np_dtype(source.type.tensor_type.elem_type)
    for batch in BATCHES:
        wrapped = with_batch(model, batch)
        part = {source.name: images[:batch].astype(dtype)}
        race.enter(f"{name}@{batch}", lambda m=wrapped, x=part: execute_onnx(m, x), batch)
    return np.asarray(execute_onnx(wrapped, part)[result]).reshape(batch, -1)


def quant_graph(network: IntegerNetwork) -> onnx.ModelProto:
    """Return the network as float convolutions and Quant nodes; integers kept in float32."""
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(values: Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(values, np.float32), f"constant{len(constants)}"))
        return constants[-1].name

    def node(operator: str, *inputs: str, result: str = "", **attributes: Any) -> str:
        result = result or f"value{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [result], **attributes))
        return result

    for layer in network.layers:
        form = layer.output.format
        if isinstance(layer, Conv2d | Linear):
            shift = layer.requantization.shift.astype(int)
            factor = layer.requantization.multiplier * 2.0**-shift
            weights = np.einsum("o...,o->o...", weight_matrix(layer.planes).astype(float), factor)
            bias = (layer.requantization.bias + ((1 << shift) >> 1)) * 2.0**-shift
            if isinstance(layer, Conv2d):
                window = {"strides": layer.stride, "pads": layer.padding, "kernel_shape": layer.kernel}
                group = len(weights) if layer.depthwise else 1
                total = node("Conv", layer.input, constant(weights), constant(bias), group=group, **window)
            else:
                total = node(
                    "Gemm", node("Flatten", layer.input), constant(weights.reshape(len(weights), -1).T), constant(bias)
                )
                total = node("Reshape", total, f"shape{len(nodes)}")
                sizes = np.array([-1, *layer.output.shape], np.int64)
                constants.append(numpy_helper.from_array(sizes, nodes[-1].input[1]))
            if layer.residual is not None:
                step = layer.residual.multiplier * 2.0**-layer.residual.shift
                total = node("Add", total, node("Mul", layer.residual.input, constant(step)))
        elif isinstance(layer, Add):
            parts = [
                node("Mul", name, constant(m * 2.0**-layer.shift))
                for name, m in zip(layer.inputs, layer.multipliers, strict=True)
            ]
            total = node("Add", node("Add", *parts), constant(((1 << layer.shift) >> 1) * 2.0**-layer.shift))
        elif isinstance(layer, AveragePool):
            window = {"strides": layer.stride, "pads": layer.padding, "kernel_shape": layer.kernel}
            mean = node("AveragePool", layer.input, count_include_pad=1, **window)
            scale = layer.multiplier * layer.kernel[0] * layer.kernel[1] * 2.0**-layer.shift
            total = node("Add", node("Mul", mean, constant(scale)), constant(0.5 if layer.shift else 0))
        else:
            window = {"strides": layer.stride, "pads": layer.padding, "kernel_shape": layer.kernel}
            node("MaxPool", layer.input, result=layer.output.name, **window)
            continue
        clip = layer.requantization if isinstance(layer, Conv2d | Linear) else layer
        if (clip.lo, clip.hi) != (form.lo, form.hi):
            total = node("Clip", total, constant(clip.lo), constant(clip.hi))
        node(
            "Quant",
            total,
            constant(1),
            constant(0),
            constant(form.bits),
            result=layer.output.name,
            domain="qonnx.custom_op.general",
            signed=int(form.signed),
            narrow=0,
            rounding_mode="FLOOR",
        )
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        network.name,
        [helper.make_tensor_value_info(network.input.name, kind, ["N", *network.input.shape])],
        [helper.make_tensor_value_info(network.output.name, kind, ["N", *network.output.shape])],
        constants,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("qonnx.custom_op.general", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    network = load(options.network) if options.network else resnet8_like(rng)
    images = random_images(rng, network, options.images)

    race = Race()
    executor = Executor(network, options.threads)
    expected = executor.run(images)
    race.enter("intarsia", lambda: executor.run(images), len(images))
    with tempfile.TemporaryDirectory() as folder:
        export(network, Path(folder) / "network.onnx")
        integers = enter_qonnx(race, "qonnx integers", onnx.load(Path(folder) / "network.onnx"), images)
    quant = enter_qonnx(race, "qonnx Quant", quant_graph(network), images)
    a, b = np.ones((1024, 576)), np.ones((576, 64))
    race.enter("float64 matrix product, GFLOP", lambda: a @ b, 2 * a.size * 64 / 1e9)
    race.start()

    def ratio(rates: dict[str, float]) -> float:
        return round(rates["intarsia"] / max(rate for name, rate in rates.items() if name.startswith("qonnx")), 2)

    result = {
        "network": network.name,
        "threads": options.threads,
        "values equal to intarsia's": {
            "qonnx integers": float((integers == expected[: len(integers)]).mean()),
            "qonnx Quant": float((quant == expected[: len(quant)]).mean()),
        },
        "images per second (name@batch)": {name: round(rate, 1) for name, rate in race.rates.items()},
        "images a processor second": {name: round(rate, 1) for name, rate in race.cpu_rates.items()},
        "ratio to qonnx's best, by time": ratio(race.rates),
        "ratio to qonnx's best, by processor time": ratio(race.cpu_rates),
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
