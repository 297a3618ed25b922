# SPDX-License-Identifier: Apache-2.0
"""Packing of trits, digits and slots: nothing is lost, and nothing that does not fit is accepted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from intarsia.engine.bits import balanced_digits, bits_of, pack_trits, sparse_slots, unpack_trits
from intarsia.engine.packing import to_words
from intarsia.integer.formats import DIGIT_LIMITS, trit_bits


@given(hnp.arrays(np.int64, hnp.array_shapes(min_dims=1, max_dims=3, max_side=23), elements=st.integers(-1, 1)))
def test_trits_round_trip(trits: np.ndarray) -> None:
    packed = pack_trits(trits)
    assert packed.shape[-1] == trit_bits(trits.shape[-1])
    np.testing.assert_array_equal(unpack_trits(packed, trits.shape[-1]), trits)


@given(st.integers(1, 5), st.data())
def test_digits_are_trits_and_sum_up(digits: int, data: st.DataObject) -> None:
    limit = DIGIT_LIMITS[digits]
    weights = np.array(data.draw(st.lists(st.integers(-limit, limit), min_size=1, max_size=20)))
    split = balanced_digits(weights, digits)
    assert set(np.unique(split)) <= {-1, 0, 1}
    total = np.zeros_like(weights)
    for digit in split:
        total = total * 3 + digit
    np.testing.assert_array_equal(total, weights)


@pytest.mark.parametrize("digits", [1, 2, 3, 4, 5])
def test_too_large_a_weight_is_refused(digits: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        balanced_digits(np.array([DIGIT_LIMITS[digits] + 1]), digits)


@given(st.integers(1, 4), st.data())
def test_slots_hold_all_sparse_weights(slots: int, data: st.DataObject) -> None:
    block = np.zeros((1, 2, 16), np.int64)
    for lane in range(2):
        places = data.draw(st.lists(st.integers(0, 15), max_size=slots, unique=True))
        block[0, lane, places] = [data.draw(st.sampled_from([-127, -1, 3, 127])) for _ in places]
    values, indices = sparse_slots(block, slots)
    rebuilt = np.zeros_like(block)
    for lane in range(2):
        for slot in range(slots):
            rebuilt[0, lane, indices[0, lane, slot]] += values[0, lane, slot]
    np.testing.assert_array_equal(rebuilt, block)


def test_too_many_sparse_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="slots"):
        sparse_slots(np.ones((1, 1, 16), np.int64), 2)


@pytest.mark.parametrize(("value", "signed"), [(16, False), (-1, False), (8, True), (-9, True)])
def test_nothing_is_cut_off(value: int, signed: bool) -> None:
    with pytest.raises(ValueError, match="do not fit 4"):
        bits_of(np.array([0, value]), 4, signed=signed)


def test_an_empty_slot_points_at_the_windows_newest_pixel() -> None:
    values, indices = sparse_slots(np.zeros((1, 2, 16), np.int64), 2)
    assert not values.any()
    assert (indices == 12).all()


@given(st.lists(st.integers(-(2**39), 2**39 - 1), min_size=1, max_size=5), st.integers(40, 70))
def test_bits_are_twos_complement_least_significant_first(values: list[int], width: int) -> None:
    words = to_words(bits_of(np.array(values), width, signed=True))
    for value, parts in zip(values, words, strict=True):
        number = sum(int(part) << 32 * i for i, part in enumerate(parts))
        assert number == value % (1 << width)
