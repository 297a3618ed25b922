# SPDX-License-Identifier: Apache-2.0
"""Inputs made from many files once and kept: decoded pictures, computed spectra, read without filling the memory."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from tqdm import tqdm

from intarsia.array_files import map_npy
from intarsia.cache import tell_damaged
from intarsia.errors import IntarsiaError, unreadable
from intarsia.files import replacing

#: A source file and where in it the input begins (0 where a file is one input).
Item = tuple[Path, int]


def prepared(
    stem: Path,
    items: Sequence[Item],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    make: Callable[[Path, int], NDArray[Any]],
    *,
    progress: bool = False,
) -> NDArray[Any]:
    """Return one input for each item, from a file that the first call writes.

    The file is `<stem>-<digest>.npy`; its digest is over the names, sizes and beginnings of the items, so other files
    are prepared again. Whoever changes what `make` computes changes the stem.

    Args:
        stem: path in the cache.
        items: what to make inputs of, in order.
        shape: of one input.
        dtype: of the values.
        make: turns an item into an array of this shape; it raises IntarsiaError for what it cannot read.
        progress: show a bar.

    Returns:
        (items, *shape), mapped from the file; changes of it stay in memory.

    Raises:
        IntarsiaError: an item cannot be read, or the cache cannot be written.
    """
    if not items:
        return np.empty((0, *shape), dtype)
    path = stem.with_name(f"{stem.name}-{_digest(items)}.npy")
    kept = _kept(path, (len(items), *shape), np.dtype(dtype))
    if kept is None:
        _prepare(path, items, shape, np.dtype(dtype), make, title=stem.name, progress=progress)
        kept = map_npy(path)
    return np.asarray(kept)


def _kept(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Return what an earlier call prepared; None where there is nothing, or not all of it.

    Its values are not compared with a checksum: that would read gigabytes before the first of them is needed.
    """
    if not path.exists():
        return None
    try:
        values = map_npy(path)
    except IntarsiaError:
        values = None
    if values is None or values.shape != shape or values.dtype != dtype:
        tell_damaged(path)
        return None
    return values


def _prepare(
    path: Path,
    items: Sequence[Item],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    make: Callable[[Path, int], NDArray[Any]],
    *,
    title: str,
    progress: bool,
) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (len(items), *shape)}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_2_0(file, header)
        for source, start in tqdm(items, desc=f"preparing {title}", disable=not progress):
            values = make(source, start).astype(dtype)
            if values.shape != shape:
                raise IntarsiaError(f"{source} makes an input of {values.shape}, not {shape}; remove it.")
            file.write(values.tobytes())


def _digest(items: Sequence[Item]) -> str:
    digest = hashlib.sha256()
    sizes: dict[Path, int] = {}
    for path, start in items:
        if path not in sizes:
            try:
                sizes[path] = path.stat().st_size
            except OSError as error:
                raise unreadable(path, error) from error
        digest.update(f"{path.parent.name}/{path.name}\0{sizes[path]}\0{start}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]
