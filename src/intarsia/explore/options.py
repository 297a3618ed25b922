# SPDX-License-Identifier: Apache-2.0
"""Where and how a study runs."""

from dataclasses import dataclass
from pathlib import Path

from intarsia.errors import IntarsiaError
from intarsia.explore.database import sqlite_url
from intarsia.flow.names import STUDIES

#: In the folder of a study: its database, unless it is elsewhere.
DATABASE = "study.db"


@dataclass(frozen=True)
class StudyOptions:
    """Where and how a study runs.

    Attributes:
        folder: of runs; the study's own is inside, and its database by default.
        name: of the study; by default that of the space's file.
        storage: URL of the database; by default SQLite in the study's folder.
        data_dir: folder of data sets, or a user's own data.
        device: where PyTorch trains.
        workers: processes on this machine; 0 only writes the report.
        threads: of each worker.
        heartbeat: seconds between two heartbeats of a worker.
        ray: address of a Ray cluster (`auto`, or host:port) that the workers run on; by default this machine.
    """

    folder: Path
    name: str
    storage: str | None = None
    data_dir: Path | None = None
    device: str = "cpu"
    workers: int = 1
    threads: int = 1
    heartbeat: int = 10
    ray: str | None = None

    def __post_init__(self) -> None:
        for name, least, most in (("workers", 0, 1024), ("threads", 1, 1024), ("heartbeat", 1, 86_400)):
            if not least <= getattr(self, name) <= most:
                raise IntarsiaError(f"{name} must be {least} to {most:,}, not {getattr(self, name)}; correct --{name}.")
        if Path(self.name).name != self.name or self.name in ("", ".", ".."):
            raise IntarsiaError(f"{self.name!r} names no folder; choose another name with --study.")
        if self.ray and self.url.startswith("sqlite:"):
            raise IntarsiaError(
                "workers of several machines need a database that all of them reach; give --ray a --storage like "
                "postgresql+psycopg://user@host/name."
            )

    @property
    def home(self) -> Path:
        """The study's own folder."""
        return self.folder / STUDIES / self.name

    @property
    def url(self) -> str:
        """URL of the database."""
        return self.storage or sqlite_url(self.home / DATABASE)
