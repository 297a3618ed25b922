# SPDX-License-Identifier: Apache-2.0
"""Runs that start at a frozen network of the zoo, and how a finished run gets into it."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intarsia import cli
from intarsia.datasets import DATASETS, is_test_at_hand
from intarsia.errors import IntarsiaError
from intarsia.files import sha256, write_json
from intarsia.flow import Settings, run_stage
from intarsia.flow.inputs import inputs_of
from intarsia.flow.results import Quantized, Score
from intarsia.flow.stages import all_tasks
from intarsia.flow.task import Record, write_record
from intarsia.integer.zoo import ZOO, load_frozen, read_card
from intarsia.report import read_run

#: Runs the command line where PyTorch cannot be imported, and nothing can be fetched.
ALONE = """
import sys
sys.modules["torch"] = None
import intarsia.download
def refuse(*_, **__):
    raise AssertionError("something is fetched")
intarsia.download.download = refuse
from intarsia.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("INTARSIA_DATA", raising=False)


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INTARSIA_CACHE", str(tmp_path / "cache"))


def test_a_run_of_the_zoo_needs_neither_data_nor_pytorch(tmp_path: Path) -> None:
    words = ["run", "dscnn", "--zoo", "--skip-synthesis", "--images", "1", "--onnx-images", "2", "--lanes", "8"]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *words, "--out", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    results, card = read_run(tmp_path / "dscnn" / "results.json"), read_card("dscnn")
    [built] = results.accuracies
    assert (built.accuracies, built.images, built.seeds) == ((card.score,), card.inputs, (card.seed,))
    assert built.training.startswith("score by the card of the zoo, not measured in this run; ")
    assert results.inputs == "random"
    assert results.simulated is not None and results.exported is not None
    assert "equal on 1 random image\n" in done.stdout
    page = (tmp_path / "dscnn" / "report.html").read_text(encoding="utf-8")
    assert "computed 1 random images" in page
    assert "not measured in this run" in page
    assert (tmp_path / "dscnn/quantize/zoo.safetensors").read_bytes() == (ZOO / "dscnn.safetensors").read_bytes()


def test_nothing_is_trained_and_what_is_measured_depends_on_the_data_at_hand(tmp_path: Path, empty_cache: None) -> None:
    def stages(**settings: Any) -> list[str]:
        return [task.id for task in all_tasks(Settings("autoencoder", tmp_path, zoo=True, synthesis=False, **settings))]

    without = ["fit/engine", "quantize/zoo", "export-onnx/zoo", "compile/zoo", "simulate/zoo"]
    assert stages() == without
    (tmp_path / "ad").mkdir()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 200, 128)).astype(np.float16)
    np.savez(tmp_path / "ad" / "test_ad01.npz", x=x, y=np.array([0, 1, 0, 1]), machine_id=np.zeros(4))
    assert stages(data_dir=tmp_path) == [*without[:2], "execute/zoo", *without[2:]]
    settings, network = Settings("autoencoder", tmp_path, zoo=True, data_dir=tmp_path), load_frozen("autoencoder")
    images = inputs_of(settings, network, 3)
    assert np.array_equal(images[0].ravel(), np.clip(np.rint(x[0, :5].ravel() / np.float32(0.65)), -128, 127))
    score = run_stage(settings, "execute", say=lambda _: None)["execute/zoo"].result
    assert isinstance(score, Score) and (score.metric, score.images) == ("auc", 4)


def test_data_sets_are_not_at_hand_unless_they_are_there(tmp_path: Path, empty_cache: None) -> None:
    assert {name: is_test_at_hand(name, tmp_path) for name in DATASETS} == {name: name == "digits" for name in DATASETS}
    for path in ("cifar10/cifar-10-batches-bin/test_batch.bin", "kws/test_kws01.npz", "vww/test_vww01.npz"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    (tmp_path / "ad/ToyCar").mkdir(parents=True)
    assert all(is_test_at_hand(name, tmp_path) for name in DATASETS)
    (tmp_path / "vww/vw_coco2014_96").mkdir()  # whose list of test images would be fetched
    assert not is_test_at_hand("visual_wake_words", tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "dscnn", "--epochs", "3"], "--epochs says what is trained, but --zoo takes dscnn as it was frozen"),
        (["run", "dscnn", "--scheme", "int8"], "--scheme says what is trained"),
        (["run", "dscnn", "--seeds", "1"], "--seeds says what is trained"),
        (["run", "dscnn", "--transforms", "equalize"], "--transforms says what is trained"),
        (["run", "dscnn", "--baselines", "int8"], "--baselines says what is trained"),
        (["run", "resnet8", "--retrain"], "--retrain says what is trained"),
        (["run", "dscnn", "--device", "cuda"], "--device says what is trained"),
        (["run", "dscnn", "--from-study", "x"], "--zoo cannot be combined with --from-study"),
        (["run", "digits"], "the zoo has no frozen network 'digits'; choose one of autoencoder, dscnn, mobilenet"),
        (["quantize", "dscnn"], "--zoo is not an option of quantize; leave it out"),
        (["train", "dscnn"], "--zoo is not an option of train; leave it out"),
        (["simulate", "dscnn", "--images", "0"], "images must be 1 or more"),
    ],
)
def test_what_only_training_could_follow_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main([*words, "--zoo", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_imported_model_is_not_of_the_zoo(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(IntarsiaError, match="imported and not of the zoo; leave out --zoo"):
        Settings("model", tmp_path, model=tmp_path / "model.onnx", data_dir=tmp_path, zoo=True)


def test_settings_of_the_zoo_are_read_as_they_were_written(tmp_path: Path) -> None:
    settings = Settings("dscnn", tmp_path, zoo=True)
    assert (settings.compared, settings.imported, settings.from_scratch) == ((), None, False)
    assert Settings.from_json(settings.as_json(), tmp_path) == settings


def finished_run(folder: Path, scores: dict[int, float]) -> Settings:
    """A run of DS-CNN as it would be, had it trained the network of the zoo with every seed."""
    command = f"intarsia run dscnn --data /home/me/data --seeds {' '.join(map(str, scores))} --out={folder}"
    settings = Settings("dscnn", folder / "dscnn", seeds=tuple(scores), command=command)
    data = "9 training clips of Speech Commands v0.01; the MLPerf Tiny accuracy set (Speech Commands v0.02) to test."
    for seed, score in scores.items():
        name = f"superposition-seed{seed}"
        for stage in ("quantize", "execute"):
            (settings.folder / stage).mkdir(parents=True, exist_ok=True)
        file = settings.folder / "quantize" / f"{name}.safetensors"
        shutil.copy(ZOO / "dscnn.safetensors", file)
        made = Record({}, {file.name: sha256(file)}, Quantized("s", {}, "", seed, 3, 2, 0.5, data, None), 1.0, {})
        write_record(settings.folder / "quantize" / f"{name}.json", made)
        key = {"inputs": {f"quantize/{name}": made.digest}}
        scored = Record(key, {}, Score("accuracy", score, 1000), 1.0, {})
        write_record(settings.folder / "execute" / f"{name}.json", scored)
    write_json(settings.folder / "settings.json", settings.as_json())
    return settings


@pytest.fixture
def script() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "zoo.py"))


def test_a_finished_run_replaces_a_network_with_its_card(tmp_path: Path, script: dict[str, Any]) -> None:
    zoo = tmp_path / "zoo"
    zoo.mkdir()
    settings = finished_run(tmp_path / "runs", {4: 0.9, 5: 0.8})
    script["put"]("dscnn", settings.folder, zoo)
    card, network = read_card("dscnn", zoo), load_frozen("dscnn", zoo)
    assert (card.seed, card.seeds, card.scores, card.inputs) == (4, (4, 5), (0.9, 0.8), 1000)
    assert card.command == "intarsia run dscnn --seeds 4 5"
    assert (
        card.training == "quantization-aware training, 3 epochs (kept epoch 2 of 3), distilled from the float network"
    )
    assert network.name == "dscnn"
    assert "mean 85.00%, 80.00% to 90.00%" in script["page"]([card])
    assert [text.partition(" ")[0] for text in card.data_licences] == ["Speech"]


def test_records_that_do_not_belong_to_each_other_are_refused(tmp_path: Path, script: dict[str, Any]) -> None:
    settings = finished_run(tmp_path, {0: 0.9})
    with pytest.raises(IntarsiaError, match="holds no finished run that trained resnet8"):
        script["put"]("resnet8", settings.folder, tmp_path)
    with pytest.raises(IntarsiaError, match="holds no finished run"):
        script["put"]("dscnn", tmp_path / "nothing", tmp_path)
    record = settings.folder / "execute" / "superposition-seed0.json"
    content = json.loads(record.read_text())
    write_record(record, Record({"inputs": {}}, {}, Score(**content["result"]), 1.0, {}))
    with pytest.raises(IntarsiaError, match="is the score of another network"):
        script["put"]("dscnn", settings.folder, tmp_path)
    shutil.copy(ZOO / "resnet8.safetensors", settings.folder / "quantize" / "superposition-seed0.safetensors")
    with pytest.raises(IntarsiaError, match="is not the network of"):
        script["put"]("dscnn", settings.folder, tmp_path)


def test_data_without_a_known_licence_is_refused(script: dict[str, Any]) -> None:
    with pytest.raises(IntarsiaError, match="no licence is known of the data"):
        script["data_licences"]("clips from somewhere; the MLPerf Tiny accuracy set (COCO 2014) to test.")
