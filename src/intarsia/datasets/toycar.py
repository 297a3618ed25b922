# SPDX-License-Identifier: Apache-2.0
"""Anomaly detection as in MLPerf Tiny: does this toy car sound as it should?

ToyADMOS (Koizumi and others, 2019) as prepared for DCASE 2020, task 2: the unpacked folder `ad/ToyCar` with `train`
and `test`. It is not fetched, since no SHA-256 sum of dev_data_ToyCar.zip (Zenodo, record 3678171) is published. Else
the small sets: `ad/train_normal.npz` and `ad/test_ad01.npz`, the benchmark's 248 clips.

A clip is 200 frames of 128 log-mel energies in dB; five consecutive frames are one input of 640 features.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intarsia.array_files import read_npz, require_shape
from intarsia.cache import default_cache
from intarsia.datasets import identity
from intarsia.datasets.audio import log_mel, read_wav
from intarsia.datasets.prepared import prepared
from intarsia.datasets.types import ALL_SPLITS, Dataset, InputScaling, Split, SplitName
from intarsia.errors import IntarsiaError
from intarsia.files import sha256

FOLDER = Path("ad")
#: ±83 dB, so nothing is clipped; of 0.2 to 0.65 the step that changes the reconstruction error of the float reference
#: least on training clips.
SCALING = InputScaling(offset=0, scale=0.65, unit=1.0)
FRAMES, BANDS, CONTEXT = 200, 128, 5
WINDOWS = FRAMES - CONTEXT + 1

_TRAIN, _TEST = "train_normal.npz", "test_ad01.npz"
_HELD_OUT = 0.1  # share of the training clips that validates
_SEED = 0  # of that split; the same for everybody, whatever the seed of the training
_MOST_WINDOWS = 200_000  # to train on: 256 MB; neighbouring windows share four of five frames
_NAME = re.compile(r"(normal|anomaly)_id_(\d+)_(\d+)\.wav")


def load_toycar(
    data_dir: Path | None = None,
    *,
    splits: Collection[SplitName] = ALL_SPLITS,
    cache: Path | None = None,
    progress: bool = False,
) -> Dataset:
    """Load the anomaly detector's data, in dB: float16 (clips · windows, 640, 1, 1), label 1 for an anomaly.

    A clip has 196 windows; of very many training clips only every second, third … window is taken. All training and
    validation clips are normal, so `score` works on the test split; `clip_errors` on each.

    Args:
        data_dir: folder of data sets.
        splits: which to load.
        cache: for computed energies; a user's cache folder by default.
        progress: show progress bars.

    Raises:
        IntarsiaError: a file is damaged, or there are none.
    """
    folder = None if data_dir is None else data_dir / FOLDER
    root = None if folder is None else folder / "ToyCar"
    sums: dict[str, str] = {}
    if root is not None and root.is_dir():
        clips = _official(root, splits, cache or default_cache(), progress)
        source = "ToyADMOS ToyCar of DCASE 2020 (development set), a tenth of its training clips to validate"
    elif folder is not None and any((folder / name).is_file() for name in (_TRAIN, _TEST)):
        clips = _small(folder, splits, sums)
        source = "325 normal ToyCar clips (nearly all of machine 04), a tenth of them to validate"
    else:
        where = "give the folder of data sets" if folder is None else f"put it into {folder}"
        raise IntarsiaError(
            f"the ToyCar set of DCASE 2020 (dev_data_ToyCar.zip) is not at hand; unpack it and {where}."
        )
    return Dataset(
        name="toycar",
        train=_split(*clips.get("train", _NOTHING), thin=True),
        validation=_split(*clips.get("validation", _NOTHING)),
        test=_split(*clips.get("test", _NOTHING)),
        classes=("normal", "anomaly"),
        scaling=SCALING,
        checksums=sums,
        metric="auc",
        source=f"{source}; the 248 clips of MLPerf Tiny to test.",
    )


def toycar_at_hand(data_dir: Path | None) -> bool:
    """Return whether `load_toycar` would find the test split."""
    folder = None if data_dir is None else data_dir / FOLDER
    return folder is not None and ((folder / "ToyCar").is_dir() or (folder / _TEST).is_file())


def identity_of_toycar(data_dir: Path | None, splits: Collection[SplitName]) -> list[str]:
    """Return what stands for the files that `load_toycar` would read, one text for each."""
    if data_dir is None:
        return []
    folder = data_dir / FOLDER
    if (folder / "ToyCar").is_dir():
        return [identity.of_folder(folder / "ToyCar")]
    wanted = [(_TRAIN, bool(set(splits) - {"test"})), (_TEST, "test" in splits)]
    return identity.of_files(folder / name for name, needed in wanted if needed)


_Clips = tuple[NDArray[np.float16], NDArray[np.int64]]
_NOTHING: _Clips = (np.empty((0, FRAMES, BANDS), np.float16), np.empty(0, np.int64))


def _split(frames: NDArray[np.float16], labels: NDArray[np.int64], *, thin: bool = False) -> Split:
    """Expand clips (L, 200, 128) to windows of five frames, (L · windows, 640, 1, 1)."""
    step = max(1, -(-len(frames) * WINDOWS // _MOST_WINDOWS)) if thin else 1
    flat = frames.reshape(len(frames), FRAMES * BANDS)
    if len(flat) == 0:
        return Split(np.empty((0, CONTEXT * BANDS, 1, 1), np.float16), labels, WINDOWS)
    windows = np.lib.stride_tricks.sliding_window_view(flat, CONTEXT * BANDS, axis=1)[:, :: BANDS * step]
    return Split(windows.reshape(-1, CONTEXT * BANDS, 1, 1), labels, windows.shape[1])


def _held_out(count: int) -> NDArray[np.bool_]:
    """Return which of the training clips validate."""
    chosen = np.zeros(count, bool)
    chosen[np.random.default_rng(_SEED).permutation(count)[: round(count * _HELD_OUT)]] = True
    return chosen


def _small(folder: Path, splits: Collection[SplitName], sums: dict[str, str]) -> dict[SplitName, _Clips]:
    clips: dict[SplitName, _Clips] = {}
    if {"train", "validation"} & set(splits):
        frames = _frames(folder / _TRAIN, ("x",), sums)["x"]
        chosen = _held_out(len(frames))
        for split, mask in (("train", ~chosen), ("validation", chosen)):
            if split in splits:
                clips["train" if split == "train" else "validation"] = frames[mask], np.zeros(mask.sum(), np.int64)
    if "test" in splits:
        content = _frames(folder / _TEST, ("x", "y"), sums)
        clips["test"] = content["x"], content["y"].astype(np.int64)
    return clips


def _frames(path: Path, arrays: tuple[str, ...], sums: dict[str, str]) -> dict[str, NDArray[Any]]:
    content = read_npz(path, arrays)
    require_shape(path, "x", content["x"], (None, FRAMES, BANDS))
    sums[path.name] = sha256(path)
    return content | {"x": content["x"].astype(np.float16, copy=False)}


def _official(root: Path, splits: Collection[SplitName], cache: Path, progress: bool) -> dict[SplitName, _Clips]:
    training = [path for path, _ in _files(root / "train")]
    chosen = _held_out(len(training))
    # The benchmark's accuracy set is every tenth clip of the test folder, those whose number ends in 3.
    tested = [(path, match) for path, match in _files(root / "test") if match[3].endswith("3")]
    paths: dict[SplitName, list[Path]] = {
        "train": [path for path, held in zip(training, chosen, strict=True) if not held],
        "validation": [path for path, held in zip(training, chosen, strict=True) if held],
        "test": [path for path, _ in tested],
    }
    anomalies = np.array([match[1] == "anomaly" for _, match in tested], np.int64)
    clips: dict[SplitName, _Clips] = {}
    for split in ALL_SPLITS:
        if split in splits:
            found = prepared(
                cache / FOLDER / f"logmel1-{split}",
                [(path, 0) for path in paths[split]],
                (FRAMES, BANDS),
                np.float16,
                _log_mel,
                progress=progress,
            )
            clips[split] = found, anomalies if split == "test" else np.zeros(len(found), np.int64)
    return clips


def _files(folder: Path) -> list[tuple[Path, re.Match[str]]]:
    matches = [(path, _NAME.fullmatch(path.name)) for path in sorted(folder.glob("*.wav"))]
    found = [(path, match) for path, match in matches if match is not None]
    if not found:
        raise IntarsiaError(f"there are no files such as normal_id_01_00000000.wav in {folder}; unpack the set again.")
    return found


def _log_mel(path: Path, _: int) -> NDArray[np.float32]:
    try:
        return log_mel(read_wav(path), count=FRAMES)
    except ValueError as error:
        raise IntarsiaError(f"{path} is too short ({error}); fetch it again.") from error
