# SPDX-License-Identifier: Apache-2.0
"""Tasks: the pieces of a run that are done, kept and skipped as a whole, and the records that say so.

A task's products lie in `FOLDER/STAGE/`, next to a record `NAME.json` that is written last. The record holds the key:
everything that the products depend on (parameters, digests of what other tasks made, versions). A task is done when
its record has today's key and its products still have the digests that the record gives; then it is skipped. So a
changed option reruns exactly what depends on it, and a killed run leaves nothing that looks finished and is not.
"""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from intarsia import __version__
from intarsia.errors import IntarsiaError
from intarsia.files import sha256, write_json
from intarsia.flow.settings import Settings
from intarsia.typed_json import MismatchError, from_json, mismatch, read_typed, to_json

#: Raised by hand when a stage's meaning changes within a version of the package; 1 where none is given.
_REVISIONS: Mapping[str, int] = MappingProxyType(
    # 2: calibration and teacher read inputs as integers hold them; equalization for readers only.
    # 3: patterns of a linear layer count the channels of a pixel; another version of the network's file; channels of an
    # input may have grids of their own.
    # 4: one multiplier per channel, planes a power of two apart, residual inputs.
    {"quantize": 4}
)

_REMEDY = "run its stage again"


class Result(Protocol):
    """What a task finds out: a dataclass that `intarsia.typed_json` writes and reads."""

    @property
    def summary(self) -> str:
        """In one line."""


R = TypeVar("R", bound=Result)
R_co = TypeVar("R_co", bound=Result, covariant=True)


@dataclass(frozen=True)
class Record(Generic[R_co]):
    """What a finished task left.

    Attributes:
        key: everything that the products depend on, JSON values.
        files: SHA-256 of each product, by name in the stage's folder.
        result: what it found out.
        seconds: how long it took.
        environment: versions of Python and packages.
    """

    key: Mapping[str, object]
    files: Mapping[str, str]
    result: R_co
    seconds: float
    environment: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Stands for what the task made (not for how long it took)."""
        return _digest({"files": self.files, "result": to_json(self.result)})


#: By `STAGE/NAME`.
Records = Mapping[str, Record[Result]]


def result_of(records: Records, task: str, kind: type[R]) -> R | None:
    """Return the result of a task (`STAGE/NAME`); None where it has no record."""
    return required(records, task, kind) if task in records else None


def required(records: Records, task: str, kind: type[R]) -> R:
    """Return the result of a task that is known to be finished, such as one that the present one needs."""
    result = records[task].result
    if not isinstance(result, kind):
        raise TypeError(f"{task} has the result {type(result).__name__}, not {kind.__name__}")
    return result


@dataclass(frozen=True)
class _StoredRecord:
    """The file of a record; `sum` is over key, files and result."""

    key: Mapping[str, object]
    files: Mapping[str, str]
    result: Mapping[str, object]
    seconds: float
    environment: Mapping[str, str]
    sum: str

    def right_sum(self) -> str:
        """Return the sum that belongs to the rest."""
        return _digest({"key": self.key, "files": self.files, "result": self.result})


@dataclass(frozen=True)
class Job:
    """A task at work: its settings and where things lie."""

    settings: Settings
    task: "Task[Result]"
    records: Records
    say: Callable[[str], None]
    progress: bool

    @property
    def folder(self) -> Path:
        """The stage's folder, where this task's products go."""
        return self.settings.folder / self.task.stage

    def product(self, suffix: str) -> Path:
        """Path of this task's product `NAME.SUFFIX`."""
        return self.folder / f"{self.task.name}.{suffix}"

    def input(self, task: str, suffix: str) -> Path:
        """Path of the product of another task, given as `STAGE/NAME`."""
        return self.settings.folder / f"{task}.{suffix}"

    def checkpoint(self) -> Path:
        """Where training keeps its state; another key has another file, so states never mix."""
        key = key_of(self.task, self.records)
        return self.folder / f"{self.task.name}.{_digest(key)[:12]}.checkpoint"


@dataclass(frozen=True)
class Task(Generic[R_co]):
    """One piece of a run.

    Attributes:
        stage: the stage that it belongs to.
        name: unique in the stage; names its files.
        title: what it does, for people.
        action: does it, writes the products and returns the result.
        kind: of the result.
        parameters: what the products depend on, besides inputs and versions; JSON values, compared and never read.
        needs: tasks (`STAGE/NAME`) whose products it reads.
        suffixes: of its products `NAME.SUFFIX`.
        optional: suffixes of products that it may make.
        packages: whose versions the products depend on.
    """

    stage: str
    name: str
    title: str
    action: Callable[[Job], R_co]
    kind: type[R_co]
    parameters: Mapping[str, object] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`STAGE/NAME`."""
        return f"{self.stage}/{self.name}"


def key_of(task: Task[Result], records: Records) -> dict[str, object]:
    """Return everything that a task's products depend on."""
    return {
        "intarsia": f"{__version__}-{_REVISIONS.get(task.stage, 1)}",
        "parameters": to_json(task.parameters),
        "inputs": {name: records[name].digest for name in task.needs},
        "packages": {name: package_version(name) for name in task.packages},
    }


def record_path(folder: Path, task: Task[Result]) -> Path:
    """Where a task's record lies."""
    return folder / task.stage / f"{task.name}.json"


def read_record(path: Path, kind: type[R]) -> Record[R]:
    """Read a record whose result is of a kind.

    Raises:
        IntarsiaError: the file is missing or damaged, or was written by another version.
    """
    stored = read_typed(_StoredRecord, path, _REMEDY)
    try:
        result = from_json(kind, stored.result)
    except MismatchError as error:
        raise mismatch(path, error, _REMEDY) from error
    if stored.sum != stored.right_sum():
        raise IntarsiaError(f"{path} was changed after it was written; {_REMEDY}.")
    return Record(stored.key, stored.files, result, stored.seconds, stored.environment)


def write_record(path: Path, record: Record[Result]) -> None:
    """Write a record.

    Raises:
        IntarsiaError: the file cannot be written.
    """
    result = to_json(record.result)
    stored = _StoredRecord(record.key, record.files, result, record.seconds, record.environment, "")
    write_json(path, to_json(replace(stored, sum=stored.right_sum())))


def finished(folder: Path, task: Task[R], records: Records) -> Record[R] | None:
    """Return the record of a task that need not run again, else None."""
    try:
        record = read_record(record_path(folder, task), task.kind)
    except IntarsiaError:
        return None  # whatever is wrong with it, the task makes it again
    if record.key != key_of(task, records):
        return None
    certain, possible = ({f"{task.name}.{suffix}" for suffix in kind} for kind in (task.suffixes, task.optional))
    if not certain <= set(record.files) <= certain | possible:
        return None
    return None if _changed(folder, task, record) else record


def _changed(folder: Path, task: Task[R], record: Record[R]) -> list[Path]:
    """Return the products that are not as the record says."""
    products = {folder / task.stage / name: digest for name, digest in record.files.items()}
    return [path for path, digest in products.items() if not path.is_file() or sha256(path) != digest]


def complaint(folder: Path, task: Task[Result], records: Records) -> str:
    """Return what is wrong with a record that is there, or with its products, one sentence; empty if nothing is, or if
    it is of another key.
    """
    path = record_path(folder, task)
    try:
        record = read_record(path, task.kind) if path.exists() else None
    except IntarsiaError as error:
        return str(error)
    if record is None or record.key != key_of(task, records):
        return ""
    changed = _changed(folder, task, record)
    return f"{changed[0]} is not as its run left it; it is made again." if changed else ""


def perform(job: Job, clock: Callable[[], float]) -> Record[Result]:
    """Run a task and write its record, which makes it finished.

    Raises:
        IntarsiaError: the task failed.
    """
    path = record_path(job.settings.folder, job.task)
    path.unlink(missing_ok=True)  # from here on the old products are not trusted
    for product in map(job.product, job.task.optional):
        product.unlink(missing_ok=True)
    start = clock()
    result = job.task.action(job)
    made = [product for product in map(job.product, job.task.optional) if product.exists()]
    files = {product.name: sha256(product) for product in (*map(job.product, job.task.suffixes), *made)}
    record = Record(
        key=key_of(job.task, job.records),
        files=files,
        result=result,
        seconds=round(clock() - start, 2),
        environment=environment(job.task.packages),
    )
    write_record(path, record)
    for old in job.folder.glob(f"{job.task.name}.*.checkpoint"):
        old.unlink(missing_ok=True)
    return record


def environment(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of Python and of packages, and the machine's kind."""
    versions = {name: package_version(name) for name in packages}
    return {"python": platform.python_version(), "machine": platform.machine(), "intarsia": __version__} | versions


def package_version(name: str) -> str:
    """Return an installed package's version, or `missing`."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _digest(value: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
