# SPDX-License-Identifier: Apache-2.0
"""Randomized layers on the simulated engine: every value, cycle and memory access equals executor and cycle model."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from engine_configs import COUNTED, NARROW, OTHERS, REFUSALS, SHIPPED, SLOW, SMALL, WIDE
from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.engine.cycles import predict
from intarsia.engine.units import Dense, Superposition
from intarsia.errors import IntarsiaError
from intarsia.integer import (
    ActivationFormat,
    AveragePool,
    Conv2d,
    IntegerNetwork,
    Linear,
    MaxPool,
    Pattern,
    Plane,
    Requantization,
    Residual,
    Tensor,
    WeightFormat,
)
from intarsia.integer.validation import window_output
from intarsia.simulate import SimulatedEngine
from random_networks import KINDS, Fit, random_images, random_layer_network, random_network
from random_planes import random_plane
from reference_executor import reference_trace


def check(network: IntegerNetwork, config: EngineConfig, rng: np.random.Generator, *, extreme: bool) -> bool:
    """Compare one network; False where the engine rightly refuses it for its size or its pattern."""
    try:
        program = compile_network(network, config)
    except IntarsiaError as refusal:
        assert REFUSALS.search(str(refusal)), refusal
        return False
    images = random_images(rng, network, 2, extreme=extreme)
    expected = reference_trace(network, images)
    with SimulatedEngine(program, seed=int(rng.integers(1, 1 << 31))) as engine:
        for number, image in enumerate(images):
            run = engine.run(image, trace=True)
            for name, values in run.values.items():
                np.testing.assert_array_equal(values, expected[name][number], err_msg=name)
            np.testing.assert_array_equal(run.output, expected[network.output.name][number])
            for model, counted in zip(predict(program), run.counts, strict=True):
                assert [getattr(model, f) for f in COUNTED] == [getattr(counted, f) for f in COUNTED], model.name
                waiting = model.waiting_activations, model.waiting_accumulators, model.waiting_weights
                assert model.cycles == model.steps + sum(waiting) + model.start_and_end
                assert min(*waiting, model.start_and_end) >= 0
    return True


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("extreme", [False, True], ids=["drawn", "extreme"])
def test_random_layers(kind: str, extreme: bool) -> None:
    """Twenty layers of each kind and regime: 320 in all, on two inputs each; the soak goes on as long as it is let.

    Two of three are a network's second layer: a first one may be computed over an unfolded input.
    """
    compared = 0
    for seed in range(90):
        rng = np.random.default_rng([seed, extreme])
        second = seed % 3 != 0
        network = random_layer_network(rng, kind=kind, extreme=extreme, fit=Fit.of(SHIPPED), far=True, second=second)
        compared += check(network, SHIPPED, rng, extreme=extreme)
        if compared == 20:
            return
    pytest.fail(f"only {compared} of 90 drawn {kind} layers could be mapped")


@pytest.mark.parametrize("name", OTHERS)
def test_other_engines(name: str) -> None:
    """The parameters of the hardware are free: units, lanes, blocks, accumulators, requantizers, memories."""
    config, compared = OTHERS[name], 0
    for seed in range(24):
        rng = np.random.default_rng([7, seed])
        tiled = replace(config, tile_pixels=int(rng.integers(1, min(config.acc_slots, 8), endpoint=True)))
        extreme = seed % 3 == 0
        network = random_layer_network(rng, extreme=extreme, fit=Fit.of(config), far=True, second=seed % 2 == 0)
        compared += check(network, tiled, rng, extreme=extreme)
    assert compared >= 16


@pytest.mark.parametrize("kind", ["conv", "depthwise", "linear"])
def test_accumulators_as_narrow_as_allowed(kind: str) -> None:
    """Layers that an engine with one accumulator bit less refuses, at extreme inputs."""
    compared = 0
    for seed in range(120):
        rng = np.random.default_rng([13, seed])
        network = random_layer_network(rng, kind=kind, extreme=True, fit=Fit.of(NARROW), size=(3, 9))
        try:
            compile_network(network, replace(NARROW, acc_bits=NARROW.acc_bits - 1))
        except IntarsiaError as refusal:
            if "acc_bits" in str(refusal):
                compared += check(network, NARROW, rng, extreme=True)
        if compared == 5:
            return
    pytest.fail(f"only {compared} of the drawn layers need all accumulator bits")


@pytest.mark.parametrize("second", [False, True], ids=["input", "inside"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_few_channels(second: bool, sparse: bool) -> None:
    """Kernels over 1 to 4 channels: over an unfolded input, inside a network over the sliding window."""
    compared = unfolded = transposed = window = 0
    for seed in range(25):
        rng = np.random.default_rng([29, seed])
        network = random_layer_network(
            rng, "conv", channels=(1, 4), size=(4, 14), max_kernel=4, sparse=sparse, fit=Fit.of(SHIPPED), second=second
        )
        compared += check(network, SHIPPED, rng, extreme=False)
        with suppress(IntarsiaError):
            program = compile_network(network, SHIPPED)
            unfolded += program.input.patches is not None
            transposed += program.input.transposed
            window += program.layers[-1].descriptor.window
    assert compared >= 15
    assert (window if second else unfolded) >= 8
    assert transposed >= 2


@pytest.mark.parametrize(("kind", "channels", "size"), [("depthwise", 40, (7, 6)), ("conv", 1, (21, 10))])
def test_one_precise_tap_in_sixteen(kind: str, channels: int, size: tuple[int, int]) -> None:
    """The slot of a block of taps is used, too: over one channel in the window, and over an unfolded input."""
    rng = np.random.default_rng(31)
    kernel = (3, 3) if kind == "depthwise" else (10, 4)
    shape = (channels if kind == "depthwise" else 20, 1, *kernel)
    taps = np.zeros((shape[0], 48), np.int64)
    for block in range(3):
        positions = 16 * block + rng.integers(0, 16, shape[0])
        taps[np.arange(shape[0]), positions] = rng.integers(1, 127, shape[0], endpoint=True)
    ones = np.ones(shape[0], np.int64)
    planes = (
        Plane(rng.integers(-4, 4, shape, endpoint=True), WeightFormat("digits2"), Pattern(), 3),
        Plane(taps[:, : shape[2] * shape[3]].reshape(shape), WeightFormat("int8"), Pattern("unstructured")),
    )
    output = (shape[0], *window_output(*size, kernel, (2, 2), (1, 1, 1, 1)))
    layer = Conv2d(
        "input",
        Tensor("out", output, ActivationFormat(8, signed=True), 1.0),
        planes,
        Requantization(60 * ones, 0 * ones, 15 * ones, -128, 127),
        (2, 2),
        (1, 1, 1, 1),
        depthwise=kind == "depthwise",
    )
    source = Tensor("input", (channels, *size), ActivationFormat(8, signed=False), 1.0)
    network = IntegerNetwork("precise taps", source, (layer,), SHIPPED.scale_bits)
    assert check(network, SHIPPED, rng, extreme=False)
    assert compile_network(network).layers[0].descriptor.digits == 2


@pytest.mark.parametrize("kind", ["conv", "depthwise", "linear"])
def test_dense_planes_of_integers_run_as_digits(kind: str) -> None:
    """What importers make of weights of few bits: a dense plane of intN, here with or without a sparse one."""
    compared = 0
    for seed, form in enumerate(("binary", "int2", "int3", "int4", "int5", "int6", "int7")):
        rng = np.random.default_rng([37, seed])
        network = random_layer_network(
            rng, kind, channels=(8, 40), dense=form, sparse=seed % 2 == 0, fit=Fit.of(SHIPPED)
        )
        compared += check(network, SHIPPED, rng, extreme=False)
    assert compared >= 4


@pytest.mark.parametrize(
    ("kind", "channels", "size"),
    [("conv", 40, (4, 4)), ("conv", 3, (9, 5)), ("depthwise", 20, (5, 5)), ("linear", 33, (2, 3))],
)
def test_fixed_positions_run_as_slots_of_constant_indices(kind: str, channels: int, size: tuple[int, int]) -> None:
    """Over whole words, over an input that is unfolded and transposed, over a lane's own channel."""
    rng = np.random.default_rng(7)
    network = random_layer_network(rng, kind, channels=(channels, channels), size=(9, 9), sparse=False, dense="ternary")
    layer = network.layers[0]
    assert isinstance(layer, Conv2d | Linear)
    inputs = layer.planes[0].weights.shape[1] if kind != "linear" else channels
    kernel = size if kind == "linear" else layer.planes[0].weights.shape[2:]
    shape = (layer.output.shape[0], inputs, *kernel)
    dense, fixed = (
        random_plane(rng, shape, form, Pattern.parse(pattern))
        for form, pattern in (("ternary", "dense"), ("int8", "fixed1:16"))
    )
    source = replace(network.input, shape=(channels, *size))
    shift = np.full(shape[0], 9)
    nothing = np.zeros(shape[0], np.int64)
    requantization = replace(layer.requantization, multiplier=nothing + 40, bias=nothing, shift=shift)
    if isinstance(layer, Linear):
        layer = replace(layer, planes=(dense, fixed), requantization=requantization)
    else:
        padding, stride = (0, 0, *shape[2:]), (1, 1)
        output = replace(layer.output, shape=(shape[0], *window_output(*size, shape[2:], stride, padding)))
        layer = Conv2d(source.name, output, (dense, fixed), requantization, stride, padding, kind == "depthwise")
    assert check(IntegerNetwork("fixed", source, (layer,), 6), SHIPPED, rng, extreme=False)


def test_slots_are_full() -> None:
    """Every slot of a block holds a weight, word by word, and each counts."""
    compared = 0
    for seed, config in enumerate((SMALL, WIDE, SLOW)):
        rng, unit = np.random.default_rng([17, seed]), config.unit
        assert isinstance(unit, Superposition)
        source = Tensor("input", (2 * config.block, 3, 3), ActivationFormat(8, True), 0.01)
        shape = (20, source.shape[0], 2, 2)
        limit = (1 << (unit.slot_bits - 1)) - 1
        weights = rng.integers(1, limit, shape, endpoint=True) * rng.choice((-1, 1), shape)
        weights *= rng.random(shape).reshape(20, 2, config.block, 2, 2).argsort(axis=2).reshape(shape) < unit.slots
        plane = Plane(
            weights.astype(np.int8),
            WeightFormat(f"int{unit.slot_bits}"),
            Pattern("n:m", unit.slots, config.block),
        )
        shift = np.full(20, config.scale_bits + 5)
        multiplier = np.full(20, 1 << (config.scale_bits - 1))
        requantization = Requantization(multiplier, np.zeros(20, np.int32), shift, -128, 127)
        layer = Conv2d("input", Tensor("conv", (20, 2, 2), source.format, 0.01), (plane,), requantization)
        network = IntegerNetwork("full slots", source, (layer,), config.scale_bits)
        compared += check(network, config, rng, extreme=False)
    assert compared == 3


def test_random_networks() -> None:
    """Several layers in one program: descriptors, memory reuse, tensors that live long."""
    compared = 0
    for seed in range(30):
        rng = np.random.default_rng([11, seed])
        compared += check(random_network(rng, depth=6), SHIPPED, rng, extreme=False)
    assert compared >= 20


def thinned(size: tuple[int, int], stride: tuple[int, int]) -> list[IntegerNetwork]:
    """A pointwise convolution and a maximum pool that skip pixels of 32 channels."""
    rng = np.random.default_rng(41)
    source = Tensor("input", (32, *size), ActivationFormat(8, True), 1.0)
    out = tuple(-(-extent // by) for extent, by in zip(size, stride, strict=True))
    plane = random_plane(rng, (20, 32, 1, 1), "ternary", Pattern())
    requantization = Requantization(np.full(20, 3), np.zeros(20, np.int32), np.full(20, 4), -128, 127)
    convolution = Conv2d("input", Tensor("conv", (20, *out), source.format, 1.0), (plane,), requantization, stride)
    pool = MaxPool("input", Tensor("pool", (32, *out), source.format, 1.0), (1, 1), stride, (0, 0, 0, 0))
    return [IntegerNetwork("thinned", source, (layer,), 6) for layer in (convolution, pool)]


@pytest.mark.parametrize(("size", "stride"), [((4, 2), (1, 2)), ((1, 9), (1, 9)), ((2, 4), (2, 1)), ((5, 5), (2, 3))])
def test_pixels_are_skipped_also_where_one_column_or_row_remains(
    size: tuple[int, int], stride: tuple[int, int]
) -> None:
    for network in thinned(size, stride):
        assert check(network, SHIPPED, np.random.default_rng(0), extreme=False)


def own_residual(
    source: Tensor, outputs: int, stride: tuple[int, int], padding: tuple[int, int, int, int], kernel: int
) -> Conv2d:
    """A convolution that adds what it reads."""
    rng = np.random.default_rng(43)
    plane = random_plane(rng, (outputs, source.shape[0], kernel, kernel), "digits4", Pattern())
    one = np.ones(outputs, np.int64)
    requantization = Requantization(one, 0 * one, 9 * one, -128, 127)
    output = Tensor("sum", source.shape, source.format, 1.0)
    residual = Residual(source.name, 1, 0)
    return Conv2d(source.name, output, (plane,), requantization, stride, padding, residual=residual)


def test_the_networks_own_input_as_residual() -> None:
    """Few channels, whose unfolded form would hold no residual."""
    source = Tensor("input", (3, 6, 6), ActivationFormat(8, True), 1.0)
    network = IntegerNetwork("own", source, (own_residual(source, 3, (1, 1), (1, 1, 1, 1), 3),), 6)
    assert check(network, SHIPPED, np.random.default_rng(0), extreme=False)


def test_a_residual_of_which_only_the_end_is_multiplied() -> None:
    """Its first word is needed by the drain long after the loader has passed it."""
    source = Tensor("input", (16, 1, 1), ActivationFormat(8, True), 1.0)
    middle = Tensor("middle", (32, 1, 2), source.format, 1.0)
    pad = replace(own_residual(source, 32, (1, 1), (0, 0, 0, 1), 1), output=middle, residual=None)
    network = IntegerNetwork("end", source, (pad, own_residual(middle, 32, (1, 3), (0, 2, 0, 0), 1)), 6)
    assert check(network, SHIPPED, np.random.default_rng(0), extreme=False)


def test_an_engine_fitted_to_a_small_dense_layer_is_one_that_can_be_built() -> None:
    """Its sums are narrower than the sum of a block that the hardware must hold."""
    rng = np.random.default_rng(47)
    source = Tensor("input", (3, 2, 2), ActivationFormat(2, True), 1.0)
    plane = Plane(np.full((4, 3, 1, 1), 7), WeightFormat("int4"), Pattern())
    requantization = Requantization(np.ones(4, np.int64), np.zeros(4, np.int32), np.full(4, 5), -128, 127)
    output = Tensor("conv", (4, 2, 2), ActivationFormat(8, True), 1.0)
    network = IntegerNetwork("small", source, (Conv2d("input", output, (plane,), requantization),), 6)
    engine = config_for(network, EngineConfig(unit=Dense()))
    assert engine.acc_bits == 16
    assert check(network, engine, rng, extreme=True)


@pytest.mark.parametrize(
    ("size", "kernel"), [((24, 24), (24, 24)), ((50, 10), (25, 5)), ((25, 10), (25, 5)), ((3, 40), (2, 18))]
)
def test_large_pools(size: tuple[int, int], kernel: tuple[int, int]) -> None:
    """Pools whose stride is their kernel, up to the whole map."""
    rng = np.random.default_rng(5)
    source = Tensor("input", (20, *size), ActivationFormat(8, False), 0.01)
    pooled = Tensor("pool", (20, size[0] // kernel[0], size[1] // kernel[1]), source.format, 0.01)
    multiplier, shift = 50, int(np.ceil(np.log2(50 * kernel[0] * kernel[1])))
    layer = AveragePool("input", pooled, kernel, kernel, (0, 0, 0, 0), multiplier, shift, 0, 255)
    assert check(IntegerNetwork("large pool", source, (layer,), SHIPPED.scale_bits), SHIPPED, rng, extreme=False)


@pytest.mark.parametrize(
    ("kernel", "stride", "size"),
    [
        ((1, 19), (1, 1), (2, 23)),
        ((17, 1), (2, 1), (20, 3)),
        ((7, 7), (4, 4), (15, 15)),
        ((3, 3), (16, 20), (36, 43)),
        ((2, 1), (1, 30), (3, 62)),
        ((5, 20), (3, 16), (6, 50)),
    ],
)
def test_large_kernels_and_strides(kernel: tuple[int, int], stride: tuple[int, int], size: tuple[int, int]) -> None:
    """Kernels that exceed the window registers run in chunks, whatever the stride."""
    rng = np.random.default_rng(3)
    channels = 32  # whole words: not unfolded
    drawn = random_layer_network(
        rng, kind="conv", sparse=False, dense="ternary", channels=(channels, channels), size=(6, 6)
    )
    layer = drawn.layers[0]
    assert isinstance(layer, Conv2d)
    outputs = layer.planes[0].weights.shape[0]
    plane = replace(layer.planes[0], weights=rng.integers(-1, 2, (outputs, channels, *kernel)))
    height, width = window_output(*size, kernel, stride, (1, 2, 1, 2))
    output = replace(layer.output, shape=(outputs, height, width))
    wide = replace(layer, planes=(plane,), output=output, stride=stride, padding=(1, 2, 1, 2))
    network = IntegerNetwork("large kernel", replace(drawn.input, shape=(channels, *size)), (wide,), SHIPPED.scale_bits)
    assert check(network, SHIPPED, rng, extreme=False)
