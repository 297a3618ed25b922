"""Data sets: real images with checksums, in three splits, as integers that a network's input takes directly.

from intarsia.datasets import load_dataset
data = load_dataset("digits")
data.test.images, data.test.labels, data.scaling.integers(data.test.images)
"""

import os
from collections.abc import Collection
from pathlib import Path

from intarsia.datasets.cifar10 import load_cifar10
from intarsia.datasets.digits import load_digits
from intarsia.datasets.types import ALL_SPLITS, Dataset, InputScaling, Split, SplitName
from intarsia.errors import IntarsiaError

__all__ = ["ALL_SPLITS", "DATASETS", "Dataset", "InputScaling", "Split", "SplitName", "load_dataset"]

DATASETS = ("cifar10", "digits")


def load_dataset(
    name: str,
    data_dir: Path | None = None,
    *,
    splits: Collection[SplitName] = ALL_SPLITS,
    progress: bool = False,
) -> Dataset:
    """Load a data set by name.

    Args:
        name: one of `DATASETS`.
        data_dir: folder of data sets; the environment variable INTARSIA_DATA by default.
        splits: which splits are needed; others may come back empty, and their files are not looked for.
        progress: show progress bars while fetching.

    Raises:
        IntarsiaError: the name is unknown, the folder is none, or the data is damaged or cannot be had.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise IntarsiaError(f"there is no folder of data sets at {data_dir}; correct --data.")
    if name == "digits":
        return load_digits()
    if name == "cifar10":
        if data_dir is None and (variable := os.environ.get("INTARSIA_DATA")):
            data_dir = Path(variable)
            if not data_dir.is_dir():
                raise IntarsiaError(f"there is no folder of data sets at {data_dir}; correct INTARSIA_DATA.")
        return load_cifar10(data_dir, splits=splits, progress=progress)
    raise IntarsiaError(f"there is no data set {name!r}; choose one of {', '.join(DATASETS)}.")
