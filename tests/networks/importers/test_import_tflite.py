# SPDX-License-Identifier: Apache-2.0
"""TFLite files written here, against the TFLite interpreter."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tflite_files import File, interpret
from torch import nn

from intarsia.errors import IntarsiaError
from intarsia.integer import AveragePool, Conv2d, Linear
from intarsia.integer.executor import Executor
from intarsia.networks.importers import InputQuantization, import_float, import_integer
from intarsia.quantize import PRESETS, attach
from intarsia.quantize.calibrate import float_tensors

NONE, RELU, RELU6 = 0, 1, 3
SAME, VALID = 0, 1

pytest.importorskip("ai_edge_litert", reason="needs the TFLite interpreter (ai-edge-litert)")


def saved(content: bytes, folder: Path, name: str = "model.tflite") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def conv_options(padding: int = SAME, stride: int = 1, activation: int = NONE) -> dict[str, int]:
    window = {"Padding": padding, "StrideH": stride, "StrideW": stride}
    return window | {"FusedActivationFunction": activation, "DilationHFactor": 1, "DilationWFactor": 1}


def output_size(size: int, kernel: int, stride: int, padding: int) -> int:
    return -(-size // stride) if padding == SAME else (size - kernel) // stride + 1


def everything(seed: int, size: int = 9, *, half: bool = False) -> bytes:
    """A float network with every operator that an import knows, padding on one side only, and a shortcut.

    With `half`, the weights of its first layer are stored as float16 and those of its last as int8, unpacked at run
    time.
    """
    rng = np.random.default_rng(seed)
    f = File()

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.normal(0, 0.5, shape).astype(np.float32)

    def tensor(name: str, *shape: int) -> int:
        return f.tensor(name, (1, *shape), signature=(-1, *shape))

    source = tensor("serving_default_x:0", size, size, 3)
    first = normal(4, 3, 3, 3)
    if half:
        stored = f.constant("model/conv2d/packed", first.astype(np.float16))
        weights = f.operator("DEQUANTIZE", [stored], f.tensor("model/conv2d/Conv2D", first.shape))
    else:
        weights = f.constant("model/conv2d/Conv2D", first)
    bias = f.constant("model/conv2d/BiasAdd/ReadVariableOp", normal(4))
    small = output_size(size, 3, 2, SAME)
    x = tensor("model/relu/Relu6;model/conv2d/BiasAdd;model/conv2d/Conv2D1", small, small, 4)
    f.operator("CONV_2D", [source, weights, bias], x, **conv_options(SAME, 2, RELU6))
    padded = tensor("model/zero_padding2d/Pad", small + 1, small + 1, 4)
    sizes = f.constant("paddings", np.array([[0, 0], [1, 0], [0, 1], [0, 0]], np.int32))
    f.operator("PAD", [x, sizes], padded)
    taps = f.constant("model/depthwise_conv2d/depthwise", normal(1, 2, 2, 4))
    deep = tensor("model/depthwise_conv2d/depthwise1", small, small, 4)
    f.operator("DEPTHWISE_CONV_2D", [padded, taps, bias], deep, **conv_options(VALID), DepthMultiplier=1)
    total = f.operator("ADD", [deep, x], tensor("model/add/add", small, small, 4), FusedActivationFunction=RELU)
    scaled = tensor("model/batch_normalization/mul", small, small, 4)
    f.operator("MUL", [total, f.constant("gamma", normal(4))], scaled, FusedActivationFunction=NONE)
    shifted = tensor("model/batch_normalization/add", small, small, 4)
    f.operator("ADD", [scaled, f.constant("beta", normal(4))], shifted, FusedActivationFunction=NONE)
    half_size = output_size(small, 3, 2, SAME)
    window = {"StrideH": 2, "StrideW": 2, "FilterHeight": 3, "FilterWidth": 3, "FusedActivationFunction": NONE}
    largest = tensor("model/max_pooling2d/MaxPool", half_size, half_size, 4)
    f.operator(
        "MAX_POOL_2D",
        [
            shifted,
        ],
        largest,
        Padding=SAME,
        **window,
    )
    window |= {"StrideH": 1, "StrideW": 1, "FilterHeight": 2, "FilterWidth": 2}
    averaged = tensor("model/average_pooling2d/AvgPool", half_size - 1, half_size - 1, 4)
    f.operator("AVERAGE_POOL_2D", [largest], averaged, Padding=VALID, **window)
    features = (half_size - 1) ** 2 * 4
    flat = tensor("model/flatten/Reshape", features)
    f.operator("RESHAPE", [averaged, f.constant("shape", np.array([-1, features], np.int32))], flat)
    hidden = tensor("model/dense/Relu;model/dense/BiasAdd", 6)
    dense = [flat, f.constant("model/dense/MatMul", normal(6, features)), -1]
    f.operator("FULLY_CONNECTED", dense, hidden, FusedActivationFunction=RELU)
    if half:
        packed = rng.integers(-127, 128, (5, 6), np.int8)
        stored = f.constant("packed", packed, scales=[0.01])
        last = f.operator("DEQUANTIZE", [stored], f.tensor("model/dense_1/MatMul", packed.shape))
    else:
        last = f.constant("model/dense_1/MatMul", normal(5, 6))
    logits = tensor("model/dense_1/BiasAdd", 5)
    f.operator("FULLY_CONNECTED", [hidden, last, f.constant("b", normal(5))], logits)
    result = f.operator("SOFTMAX", [logits], tensor("StatefulPartitionedCall:0", 5), Beta=1.0)
    return f.content(source, result)


def channels_first(images: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


@pytest.mark.parametrize(("size", "half"), [(9, False), (12, False), (11, True)])
def test_a_float_network_computes_what_the_interpreter_does(size: int, half: bool, tmp_path: Path) -> None:
    content = everything(size, size, half=half)
    images = np.random.default_rng(1).normal(0, 2, (8, size, size, 3)).astype(np.float32)
    wanted = interpret(content, images)
    model = import_float(saved(content, tmp_path))
    with torch.no_grad():
        found = model.module(channels_first(images))
    np.testing.assert_allclose(found.softmax(1).numpy(), wanted, atol=1e-5)
    assert (model.name, model.shape, model.input) == ("model", (3, size, size), None)
    assert model.dropped == ("Softmax at the end",)
    assert not model.module.training
    assert all(parameter.requires_grad for parameter in model.module.parameters())
    names = dict(model.module.named_modules())
    assert isinstance(names["conv2d"], nn.Conv2d)
    assert isinstance(names["depthwise_conv2d"], nn.Conv2d)
    assert isinstance(names["dense"], nn.Linear)
    assert isinstance(names["conv2d_relu"], nn.ReLU6)


def test_a_folded_import_has_no_normalization_where_a_layer_takes_it(tmp_path: Path) -> None:
    f = File()
    rng = np.random.default_rng(0)
    source = f.tensor("x", (1, 4, 4, 2))
    weights = f.constant("a/conv/Conv2D", rng.normal(size=(3, 1, 1, 2)).astype(np.float32))
    bias = f.constant("zeros", np.zeros(3, np.float32))
    x = f.operator("CONV_2D", [source, weights, bias], f.tensor("a/conv/Conv2D1", (1, 4, 4, 3)), **conv_options())
    gamma = f.constant("g", rng.normal(size=3).astype(np.float32))
    x = f.operator("MUL", [x, gamma], f.tensor("a/bn/mul", (1, 4, 4, 3)), FusedActivationFunction=NONE)
    beta = f.constant("b", rng.normal(size=(1, 1, 1, 3)).astype(np.float32))
    x = f.operator("ADD", [beta, x], f.tensor("a/bn/add", (1, 4, 4, 3)), FusedActivationFunction=RELU)
    content = f.content(source, x)
    path = saved(content, tmp_path)
    images = rng.integers(-128, 128, size=(3, 4, 4, 2)).astype(np.float32) / 64
    wanted = interpret(content, images).transpose(0, 3, 1, 2)
    for fold in (False, True):
        model = import_float(path, fold=fold)
        with torch.no_grad():
            np.testing.assert_allclose(model.module(channels_first(images)).numpy(), wanted, atol=1e-5)
        assert any(isinstance(m, nn.BatchNorm2d) for m in model.module.modules()) is not fold
    steps = attach(import_float(path).module, PRESETS["int8"], (2, 4, 4), 1 / 64)
    with torch.no_grad():
        tensors = float_tensors(steps, channels_first(images))
    np.testing.assert_allclose(tensors[steps.steps[-1].name].numpy(), wanted, atol=1e-5)


def integer_layer(
    rng: np.random.Generator,
    kind: str,
    *,
    size: int = 6,
    channels: int = 3,
    kernel: int = 3,
    stride: int = 1,
    padding: int = SAME,
    activation: int = NONE,
    zeros: tuple[int, int] = (-5, 7),
) -> bytes:
    """One quantized operator between a quantized input and output, its scales such that most results fit."""
    f = File()
    in_scale, in_zero, out_zero = float(rng.uniform(0.01, 0.1)), *zeros

    def quantized(name: str, shape: tuple[int, ...], scale: float, zero: int) -> int:
        return f.tensor(name, shape, "int8", scales=[scale], zeros=[zero])

    source = quantized("x", (1, size, size, channels), in_scale, in_zero)
    after = output_size(size, kernel, stride, padding)
    if kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        window = {"Padding": padding, "StrideH": stride, "StrideW": stride, "FilterHeight": kernel}
        window |= {"FilterWidth": kernel, "FusedActivationFunction": activation}
        result = quantized("y", (1, after, after, channels), in_scale, in_zero)
        return f.content(source, f.operator(kind, [source], result, **window))
    outputs = channels if kind == "DEPTHWISE_CONV_2D" else 5
    shapes = {
        "CONV_2D": (outputs, kernel, kernel, channels),
        "DEPTHWISE_CONV_2D": (1, kernel, kernel, channels),
        "FULLY_CONNECTED": (outputs, size * size * channels),
    }
    weights = rng.integers(-127, 128, shapes[kind], np.int8)
    axis = 3 if kind == "DEPTHWISE_CONV_2D" else 0
    count = 1 if kind == "FULLY_CONNECTED" else outputs
    scales = rng.uniform(0.002, 0.02, count).astype(np.float32)
    fan = weights.size // outputs
    out_scale = float(in_scale * scales.max() * 80 * 80 * np.sqrt(fan) / 100)
    stored = f.constant("m/layer/Conv2D", weights, scales.tolist(), axis, [0] * count)
    bias_scales = (scales * np.float32(in_scale)).astype(np.float32)
    bias = f.constant("b", rng.integers(-3000, 3000, outputs, np.int32), bias_scales.tolist(), 0, [0] * count)
    inputs = [source, stored, bias]
    if kind == "FULLY_CONNECTED":
        result = quantized("m/layer/BiasAdd", (1, outputs), out_scale, out_zero)
        return f.content(source, f.operator(kind, inputs, result, FusedActivationFunction=activation))
    result = quantized("m/layer/BiasAdd", (1, after, after, outputs), out_scale, out_zero)
    extra = {"DepthMultiplier": 1} if kind == "DEPTHWISE_CONV_2D" else {}
    return f.content(source, f.operator(kind, inputs, result, **conv_options(padding, stride, activation), **extra))


def compare(content: bytes, images: NDArray[np.int8], zeros: tuple[int, int]) -> None:
    """Check that no value differs from the interpreter's by more than 1, and that hardly any differs."""
    wanted = interpret(content, images).astype(int)
    with tempfile.TemporaryDirectory() as folder:
        network = import_integer(saved(content, Path(folder)))
    found = Executor(network, 1).run(images.transpose(0, 3, 1, 2).astype(np.int16) - zeros[0])
    found = (found.astype(int) + zeros[1]).reshape(len(images), *network.output.shape)
    found = found.transpose(0, 2, 3, 1) if wanted.ndim == 4 else found[:, :, 0, 0]
    assert np.abs(found - wanted).max() <= 1
    assert (found != wanted).sum() <= 3 + 0.02 * wanted.size


@settings(max_examples=40)
@given(
    kind=st.sampled_from(["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]),
    seed=st.integers(0, 2**32 - 1),
    window=st.fixed_dictionaries(
        {
            "size": st.integers(3, 8),
            "kernel": st.integers(1, 3),
            "stride": st.integers(1, 2),
            "padding": st.sampled_from([SAME, VALID]),
            "activation": st.sampled_from([NONE, RELU, RELU6]),
        }
    ),
    zeros=st.tuples(st.integers(-128, 127), st.integers(-128, 127)),
)
def test_a_quantized_layer_gives_the_interpreters_integers(
    kind: str, seed: int, window: dict[str, int], zeros: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    content = integer_layer(rng, kind, zeros=zeros, **window)
    images = rng.integers(-128, 128, (6, window["size"], window["size"], 3), np.int8)
    compare(content, images, zeros)


def quantized_network(seed: int) -> tuple[bytes, int]:
    """A shortcut, pools and a fully connected layer between float ends; and the zero-point of its input."""
    rng = np.random.default_rng(seed)
    f = File()

    def made(name: str, scale: float, zero: int, *shape: int) -> int:
        return f.tensor(name, (1, *shape), "int8", scales=[scale], zeros=[zero])

    def layer(name: str, *shape: int) -> list[int]:
        weights = f.constant(f"net/{name}/Conv2D", rng.integers(-127, 128, shape, np.int8), [0.004], 0, [0])
        return [weights, f.constant(f"{name}/b", rng.integers(-500, 500, shape[0], np.int32), [0.0002], 0, [0])]

    source = f.tensor("x", (1, 8, 8, 2))
    x = f.operator("QUANTIZE", [source], made("q", 0.05, 11, 8, 8, 2))
    a = made("net/conv/Relu;net/conv/Conv2D1", 0.05, -128, 8, 8, 4)
    f.operator("CONV_2D", [x, *layer("conv", 4, 3, 3, 2)], a, **conv_options(SAME, 1, RELU))
    b = made("net/conv_1/Conv2D1", 0.06, 3, 8, 8, 4)
    f.operator("CONV_2D", [a, *layer("conv_1", 4, 3, 3, 4)], b, **conv_options(SAME, 1))
    total = f.operator("ADD", [a, b], made("net/add/add", 0.07, -20, 8, 8, 4), FusedActivationFunction=RELU)
    window = {"StrideH": 2, "StrideW": 2, "FilterHeight": 3, "FilterWidth": 3, "FusedActivationFunction": NONE}
    x = f.operator("MAX_POOL_2D", [total], made("net/pool/MaxPool", 0.07, -20, 4, 4, 4), Padding=SAME, **window)
    axes = f.constant("axes", np.array([1, 2], np.int32))
    x = f.operator("MEAN", [x, axes], made("net/mean/Mean", 0.04, -100, 4), KeepDims=False)
    y = made("net/dense/BiasAdd", 0.02, 5, 3)
    f.operator("FULLY_CONNECTED", [x, *layer("dense", 3, 4)], y, FusedActivationFunction=NONE)
    return f.content(source, f.operator("DEQUANTIZE", [y], f.tensor("out", (1, 3)))), 11


def test_a_quantized_network_with_float_ends_follows_the_interpreter(tmp_path: Path) -> None:
    content, zero = quantized_network(0)
    images = np.random.default_rng(1).normal(0, 2, (32, 8, 8, 2)).astype(np.float32)
    wanted = interpret(content, images)
    path = saved(content, tmp_path)
    network = import_integer(path)
    integers = np.clip(np.round(images / np.float32(0.05)) + zero, -128, 127).astype(np.int16) - zero
    found = Executor(network, 1).run(integers.transpose(0, 3, 1, 2)) * network.output.scale
    assert np.abs(found - wanted).max() <= 2 * 0.02
    assert (np.abs(found - wanted) < 0.01).mean() > 0.8
    kinds = {layer.output.name: type(layer) for layer in network.layers}
    assert kinds["conv"] is Conv2d
    assert kinds["mean"] is AveragePool
    assert kinds["dense"] is Linear
    formats = {layer.output.name: str(layer.output.format) for layer in network.layers}
    assert formats["conv"] == "uint8"
    assert formats["conv_1"] == "int16"  # −128 − 3 does not fit 8 bits
    assert network.metadata["input"] == "int8, scale 0.05, zero_point 11"
    model = import_float(path)
    assert model.input == InputQuantization(pytest.approx(0.05), 11, "int8")
    with torch.no_grad():
        floats = model.module(channels_first(images)).numpy()
    assert np.median(np.abs(floats - wanted)) < 0.04


def test_padding_relu_and_rescaling_that_stand_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    f = File()

    def made(name: str, scale: float, zero: int, *shape: int) -> int:
        return f.tensor(name, (1, *shape), "int8", scales=[scale], zeros=[zero])

    source = f.tensor("x", (1, 6, 6, 2), "uint8", scales=[0.02], zeros=[100])
    x = f.operator("QUANTIZE", [source], made("q", 0.02, -28, 6, 6, 2))
    sizes = f.constant("paddings", np.array([[0, 0], [2, 0], [0, 1], [0, 0]], np.int32))
    x = f.operator("PAD", [x, sizes], made("padded", 0.02, -28, 8, 7, 2))
    weights = f.constant("net/conv/Conv2D", rng.integers(-127, 128, (3, 3, 3, 2), np.int8), [0.01], 0, [0])
    bias = f.constant("b", rng.integers(-500, 500, 3, np.int32), [0.0002], 0, [0])
    conv = made("net/conv/Conv2D1", 0.05, 4, 6, 5, 3)
    f.operator("CONV_2D", [x, weights, bias], conv, **conv_options(VALID))
    x = f.operator("RELU", [conv], made("net/relu/Relu", 0.03, -128, 6, 5, 3))
    x = f.operator("QUANTIZE", [x], made("net/quantize/Quantize", 0.04, -120, 6, 5, 3))
    window = {"StrideH": 3, "StrideW": 5, "FilterHeight": 3, "FilterWidth": 5, "FusedActivationFunction": NONE}
    x = f.operator("AVERAGE_POOL_2D", [x], made("net/pool/AvgPool", 0.04, -120, 2, 1, 3), Padding=VALID, **window)
    x = f.operator("RESHAPE", [x, f.constant("s", np.array([-1, 6], np.int32))], made("flat", 0.04, -120, 6))
    last = f.constant("net/dense/MatMul", rng.integers(-127, 128, (4, 6), np.int8), [0.01], 0, [0])
    y = made("net/dense/BiasAdd", 0.04, -3, 4)
    f.operator("FULLY_CONNECTED", [x, last, -1], y, FusedActivationFunction=NONE)
    content = f.content(source, y)
    images = rng.integers(0, 256, (32, 6, 6, 2), np.uint8)
    network = import_integer(saved(content, tmp_path))
    found = Executor(network, 1).run(images.transpose(0, 3, 1, 2).astype(np.int16) - 100)
    differences = np.abs(found.astype(int) - 3 - interpret(content, images))
    assert differences.max() <= 2
    assert (differences == 0).mean() > 0.8
    layers = {layer.output.name: layer for layer in network.layers}
    assert list(layers) == ["conv", "relu", "quantize_2", "pool", "dense"]
    assert isinstance(layers["conv"], Conv2d) and layers["conv"].padding == (2, 0, 0, 1)
    assert network.metadata["input"].startswith("uint8")


def test_layers_keep_their_names_on_the_way_to_the_plan(tmp_path: Path) -> None:
    f = File()
    x = f.tensor("x", (1, 2, 2, 1))
    weights = f.constant("w", np.ones((1, 1, 1, 1), np.float32))
    conv = f.operator("CONV_2D", [x, weights], f.tensor("m/first/Conv2D", (1, 2, 2, 1)), **conv_options())
    total = f.operator("ADD", [conv, x], f.tensor("m/shortcut/add", (1, 2, 2, 1)), FusedActivationFunction=RELU)
    y = f.operator("CONV_2D", [total, weights], f.tensor("m/add/Conv2D", (1, 2, 2, 1)), **conv_options())
    module = import_float(saved(f.content(0, y), tmp_path)).module
    # The first convolution does the addition.
    assert [step.name for step in attach(module, PRESETS["int8"], (1, 2, 2), 1.0).steps] == ["first", "add"]


def test_inputs_of_features_are_flat_and_may_be_reshaped_to_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    f = File()
    source = f.tensor("x", (1, 12))
    weights = f.constant("w", rng.normal(size=(3, 12)).astype(np.float32))
    y = f.operator("FULLY_CONNECTED", [source, weights, -1], f.tensor("y", (1, 3)), FusedActivationFunction=RELU)
    content = f.content(source, y)
    model = import_float(saved(content, tmp_path))
    x = rng.normal(size=(4, 12)).astype(np.float32)
    assert model.shape == (12, 1, 1)
    with torch.no_grad():
        np.testing.assert_allclose(
            model.module(torch.from_numpy(x)[:, :, None, None]).numpy(), interpret(content, x), atol=1e-5
        )
    f = File()
    source = f.tensor("x", (1, 12))
    image = f.tensor("image", (1, 4, 3, 1))
    f.operator("RESHAPE", [source, f.constant("s", np.array([-1, 4, 3, 1], np.int32))], image)
    weights = f.constant("w", rng.normal(size=(2, 2, 2, 1)).astype(np.float32))
    bias = f.constant("b", rng.normal(size=2).astype(np.float32))
    y = f.operator("CONV_2D", [image, weights, bias], f.tensor("y", (1, 4, 3, 2)), **conv_options())
    content = f.content(source, y)
    model = import_float(saved(content, tmp_path))
    assert model.shape == (1, 4, 3)
    assert "reshape" in model.dropped[0]
    with torch.no_grad():
        found = model.module(torch.from_numpy(x).reshape(4, 1, 4, 3)).numpy()
    np.testing.assert_allclose(found, interpret(content, x).transpose(0, 3, 1, 2), atol=1e-5)


def test_a_flatten_that_takes_its_batch_from_the_graph(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    f = File()
    source = f.tensor("x", (1, 3, 2, 2), signature=(-1, 3, 2, 2))
    sizes = f.operator("SHAPE", [source], f.tensor("sizes", (4,), "int32"), OutType=2)
    begin, end, step = (f.constant(f"c{n}", np.array([n], np.int32)) for n in (0, 1, 1))
    batch = f.operator("STRIDED_SLICE", [sizes, begin, end, step], f.tensor("batch", (), "int32"), ShrinkAxisMask=1)
    rest = f.constant("rest", np.array(12, np.int32))
    target = f.operator("PACK", [batch, rest], f.tensor("target", (2,), "int32"), ValuesCount=2)
    flat = f.operator("RESHAPE", [source, target], f.tensor("flat", (1, 12), signature=(-1, 12)))
    weights = f.constant("w", rng.normal(size=(3, 12)).astype(np.float32))
    y = f.operator("FULLY_CONNECTED", [flat, weights, -1], f.tensor("y", (1, 3)))
    content = f.content(source, y)
    images = rng.normal(size=(4, 3, 2, 2)).astype(np.float32)
    with torch.no_grad():
        found = import_float(saved(content, tmp_path)).module(channels_first(images)).numpy()
    np.testing.assert_allclose(found, interpret(content, images), atol=1e-5)
    f = File()
    source = f.tensor("x", (1, 4))
    content = f.content(source, f.operator("PACK", [source], f.tensor("y", (1, 1, 4)), ValuesCount=1))
    with pytest.raises(IntarsiaError, match=r"PACK.* for the sizes of a reshape only"):
        import_float(saved(content, tmp_path))


def convolution(**changes: Any) -> bytes:
    """One convolution, with one thing about it changed."""
    f = File()
    kind = changes.get("kind", "float32")
    scales = changes.get("scales", [0.1] if kind != "float32" else [])
    zeros = changes.get("zeros", [0] * len(scales))
    shape = (1, *changes.get("size", (4, 4)), 2)
    made = changes.get("made", (1, 4, 4, 3))
    source = f.tensor("x", shape, kind, scales=scales, zeros=zeros, signature=changes.get("signature"))
    values = changes.get("weights", np.ones((3, 1, 1, 2), np.float32))
    weight_scales = changes.get("weight_scales", [])
    weights = f.constant("w", values, weight_scales, changes.get("axis", 0), changes.get("weight_zeros", ()))
    inputs = [source, weights] + ([f.constant("b", changes["bias"])] if "bias" in changes else [])
    options = conv_options() | changes.get("options", {})
    x = f.operator(
        changes.get("operator", "CONV_2D"), inputs, f.tensor("y", made, kind, scales=scales, zeros=zeros), **options
    )
    for name in changes.get("then", ()):
        x = f.operator(name, [x], f.tensor(f"after/{name}", made, kind, scales=scales, zeros=zeros))
    return f.content(source, x)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (convolution(then=["TANH"]), "operator TANH of 'after/TANH' is not supported"),
        (convolution(then=["SOFTMAX", "RELU"]), "RELU.* follows Softmax, which is supported as the last"),
        (convolution(signature=(-1, -1, 4, 2)), "input of 'x' has the dynamic shape"),
        (convolution(kind="float16"), "activations of type FLOAT16"),
        (convolution(kind="int16"), "INT16, but int16x8 quantization"),
        (convolution(kind="int8", scales=[]), "0 scales for its activations"),
        (convolution(kind="int8", scales=[float("nan")]), r"scale of nan .*field quantization"),
        (convolution(options={"DilationHFactor": 0}), r"CONV_2D of 'y' .*dilation of \(0, 1\)"),
        (convolution(options={"FusedActivationFunction": 4}), "fused activation number 4"),
        (convolution(weights=np.ones((3, 1, 1, 1), np.float32)), "in 2 groups for 2 channels"),
        (convolution(weights=np.ones((3, 9, 9, 2), np.float32), options={"Padding": 1}), "does not fit"),
        (convolution(weights=np.full((3, 1, 1, 2), np.nan, np.float32)), "not finite"),
        (convolution(weights=np.ones((3, 1, 1, 2), np.int8), weight_scales=[0.1] * 2), "2 scales for its weights"),
        (
            convolution(weights=np.ones((3, 1, 1, 2), np.int8), weight_scales=[0.1] * 3, weight_zeros=[1, 0, 0]),
            "zero-point for each channel",
        ),
        (convolution(weights=np.ones((3, 1, 1, 2), np.int32)), "weights of type INT32"),
        (convolution(bias=np.ones(2, np.float32)), "bias of shape"),
        (convolution(made=(1, 4, 4, 7)), "states a shape"),
        (
            convolution(
                operator="DEPTHWISE_CONV_2D",
                weights=np.ones((1, 1, 1, 3), np.float32),
                made=(1, 4, 4, 3),
            ),
            "in 2 groups for 2 channels",
        ),
        (b"", "not a TFLite model"),
        (b"\x1c\0\0\0TFL3", "damaged"),
    ],
)
def test_what_cannot_be_imported_is_named_in_one_sentence(content: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match=says) as caught:
        import_float(saved(content, tmp_path))
    assert "\n" not in str(caught.value)


@settings(max_examples=60)
@given(st.text(max_size=90) | st.sampled_from(["input", "forward", "class", "graph", "a.b", "training", "x" * 80]))
def test_any_name_becomes_a_module(name: str) -> None:
    f = File()
    x = f.tensor("x", (1, 2, 2, 2))
    for i in range(2):
        weights = f.constant(f"m/{name}/Conv2D", np.full((2, 1, 1, 2), i + 1, np.float32))
        x = f.operator("CONV_2D", [x, weights], f.tensor(name, (1, 2, 2, 2)), **conv_options(activation=RELU))
    with tempfile.TemporaryDirectory() as folder:
        module = import_float(saved(f.content(0, x), Path(folder))).module
    assert torch.equal(module(torch.ones(1, 2, 2, 2)), torch.full((1, 2, 2, 2), 8.0))
    steps = attach(module, PRESETS["int8"], (2, 2, 2), 1.0).steps
    assert len({step.name.replace(".", "_") for step in steps}) == 2


def test_hybrid_files_are_floats_and_say_so(tmp_path: Path) -> None:
    weights = np.array([[[[3, -4]]], [[[1, 127]]], [[[0, 5]]]], np.int8)
    path = saved(convolution(weights=weights, weight_scales=[0.5]), tmp_path)
    model = import_float(path)
    assert torch.equal(model.module.get_submodule("w").weight[:, :, 0, 0], torch.tensor(weights[:, 0, 0] * 0.5))
    assert model.dropped == ("dynamic quantization of the inputs of w",)
    with pytest.raises(IntarsiaError, match="its input is not quantized"):
        import_integer(path)


@pytest.mark.parametrize(("kind", "zero"), [("int8", 0), ("uint8", 7)])
def test_weights_beyond_the_symmetric_range_become_a_sum_of_planes(kind: str, zero: int, tmp_path: Path) -> None:
    """−128, and whatever a zero-point of the weights makes: older converters write both."""
    rng, limits = np.random.default_rng(0), np.iinfo(kind)
    weights = rng.integers(limits.min, limits.max + 1, (3, 1, 1, 2), dtype=kind)
    weights[0, 0, 0] = limits.min, limits.max
    f = File()
    x = f.tensor("x", (1, 4, 4, 2), kind, scales=[0.1], zeros=[3])
    w = f.constant("w", weights, [0.02], 0, [zero])
    b = f.constant("b", np.array([100, -50, 7], np.int32), [0.002], 0, [0])
    y = f.tensor("y", (1, 4, 4, 3), kind, scales=[0.3], zeros=[5])
    content = f.content(x, f.operator("CONV_2D", [x, w, b], y, **conv_options()))
    network = import_integer(saved(content, tmp_path))
    images = rng.integers(limits.min, limits.max + 1, (20, 4, 4, 2), dtype=kind)
    wanted = interpret(content, images).astype(int) - 5
    found = Executor(network).run(images.transpose(0, 3, 1, 2).astype(int) - 3).reshape(20, 3, 4, 4)
    assert np.abs(found.transpose(0, 2, 3, 1) - wanted).max() <= 1
    [layer] = network.weight_layers()
    assert len(layer.planes) > 1
    assert np.array_equal(
        sum(p.weights.astype(int) for p in layer.planes)[:, :, 0, 0], weights[:, 0, 0].astype(int) - zero
    )


def test_wrong_endings_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match="there is no file"):
        import_float(tmp_path / "none.tflite")
    with pytest.raises(IntarsiaError, match=r"not a \.tflite, \.onnx, .* file .*'\.pt'"):
        import_float(saved(b"", tmp_path, "model.pt"))


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tflite", None)
    with pytest.raises(IntarsiaError, match=r"pip install 'intarsia\[import\]'"):
        import_float(saved(everything(0), tmp_path))


_FILES = [everything(0), everything(1, half=True), quantized_network(0)[0]]


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
