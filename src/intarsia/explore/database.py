# SPDX-License-Identifier: Apache-2.0
"""The database of studies: opened, and tried again where the connection to it is lost."""

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from optuna.exceptions import ExperimentalWarning, OptunaError, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import URL, Engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from intarsia.errors import IntarsiaError

Result = TypeVar("Result")

_PATIENCE = 60.0  # seconds that a lost connection is tried again
_MOST_OPENINGS = 4  # tries to open a database
_SQLITE_BUSY = 60.0  # seconds that a writer waits for another


def again(storage: RDBStorage, url: str, action: Callable[[], Result]) -> Result:
    """Do something with a database, again for a minute while the connection is lost.

    Raises:
        IntarsiaError: the connection does not come back.
    """
    deadline = time.monotonic() + _PATIENCE
    pause = 0.05
    while True:
        try:
            return action()
        except (DBAPIError, StorageInternalError) as error:
            if time.monotonic() > deadline:
                raise IntarsiaError(
                    f"the database {shown(url)} cannot be reached any more ({_reason(error)}); what is finished stays, "
                    "run the same command to go on."
                ) from error
        storage.remove_session()
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def shown(url: str) -> str:
    """Return the URL of a database without its password."""
    head, at, tail = url.rpartition("@")
    scheme, slashes, user = head.partition("://")
    return f"{scheme}{slashes}{user.partition(':')[0]}{at}{tail}" if at else url


def connect(url: str, beat: int) -> RDBStorage:
    """Open the database of studies, made where it is missing.

    Args:
        url: as SQLAlchemy reads it.
        beat: seconds between two signs of life of a worker; three missing ones mean that it is dead.

    Raises:
        IntarsiaError: it cannot be reached, or a package for it is missing.
    """
    options: dict[str, Any] = {"pool_pre_ping": True}
    try:
        if url.startswith("sqlite:"):
            _require_folder(make_url(url).database)
            options["connect_args"] = {"timeout": _SQLITE_BUSY}
        storage = _opened(url, options, beat)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        raise IntarsiaError(
            f"{shown(url)} is no database to write to ({_reason(error)}); write sqlite:///study.db or "
            "postgresql+psycopg://user@host/name, and for PostgreSQL install intarsia[explore]."
        ) from error
    except (SQLAlchemyError, OptunaError, RuntimeError) as error:
        raise IntarsiaError(
            f"the database {shown(url)} cannot be reached ({_reason(error)}); correct --storage or start its server."
        ) from error
    if storage.engine.dialect.name == "sqlite":
        _lock_at_once(storage.engine)
    return storage


def _require_folder(database: str | None) -> None:
    folder = Path(database or "").parent
    if not folder.is_dir():
        raise IntarsiaError(f"there is no folder {folder} for the database; create it, or choose another --storage.")


def sqlite_url(path: Path) -> str:
    """Return the URL of a database in a file, whatever signs its path has.

    Raises:
        IntarsiaError: the path is not text, which a URL must be.
    """
    try:
        return URL.create("sqlite", database=str(path)).render_as_string()
    except UnicodeEncodeError:
        raise IntarsiaError(f"the path {path} is not UTF-8; choose another folder with --out.") from None


def _opened(url: str, options: dict[str, Any], beat: int) -> RDBStorage:
    """Open a database and make its tables where they are missing; again, where somebody else makes them just now."""
    for tries in range(_MOST_OPENINGS, 0, -1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)  # heartbeats: the version is pinned
                return RDBStorage(_literal(url), engine_kwargs=options, heartbeat_interval=beat, grace_period=3 * beat)
        except DBAPIError:
            if tries == 1:
                raise
            time.sleep(0.5)
    raise AssertionError("the last try returns or raises")


def _literal(url: str) -> str:
    """Return a URL that Optuna does not take for a format string, as it does with braces."""
    return url.replace("{", "%7B").replace("}", "%7D")


def _lock_at_once(engine: Engine) -> None:
    """Let every transaction on SQLite begin with the lock to write.

    SQLite has no `SELECT … FOR UPDATE`, and Python's module begins a transaction only at the first write: two workers
    could both read that a job waits, and both take it.
    """
    engine.dispose()

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # Python's module leaves transactions alone

    @event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _reason(error: BaseException) -> str:
    inner = getattr(error, "orig", None) or error.__cause__ or error
    return " ".join(str(inner).split("\n", 1)[0].split())
