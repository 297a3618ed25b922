# SPDX-License-Identifier: Apache-2.0
"""The four networks of MLPerf Tiny on the simulated engine, weights and inputs random: every value, every count."""

from collections.abc import Callable

import numpy as np
import pytest

from intarsia.engine import EngineConfig, compile_network
from intarsia.engine.cycles import predict
from intarsia.integer import IntegerNetwork
from intarsia.integer.executor import Executor
from intarsia.simulate import SimulatedEngine
from mlperf_tiny_networks import Digits, autoencoder_like, dscnn_like, mobilenet_like
from random_networks import random_images, resnet8_like

Build = Callable[[np.random.Generator], IntegerNetwork]
NETWORKS: dict[str, Build] = {
    "resnet8": resnet8_like,
    "dscnn": lambda rng: dscnn_like(rng, Digits(first=3, depthwise=3)),
    "mobilenet": lambda rng: mobilenet_like(rng, Digits(first=4, depthwise=2)),
    "autoencoder": lambda rng: autoencoder_like(rng, Digits(first=0, last=5)),
}


@pytest.fixture(scope="module")
def config() -> EngineConfig:
    """One engine for all four: built once."""
    return EngineConfig(acc_bits=26, weight_depth=4096, act_banks=4, act_depth=8192)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_value_and_count(name: str, config: EngineConfig) -> None:
    rng = np.random.default_rng(0)
    network = NETWORKS[name](rng)
    program = compile_network(network, config)
    images = random_images(rng, network, 1 if name == "mobilenet" else 2)
    expected = Executor(network).trace(images)
    with SimulatedEngine(program, seed=7) as engine:
        for number, image in enumerate(images):
            run = engine.run(image, trace=True)
            assert set(run.values) == {layer.output.name for layer in network.layers}
            for layer, values in run.values.items():
                np.testing.assert_array_equal(values, expected[layer][number], err_msg=layer)
            np.testing.assert_array_equal(run.output, expected[network.output.name][number])
            for model, counted in zip(predict(program), run.counts, strict=True):
                for field in vars(counted):
                    assert getattr(model, field) == getattr(counted, field), (model.name, field)
            assert run.input_cycles == program.input.words * 4
