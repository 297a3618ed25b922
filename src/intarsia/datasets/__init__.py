# SPDX-License-Identifier: Apache-2.0
"""Data sets: real inputs with checksums, in three splits, as integers that a network's input takes directly.

from intarsia.datasets import load_dataset
data = load_dataset("digits")
data.test.images, data.test.labels, data.scaling.integers(data.test.images)
"""

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType

from intarsia.datasets.cifar10 import cifar10_at_hand, load_cifar10
from intarsia.datasets.digits import load_digits
from intarsia.datasets.own import from_npz, identity_of_npz
from intarsia.datasets.speech_commands import (
    identity_of_speech_commands,
    load_speech_commands,
    speech_commands_at_hand,
)
from intarsia.datasets.toycar import identity_of_toycar, load_toycar, toycar_at_hand
from intarsia.datasets.types import ALL_SPLITS, ChannelGrid, Dataset, InputScaling, Metric, Split, SplitName
from intarsia.datasets.visual_wake_words import (
    identity_of_visual_wake_words,
    load_visual_wake_words,
    visual_wake_words_at_hand,
)
from intarsia.errors import IntarsiaError
from intarsia.files import is_there

__all__ = [
    "ALL_SPLITS",
    "DATASETS",
    "ChannelGrid",
    "Dataset",
    "InputScaling",
    "Metric",
    "Split",
    "SplitName",
    "from_npz",
    "identity_of",
    "identity_of_npz",
    "is_test_at_hand",
    "load_dataset",
    "require_folder",
]

#: Each takes a folder of data sets, `splits` and `progress`.
_LOADERS: Mapping[str, Callable[..., Dataset]] = MappingProxyType(
    {
        "cifar10": load_cifar10,
        "digits": lambda data_dir, **_: load_digits(),
        "speech_commands": load_speech_commands,
        "toycar": load_toycar,
        "visual_wake_words": load_visual_wake_words,
    }
)
DATASETS = tuple(_LOADERS)

#: Of data sets that lie in several distributions, or whose files no checksum pins. All other data is the same anywhere.
_IDENTITIES: Mapping[str, Callable[[Path | None, Collection[SplitName]], list[str]]] = MappingProxyType(
    {
        "speech_commands": identity_of_speech_commands,
        "toycar": identity_of_toycar,
        "visual_wake_words": identity_of_visual_wake_words,
    }
)

#: Whether the test split would be found without fetching it; what is in no folder is at hand.
_AT_HAND: Mapping[str, Callable[[Path | None], bool]] = MappingProxyType(
    {
        "cifar10": cifar10_at_hand,
        "speech_commands": speech_commands_at_hand,
        "toycar": toycar_at_hand,
        "visual_wake_words": visual_wake_words_at_hand,
    }
)


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
    folder = require_folder(name, data_dir)
    return _LOADERS[name](folder, splits=splits, progress=progress)


def identity_of(name: str, data_dir: Path | None = None, *, splits: Collection[SplitName] = ALL_SPLITS) -> list[str]:
    """Return what stands for the files that `load_dataset` would choose and read, one text for each.

    Cheap, nothing is unpacked or fetched. Empty where the data set is pinned by checksums, and the same anywhere.

    Raises:
        IntarsiaError: the name is unknown, or the folder is none.
    """
    return _IDENTITIES[name](require_folder(name, data_dir), splits) if name in _IDENTITIES else []


def is_test_at_hand(name: str, data_dir: Path | None = None) -> bool:
    """Return whether `load_dataset` would find the test split of a data set without fetching anything.

    Raises:
        IntarsiaError: the name is unknown, or the folder is none.
    """
    folder = require_folder(name, data_dir)
    return name not in _AT_HAND or _AT_HAND[name](folder)


def require_folder(name: str, data_dir: Path | None) -> Path | None:
    """Return the folder in which a data set is looked for first; None where only the cache may have it.

    Raises:
        IntarsiaError: the name is unknown, or the folder is none.
    """
    if data_dir is not None and not (is_there(data_dir, "correct --data") and data_dir.is_dir()):
        raise IntarsiaError(f"there is no folder of data sets at {data_dir}; correct --data.")
    if name not in _LOADERS:
        raise IntarsiaError(f"there is no data set {name!r}; choose one of {', '.join(DATASETS)}.")
    if name != "digits" and data_dir is None and (variable := os.environ.get("INTARSIA_DATA")):
        data_dir = Path(variable)
        if not (is_there(data_dir, "correct INTARSIA_DATA") and data_dir.is_dir()):
            raise IntarsiaError(f"there is no folder of data sets at {data_dir}; correct INTARSIA_DATA.")
    return data_dir
