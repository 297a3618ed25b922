# SPDX-License-Identifier: Apache-2.0
"""ONNX and QONNX graphs written here, against onnxruntime and against plain arithmetic."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_files import QONNX, Graph, computed, normal, run, saved
from torch import nn
from torch.nn import functional

from intarsia.errors import IntarsiaError
from intarsia.integer.executor import Executor
from intarsia.networks import build
from intarsia.networks.importers import InputQuantization, import_float, import_integer


def normalization(g: Graph, x: str, channels: int) -> str:
    gamma, beta, mean = (g.stored(normal(channels, seed=i)) for i in range(3))
    return g.node("BatchNormalization", x, gamma, beta, mean, g.stored(np.abs(normal(channels, seed=3)) + 0.5))


def everything() -> bytes:
    """Every operator of a float graph, with padding on one side and sizes that the graph computes itself."""
    g = Graph()
    x = g.node("Conv", "x", g.stored(normal(4, 3, 3, 3), "stem.weight"), strides=[2, 2], auto_pad="SAME_UPPER")
    x = g.node("Relu", normalization(g, x, 4))
    shortcut = x
    pads = g.stored([0, 0, 1, 0, 0, 0, 0, 1], dtype=np.int64)
    x = g.node("Pad", x, pads)
    x = g.node("Conv", x, g.stored(normal(4, 1, 2, 2), "deep.weight"), g.stored(normal(4), "deep.bias"), group=4)
    x = g.node("Clip", x, g.stored(0), g.stored(6))
    x = g.node("Add", g.node("Dropout", x), shortcut)
    x = g.node("Mul", x, g.stored(normal(4, 1, 1)))
    x = g.node("Sub", g.node("Div", x, g.stored(0.5)), g.stored(normal(1, 4, 1, 1)))
    x = g.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
    x = g.node("AveragePool", x, kernel_shape=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    batch = g.node("Gather", g.node("Shape", x), g.stored(0, dtype=np.int64))
    sizes = g.node(
        "Concat", g.node("Unsqueeze", batch, g.stored([0], dtype=np.int64)), g.stored([-1], dtype=np.int64), axis=0
    )
    x = g.node("Reshape", x, sizes)
    x = g.node("Gemm", x, g.stored(normal(6, 36), "hidden.weight"), g.stored(normal(6), "hidden.bias"), transB=1)
    x = g.node("Relu", x)
    x = g.node("MatMul", x, g.stored(normal(6, 5)), name="last")
    return g.content(g.node("Softmax", g.node("Add", x, g.stored(normal(5)))))


@pytest.mark.parametrize("fold", [False, True])
def test_a_float_graph_computes_what_onnxruntime_does(fold: bool, tmp_path: Path) -> None:
    content = everything()
    images = normal(8, 3, 9, 9) * 4
    path = saved(content, tmp_path)
    logits = torch.from_numpy(computed(path, images, fold=fold))
    np.testing.assert_allclose(logits.softmax(1).numpy(), run(content, images), atol=1e-5)
    model = import_float(path, fold=fold)
    names = dict(model.module.named_modules())
    assert {"stem", "deep", "hidden", "last"} <= names.keys()
    assert isinstance(names["deep"], nn.Conv2d) and names["deep"].groups == 4
    assert isinstance(names["last"], nn.Linear) and names["last"].bias is not None
    assert any(isinstance(m, nn.BatchNorm2d) for m in names.values())  # those that follow the addition stay
    assert model.dropped == ("Softmax at the end",)


def test_a_graph_from_tensorflow_keeps_its_layout_outside(tmp_path: Path) -> None:
    g = Graph(("N", 5, 4, 3))
    x = g.node("Transpose", "x", perm=[0, 3, 1, 2])
    x = g.node("Relu", g.node("Conv", x, g.stored(normal(2, 3, 2, 2)), g.stored(normal(2))))
    x = g.node("Transpose", x, perm=[0, 2, 3, 1])
    x = g.node("Reshape", x, g.stored([-1, 24], dtype=np.int64))
    content = g.content(g.node("MatMul", g.node("Relu", x), g.stored(normal(24, 3))))
    images = normal(4, 5, 4, 3)
    path = saved(content, tmp_path)
    assert import_float(path).shape == (3, 5, 4)
    assert "transpose" in import_float(path).dropped[0]
    found = computed(path, np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(found, run(content, images), atol=1e-5)


@pytest.mark.parametrize("kept", [0, 1])
def test_means_and_feature_inputs(kept: int, tmp_path: Path) -> None:
    g = Graph(("N", 2, 4, 4))
    x = g.node("Conv", "x", g.stored(normal(3, 2, 1, 1)))
    x = g.node("ReduceMean", x, g.stored([-1, 2], dtype=np.int64), keepdims=kept)
    x = g.node("Flatten", x) if kept else x
    content = g.content(g.node("Gemm", x, g.stored(normal(3, 2))))
    images = normal(4, 2, 4, 4)
    np.testing.assert_allclose(computed(saved(content, tmp_path), images), run(content, images), atol=1e-5)
    g = Graph(("N", 12))
    x = g.node("Relu", g.node("MatMul", "x", g.stored(normal(12, 3))))
    content = g.content(g.node("Gemm", normalization(g, x, 3), g.stored(normal(3, 2))))
    path, features = saved(content, tmp_path), normal(4, 12)
    assert import_float(path).shape == (12, 1, 1)
    np.testing.assert_allclose(computed(path, features[:, :, None, None]), run(content, features), atol=1e-5)


@pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript-based:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The feature will be removed:DeprecationWarning")
def test_a_network_from_pytorch_comes_back_with_its_names(tmp_path: Path) -> None:
    model = build("digits").eval()
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "digits.onnx"
    torch.onnx.export(model, (x,), path, dynamo=False, dynamic_axes={"input": {0: "batch"}}, input_names=["input"])
    found = import_float(path)
    with torch.no_grad():
        torch.testing.assert_close(found.module(x), model(x))
    assert {"stem", "block1_depthwise", "block3_pointwise", "fc"} <= dict(found.module.named_modules()).keys()


def rounded(x: torch.Tensor, scale: float, lo: int, hi: int, *, quantize: bool = True) -> torch.Tensor:
    if not quantize:  # its clip is part of the function all the same
        return torch.clamp(x, lo * scale, hi * scale)
    return torch.clamp(torch.round(x / scale), lo, hi) * scale


def half_up(x: torch.Tensor, scale: float, lo: int, hi: int) -> torch.Tensor:
    return torch.clamp(torch.floor(x / scale + 0.5), lo, hi) * scale


class Brevitas(nn.Module):
    """What the graph below computes: 4-bit and per-channel 8-bit weights, 4- and 8-bit activations, normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.tensor(normal(4, 2, 3, 3)), torch.tensor(normal(4, 1, 3, 3))
        self.third, self.bias = torch.tensor(normal(5, 36)), torch.tensor(normal(4))
        self.scales = torch.tensor(np.abs(normal(4, 1, 1, 1)) * 0.01 + 0.004)
        self.norm = nn.BatchNorm2d(4).double().eval()
        for i, target in enumerate((self.norm.weight, self.norm.bias, self.norm.running_mean)):
            assert target is not None
            target.data.copy_(torch.tensor(normal(4, seed=i)))
        assert self.norm.running_var is not None
        self.norm.running_var.data.copy_(torch.tensor(np.abs(normal(4, seed=3)) + 0.5))

    def forward(self, x: torch.Tensor, *, quantize: bool = True) -> torch.Tensor:
        x = rounded(x.double(), 0.03, -128, 127, quantize=quantize)
        x = functional.conv2d(x, rounded(self.first, 0.125, -7, 7).double(), padding=1)
        x = rounded(self.norm(x).relu(), 0.2, 0, 15, quantize=quantize)
        weights = (torch.clamp(torch.round(self.second / self.scales), -127, 127) * self.scales).double()
        x = functional.conv2d(x, weights, self.bias.double(), groups=4).relu()
        x = functional.max_pool2d(rounded(x, 0.02, 0, 255, quantize=quantize), 2).flatten(1)
        return x @ rounded(self.third, 0.01, -127, 127).double().T

    def graph(self) -> bytes:
        g = Graph(("N", 2, 8, 8))
        x = g.quant("x", 0.03, 8)
        x = g.node("Conv", x, g.quant(g.stored(self.first, "a.weight"), 0.125, 4, narrow=1), pads=[1, 1, 1, 1])
        x = g.node("Relu", normalization(g, x, 4))
        x = g.quant(x, 0.2, 4, signed=0)
        weights = g.quant(g.stored(self.second, "b.weight"), self.scales, 8, narrow=1)
        x = g.node("Relu", g.node("Conv", x, weights, g.stored(self.bias, "b.bias"), group=4))
        x = g.node("MaxPool", g.quant(x, 0.02, 8, signed=0), kernel_shape=[2, 2], strides=[2, 2])
        x = g.node("Reshape", x, g.stored([-1, 36], dtype=np.int64))
        return g.content(g.node("Gemm", x, g.quant(g.stored(self.third, "c.weight"), 0.01, 8, narrow=1), transB=1))


def test_a_qonnx_graph_becomes_the_integers_that_it_stands_for(tmp_path: Path) -> None:
    model = Brevitas()
    path = saved(model.graph(), tmp_path)
    network = import_integer(path)
    images = np.random.default_rng(0).integers(-128, 128, (64, 2, 8, 8))
    with torch.no_grad():
        wanted = model(torch.from_numpy(images) * 0.03).numpy()
    found = Executor(network, 1).run(images) * network.output.scale
    step = 0.01 * 0.02 * 60  # of one unit in a pooled activation, roughly the weights' reach
    assert np.abs(found - wanted).max() < 4 * step
    assert (np.abs(found - wanted) < 4 * network.output.scale).mean() > 0.8
    layers = {layer.output.name: layer for layer in network.layers}
    assert [str(layer.output.format) for layer in network.layers] == ["uint4", "uint8", "uint8", "int16"]
    assert {"a", "b", "c"} < layers.keys()
    formats = [layer.planes[0].format.name for layer in network.weight_layers()]
    assert formats == ["int4", "int8", "int8"]
    assert np.array_equal(network.layers[1].planes[0].weights.shape, (4, 1, 3, 3))  # type: ignore[union-attr]


def test_a_qonnx_graph_as_floats_takes_the_quantized_weights(tmp_path: Path) -> None:
    model = Brevitas()
    found = import_float(saved(model.graph(), tmp_path))
    assert found.input == InputQuantization(pytest.approx(0.03), 0, "int8")
    assert found.dropped == (
        "the clipping of the input to -3.84 … 3.81",
        "the rounding of 3 activation quantizers (not their clipping)",
    )
    weight = found.module.get_submodule("a").weight
    assert isinstance(weight, nn.Parameter) and weight.requires_grad
    assert torch.equal(weight.detach(), rounded(model.first, 0.125, -7, 7))
    images = torch.from_numpy(normal(16, 2, 8, 8)).clamp(-3.84, 3.81)
    with torch.no_grad():
        torch.testing.assert_close(found.module(images), model(images, quantize=False).float(), atol=1e-4, rtol=1e-4)


def test_a_graph_as_qkeras_exports_it(tmp_path: Path) -> None:
    """Power-of-two scales, biases quantized too, binary weights, channels last outside, additions of one scale."""
    rng = np.random.default_rng(0)
    g = Graph(("N", 4, 4, 2))
    x = g.node("Transpose", g.quant("x", 2.0**-4, 6), perm=[0, 3, 1, 2])
    kernel, signs = normal(2, 2, 1, 1), normal(2, 32)
    weights = g.node("BipolarQuant", g.stored(kernel), g.stored(0.5), domain=QONNX)
    bias = g.quant(g.stored([0.3, -0.7]), 2.0**-4, 16)
    y = g.quant(g.node("Conv", x, weights, bias), 2.0**-4, 8)
    total = g.node("Relu", g.node("Add", x, y))
    flat = g.node("Reshape", g.node("Transpose", total, perm=[0, 2, 3, 1]), g.stored([-1, 32], dtype=np.int64))
    ternary = g.node("Transpose", g.quant(g.stored(signs), 0.25, 2, narrow=1), perm=[1, 0])
    content = g.content(g.quant(g.node("MatMul", flat, ternary), 0.125, 8))
    network = import_integer(saved(content, tmp_path))
    integers = rng.integers(-32, 32, (16, 2, 4, 4))
    real = torch.from_numpy(integers).double() / 16
    conv = torch.where(torch.tensor(kernel) >= 0, 0.5, -0.5).double()
    y_real = half_up(functional.conv2d(real, conv, torch.tensor([0.3125, -0.6875]).double()), 1 / 16, -128, 127)
    flat_real = (real + y_real).relu().permute(0, 2, 3, 1).flatten(1)
    wanted = half_up(flat_real @ rounded(torch.tensor(signs), 0.25, -1, 1).double().T, 0.125, -128, 127)
    # Ties go up here and to the even neighbour in QONNX; with powers of two they are many, but all else is exact.
    assert np.array_equal(Executor(network, 1).run(integers) * network.output.scale, wanted.numpy())
    assert [layer.planes[0].format.name for layer in network.weight_layers()] == ["ternary", "ternary"]


def powers_of_two(pooled: bool) -> tuple[bytes, torch.Tensor, torch.Tensor]:
    """A graph that rounds after a maximum or after a flatten, and averages without rounding; and its weights."""
    kernel, last = normal(3, 2, 3, 3), normal(2, 3 if pooled else 48)
    g = Graph(("N", 2, 4, 4))
    x = g.quant("x", 0.25, 8)
    x = g.node("Conv", x, g.quant(g.stored(kernel, "conv.weight"), 0.125, 4, narrow=1), pads=[1, 1, 1, 1])
    if pooled:
        x = g.node("Relu", g.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
        x = g.node("Flatten", g.node("GlobalAveragePool", g.quant(x, 0.5, 4, signed=0)))
    else:
        x = g.quant(g.node("Flatten", g.node("Relu", x)), 0.5, 4, signed=0)
    x = g.node("Gemm", x, g.quant(g.stored(last, "fc.weight"), 0.25, 3, narrow=1), transB=1)
    return g.content(g.quant(x, 0.25, 8)), torch.tensor(kernel), torch.tensor(last)


@pytest.mark.parametrize("pooled", [False, True])
def test_rounding_moves_before_a_maximum_and_a_flatten(pooled: bool, tmp_path: Path) -> None:
    content, kernel, last = powers_of_two(pooled)
    network = import_integer(saved(content, tmp_path))
    integers = np.random.default_rng(0).integers(-128, 128, (64, 2, 4, 4))
    x = torch.from_numpy(integers).double() / 4
    x = functional.conv2d(x, rounded(kernel, 0.125, -7, 7).double(), padding=1).relu()
    x = half_up(functional.max_pool2d(x, 2) if pooled else x, 0.5, 0, 15)
    x = x.mean((2, 3)) if pooled else x.flatten(1)
    wanted = half_up(x @ rounded(last, 0.25, -3, 3).double().T, 0.25, -128, 127).numpy()
    assert np.array_equal(Executor(network, 1).run(integers) * network.output.scale, wanted)
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == (["Conv2d", "MaxPool", "AveragePool", "Linear"] if pooled else ["Conv2d", "Linear"])


def test_multipliers_have_the_bits_that_are_asked_for(tmp_path: Path) -> None:
    path = saved(Brevitas().graph(), tmp_path)
    for bits in (4, 8):
        network = import_integer(path, scale_bits=bits)
        assert network.scale_bits == bits
        for layer in network.weight_layers():
            assert layer.requantization.multiplier.max() < 1 << bits
    with pytest.raises(IntarsiaError, match="1 to 16 bits, not 17"):
        import_integer(path, scale_bits=17)


def quantize_pairs() -> bytes:
    """Quantize and dequantize pairs with zero-points, as onnxruntime's own quantizer writes them."""
    g = Graph(("N", 2, 6, 6))

    def pair(x: str, scale: float, zero: int, dtype: Any) -> str:
        constants = (g.stored(scale), g.stored(zero, dtype=dtype))
        return g.node("DequantizeLinear", g.node("QuantizeLinear", x, *constants), *constants)

    rng = np.random.default_rng(0)
    weights = g.stored(rng.integers(-127, 128, (4, 2, 3, 3)), "conv.weight", np.int8)
    scales = (g.stored(rng.uniform(0.002, 0.01, 4)), g.stored(np.zeros(4), dtype=np.int8))
    kernel = g.node("DequantizeLinear", weights, *scales, axis=0)
    x = g.node("Conv", pair("x", 0.05, 10, np.int8), kernel, g.stored(normal(4)), pads=[1, 1, 1, 1])
    x = pair(g.node("Relu", x), 0.03, 0, np.uint8)
    x = g.node("Flatten", pair(g.node("GlobalAveragePool", x), 0.02, 0, np.uint8))
    last = g.node("DequantizeLinear", g.stored(rng.integers(-127, 128, (4, 3)), dtype=np.int8), g.stored(0.01))
    return g.content(pair(g.node("MatMul", x, last), 0.03, -7, np.int8))


def test_quantize_and_dequantize_pairs(tmp_path: Path) -> None:
    content = quantize_pairs()
    integers = np.random.default_rng(1).integers(-128, 128, (32, 2, 6, 6)).astype(np.int16) - 10
    network = import_integer(saved(content, tmp_path))
    wanted = run(content, (integers * np.float32(0.05)).astype(np.float32))
    found = Executor(network, 1).run(integers) * network.output.scale
    assert np.abs(found - wanted).max() < 2.5 * 0.03
    assert (np.abs(found - wanted) < 0.015).mean() > 0.9


def one(kind: str, *more: str, shape: Sequence[Any] = ("N", 3, 9, 9), domain: str = "", **attributes: Any) -> bytes:
    g = Graph(shape)
    x = g.node("Conv", "x", g.stored(normal(4, 3, 3, 3)))
    return g.content(g.node(kind, x, *more, domain=domain, **attributes))


def conv(shape: tuple[int, ...] = (4, 3, 3, 3), x: Sequence[Any] = ("N", 3, 9, 9), **attributes: Any) -> bytes:
    g = Graph(x)
    return g.content(g.node("Conv", "x", g.stored(normal(*shape)), **attributes))


def activation(scale: Any = 0.1, bits: float = 8, **options: Any) -> bytes:
    g = Graph()
    x = g.node("Conv", "x", g.stored(normal(4, 3, 3, 3)))
    return g.content(g.quant(x, scale, bits, **options))  # type: ignore[arg-type]


def channels_last() -> bytes:
    g = Graph()
    x = g.node("Transpose", g.node("Conv", "x", g.stored(normal(3, 3, 3, 3))), perm=[0, 2, 3, 1])
    return g.content(g.node("Conv", x, g.stored(normal(3, 7, 1, 1))))


def bipolar() -> bytes:
    g = Graph()
    x = g.node("Conv", "x", g.stored(normal(4, 3, 3, 3)))
    return g.content(g.node("BipolarQuant", x, g.stored(1.0), domain=QONNX))


def several(outputs: int) -> bytes:
    g = Graph()
    names = [g.node("Conv", "x", g.stored(normal(4, 3, 3, 3))) for _ in range(outputs)]
    if not outputs:
        g.inputs.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, [1, 3, 9, 9]))
        names = [g.node("Conv", "x", g.stored(normal(4, 3, 3, 3)))]
    return g.content(*names)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (one("LeakyRelu"), "operator LeakyRelu of 'leakyrelu_1' is not supported"),
        (one("Loop"), "operator Loop"),
        (one("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), "ceil_mode"),
        (one("MaxPool", kernel_shape=[2]), r"kernel \(2,\) for a tensor of 4 axes"),
        (one("AveragePool", kernel_shape=[2, 2], pads=[1, 1, 1, 1]), "count_include_pad"),
        (one("Clip", min=1.0, max=2.0), "clips to 1 … 2; only a range that holds 0"),
        (one("Relu", domain="my.own"), "operator set 'my.own'"),
        (one("Transpose", perm=[0, 2, 1, 3]), r"permutes an activation by \(0, 2, 1, 3\)"),
        (one("Conv", "x"), "takes its weights from another operator"),
        (one("Add", "x"), "adds tensors of shapes"),
        (one("Flatten", axis=2), "flattens from axis 2"),
        (one("ReduceMean"), r"has the axes \(0, 1, 2, 3\)"),
        (one("Softmax", axis=0), "has the axis 0"),
        (conv(kernel_shape=[5, 5]), "kernel_shape that its weights"),
        (one("Softmax", shape=("N", 3, "H", "W")), "input of 'x' has a dynamic shape"),
        (conv(group=2), "in 2 groups for 3 channels"),
        (conv(dilations=[0, 2]), r"a dilation of \(0, 2\)"),
        (conv((4, 5, 3, 3)), "weights of shape"),
        (conv((4, 3, 3)), r"kernel of \(3,\) for a tensor of 4 axes"),
        (conv((4, 3, 3, 3, 3)), "only 1-D and 2-D convolutions"),
        (conv(strides=[1, 1, 1]), "attribute strides"),
        (conv(strides=2), "attribute strides of another type"),
        (conv(x=("N", 3, 2, 2)), "does not fit into"),
        (conv(x=("N", 3, 9)), r"kernel of \(3, 3\) for a tensor of 3 axes"),
        (conv(x=("N", 3, 9, 9, 9)), "has 5 axes"),
        (activation(rounding_mode="FLOOR"), "Quant.*rounding mode 'FLOOR'"),
        (activation(scale=[0.1, 0.2, 0.3, 0.4]), "for each channel of an activation"),
        (activation(scale=0.0), "has the scale 0.0"),
        (activation(bits=2.5), "bit width of"),
        (channels_last(), "reads a tensor in another order"),
        (one("QuantizeLinear", "constant_0"), "QuantizeLinear.* scale or zero-point for each channel"),
        (bipolar(), "leaves only the signs of its input.*import_integer"),
        (one("BipolarQuant", "constant_0", domain=QONNX), "scale for each channel"),
        (several(2), "has 2 outputs"),
        (several(0), "has 2 inputs"),
        (Graph(kind=TensorProto.FLOAT16).content("x"), "elements of FLOAT16"),
        (Graph().content("x"), "no convolution"),
        (b"", "has 0 inputs"),
        (b"no model at all", "damaged"),
    ],
)
def test_what_cannot_be_imported_is_named_in_one_sentence(content: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match=says) as caught:
        import_float(saved(content, tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (conv(), "its input is not quantized"),
        (quantize_pairs().replace(b"DequantizeLinear", b"DequantizeLinexr"), "DequantizeLinexr"),
    ],
)
def test_what_is_not_quantized_is_no_integer_network(content: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match=says):
        import_integer(saved(content, tmp_path))


def test_unquantized_tensors_and_weights_are_named(tmp_path: Path) -> None:
    g = Graph()
    weights = g.quant(g.stored(normal(3, 3, 1, 1), "w.weight"), 0.1, 4)
    x = g.node("Conv", g.quant("x", 0.1, 8), weights)
    content = g.content(g.node("Conv", g.node("Relu", x), g.quant(g.stored(normal(3, 3, 1, 1), "v.weight"), 0.1, 4)))
    with pytest.raises(IntarsiaError, match=r"tensor 'relu.*' is not quantized, but layer 'v' reads it"):
        import_integer(saved(content, tmp_path))
    g = Graph()
    content = g.content(g.node("Conv", g.quant("x", 0.1, 8), g.stored(normal(3, 3, 1, 1), "w.weight")))
    with pytest.raises(IntarsiaError, match="weights of layer 'w' are not quantized"):
        import_integer(saved(content, tmp_path))


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    model = onnx.load_from_string(conv())
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    assert import_float(tmp_path / "m.onnx").shape == (3, 9, 9)
    (tmp_path / "m.data").unlink()
    with pytest.raises(IntarsiaError, match=r"m\.onnx is damaged or incomplete"):
        import_float(tmp_path / "m.onnx")


_FILES = [everything(), Brevitas().graph(), quantize_pairs()]


@settings(max_examples=300)
@given(
    which=st.integers(0, len(_FILES) - 1),
    keep=st.floats(0, 1),
    cut=st.booleans(),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damaged_files_never_raise_anything_else(
    which: int, keep: float, cut: bool, changes: list[tuple[float, int]]
) -> None:
    content = bytearray(_FILES[which])
    if cut:
        content = content[: int(keep * len(content))]
    else:
        for place, value in changes:
            content[int(place * len(content))] = value
    with tempfile.TemporaryDirectory() as folder:
        path = saved(bytes(content), Path(folder))
        for read in (import_float, import_integer):
            try:
                read(path)
            except IntarsiaError as error:
                assert "\n" not in str(error)
