"""A study on this machine: workers started, watched and started again, and what they found."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from intarsia.errors import IntarsiaError
from intarsia.explore.database import shown
from intarsia.explore.results import collect
from intarsia.explore.source import ready, settings_of
from intarsia.explore.space import DesignSpace
from intarsia.explore.space_file import read_space
from intarsia.explore.store import Entry, Store
from intarsia.explore.worker import STORAGE_VARIABLE, begin, finished
from intarsia.files import write_json, write_text
from intarsia.report.study import StudyResults
from intarsia.report.study_page import study_page, study_table
from intarsia.words import counted

Say = Callable[[str], None]
#: Times that workers which were killed are started again, all together.
_MOST_RESTARTS = 20
_LOOK = 1.0  # seconds between two looks at the workers
_TELL = 60.0  # seconds between two lines about what remains
_USERS_MISTAKE = 2  # exit status of a worker that cannot go on


@dataclass(frozen=True)
class StudyOptions:
    """Where and how a study runs.

    Attributes:
        folder: of runs; the study's own is inside, and its database by default.
        name: of the study; by default that of the space's file.
        storage: URL of the database; by default SQLite in the study's folder.
        data_dir: folder of data sets, or a user's own data.
        device: where PyTorch trains.
        workers: processes on this machine; 0 only looks at what is there.
        threads: of each worker.
        beat: seconds between two signs of life of a worker.
    """

    folder: Path
    name: str
    storage: str | None = None
    data_dir: Path | None = None
    device: str = "cpu"
    workers: int = 1
    threads: int = 1
    beat: int = 10

    def __post_init__(self) -> None:
        for name, least in (("workers", 0), ("threads", 1), ("beat", 1)):
            if getattr(self, name) < least:
                raise IntarsiaError(f"{name} must be {least} or more, not {getattr(self, name)}; correct --{name}.")

    @property
    def home(self) -> Path:
        """The study's own folder."""
        return self.folder / "studies" / self.name

    @property
    def url(self) -> str:
        """URL of the database."""
        return self.storage or f"sqlite:///{self.home / 'study.db'}"


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
    try:
        options.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise IntarsiaError(
            f"cannot write {options.home}: {error.strerror}; choose another folder with --out."
        ) from error
    store = Store(options.url, options.name, beat=options.beat)
    store.create(path.read_text(), {"network": space.network})
    settings = settings_of(space.network, options.folder, options.data_dir, device=options.device)
    ready(settings)
    begin(store, space)
    say(f"study {options.name} in {shown(options.url)}: {_progress(store, space)}")
    if options.workers:
        _watch(store, space, options, say)
    return write_results(collect(store, space), options.home)


def write_results(results: StudyResults, folder: Path) -> StudyResults:
    """Write `results.json`, `designs.csv`, `results.txt` and `study.html` into a folder; return the results.

    Raises:
        IntarsiaError: a package for the page is missing, or a file cannot be written.
    """
    page = study_page(results)
    write_json(folder / "results.json", results.as_json())
    write_text(folder / "designs.csv", results.as_csv())
    write_text(folder / "results.txt", study_table(results) + "\n")
    write_text(folder / "study.html", page)
    return results


def _watch(store: Store, space: DesignSpace, options: StudyOptions, say: Say) -> None:
    """Keep workers at work until the study is done."""
    workers = [_start(options, number) for number in range(options.workers)]
    restarts, began, told = 0, time.monotonic(), time.monotonic()
    before = _done(store, space)
    try:
        while any(worker.poll() is None for worker in workers):
            time.sleep(_LOOK)
            for number, worker in enumerate(workers):
                status = worker.poll()
                if status in (None, 0):
                    continue
                if status == _USERS_MISTAKE:
                    raise IntarsiaError(_last_words(options, number))
                restarts += 1
                if restarts > _MOST_RESTARTS:
                    raise IntarsiaError(
                        f"workers end again and again (status {status}); run the study with fewer --workers."
                    )
                say(f"a worker ended (status {status}) and is started again")
                workers[number] = _start(options, number)
            if time.monotonic() - told > _TELL:
                told = time.monotonic()
                say(_progress(store, space) + _remaining(store, space, before, told - began))
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()
    if not finished(store, space):
        raise IntarsiaError("the workers ended before the study was done; run the same command to go on.")


def _start(options: StudyOptions, number: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "intarsia.explore.worker", "--study", options.name, "--out", str(options.folder)]
    command += ["--device", options.device, "--threads", str(options.threads), "--beat", str(options.beat)]
    if options.data_dir is not None:
        command += ["--data", str(options.data_dir)]
    threads = {name: str(options.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    environment = os.environ | threads | {STORAGE_VARIABLE: options.url, "OMP_WAIT_POLICY": "passive"}
    with _messages(options, number).open("wb") as messages:
        return subprocess.Popen(command, env=environment, stderr=messages)


def _messages(options: StudyOptions, number: int) -> Path:
    """Return the file that a worker's messages go to; a pipe that nobody reads would stop it."""
    return options.home / f"worker{number}.log"


def _last_words(options: StudyOptions, number: int) -> str:
    lines = _messages(options, number).read_text(errors="replace").splitlines()
    said = [line for line in lines if line.strip()]
    return said[-1].removeprefix("intarsia: error: ") if said else "a worker ended without a word; run it again."


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
