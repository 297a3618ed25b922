# SPDX-License-Identifier: Apache-2.0
"""TFLite operators one by one, against the interpreter: groups, gaps, signals, arithmetic, ranges that are a ReLU."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tflite_files import File, interpret
from torch import nn

from intarsia.integer.executor import Executor
from intarsia.networks.importers import import_float, import_integer

pytest.importorskip("ai_edge_litert", reason="needs the TFLite interpreter (ai-edge-litert)")

VALID = 1
CONV = {"Padding": VALID, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}


def normal(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).normal(0, 0.5, shape).astype(np.float32)


def bias(f: File, outputs: int) -> int:
    return f.constant(f"bias{len(f.tensors)}", normal(outputs))


def saved(content: bytes, folder: Path) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return path


def check(content: bytes, images: NDArray[np.float32], folder: Path) -> nn.Module:
    """Hold the float import of a file against the interpreter; images have their channels last."""
    model = import_float(saved(content, folder))
    x = torch.from_numpy(np.moveaxis(images, -1, 1).copy()).reshape(len(images), *model.shape)
    with torch.no_grad():
        found = model.module(x).numpy()
    wanted = np.moveaxis(interpret(content, images), -1, 1)
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=1e-5)
    return model.module


@pytest.mark.parametrize(
    ("kind", "shape", "options", "made"),
    [
        ("CONV_2D", (6, 3, 3, 2), {}, (7, 7, 6)),
        ("CONV_2D", (6, 3, 3, 4), {"DilationHFactor": 2, "DilationWFactor": 3}, (5, 3, 6)),
        ("CONV_2D", (6, 3, 3, 4), {"DilationHFactor": 2, "DilationWFactor": 2, "Padding": 0}, (9, 9, 6)),
        ("DEPTHWISE_CONV_2D", (1, 3, 3, 8), {"DepthMultiplier": 2}, (7, 7, 8)),
        ("DEPTHWISE_CONV_2D", (1, 3, 3, 4), {"DepthMultiplier": 1, "DilationHFactor": 2}, (5, 7, 4)),
    ],
)
def test_groups_gaps_and_depth_multipliers(
    kind: str, shape: tuple[int, ...], options: dict[str, int], made: tuple[int, ...], tmp_path: Path
) -> None:
    f = File()
    x = f.tensor("x", (1, 9, 9, 4))
    inputs = [x, f.constant("w", normal(*shape)), f.constant("b", normal(made[-1]))]
    content = f.content(x, f.operator(kind, inputs, f.tensor("y", (1, *made)), **CONV | options))
    check(content, normal(4, 9, 9, 4), tmp_path)


def test_a_signal(tmp_path: Path) -> None:
    """As TensorFlow writes a 1-D convolution: axes added, a 2-D convolution, axes removed."""
    f = File()
    x = f.tensor("x", (1, 20, 3))
    axis = f.constant("axis", np.array(1, np.int32))
    image = f.operator("EXPAND_DIMS", [x, axis], f.tensor("image", (1, 1, 20, 3)))
    y = f.operator(
        "CONV_2D", [image, f.constant("w", normal(4, 1, 5, 3)), bias(f, 4)], f.tensor("c", (1, 1, 16, 4)), **CONV
    )
    flat = f.operator("RESHAPE", [y, f.constant("s", np.array([1, 64], np.int32))], f.tensor("f", (1, 64)))
    last = f.operator("FULLY_CONNECTED", [flat, f.constant("v", normal(5, 64)), -1], f.tensor("y", (1, 5)))
    assert import_float(saved(f.content(x, last), tmp_path)).shape == (3, 1, 20)
    check(f.content(x, last), normal(4, 20, 3), tmp_path)


def test_the_mean_and_the_padding_of_a_signal(tmp_path: Path) -> None:
    f = File()
    x = f.tensor("x", (1, 20, 3))
    sizes = f.constant("p", np.array([[0, 0], [2, 1], [0, 0]], np.int32))
    padded = f.operator("PAD", [x, sizes], f.tensor("padded", (1, 23, 3)))
    image = f.operator("EXPAND_DIMS", [padded, f.constant("axis", np.array(1, np.int32))], f.tensor("i", (1, 1, 23, 3)))
    w = f.constant("w", normal(4, 1, 5, 3))
    y = f.operator("CONV_2D", [image, w, bias(f, 4)], f.tensor("c", (1, 1, 19, 4)), **CONV)
    shape = f.constant("shape", np.array([1, 19, 4], np.int32))
    signal = f.operator("RESHAPE", [y, shape], f.tensor("signal", (1, 19, 4)))
    axes = f.constant("m", np.array([1], np.int32))
    content = f.content(x, f.operator("MEAN", [signal, axes], f.tensor("y", (1, 4)), KeepDims=False))
    check(content, normal(4, 20, 3), tmp_path)


@pytest.mark.parametrize(
    ("kind", "swapped"),
    [("ADD", False), ("ADD", True), ("SUB", False), ("SUB", True), ("MUL", False), ("MUL", True), ("DIV", False)],
)
def test_arithmetic_with_constants(kind: str, swapped: bool, tmp_path: Path) -> None:
    """Before the first layer (a network's own preprocessing) and between a ReLU and a layer."""
    f = File()
    x = f.tensor("x", (1, 6, 6, 3))

    def arithmetic(source: int, constant: int, result: int) -> int:
        inputs = [constant, source] if swapped else [source, constant]
        return f.operator(kind, inputs, result, FusedActivationFunction=0)

    scaled = arithmetic(x, f.constant("c", np.array([0.5, -2.0, 1.5], np.float32)), f.tensor("s", (1, 6, 6, 3)))
    w = f.constant("w", normal(4, 2, 2, 3))
    y = f.operator("CONV_2D", [scaled, w, bias(f, 4)], f.tensor("r", (1, 5, 5, 4)), **CONV, FusedActivationFunction=1)
    again = arithmetic(y, f.constant("d", np.array(0.25, np.float32)), f.tensor("t", (1, 5, 5, 4)))
    v = f.constant("v", normal(2, 1, 1, 4))
    content = f.content(x, f.operator("CONV_2D", [again, v, bias(f, 2)], f.tensor("y", (1, 5, 5, 2)), **CONV))
    check(content, normal(4, 6, 6, 3), tmp_path)


def coded(f: File, name: str, shape: tuple[int, ...], scale: float, zero: int) -> int:
    return f.tensor(name, shape, "int8", scales=[scale], zeros=[zero])


def integers(*shape: int) -> NDArray[np.int8]:
    return np.random.default_rng(sum(shape)).integers(-127, 128, shape).astype(np.int8)


def test_a_range_is_a_relu_and_constants_may_be_quantized(tmp_path: Path) -> None:
    """Zero-point −128 without an activation; MUL and ADD with int8 constants; softmax and dequantize at the end."""
    f = File()
    x = f.tensor("x", (1, 6, 6, 3))
    q = f.operator("QUANTIZE", [x], coded(f, "q", (1, 6, 6, 3), 1 / 32, 3))
    w, b = f.constant("w", integers(4, 3, 3, 3), [0.01]), f.constant("b", np.arange(4, dtype=np.int32), [0.01 / 32])
    relu = f.operator("CONV_2D", [q, w, b], coded(f, "relu", (1, 4, 4, 4), 0.02, -128), **CONV)
    factor = f.constant("factor", np.array([100, -50, 25, 127], np.int8), [0.01])
    scaled = coded(f, "scaled", (1, 4, 4, 4), 0.03, 5)
    f.operator("MUL", [relu, factor], scaled, FusedActivationFunction=0)
    term = f.constant("term", np.array([10, 20, -30, 40], np.int8), [0.02])
    shifted = coded(f, "shifted", (1, 4, 4, 4), 0.04, -3)
    f.operator("ADD", [scaled, term], shifted, FusedActivationFunction=0)
    flat = coded(f, "flat", (1, 64), 0.04, -3)
    f.operator("RESHAPE", [shifted, f.constant("s", np.array([1, 64], np.int32))], flat)
    v, c = f.constant("v", integers(3, 64), [0.01]), f.constant("c", np.arange(3, dtype=np.int32), [0.01 * 0.04])
    logits = f.operator("FULLY_CONNECTED", [flat, v, c], coded(f, "logits", (1, 3), 0.2, 10), FusedActivationFunction=0)
    soft = f.operator("SOFTMAX", [logits], coded(f, "soft", (1, 3), 1 / 256, -128), Beta=1.0)
    content = f.content(x, f.operator("DEQUANTIZE", [soft], f.tensor("y", (1, 3))))
    images = np.random.default_rng(0).normal(size=(64, 6, 6, 3)).astype(np.float32)
    likely = interpret(content, images)
    path = saved(content, tmp_path)
    network, model = import_integer(path), import_float(path)
    assert [layer.output.format.signed for layer in network.layers[:2]] == [False, True]
    x_integers = np.clip(np.rint(images * 32), -131, 124).astype(np.int64).transpose(0, 3, 1, 2)
    found: Any = torch.from_numpy(Executor(network).run(x_integers) * network.output.scale)
    assert np.abs(found.softmax(1).numpy() - likely).max() < 0.12  # two steps of a logit
    assert network.output.scale == pytest.approx(0.2)
    clips = [module for module in model.module.modules() if isinstance(module, nn.Hardtanh)]
    assert clips[0].min_val == 0.0
    assert clips[0].max_val == pytest.approx(255 * 0.02)
    with torch.no_grad():
        floats = model.module(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).softmax(1).numpy()
    assert np.abs(floats - likely).max() < 0.12
    assert "Softmax at the end" in model.dropped


def test_a_fused_clip_from_minus_one_to_one(tmp_path: Path) -> None:
    f = File()
    x = f.tensor("x", (1, 6, 6, 3))
    w = f.constant("w", normal(4, 2, 2, 3))
    fused = f.operator("CONV_2D", [x, w, bias(f, 4)], f.tensor("c", (1, 5, 5, 4)), **CONV, FusedActivationFunction=2)
    content = f.content(x, f.operator("RELU_N1_TO_1", [fused], f.tensor("y", (1, 5, 5, 4))))
    module = check(content, normal(4, 6, 6, 3) * 4, tmp_path)
    assert sum(isinstance(m, nn.Hardtanh) for m in module.modules()) == 1  # the second changes nothing
