# SPDX-License-Identifier: Apache-2.0
"""Keyword spotting as in MLPerf Tiny: one second of sound, ten words, silence or anything else.

Speech Commands v0.02 (Warden, 2018), from its official archive or unpacked, is split by its own lists. Where only the
prepared sets are at hand (`kws/*.npz`), there is a part of v0.01, split by the same rule: its training clips with
variants, and synthetic speech for the two words that they lack. The test split is the benchmark's accuracy set of 1,000
clips (`kws/test_kws01.npz`) wherever that is at hand.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intarsia.array_files import read_npz, require_shape
from intarsia.cache import default_cache
from intarsia.datasets import identity
from intarsia.datasets.archives import Distribution
from intarsia.datasets.audio import RATE, mfcc, read_wav
from intarsia.datasets.prepared import Item, prepared
from intarsia.datasets.types import ALL_SPLITS, Dataset, InputScaling, Split, SplitName
from intarsia.download import FetchError
from intarsia.errors import IntarsiaError, unreadable
from intarsia.files import sha256

CLASSES = ("Down", "Go", "Left", "No", "Off", "On", "Right", "Stop", "Up", "Yes", "Silence", "Unknown")
#: The archive's sum is the one that TensorFlow Datasets publishes.
OFFICIAL = Distribution(
    folder="kws",
    name="speech_commands_v0.02",
    url="https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    checksum="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
)
#: The step of the benchmark's own int8 input, so its accuracy set, stored in this step, is not rounded a second time.
#: Of 0.2 to 1.0 it is also, within the noise, the step that changes the float reference's outputs least on the
#: validation clips. Coefficients below −74.8 are clipped; they occur in digital silence only.
SCALING = InputScaling(offset=0, scale=0.5847029, unit=1.0)

_FRAMES, _COEFFICIENTS = 49, 10
_SILENCE, _UNKNOWN = CLASSES.index("Silence"), CLASSES.index("Unknown")
_NOISE = "_background_noise_"
#: Which long recording of noise is cut into the silence of which split; all others are for training.
_HELD_OUT: dict[str, SplitName] = {"running_tap.wav": "validation", "pink_noise.wav": "test"}
_TEST = "test_kws01.npz"
_REAL, _VARIED = "train_speech_commands_v1.npz", "train_speech_commands_v1_variants.npz"
_SYNTHETIC = "train_synthetic_speech.npz"
_LEARNED = (_REAL, _VARIED, _SYNTHETIC)
#: Words that no real clip says. Voices that synthesized them are held out, every so many of them in the order of their
#: names, so that something validates these words too.
_UNHEARD = (CLASSES.index("Off"), CLASSES.index("On"))
_HELD_OUT_VOICES = 10


def load_speech_commands(
    data_dir: Path | None = None,
    *,
    splits: Collection[SplitName] = ALL_SPLITS,
    cache: Path | None = None,
    source: Distribution = OFFICIAL,
    progress: bool = False,
) -> Dataset:
    """Load the keyword-spotting data, MFCC of one second each: float32 (N, 1, 49, 10).

    In this order: the official set (`kws/speech_commands_v0.02/`, or the archive next to it), unpacked or packed, in
    `data_dir` or the cache; the prepared sets in `data_dir/kws`; the official archive from the network (2.4 GB).

    Args:
        data_dir: folder of data sets.
        splits: which to load.
        cache: for the archive and the computed MFCC.
        source: the official archive.
        progress: show progress bars.

    Raises:
        IntarsiaError: a file is damaged, or missing and cannot be fetched.
    """
    cache = cache or default_cache()
    small = None if data_dir is None else data_dir / OFFICIAL.folder
    root = source.find(data_dir, cache)
    if root is None and small is not None and any((small / name).is_file() for name in (_TEST, *_LEARNED)):
        return _prepared_sets(small, splits)
    if root is None:
        try:
            root = source.fetch(cache, progress=progress)
        except FetchError as error:
            raise IntarsiaError(
                f"Speech Commands is not at hand and cannot be fetched ({str(error).rsplit(';', 1)[0]}); put "
                f"{source.name}.tar.gz, unpacked or not, into {small or cache / source.folder}."
            ) from error
    return _official(root, small, splits, cache / source.folder, progress=progress)


def speech_commands_at_hand(
    data_dir: Path | None, *, cache: Path | None = None, source: Distribution = OFFICIAL
) -> bool:
    """Return whether `load_speech_commands` would find the test split without fetching anything."""
    kept = data_dir is not None and (data_dir / OFFICIAL.folder / _TEST).is_file()
    return kept or source.is_at_hand(data_dir, cache or default_cache())


def identity_of_speech_commands(
    data_dir: Path | None, splits: Collection[SplitName], *, cache: Path | None = None, source: Distribution = OFFICIAL
) -> list[str]:
    """Return what stands for the files that `load_speech_commands` would read, one text for each."""
    small = None if data_dir is None else data_dir / OFFICIAL.folder
    tested = () if small is None or "test" not in splits else (small / _TEST,)
    learned = set(splits) - {"test"}
    files = () if small is None else tuple(small / name for name in (_TEST, *_LEARNED))
    if not source.is_at_hand(data_dir, cache or default_cache()) and any(path.is_file() for path in files):
        return identity.of_files([*files[1:], Path(__file__), *tested] if learned else tested)
    known = identity.of_files(tested)
    return known if known and not learned else [source.identity(data_dir), *known]


def _prepared_sets(folder: Path, splits: Collection[SplitName]) -> Dataset:
    loaded: dict[SplitName, Split] = {}
    sums: dict[str, str] = {}
    said = []
    if {"train", "validation"} & set(splits):
        real, by_rule = _labelled(folder / _REAL, "split", sums)
        synthetic, voices = _labelled(folder / _SYNTHETIC, "voice", sums)
        held_out = np.isin(voices, np.unique(voices)[::_HELD_OUT_VOICES])
        if "train" in splits:
            varied, _ = _labelled(folder / _VARIED, "clip", sums)  # of training clips only
            loaded["train"] = _joined(_chosen(real, by_rule == "training"), varied, _chosen(synthetic, ~held_out))
            said.append(
                f"{np.count_nonzero(by_rule == 'training'):,} training clips of Speech Commands v0.01, "
                f"{len(varied):,} variants of them and {np.count_nonzero(~held_out):,} synthetic clips"
            )
        if "validation" in splits:
            unheard = _chosen(synthetic, held_out & np.isin(synthetic.labels, _UNHEARD))
            judged = Split(unheard.images, np.full(len(unheard), -1, np.int64))
            loaded["validation"] = _joined(_chosen(real, by_rule == "validation"), judged)
            count = np.count_nonzero(by_rule == "validation")
            said.append(
                f"{count:,} validation clips of v0.01, and {len(unheard)} synthetic ones of On and Off by other "
                "voices, which count as right where the float network is agreed with"
            )
    if "test" in splits:
        loaded["test"] = _accuracy_set(folder / _TEST, sums)
    said.append("the MLPerf Tiny accuracy set (Speech Commands v0.02) to test")
    return _dataset(loaded, sums, "; ".join(said) + ".")


def _labelled(path: Path, also: str, sums: dict[str, str]) -> tuple[Split, NDArray[Any]]:
    """Read clips with their labels, and what else the file says of each under the name `also`."""
    content = _read(path, ("mfcc", "y", "classes", also), sums)
    labels = _labels(path, content)
    require_shape(path, also, content[also], (len(labels),))
    require_shape(path, "mfcc", content["mfcc"], (len(labels), _FRAMES, _COEFFICIENTS))
    return Split(np.asarray(content["mfcc"][:, None], np.float32), labels), content[also]


def _chosen(split: Split, marked: NDArray[np.bool_]) -> Split:
    return Split(split.images[marked], split.labels[marked])


def _joined(*splits: Split) -> Split:
    return Split(np.concatenate([split.images for split in splits]), np.concatenate([split.labels for split in splits]))


def _dataset(splits: dict[SplitName, Split], sums: dict[str, str], source: str) -> Dataset:
    empty = Split(np.empty((0, 1, _FRAMES, _COEFFICIENTS), np.float32), np.empty(0, np.int64))
    return Dataset(
        name="speech_commands",
        train=splits.get("train", empty),
        validation=splits.get("validation", empty),
        test=splits.get("test", empty),
        classes=CLASSES,
        scaling=SCALING,
        checksums=sums,
        source=source,
    )


def _read(path: Path, arrays: Collection[str], sums: dict[str, str]) -> dict[str, NDArray[Any]]:
    content = read_npz(path, tuple(arrays))
    sums[path.name] = sha256(path)
    return content


def _labels(path: Path, content: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    if tuple(content["classes"].tolist()) != CLASSES:
        raise IntarsiaError(f"{path} has other classes than {', '.join(CLASSES)}; take the file of this benchmark.")
    return content["y"].astype(np.int64)


def _accuracy_set(path: Path, sums: dict[str, str]) -> Split:
    """Read the benchmark's int8 clips as the real numbers that they stand for: (x − zero point) · step."""
    content = _read(path, ("x", "y", "scale", "zero_point", "classes"), sums)
    require_shape(path, "x", content["x"], (None, _FRAMES, _COEFFICIENTS, 1))
    reals = (content["x"].astype(np.float32) - np.float32(content["zero_point"])) * np.float32(content["scale"])
    return Split(np.ascontiguousarray(reals.transpose(0, 3, 1, 2)), _labels(path, content))


def _official(
    root: Path,
    small: Path | None,
    splits: Collection[SplitName],
    cache: Path,
    *,
    progress: bool,
) -> Dataset:
    loaded: dict[SplitName, Split] = {}
    tested = "the clips of testing_list.txt"
    items = _items(root)
    sums = {name: sha256(root / name) for name in ("validation_list.txt", "testing_list.txt")}
    for split in ALL_SPLITS:
        if split not in splits:
            continue
        if split == "test" and small is not None and (small / _TEST).is_file():
            loaded[split] = _accuracy_set(small / _TEST, sums)
            tested = "the MLPerf Tiny accuracy set"
            continue
        found = prepared(
            cache / f"mfcc1-{split}",
            [item for item, _ in items[split]],
            (_FRAMES, _COEFFICIENTS),
            np.float32,
            lambda path, start: mfcc(read_wav(path)[start : start + RATE]),
            progress=progress,
        )
        loaded[split] = Split(found[:, None], np.array([label for _, label in items[split]], np.int64))
    source_text = f"Speech Commands v0.02, split by its own lists, without added noise; {tested} to test."
    return _dataset(loaded, sums, source_text)


def _items(root: Path) -> dict[SplitName, list[tuple[Item, int]]]:
    """Return every clip with its label, by split: words by the two lists, silence from recordings of noise."""
    lists = {"validation": _list(root / "validation_list.txt"), "test": _list(root / "testing_list.txt")}
    items: dict[SplitName, list[tuple[Item, int]]] = {split: [] for split in ALL_SPLITS}
    names = {name.lower(): label for label, name in enumerate(CLASSES[:_SILENCE])}
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))):
        for path in sorted(folder.glob("*.wav")):
            name = f"{folder.name}/{path.name}"
            split: SplitName = "test" if name in lists["test"] else "train"
            split = "validation" if name in lists["validation"] else split
            items[split].append(((path, 0), names.get(folder.name, _UNKNOWN)))
    for path in sorted((root / _NOISE).glob("*.wav")):
        # One second every half second, as TensorFlow Datasets cuts it.
        for start in range(0, len(read_wav(path)) - RATE, RATE // 2):
            items[_HELD_OUT.get(path.name, "train")].append(((path, start), _SILENCE))
    if not items["train"]:
        raise IntarsiaError(f"there are no sound files to train on in the folders of {root}; unpack the archive again.")
    return items


def _list(path: Path) -> frozenset[str]:
    try:
        return frozenset(path.read_text(encoding="utf-8").split())
    except OSError as error:
        raise unreadable(path, error, "unpack the archive again") from error
    except UnicodeDecodeError as error:
        raise IntarsiaError(f"{path} is not a list of names ({error}); unpack the archive again.") from error
