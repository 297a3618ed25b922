# SPDX-License-Identifier: Apache-2.0
"""Tasks: the pieces of a run that are done, kept and skipped as a whole, and the records that say so.

A task's products lie in `FOLDER/STAGE/`, beside a record `NAME.json` that is written last. The record holds the key:
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
from typing import Any

from intarsia import __version__
from intarsia.errors import IntarsiaError
from intarsia.files import read_json, sha256, write_json
from intarsia.flow.settings import Settings

#: Raised by hand when a stage's meaning changes within a version of the package; 1 where none is given.
_REVISIONS: Mapping[str, int] = MappingProxyType(
    # 2: calibration and teacher read inputs as integers hold them; equalization for readers alone.
    # 3: patterns of a linear layer count the channels of a pixel; another version of the network's file; channels of an
    # input may have grids of their own.
    {"quantize": 3}
)


@dataclass(frozen=True)
class Record:
    """What a finished task left.

    Attributes:
        key: everything that the products depend on.
        files: SHA-256 of each product, by name in the stage's folder.
        result: what it found out, JSON values only.
        seconds: how long it took.
        environment: versions of Python and packages.
        sum: of key, files and result; empty in records of earlier versions.
    """

    key: Mapping[str, Any]
    files: Mapping[str, str]
    result: Mapping[str, Any]
    seconds: float
    environment: Mapping[str, str]
    sum: str = ""

    def with_sum(self) -> "Record":
        """Return this record with its sum."""
        return replace(self, sum=self._sum())

    @property
    def is_whole(self) -> bool:
        """Whether the record is as it was written: of the right types, and with the right sum if it has one."""
        parts = (self.key, self.files, self.result, self.environment)
        if not all(isinstance(part, dict) for part in parts) or type(self.seconds) not in (int, float):
            return False
        return self.sum in ("", self._sum())

    def _sum(self) -> str:
        return _digest({"key": self.key, "files": self.files, "result": self.result})

    @property
    def digest(self) -> str:
        """Stands for what the task made (not for how long it took)."""
        return _digest({"files": dict(self.files), "result": dict(self.result)})


@dataclass(frozen=True)
class Job:
    """A task at work: its settings and where things lie."""

    settings: Settings
    task: "Task"
    records: Mapping[str, Record]
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
class Task:
    """One piece of a run.

    Attributes:
        stage: the stage that it belongs to.
        name: unique in the stage; names its files.
        title: what it does, for people.
        action: does it, writes the products and returns the result.
        parameters: options that the products depend on, JSON values only.
        needs: tasks (`STAGE/NAME`) whose products it reads.
        suffixes: of its products `NAME.SUFFIX`.
        optional: suffixes of products that it may make.
        packages: whose versions the products depend on.
    """

    stage: str
    name: str
    title: str
    action: Callable[[Job], dict[str, Any]]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`STAGE/NAME`."""
        return f"{self.stage}/{self.name}"


def key_of(task: Task, records: Mapping[str, Record]) -> dict[str, Any]:
    """Return everything that a task's products depend on."""
    return {
        "intarsia": f"{__version__}-{_REVISIONS.get(task.stage, 1)}",
        "parameters": json.loads(json.dumps(dict(task.parameters))),  # as it will be read back: lists, no tuples
        "inputs": {name: records[name].digest for name in task.needs},
        "packages": {name: package_version(name) for name in task.packages},
    }


def record_path(folder: Path, task: Task) -> Path:
    """Where a task's record lies."""
    return folder / task.stage / f"{task.name}.json"


def read_record(path: Path) -> Record | None:
    """Read a record; None where there is none, or none as this program wrote it."""
    try:
        record = Record(**read_json(path))
    except (IntarsiaError, TypeError):
        return None
    return record if record.is_whole else None


def finished(folder: Path, task: Task, records: Mapping[str, Record]) -> Record | None:
    """Return the record of a task that need not run again, else None."""
    record = read_record(record_path(folder, task))
    if record is None or record.key != key_of(task, records):
        return None
    certain, possible = ({f"{task.name}.{suffix}" for suffix in kind} for kind in (task.suffixes, task.optional))
    if not certain <= set(record.files) <= certain | possible:
        return None
    for name, digest in record.files.items():
        path = folder / task.stage / name
        if not path.is_file() or sha256(path) != digest:
            return None
    return record


def perform(job: Job, clock: Callable[[], float]) -> Record:
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
        result=json.loads(json.dumps(result)),
        seconds=round(clock() - start, 2),
        environment=environment(job.task.packages),
    ).with_sum()
    write_json(path, vars(record))
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


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
