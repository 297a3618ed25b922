# SPDX-License-Identifier: Apache-2.0
"""The engine that is fitted before training is that of the trained network."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from intarsia.datasets import Dataset, load_dataset
from intarsia.engine import compile_network
from intarsia.engine.cycles import predict
from intarsia.flow import Settings
from intarsia.flow.fit import Untrained, fit_engine
from intarsia.flow.hardware import FIT
from intarsia.flow.stages import all_tasks
from intarsia.flow.task import Job
from intarsia.networks import NETWORKS, build, network_spec
from intarsia.quantize import Scheme, Transforms, freeze, post_training
from intarsia.quantize.freezing import freeze_untrained
from intarsia.quantize.plan import read_plan


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = load_dataset("digits")
    return replace(data, train=data.train.take(256), validation=data.validation.take(64))


@pytest.mark.parametrize(
    ("scheme", "transforms", "unit"),
    [
        ("superposition", "none", "superposition"),
        ("ternary+2:16xint5, depthwise=int3, scales=4", "none", "superposition"),
        ("int4+1:16/16xint4 a4, last=binary", "widen1.5", "superposition"),
        ("int8", "none", "dense"),
        ("mix-outputs:int8@0.125/int2, first=int4", "none", "mixed_rows"),
        ("ternary+outputs@0.125xint4, depthwise=ternary", "none", "mixed_rows"),
        ("int4 a4, first=int8 a4, last=int16, depthwise=int16 a16", "none", "sum_together"),
        ("int8 a16", "none", "sum_together16"),
    ],
)
def test_an_untrained_network_shows_engine_and_cycles(
    scheme: str, transforms: str, unit: str, digits: Dataset, tmp_path: Path
) -> None:
    model, changes = build("digits"), Transforms.parse(transforms)
    untrained = freeze_untrained(model, Scheme.parse(scheme), (1, 8, 8), name="digits", transforms=changes)
    quantized = freeze(post_training(model, digits, Scheme.parse(scheme), transforms=changes), name="digits")
    settings = Settings("digits", tmp_path, unit=unit)
    job = Job(
        settings, next(task for task in all_tasks(settings) if task.id == FIT), {}, lambda _: None, progress=False
    )
    engine = fit_engine(job, Untrained(scheme, transforms)).engine
    # Sums, biases and ties are of the weights: the engine has room for any. (Which channels of a depthwise layer are
    # wide is of the weights, too, and decides its cycles on mixed rows.)
    cycles = [[layer.cycles for layer in predict(compile_network(each, engine))] for each in (untrained, quantized)]
    assert cycles[0] == cycles[1]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_registry_knows_what_its_networks_take(name: str) -> None:
    assert read_plan(build(name), network_spec(name).shape)


@pytest.mark.parametrize("unit", ["superposition", "dense8", "mixed_rows", "sum_together"])
def test_lane_arrays_are_compared_where_there_is_superposition(unit: str, tmp_path: Path) -> None:
    ids = [task.id for task in all_tasks(Settings("digits", tmp_path, unit=unit))]
    assert ("synthesize/arrays" in ids) == (unit == "superposition")
    assert "synthesize/engine" in ids
