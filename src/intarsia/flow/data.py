# SPDX-License-Identifier: Apache-2.0
"""The data of a run (a known data set, or a user's own arrays), and the record of its float network."""

from collections.abc import Collection
from pathlib import Path

from intarsia.datasets import ALL_SPLITS, Dataset, SplitName, from_npz, identity_of, identity_of_npz, load_dataset
from intarsia.errors import IntarsiaError
from intarsia.files import is_there
from intarsia.flow.results import FloatNetwork, ImportedFloat, TrainedFloat
from intarsia.flow.settings import Settings
from intarsia.flow.task import Record, read_record


def load_data(settings: Settings, splits: Collection[SplitName] = ALL_SPLITS, *, progress: bool = False) -> Dataset:
    """Load what a run trains on and is measured with; a user's own data as the network takes it, once that is imported.

    Raises:
        IntarsiaError: the data is missing or damaged, or is not that of the network.
    """
    if settings.model is None or settings.data_dir is None:
        return load_dataset(settings.benchmark.dataset, settings.data_dir, splits=splits, progress=progress)
    record = read_record(_float_path(settings), ImportedFloat)
    return from_npz(settings.data_dir, shape=record.result.shape, grids=record.result.grids)


def float_record(settings: Settings) -> Record[FloatNetwork]:
    """Return the record of the float network.

    Raises:
        IntarsiaError: there is none, or it cannot be read.
    """
    kind = TrainedFloat if settings.imported is None else ImportedFloat
    return read_record(_float_path(settings), kind)


def _float_path(settings: Settings) -> Path:
    path = settings.folder / "train" / "float.json"
    if not path.exists():
        raise IntarsiaError(
            f"{settings.folder} holds no float network; run intarsia train {settings.model or settings.network} first."
        )
    return path


def data_key(settings: Settings, splits: Collection[SplitName] = ALL_SPLITS) -> dict[str, object]:
    """Return what the key of a task that loads data has of it: nothing where the data set is pinned by checksums.

    Raises:
        IntarsiaError: as `data_identity`.
    """
    found = data_identity(settings, splits)
    return {"data": found} if found else {}


def data_identity(settings: Settings, splits: Collection[SplitName] = ALL_SPLITS) -> tuple[str, ...]:
    """Return name and sum of each file of data that no checksum pins.

    Raises:
        IntarsiaError: a user's own data, or the folder of data sets, is not there.
    """
    if settings.model is None or settings.data_dir is None:
        return tuple(identity_of(settings.benchmark.dataset, settings.data_dir, splits=splits))
    if not is_there(settings.data_dir, "correct --data"):
        raise IntarsiaError(f"there is no data at {settings.data_dir}; give an .npz file, or a folder of them.")
    return tuple(identity_of_npz(settings.data_dir))
