"""A user's own data: one .npz file, or a folder with train.npz, validation.npz and test.npz.

Each file holds `x`, the inputs, and `y`, the classes as integers from 0 (−1: unknown). Optional entries describe `x`:

- `layout`: "NCHW" or "NHWC". Without it, (N, A, B, C) counts as NHWC where C is at most 4, A is more than 4 and B more
  than 1, else as NCHW. A table (N, F) becomes (N, F, 1, 1).
- `offset`, `unit`: the real input of the float network is (x − offset) · unit; 0 and 1 by default.
- `classes`: their names.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intarsia.datasets import identity
from intarsia.datasets.npz import Arrays, read_npz
from intarsia.datasets.types import Dataset, InputScaling, Split, SplitName, Stored
from intarsia.errors import IntarsiaError
from intarsia.files import sha256

_SEED = 0  # of a split that the user did not make
_SHARE = 0.1  # of the inputs, for a validation or test split that the user did not make
_SAMPLES = 1_000_000  # values that the input's step is searched on
_MOST_CLASSES = 1 << 16
_DESCRIPTIONS = ("layout", "offset", "unit", "classes")


def from_npz(path: Path, *, layout: str | None = None) -> Dataset:
    """Load a user's own classification data.

    A folder must hold `train.npz` and `test.npz`; without `validation.npz` a tenth of the training inputs is held out.
    A single file is shuffled (always in the same way) and split 80 : 10 : 10. Test inputs need their classes; training
    and validation inputs may come without `y`.

    Bytes stay bytes: stored integers are the integer input, of one `unit` a step. For floating-point inputs the step of
    the integer input is the one of least squared error on the training inputs; it is unsigned where all are positive.

    Args:
        path: file or folder.
        layout: "NCHW" or "NHWC", where the files do not say and the rule above would guess wrong.

    Raises:
        IntarsiaError: one sentence about the first thing that is wrong.
    """
    if layout not in (None, "NCHW", "NHWC"):
        raise IntarsiaError(f"the layout {layout!r} is unknown; choose NCHW or NHWC.")
    files = {"all": path} if path.is_file() else _files(path)
    content = {name: _read(file, required=name in ("all", "test")) for name, file in files.items()}
    described = next(iter(content.values()))
    splits = {name: _split(files[name], arrays, layout) for name, arrays in content.items()}
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
        scaling=_scaling(next(iter(files.values())), described, train.images),
        checksums={file.name: sha256(file) for file in files.values()},
        source=f"The user's own data in {path.name}.",
    )


def identity_of_npz(path: Path) -> list[str]:
    """Return what stands for the files that `from_npz` reads, one text for each.

    Raises:
        IntarsiaError: there are none.
    """
    return [sha256(path)] if path.is_file() else identity.of_files(_files(path).values())


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise IntarsiaError(f"there is neither a file nor a folder {folder}; correct --data.")
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


def _split(path: Path, arrays: Arrays, layout: str | None) -> Split:
    images = _images(path, arrays, layout)
    if len(images) == 0:
        raise IntarsiaError(f"{path}: x holds no inputs; save some.")
    if "y" not in arrays:
        return Split(images, np.full(len(images), -1, np.int64))
    y = arrays["y"]
    if y.dtype.kind not in "iub" or y.ndim not in (1, 2) or y.size != len(y):
        raise IntarsiaError(f"{path}: y is {y.dtype} {y.shape}, it must be one integer class for each input.")
    labels = y.reshape(-1).astype(np.int64)
    if len(labels) != len(images):
        raise IntarsiaError(f"{path}: x holds {len(images)} inputs, y {len(labels)} classes; they must be as many.")
    if labels.max() >= _MOST_CLASSES:
        raise IntarsiaError(f"{path}: y holds {labels.max()}; classes count from 0 to at most {_MOST_CLASSES - 1:,}.")
    if labels.min() < -1:
        raise IntarsiaError(f"{path}: y holds {labels.min()}; classes count from 0, and -1 means unknown.")
    return Split(images, labels)


def _images(path: Path, arrays: Arrays, layout: str | None) -> Stored:
    x = arrays["x"]
    if x.dtype == np.float64:
        x = x.astype(np.float32)
    if x.dtype not in (np.uint8, np.int8, np.float16, np.float32):
        raise IntarsiaError(f"{path}: x is {x.dtype}; save it as uint8, int8, float16 or float32.")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise IntarsiaError(f"{path}: x holds values that are infinite or no numbers; remove these inputs.")
    if x.ndim not in (2, 4) or 0 in x.shape[1:]:
        raise IntarsiaError(f"{path}: x has the shape {x.shape}; it must be (N, C, H, W), (N, H, W, C) or (N, F).")
    if x.ndim == 2:
        return x[:, :, None, None]
    if _layout(path, arrays, layout, x.shape) == "NHWC":
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    return x


def _layout(path: Path, arrays: Arrays, layout: str | None, shape: Sequence[int]) -> str:
    if "layout" in arrays:
        layout = str(arrays["layout"])
        if layout not in ("NCHW", "NHWC"):
            raise IntarsiaError(f"{path}: layout is {layout!r}; it must be NCHW or NHWC.")
    if layout is not None:
        return layout
    return "NHWC" if shape[3] <= 4 and shape[1] > 4 and shape[2] > 1 else "NCHW"


def _require_alike(files: dict[str, Path], splits: dict[str, Split], content: dict[str, Arrays]) -> None:
    first, *others = splits
    for name in others:
        for what, one, other in (
            ("inputs of the shape", splits[first].images.shape[1:], splits[name].images.shape[1:]),
            ("inputs of the type", splits[first].images.dtype, splits[name].images.dtype),
            *((entry, _entry(content[first], entry), _entry(content[name], entry)) for entry in ("offset", "unit")),
        ):
            if one != other:
                raise IntarsiaError(f"{files[first]} has {what} {one}, {files[name]} {other}; they must be alike.")


def _entry(arrays: Arrays, name: str) -> Any:
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


def _scaling(path: Path, arrays: Arrays, train: Stored) -> InputScaling:
    offset, unit = _number(path, arrays, "offset", 0.0), _number(path, arrays, "unit", 1.0)
    if offset != round(offset) or unit <= 0:
        raise IntarsiaError(f"{path}: offset {offset} must be whole and unit {unit} positive; correct them.")
    base = InputScaling(int(offset), unit)
    if train.dtype.kind in "iu":
        least = (-128 if train.dtype.kind == "i" else 0) - int(offset)
        if least in (-128, 0):  # all 256 values fit, signed or unsigned
            return InputScaling(int(offset), unit, signed=least < 0)
    values = base.reals(train).reshape(-1)
    values = values[:: max(1, len(values) // _SAMPLES)]
    signed = bool(values.min() < 0)
    return InputScaling(int(offset), best_scale(values, signed=signed), unit, signed)


def _number(path: Path, arrays: Arrays, name: str, default: float) -> float:
    value = arrays.get(name)
    if value is None:
        return default
    if value.size != 1 or value.dtype.kind not in "iuf" or not np.isfinite(value).all():
        raise IntarsiaError(f"{path}: {name} must be one number.")
    return float(value.reshape(-1)[0])


def best_scale(values: NDArray[np.float32], *, signed: bool) -> float:
    """Return the step of 8-bit integers that has the least squared error, at most the one that clips nothing.

    The error has narrow dips where the largest value falls on a step, so the best of 64 steps is searched
    around once more.
    """
    lo, hi = (-128, 127) if signed else (0, 255)
    most = float(np.abs(values).max())
    if most == 0:
        return 1.0
    wide = most / hi / 64
    coarse = _least(values, wide * np.arange(1, 65), lo, hi)
    fine = coarse + wide * np.arange(-15, 16) / 16
    return _least(values, fine[fine <= 64 * wide], lo, hi)


def _least(values: NDArray[np.float32], steps: NDArray[np.floating], lo: int, hi: int) -> float:
    errors = [np.square(np.clip(np.rint(values / step), lo, hi) * step - values).mean() for step in steps]
    return float(steps[int(np.argmin(errors))])
