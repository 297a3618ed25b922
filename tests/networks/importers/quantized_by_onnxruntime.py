# SPDX-License-Identifier: Apache-2.0
"""Random small CNNs, quantized by onnxruntime's `quantize_static`: what users bring."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn

from intarsia.integer.executor import Executor
from intarsia.networks.importers import import_float, import_integer

_CALIBRATION = 48


class Branch(nn.Module):
    """A block and what goes around it."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.block(x)


def random_cnn(seed: int) -> tuple[nn.Module, tuple[int, int, int]]:
    """Return a network of two to five blocks with random kernels, strides, groups, pools and activations."""
    rng = np.random.default_rng(seed)
    channels, size = int(rng.integers(1, 5)), int(rng.integers(7, 13))
    shape = (channels, size, size + int(rng.integers(0, 3)))
    layers: list[nn.Module] = []
    for number in range(int(rng.integers(2, 6))):
        # A pool or sum of the input itself would stay in floating point: onnxruntime quantizes what layers read.
        kind = rng.choice(["conv", "depthwise", "grouped", "residual", "pool"]) if number else "conv"
        relu: nn.Module = [nn.ReLU(), nn.ReLU6(), nn.Identity()][int(rng.integers(0, 3))]
        if kind == "residual":
            block = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), relu)
            layers += [Branch(block), nn.ReLU()] if rng.random() < 0.5 else [Branch(block)]
        elif kind == "pool":
            # The mean of an even number of integers is often a tie: onnxruntime rounds it to even, we round it up.
            layers.append(nn.MaxPool2d(2, 1) if rng.random() < 0.5 else nn.AvgPool2d(3, 1, padding=1))
        else:
            outputs = channels if kind == "depthwise" else 2 * int(rng.integers(1, 5))
            groups = {"depthwise": channels, "grouped": 2 if channels % 2 == 0 else 1}.get(str(kind), 1)
            kernel = int(rng.integers(1, 4))
            conv = nn.Conv2d(
                channels, outputs, kernel, padding=kernel // 2, groups=groups, bias=bool(rng.random() < 0.7)
            )
            layers += [conv, nn.BatchNorm2d(outputs), relu] if rng.random() < 0.5 else [conv, relu]
            channels = outputs
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if rng.random() < 0.5 else [nn.Flatten()]
    model = nn.Sequential(*layers, *head)
    with torch.no_grad():
        features = model.eval()(torch.zeros(1, *shape)).shape[1]
    return nn.Sequential(model, nn.Linear(features, 5)), shape


def randomized(model: nn.Module, seed: int) -> nn.Module:
    """Give normalization the statistics of a trained network."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                assert tensor is not None
                tensor.uniform_(-0.5, 0.5, generator=generator)
            assert module.running_var is not None
            module.running_var.uniform_(0.5, 2.0, generator=generator)
    return model.eval()


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, images: NDArray[np.float32]) -> None:
        self.images: Iterator[dict[str, Any]] = iter([{"x": images[i : i + 1]} for i in range(len(images))])

    def get_next(self) -> dict[str, Any] | None:
        return next(self.images, None)


def exported(model: nn.Module, shape: tuple[int, int, int], path: Path) -> Path:
    """Write a float network with an open batch."""
    axes = {"x": {0: "n"}, "y": {0: "n"}}
    example = (torch.zeros(1, *shape),)
    torch.onnx.export(
        model, example, path, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes=axes, opset_version=17
    )
    return path


def quantized(source: Path, images: NDArray[np.float32], path: Path, **options: Any) -> Path:
    """Quantize a float network with onnxruntime."""
    logging.getLogger().setLevel(logging.ERROR)
    quantize_static(source, path, _Reader(images[:_CALIBRATION]), **options)
    return path


def run(path: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run a file as it says, without fused kernels, which saturate at 16 bits on some processors."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: images})[0]
    return found


@dataclass(frozen=True)
class Differences:
    """How far imports of one network are from onnxruntime.

    Attributes:
        float_file: greatest difference of the float file, relative to the outputs' span.
        quantized_as_float: how far the quantized file, read without rounding, is from itself, relative to what
            quantization costs (2 % of the span at least).
        integer_steps: greatest difference of the integer import, in steps of the output.
        beyond_a_step: share of the integer import's outputs that differ by more than one step.
    """

    float_file: float
    quantized_as_float: float
    integer_steps: float
    beyond_a_step: float


def differences(seed: int, folder: Path) -> Differences:
    """Quantize the network of a seed and compare both imports with onnxruntime; options go with the seed."""
    torch.manual_seed(seed)
    model, shape = random_cnn(seed)
    randomized(model, seed)
    rng = np.random.default_rng(seed + 1)
    images = rng.normal(size=(96, *shape)).astype(np.float32)
    if seed % 3 == 0:
        images = np.abs(images)
    source = exported(model, shape, folder / "float.onnx")
    kind = QuantType.QUInt8 if seed % 2 else QuantType.QInt8
    path = quantized(
        source,
        images,
        folder / "quantized.onnx",
        quant_format=QuantFormat.QOperator if seed % 5 == 0 else QuantFormat.QDQ,
        activation_type=kind,
        weight_type=QuantType.QInt8,
        per_channel=seed % 4 < 2,
        # Weights of 7 bits: the quantized operators themselves add pairs of products in 16 bits, with saturation, on
        # processors without VNNI.
        reduce_range=seed % 5 == 0,
        extra_options={"ActivationSymmetric": seed % 7 == 0 and kind == QuantType.QInt8},
    )
    wanted, exact = run(path, images), run(source, images)
    span = float(np.ptp(exact))
    module = import_float(source)
    with torch.no_grad():
        floats = module.module(torch.from_numpy(images)).numpy()
        rough = import_float(path).module(torch.from_numpy(images)).numpy()
    network = import_integer(path)
    lo, hi = network.input.format.lo, network.input.format.hi
    given = import_float(path).input
    assert given is not None
    least, greatest = np.iinfo(given.dtype).min - given.zero_point, np.iinfo(given.dtype).max - given.zero_point
    integers = np.clip(np.rint(images / np.float32(given.scale)), max(lo, least), min(hi, greatest)).astype(np.int64)
    steps = np.abs(Executor(network).run(integers) - wanted / network.output.scale)
    return Differences(
        float(np.abs(floats - exact).max()) / span,
        float(np.abs(rough - wanted).max() / max(np.abs(exact - wanted).max(), 0.02 * span)),
        float(steps.max()),
        float((steps > 1.01).mean()),
    )
