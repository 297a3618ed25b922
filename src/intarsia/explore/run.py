# SPDX-License-Identifier: Apache-2.0
"""A study from its file to its results: put into the database, worked on, watched and reported."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from intarsia.errors import IntarsiaError
from intarsia.explore.database import shown
from intarsia.explore.jobs import Entry
from intarsia.explore.options import DATABASE, StudyOptions
from intarsia.explore.results import collect
from intarsia.explore.source import cell_library, identity, ready, settings_of
from intarsia.explore.space import DesignSpace
from intarsia.explore.space_file import read_space
from intarsia.explore.store import Store
from intarsia.explore.worker import begin, finished
from intarsia.explore.workers import Processes, Workers
from intarsia.files import write_json, write_text
from intarsia.flow import Settings
from intarsia.flow.early import require_possible
from intarsia.flow.float_networks import require_device
from intarsia.report.study import StudyResults, read_results
from intarsia.report.study_page import study_page, study_table
from intarsia.text import counted
from intarsia.typed_json import to_json

Say = Callable[[str], None]
_LOOK = 1.0  # seconds between two looks at the workers
_TELL = 60.0  # seconds between two lines about what remains

#: The files that a study writes into its folder when it ends, in this order.
_FILES = (_RESULTS, _DESIGNS, _TABLE, _PAGE) = ("results.json", "designs.csv", "results.txt", "study.html")


def explore(path: Path, options: StudyOptions, *, say: Say = print) -> StudyResults:
    """Run a study to its end, or take it up where it was left.

    Args:
        path: file of the design space.
        options: where and how.
        say: called with one line of text now and then.

    Raises:
        IntarsiaError: the space is malformed, the folder cannot be written, the database cannot be reached, or workers
            cannot go on.
    """
    space = read_space(path)
    settings = settings_of(space.network, options.folder, options.data_dir, device=options.device)
    if options.workers:
        _require_possible(space, settings, options)
    _refuse_foreign_folder(options.home)
    try:
        options.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise IntarsiaError(
            f"cannot write {options.home}: {error.strerror}; choose another folder with --out."
        ) from error
    store = Store(options.url, options.name, heartbeat=options.heartbeat)
    if options.workers:
        ready(settings)
        store.create(path.read_text(encoding="utf-8"), identity(settings, space))
        begin(store, space)
    say(f"study {options.name} in {shown(options.url)}: {_progress(store, space)}")
    if options.workers:
        _watch(store, space, options, say)
    return write_results(_found(collect(store, space)), options.home)


def _refuse_foreign_folder(home: Path) -> None:
    """Refuse to write over what is not of a study.

    Raises:
        IntarsiaError: names what is there.
    """
    found = [name for name in _FILES if os.path.lexists(home / name)]
    if not found or (home / DATABASE).exists():
        return
    try:
        read_results(home)
    except IntarsiaError as error:
        raise IntarsiaError(
            f"{home} is not the folder of a study, but holds {found[0]}, which the study would write over; choose "
            "another name with --study."
        ) from error


def _require_possible(space: DesignSpace, settings: Settings, options: StudyOptions) -> None:
    """Refuse, before anything long, a study whose workers are sure to fail.

    Raises:
        IntarsiaError: a library, data, the device or the cluster is not there.
    """
    cell_library(space)
    require_possible(settings, ())
    if options.device != StudyOptions.device:
        require_device(options.device)
    if options.ray is not None:
        from intarsia.explore.cluster import require_cluster  # noqa: PLC0415 (an optional part)

        require_cluster(options.ray)


def _found(results: StudyResults) -> StudyResults:
    """Return results that hold a design.

    Raises:
        IntarsiaError: they hold none; says why.
    """
    if results.designs:
        return results
    if not results.refused:
        raise IntarsiaError(f"nothing of the study {results.name} is evaluated yet; start workers first.")
    name, reason = next(iter(results.refused.items()))
    raise IntarsiaError(f"no design of the study {results.name} can be evaluated; of {name}: {reason}")


def write_results(results: StudyResults, folder: Path) -> StudyResults:
    """Write `results.json`, `designs.csv`, `results.txt` and `study.html` into a folder; return the results.

    Raises:
        IntarsiaError: a package for the page is missing, or a file cannot be written.
    """
    page = study_page(results)
    write_json(folder / _RESULTS, to_json(results))
    write_text(folder / _DESIGNS, results.as_csv())
    write_text(folder / _TABLE, study_table(results) + "\n")
    write_text(folder / _PAGE, page)
    return results


def _watch(store: Store, space: DesignSpace, options: StudyOptions, say: Say) -> None:
    """Keep workers at work until the study is done."""
    began = told = time.monotonic()
    before = _done(store, space)
    with _workers(options) as workers:
        while not workers.ended(say):
            time.sleep(_LOOK)
            if time.monotonic() - told > _TELL:
                told = time.monotonic()
                say(_progress(store, space) + _remaining(store, space, before, told - began))
    if not finished(store, space):
        raise IntarsiaError("the workers ended before the study was done; run the same command to go on.")


def _workers(options: StudyOptions) -> AbstractContextManager[Workers]:
    if options.ray is None:
        return Processes(options)
    from intarsia.explore.cluster import RayTasks  # noqa: PLC0415 (an optional part)

    return RayTasks(options, options.ray)


def _done(store: Store, space: DesignSpace) -> int:
    return sum(entry.state == "done" for entry in _entries(store, space))


def _entries(store: Store, space: DesignSpace) -> Sequence[Entry]:
    return [entry for rung in range(len(space.rungs)) for entry in store.entries(rung)]


def _progress(store: Store, space: DesignSpace) -> str:
    parts = []
    for rung in range(len(space.rungs)):
        entries = [entry for entry in store.entries(rung) if entry.state != "lost"]
        done = sum(entry.state in ("done", "refused") for entry in entries)
        if entries:
            parts.append(f"rung {rung}: {done} of {counted(len(entries), 'evaluation')}")
    return ", ".join(parts) or "nothing is evaluated yet"


def _remaining(store: Store, space: DesignSpace, before: int, seconds: float) -> str:
    """Say how long what is known to be left takes at the pace so far."""
    entries = _entries(store, space)
    done = sum(entry.state == "done" for entry in entries) - before
    left = sum(entry.state in ("waiting", "running") for entry in entries)
    if not done:
        return ""
    minutes = seconds / done * left / 60
    return f"; about {minutes:.0f} minutes more at this pace" if minutes >= 1 else "; less than a minute more"
