"""The data of a run: a known data set, or a user's own arrays."""

from collections.abc import Collection

from intarsia.datasets import ALL_SPLITS, Dataset, SplitName, from_npz, identity_of, identity_of_npz, load_dataset
from intarsia.errors import IntarsiaError
from intarsia.flow.settings import Settings


def load_data(settings: Settings, splits: Collection[SplitName] = ALL_SPLITS, *, progress: bool = False) -> Dataset:
    """Load what a run trains on and is measured with.

    Raises:
        IntarsiaError: the data is missing or damaged.
    """
    if settings.model is None or settings.data_dir is None:
        return load_dataset(settings.defaults.dataset, settings.data_dir, splits=splits, progress=progress)
    return from_npz(settings.data_dir)


def data_key(settings: Settings, splits: Collection[SplitName] = ALL_SPLITS) -> dict[str, list[str]]:
    """Return what the key of a task that loads data has of it: nothing where the data set is pinned by checksums.

    Raises:
        IntarsiaError: a user's own data, or the folder of data sets, is not there.
    """
    if settings.model is None or settings.data_dir is None:
        found = identity_of(settings.defaults.dataset, settings.data_dir, splits=splits)
    elif not settings.data_dir.exists():
        raise IntarsiaError(f"there is no data at {settings.data_dir}; give an .npz file, or a folder of them.")
    else:
        found = identity_of_npz(settings.data_dir)
    return {"data": found} if found else {}
