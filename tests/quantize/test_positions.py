# SPDX-License-Identifier: Apache-2.0
"""Positions of whole channels, blocks and taps: they obey their pattern, and no others would save more."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intarsia.integer.formats import Pattern
from intarsia.integer.units import unit_numbers
from intarsia.quantize.patterns import choose_positions, share_out

SHAPES = st.sampled_from([(5, 7, 3, 3), (32, 20, 1, 1), (6, 1, 3, 2), (9, 33, 1, 1), (1, 1, 1, 1), (16, 40, 2, 1)])
UNITS = st.sampled_from(["unstructured", "inputs", "outputs", "taps", "blocks2", "blocks4", "blocks99"]).map(
    Pattern.parse
)


def cost_of(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).laplace(0, 0.1, shape).astype(np.float32)).square()


def sums(cost: torch.Tensor, units: np.ndarray) -> np.ndarray:
    """Return the cost of each unit, by a plain loop."""
    totals = np.zeros(units.max() + 1)
    for unit, value in zip(units.flat, cost.double().flatten().tolist(), strict=True):
        totals[unit] += value
    return totals


@settings(max_examples=200)
@given(st.integers(0, 99), SHAPES, UNITS, st.floats(0, 1, exclude_min=True), st.booleans())
def test_chosen_units_are_whole_the_dearest_and_as_many_as_asked_for(
    seed: int, shape: tuple[int, ...], pattern: Pattern, density: float, depthwise: bool
) -> None:
    depthwise = depthwise and shape[1] == 1
    cost = cost_of(seed, shape)
    mask = choose_positions(cost, pattern, density, depthwise=depthwise).numpy()
    assert mask.shape == shape
    units = unit_numbers(shape, pattern, depthwise=depthwise)
    chosen = np.array([bool(mask[units == unit].any()) for unit in range(units.max() + 1)])
    assert np.array_equal(chosen[units], mask)
    assert chosen.sum() == max(1, math.floor(density * len(chosen) + 0.5))
    totals = sums(cost, units)
    assert totals[chosen].min() >= totals[~chosen].max(initial=0.0)  # so no other choice of as many saves more


@given(st.integers(0, 99), SHAPES, st.integers(1, 5), st.integers(0, 30))
def test_fixed_positions_are_the_first_of_each_period(seed: int, shape: tuple[int, ...], n: int, more: int) -> None:
    mask = choose_positions(cost_of(seed, shape), Pattern("fixed", n, n + more))
    for channel in range(shape[1]):
        assert bool((mask[:, channel] == (channel % (n + more) < n)).all())


@given(
    st.integers(0, 99),
    SHAPES,
    UNITS,
    st.lists(st.floats(0.01, 0.4), min_size=1, max_size=3).filter(lambda shares: sum(shares) < 1),
)
def test_shares_are_disjoint_and_in_the_order_of_cost(
    seed: int, shape: tuple[int, ...], pattern: Pattern, shares: list[float]
) -> None:
    cost = cost_of(seed, shape)
    masks = share_out(cost, pattern, shares)
    assert masks.shape == (len(shares), *shape)
    assert int(masks.sum(dim=0).max()) == 1
    units = unit_numbers(shape, pattern)
    totals, left = sums(cost, units), units.max() + 1
    dearest = math.inf
    for mask, share in zip(masks.numpy(), shares, strict=True):
        chosen = np.unique(units[mask])
        assert len(chosen) == min(left, max(1, math.floor(share * len(totals) + 0.5)))
        left -= len(chosen)
        if len(chosen):
            assert totals[chosen].max() <= dearest
            dearest = totals[chosen].min()


@pytest.mark.parametrize("pattern", ["inputs", "outputs"])
def test_inputs_of_a_depthwise_layer_are_its_channels(pattern: str) -> None:
    cost = cost_of(0, (16, 1, 3, 3))
    mask = choose_positions(cost, Pattern.parse(pattern), 1 / 16, depthwise=True)
    assert int(mask.sum()) == 9
    assert bool(mask[int(cost.sum(dim=(1, 2, 3)).argmax())].all())
