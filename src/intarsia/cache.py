# SPDX-License-Identifier: Apache-2.0
"""The user's cache: where it is, and what a folder in it is checked against before it is used."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from intarsia.errors import IntarsiaError
from intarsia.files import flush_folder, read_json, sha256, write_json
from intarsia.text import escaped

#: Says in a sentence what was found damaged; without a logging setup of the program's own, on standard error.
_LOG = logging.getLogger(__name__)
_LOG.setLevel(logging.WARNING)  # whatever other packages make the root's level

_VARIABLE = "INTARSIA_CACHE"
_SUMS = "sums.json"


def default_cache() -> Path:
    """Return the folder of everything that is kept for later runs; it need not exist.

    It is INTARSIA_CACHE; without that, `intarsia` in XDG_CACHE_HOME or, as the XDG specification has it where that is
    not an absolute path, in `.cache` of the user's home.

    Raises:
        IntarsiaError: none of them is set, and the user has no home.
    """
    if chosen := os.environ.get(_VARIABLE):
        return Path(chosen).absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():
        return base / "intarsia"
    try:
        return Path.home().absolute() / ".cache" / "intarsia"
    except RuntimeError as error:
        raise IntarsiaError(f"there is no home folder to keep results in; set {_VARIABLE} to a folder.") from error


def seal(folder: Path) -> None:
    """Note the checksums of the files in a folder, and see that all of it is on the disk.

    Raises:
        OSError: the disk is full.
    """
    write_json(folder / _SUMS, _sums(folder))
    for path in _files(folder):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    flush_folder(folder)


def is_whole(folder: Path) -> bool:
    """Whether a folder is there, as it was sealed."""
    try:
        return bool(read_json(folder / _SUMS) == _sums(folder))
    except (IntarsiaError, OSError):
        return False


def tell_damaged(path: Path) -> None:
    """Say that something in the cache is damaged."""
    _LOG.disabled = False  # Optuna's migrations of databases disable all loggers of the process
    _LOG.warning("%s is damaged and is made again.", escaped(str(path)))


def keep(made: Path, folder: Path) -> None:
    """Let a sealed folder take the place of `folder`, whatever is there.

    Raises:
        OSError: it cannot.
    """
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)
    made.rename(folder)
    flush_folder(folder.parent)


def digest_of_json(value: object) -> str:
    """Return the SHA-256 sum of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _sums(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path) for path in _files(folder)}


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / _SUMS)
