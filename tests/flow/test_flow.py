import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intarsia.errors import IntarsiaError
from intarsia.flow import DEFAULTS, STAGES, Settings
from intarsia.flow.check import require_equal
from intarsia.flow.runner import Beside, locked, run_tasks
from intarsia.flow.stages import all_tasks, tasks_until, variants
from intarsia.flow.task import Job, Task, record_path
from intarsia.integer import file


def quiet(_: str) -> None:
    pass


def settings_in(folder: Path, **changes: Any) -> Settings:
    return Settings("digits", folder, **changes)


class Chain:
    """Two tasks, the second of which reads what the first wrote; counts how often each runs."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def tasks(self, text: str = "a", factor: int = 2) -> list[Task]:
        first = Task("one", "x", "write", self.write, {"text": text}, suffixes=("txt",))
        second = Task("two", "x", "repeat", self.repeat, {"factor": factor}, needs=("one/x",), suffixes=("txt",))
        return [first, second]

    def write(self, job: Job) -> dict[str, Any]:
        self.ran.append("one")
        job.product("txt").write_text(job.task.parameters["text"])
        return {}

    def repeat(self, job: Job) -> dict[str, Any]:
        self.ran.append("two")
        job.product("txt").write_text(job.input("one/x", "txt").read_text() * job.task.parameters["factor"])
        return {"summary": "repeated"}


def ran(chain: Chain, tasks: list[Task], folder: Path, force: frozenset[str] = frozenset()) -> list[str]:
    chain.ran.clear()
    run_tasks(tasks, settings_in(folder), force=force, say=quiet)
    return list(chain.ran)


def test_a_finished_task_is_skipped_and_a_changed_option_reruns_what_depends_on_it(tmp_path: Path) -> None:
    chain = Chain()
    assert ran(chain, chain.tasks(), tmp_path) == ["one", "two"]
    assert ran(chain, chain.tasks(), tmp_path) == []
    assert ran(chain, chain.tasks(factor=3), tmp_path) == ["two"]
    assert ran(chain, chain.tasks(text="b", factor=3), tmp_path) == ["one", "two"]
    assert (tmp_path / "two" / "x.txt").read_text() == "bbb"
    assert ran(chain, chain.tasks(text="b", factor=3), tmp_path, frozenset({"two"})) == ["two"]


@pytest.mark.parametrize("damage", ["product", "record", "removed"])
def test_a_damaged_artifact_is_made_again(tmp_path: Path, damage: str) -> None:
    chain = Chain()
    ran(chain, chain.tasks(), tmp_path)
    product, record = tmp_path / "one" / "x.txt", tmp_path / "one" / "x.json"
    if damage == "removed":
        product.unlink()
    else:
        (product if damage == "product" else record).write_text("half a li")
    # The second task's input comes out the same, so the second need not run again.
    assert ran(chain, chain.tasks(), tmp_path) == ["one"]
    assert product.read_text() == "a"


def test_a_failed_task_leaves_no_record_and_what_was_before_it_stays(tmp_path: Path) -> None:
    chain = Chain()

    def fail(job: Job) -> dict[str, Any]:
        job.product("txt").write_text("half")
        raise IntarsiaError("no.")

    first, second = chain.tasks()
    run_tasks([first, second], settings_in(tmp_path), say=quiet)
    with pytest.raises(IntarsiaError, match="no"):
        run_tasks([first, replace(second, action=fail, parameters={})], settings_in(tmp_path), say=quiet)
    assert not record_path(tmp_path, second).exists()
    assert ran(chain, [first, second], tmp_path) == ["two"]
    assert (tmp_path / "two" / "x.txt").read_text() == "aa"


def test_two_runs_never_share_a_folder_and_leftovers_are_swept(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    half = tmp_path / "one" / ".x.txt.abc.part"
    half.write_text("half")
    with locked(tmp_path):
        assert not half.exists()
        with pytest.raises(IntarsiaError, match=rf"process {os.getpid()}.*--out"), locked(tmp_path):
            pass
    with locked(tmp_path), (tmp_path / ".lock").open() as lock, pytest.raises(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_work_beside_gives_its_records_or_its_error(tmp_path: Path) -> None:
    chain = Chain()

    def bring(tasks: list[Task]) -> dict[str, Any]:
        return run_tasks(tasks, settings_in(tmp_path), say=quiet)

    assert set(Beside(bring, chain.tasks()).result()) == {"one/x", "two/x"}

    def fail(_: Job) -> dict[str, Any]:
        raise IntarsiaError("no tool.")

    with pytest.raises(IntarsiaError, match="no tool"):
        Beside(bring, [Task("three", "x", "fail", fail)]).result()


def test_what_is_routed_follows_from_network_and_option() -> None:
    def routed(settings: Settings) -> list[Any]:
        return [task.parameters["what"] for task in all_tasks(settings) if task.id == "synthesize/ecp5"]

    assert routed(settings_in(Path())) == ["lane"]
    assert routed(settings_in(Path(), route="engine")) == ["engine"]
    assert routed(Settings("resnet8", Path())) == ["engine"]
    assert routed(Settings("resnet8", Path(), route="none")) == []
    assert routed(Settings("resnet8", Path(), synthesis=False)) == []


def test_a_new_seed_quantizes_only_that_seed_and_never_trains_again() -> None:
    before, after = (
        {task.id: (task.parameters, task.needs) for task in all_tasks(settings_in(Path(), seeds=seeds))}
        for seeds in ((0,), (0, 1))
    )
    assert {name: before[name] for name in before} == {name: after[name] for name in before}
    assert set(after) - set(before) == {"quantize/superposition-seed1", "execute/superposition-seed1"}


def test_each_option_changes_only_what_depends_on_it() -> None:
    def keys(**changes: Any) -> dict[str, Any]:
        return {task.id: task.parameters for task in all_tasks(settings_in(Path(), **changes))}

    def changed(**changes: Any) -> set[str]:
        before, after = keys(), keys(**changes)
        return {name.split("/")[0] for name in before if before[name] != after.get(name)}

    assert changed(float_epochs=3) == {"train"}
    assert changed(epochs=3) == {"quantize"}
    assert changed(images=3) == {"simulate"}
    assert changed(onnx_images=3) == {"export-onnx"}
    assert changed(device="cuda", command="x", data_dir=Path("/d")) == set()


def test_a_stage_brings_what_it_depends_on_and_nothing_else() -> None:
    settings = settings_in(Path())
    assert [task.id for task in tasks_until(settings, "simulate")] == [
        "train/float",
        "quantize/superposition-seed0",
        "simulate/superposition-seed0",
    ]
    assert {task.stage for task in tasks_until(settings, "synthesize")} == {"synthesize"}
    assert {stage.name for stage in STAGES} == {task.stage for task in all_tasks(settings)}


def test_schemes_make_names_that_are_safe_for_files() -> None:
    names = [variant.name for variant in variants(settings_in(Path(), scheme="ternary+2:16/16xint4 a4"))]
    assert names == ["ternary+2-16-16xint4-a4-seed0", "ternary-seed0", "int8"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": (1, 1)}, "different"),
        ({"seeds": ()}, "seeds"),
        ({"epochs": -1}, "epochs"),
        ({"images": 0}, "images"),
        ({"scheme": "int8"}, "baseline"),
        ({"route_seconds": 0}, "seconds"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(IntarsiaError, match=message):
        settings_in(Path(), **changes)


def test_the_flow_knows_every_network_of_the_registry() -> None:
    pytest.importorskip("torch")
    from intarsia.networks import NETWORKS  # noqa: PLC0415

    assert {name: (entry.dataset, entry.retrain) for name, entry in DEFAULTS.items()} == {
        name: (spec.dataset, not spec.in_zoo) for name, spec in NETWORKS.items()
    }


def test_a_difference_names_layer_and_image() -> None:
    values = np.zeros((3, 2, 2), np.int8)
    wrong = values.copy()
    wrong[2, 1, 0] = 1
    with pytest.raises(IntarsiaError, match=r"engine differs .* layer conv1, image 12: 1 of 12"):
        require_equal("the engine", "conv1", wrong, values, 10)
    with pytest.raises(IntarsiaError, match="shape"):
        require_equal("the engine", "conv1", values[:, :1], values, 0)


TINY = ["--float-epochs", "2", "--epochs", "2", "--images", "2", "--onnx-images", "4", "--skip-synthesis"]


def start(out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "intarsia.cli", "run", "digits", "--out", str(out), *TINY]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def kill_within(stage: str, out: Path, delay: float) -> None:
    """Start a run and kill it with SIGKILL `delay` seconds after a stage's first task began."""
    process = start(out)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(stage) and line.rstrip().endswith("…"):
            time.sleep(delay)
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_run_that_is_killed_in_every_stage_resumes_and_loses_nothing(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    finished: dict[str, str] = {}
    for number, stage in enumerate(stage.name for stage in STAGES if stage.name != "synthesize"):
        kill_within(stage, tmp_path, delay=0.02 * number)
        records = {str(path): path.read_text() for path in (tmp_path / "digits").glob("*/*.json")}
        for path, text in records.items():
            if not path.endswith(".program.json"):
                json.loads(text)  # whole, never half-written
        assert finished.items() <= records.items(), "a finished task was lost or done again"
        finished = {path: text for path, text in records.items() if not path.endswith(".program.json")}
    process = start(tmp_path)
    output, log = process.communicate()
    assert process.returncode == 0, log
    assert "values of" in output
    folder = tmp_path / "digits"
    assert "train      float network from scratch: done before" in log
    network = file.load(folder / "quantize" / "superposition-seed0.safetensors")
    assert network.input.shape == (1, 8, 8)
    results = json.loads((folder / "results.json").read_text())
    assert results["simulated"]["images"] == 2
    assert results["exported"]["images"] == 4
    assert [row["name"] for row in results["accuracies"]] == ["float", "superposition", "ternary", "int8"]
    assert not [path for path in folder.rglob("*") if path.suffix in (".part", ".checkpoint")]
    page = (folder / "report.html").read_text()
    assert "results" in log or page.startswith("<!doctype html>")


def test_a_synthesis_that_is_killed_leaves_no_record_and_no_tool_at_work(tmp_path: Path) -> None:
    pytest.importorskip("pyosys")
    command = [sys.executable, "-m", "intarsia.cli", "synthesize", "digits", "--out", str(tmp_path)]
    environment = {**os.environ, "INTARSIA_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("synthesize")
    time.sleep(1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list((tmp_path / "digits").glob("synthesize/*.json")) == []
    assert list((tmp_path / "cache").rglob("*.json")) == []
    if sys.platform == "linux":
        deadline = time.monotonic() + 60
        while any(str(tmp_path) in folder for folder in working_folders()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not any(str(tmp_path) in folder for folder in working_folders())


def working_folders() -> list[str]:
    """The working folders of all processes that still run."""
    folders = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            folders.append(str(entry.readlink()))
        except OSError:
            continue
    return folders
