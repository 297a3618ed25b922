# SPDX-License-Identifier: Apache-2.0
"""Writing files so that an interrupted run or a full disk leaves the old content or the new, never a part.

And so that others' files are safe: nothing here writes through a link or into a device, and what is swept up is what
this program leaves behind.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save

from intarsia.errors import IntarsiaError, unreadable

#: How much larger than its file an archive's content may be, beside what any archive may hold. Deflating makes a
#: thousandth of bytes that are all the same, and half of real data.
_LARGEST_RATIO = 200
_ALWAYS_ALLOWED = 64 << 20

#: Age in seconds past which what another process has half-written counts as left behind.
STALE = 24 * 3600.0

#: Of the names of files that are being written, see `replacing`: eight characters are drawn.
LEFTOVERS = ".*.????????.part"

_LONGEST_HOLDER = 20  # digits of a process number


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block succeeds, its content takes the place of `path`.

    A link at `path` is replaced; what it leads to keeps its content.

    Raises:
        IntarsiaError: the folder cannot be written, the disk is full, or `path` is a folder, a device or the like; it
            keeps its old content.
    """
    require_replaceable(path)
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


def require_replaceable(path: Path) -> None:
    """Refuse what is not a file to be replaced; an administrator could replace even /dev/null.

    Raises:
        IntarsiaError: says what it is.
    """
    try:
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and not _leads_to_stream(path)):
            return
    except OSError:
        return  # nothing is there, or it cannot be looked at: writing will say why
    what = "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or a stream"
    raise IntarsiaError(f"cannot write {path}: it is {what}; give the path of a file.")


def _leads_to_stream(link: Path) -> bool:
    """Whether a link stands for an open stream, as /dev/stdout does."""
    return link.readlink().is_relative_to("/proc") or link.absolute().parent == Path("/dev")


def require_writable(folder: Path, remedy: str) -> None:
    """Refuse a folder that cannot be written or made, before long work; nothing is made yet.

    Raises:
        IntarsiaError: says why, and the remedy.
    """
    for existing in (folder, *folder.absolute().parents):
        try:
            mode = existing.stat().st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            raise IntarsiaError(f"cannot write {folder}: {error.strerror}; {remedy}.") from error
        if not stat.S_ISDIR(mode):
            raise IntarsiaError(f"cannot write {folder}: {existing} is not a folder; {remedy}.")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise IntarsiaError(f"cannot write {folder}: {existing} is not writable; {remedy}.")
        return


def is_there(path: Path, remedy: str = "correct the path") -> bool:
    """Return whether there is a file or a folder.

    Raises:
        IntarsiaError: the system does not let us know; that is another thing than a missing file.
    """
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unreadable(path, error, remedy) from error
    return True


def require_readable(path: Path, remedy: str = "correct the path") -> None:
    """Refuse what cannot be read as a file, for readers that do not tell one reason from another.

    Raises:
        IntarsiaError: says why: it is missing, a folder, forbidden, …
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "It is a device or a pipe")
        with path.open("rb"):
            return
    except OSError as error:
        raise unreadable(path, error, remedy) from error


def open_lock(path: Path) -> IO[str]:
    """Open a lock file, made where it is missing; only the holder may change it.

    Links are not followed, and nothing is written: it may be another's file.

    Raises:
        IntarsiaError: what is there is no lock of this program, or cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY, 0o644)
    except OSError as error:
        reason = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise IntarsiaError(f"cannot lock {path}: {reason}; move it away or choose another folder.") from error
    is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    holder = os.pread(descriptor, _LONGEST_HOLDER + 1, 0).strip() if is_file else b"a device"
    if holder and not (holder.isdigit() and len(holder) <= _LONGEST_HOLDER):
        os.close(descriptor)
        raise IntarsiaError(f"{path} is not a lock of a run; move it away or choose another folder.")
    return os.fdopen(descriptor, "r+", encoding="utf-8")


def open_fresh(path: Path) -> IO[bytes]:
    """Open a file that others may read while it is written; a link at `path` is not followed.

    Raises:
        IntarsiaError: the file cannot be written.
    """
    require_replaceable(path)
    try:
        path.unlink(missing_ok=True)
        return path.open("xb")
    except OSError as error:
        raise IntarsiaError(f"cannot write {path}: {error.strerror}; choose another folder.") from error


def hold(lock: IO[str]) -> str | None:
    """Take a lock for this process; return None, or which process has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        return lock.read(_LONGEST_HOLDER).strip() or "unknown"
    lock.seek(0)
    lock.truncate()
    lock.write(str(os.getpid()))
    lock.flush()
    return None


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

    The `save_file` of safetensors does not help: it writes a temporary file of its own, which a kill leaves behind, and
    does not report a full disk as an `OSError`.

    Raises:
        IntarsiaError: the file cannot be written, the disk is full, or names and metadata are more than a reader takes;
            `path` keeps its old content.
    """
    plain = {name: np.asarray(values, order="C") for name, values in tensors.items()}
    try:
        content = save(plain, metadata=None if metadata is None else dict(metadata))
    except SafetensorError as error:  # a header that no reader takes
        raise IntarsiaError(f"cannot write {path}: {error}; use less metadata.") from error
    write_bytes(path, _sorted_metadata(content))


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
            if path.is_dir() and not path.is_symlink():
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
        raise unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise IntarsiaError(f"{path} is not valid JSON ({error}); delete it and run the stage again.") from error


def unpacked_limit(size: int) -> int:
    """Return how many bytes an archive of `size` bytes may unpack to; more is a bomb, not data."""
    return _ALWAYS_ALLOWED + _LARGEST_RATIO * size


def sha256(path: Path) -> str:
    """Return the SHA-256 sum of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
