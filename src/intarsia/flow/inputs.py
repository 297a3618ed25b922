# SPDX-License-Identifier: Apache-2.0
"""The inputs that a network is verified with: those of its test set, or random ones.

Random ones are for who has a frozen network and no data: a user's file, and networks of the zoo.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from intarsia.datasets import SplitName, is_test_at_hand
from intarsia.flow.data import data_key, load_data
from intarsia.flow.settings import Settings
from intarsia.integer import IntegerNetwork

Images = NDArray[np.integer]
Origin = Literal["test", "random"]

_TEST: tuple[SplitName, ...] = ("test",)


def origin_of(settings: Settings) -> Origin:
    """Return which inputs a run verifies with: a network of the zoo needs no data, and nothing is fetched for it.

    Raises:
        IntarsiaError: the folder of data sets is not there.
    """
    if not settings.zoo or is_test_at_hand(settings.benchmark.dataset, settings.data_dir):
        return "test"
    return "random"


def inputs_key(settings: Settings) -> dict[str, object]:
    """Return what the key of a task that verifies has of its inputs.

    Raises:
        IntarsiaError: as `intarsia.flow.data.data_identity`.
    """
    return data_key(settings, _TEST) if origin_of(settings) == "test" else {"inputs": "random"}


def inputs_of(settings: Settings, network: IntegerNetwork, count: int, *, progress: bool = False) -> Images:
    """Return the first inputs of a network's test set as its integers, or random ones, see `origin_of`.

    Raises:
        IntarsiaError: the data is missing or damaged.
    """
    if origin_of(settings) == "random":
        return random_images(network, count)
    data = load_data(settings, _TEST, progress=progress)
    return data.scaling.integers(data.test.images[:count])


def random_images(network: IntegerNetwork, count: int) -> Images:
    """Return images of uniformly random integers, the same for everybody, (count, C, H, W)."""
    fmt, shape = network.input.format, network.input.shape
    return np.random.default_rng(0).integers(fmt.lo, fmt.hi + 1, (count, *shape))
