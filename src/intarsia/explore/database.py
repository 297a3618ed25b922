# SPDX-License-Identifier: Apache-2.0
"""The database of studies: opened, and tried again where the connection to it is lost."""

import sqlite3
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from optuna.exceptions import ExperimentalWarning, OptunaError, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import URL, Connection, Engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from intarsia.errors import IntarsiaError

Result = TypeVar("Result")

_PATIENCE = 60.0  # seconds that a lost connection is tried again
_MOST_OPENINGS = 4  # tries to open a database
_SQLITE_BUSY = 60.0  # seconds that a writer waits for another

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_HOPELESS = _DAMAGED | {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_TOOBIG,
}


def again(storage: RDBStorage, url: str, action: Callable[[], Result]) -> Result:
    """Do something with a database, again for a minute while the connection is lost or others have it locked.

    Raises:
        IntarsiaError: the connection does not come back, or the database cannot be used as it is.
    """
    deadline = time.monotonic() + _PATIENCE
    pause = 0.05
    while True:
        try:
            return action()
        except (DBAPIError, StorageInternalError) as error:
            if _hopeless(error):
                raise _unusable(url, error) from error
            if time.monotonic() > deadline:
                raise IntarsiaError(
                    f"the database {shown(url)} cannot be reached any more ({_reason(error)}); what is finished stays, "
                    "run the same command to go on."
                ) from error
        storage.remove_session()
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def _hopeless(error: BaseException) -> bool:
    """Whether an error of SQLite comes again however often one tries; a lock goes away, a damaged file does not."""
    return _sqlite_code(error) in _HOPELESS


def _sqlite_code(error: BaseException) -> int | None:
    """Return the number that SQLite gives the reason of an error; None where the error is another's."""
    reached: BaseException | None = error
    while reached is not None and not isinstance(reached, sqlite3.Error):
        reached = getattr(reached, "orig", None) or reached.__cause__
    code = getattr(reached, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF  # the rest says more than we ask


def _unusable(url: str, error: BaseException) -> IntarsiaError:
    if _sqlite_code(error) in _DAMAGED:
        return damaged(url, _reason(error))
    return IntarsiaError(
        f"the database {shown(url)} cannot be used ({_reason(error)}); free some space, make file and folder writable, "
        "or choose another --storage."
    )


def damaged(url: str, reason: str) -> IntarsiaError:
    """Return the error of a database whose content is not what was written."""
    return IntarsiaError(
        f"the database {shown(url)} is damaged ({reason}); put a copy of it in its place, or move it away to begin the "
        "study again."
    )


def shown(url: str) -> str:
    """Return the URL of a database without its password."""
    head, at, tail = url.rpartition("@")
    scheme, slashes, user = head.partition("://")
    return f"{scheme}{slashes}{user.partition(':')[0]}{at}{tail}" if at else url


def connect(url: str, heartbeat: int) -> RDBStorage:
    """Open the database of studies, made where it is missing.

    Args:
        url: as SQLAlchemy reads it.
        heartbeat: seconds between two heartbeats of a worker; three missing ones mean that it is dead.

    Raises:
        IntarsiaError: it cannot be reached, or a package for it is missing.
    """
    options: dict[str, object] = {"pool_pre_ping": True}
    try:
        if url.startswith("sqlite:"):
            _require_folder(make_url(url).database)
            options["connect_args"] = {"timeout": _SQLITE_BUSY}
        storage = _opened(url, options, heartbeat)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        raise IntarsiaError(
            f"{shown(url)} is not a database to write to ({_reason(error)}); write sqlite:///study.db or "
            "postgresql+psycopg://user@host/name, and for PostgreSQL install intarsia[explore]."
        ) from error
    except (SQLAlchemyError, OptunaError, RuntimeError) as error:
        if _hopeless(error):
            raise _unusable(url, error) from error
        raise IntarsiaError(
            f"the database {shown(url)} cannot be reached ({_reason(error)}); correct --storage or start its server."
        ) from error
    if storage.engine.dialect.name == "sqlite":
        _require_whole(storage.engine, url)
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


def _opened(url: str, options: dict[str, object], heartbeat: int) -> RDBStorage:
    """Open a database and make its tables where they are missing; again, where somebody else makes them just now."""
    pause = 0.5
    for tries in range(_MOST_OPENINGS, 0, -1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)  # heartbeats: the version is pinned
                return RDBStorage(
                    _literal(url), engine_kwargs=options, heartbeat_interval=heartbeat, grace_period=3 * heartbeat
                )
        except DBAPIError as error:
            if tries == 1 or _hopeless(error):
                raise
            time.sleep(pause)
            pause *= 2  # a server that restarts takes a few seconds
    raise AssertionError("the last try returns or raises")


def _literal(url: str) -> str:
    """Return a URL that Optuna does not take for a format string, as it does with braces."""
    return url.replace("{", "%7B").replace("}", "%7D")


def _require_whole(engine: Engine, url: str) -> None:
    """Refuse a file of SQLite with a damaged page: it would show only once that page is read, hours later perhaps.

    Raises:
        IntarsiaError: it has one, or cannot be read.
    """
    try:
        with engine.connect() as connection:
            found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
    except DBAPIError as error:
        raise _unusable(url, error) from error
    if found != "ok":
        raise damaged(url, " ".join(found.split()))


def _lock_at_once(engine: Engine) -> None:
    """Let every transaction on SQLite begin with the lock to write.

    SQLite has no `SELECT … FOR UPDATE`, and Python's module begins a transaction only at the first write: two workers
    could both read that a job waits, and both take it.
    """
    engine.dispose()

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # Python's module begins no transactions

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _reason(error: BaseException) -> str:
    inner = getattr(error, "orig", None) or error.__cause__ or error
    return " ".join(str(inner).split("\n", 1)[0].split())
