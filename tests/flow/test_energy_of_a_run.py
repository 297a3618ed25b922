# SPDX-License-Identifier: Apache-2.0
"""Energy and timing of a run are those of its network, on the engine that is fitted to it."""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from intarsia.engine.cycles import predict
from intarsia.errors import IntarsiaError
from intarsia.flow import Settings, api, run
from intarsia.flow.collect import collect
from intarsia.flow.energy import ENERGY, SAMPLED_CYCLES, estimate_energy
from intarsia.flow.hardware import FIT, compile_for, engine_of
from intarsia.flow.scheduler import run_tasks
from intarsia.flow.stages import all_tasks
from intarsia.flow.task import Job, Record, Result, Task, read_record, required
from intarsia.integer import file
from intarsia.report import render, table
from intarsia.report.data import Estimated
from intarsia.synthesize.pdk import CONDITIONS, NO_LIBRARIES

NETWORK = "quantize/superposition-seed0"


def settings_in(folder: Path, **changes: Any) -> Settings:
    return Settings("digits", folder, lanes=8, seeds=(0,), float_epochs=1, epochs=0, baselines=(), **changes)


def energy_of(settings: Settings) -> Task[Result] | None:
    return next((task for task in all_tasks(settings) if task.id == ENERGY), None)


def test_energy_is_a_task_of_a_trained_network_unless_it_is_not_wanted() -> None:
    task = energy_of(settings_in(Path()))
    assert task is not None
    assert task.needs == (NETWORK, FIT)
    assert task.parameters["cycles"] == SAMPLED_CYCLES
    full = energy_of(settings_in(Path(), energy="full"))
    assert full is not None
    assert full.parameters == {**task.parameters, "cycles": None}
    assert energy_of(settings_in(Path(), energy="none")) is None
    assert energy_of(settings_in(Path(), synthesis=False)) is None


def test_libraries_that_appear_make_the_estimate_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTARSIA_CACHE", str(tmp_path))
    monkeypatch.delenv("PDK_ROOT", raising=False)
    before = energy_of(settings_in(tmp_path))
    monkeypatch.setenv("PDK_ROOT", "/pdk")
    after = energy_of(settings_in(tmp_path))
    assert before is not None
    assert after is not None
    assert (before.parameters["pdk"], after.parameters["pdk"]) == (None, "/pdk")


def test_without_libraries_the_task_says_what_to_do_and_leaves_no_netlist(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    task = energy_of(settings)
    assert task is not None
    found = estimate_energy(Job(settings, task, {}, lambda _: None, progress=False), None, SAMPLED_CYCLES)
    assert found == Estimated(None, NO_LIBRARIES)
    assert found.summary == f"not estimated: {NO_LIBRARIES}"
    assert not list(tmp_path.iterdir())
    results, _ = collect(settings, {ENERGY: Record({}, {}, found, 0.0, {})})
    assert NO_LIBRARIES in table(results)


@dataclass(frozen=True)
class Done:
    """The result of another task."""

    summary: str = "done"


@pytest.mark.parametrize("network", ["digits", "resnet8"])  # one synthesizes before its training, one after it
def test_energy_comes_after_the_network_and_its_failure_leaves_the_report_of_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    for package in ("torch", "jinja2"):
        pytest.importorskip(package)
    ran: list[str] = []

    def act(job: Job) -> Done:
        ran.append(job.task.id)
        return Done()

    def fail(job: Job) -> Estimated:
        ran.append(job.task.id)
        raise IntarsiaError("no netlist.")

    stage, _, name = ENERGY.partition("/")
    tasks: list[Task[Result]] = [
        Task("fit", "x", "fit", act, Done),
        Task("quantize", "x", "quantize", act, Done, needs=("fit/x",)),
        Task(stage, "x", "synthesize", act, Done, needs=("fit/x",)),
        Task(stage, name, "energy", fail, Estimated, needs=("quantize/x",)),
    ]
    monkeypatch.setattr(api, "all_tasks", lambda _: tasks)
    with pytest.raises(IntarsiaError, match="no netlist"):
        run(Settings(network, tmp_path / "run"), say=lambda _: None)
    assert ran.index("fit/x") == 0
    assert ran.index(ENERGY) > ran.index("quantize/x")
    assert sorted(ran) == sorted(task.id for task in tasks)
    assert (tmp_path / "run" / "report.html").exists()


Finished = tuple[Settings, list[Task[Result]], dict[str, Record[Result]]]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    for package in ("torch", "pyosys", "jinja2"):
        pytest.importorskip(package)
    if not os.environ.get("PDK_ROOT"):
        pytest.skip("PDK_ROOT is not set")
    settings = settings_in(tmp_path_factory.mktemp("measured") / "digits")
    tasks = [task for task in all_tasks(settings) if task.id in (FIT, "train/float", NETWORK, ENERGY)]
    return settings, tasks, run_tasks(tasks, settings, say=lambda _: None)


@pytest.mark.pdk
def test_a_run_keeps_the_netlist_and_the_energy_of_its_network(measured: Finished) -> None:
    settings, _, records = measured
    found = required(records, ENERGY, Estimated).estimate
    assert found is not None
    network = file.load(settings.folder / f"{NETWORK}.safetensors")
    program = compile_for(network, engine_of(records))
    assert [(layer.name, layer.cycles) for layer in found.layers] == [
        (layer.name, layer.cycles) for layer in predict(program)
    ]
    assert (found.conditions, found.sampled) == (CONDITIONS, SAMPLED_CYCLES)
    assert found.total == pytest.approx(sum(part.total for part in found.parts))
    assert {"lanes", "activation memory", "weight memory"} <= {part.name for part in found.parts}
    assert all(part.total >= 0 for part in found.parts)
    assert found.settled_ns <= found.period_ns
    assert found.timing.path.period_ns <= found.period_ns
    assert found.timing.buffers_um2 < found.timing.cells_um2
    netlist = settings.folder / found.netlist
    assert netlist.name in records[ENERGY].files
    assert "module intarsia_engine" in netlist.read_text()
    assert read_record(settings.folder / f"{ENERGY}.json", Estimated).result == Estimated(found)


@pytest.mark.pdk
def test_a_finished_estimate_is_not_made_again_until_its_netlist_is_lost(measured: Finished, tmp_path: Path) -> None:
    made, tasks, records = measured
    settings = replace(made, folder=tmp_path / "digits")
    shutil.copytree(made.folder, settings.folder)
    said: list[str] = []
    again = run_tasks(tasks, settings, say=said.append)
    assert all(line.endswith("done before") for line in said)
    assert again == records
    (settings.folder / f"{ENERGY}.netlist.v").unlink()
    other = replace(tasks[-1], action=lambda _: Estimated(None, "again"))
    last = run_tasks([*tasks[:-1], other], settings, say=said.append)[ENERGY]
    assert last.result == Estimated(None, "again")


@pytest.mark.pdk
def test_the_report_of_a_run_shows_energy_and_timing(measured: Finished) -> None:
    settings, _, records = measured
    results, _ = collect(settings, records)
    page, text = render(results, []), table(results)
    for said in (page, text):
        assert f"stimate before layout, {CONDITIONS}" in said
        assert " µJ" in said
    assert "<summary>The path: " in page
