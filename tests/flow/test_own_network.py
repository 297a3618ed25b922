# SPDX-License-Identifier: Apache-2.0
"""A user's own network and data: what does not fit together is said in one sentence, and folders are not mixed up."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from intarsia import cli  # noqa: E402
from intarsia.flow import Settings, last_settings, run_stage  # noqa: E402
from intarsia.flow.task import key_of  # noqa: E402
from intarsia.quantize.checkpoint import damage  # noqa: E402
from own_networks import Node, write_network  # noqa: E402

Command = Callable[..., tuple[int, str]]

SHAPE, CLASSES = (1, 6, 6), 3
WIDE = 16 * 257
OWN_POSITIONS = {"positions": "own", "places": []}


@pytest.fixture
def intarsia(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def run(*arguments: object) -> tuple[int, str]:
        status = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run


def write_model(path: Path, seed: int = 0) -> Path:
    """A small convolutional network with inputs (1, 6, 6) and three classes."""
    random = np.random.default_rng(seed)
    constants = {
        "w": random.normal(0, 0.5, (4, 1, 3, 3)),
        "v": random.normal(0, 0.5, (CLASSES, 4 * 36)),
        "b": np.zeros(CLASSES),
    }
    nodes: list[Node] = [
        ("Conv", ["x", "w"], ["c"], {"pads": [1, 1, 1, 1]}),
        ("Relu", ["c"], ["r"], {}),
        ("Flatten", ["r"], ["f"], {}),
        ("Gemm", ["f", "v", "b"], ["y"], {"transB": 1}),
    ]
    return write_network(path, SHAPE, nodes, constants)


def write_data(path: Path, shape: tuple[int, ...] = SHAPE, classes: int = CLASSES) -> Path:
    random = np.random.default_rng(1)
    np.savez(path, x=random.integers(0, 200, (60, *shape)).astype(np.uint8), y=np.arange(60) % classes)
    return path


QUICK = ("--epochs", 0, "--baselines", "--quiet")


def test_data_of_another_shape_is_refused_with_both_shapes(intarsia: Command, tmp_path: Path) -> None:
    model, data = write_model(tmp_path / "small.onnx"), write_data(tmp_path / "data.npz", (2, 5, 6))
    status, text = intarsia("execute", model, "--data", data, *QUICK)
    assert status == 2
    assert "the network takes inputs of 1 x 6 x 6" in text
    assert "has the shape (60, 2, 5, 6)" in text
    assert "Traceback" not in text


def test_classes_beyond_the_outputs_are_refused(intarsia: Command, tmp_path: Path) -> None:
    model, data = write_model(tmp_path / "small.onnx"), write_data(tmp_path / "data.npz", classes=CLASSES + 2)
    status, text = intarsia("execute", model, "--data", data, *QUICK)
    assert status == 2
    assert "holds the class 4, but small.onnx tells 3 classes apart" in text


def test_weights_in_a_file_of_their_own_go_along(intarsia: Command, tmp_path: Path) -> None:
    """As torch.onnx.export writes them by default: the run keeps them, and sees when they change."""
    data, model = write_data(tmp_path / "data.npz"), tmp_path / "split.onnx"

    def split(seed: int) -> None:
        whole = onnx.load(write_model(tmp_path / "whole.onnx", seed))
        onnx.save_model(whole, model, save_as_external_data=True, location="split.onnx.data", size_threshold=0)

    def scores(*more: str) -> str:
        status, text = intarsia("execute", model, "--data", data, *QUICK, *more)
        assert status == 0, text
        return next(line for line in text.splitlines() if line.startswith("execute/float"))

    split(0)
    before, record = scores(), Path("runs/split/train/float.json")
    first = record.read_text(encoding="utf-8")
    kept = Path("runs/split/train/float.onnx")
    assert onnx.numpy_helper.to_array(onnx.load(kept).graph.initializer[0]).size  # needs no other file
    split(1)
    scores()
    assert record.read_text(encoding="utf-8") != first
    split(0)
    assert scores() == before
    (tmp_path / "split.onnx.data").unlink()
    status, text = intarsia("execute", model, "--data", data, *QUICK)
    assert status == 2
    assert "split.onnx keeps its weights in split.onnx.data, which is missing" in text


def test_what_an_import_leaves_out_is_said(intarsia: Command, tmp_path: Path) -> None:
    model, data = write_model(tmp_path / "small.onnx"), write_data(tmp_path / "data.npz")
    graph = onnx.load(model)
    graph.graph.node.append(onnx.helper.make_node("Softmax", ["y"], ["p"]))
    graph.graph.output[0].name = "p"
    onnx.save(graph, model)
    status, text = intarsia("train", model, "--data", data)
    assert status == 0, text
    assert "small.onnx: the import leaves out Softmax at the end" in text


def test_a_changed_test_set_is_scored_anew(intarsia: Command, tmp_path: Path) -> None:
    model, data = write_model(tmp_path / "small.onnx"), tmp_path / "data"
    data.mkdir()
    for name in ("train", "validation", "test"):
        write_data(data / f"{name}.npz")

    def scores() -> list[str]:
        status, text = intarsia("execute", model, "--data", data, *QUICK)
        assert status == 0, text
        return [line for line in text.splitlines() if "test input" in line]

    before = scores()
    assert before == scores()
    assert all("of 60 test inputs" in line for line in before)
    with np.load(data / "test.npz") as content:
        np.savez(data / "test.npz", x=content["x"], y=np.where(np.arange(60) < 50, (content["y"] + 1) % CLASSES, -1))
    after = scores()
    assert after != before
    assert all("of 50 test inputs" in line for line in after)


def write_wide_model(path: Path) -> Path:
    """A perceptron of more inputs than the engine has blocks for."""
    model = torch.nn.Sequential(torch.nn.Linear(WIDE, 8), torch.nn.ReLU(), torch.nn.Linear(8, CLASSES))
    torch.onnx.export(model, (torch.zeros(1, WIDE),), path, dynamo=False)
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_that_the_engine_does_not_take_is_refused_before_it_is_trained(
    intarsia: Command, tmp_path: Path
) -> None:
    model, data = write_wide_model(tmp_path / "wide.onnx"), write_data(tmp_path / "data.npz", (WIDE,))
    commands = {"run": ("--skip-synthesis", *QUICK), "compile": QUICK, "simulate": ("--epochs", 0), "fit": ()}
    for command, options in commands.items():
        status, text = intarsia(command, model, "--data", data, *options)
        assert status == 2, text
        assert "wide with the scheme ternary+3:16xint4: layer 0 has 257 blocks of input channels" in text
        assert "or measure only accuracy with intarsia execute" in text
        assert not list((tmp_path / "work" / "runs" / "wide").glob("*/*.safetensors"))
    assert intarsia("execute", model, "--data", data, *QUICK)[0] == 0


def test_what_is_compiled_is_compiled_for_the_engine_that_was_fitted_before(intarsia: Command, tmp_path: Path) -> None:
    model, data = write_model(tmp_path / "small.onnx"), write_data(tmp_path / "data.npz")
    scheme = "ternary+1:16xint4, last=int4, scales=5"
    status, text = intarsia("compile", model, "--data", data, "--scheme", scheme, *QUICK)
    assert status == 0, text
    folder = tmp_path / "work" / "runs" / "small"
    fitted = json.loads((folder / "fit" / "engine.json").read_text())["result"]["engine"]
    [program] = folder.glob("compile/*.program.json")
    assert json.loads(program.read_text())["engine"] == fitted
    assert fitted["unit"] == {**OWN_POSITIONS, "slots": 0, "slot_bits": 2, "shift_bits": 0}  # no sparse plane
    assert fitted["scale_bits"] == 5
    status, text = intarsia("compile", model, "--data", data, "--scheme", f"{scheme}, first=default", *QUICK)
    assert status == 0, text
    fitted = json.loads((folder / "fit" / "engine.json").read_text())["result"]["engine"]
    assert fitted["unit"] == {**OWN_POSITIONS, "slots": 1, "slot_bits": 4, "shift_bits": 2}


def test_the_default_scheme_has_a_slot_for_each_precise_weight(intarsia: Command, tmp_path: Path) -> None:
    model, data = write_model(tmp_path / "small.onnx"), write_data(tmp_path / "data.npz")
    status, text = intarsia("compile", model, "--data", data, "--scheme", "superposition, first=default", *QUICK)
    assert status == 0, text
    folder = tmp_path / "work" / "runs" / "small"
    fitted = json.loads((folder / "fit" / "engine.json").read_text())["result"]["engine"]
    assert fitted["unit"] == {**OWN_POSITIONS, "slots": 3, "slot_bits": 4, "shift_bits": 2}


def test_a_file_that_is_called_as_a_built_in_network_needs_its_own_folder(intarsia: Command, tmp_path: Path) -> None:
    model, data = write_model(tmp_path / "digits.onnx"), write_data(tmp_path / "data.npz")
    status, text = intarsia("run", model, "--data", data)
    assert status == 2
    assert "rename the file (or, for a run, choose another folder with --out)" in text
    assert not list((tmp_path / "work").iterdir())
    folder = tmp_path / "out" / "digits"
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps(Settings("digits", folder).as_json()))
    status, text = intarsia("run", model, "--data", data, "--out", tmp_path / "out")
    assert status == 2
    assert "holds a run of digits, not of" in text


def test_a_folder_of_another_file_of_the_same_name_is_refused(intarsia: Command, tmp_path: Path) -> None:
    first, other = (tmp_path / name for name in ("first", "other"))
    for seed, folder in enumerate((first, other)):
        folder.mkdir()
        write_model(folder / "small.onnx", seed)
    data, run = write_data(tmp_path / "data.npz"), Path("runs/small")
    assert intarsia("execute", first / "small.onnx", "--data", data, *QUICK)[0] == 0
    settings = Settings("small", run, model=first / "small.onnx", data_dir=data)
    (run / "settings.json").write_text(json.dumps(settings.as_json()))
    status, text = intarsia("execute", other / "small.onnx", "--data", data, *QUICK)
    assert status == 2
    assert f"holds a run of {first}/small.onnx, not of {other}/small.onnx" in text
    shutil.copy(first / "small.onnx", other / "small.onnx")  # the same network, from elsewhere
    assert intarsia("execute", other / "small.onnx", "--data", data, *QUICK)[0] == 0
    write_model(first / "small.onnx", 2)  # exported again to the same path
    assert intarsia("execute", first / "small.onnx", "--data", data, *QUICK)[0] == 0


def test_a_report_is_written_from_another_folder(
    intarsia: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jinja2")
    here = tmp_path / "work"
    write_model(here / "small.onnx")
    write_data(here / "data.npz")
    assert intarsia("execute", "small.onnx", "--data", "data.npz", *QUICK)[0] == 0
    settings = Settings(
        "small", Path("runs/small"), model=Path("small.onnx"), data_dir=Path("data.npz"), epochs=0, baselines=()
    )
    (here / "runs" / "small" / "settings.json").write_text(json.dumps(settings.as_json()))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    out = ("--out", here / "runs")
    status, text = intarsia("report", here / "small.onnx", *out)
    assert status == 0, text
    assert "accuracy float" in text
    page = (here / "runs" / "small" / "report.html").read_text()
    assert "held-out test set" in page
    assert "official" not in page
    # Files that were moved: the paths that are given win.
    for name in ("small.onnx", "data.npz"):
        (here / name).rename(elsewhere / name)
    status, text = intarsia("report", "small.onnx", "--data", "data.npz", *out)
    assert status == 0, text
    found = last_settings(here / "runs" / "small")
    assert found is not None
    assert (found.model, found.data_dir) == (elsewhere / "small.onnx", elsewhere / "data.npz")
    status, text = intarsia("report", "small.onnx", "--data", "data.npz")
    assert status == 2
    assert "intarsia run small.onnx" in text


@pytest.mark.parametrize("name", ["model.pt", "network.safetensors", "folder/network.pb"])
def test_a_file_that_a_command_does_not_take_is_refused(intarsia: Command, name: str) -> None:
    status, text = intarsia("run", name)
    assert status == 2
    assert f"{name} is not a float network" in text
    assert ".tflite, .onnx, .pt2, .keras or .h5" in text
    assert not list(Path().iterdir())


def test_a_model_in_a_folder_is_no_frozen_network(intarsia: Command, tmp_path: Path) -> None:
    status, text = intarsia("simulate", tmp_path / "small.onnx")
    assert status == 2
    assert "there is no file" in text
    assert ".tflite, .onnx, .pt2, .keras or .h5" in text


def test_a_damaged_checkpoint_is_set_aside(tmp_path: Path) -> None:
    said: list[str] = []
    model, data = write_model(tmp_path / "small.onnx"), write_data(tmp_path / "data.npz")
    settings = Settings("small", tmp_path / "run", model=model, data_dir=data, epochs=2, baselines=())
    from intarsia.flow.stages import tasks_until  # noqa: PLC0415
    from intarsia.flow.task import Job  # noqa: PLC0415

    trained = run_stage(settings, "train", say=said.append)
    task = next(task for task in tasks_until(settings, "quantize") if task.stage == "quantize")
    assert key_of(task, trained)
    path = Job(settings, task, trained, said.append, progress=False).checkpoint()
    path.parent.mkdir()
    path.write_bytes(b"half a checkpoint")
    assert damage(path)
    run_stage(settings, "quantize", say=said.append)
    assert any("set aside" in line and path.name in line for line in said)
    assert path.with_name(f"{path.name}.damaged").read_bytes() == b"half a checkpoint"
    assert not path.exists()
