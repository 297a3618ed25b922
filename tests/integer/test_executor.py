# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intarsia.errors import IntarsiaError
from intarsia.integer import (
    ActivationFormat,
    AveragePool,
    Conv2d,
    IntegerNetwork,
    Linear,
    Pattern,
    Plane,
    Requantization,
    Tensor,
    WeightFormat,
    kernels,
)
from intarsia.integer.executor import Executor
from random_networks import KINDS, random_images, random_layer_network, random_network, resnet8_like
from reference_executor import reference_trace

SEEDS = st.integers(0, 2**32 - 1)


def assert_equal_to_definition(network: IntegerNetwork, images: np.ndarray, threads: int) -> None:
    expected = reference_trace(network, images)
    executor = Executor(network, threads)
    given = executor.trace(images)
    assert list(given) == list(network.tensors)
    for name, values in expected.items():
        np.testing.assert_array_equal(given[name], values, err_msg=name)
    np.testing.assert_array_equal(
        executor.run(images), expected[network.output.name].reshape(len(images), np.prod(network.output.shape))
    )


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(seed=SEEDS, extreme=st.booleans(), free=st.booleans(), count=st.integers(0, 5))
def test_a_layer_equals_its_definition(kind: str, seed: int, extreme: bool, free: bool, count: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_layer_network(rng, kind, extreme=extreme, free=free)
    assert_equal_to_definition(network, random_images(rng, network, count, extreme=extreme), threads=2)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=SEEDS,
    kind=st.sampled_from(("conv", "depthwise", "linear", "residual")),
    limits=st.fixed_dictionaries(
        {
            "PIECE": st.integers(1, 10_000),
            "_SMALL_PRODUCT": st.integers(1, 2_000),
            "_FEW_PIXELS": st.integers(1, 8),
            "_MANY_PIXELS": st.integers(1, 64),
        }
    ),
)
def test_a_layer_in_pieces_equals_its_definition(
    monkeypatch: pytest.MonkeyPatch, seed: int, kind: str, limits: dict[str, int]
) -> None:
    """Layers as small as these would be one piece and one product each."""
    for name, value in limits.items():
        monkeypatch.setattr(kernels, name, value)
    rng = np.random.default_rng(seed)
    network = random_layer_network(rng, kind, channels=(1, 12), free=True)
    assert_equal_to_definition(network, random_images(rng, network, 7), threads=1)


@settings(max_examples=40)
@given(seed=SEEDS, extreme=st.booleans(), free=st.booleans())
def test_a_network_equals_its_definition(seed: int, extreme: bool, free: bool) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, 6, extreme=extreme, free=free)
    assert_equal_to_definition(network, random_images(rng, network, 3), threads=2)


def test_resnet8_in_many_chunks_equals_its_definition() -> None:
    rng = np.random.default_rng(1)
    network = resnet8_like(rng)
    assert_equal_to_definition(network, random_images(rng, network, 37), threads=2)


@pytest.mark.parametrize("sign", [-1, 1])
def test_sums_beyond_float32_stay_exact(sign: int) -> None:
    """The largest total of a layer of 8-bit everything differs from its neighbours only in the last bit."""
    rng = np.random.default_rng(0)
    network = random_layer_network(rng, "linear", channels=(40, 40), size=(9, 9), dense="digits5", sparse=False)
    layer = network.layers[0]
    assert isinstance(layer, Linear)
    weights = np.full_like(layer.planes[0].weights, 121 * sign)
    planes = (dataclasses.replace(layer.planes[0], weights=weights, shift=0),)
    total = 40 * 81 * 121 * 127 * 255 * sign
    bias = np.clip(np.arange(-20, 20) - total, -(2**31), 2**31 - 1)
    requantization = dataclasses.replace(
        layer.requantization, multiplier=np.full(40, 255), bias=bias, shift=np.full(40, 31)
    )
    source = dataclasses.replace(network.input, format=ActivationFormat(8, True))
    network = IntegerNetwork(
        "big", source, (dataclasses.replace(layer, planes=planes, requantization=requantization),), 8
    )
    images = np.full((2, *source.shape), 127, np.int8)
    images[1, 0, 0, 0] = 126
    assert_equal_to_definition(network, images, threads=1)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("less", [0, 1])
@pytest.mark.parametrize("bits", [24, 31])
def test_sums_at_the_limits_of_number_types_stay_exact(bits: int, less: int, steps: int, sign: int) -> None:
    """Sums are at the step of the output that is 2^24, the limit of float32, or 2^31, that of int32, or at the next
    one; or fall short of it by 1.
    """
    source, output = (Tensor(n, (1, 1, 1), ActivationFormat(16, s), 1.0) for n, s in (("in", False), ("out", sign < 0)))
    multiplier, shift = 2 ** (bits - 24), bits - 15
    total = 2**bits + steps * 2**shift - less
    bias = sign * (total - multiplier * 127 * 65535) - 2 ** (shift - 1)
    requantization = Requantization(
        np.array([multiplier]), np.array([bias]), np.array([shift]), output.format.lo, output.format.hi
    )
    plane = Plane(np.full((1, 1, 1, 1), 127 * sign), WeightFormat("int8"), Pattern())
    network = IntegerNetwork("limit", source, (Linear("in", output, (plane,), requantization),), 16)
    images = np.array([65535, 65534, 0], np.uint16).reshape(3, 1, 1, 1)
    assert_equal_to_definition(network, images, threads=1)


def test_progress_counts_every_image_once() -> None:
    rng = np.random.default_rng(2)
    network = random_layer_network(rng, "conv")
    counts: list[int] = []
    Executor(network, 2).run(random_images(rng, network, 1001), progress=counts.append)
    assert sum(counts) == 1001
    assert len(counts) > 1


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.zeros((2, 3, 9, 8), np.int8), r"shape \(N, 3, 8, 8\), but is given \(2, 3, 9, 8\)"),
        (np.zeros((3, 8, 8), np.int8), r"but is given \(3, 8, 8\)"),
        (np.zeros((2, 3, 8, 8)), "integers .* float64; quantize"),
        (np.zeros((2, 3, 8, 8), bool), "integers .* bool"),
        ([[1]], "given list"),
        (np.full((2, 3, 8, 8), 128), r"values -128 … 127 \(int8\), but is given values 128 … 128"),
        (np.full((2, 3, 8, 8), 255, np.uint8), "but is given values 255 … 255"),
        (np.full((2, 3, 8, 8), -129), "but is given values -129"),
    ],
)
def test_wrong_images_are_refused(images: np.ndarray, sentence: str) -> None:
    rng = np.random.default_rng(0)
    network = next(
        network
        for network in iter(lambda: random_layer_network(rng, "conv", channels=(3, 3), size=(8, 8)), None)
        if network.input.format == ActivationFormat(8, True)
    )
    for call in (Executor(network).run, Executor(network).trace):
        with pytest.raises(IntarsiaError, match=sentence):
            call(images)


def test_no_threads_are_refused() -> None:
    network = random_layer_network(np.random.default_rng(0))
    with pytest.raises(IntarsiaError, match="at least 1 thread"):
        Executor(network, 0)


def test_sums_beyond_float64_are_refused() -> None:
    wide, size = ActivationFormat(16, False), (2048, 2048)
    source, output = Tensor("input", (1, *size), wide, 1.0), Tensor("pool", (1, 1, 1), wide, 1.0)
    pool = AveragePool("input", output, size, (1, 1), (0, 0, 0, 0), 2**16 - 1, 31, 0, 2**16 - 1)
    with pytest.raises(IntarsiaError, match=r"layer pool: its sums can pass 2\^52"):
        Executor(IntegerNetwork("wide", source, (pool,), 16))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"shift": 32}, "outside 0"),
        ({"multiplier": 1 << 20}, "multiplier of the residual: outside 0"),
        ({"input": "input"}, r"its residual is \(.*, but its output"),
        ({"input": "later"}, "reads tensor 'later', which no layer before it writes"),
    ],
)
def test_residuals_that_mean_nothing_are_refused(change: dict[str, object], sentence: str) -> None:
    rng = np.random.default_rng(3)
    networks = (random_layer_network(rng, "residual", channels=(5, 9), size=(4, 7)) for _ in range(50))
    network = next(n for n in networks if n.input.shape != n.output.shape)
    last = network.layers[-1]
    assert isinstance(last, Conv2d | Linear)
    assert last.residual is not None
    changed = dataclasses.replace(last, residual=dataclasses.replace(last.residual, **change))  # type: ignore[arg-type]
    with pytest.raises(IntarsiaError, match=sentence):
        dataclasses.replace(network, layers=(*network.layers[:-1], changed))


def test_numbers_of_numpy_do_not_wrap_around() -> None:
    """8 bits hold the numbers of this pool and its input, but not what is computed with them."""
    source = Tensor("x", (1, 3, 3), ActivationFormat(np.int8(8), np.bool_(True)), 1.0)
    shape = tuple(np.array([1, 1, 1], np.int8))
    output = Tensor("y", shape, ActivationFormat(16, True), np.float32(1.0))
    least = np.int16(-(1 << 15))
    pool = AveragePool(
        "x", output, (np.int8(3), np.int8(3)), (1, 1), (np.int8(0),) * 4, np.int8(100), np.uint8(2), least, np.int16(9)
    )
    network = IntegerNetwork("pool", source, (pool,), np.int8(8))
    assert all(type(number) is int for number in (*pool.kernel, *pool.padding, pool.multiplier, pool.lo, pool.hi))
    image = np.full((1, 1, 3, 3), -120, np.int8)
    assert Executor(network).run(image).tolist() == [[(-120 * 9 * 100 + 2) >> 2]]
