# SPDX-License-Identifier: Apache-2.0
"""Writing files so that an interrupted run or a full disk leaves the old content or the new, never a part."""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from intarsia.errors import IntarsiaError

#: How much larger than its file an archive's content may be, beside what any archive may hold. Deflating makes a
#: thousandth of bytes that are all the same, and half of real data.
_LARGEST_RATIO = 200
_ALWAYS_ALLOWED = 64 << 20

#: Age in seconds past which what another process has half-written counts as left behind.
STALE = 24 * 3600.0


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block succeeds, its content takes the place of `path`.

    Raises:
        IntarsiaError: the folder cannot be written or the disk is full; `path` keeps its old content.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = _mode(path)
        temporary = _new_file_beside(path, 0o666 if mode is None else mode | stat.S_IRUSR | stat.S_IWUSR)
    except OSError as error:
        raise IntarsiaError(f"cannot write {path}: {error.strerror}; choose a writable folder.") from error
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        raise IntarsiaError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another folder."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _mode(path: Path) -> int | None:
    """Return who may do what with a file; None where there is none, and the umask decides."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


def _new_file_beside(path: Path, mode: int) -> Path:
    """Make an empty file beside `path`, of this mode less what the umask takes away."""
    # A name has 255 bytes, four of which may be one character.
    made = path.with_name(f".{path.name[:48]}.{secrets.token_hex(4)}.part")
    os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    return made


def flush_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk; a file system that cannot do so for a folder is left alone."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the content of `path` in one step."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Replace the content of `path` in one step, as UTF-8; what is not text (bytes of a file name) is escaped."""
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Replace the content of `path` by `value` as indented JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def save_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> None:
    """Replace the content of `path` by a safetensors file of arrays of any shape, with metadata in its header.

    The `save_file` of safetensors is no help: it writes a temporary file of its own, which a kill leaves behind, and a
    full disk is no `OSError` to it.

    Raises:
        IntarsiaError: the file cannot be written or the disk is full; `path` keeps its old content.
    """
    plain = {name: np.asarray(values, order="C") for name, values in tensors.items()}
    write_bytes(path, _sorted_metadata(save(plain, metadata=None if metadata is None else dict(metadata))))


def _sorted_metadata(content: bytes) -> bytes:
    """Sort the metadata in a safetensors header, which come in another order in each process: now equal content is
    equal bytes, and has one digest.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the arrays begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def sweep(leftovers: Iterable[Path], *, older_than: float | None = None) -> None:
    """Remove files and folders that killed runs left half-written; what cannot be removed stays.

    Args:
        leftovers: their paths.
        older_than: seconds since the last change, where another process may still be writing; None removes all.
    """
    with contextlib.suppress(OSError):
        for path in list(leftovers):
            if older_than is not None and time.time() - path.lstat().st_mtime < older_than:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        IntarsiaError: the file is missing, unreadable, or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise IntarsiaError(f"cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise IntarsiaError(f"{path} is not valid JSON ({error}); delete it and run the stage again.") from error


def unpacked_limit(size: int) -> int:
    """Return how many bytes an archive of `size` bytes may unpack to; more is a bomb, not data."""
    return _ALWAYS_ALLOWED + _LARGEST_RATIO * size


def sha256(path: Path) -> str:
    """Return the SHA-256 sum of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
