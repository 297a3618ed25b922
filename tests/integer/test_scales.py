# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from intarsia.errors import IntarsiaError
from intarsia.integer.executor import Executor
from intarsia.integer.formats import ActivationFormat, Pattern, WeightFormat
from intarsia.integer.layers import Add, AveragePool, Conv2d, Linear, Plane, Requantization, Tensor
from intarsia.integer.network import IntegerNetwork
from intarsia.integer.scales import fit_multipliers, narrow_scales
from random_networks import random_images, random_layer_network


@example([3.0], 2, True)
@given(
    st.lists(st.floats(2.0**-12, 4.0), min_size=1, max_size=8),
    st.integers(1, 16),
    st.booleans(),
)
def test_a_fitted_multiplier_is_the_nearest_that_its_bits_can_say(
    gains: list[float], bits: int, power_of_two: bool
) -> None:
    given_gains = np.array([gains])
    multipliers, shift = fit_multipliers(given_gains, bits, power_of_two=power_of_two)
    assert multipliers.min() >= 1
    assert multipliers.max() < 1 << bits
    ratio = multipliers[0] * np.exp2(-shift.astype(float)) / given_gains[0]
    # A greater gain is cut off.
    fits = given_gains[0] <= ((1 << (bits - 1)) if power_of_two else (1 << bits) - 1)
    if power_of_two:
        assert np.all(np.log2(multipliers[0]) % 1 == 0)
        assert np.all(np.abs(np.log2(ratio[fits])) <= 0.5 + 1e-9)
    else:
        # A multiplier has its top bit set unless the shift has reached its end: half a unit of the last place is left.
        assert np.all(np.abs(ratio[fits] - 1) <= 2.0**-bits / (1 - 2.0**-bits) + 2.0**-7 * (shift[fits] == 20))


def test_two_planes_share_a_shift_and_a_gain_of_nothing_stays_nothing() -> None:
    multipliers, shift = fit_multipliers(np.array([[0.5, 0.1], [0.01, 0.0]]), 8)
    assert shift.tolist() == [8, 11]
    assert multipliers.tolist() == [[128, 205], [3, 0]]


@example(9932, "linear")
@given(st.integers(0, 2**32 - 1), st.sampled_from(["conv", "depthwise", "linear", "add", "avgpool", "maxpool"]))
def test_as_many_bits_as_there_are_change_no_gain_and_fewer_run(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    network = random_layer_network(rng, kind, free=True)
    images = random_images(rng, network, 2)
    same = narrow_scales(network, network.scale_bits)
    for old, new in zip(network.layers, same.layers, strict=True):
        if isinstance(old, Conv2d | Linear) and isinstance(new, Conv2d | Linear):
            for before, after in zip(old.planes, new.planes, strict=True):
                exact = before.multiplier * np.exp2(-old.requantization.shift.astype(float))
                found = after.multiplier * np.exp2(-new.requantization.shift.astype(float))
                assert np.array_equal(found, exact)
    for bits in range(1, network.scale_bits + 1):
        narrow = narrow_scales(network, bits)
        assert narrow.scale_bits == bits
        assert Executor(narrow).run(images).shape == (2, int(np.prod(network.output.shape)))
        for layer in narrow.layers:
            if isinstance(layer, Add):
                assert max(layer.multipliers) < 1 << bits
            if isinstance(layer, AveragePool):
                assert layer.multiplier < 1 << bits


@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_a_sparse_plane_follows_its_narrow_multiplier(seed: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.zeros((4, 16, 1, 1), np.int8)
    values[:, rng.integers(16), 0, 0] = rng.integers(-90, 91, 4)
    trits = rng.integers(-1, 2, values.shape).astype(np.int8)
    dense = Plane(trits, np.full(4, 200, np.int32), WeightFormat("ternary"), Pattern("dense"))
    sparse = Plane(values, rng.integers(3, 20, 4).astype(np.int32), WeightFormat("int8"), Pattern("n:m", 1, 16))
    form = ActivationFormat(8, signed=True)
    requantization = Requantization(np.zeros(4, np.int32), np.full(4, 12, np.int32), -128, 127)
    layer = Linear("input", Tensor("fc", (4, 1, 1), form, 1.0), (dense, sparse), requantization)
    [narrow] = narrow_scales(IntegerNetwork("two", Tensor("input", (16, 1, 1), form, 1.0), (layer,), 8), bits).layers
    assert isinstance(narrow, Linear)
    before = values[..., 0, 0] * sparse.multiplier[:, None] / 2.0**12
    step = (narrow.planes[1].multiplier / 2.0**narrow.requantization.shift)[:, None]
    after = narrow.planes[1].weights[..., 0, 0] * step
    assert np.all(np.abs(after - before) <= step / 2 + np.maximum(0, np.abs(before) - 127 * step))
    assert np.array_equal(narrow.planes[0].weights, trits)


@pytest.mark.parametrize("value", [1, 40, 63])
def test_values_of_a_narrow_multiplier_grow_no_further_than_their_accumulators(value: int) -> None:
    """The step of the sparse plane becomes smaller; its values would grow by a quarter, beyond 32 bits."""
    inputs = (2**31 - 1) // (value * 2**15)
    dense, sparse = (
        Plane(np.full((1, inputs, 1, 1), number, np.int8), np.array([multiplier]), WeightFormat(name), Pattern(kind))
        for number, multiplier, name, kind in ((1, 15, "ternary", "dense"), (value, 5, "int8", "unstructured"))
    )
    wide, form = ActivationFormat(16, signed=True), ActivationFormat(8, signed=True)
    requantization = Requantization(np.zeros(1, np.int32), np.array([30], np.int32), -128, 127)
    layer = Linear("input", Tensor("fc", (1, 1, 1), form, 1.0), (dense, sparse), requantization)
    network = IntegerNetwork("full", Tensor("input", (inputs, 1, 1), wide, 1.0), (layer,), 4)
    [narrow] = narrow_scales(network, 3).layers  # multipliers 4 and 1: a step of 4 units instead of 5
    assert isinstance(narrow, Linear)
    assert int(np.abs(narrow.planes[1].weights).max()) <= value


def test_more_bits_than_there_are_are_refused() -> None:
    network = random_layer_network(np.random.default_rng(0), "conv")
    with pytest.raises(IntarsiaError, match=r"have 6 bits; narrow them to 1 to 6, not to 7"):
        narrow_scales(network, 7)
