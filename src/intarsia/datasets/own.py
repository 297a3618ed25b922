# SPDX-License-Identifier: Apache-2.0
"""A user's own data: one .npz file, or a folder with train.npz, validation.npz and test.npz.

Each file holds `x`, the inputs, and `y`, the classes as integers from 0 (−1: unknown). Optional entries describe `x`:

- `layout`: "NCHW", "NHWC", "NCL" and "NLC" (signals), "NHW" (grey images) or "NF" (tables). Without it the network's
  input decides, see `intarsia.datasets.layout`. Signals become (N, C, 1, L), tables (N, F, 1, 1).
- `offset`, `unit`: the real input of the float network is (x − offset) · unit; 0 and 1 by default.
- `classes`: their names.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intarsia.array_files import Arrays, read_npz
from intarsia.datasets import identity
from intarsia.datasets.layout import LAYOUTS, Shape, images_of
from intarsia.datasets.rounding import Grids, own_scaling
from intarsia.datasets.types import Dataset, InputScaling, Split, SplitName, Stored
from intarsia.errors import IntarsiaError
from intarsia.files import is_there, sha256

_SEED = 0  # of a split that the user did not make
_SHARE = 0.1  # of the inputs, for a validation or test split that the user did not make
_MOST_CLASSES = 1 << 16
_REMEDY = "correct --data"
_DESCRIPTIONS = ("layout", "offset", "unit", "classes")
_KEPT = tuple(np.dtype(name) for name in ("uint8", "int8", "float16", "float32"))
_EXACT = 1 << 24  # whole numbers up to this one are exact in float32


def from_npz(path: Path, *, layout: str | None = None, shape: Shape | None = None, grids: Grids = "none") -> Dataset:
    """Load a user's own classification data.

    A folder must hold `train.npz` and `test.npz`; without `validation.npz` a tenth of the training inputs is held out.
    A single file is shuffled (always in the same way) and split 80 : 10 : 10. Test inputs need their classes; training
    and validation inputs may come without `y`.

    Bytes stay bytes: stored integers are the integer input, of one `unit` per step; other whole numbers become bytes
    where all of them fit. For floating-point inputs the step of the integer input is the one of least squared error on
    the training inputs, and it is unsigned where all are positive. Where `grids` allows, each column of a table, and
    each channel of other inputs for one of which that step is coarse, gets its own, see `InputScaling`.

    Args:
        path: file or folder.
        layout: of `x`, where the files do not say.
        shape: (channels, height, width) that the network takes: it tells how the axes of `x` are meant.
        grids: what the layers that read the input can take into their weights (`intarsia.quantize.inputs.grids_of`): an
            offset and a step for each channel (`offsets`), a step (`steps`), or nothing.

    Raises:
        IntarsiaError: one sentence about the first thing that is wrong.
    """
    files = {"all": path} if is_there(path, _REMEDY) and path.is_file() else _files(path)
    content = {name: _read(file, required=name in ("all", "test")) for name, file in files.items()}
    described = next(iter(content.values()))
    stored = _stored(files, content)
    splits = {
        name: _split(
            files[name], arrays, images_of(files[name], stored[name], _layout(files[name], arrays, layout), shape)
        )
        for name, arrays in content.items()
    }
    _require_alike(files, splits, content)
    train, validation, test = _three(files, splits)
    if test.labels.max() < 0:
        raise IntarsiaError(f"{path} has no class of a test input (y is -1 everywhere); give the classes of some.")
    most = max(int(split.labels.max(initial=-1)) for split in (train, validation, test))
    return Dataset(
        name=path.stem or "own",
        train=train,
        validation=validation,
        test=test,
        classes=_classes(files, described, most),
        scaling=_scaling(next(iter(files.values())), described, train.images, grids),
        checksums={file.name: sha256(file) for file in files.values()},
        source=f"The user's own data in {path.name}.",
    )


def identity_of_npz(path: Path) -> list[str]:
    """Return what stands for the files that `from_npz` reads, one text for each.

    Raises:
        IntarsiaError: there are none.
    """
    return [sha256(path)] if is_there(path, _REMEDY) and path.is_file() else identity.of_files(_files(path).values())


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise IntarsiaError(f"there is neither a file nor a folder {folder}; {_REMEDY}.")
    names: tuple[SplitName, ...] = ("train", "validation", "test")
    files = {name: folder / f"{name}.npz" for name in names if (folder / f"{name}.npz").is_file()}
    for name in ("train", "test"):
        if name not in files:
            raise IntarsiaError(f"{folder} holds no {name}.npz; save x and y there with numpy.savez.")
    return {str(name): file for name, file in files.items()}


def _read(path: Path, *, required: bool) -> Arrays:
    if required:
        return read_npz(path, ("x", "y"), _DESCRIPTIONS)
    return read_npz(path, ("x",), ("y", *_DESCRIPTIONS))


def _stored(files: Mapping[str, Path], content: Mapping[str, Arrays]) -> dict[str, NDArray[Any]]:
    """Return the inputs of all files in one type that data sets have, every value as it was: whole numbers as bytes
    where all of them fit.

    Raises:
        IntarsiaError: they are not numbers, or float32 does not hold them.
    """
    inputs = {name: arrays["x"] for name, arrays in content.items()}
    for name, x in inputs.items():
        if x.dtype.kind not in "biuf":
            raise IntarsiaError(f"{files[name]}: x is {x.dtype}; save it as numbers, float32 say.")
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            raise IntarsiaError(f"{files[name]}: x holds values that are infinite or no numbers; remove these inputs.")
    kinds = {x.dtype for x in inputs.values()}
    if len(kinds) == 1 and kinds <= set(_KEPT):
        return inputs
    ranges = [(int(x.min()), int(x.max())) for x in inputs.values() if x.size and x.dtype.kind != "f"]
    least, most = min((low for low, _ in ranges), default=0), max((high for _, high in ranges), default=0)
    if any(x.dtype.kind == "f" for x in inputs.values()) or not -128 <= least <= most < (128 if least < 0 else 256):
        return {name: _as_float(files[name], x) for name, x in inputs.items()}
    return {name: x.astype(np.int8 if least < 0 else np.uint8) for name, x in inputs.items()}


def _as_float(path: Path, x: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        found = x.astype(np.float32)
    if x.dtype.kind != "f" and x.size and max(-int(x.min()), int(x.max())) > _EXACT:
        raise IntarsiaError(f"{path}: x holds whole numbers beyond {_EXACT:,}; scale them, and save them as float32.")
    if not np.isfinite(found).all():
        raise IntarsiaError(f"{path}: x holds numbers that are too large for float32; scale them.")
    return found


def _layout(path: Path, arrays: Arrays, layout: str | None) -> str | None:
    said = str(arrays["layout"]) if "layout" in arrays else None
    for name in (layout, said):
        if name not in (None, *LAYOUTS):
            raise IntarsiaError(f"{path}: there is no layout {name!r}; choose of {', '.join(LAYOUTS)}.")
    return said or layout


def _split(path: Path, arrays: Arrays, images: Stored) -> Split:
    if len(images) == 0:
        raise IntarsiaError(f"{path}: x holds no inputs; save some.")
    if "y" not in arrays:
        return Split(images, np.full(len(images), -1, np.int64))
    y = arrays["y"]
    whole = y.dtype.kind in "iub" or (y.dtype.kind == "f" and bool(((y == np.rint(y)) & (np.abs(y) < _EXACT)).all()))
    if not whole or y.ndim not in (1, 2) or y.size != len(y):
        raise IntarsiaError(f"{path}: y is {y.dtype} {y.shape}, it must be one integer class for each input.")
    labels = y.reshape(-1).astype(np.int64)
    if len(labels) != len(images):
        raise IntarsiaError(f"{path}: x holds {len(images)} inputs, y {len(labels)} classes; give one class per input.")
    if labels.max() >= _MOST_CLASSES:
        raise IntarsiaError(f"{path}: y holds {labels.max()}; classes count from 0 to at most {_MOST_CLASSES - 1:,}.")
    if labels.min() < -1:
        raise IntarsiaError(f"{path}: y holds {labels.min()}; classes count from 0, and -1 means unknown.")
    if set(np.unique(labels).tolist()) == {-1, 1}:
        raise IntarsiaError(f"{path}: y holds only -1 and 1, but -1 means unknown; save two classes as 0 and 1.")
    return Split(images, labels)


def _require_alike(files: dict[str, Path], splits: dict[str, Split], content: dict[str, Arrays]) -> None:
    first, *others = splits
    for name in others:
        for what, one, other in (
            ("inputs of the shape", splits[first].images.shape[1:], splits[name].images.shape[1:]),
            *((entry, _entry(content[first], entry), _entry(content[name], entry)) for entry in ("offset", "unit")),
        ):
            if one != other:
                raise IntarsiaError(f"{files[first]} has {what} {one}, {files[name]} {other}; they must be alike.")


def _entry(arrays: Arrays, name: str) -> object:
    return arrays[name].tolist() if name in arrays else None


def _three(files: dict[str, Path], splits: dict[str, Split]) -> tuple[Split, Split, Split]:
    if "all" in splits:
        rest, test = _hold_out(files["all"], splits["all"], _SHARE)
        return *_hold_out(files["all"], rest, _SHARE / (1 - _SHARE)), test
    if "validation" in splits:
        return splits["train"], splits["validation"], splits["test"]
    return *_hold_out(files["train"], splits["train"], _SHARE), splits["test"]


def _hold_out(path: Path, split: Split, share: float) -> tuple[Split, Split]:
    count = round(len(split) * share)
    if count == 0:
        raise IntarsiaError(f"{path}: {len(split)} inputs are too few to hold some out; save at least 20.")
    order = np.random.default_rng(_SEED).permutation(len(split))
    kept, held = np.sort(order[count:]), np.sort(order[:count])
    return Split(split.images[kept], split.labels[kept]), Split(split.images[held], split.labels[held])


def _classes(files: dict[str, Path], arrays: Arrays, most: int) -> tuple[str, ...]:
    if "classes" not in arrays:
        return tuple(str(number) for number in range(most + 1))
    names = tuple(str(name) for name in arrays["classes"].reshape(-1).tolist())
    if len(names) <= most:
        path = next(iter(files.values()))
        raise IntarsiaError(f"{path}: y holds class {most}, but there are only {len(names)} names of classes.")
    return names


def _scaling(path: Path, arrays: Arrays, train: Stored, grids: Grids) -> InputScaling:
    offset, unit = _number(path, arrays, "offset", 0.0), _number(path, arrays, "unit", 1.0)
    if offset != round(offset) or unit <= 0:
        raise IntarsiaError(f"{path}: offset {offset} must be whole and unit {unit} positive; correct them.")
    if train.dtype.kind in "iu":
        least = (-128 if train.dtype.kind == "i" else 0) - int(offset)
        if least in (-128, 0):  # all 256 values fit, signed or unsigned
            return InputScaling(int(offset), unit, signed=least < 0)
    return own_scaling(int(offset), unit, train, grids)


def _number(path: Path, arrays: Arrays, name: str, default: float) -> float:
    value = arrays.get(name)
    if value is None:
        return default
    if value.size != 1 or value.dtype.kind not in "iuf" or not np.isfinite(value).all():
        raise IntarsiaError(f"{path}: {name} must be one number.")
    return float(value.reshape(-1)[0])
