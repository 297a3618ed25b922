# SPDX-License-Identifier: Apache-2.0
"""Inputs of a user's own through the whole path: tables of any units, axes in any order, one output for two classes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from intarsia import cli
from intarsia.integer import file
from intarsia.integer.executor import Executor
from own_networks import Node, answers, perceptron, write_network

Command = Callable[..., tuple[int, str]]
QUICK = ("--epochs", 0, "--baselines", "int8")


@pytest.fixture
def intarsia(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str]:
        status = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run


def unlike(*places: int) -> np.ndarray:
    """Inputs of 12 columns or channels whose sizes differ a millionfold, up to a hundred times that away from zero."""
    random = np.random.default_rng(1)
    sizes, far = 10.0 ** np.linspace(-3, 3, 12), random.uniform(-100, 100, 12)
    x = (random.normal(size=(400, *places, 12)) + far) * sizes
    return np.moveaxis(x, -1, 1).astype(np.float32)


def save(folder: Path, x: np.ndarray, y: np.ndarray | None, **entries: Any) -> Path:
    """Save three quarters to train, without classes if there are none, and a quarter to test."""
    folder.mkdir()
    half = 3 * len(x) // 4
    np.savez(folder / "train.npz", x=x[:half], **entries, **({} if y is None else {"y": y[:half]}))
    np.savez(folder / "test.npz", x=x[half:], y=np.zeros(len(x) - half, int) if y is None else y[half:], **entries)
    return folder


def result(stage: str, name: str, run: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path("runs", run, stage, f"{name}.json").read_text(encoding="utf-8"))["result"]
    return content


def test_the_columns_of_a_table_may_have_any_units(intarsia: Command, tmp_path: Path) -> None:
    x = unlike()
    model = perceptron(tmp_path / "units.onnx", x, 3)
    data = save(tmp_path / "units", x, answers(model, x).argmax(axis=1))
    status, text = intarsia("execute", model, "--data", data, *QUICK)
    assert status == 0, text
    assert "input rounding: " in text
    assert "of that of feature" in text
    assert "warning" not in text
    assert result("execute", "float", "units")["score"] == 1.0
    for name in ("superposition-seed0", "int8"):
        assert result("execute", name, "units")["score"] > 0.9
    told = result("quantize", "superposition-seed0", "units")["input"]
    assert told["worst"] < 0.02
    assert not told["coarse"]

    # The frozen network says how its integers are made.
    network = file.load(Path("runs/units/quantize/int8.safetensors"))
    rule = json.loads(network.metadata["input"])
    with np.load(data / "test.npz") as content:
        stored, labels = content["x"].astype(np.float64), content["y"]
    nearest = np.rint((stored - np.array(rule["offset"])) / np.array(rule["step"]))
    integers = np.clip(nearest, rule["least"], rule["greatest"]).astype(np.int8)[:, :, None, None]
    right = (Executor(network).run(integers).argmax(axis=1) == labels).mean()
    assert right == pytest.approx(result("execute", "int8", "units")["score"], abs=0.011)


def test_a_network_that_cannot_take_units_of_its_channels_is_warned_of(intarsia: Command, tmp_path: Path) -> None:
    x = unlike(2, 2)
    model = perceptron(tmp_path / "pool.onnx", x, 3)
    data = save(tmp_path / "pool", x, answers(model, x).argmax(axis=1))
    status, text = intarsia("quantize", model, "--data", data, *QUICK)
    assert status == 0, text
    assert text.count("warning: 8 bits hold this input coarsely") == 1
    told = result("quantize", "superposition-seed0", "pool")["input"]
    assert told["coarse"]
    assert told["worst"] > 1.0
    assert "one step for all" in told["text"]
    assert result("quantize", "int8", "pool")["input"] is None


def images(channels: int, count: int = 240) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (count, channels, 8, 8)).astype(np.uint8)


def convolutional(path: Path, channels: int, outputs: int, *, sigmoid: bool = False) -> Path:
    """Write a small convolutional network whose outputs are spread around zero for `images`."""
    random = np.random.default_rng(3)
    constants = {
        "w": random.normal(size=(8, channels, 3, 3)) / 128,
        "v": random.normal(size=(outputs, 128)) / 8,
        "b": np.zeros(outputs),
    }
    end = "logits" if sigmoid else "y"
    nodes: list[Node] = [
        ("Conv", ["x", "w"], ["c"], {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ("Relu", ["c"], ["r"], {}),
        ("Flatten", ["r"], ["f"], {}),
        ("Gemm", ["f", "v", "b"], [end], {"transB": 1}),
        *([("Sigmoid", [end], ["y"], {})] if sigmoid else []),
    ]
    shape = (channels, 8, 8)
    write_network(path, shape, nodes, constants)
    found = answers(path, images(channels).astype(np.float32))
    middle = np.median(np.log(found / (1 - found)) if sigmoid else found, axis=0)
    return write_network(path, shape, nodes, constants | {"b": -middle})


def test_the_axes_of_images_are_read_as_the_network_takes_them(intarsia: Command, tmp_path: Path) -> None:
    x = images(8)
    model = convolutional(tmp_path / "cube.onnx", 8, 3)
    y = answers(model, x.astype(np.float32)).argmax(axis=1)
    last = x.transpose(0, 2, 3, 1)
    status, text = intarsia("execute", model, "--data", save(tmp_path / "unsaid", last, y), *QUICK)
    assert status == 2
    assert "may be NCHW or NHWC; save an entry layout that says which" in text
    for name, stored, entries in (("first", x, {"layout": "NCHW"}), ("last", last, {"layout": "NHWC"})):
        status, text = intarsia("execute", model, "--data", save(tmp_path / name, stored, y, **entries), *QUICK)
        assert status == 0, text
        assert result("execute", "float", "cube")["score"] == 1.0
    grey = images(1)
    model = convolutional(tmp_path / "grey.onnx", 1, 3)
    y = answers(model, grey.astype(np.float32)).argmax(axis=1)
    for name, stored in (("bare", grey[:, 0]), ("behind", grey.transpose(0, 2, 3, 1)), ("flat", grey.reshape(-1, 64))):
        status, text = intarsia("execute", model, "--data", save(tmp_path / name, stored, y), *QUICK)
        assert status == 0, text
        assert result("execute", "float", "grey")["score"] == 1.0


@pytest.mark.parametrize(("epochs", "known"), [(0, True), (1, True), (1, False)])
def test_one_output_before_a_sigmoid_tells_two_classes_apart(
    intarsia: Command, tmp_path: Path, epochs: int, known: bool
) -> None:
    x = images(1)
    model = convolutional(tmp_path / "binary.onnx", 1, 1, sigmoid=True)
    y = (answers(model, x.astype(np.float32))[:, 0] > 0.5).astype(int)
    assert 0.4 < y.mean() < 0.6
    data = save(tmp_path / "binary", x, y)
    if not known:
        np.savez(data / "train.npz", x=x[:180])
    status, text = intarsia("execute", model, "--data", data, "--epochs", epochs, "--baselines", "int8")
    assert status == 0, text
    scores = {name: result("execute", name, "binary")["score"] for name in ("float", "int8", "superposition-seed0")}
    assert scores["float"] == 1.0
    assert scores["int8"] > 0.9
    assert scores["superposition-seed0"] > 0.8
    assert result("quantize", "int8", "binary")["validation_accuracy"] > 0.8  # of chance there would be a half

    np.save("images.npy", x[180:])
    np.save("labels.npy", y[180:])
    frozen = "runs/binary/quantize/int8.safetensors"
    status, text = intarsia("execute", frozen, "--input", "images.npy", "--labels", "labels.npy")
    assert status == 0, text
    assert f"{scores['int8']:.2%} right" in text
    np.save("labels.npy", y[180:] * 2)
    status, text = intarsia("execute", frozen, "--input", "images.npy", "--labels", "labels.npy")
    assert status == 2
    assert "holds the class 2, but the network tells 2 classes apart" in text


def test_a_third_class_is_refused_for_one_output(intarsia: Command, tmp_path: Path) -> None:
    model = convolutional(tmp_path / "binary.onnx", 1, 1, sigmoid=True)
    status, text = intarsia(
        "quantize", model, "--data", save(tmp_path / "three", images(1), np.arange(240) % 3), *QUICK
    )
    assert status == 2
    assert "holds the class 2, but binary.onnx tells 2 classes apart" in text
