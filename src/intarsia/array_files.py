# SPDX-License-Identifier: Apache-2.0
"""NumPy's files, which anybody may have written: arrays of numbers and texts, or one sentence about what is wrong.

Nothing in a file is executed, and no more memory is taken than its size justifies: a header is held against what
follows it before an array is made.
"""

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError, unreadable
from intarsia.files import unpacked_limit

Arrays = dict[str, NDArray[Any]]

_HEADERS: Mapping[tuple[int, int], Any] = MappingProxyType(
    {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
)
_KINDS = "biufcSU"  # numbers and texts; the rest are Python objects, dates and records


class _DamagedError(Exception):
    """What is wrong with an array, a clause."""


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Bytes of the array's values."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy(path: Path) -> NDArray[Any]:
    """Return the array of an .npy file.

    Raises:
        IntarsiaError: the file cannot be read, is damaged, or holds anything but numbers or texts.
    """
    try:
        with path.open("rb") as file:
            return _array(file, path.stat().st_size)
    except OSError as error:
        raise unreadable(path, error) from error
    except _DamagedError as error:
        raise _not_an_array(path, error) from error


def map_npy(path: Path) -> NDArray[Any]:
    """Return the array of an .npy file without reading it yet; changes of it stay in memory.

    Raises:
        IntarsiaError: as for `read_npy`.
    """
    try:
        with path.open("rb") as file:
            header, begin = _checked_header(file, path.stat().st_size)
    except OSError as error:
        raise unreadable(path, error) from error
    except _DamagedError as error:
        raise _not_an_array(path, error) from error
    return np.memmap(path, header.dtype, "c", begin, header.shape, "F" if header.fortran else "C")


def read_npz(path: Path, required: Sequence[str] = (), optional: Sequence[str] = ()) -> Arrays:
    """Return arrays of an .npz file by name; other entries are not read.

    Raises:
        IntarsiaError: the file cannot be read, is damaged or not an .npz file, lacks a required array, holds far more
            than its size lets expect, or one of these arrays holds anything but numbers or texts.
    """
    try:
        if path.stat().st_size and _begins_array(path):
            raise IntarsiaError(f"{path} is one array, not an .npz file of several; save it with numpy.savez.")
        with zipfile.ZipFile(path) as archive:
            return _arrays(path, archive, required, optional)
    except IntarsiaError:
        raise
    except OSError as error:
        raise unreadable(path, error) from error
    except _DamagedError as error:
        raise IntarsiaError(f"{path}: {error}; save it again with numpy.savez.") from error
    except Exception as error:  # zipfile and its decompressors raise a dozen kinds of their own
        raise IntarsiaError(f"{path} is damaged or not an .npz file; save it again with numpy.savez.") from error


def require_shape(path: Path, name: str, values: NDArray[Any], shape: tuple[int | None, ...]) -> None:
    """Refuse an array of another shape; None stands for any length."""
    fits = values.ndim == len(shape) and all(w in (None, h) for w, h in zip(shape, values.shape, strict=True))
    if not fits:
        wanted = ", ".join("N" if length is None else str(length) for length in shape)
        raise IntarsiaError(f"{path}: {name} has the shape {values.shape}, it must be ({wanted}).")


def _not_an_array(path: Path, error: _DamagedError) -> IntarsiaError:
    return IntarsiaError(f"{path} is not a NumPy array file that can be read: it {error}; save it with numpy.save.")


def _begins_array(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX


def _arrays(path: Path, archive: zipfile.ZipFile, required: Sequence[str], optional: Sequence[str]) -> Arrays:
    entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
    if lacking := [name for name in required if name not in entries]:
        held = ", ".join(name if name.isprintable() else ascii(name) for name in entries) or "nothing"
        raise IntarsiaError(f"{path} lacks {', '.join(lacking)} (it holds {held[:300]}); save it with this array.")
    wanted = {name: entries[name] for name in (*required, *optional) if name in entries}
    total, limit = sum(entry.file_size for entry in wanted.values()), unpacked_limit(path.stat().st_size)
    if total > limit:
        raise _DamagedError(f"it would unpack to {total:,} bytes, more than the {limit:,} that its size justifies")
    found: Arrays = {}
    for name, entry in wanted.items():
        with archive.open(entry) as file:
            try:
                found[name] = _array(file, entry.file_size)
            except _DamagedError as error:
                raise _DamagedError(f"{name} {error}") from error
    return found


def _array(file: IO[bytes], size: int) -> NDArray[Any]:
    """Read an array from a stream of `size` bytes."""
    header, _ = _checked_header(file, size)
    content = np.empty(header.size, np.uint8)
    if header.size and file.readinto(content.data) != header.size:  # type: ignore[attr-defined]
        raise _DamagedError("ends early")
    values = content.view(header.dtype) if header.size else np.empty(0, header.dtype)
    return values.reshape(header.shape, order="F" if header.fortran else "C")


def _checked_header(file: IO[bytes], size: int) -> tuple[_Header, int]:
    header, begin = _header(file)
    if header.dtype.kind not in _KINDS:
        raise _DamagedError("holds Python objects" if header.dtype.hasobject else f"holds {header.dtype}, not numbers")
    if header.size != size - begin:
        raise _DamagedError(f"has {size - begin:,} bytes for {header.size:,} of the shape {header.shape}")
    return header, begin


def _header(file: IO[bytes]) -> tuple[_Header, int]:
    """Return what an array's header says, and how long it is."""
    try:
        version = np.lib.format.read_magic(file)
        read = _HEADERS.get(version)
        if read is None:
            raise ValueError(f"version {version}")
        shape, fortran, dtype = read(file)
        # What evaluates the header takes any sizes that are whole; a negative one and a huge one are too.
        sizes = tuple(int(length) for length in shape)
        if min(sizes, default=0) < 0 or len(sizes) > 32 or any(length >= 1 << 48 for length in sizes):
            raise ValueError("sizes")
        return _Header(sizes, bool(fortran), np.dtype(dtype)), file.tell()
    except OSError:
        raise
    except Exception as error:  # NumPy evaluates the header as a literal: a dozen kinds of exceptions
        raise _DamagedError("has a damaged header") from error
