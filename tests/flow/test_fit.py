# SPDX-License-Identifier: Apache-2.0
"""The engine that is fitted before training is that of the trained network."""

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from intarsia.datasets import Dataset, load_dataset
from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.engine.cycles import predict
from intarsia.networks import NETWORKS, build, network_spec
from intarsia.quantize import Scheme, Transforms, freeze, post_training
from intarsia.quantize.freezing import freeze_untrained
from intarsia.quantize.plan import read_plan

SMALL = EngineConfig(act_depth=16, dense_depth=16, sparse_depth=16, param_depth=16, program_depth=16, acc_bits=16)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = load_dataset("digits")
    return replace(data, train=data.train.take(256), validation=data.validation.take(64))


@pytest.mark.parametrize(
    ("scheme", "transforms"),
    [
        ("superposition", "none"),
        ("ternary+2:16xint5, depthwise=int3, scales=4", "none"),
        ("int4+1:16/16xint4 a4, last=binary", "widen1.5"),
    ],
)
def test_an_untrained_network_shows_engine_and_cycles(scheme: str, transforms: str, digits: Dataset) -> None:
    model, changes = build("digits"), Transforms.parse(transforms)
    untrained = freeze_untrained(model, Scheme.parse(scheme), (1, 8, 8), name="digits", transforms=changes)
    quantized = freeze(post_training(model, digits, Scheme.parse(scheme), transforms=changes), name="digits")
    early, late = config_for(untrained, SMALL), config_for(quantized, SMALL)
    assert replace(early, acc_bits=late.acc_bits) == late  # sums are of the weights
    cycles = [[layer.cycles for layer in predict(compile_network(network))] for network in (untrained, quantized)]
    assert cycles[0] == cycles[1]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_registry_knows_what_its_networks_take(name: str) -> None:
    assert read_plan(build(name), network_spec(name).shape)
