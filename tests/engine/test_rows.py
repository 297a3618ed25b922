# SPDX-License-Identifier: Apache-2.0
"""Rows of different width: an arranged network has the same values, and its wide channels find wide lanes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.engine.bits import binary_digits
from intarsia.engine.program import Placement
from intarsia.engine.rows import passes_of
from intarsia.engine.storage import Stored
from intarsia.engine.units import MixedRows
from intarsia.errors import IntarsiaError
from intarsia.flow.hardware import compile_for, cycles_of_weight_layers
from intarsia.integer import (
    ActivationFormat,
    Conv2d,
    IntegerNetwork,
    Pattern,
    Plane,
    Requantization,
    Residual,
    Tensor,
    WeightFormat,
    weight_matrix,
)
from intarsia.integer.executor import Executor
from random_networks import KINDS, Fit, random_images, random_layer_network, random_network

INT8 = ActivationFormat(8, signed=True)
UNITS = st.builds(
    lambda wide, middle: MixedRows(wide, middle, 16 - wide - middle), st.integers(0, 8), st.integers(0, 8)
)


def has_same_values(network: IntegerNetwork, unit: MixedRows, rng: np.random.Generator) -> int:
    """Check every tensor of the arranged network; return how many lie in another order."""
    images = random_images(rng, network, 2)
    expected, arranged = Executor(network).trace(images), unit.arranged(network, 16)
    found = Executor(arranged.network).trace(images)
    for layer in network.layers:
        name = layer.output.name
        order = arranged.orders.get(name, tuple(range(layer.output.shape[0])))
        assert sorted(order) == list(range(layer.output.shape[0]))
        np.testing.assert_array_equal(found[name], expected[name][:, list(order)], err_msg=name)
    assert network.input.name not in arranged.orders
    return len(arranged.orders)


@settings(max_examples=60)
@given(st.integers(0, 100_000), st.sampled_from(KINDS), UNITS, st.booleans())
def test_an_arranged_layer_has_the_same_values(seed: int, kind: str, unit: MixedRows, extreme: bool) -> None:
    rng = np.random.default_rng(seed)
    has_same_values(random_layer_network(rng, kind, extreme=extreme, fit=Fit(rows=True), second=True), unit, rng)


@settings(max_examples=40)
@given(st.integers(0, 100_000), UNITS, st.booleans())
def test_an_arranged_network_has_the_same_values(seed: int, unit: MixedRows, free: bool) -> None:
    """Networks of any planes, with tensors that several layers read and residuals join."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, free=free)
    has_same_values(network, unit, rng)


def test_many_networks_are_reordered() -> None:
    """What the properties above hold for is not the networks' own order."""
    reordered = 0
    for seed in range(30):
        rng = np.random.default_rng([59, seed])
        network = random_layer_network(rng, "residual", channels=(16, 40), fit=Fit(rows=True))
        reordered += has_same_values(network, MixedRows(), rng) > 0
    assert reordered >= 8


@given(st.lists(st.integers(-(2**14), 2**14), min_size=1, max_size=9), st.sampled_from([8, 4, 2]))
def test_passes_are_the_digits_of_the_widest_weight(weights: list[int], bits: int) -> None:
    rows = np.array(weights).reshape(-1, 1, 1, 1)
    assert passes_of(rows, bits).tolist() == [len(binary_digits(row[None], bits)) for row in rows]


def wide_rows(name: str, source: Tensor, outputs: int, wide: list[int], *, residual: str | None = None) -> Conv2d:
    """A 1×1 convolution of ternary rows, those of `wide` with weights of up to 100."""
    rng = np.random.default_rng(len(name))
    weights = rng.integers(-1, 1, (outputs, source.shape[0], 1, 1), endpoint=True)
    weights[:, 0] = 1  # no row is all zero
    weights[wide] = rng.integers(-100, 100, (len(wide), *weights.shape[1:]), endpoint=True)
    weights[wide, 0] = 99
    plane = Plane(weights.astype(np.int8), WeightFormat("int8"), Pattern())
    count = np.ones(outputs, np.int64)
    requantization = Requantization(20 * count, 0 * count, 9 * count, -128, 127)
    output = Tensor(name, (outputs, *source.shape[1:]), INT8, 1.0)
    kept = None if residual is None else Residual(residual, 3, 2)
    return Conv2d(source.name, output, (plane,), requantization, residual=kept)


SOURCE = Tensor("input", (96, 3, 3), INT8, 1.0)


def two_layers(first: list[int], second: list[int]) -> IntegerNetwork:
    """A layer and another one that adds its result, with these wide channels of 32 each."""
    a = wide_rows("a", SOURCE, 32, first)
    return IntegerNetwork("two", SOURCE, (a, wide_rows("bb", a.output, 32, second, residual="a")), 6)


@pytest.mark.parametrize(
    ("first", "second", "digits"),
    [
        ([5, 9], [7, 31], [1, 1]),  # four in all, two lanes in each of two tiles
        ([5, 9, 30], [9, 30, 5], [1, 1]),
        ([7, 31, 3], [5, 9], [1, 5]),  # the first layer is the longer one and has the choice
        ([], list(range(32)), [1, 5]),
    ],
)
def test_layers_run_in_one_pass_where_their_wide_channels_find_lanes(
    first: list[int], second: list[int], digits: list[int]
) -> None:
    network = two_layers(first, second)
    program = compile_network(network, EngineConfig(unit=MixedRows(2, 0, 14), weight_depth=8192))
    assert [layer.descriptor.digits for layer in program.layers] == digits
    orders = [layer.output.order for layer in program.layers]
    assert orders[0] == orders[1]
    if digits == [1, 1]:
        assert orders[0] is not None
        wide = [position for position, channel in enumerate(orders[0]) if channel in {*first, *second}]
        assert all(position % 16 < 2 for position in wide)


def test_a_unit_is_fitted_with_the_wide_lanes_that_layers_need() -> None:
    """One more would take area, and one less a second pass, from lanes of 4 bits, or five."""
    for wide, lanes in (([], 0), ([3], 1), ([1, 2], 1), ([1, 2, 3], 2), (list(range(6)), 3)):
        network = IntegerNetwork("one", SOURCE, (wide_rows("a", SOURCE, 32, wide),), 6)
        engine = config_for(network, EngineConfig(unit=MixedRows()))
        assert engine.unit == MixedRows(lanes, 0, 16 - lanes)
        assert compile_network(network, engine).layers[0].descriptor.digits == 1


def test_a_unit_is_fitted_to_layers_whose_wide_channels_may_move() -> None:
    """Two wide channels of 32 in each of two layers are four when they part."""
    together, apart = two_layers([3, 4], [3, 4]), two_layers([3, 4], [5, 6])
    engines = [config_for(network, EngineConfig(unit=MixedRows())) for network in (together, apart)]
    assert engines[0].unit == engines[1].unit == MixedRows(2, 0, 14)
    assert compile_network(apart, engines[0])


def test_an_engine_that_was_fitted_before_keeps_its_lanes_for_another_network() -> None:
    few, many = (IntegerNetwork("one", SOURCE, (wide_rows("a", SOURCE, 32, wide),), 6) for wide in ([3], range(16)))
    engine = config_for(few, EngineConfig(unit=MixedRows()))
    with pytest.raises(IntarsiaError, match="it needs acc_bits 22"):
        compile_network(many, engine)
    program = compile_for(many, engine)
    assert program.config.unit == engine.unit == MixedRows(1, 0, 15)
    assert program.layers[0].descriptor.digits == 5
    assert config_for(many, EngineConfig(unit=MixedRows())).unit != engine.unit
    assert cycles_of_weight_layers(many, engine)["a"] > 2 * cycles_of_weight_layers(few, engine)["a"]


def test_a_factor_that_a_row_has_in_common_takes_no_bits() -> None:
    """A ternary plane that counts four times, beside an int4 plane of a few channels."""
    layer = wide_rows("a", SOURCE, 16, [])
    ternary = replace(layer.planes[0], format=WeightFormat("ternary"), shift=2)
    fine = np.zeros_like(ternary.weights)
    fine[[3, 8]] = 7
    sparse = Plane(fine, WeightFormat("int4"), Pattern("outputs"))
    network = IntegerNetwork("tied", SOURCE, (replace(layer, planes=(ternary, sparse)),), 6)
    arranged = MixedRows(2, 0, 14).arranged(network, 16)
    [narrow] = arranged.network.weight_layers()
    assert np.abs(weight_matrix(narrow.planes)).max(axis=(1, 2, 3)).tolist() == [11, 11, *[1] * 14]
    program = compile_network(network, EngineConfig(unit=MixedRows(2, 0, 14)))
    assert program.layers[0].descriptor.digits == 1


def test_what_is_stored_in_another_order_is_restored() -> None:
    rng = np.random.default_rng(5)
    tensor = Tensor("t", (20, 3, 2), INT8, 1.0)
    order = tuple(rng.permutation(20).tolist())
    values = rng.integers(-128, 127, tensor.shape, endpoint=True)
    for transposed in (False, True):
        placement = Placement(
            tensor,
            0,
            Stored(replace(tensor, shape=(20, 2, 3)) if transposed else tensor, 8, 16, 1),
            transposed,
            order=order,
        )
        stored = placement.store(values)
        np.testing.assert_array_equal(placement.restore(stored), values)
        np.testing.assert_array_equal(stored[0], values[list(order[:16]), 0, 0])


@pytest.mark.parametrize(
    ("unit", "lanes", "clause"),
    [
        (MixedRows(2, 0, 14), 8, "lanes is 8, it must be the sum"),
        (MixedRows(-1, 9, 0), 8, "lanes8 is -1"),
        (MixedRows(2, 0, 13), 16, "lanes is 16"),
    ],
)
def test_lanes_that_an_engine_has_not_are_refused(unit: MixedRows, lanes: int, clause: str) -> None:
    with pytest.raises(IntarsiaError, match=clause):
        EngineConfig(unit=unit, lanes=lanes, block=16)
