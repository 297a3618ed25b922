"""Reading arrays from .npz files that anybody may have written."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError

Arrays = dict[str, NDArray[Any]]


def read_npz(path: Path, required: Sequence[str] = (), optional: Sequence[str] = ()) -> Arrays:
    """Return arrays of an .npz file by name; other entries are not read.

    Raises:
        IntarsiaError: the file is missing, no .npz, damaged, holds Python objects, or lacks a required array.
    """
    try:
        opened = np.load(path, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise IntarsiaError(f"{path} is one array, not an .npz file of several; save it with numpy.savez.")
        with opened as content:
            if lacking := [name for name in required if name not in content.files]:
                held = ", ".join(name if name.isprintable() else repr(name) for name in content.files) or "nothing"
                raise IntarsiaError(f"{path} lacks {', '.join(lacking)} (it holds {held}); save it with this array.")
            found = {name: content[name] for name in (*required, *optional) if name in content.files}
        if strange := [name for name, values in found.items() if not isinstance(values, np.ndarray)]:
            raise IntarsiaError(f"{path}: {strange[0]} is no array; save it anew with numpy.savez.")
        return found
    except FileNotFoundError as error:
        raise IntarsiaError(f"there is no file {path}; correct the path.") from error
    except OSError as error:
        raise IntarsiaError(f"cannot read {path}: {error.strerror or error}.") from error
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError, MemoryError) as error:
        what = "holds Python objects" if "Object arrays" in str(error) else "is damaged or no .npz file"
        raise IntarsiaError(f"{path} {what}; save it anew with numpy.savez.") from error


def require_shape(path: Path, name: str, values: NDArray[Any], shape: tuple[int | None, ...]) -> None:
    """Refuse an array of another shape; None stands for any length."""
    fits = values.ndim == len(shape) and all(w in (None, h) for w, h in zip(shape, values.shape, strict=True))
    if not fits:
        wanted = ", ".join("N" if length is None else str(length) for length in shape)
        raise IntarsiaError(f"{path}: {name} has the shape {values.shape}, it must be ({wanted}).")
