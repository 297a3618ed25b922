# SPDX-License-Identifier: Apache-2.0
"""Visual wake words as in MLPerf Tiny: is there a person in this picture of 96×96 pixels?

Visual Wake Words (Chowdhery and others, 2019) as MLPerf Tiny prepared it from COCO 2014: the archive vw_coco2014_96
and the benchmark's list of test images (`vww/y_labels.csv`), which are kept out of training. Else the prepared sets
(`vww/*.npz`): COCO images outside the test set, most of them without labels.
"""

import io
import itertools
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intarsia.array_files import read_npz, require_shape
from intarsia.cache import default_cache
from intarsia.datasets import identity
from intarsia.datasets.archives import Distribution
from intarsia.datasets.prepared import prepared
from intarsia.datasets.types import ALL_SPLITS, Dataset, InputScaling, Split, SplitName
from intarsia.download import FetchError, download
from intarsia.errors import IntarsiaError, unreadable
from intarsia.files import sha256
from intarsia.packages import load_package

CLASSES = ("non_person", "person")
SIZE = 96
#: Its sum is not published by its makers; public lock files of several projects agree on this one.
OFFICIAL = Distribution(
    folder="vww",
    name="vw_coco2014_96",
    url="https://www.silabs.com/public/files/github/machine_learning/benchmarks/datasets/vw_coco2014_96.tar.gz",
    checksum="f8746b9e44f8a7a4293f73be9ba6e8da9239fe69798d42364aae62b915cfab58",
)
LABELS = "y_labels.csv"
LABELS_URL = "https://raw.githubusercontent.com/mlcommons/tiny/master/benchmark/evaluation/datasets/vww01/y_labels.csv"
LABELS_SUM = "3697ca57c48b23b21602ae9bdb32b1925407a1d41d79167cdfb365054cb9c33d"

_TEST, _LABELLED, _UNLABELLED = "test_vww01.npz", "calibration_coco_extra.npz", "train_coco2014.npz"
#: Every so many of the images without labels validate, by agreement with the float network.
_HELD_OUT = 5


def load_visual_wake_words(
    data_dir: Path | None = None,
    *,
    splits: Collection[SplitName] = ALL_SPLITS,
    cache: Path | None = None,
    source: Distribution = OFFICIAL,
    progress: bool = False,
) -> Dataset:
    """Load visual wake words, uint8 (N, 3, 96, 96); the float input is pixel / 255, the integer input the pixel itself.

    In this order: the official set (`vww/vw_coco2014_96/`, or its archive) in `data_dir` or the cache; the prepared
    sets in `data_dir/vww`; the official archive from the network (235 MB).

    Args:
        data_dir: folder of data sets.
        splits: which to load.
        cache: for the archive and the decoded images (3 GB).
        source: the official archive.
        progress: show progress bars.

    Raises:
        IntarsiaError: a file is damaged, or missing and cannot be fetched.
    """
    cache = cache or default_cache()
    small = None if data_dir is None else data_dir / OFFICIAL.folder
    root = source.find(data_dir, cache)
    if root is None and small is not None and _holds_prepared(small):
        return _prepared_sets(small, splits)
    try:
        root = root or source.fetch(cache, progress=progress)
        labels = _find_labels([base / source.folder for base in (data_dir, cache) if base is not None], cache / "vww")
    except FetchError as error:
        raise IntarsiaError(
            f"Visual Wake Words is not at hand and cannot be fetched ({str(error).rsplit(';', 1)[0]}); put {LABELS} of "
            f"MLPerf Tiny and {source.name}.tar.gz, unpacked or not, into {small or cache / source.folder}."
        ) from error
    kept = None if small is None or not (small / _TEST).is_file() else small / _TEST
    return _official(root, labels, splits, cache / source.folder, tested=kept, progress=progress)


def visual_wake_words_at_hand(
    data_dir: Path | None, *, cache: Path | None = None, source: Distribution = OFFICIAL
) -> bool:
    """Return whether `load_visual_wake_words` would find the test split without fetching anything."""
    cache = cache or default_cache()
    if source.is_at_hand(data_dir, cache):
        return any((base / source.folder / LABELS).is_file() for base in (data_dir, cache) if base is not None)
    return data_dir is not None and (data_dir / OFFICIAL.folder / _TEST).is_file()


def identity_of_visual_wake_words(
    data_dir: Path | None, splits: Collection[SplitName], *, cache: Path | None = None, source: Distribution = OFFICIAL
) -> list[str]:
    """Return what stands for the files that `load_visual_wake_words` would read, one text for each; nothing is
    fetched.
    """
    cache = cache or default_cache()
    small = None if data_dir is None else data_dir / OFFICIAL.folder
    learned = bool(set(splits) - {"test"})
    tested = [] if small is None or "test" not in splits else identity.of_files([small / _TEST])
    if not source.is_at_hand(data_dir, cache) and small is not None and _holds_prepared(small):
        files = [small / _LABELLED, small / _UNLABELLED, Path(__file__)]
        return [*identity.of_files(files), *tested] if learned else tested
    labels = [base / source.folder / LABELS for base in (data_dir, cache) if base is not None]
    listed = identity.of_files([path for path in labels if path.is_file()][:1]) or [f"{LABELS} {LABELS_SUM}"]
    return tested if tested and not learned else [source.identity(data_dir), *listed, *tested]


def _holds_prepared(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (_TEST, _LABELLED, _UNLABELLED))


def _find_labels(folders: Sequence[Path], cache: Path) -> Path:
    for folder in folders:
        if (folder / LABELS).is_file():
            return folder / LABELS
    download(LABELS_URL, cache / LABELS, LABELS_SUM)
    return cache / LABELS


def _dataset(splits: dict[SplitName, Split], sums: dict[str, str], source: str) -> Dataset:
    empty = Split(np.empty((0, 3, SIZE, SIZE), np.uint8), np.empty(0, np.int64))
    return Dataset(
        name="visual_wake_words",
        train=splits.get("train", empty),
        validation=splits.get("validation", empty),
        test=splits.get("test", empty),
        classes=CLASSES,
        scaling=InputScaling(offset=0, scale=1 / 255, signed=False),
        checksums=sums,
        source=source,
    )


def _prepared_sets(folder: Path, splits: Collection[SplitName]) -> Dataset:
    loaded: dict[SplitName, Split] = {}
    sums: dict[str, str] = {}
    said = []
    if {"train", "validation"} & set(splits):
        images = _jpegs(folder / _UNLABELLED, sums)
        held_out = np.arange(len(images)) % _HELD_OUT == 0
        if "train" in splits:
            loaded["train"] = Split(images[~held_out], np.full(np.count_nonzero(~held_out), -1, np.int64))
            said.append(f"{np.count_nonzero(~held_out):,} images of COCO 2014 without labels to train")
        if "validation" in splits:
            known, labels = _images(folder / _LABELLED, sums)
            unknown = np.full(np.count_nonzero(held_out), -1, np.int64)
            loaded["validation"] = Split(np.concatenate([known, images[held_out]]), np.concatenate([labels, unknown]))
            said.append(
                f"{len(known)} other images with labels to validate, and {len(unknown)} without, which count as right "
                "where the float network is agreed with"
            )
    if "test" in splits:
        loaded["test"] = Split(*_images(folder / _TEST, sums))
    said.append("the MLPerf Tiny accuracy set (COCO 2014) to test")
    return _dataset(loaded, sums, "; ".join(said) + ".")


def _images(path: Path, sums: dict[str, str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    content: dict[str, NDArray[Any]] = read_npz(path, ("x", "y"))
    require_shape(path, "x", content["x"], (None, SIZE, SIZE, 3))
    sums[path.name] = sha256(path)
    return np.ascontiguousarray(content["x"].transpose(0, 3, 1, 2)), content["y"].astype(np.int64)


def _jpegs(path: Path, sums: dict[str, str]) -> NDArray[np.uint8]:
    """Read images (N, 3, 96, 96) from one array of JPEG files and where each begins."""
    content: dict[str, NDArray[Any]] = read_npz(path, ("jpeg", "offsets"))
    require_shape(path, "jpeg", content["jpeg"], (None,))
    require_shape(path, "offsets", content["offsets"], (None,))
    data, bounds = content["jpeg"].astype(np.uint8).tobytes(), content["offsets"].astype(np.int64)
    if len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != len(data) or np.any(np.diff(bounds) <= 0):
        raise IntarsiaError(f"the offsets in {path} do not divide its {len(data)} bytes; take the file again.")
    sums[path.name] = sha256(path)
    files = (data[start:stop] for start, stop in itertools.pairwise(bounds))
    return np.stack([_pixels(io.BytesIO(file), f"image {number} of {path}") for number, file in enumerate(files)])


def _official(
    root: Path,
    labels: Path,
    splits: Collection[SplitName],
    cache: Path,
    *,
    tested: Path | None,
    progress: bool,
) -> Dataset:
    files = _files(root, _test_numbers(labels))
    loaded: dict[SplitName, Split] = {}
    sums = {LABELS: sha256(labels)}
    for split in ALL_SPLITS:
        if split == "test" and split in splits and tested is not None:
            loaded[split] = Split(*_images(tested, sums))
        elif split in splits:
            images = prepared(
                cache / f"pixels1-{split}",
                [(path, 0) for path, _ in files[split]],
                (3, SIZE, SIZE),
                np.uint8,
                decode,
                progress=progress,
            )
            loaded[split] = Split(images, np.array([label for _, label in files[split]], np.int64))
    return _dataset(
        loaded,
        sums,
        "Visual Wake Words (COCO 2014) without the MLPerf Tiny accuracy set, the first tenth of each class to "
        "validate; the accuracy set to test.",
    )


def _test_numbers(path: Path) -> frozenset[int]:
    """Return the COCO numbers of the images to test on: lines of `000000343218.bin,2,1`."""
    try:
        lines = path.read_text(encoding="utf-8").split()
        return frozenset(int(line.split(".", 1)[0]) for line in lines)
    except OSError as error:
        raise unreadable(path, error, f"take {LABELS} of MLPerf Tiny's vww01") from error
    except ValueError as error:
        raise IntarsiaError(
            f"{path} is not a list of images ({error}); take {LABELS} of MLPerf Tiny's vww01."
        ) from error


def _files(root: Path, tested: frozenset[int]) -> dict[SplitName, list[tuple[Path, int]]]:
    """Return the images with their labels by split; as in the benchmark, the first tenth of each class validates."""
    files: dict[SplitName, list[tuple[Path, int]]] = {split: [] for split in ALL_SPLITS}
    for label, name in enumerate(CLASSES):
        numbered = [(path, _number(path)) for path in sorted((root / name).glob("*.jpg"))]
        rest = [(path, label) for path, number in numbered if number not in tested]
        if len(rest) < 2:
            raise IntarsiaError(f"there are no images in {root / name}; unpack the archive again.")
        cut = max(1, len(rest) // 10)
        files["validation"] += rest[:cut]
        files["train"] += rest[cut:]
        files["test"] += [(path, label) for path, number in numbered if number in tested]
    if len(files["test"]) != len(tested):
        raise IntarsiaError(f"{root} has {len(files['test'])} of {len(tested)} test images; unpack the archive again.")
    return files


def _number(path: Path) -> int:
    match = re.search(r"(\d+)$", path.stem)
    if match is None:
        raise IntarsiaError(f"the name of {path} does not end in its COCO number; unpack the archive again.")
    return int(match[1])


def decode(path: Path, _: int = 0) -> NDArray[np.uint8]:
    """Return a picture of a file, (3, 96, 96).

    Raises:
        IntarsiaError: it cannot be read, or has another size.
    """
    return _pixels(path, str(path))


def _pixels(source: Path | io.BytesIO, name: str) -> NDArray[np.uint8]:
    pillow = load_package("PIL.Image", "train")
    try:
        with pillow.open(source) as image:
            if image.size != (SIZE, SIZE):
                raise IntarsiaError(f"{name} has {image.size[0]}x{image.size[1]} pixels instead of {SIZE}x{SIZE}.")
            return np.asarray(image.convert("RGB"), np.uint8).transpose(2, 0, 1)
    except IntarsiaError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen kinds; a picture of impossible size is one of them
        raise IntarsiaError(f"{name} cannot be read as an image ({error}); take the file again.") from error
