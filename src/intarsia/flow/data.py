# SPDX-License-Identifier: Apache-2.0
"""The data of a run: a known data set, or a user's own arrays."""

from collections.abc import Collection

from intarsia.datasets import ALL_SPLITS, Dataset, SplitName, from_npz, identity_of, identity_of_npz, load_dataset
from intarsia.errors import IntarsiaError
from intarsia.files import is_there
from intarsia.flow.settings import Settings
from intarsia.flow.task import read_record


def load_data(settings: Settings, splits: Collection[SplitName] = ALL_SPLITS, *, progress: bool = False) -> Dataset:
    """Load what a run trains on and is measured with; a user's own data as the network takes it, once that is imported.

    Raises:
        IntarsiaError: the data is missing or damaged, or is not that of the network.
    """
    if settings.model is None or settings.data_dir is None:
        return load_dataset(settings.defaults.dataset, settings.data_dir, splits=splits, progress=progress)
    record = read_record(settings.folder / "train" / "float.json")
    if record is None:
        raise IntarsiaError(f"{settings.folder} holds no imported network; run intarsia train {settings.model} first.")
    channels, height, width = record.result["shape"]
    return from_npz(settings.data_dir, shape=(channels, height, width), grids=record.result["grids"])


def data_key(settings: Settings, splits: Collection[SplitName] = ALL_SPLITS) -> dict[str, list[str]]:
    """Return what the key of a task that loads data has of it: nothing where the data set is pinned by checksums.

    Raises:
        IntarsiaError: a user's own data, or the folder of data sets, is not there.
    """
    if settings.model is None or settings.data_dir is None:
        found = identity_of(settings.defaults.dataset, settings.data_dir, splits=splits)
    elif not is_there(settings.data_dir, "correct --data"):
        raise IntarsiaError(f"there is no data at {settings.data_dir}; give an .npz file, or a folder of them.")
    else:
        found = identity_of_npz(settings.data_dir)
    return {"data": found} if found else {}
