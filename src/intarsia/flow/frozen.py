# SPDX-License-Identifier: Apache-2.0
"""How a run starts that takes a frozen network of the zoo: what stands in for training and quantization."""

import shutil

from intarsia.engine import config_for
from intarsia.files import replacing
from intarsia.flow.results import FittedEngine, FromZoo
from intarsia.flow.task import Job
from intarsia.integer.zoo import frozen_path, load_frozen, read_card


def fit_frozen(job: Job) -> FittedEngine:
    """Fit the engine to the network, whose weights are known.

    Raises:
        IntarsiaError: the engine does not take it, or the zoo is damaged.
    """
    return FittedEngine(config_for(load_frozen(job.settings.network), job.settings.engine))


def take_frozen(job: Job) -> FromZoo:
    """Copy the network into the run, where later stages and users find it.

    Raises:
        IntarsiaError: the zoo is damaged, or the file cannot be written.
    """
    name = job.settings.network
    load_frozen(name)  # refuses a damaged one
    with replacing(job.product("safetensors")) as temporary:
        shutil.copyfile(frozen_path(name), temporary)
    return FromZoo(read_card(name))
