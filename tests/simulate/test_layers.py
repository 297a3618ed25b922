"""Randomized layers on the simulated engine: every value, cycle and memory access equals executor and cycle model."""

import numpy as np
import pytest

from intarsia.engine import EngineConfig, compile_network
from intarsia.engine.cycles import predict
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork
from intarsia.simulate import SimulatedEngine
from random_networks import random_images, random_layer_network, random_network
from reference_executor import reference_trace

DEFAULT = EngineConfig(dense_depth=4096, act_depth=4096, acc_bits=28)
SMALL = EngineConfig(lanes=8, slots=2, requant_lanes=2, acc_slots=3, tile_pixels=3, acc_bits=28, dense_depth=8192,
                     sparse_depth=8192, param_depth=256)  # fmt: skip
WIDE = EngineConfig(slots=3, requant_lanes=16, acc_slots=8, tile_pixels=8, acc_bits=32, dense_depth=4096)
SLOW = EngineConfig(slots=4, requant_lanes=1, acc_slots=2, tile_pixels=2, acc_bits=30, dense_depth=4096)
COUNTED = ("cycles", "steps", "activation_reads", "activation_writes", "dense_reads", "sparse_reads", "parameter_reads")


def check(network: IntegerNetwork, config: EngineConfig, rng: np.random.Generator, *, extreme: bool) -> bool:
    """Compare one network; False where the engine rightly refuses it for its size or its pattern."""
    try:
        program = compile_network(network, config)
    except IntarsiaError as refusal:
        assert any(word in str(refusal) for word in ("slot", "raise", "not 0 to")), refusal
        return False
    images = random_images(rng, network, 2, extreme=extreme)
    expected = reference_trace(network, images)
    with SimulatedEngine(program) as engine:
        for number, image in enumerate(images):
            run = engine.run(image, trace=True)
            for name, values in run.values.items():
                np.testing.assert_array_equal(values, expected[name][number], err_msg=name)
            np.testing.assert_array_equal(run.output, expected[network.output.name][number])
            for model, counted in zip(predict(program), run.counts, strict=True):
                assert [getattr(model, f) for f in COUNTED] == [getattr(counted, f) for f in COUNTED], model.name
                waiting = model.waiting_activations + model.waiting_accumulators
                assert model.cycles == model.steps + waiting + model.start_and_end
                assert min(model.waiting_activations, model.waiting_accumulators, model.start_and_end) >= 0
    return True


@pytest.mark.parametrize("kind", ["conv", "depthwise", "linear", "add", "avgpool", "maxpool"])
@pytest.mark.parametrize("extreme", [False, True], ids=["drawn", "extreme"])
def test_random_layers(kind: str, extreme: bool) -> None:
    """At least 45 layers of each kind and regime: 540 in all, on two inputs each."""
    compared = 0
    for seed in range(200):
        rng = np.random.default_rng([seed, extreme])
        network = random_layer_network(rng, kind=kind, extreme=extreme, size=(1, 9))
        compared += check(network, DEFAULT, rng, extreme=extreme)
        if compared == 45:
            return
    pytest.fail(f"only {compared} of 200 drawn {kind} layers could be mapped")


@pytest.mark.parametrize("config", [SMALL, WIDE, SLOW], ids=["small", "wide", "slow"])
def test_other_engines(config: EngineConfig) -> None:
    """The parameters of the hardware are free: other lanes, slots, accumulators and requantizers compute the same."""
    compared = 0
    for seed in range(60):
        rng = np.random.default_rng([7, seed])
        compared += check(random_layer_network(rng, extreme=seed % 3 == 0), config, rng, extreme=seed % 3 == 0)
    assert compared >= 40


def test_random_networks() -> None:
    """Several layers in one program: descriptors, memory reuse, tensors that live long."""
    compared = 0
    for seed in range(30):
        rng = np.random.default_rng([11, seed])
        compared += check(random_network(rng, depth=6), DEFAULT, rng, extreme=False)
    assert compared >= 20


@pytest.mark.parametrize(
    ("kernel", "stride", "size"), [((1, 19), (1, 1), (2, 23)), ((17, 1), (2, 1), (20, 3)), ((7, 7), (4, 4), (15, 15))]
)
def test_large_kernels(kernel: tuple[int, int], stride: tuple[int, int], size: tuple[int, int]) -> None:
    """Kernels that exceed the window registers run in chunks."""
    from dataclasses import replace  # noqa: PLC0415

    from intarsia.integer import Conv2d  # noqa: PLC0415
    from intarsia.integer.validation import window_output  # noqa: PLC0415

    rng = np.random.default_rng(3)
    drawn = random_layer_network(rng, kind="conv", sparse=False, dense="ternary", channels=(18, 18), size=(6, 6))
    layer = drawn.layers[0]
    assert isinstance(layer, Conv2d)
    outputs = layer.planes[0].weights.shape[0]
    plane = replace(layer.planes[0], weights=rng.integers(-1, 2, (outputs, 18, *kernel)))
    height, width = window_output(*size, kernel, stride, (1, 2, 1, 2))
    output = replace(layer.output, shape=(outputs, height, width))
    wide = replace(layer, planes=(plane,), output=output, stride=stride, padding=(1, 2, 1, 2))
    network = IntegerNetwork("large kernel", replace(drawn.input, shape=(18, *size)), (wide,), 8)
    assert check(network, DEFAULT, rng, extreme=False)
