"""The data of a run: a known data set, or a user's own arrays."""

import hashlib
from collections.abc import Collection
from pathlib import Path

from intarsia.datasets import ALL_SPLITS, Dataset, SplitName, load_dataset
from intarsia.datasets.own import from_npz
from intarsia.errors import IntarsiaError
from intarsia.files import sha256
from intarsia.flow.settings import Settings


def load_data(settings: Settings, splits: Collection[SplitName] = ALL_SPLITS, *, progress: bool = False) -> Dataset:
    """Load what a run trains on and is measured with.

    Raises:
        IntarsiaError: the data is missing or damaged.
    """
    if settings.model is None or settings.data_dir is None:
        return load_dataset(settings.defaults.dataset, settings.data_dir, splits=splits, progress=progress)
    return from_npz(settings.data_dir)


def digest_of_data(path: Path) -> str:
    """Return what stands for a user's data, a file or a folder of .npz files.

    Raises:
        IntarsiaError: there is nothing.
    """
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise IntarsiaError(f"there is no data at {path}; give an .npz file, or a folder of them, with --data.")
    return hashlib.sha256("".join(sha256(file) for file in files).encode()).hexdigest()
