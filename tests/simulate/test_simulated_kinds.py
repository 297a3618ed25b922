# SPDX-License-Identifier: Apache-2.0
"""What the quantizer makes of other people's layers, on the simulated engine: every value equals the executor's."""

import numpy as np
import pytest

from intarsia.engine import EngineConfig, compile_network
from intarsia.integer.executor import Executor
from intarsia.simulate import SimulatedEngine
from network_kinds import inputs, make, quantized


@pytest.mark.parametrize(
    "kind",
    [
        *("clips", "normalized one channel", "standardized", "preactivation", "residual perceptron", "twice added"),
        *("convolved, then flattened", "groups", "dilated depthwise", "max pool rounded up", "rows"),
    ],
)
def test_networks_of_every_kind_are_simulated_bit_for_bit(kind: str) -> None:
    model, shape = make(kind)
    _, network = quantized(model, shape)
    images = (inputs(shape, 2) * 64).numpy().astype(np.int64)
    expected = Executor(network, 1).trace(images)
    with SimulatedEngine(compile_network(network, EngineConfig())) as engine:
        for number, image in enumerate(images):
            for name, values in engine.run(image, trace=True).values.items():
                np.testing.assert_array_equal(values, expected[name][number], err_msg=name)
