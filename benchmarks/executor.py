"""Images a second of Intarsia's executor and of qonnx's, on the same network, in one run.

    python benchmarks/executor.py [NETWORK.safetensors] [--images 1000] [--threads 2] [--json FILE]

Without a file the network is a random one of ResNet-8's shape. qonnx (pip install intarsia[bench]) executes it twice:
as the exported graph of integer operators, and as the graph that QONNX users write: one float convolution with the
planes folded into its weights, then a Quant node. Each runs with the batch that suits it best; the times are the best
of several runs, and the machine's matrix product of float64 in the same run tells how busy it was.
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
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from intarsia.integer import Add, AveragePool, Conv2d, IntegerNetwork, Linear
from intarsia.integer.executor import Executor
from intarsia.integer.file import load
from intarsia.integer.onnx import IR_VERSION, OPSET, export

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from random_networks import random_images, resnet8_like

REPEATS = 3
BATCHES = (1, 10, 100)


def best_rate(run: Callable[[], Any], images: int) -> float:
    """Return images a second of the fastest of REPEATS runs."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return images / min(seconds)


def matmul_gflops() -> float:
    a = np.ones((1024, 576))
    b = np.ones((576, 64))
    return best_rate(lambda: [a @ b for _ in range(20)], 20) * 2 * a.size * 64 / 1e9


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


def qonnx_rate(model: onnx.ModelProto, images: np.ndarray) -> tuple[float, int, np.ndarray]:
    """Return the best rate over BATCHES, its batch, and the results of the last batch size."""
    name, result = model.graph.input[0].name, model.graph.output[0].name
    dtype = helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type)
    rates = {}
    for batch in BATCHES:
        wrapped = with_batch(model, batch)
        part = images[:batch].astype(dtype)
        given = execute_onnx(wrapped, {name: part})[result]
        rates[batch] = best_rate(lambda m=wrapped, x=part: execute_onnx(m, {name: x}), batch)
    fastest = max(rates, key=lambda batch: rates[batch])
    return rates[fastest], fastest, given


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
            planes = (np.einsum("o...,o->o...", p.weights.astype(float), p.multiplier) for p in layer.planes)
            weights = np.einsum("o...,o->o...", sum(planes), 2.0**-shift)
            bias = (layer.requantization.bias + ((1 << shift) >> 1)) * 2.0**-shift
            if isinstance(layer, Conv2d):
                window = {"strides": layer.stride, "pads": layer.padding, "kernel_shape": layer.kernel}
                group = len(weights) if layer.depthwise else 1
                total = node("Conv", layer.input, constant(weights), constant(bias), group=group, **window)
            else:
                total = node("Gemm", node("Flatten", layer.input), constant(weights.T), constant(bias))
                total = node("Reshape", total, f"shape{len(nodes)}")
                sizes = np.array([-1, *layer.output.shape], np.int64)
                constants.append(numpy_helper.from_array(sizes, nodes[-1].input[1]))
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
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    network = load(options.network) if options.network else resnet8_like(rng)
    images = random_images(rng, network, options.images)

    busy_before = matmul_gflops()
    executor = Executor(network, options.threads)
    expected = executor.run(images)
    ours = best_rate(lambda: executor.run(images), len(images))
    with tempfile.TemporaryDirectory() as folder:
        export(network, Path(folder) / "network.onnx")
        integers = onnx.load(Path(folder) / "network.onnx")
    integer_rate, integer_batch, integer_result = qonnx_rate(integers, images)
    quant_rate, quant_batch, quant_result = qonnx_rate(quant_graph(network), images)
    count = len(quant_result)
    result = {
        "network": network.name,
        "threads": options.threads,
        "intarsia images/s": round(ours),
        "qonnx integer graph images/s": round(integer_rate, 1),
        "qonnx integer graph batch": integer_batch,
        "qonnx integer graph equal": float((integer_result.reshape(count, -1) == expected[:count]).mean()),
        "qonnx Quant graph images/s": round(quant_rate, 1),
        "qonnx Quant graph batch": quant_batch,
        "qonnx Quant graph equal": float((quant_result.reshape(count, -1) == expected[:count]).mean()),
        "ratio to qonnx's faster graph": round(ours / max(integer_rate, quant_rate), 1),
        "float64 matrix product of one call, GFLOP/s before and after": [round(busy_before), round(matmul_gflops())],
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
