# SPDX-License-Identifier: Apache-2.0
"""Running tasks in order: skip what is done, do the rest, never two runs in one folder."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO

from intarsia.cache import default_cache
from intarsia.errors import IntarsiaError
from intarsia.files import LEFTOVERS, STALE, hold, open_lock, sweep
from intarsia.flow.settings import Settings
from intarsia.flow.task import Job, Record, Records, Result, Task, complaint, finished, perform, record_path

Say = Callable[[str], None]

#: In the folder of a run: the file that the run at work there has locked.
LOCK = ".lock"


class FolderBusyError(IntarsiaError):
    """Another run works in the folder; it may be tried again."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[IO[str]]:
    """Hold a folder for one run; the lock goes with the process, however that ends.

    The block gets the file that is locked: whoever keeps a duplicate of its descriptor open holds the folder too.

    Raises:
        IntarsiaError: another run holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise IntarsiaError(f"cannot write {folder}: {error.strerror}; choose another folder with --out.") from error
    had_run = (folder / LOCK).exists()
    with open_lock(folder / LOCK) as lock:
        holder = hold(lock)
        if holder is not None:
            raise FolderBusyError(
                f"another run (process {holder}) works in {folder}; wait for it or choose another folder with --out."
            )
        if had_run:  # else what looks like a leftover is not ours
            sweep(folder.rglob(LEFTOVERS))  # nobody else writes here now
        _sweep_cache()
        yield lock


def _sweep_cache() -> None:
    """Remove what killed runs left in the cache; others may be at work there, so only what is old."""
    with contextlib.suppress(IntarsiaError):  # who has no cache has nothing in it; what needs one says so
        for leftovers in ("simulate/.build-????????", "yowasp/.build-????????", f"synthesize/{LEFTOVERS}"):
            sweep(default_cache().glob(leftovers), older_than=STALE)


def run_tasks(
    tasks: Sequence[Task[Result]],
    settings: Settings,
    *,
    force: frozenset[str] = frozenset(),
    say: Say = print,
    progress: bool = False,
    stop: threading.Event | None = None,
    known: Records = MappingProxyType({}),
) -> dict[str, Record[Result]]:
    """Bring tasks up to date in order, and return their records by `STAGE/NAME`, with those that are known.

    Args:
        tasks: each after those that it needs.
        settings: of the run; its folder must be held (`locked`).
        force: stages whose tasks run even if they are done.
        say: called with one line of text for each task.
        progress: whether long tasks show bars.
        stop: once it is set, no further task begins.
        known: records of tasks that were brought up to date before.

    Raises:
        IntarsiaError: a task failed; what was finished before it stays.
    """
    records = dict(known)
    for task in tasks:
        if stop is not None and stop.is_set():
            break
        record = None if task.stage in force else finished(settings.folder, task, records)
        if record is not None:
            say(f"{task.stage:<10} {task.title}: done before")
        else:
            if reason := complaint(settings.folder, task, records):
                say(f"{task.stage:<10} {reason}")
            say(f"{task.stage:<10} {task.title} …")
            job = Job(settings, task, dict(records), say, progress)
            _prepare(job, fresh=task.stage in force)
            record = perform(job, time.monotonic)
            say(f"{task.stage:<10} {task.title}: {record.result.summary} ({record.seconds:.1f} s)")
        records[task.id] = record
    return records


def _prepare(job: Job, *, fresh: bool) -> None:
    try:
        record_path(job.settings.folder, job.task).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise IntarsiaError(f"cannot write {job.folder}: {error.strerror}.") from error
    if fresh:
        for old in job.folder.glob(f"{job.task.name}.*.checkpoint"):
            old.unlink(missing_ok=True)


class BackgroundTasks:
    """Tasks at work in a thread of their own, which ends with the process: an interrupt does not wait for it.

    The folder, whose `lock` the run holds, stays held until the thread has ended, even if the run ends before it.
    """

    def __init__(
        self, bring: Callable[[list[Task[Result]]], dict[str, Record[Result]]], tasks: list[Task[Result]], lock: IO[str]
    ) -> None:
        self._held = os.dup(lock.fileno())
        self._records: dict[str, Record[Result]] = {}
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, args=(bring, tasks), daemon=True)
        self._thread.start()

    def _work(
        self, bring: Callable[[list[Task[Result]]], dict[str, Record[Result]]], tasks: list[Task[Result]]
    ) -> None:
        try:
            self._records = bring(tasks)
        except BaseException as error:
            self._error = error
        finally:
            os.close(self._held)

    def result(self) -> dict[str, Record[Result]]:
        """Wait for the tasks and return their records, or raise what went wrong."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._records
