# SPDX-License-Identifier: Apache-2.0
"""Running all stages, or up to one of them."""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from intarsia.errors import IntarsiaError
from intarsia.files import read_json, sha256, write_json
from intarsia.flow.collect import collect, finished_records
from intarsia.flow.early import require_possible
from intarsia.flow.energy import ENERGY
from intarsia.flow.scheduler import LOCK, BackgroundTasks, Say, locked, run_tasks
from intarsia.flow.settings import SETTINGS_FILE, Settings
from intarsia.flow.stages import STAGES, all_tasks, require_fit, tasks_until, variants
from intarsia.flow.task import Record, Records, Result, Task
from intarsia.report import REPORT_FILES, Results, read_run, table, write_report


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run: its results, the text table and the page."""

    results: Results
    table: str
    page: Path


def run(settings: Settings, *, force: bool = False, say: Say = print, progress: bool = False) -> Outcome:
    """Run all stages; what is done already is skipped, unless `force`.

    The engine is fitted to the network first, so unsupported networks are refused before anything is trained. Synthesis
    needs only that engine, and its tools use one core each: it runs in the background of networks that learn on one
    core, and after the other networks. Energy and timing are those of a trained network, and come last.

    Raises:
        IntarsiaError: the network does not fit the engine, a stage failed, or another run works in the folder. Where
            only synthesis failed, the report of all else is written first.
    """
    require_fit(settings)
    _refuse_other_network(settings)
    tasks = all_tasks(settings)
    require_possible(settings, tasks, () if force else finished_records(settings))
    stop = threading.Event()
    stages = frozenset(stage.name for stage in STAGES) if force else frozenset()

    known: dict[str, Record[Result]] = {}

    def bring(tasks: list[Task[Result]]) -> dict[str, Record[Result]]:
        return run_tasks(tasks, settings, force=stages, say=say, progress=progress, stop=stop, known=known)

    with locked(settings.folder) as lock:
        known |= bring([task for task in tasks if task.stage == "fit"])
        routing = [task for task in tasks if task.stage == "synthesize" and task.name == "ecp5"]
        trained = [task for task in tasks if task.id == ENERGY]
        synthesis = [task for task in tasks if task.stage == "synthesize" and task not in (*routing, *trained)]
        others = [task for task in tasks if task.stage not in ("fit", "synthesize")]
        early = settings.benchmark.threads == 1
        before, after = ((synthesis, routing), (trained,)) if early else ((), ([*synthesis, *trained], routing))
        try:
            background = [BackgroundTasks(bring, part, lock) for part in before if part]
            records = bring(others)
            known |= records
            background += [BackgroundTasks(bring, part, lock) for part in after if part]
            failures = _join(background, records)
        finally:
            stop.set()
        outcome = _write(settings, finished_records(settings) if failures else records)
        if failures:
            say(f"report of the finished stages: {outcome.page}")
            raise failures[0]
        return outcome


def _join(background: Sequence[BackgroundTasks], records: dict[str, Record[Result]]) -> list[IntarsiaError]:
    """Wait for background tasks; add their records to `records` and return what failed."""
    failures = []
    for part in background:
        try:
            records |= part.result()
        except IntarsiaError as error:
            failures.append(error)
    return failures


def run_stage(
    settings: Settings, stage: str, *, force: bool = False, say: Say = print, progress: bool = False
) -> dict[str, Record[Result]]:
    """Run one stage and its unfinished prerequisites; `force` runs the stage again.

    Raises:
        IntarsiaError: the network does not fit the engine that the stage is for, a stage failed, or another run works
            in the folder.
    """
    tasks = tasks_until(settings, stage)
    if any(task.stage == "fit" for task in tasks):
        require_fit(settings)
    _refuse_other_network(settings)
    forced = frozenset({stage}) if force else frozenset()
    done = finished_records(settings)
    require_possible(settings, tasks, [name for name in done if name.partition("/")[0] not in forced])
    with locked(settings.folder):
        records = run_tasks(tasks, settings, force=forced, say=say, progress=progress)
    return {name: record for name, record in records.items() if name.startswith(f"{stage}/")}


def quantized_network(settings: Settings, *, force: bool = False, say: Say = print, progress: bool = False) -> Path:
    """Quantize a network where that is not done yet; return the file of its integer network, that of the first seed.

    Raises:
        IntarsiaError: as for `run_stage`.
    """
    run_stage(settings, "quantize", force=force, say=say, progress=progress)
    return settings.folder / "quantize" / f"{variants(settings)[0].name}.safetensors"


def report(settings: Settings) -> Outcome:
    """Write the report of the stages that are finished under these settings.

    Raises:
        IntarsiaError: nothing is done, the report there says more than is done under these settings, or another run
            works in the folder.
    """
    _refuse_other_network(settings)
    nothing = IntarsiaError(
        f"{settings.folder} holds nothing to report with these options; run it first: "
        f"intarsia run {settings.model or settings.network}."
    )
    if not settings.folder.is_dir():
        raise nothing
    with locked(settings.folder):
        records = finished_records(settings)
        if not records:
            raise nothing
        _refuse_loss(settings, records)
        before = last_settings(settings.folder, model=settings.model, data_dir=settings.data_dir)
        same = before is not None and before == replace(settings, command=before.command, data_dir=before.data_dir)
        return _write(before if before is not None and same else settings, records)


def last_settings(folder: Path, *, model: Path | None = None, data_dir: Path | None = None) -> Settings | None:
    """Return the settings of the run whose report is in a folder; None where there is no report.

    Paths that are given take the place of those of that run: its files may have been moved.

    Raises:
        IntarsiaError: they cannot be read.
    """
    path = folder / SETTINGS_FILE
    if not path.exists():
        return None
    fields: object = read_json(path)
    given = {"model": model, "data_dir": data_dir}
    if isinstance(fields, dict):
        fields |= {name: str(value) for name, value in given.items() if value is not None}
    return Settings.from_json(fields, folder)


def _refuse_foreign_folder(folder: Path) -> None:
    """Refuse to work in a folder that is not of a run, where this one would write over what is there.

    Raises:
        IntarsiaError: names what is there.
    """
    if any((folder / mark).exists() for mark in (LOCK, SETTINGS_FILE)):
        return
    for name in (*REPORT_FILES, *(stage.name for stage in STAGES)):
        if os.path.lexists(folder / name):
            raise IntarsiaError(
                f"{folder} is not the folder of a run, but holds {name}, which this run would write over; choose "
                "another folder with --out."
            )


def _refuse_other_network(settings: Settings) -> None:
    """Refuse to work in the folder of a run of another network, or of no run.

    Raises:
        IntarsiaError: the run that was reported there is of another network: not from the same path, nor the same file;
            or the folder is another's.
    """
    _refuse_foreign_folder(settings.folder)
    try:
        fields: object = read_json(settings.folder / SETTINGS_FILE)
    except IntarsiaError:
        return  # no report, or one that is written again
    if not isinstance(fields, dict) or fields.get("network") != settings.network:
        return
    before, now = fields.get("model"), settings.model
    if before is None and now is None:
        return
    if isinstance(before, str) and now is not None:
        kept = settings.folder / "train" / f"float{now.suffix}"
        if Path(before).absolute() == now.absolute() or (kept.is_file() and sha256(kept) == sha256(now)):
            return
    raise IntarsiaError(
        f"{settings.folder} holds a run of {before or settings.network}, not of {now or settings.network}; choose "
        "another folder with --out, or rename the file."
    )


def _refuse_loss(settings: Settings, records: Records) -> None:
    """Refuse to write a report over one that says more.

    Raises:
        IntarsiaError: tasks of these settings are not done, and the report there shows some that are not either.
    """
    path = settings.folder / "results.json"
    missing = [task.id for task in all_tasks(settings) if task.id not in records]
    if not missing or not path.exists():
        return
    shown = {name for name, _ in read_run(path, "delete it, or run the network again").stages}
    if not shown <= set(records):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise IntarsiaError(
            f"{missing[0]}{more} is not done with these options, and the report in {settings.folder} would lose "
            f"results; run intarsia run {settings.model or settings.network} with them first."
        )


def _write(settings: Settings, records: Records) -> Outcome:
    results, pictures = collect(settings, records)
    write_json(settings.folder / SETTINGS_FILE, settings.as_json())
    page = write_report(results, pictures, settings.folder)
    return Outcome(results, table(results), page)
