# SPDX-License-Identifier: Apache-2.0
"""Whole networks on engines fitted to them, with shared and with fixed positions: every value and every cycle."""

import numpy as np
import pytest

from intarsia.datasets import load_dataset
from intarsia.engine import EngineConfig, compile_network
from intarsia.engine.cycles import predict
from intarsia.engine.fitting import engine_for
from intarsia.engine.units import Superposition
from intarsia.integer.executor import Executor
from intarsia.networks import build
from intarsia.quantize import Scheme, freeze, post_training
from intarsia.simulate import SimulatedEngine


@pytest.mark.parametrize(
    ("scheme", "positions"), [("ternary+1:16/16xint4", "shared"), ("ternary+fixed1:16xint4", "fixed")]
)
def test_networks_run_with_the_positions_of_their_patterns(scheme: str, positions: str) -> None:
    data = load_dataset("digits")
    network = freeze(post_training(build("digits", 0), data, Scheme.parse(scheme), images=32), name="digits")
    program = compile_network(network, engine_for(network, EngineConfig(lanes=8, requant_lanes=4)))
    unit = program.config.unit
    assert isinstance(unit, Superposition)
    assert (unit.slots, unit.positions) == (1, positions)
    images = data.scaling.integers(data.validation.images[:2])
    expected, predicted = Executor(network, 1).trace(images), predict(program)
    with SimulatedEngine(program, seed=1) as engine:
        for number, image in enumerate(images):
            found = engine.run(image, trace=True)
            assert set(found.values) == {layer.output.name for layer in network.layers}
            for name, values in found.values.items():
                np.testing.assert_array_equal(values, expected[name][number], err_msg=name)
            assert [layer.cycles for layer in predicted] == [counts.cycles for counts in found.counts]
