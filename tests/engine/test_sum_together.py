# SPDX-License-Identifier: Apache-2.0
"""The Sum-Together unit: how wide tensors are stored, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia.engine import EngineConfig, compile_network
from intarsia.engine.packing import activation_words, activations_of
from intarsia.engine.units import SumTogether, Superposition, unit_named
from intarsia.errors import IntarsiaError
from intarsia.integer import ActivationFormat, IntegerNetwork, Pattern, Plane, Tensor, WeightFormat
from intarsia.integer.layers import Add, Conv2d, Requantization, Residual


def layer(source: str, name: str, form: str, bits: int, residual: str | None = None) -> Conv2d:
    """A 1×1 layer of 16 channels with the greatest weights of a format."""
    weights = np.full((16, 16, 1, 1), WeightFormat(form).limit)
    ones = np.ones(16, np.int64)
    return Conv2d(
        source,
        Tensor(name, (16, 2, 2), ActivationFormat(bits, True), 1.0),
        (Plane(weights, WeightFormat(form), Pattern()),),
        Requantization(ones, 0 * ones, ones, -2, 1),
        residual=None if residual is None else Residual(residual, 1, 0),
    )


def network(*layers: Conv2d | Add) -> IntegerNetwork:
    return IntegerNetwork("stored", Tensor("x", (16, 2, 2), ActivationFormat(4, True), 1.0), layers, 6)


def test_a_tensor_is_as_wide_as_the_weights_that_read_it() -> None:
    given_ = network(layer("x", "a", "int4", 4), layer("a", "b", "int8", 2), layer("b", "c", "ternary", 16))
    assert SumTogether().stored_bits(given_) == {"x": 4, "a": 8, "b": 4, "c": 16}
    assert SumTogether(8).stored_bits(given_) == {"x": 8, "a": 8, "b": 8, "c": 16}
    assert set(SumTogether(16).stored_bits(given_).values()) == {16}


def test_a_residual_is_as_wide_as_what_it_is_added_to() -> None:
    given_ = network(
        layer("x", "a", "int4", 4),
        layer("a", "b", "int4", 4, residual="x"),
        layer("b", "c", "int16", 4),
        Add(("c", "a"), Tensor("d", (16, 2, 2), ActivationFormat(16, True), 1.0), (1, 1), 0, -2, 1),
    )
    # b is read by weights of 16 bits, so x, which is added to it; a is added to d.
    assert SumTogether().stored_bits(given_) == {"x": 16, "a": 16, "b": 16, "c": 4, "d": 16}


def test_weights_beyond_16_bits_are_refused() -> None:
    wide = layer("x", "a", "int16", 4)
    wide = replace(wide, planes=(replace(wide.planes[0], shift=1),))
    with pytest.raises(IntarsiaError, match=r"layer a: its weights reach 65534, .* 16 bits at most"):
        compile_network(network(wide), EngineConfig(unit=SumTogether()))


def test_other_units_refuse_activations_of_16_bits() -> None:
    with pytest.raises(IntarsiaError, match=r"tensor a has 16 bits, .* or choose the unit sum_together"):
        compile_network(network(layer("x", "a", "ternary", 16)), EngineConfig(unit=Superposition()))


def test_names_of_units() -> None:
    assert unit_named("sum_together") == SumTogether(4)
    assert unit_named("sum_together16") == SumTogether(16)
    with pytest.raises(IntarsiaError, match=r"unknown execution unit 'sum_together2'.*sum_together16"):
        unit_named("sum_together2")


@pytest.mark.parametrize(
    ("unit", "clause"),
    [(SumTogether(2), "least_bits is 2, it must be 4, 8 or 16"), (SumTogether(4, "tree"), "architecture is 'tree'")],
)
def test_illegal_parameters(unit: SumTogether, clause: str) -> None:
    with pytest.raises(IntarsiaError, match=clause):
        EngineConfig(unit=unit)


def test_requantizers_take_half_of_the_lanes_at_most() -> None:
    with pytest.raises(IntarsiaError, match="requant_lanes is 16, it must be a divisor of 8"):
        EngineConfig(unit=SumTogether(), requant_lanes=16)


@given(st.data(), st.sampled_from((4, 8, 16)))
def test_packed_activations_come_back(data: st.DataObject, bits: int) -> None:
    half = 1 << (bits - 1)
    values = data.draw(st.lists(st.integers(-half, half - 1), min_size=256 // bits, max_size=256 // bits))
    stored = np.array(values, np.int64).reshape(2, -1)
    words = activation_words(stored, bits)
    assert words.shape == (2, 4)
    np.testing.assert_array_equal(activations_of(words, bits), stored)
