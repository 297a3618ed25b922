"""Running the path, whole or up to a stage."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from intarsia.errors import IntarsiaError
from intarsia.files import read_json
from intarsia.flow.collect import collect, finished_records
from intarsia.flow.runner import Beside, Say, locked, run_tasks
from intarsia.flow.settings import Settings, defaults_of
from intarsia.flow.stages import STAGES, all_tasks, tasks_until
from intarsia.flow.task import Record, Task
from intarsia.report import Results, table, write_report


@dataclass(frozen=True)
class Outcome:
    """What a run ends with: its results, the text table and the page."""

    results: Results
    table: str
    page: Path


def run(settings: Settings, *, force: bool = False, say: Say = print, progress: bool = False) -> Outcome:
    """Walk the whole path; what is done already is skipped, unless `force`.

    Synthesis depends on no other stage and its tools use one core each, so it goes on beside networks that learn on one
    core; others learn undisturbed, and synthesis comes last.

    Raises:
        IntarsiaError: a stage failed, or another run works in the folder.
    """
    stages = frozenset(stage.name for stage in STAGES) if force else frozenset()

    def bring(tasks: list[Task]) -> dict[str, Record]:
        return run_tasks(tasks, settings, force=stages, say=say, progress=progress)

    tasks = all_tasks(settings)
    with locked(settings.folder):
        routing = [task for task in tasks if task.stage == "synthesize" and task.name == "ecp5"]
        synthesis = [task for task in tasks if task.stage == "synthesize" and task not in routing]
        others = [task for task in tasks if task.stage != "synthesize"]
        early = defaults_of(settings.network).threads == 1
        beside = [Beside(bring, part) for part in (synthesis, routing) if early]
        records = bring(others)
        beside = beside or [Beside(bring, part) for part in (synthesis, routing)]
        for part in beside:
            records |= part.result()
        return _write(settings, records)


def run_stage(
    settings: Settings, stage: str, *, force: bool = False, say: Say = print, progress: bool = False
) -> dict[str, Record]:
    """Run one stage, and before it what it depends on and is not done; `force` runs the stage anew.

    Raises:
        IntarsiaError: a stage failed, or another run works in the folder.
    """
    with locked(settings.folder):
        tasks = tasks_until(settings, stage)
        forced = frozenset({stage}) if force else frozenset()
        records = run_tasks(tasks, settings, force=forced, say=say, progress=progress)
    return {name: record for name, record in records.items() if name.startswith(f"{stage}/")}


def report(settings: Settings) -> Outcome:
    """Write the report of what is done under these settings.

    Raises:
        IntarsiaError: nothing is done, or another run works in the folder.
    """
    with locked(settings.folder):
        records = finished_records(settings)
        if not records:
            raise IntarsiaError(
                f"{settings.folder} holds nothing to report with these options; run it first: "
                f"intarsia run {settings.network}."
            )
        return _write(replace(settings, command=_command_before(settings) or settings.command), records)


def _command_before(settings: Settings) -> str:
    """The command that the last report names: that of the run, which a report alone does not change."""
    path = settings.folder / "results.json"
    if not path.exists():
        return ""
    return str(read_json(path).get("command", ""))


def _write(settings: Settings, records: Mapping[str, Record]) -> Outcome:
    results, pictures = collect(settings, records)
    page = write_report(results, pictures, settings.folder)
    return Outcome(results, table(results), page)
