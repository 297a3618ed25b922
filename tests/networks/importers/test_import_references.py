# SPDX-License-Identifier: Apache-2.0
"""The reference models of MLPerf Tiny, imported, on their official test sets (the accuracies: the data's README)."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from intarsia.integer.executor import Executor
from intarsia.networks.importers import import_float, import_integer

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif("INTARSIA_DATA" not in os.environ, reason="needs real data (INTARSIA_DATA)"),
]


def file(*parts: str) -> Path:
    path = Path(os.environ["INTARSIA_DATA"], *parts)
    if not path.exists():
        pytest.skip(f"needs {'/'.join(parts)} in INTARSIA_DATA")
    return path


def model(name: str) -> Path:
    return file("mlperf_tiny", f"{name}.tflite")


def images(name: str) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
    """Return pixels (N, 3, H, W), 0 to 255, and labels."""
    if name == "cifar10":
        rows = np.fromfile(file("cifar10", "cifar-10-batches-bin", "test_batch.bin"), np.uint8).reshape(-1, 3073)
        return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].astype(int)
    with np.load(file("vww", "test_vww01.npz")) as stored:
        return np.ascontiguousarray(stored["x"].transpose(0, 3, 1, 2)), stored["y"].astype(int)


def outputs(path: Path, x: NDArray[np.float32], batch: int = 250) -> NDArray[np.float32]:
    module = import_float(path).module
    module = module.to(memory_format=torch.channels_last)
    pieces = torch.from_numpy(x).contiguous(memory_format=torch.channels_last).split(batch)
    with torch.no_grad():
        return torch.cat([module(piece) for piece in pieces]).numpy()


def right(logits: NDArray[np.generic], labels: NDArray[np.integer]) -> float:
    """Return the accuracy in per cent, rounded so that a bound means whole images."""
    return round(100 * float((logits.argmax(1) == labels).mean()), 6)


@pytest.mark.parametrize(
    ("name", "data", "divisor", "reference"),
    [("pretrainedResnet", "cifar10", 1, 87.19), ("vww_96_float", "vww", 255, 85.3)],
)
def test_float_images(name: str, data: str, divisor: int, reference: float) -> None:
    pixels, labels = images(data)
    found = right(outputs(model(name), pixels.astype(np.float32) / np.float32(divisor)), labels)
    assert found == pytest.approx(reference, abs=0.1001)


@pytest.mark.parametrize(
    ("name", "data", "reference"), [("pretrainedResnet_quant", "cifar10", 86.97), ("vww_96_int8", "vww", 85.2)]
)
def test_quantized_images(name: str, data: str, reference: float) -> None:
    pixels, labels = images(data)
    network = import_integer(model(name))  # of zero-point −128: what it holds are the pixels themselves
    assert str(network.input.format) == "uint8"
    assert right(Executor(network).run(pixels), labels) == pytest.approx(reference, abs=0.2001)


def keywords() -> tuple[NDArray[np.int16], float, NDArray[np.integer]]:
    """Return (N, 1, 49, 10) integers less their zero-point, the scale, and labels."""
    with np.load(file("kws", "test_kws01.npz")) as stored:
        centered = stored["x"].transpose(0, 3, 1, 2).astype(np.int16) - int(stored["zero_point"])
        return centered.astype(np.int16), float(stored["scale"]), stored["y"].astype(int)


def test_keywords() -> None:
    x, scale, labels = keywords()
    real = (x * np.float32(scale)).astype(np.float32)
    assert right(outputs(model("kws_ref_model_float32"), real), labels) == pytest.approx(90.0, abs=0.1001)
    network = import_integer(model("kws_ref_model"))
    assert network.input.scale == pytest.approx(scale)
    assert right(Executor(network).run(x), labels) == pytest.approx(90.2, abs=0.2001)


def test_anomalies() -> None:
    with np.load(file("ad", "test_ad01.npz")) as stored:
        clips, labels = stored["x"].astype(np.float32), stored["y"]
    network, floats = import_integer(model("ad01_int8")), model("ad01_fp32")
    zero, scale = 89, network.input.scale
    assert network.metadata["input"].endswith(f"zero_point {zero}")
    executor, module = Executor(network), import_float(floats).module
    scores: list[tuple[float, float]] = []
    for clip in clips:
        windows = np.stack([clip[i : i + 196] for i in range(5)], 1).reshape(196, 640)
        with torch.no_grad():
            real = module(torch.from_numpy(windows)[:, :, None, None]).numpy()
        integers = (np.clip(np.round(windows / scale) + zero, -128, 127) - zero).astype(np.int16)
        rounded = executor.run(integers[:, :, None, None]) * network.output.scale
        scores.append((float(((real - windows) ** 2).mean()), float(((rounded - windows) ** 2).mean())))
    in_floats, in_integers = (100 * roc_auc_score(labels, [score[i] for score in scores]) for i in (0, 1))
    assert in_floats == pytest.approx(90.3, abs=0.1)
    assert in_integers == pytest.approx(85.9, abs=0.2)
