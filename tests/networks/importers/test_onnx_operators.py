# SPDX-License-Identifier: Apache-2.0
"""ONNX operators one by one: each computes what onnxruntime does, or is refused in a sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_files import QONNX, Graph, computed, normal, run, saved
from torch.nn import functional

from intarsia.errors import IntarsiaError
from intarsia.integer.executor import Executor
from intarsia.networks.importers import import_float, import_integer
from intarsia.networks.importers._layout import ceil_padding, plain_kernel

Build = Callable[[Graph], str]


def conv(g: Graph, x: str = "x", shape: tuple[int, ...] = (4, 3, 3, 3), **attributes: Any) -> str:
    return g.node("Conv", x, g.stored(normal(*shape)), g.stored(normal(shape[0])), **attributes)


def ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


def paddings(g: Graph) -> str:
    """Return (0, 0, 1, 2, 0, 0, 2, 1) as torch's script exporter computes it."""
    zeros = g.node(
        "ConstantOfShape", g.stored([2], dtype=np.int64), value=numpy_helper.from_array(np.zeros(1, np.int64))
    )
    return g.node("Concat", zeros, g.stored([1, 2, 0, 0, 2, 1], dtype=np.int64), axis=0)


FLOAT: dict[str, tuple[tuple[Any, ...], Build]] = {
    "groups": (("N", 4, 9, 9), lambda g: conv(g, shape=(6, 2, 3, 3), group=2)),
    "depth multiplier": (("N", 3, 9, 9), lambda g: conv(g, shape=(6, 1, 3, 3), group=3)),
    "gaps": (("N", 3, 9, 9), lambda g: conv(g, dilations=[2, 3], pads=[2, 0, 1, 3])),
    "gaps in depth": (("N", 3, 9, 9), lambda g: conv(g, shape=(3, 1, 3, 3), group=3, dilations=[2, 2])),
    "signal": (("N", 3, 20), lambda g: conv(g, shape=(4, 3, 5), strides=[2], pads=[2, 1], dilations=[2])),
    "signal to image": (
        ("N", 3, 20),
        lambda g: conv(g, g.node("Unsqueeze", "x", g.stored(ints(2), dtype=np.int64)), (4, 3, 1, 3)),
    ),
    "image to signal": (
        ("N", 3, 1, 20),
        lambda g: conv(g, g.node("Squeeze", "x", g.stored(ints(2), dtype=np.int64)), (4, 3, 3)),
    ),
    "clip": (("N", 3, 9, 9), lambda g: g.node("Clip", conv(g), g.stored(-0.5), g.stored(0.75))),
    "clip from above": (("N", 3, 9, 9), lambda g: g.node("Clip", conv(g), "", g.stored(0.75))),
    "minimum": (("N", 3, 9, 9), lambda g: g.node("Min", g.node("Relu", conv(g)), g.stored(0.5))),
    "maximum": (("N", 3, 9, 9), lambda g: g.node("Max", g.stored(-0.25), conv(g))),
    "constant minus": (("N", 3, 9, 9), lambda g: g.node("Sub", g.stored(normal(4, 1, 1)), conv(g))),
    "scaled first": (
        ("N", 3, 9, 9),
        lambda g: conv(g, g.node("Mul", g.node("Sub", "x", g.stored(normal(1, 3, 1, 1))), g.stored(2.5)), pads=[1] * 4),
    ),
    "padding of the script exporter": (("N", 3, 9, 9), lambda g: conv(g, g.node("Pad", "x", paddings(g)))),
    "sum": (("N", 3, 9, 9), lambda g: g.node("Sum", conv(g), conv(g))),
    "ceiling": (
        ("N", 3, 10, 9),
        lambda g: g.node("MaxPool", conv(g, pads=[1] * 4), kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1),
    ),
    "no ceiling": (
        ("N", 3, 8, 8),
        lambda g: g.node("AveragePool", conv(g, pads=[1] * 4), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    ),
    "pool of a signal": (
        ("N", 3, 20),
        lambda g: g.node("MaxPool", conv(g, shape=(4, 3, 5)), kernel_shape=[3], strides=[2], pads=[1, 0]),
    ),
    "greatest": (("N", 3, 9, 9), lambda g: g.node("Flatten", g.node("GlobalMaxPool", conv(g)))),
    "greatest of axes": (
        ("N", 3, 9, 9),
        lambda g: g.node("ReduceMax", conv(g), g.stored(ints(3, -2), dtype=np.int64), keepdims=0),
    ),
    "mean of a signal": (
        ("N", 3, 20),
        lambda g: g.node("ReduceMean", conv(g, shape=(4, 3, 5)), g.stored(ints(2), dtype=np.int64), keepdims=0),
    ),
    "factors": (
        ("N", 12),
        lambda g: g.node("Gemm", "x", g.stored(normal(12, 5)), g.stored(normal(1, 5)), alpha=0.5, beta=2.0),
    ),
    "residual of features": (
        ("N", 8),
        lambda g: g.node("Add", "x", g.node("Relu", g.node("MatMul", "x", g.stored(normal(8, 8))))),
    ),
}


@pytest.mark.parametrize("name", FLOAT)
def test_an_operator_computes_what_onnxruntime_does(name: str, tmp_path: Path) -> None:
    shape, build = FLOAT[name]
    g = Graph(shape)
    x = build(g)
    if name == "residual of features":
        x = g.node("MatMul", x, g.stored(normal(8, 3)))
    content = g.content(x)
    images = normal(4, *shape[1:]) * 4
    path = saved(content, tmp_path)
    wanted = run(content, images)
    found = computed(path, images.reshape(4, *import_float(path).shape))
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=1e-4)


def quantized(g: Graph, x: str, scale: float, zero: int = 0, dtype: Any = np.int8) -> str:
    """A pair of a quantizer and a dequantizer."""
    constants = (g.stored(scale), g.stored(zero, dtype=dtype))
    return g.node("DequantizeLinear", g.node("QuantizeLinear", x, *constants), *constants)


def weights(g: Graph, shape: tuple[int, ...], scale: float = 0.01) -> str:
    stored = g.stored(np.random.default_rng(sum(shape)).integers(-127, 128, shape), dtype=np.int8)
    return g.node("DequantizeLinear", stored, g.stored(scale))


def agree(content: bytes, folder: Path, images: Any, step: float) -> None:
    """Hold the integer import of a file against onnxruntime: one step at most."""
    network = import_integer(saved(content, folder))
    form, scale = network.input.format, network.input.scale
    integers = np.clip(np.rint(images / np.float32(scale)), form.lo, form.hi).astype(np.int64)
    found = Executor(network, 1).run(integers.reshape(len(images), *network.input.shape)) * network.output.scale
    wanted = run(content, images)
    assert np.abs(found - wanted.reshape(found.shape)).max() < 1.01 * step


def test_a_type_that_only_an_attribute_says(tmp_path: Path) -> None:
    """`output_dtype` without a zero-point, also on a constant."""
    for number, low in ((3, -128), (2, 0)):
        g = Graph(("N", 16))
        first = quantized(g, "x", 1 / 32)
        hidden = g.node("Gemm", first, weights(g, (8, 16)), transB=1)
        scale = g.stored(0.1)
        coded = g.node("QuantizeLinear", hidden, scale, output_dtype=number)
        kernel = g.node("QuantizeLinear", g.stored(normal(3, 8)), g.stored(0.01), output_dtype=3)
        last = g.node("DequantizeLinear", kernel, g.stored(0.01))
        y = quantized(g, g.node("Gemm", g.node("DequantizeLinear", coded, scale), last, transB=1), 0.05)
        content = with_opset(g.content(y), 21)
        images = (np.random.default_rng(0).integers(-128, 128, (32, 16)) / 32).astype(np.float32)
        agree(content, tmp_path, images, 0.05)
        network = import_integer(saved(content, tmp_path))
        assert network.layers[0].output.format.lo == low
        model = import_float(saved(content, tmp_path)).module
        clips = [m for m in model.modules() if isinstance(m, torch.nn.Hardtanh)]
        assert clips[0].min_val == pytest.approx(low * 0.1)


def with_opset(content: bytes, version: int) -> bytes:
    model = onnx.load_from_string(content)
    model.opset_import[0].version, model.ir_version = version, 10
    result: bytes = model.SerializeToString()
    return result


def test_features_that_a_quantizer_reads(tmp_path: Path) -> None:
    g = Graph(("N", 16))
    x = g.node("Relu", g.node("Gemm", quantized(g, "x", 0.05, 3), weights(g, (8, 16)), transB=1))
    content = g.content(quantized(g, g.node("Gemm", quantized(g, x, 0.1), weights(g, (3, 8)), transB=1), 0.1))
    agree(content, tmp_path, normal(32, 16), 0.1)
    given = import_float(saved(content, tmp_path)).input
    assert given is not None and (given.scale, given.zero_point) == (pytest.approx(0.05), 3)


@pytest.mark.parametrize("end", ["Softmax", "Sigmoid"])
def test_a_quantizer_behind_the_end_is_left_out_too(end: str, tmp_path: Path) -> None:
    g = Graph(("N", 16))
    x = quantized(g, g.node("Gemm", quantized(g, "x", 0.05), weights(g, (3, 16)), transB=1), 0.1)
    content = g.content(quantized(g, g.node(end, x), 1 / 256, -128))
    path = saved(content, tmp_path)
    features = normal(64, 16)
    found = computed(path, features[:, :, None, None])
    wanted = run(content, features)
    assert import_float(path).dropped[0] == f"{end} at the end"
    likely = torch.from_numpy(found).softmax(1) if end == "Softmax" else torch.from_numpy(found).sigmoid()
    assert np.abs(likely.numpy() - wanted).max() < 0.08  # half a step of 0.1 in a logit, and one of 1/256
    assert import_integer(path).output.scale == pytest.approx(0.1)


def test_normalization_that_follows_no_layer_is_one_per_channel(tmp_path: Path) -> None:
    g = Graph(("N", 3, 6, 6))
    x = quantized(g, g.node("Relu", g.node("Conv", quantized(g, "x", 0.05), weights(g, (4, 3, 3, 3)))), 0.05)
    values = [g.stored(normal(4, seed=seed)) for seed in range(3)] + [g.stored(np.abs(normal(4, seed=3)) + 0.5)]
    x = quantized(g, g.node("BatchNormalization", x, *values), 0.04, -3)
    x = quantized(g, g.node("Mul", x, g.stored([[[-0.5]], [[2.0]], [[1.0]], [[0.25]]])), 0.05)
    content = g.content(quantized(g, g.node("Conv", x, weights(g, (2, 4, 2, 2)), pads=[1] * 4), 0.1))
    network = import_integer(saved(content, tmp_path))
    assert [layer.planes[0].weights.shape for layer in network.weight_layers()][1:3] == [(4, 1, 1, 1)] * 2
    agree(content, tmp_path, normal(16, 3, 6, 6), 0.1)


def test_an_input_of_integers(tmp_path: Path) -> None:
    """Files that begin with DequantizeLinear, or with a layer on integers."""
    rng = np.random.default_rng(0)
    for kind, first in ((TensorProto.UINT8, "pair"), (TensorProto.INT8, "layer")):
        dtype = np.uint8 if kind == TensorProto.UINT8 else np.int8
        g = Graph(("N", 3, 6, 6), kind)
        scale, zero = g.stored(0.05), g.stored(7, dtype=dtype)
        out, middle = g.stored(0.2), g.stored(-2, dtype=np.int8)
        kernel = g.stored(rng.integers(-127, 128, (4, 3, 3, 3)), dtype=np.int8)
        steps = (g.stored([0.01, 0.02, 0.005, 0.01]), g.stored([0] * 4, dtype=np.int8))
        if first == "pair":
            real = g.node("DequantizeLinear", kernel, *steps, axis=0)
            y = g.node("Conv", g.node("DequantizeLinear", "x", scale, zero), real)
            y = g.node("DequantizeLinear", g.node("QuantizeLinear", y, out, middle), out, middle)
        else:
            bias = g.stored([100, -200, 300, 0], dtype=np.int32)
            coded = g.node("QLinearConv", "x", scale, zero, kernel, *steps, out, middle, bias)
            y = g.node("DequantizeLinear", coded, out, middle)
        content = g.content(y)
        limits = np.iinfo(dtype)
        images = rng.integers(limits.min, limits.max + 1, (16, 3, 6, 6), dtype=dtype)
        network = import_integer(saved(content, tmp_path))
        found = Executor(network, 1).run(images.astype(np.int64) - 7) * network.output.scale
        assert np.abs(found - run(content, images).reshape(16, -1)).max() < 0.21
        model = import_float(saved(content, tmp_path))
        assert model.input is not None and model.input.dtype == np.dtype(dtype).name
        with torch.no_grad():
            floats = model.module(torch.from_numpy((images.astype(np.float32) - 7) * 0.05))
        assert np.abs(floats.flatten(1).numpy() - run(content, images).reshape(16, -1)).max() < 0.11


def test_fewer_bits_between_the_halves_of_a_quantizer(tmp_path: Path) -> None:
    """Brevitas' QCDQ: a Clip of integers, on activations and on weights."""
    g = Graph(("N", 16))
    scale, zero = g.stored(0.05), g.stored(0, dtype=np.int8)
    limits = (g.stored(-8, dtype=np.int8), g.stored(7, dtype=np.int8))
    x = g.node("DequantizeLinear", g.node("Clip", g.node("QuantizeLinear", "x", scale, zero), *limits), scale, zero)
    step = g.stored(normal(3, seed=9) ** 2 + 0.01)
    zeros = g.stored([0, 0, 0], dtype=np.int8)
    coded = g.node("Clip", g.node("QuantizeLinear", g.stored(normal(3, 16)), step, zeros, axis=0), *limits)
    content = g.content(g.node("Gemm", x, g.node("DequantizeLinear", coded, step, zeros, axis=0), transB=1))
    network = import_integer(saved(content, tmp_path))
    assert (network.input.format.lo, network.input.format.hi) == (-8, 7)
    agree(content, tmp_path, normal(32, 16), network.output.scale)
    np.testing.assert_allclose(
        computed(saved(content, tmp_path), np.clip(normal(8, 16), -0.4, 0.35)[:, :, None, None]),
        run(content, np.clip(normal(8, 16), -0.4, 0.35)),
        atol=0.2,
    )


def in_blocks(g: Graph) -> str:
    return g.node("DequantizeLinear", g.stored(np.ones((4, 3, 3, 3)), dtype=np.int8), g.stored(0.1), block_size=2)


def refused(build: Build, shape: tuple[Any, ...] = ("N", 3, 9, 9)) -> bytes:
    g = Graph(shape)
    return g.content(build(g))


def misread(g: Graph, kind: str, *more: str) -> str:
    """A quantizer whose integers something else than its other half reads."""
    coded = g.node("QuantizeLinear", conv(g), g.stored(0.1), g.stored(0, dtype=np.int8))
    return g.node(kind, coded, *more)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (refused(lambda g: misread(g, "Relu")), "Relu.* reads the integers of a quantized tensor"),
        (refused(lambda g: misread(g, "Mul", g.stored(2))), "Mul.* reads the integers of a quantized tensor"),
        (refused(lambda g: misread(g, "GlobalAveragePool")), "GlobalAveragePool.* reads the integers"),
        (
            refused(lambda g: misread(g, "DequantizeLinear", g.stored(0.2), g.stored(0, dtype=np.int8))),
            "with another scale or zero-point than it was made with",
        ),
        (
            refused(lambda g: misread(g, "DequantizeLinear", g.stored(0.1), g.stored(1, dtype=np.int8))),
            "with another scale or zero-point than it was made with",
        ),
        (
            refused(lambda g: g.node("DequantizeLinear", conv(g), g.stored(0.1))),
            "reads real values as the integers",
        ),
        (
            refused(lambda g: g.node("QuantizeLinear", conv(g), g.stored(0.1), g.stored(0, dtype=np.float32))),
            "makes float32; only uint8, int8",
        ),
        (refused(lambda g: g.node("QuantizeLinear", conv(g), g.stored(0.1), output_dtype=17)), "makes type number 17"),
        (refused(lambda g: g.node("Min", conv(g), g.stored(-0.5))), r"clips to -inf … -0.5; only a range that holds 0"),
        (refused(lambda g: g.node("Quant", conv(g), domain="my.own")), "operator set 'my.own'"),
        (refused(lambda g: g.node("QLinearConv", conv(g), g.stored(0.1))), "lacks|reads real values as the integers"),
        (refused(lambda g: conv(g, group=3, shape=(4, 1, 3, 3))), "in 3 groups for 3 channels"),
        (refused(lambda g: conv(g, shape=(4, 3, 3)), ("N", 3, 9, 9)), "kernel of .3,. for a tensor of 4 axes"),
        (
            refused(lambda g: g.node("Concat", conv(g), conv(g), axis=1)),
            "operator Concat of 'concat_2' is not supported",
        ),
        (refused(lambda g: g.node("Softmax", conv(g), axis=2)), "has the axis 2; only the axis of the classes"),
        (refused(lambda g: g.node("Softmax", conv(g))), "only the axis of the classes"),
        (
            refused(lambda g: g.node("Softmax", g.node("Gemm", "x", g.stored(normal(8, 1))), axis=1), ("N", 8)),
            "over a single output, so that its result is always 1",
        ),
        (
            refused(lambda g: g.node("Dropout", conv(g), g.stored(0.5), g.stored(True, dtype=np.bool_))),
            "Dropout.* is in training mode",
        ),
        (refused(lambda g: g.node("Conv", "x", in_blocks(g))), "attribute block_size"),
        (
            refused(lambda g: g.node("BipolarQuant", conv(g), g.stored([1.0, 2.0, 3.0, 4.0]), domain=QONNX)),
            "scale for each channel",
        ),
    ],
)
def test_what_would_be_another_function_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match=says) as caught:
        import_float(saved(content, tmp_path))
    assert "\n" not in str(caught.value)


def test_a_function_of_the_file_is_inlined(tmp_path: Path) -> None:
    """Operators that a model defines itself, as some exporters write whole layers."""
    body = [helper.make_node("Conv", ["a", "w"], ["c"]), helper.make_node("Relu", ["c"], ["b"])]
    function = helper.make_function("mine", "Layer", ["a", "w"], ["b"], body, [helper.make_opsetid("", 18)])
    kernel = numpy_helper.from_array(normal(4, 3, 3, 3), "w")
    graph = helper.make_graph(
        [helper.make_node("Layer", ["x", "w"], ["y"], domain="mine")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 9, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [kernel],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    content = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=[function]).SerializeToString()
    images = normal(4, 3, 9, 9)
    np.testing.assert_allclose(computed(saved(content, tmp_path), images), run(content, images), atol=1e-4)


@settings(max_examples=60)
@given(
    size=st.integers(1, 12),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    before=st.integers(0, 2),
)
def test_padding_for_a_last_window_is_what_pytorch_pools(size: int, kernel: int, stride: int, before: int) -> None:
    before = min(before, kernel // 2)
    if size + 2 * before < kernel:
        return
    x = torch.randn(1, 1, size, size, generator=torch.Generator().manual_seed(size))
    wanted = functional.max_pool2d(x, kernel, stride, before, ceil_mode=True)
    top, left, bottom, right = ceil_padding((size, size), (kernel, kernel), (stride, stride), (before,) * 4)
    padded = functional.pad(x, (left, right, top, bottom), value=-float("inf"))
    assert torch.equal(functional.max_pool2d(padded, kernel, stride), wanted)


@settings(max_examples=40)
@given(
    groups=st.integers(1, 4),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_a_plain_kernel_computes_what_groups_and_gaps_do(
    groups: int, inputs: int, outputs: int, dilation: tuple[int, int]
) -> None:
    rng = np.random.default_rng(groups + 10 * inputs + 100 * outputs)
    kernel = rng.integers(-5, 6, (groups * outputs, inputs, 2, 3))
    x = torch.from_numpy(rng.integers(-9, 10, (2, groups * inputs, 9, 9))).double()
    wanted = functional.conv2d(x, torch.from_numpy(kernel).double(), groups=groups, dilation=dilation)
    depthwise = inputs == outputs == 1 and groups > 1
    plain = plain_kernel(kernel, groups, dilation, depthwise=depthwise)
    found = functional.conv2d(x, torch.from_numpy(plain).double(), groups=groups if depthwise else 1)
    assert torch.equal(found, wanted)


def test_a_result_in_another_order_is_refused(tmp_path: Path) -> None:
    g = Graph(("N", 3, 9, 9))
    x = g.node("Transpose", conv(g), perm=[0, 2, 3, 1])
    content = g.content(g.node("Flatten", x))
    with pytest.raises(IntarsiaError, match="flattens its result with the channels last"):
        import_float(saved(content, tmp_path))
