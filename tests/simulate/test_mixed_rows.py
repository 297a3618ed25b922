# SPDX-License-Identifier: Apache-2.0
"""Lanes of different width on the simulated engine: layers in one pass and in several, and whole networks.

Every value, in the network's own order of channels, and every cycle equals executor and cycle model. Random layers of
all kinds run on engines of mixed rows in `test_layers.py`.
"""

from dataclasses import replace

import numpy as np
import pytest

from engine_configs import COUNTED, MIXED
from intarsia.engine import EngineConfig, Program, compile_network, config_for
from intarsia.engine.cycles import predict
from intarsia.engine.units import MixedRows
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork
from intarsia.integer.executor import Executor
from intarsia.simulate import SimulatedEngine
from random_networks import Fit, random_images, random_layer_network


def check(network: IntegerNetwork, program: Program, rng: np.random.Generator, *, extreme: bool = False) -> None:
    """Compare two images, layer by layer."""
    images = random_images(rng, network, 2, extreme=extreme)
    expected = Executor(network).trace(images)
    with SimulatedEngine(program, seed=int(rng.integers(1, 1 << 31))) as engine:
        for number, image in enumerate(images):
            run = engine.run(image, trace=True)
            for name, values in run.values.items():
                np.testing.assert_array_equal(values, expected[name][number], err_msg=name)
            np.testing.assert_array_equal(run.output, expected[network.output.name][number])
            for model, counted in zip(predict(program), run.counts, strict=True):
                assert [getattr(model, f) for f in COUNTED] == [getattr(counted, f) for f in COUNTED], model.name


@pytest.mark.parametrize(
    ("kind", "channels", "window"),
    [
        ("conv", (17, 40), False),
        ("conv", (1, 4), True),
        ("depthwise", (17, 40), True),
        ("residual", (17, 40), False),
        ("linear", (17, 40), False),
    ],
)
def test_layers_whose_channels_are_reordered(kind: str, channels: tuple[int, int], window: bool) -> None:
    """In one pass and in several; reordered outputs, of which the inputs of the next layer are; with residuals."""
    passes: list[int] = []
    for seed in range(200):
        rng = np.random.default_rng([61, seed])
        network = random_layer_network(
            rng, kind, channels=channels, size=(4, 8), max_kernel=4, fit=Fit.of(MIXED), second=True
        )
        try:
            program = compile_network(network, MIXED)
        except IntarsiaError:
            continue  # too large; test_layers says for what
        last = program.layers[-1]
        wanted = last.output.order is not None or (window and channels[1] < 16)
        if not wanted or bool(last.descriptor.window) != window:
            continue
        if passes.count(last.descriptor.digits) < 3:
            check(network, program, rng, extreme=seed % 2 == 0)
            passes.append(last.descriptor.digits)
        if passes.count(1) == 3 and len(passes) > 3:
            return
    pytest.fail(f"only layers of {passes} passes were compared")


@pytest.mark.parametrize("scheme", ["mix-outputs:int8@0.125/int2", "ternary+outputs@0.125xint4"])
def test_a_whole_network_of_mixed_formats(scheme: str) -> None:
    """The small network of digits, untrained, on the engine that is fitted to it."""
    torch = pytest.importorskip("torch")
    from intarsia.datasets import load_dataset  # noqa: PLC0415
    from intarsia.networks import build  # noqa: PLC0415
    from intarsia.quantize import Scheme, freeze, post_training  # noqa: PLC0415

    torch.manual_seed(0)
    model = build("digits").eval()
    network = freeze(post_training(model, load_dataset("digits"), Scheme.parse(scheme), images=64), name="mixed")
    engine = config_for(network, EngineConfig(unit=MixedRows.usual(8), lanes=8, block=8))
    unit = engine.unit
    assert isinstance(unit, MixedRows)
    assert len({*unit.widths}) > 1
    program = compile_network(network, engine)
    assert any(layer.output.order for layer in program.layers)
    check(network, program, np.random.default_rng(0))


def test_a_network_on_other_lanes_than_it_would_choose() -> None:
    """Too few wide lanes, and none of 2 bits."""
    rng = np.random.default_rng(67)
    network = random_layer_network(rng, "residual", channels=(20, 40), fit=Fit.of(MIXED))
    check(network, compile_network(network, replace(MIXED, unit=MixedRows(1, 15, 0))), rng)
