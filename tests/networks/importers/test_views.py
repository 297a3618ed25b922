# SPDX-License-Identifier: Apache-2.0
"""Reshapes and transposes as names of axes, against NumPy."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from intarsia.networks.importers._axes import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    Leg,
    View,
    axes_of,
    entry,
    image_of,
    regrouped,
)

sizes = st.integers(1, 4)


@st.composite
def chains(draw: st.DrawFn) -> tuple[tuple[int, int, int], list[np.ndarray], list[Leg]]:
    """Return an image's shape, the places of its elements after every step, and the steps."""
    image = (draw(sizes), draw(sizes), draw(sizes))
    places = [np.arange(math.prod(image)).reshape(image)]
    legs = []
    for _ in range(draw(st.integers(0, 5))):
        shape = places[-1].shape
        if draw(st.booleans()):
            order = tuple(draw(st.permutations(range(len(shape)))))
            legs.append(Leg(shape, order))
            places.append(places[-1].transpose(order))
        else:
            factors = draw(st.permutations([*shape, 1]))
            made: list[int] = []
            for factor in factors if draw(st.booleans()) else [*shape, 1]:
                if made and draw(st.booleans()):
                    made[-1] *= factor
                else:
                    made.append(factor)
            legs.append(Leg(shape))
            places.append(places[-1].reshape(made))
    return image, places, legs


@given(chains())
def test_a_view_knows_where_every_element_is(chain: tuple[tuple[int, int, int], list[np.ndarray], list[Leg]]) -> None:
    image, places, legs = chain
    axes = axes_of(image, 3, CHANNELS_FIRST)
    for leg, after in zip(legs, places[1:], strict=True):
        if leg.order is not None:
            axes = tuple(axes[axis] for axis in leg.order)
        else:
            found = regrouped(image, axes, after.shape)
            if found is None:  # an axis of the image is split
                return
            axes = found
        view = View("x", image, axes)
        assert view.sizes == after.shape
        np.testing.assert_array_equal(view.in_image_order(after), places[0])


@given(st.tuples(sizes, sizes, sizes), st.permutations([0, 1, 2]), st.integers(1, 3), st.booleans())
def test_an_input_is_the_image_that_the_first_operator_reads(
    wanted: tuple[int, int, int], order: list[int], merged: int, last: bool
) -> None:
    """Pixels come with axes merged and in another order: a file splits and transposes them before its first layer."""
    channels = CHANNELS_LAST if last else CHANNELS_FIRST
    before = tuple(wanted[order.index(axis)] for axis in range(3))  # what the transpose reads
    given_shape = (math.prod(before[:merged]), *before[merged:])
    found = entry([Leg(given_shape), Leg(before, tuple(order))], wanted, channels)
    assert found is not None
    image, axes = found
    assert image == image_of(wanted, channels)
    assert View("x", image, axes).sizes == given_shape
    split = regrouped(image, axes, before)
    assert split is not None
    assert tuple(split[axis] for axis in order) == axes_of(image, 3, channels)
