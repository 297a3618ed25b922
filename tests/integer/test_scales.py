# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from intarsia.errors import IntarsiaError
from intarsia.integer.executor import Executor
from intarsia.integer.layers import Add, AveragePool, Conv2d, Linear
from intarsia.integer.scales import fit_multipliers, narrow_scales
from random_networks import KINDS, random_images, random_layer_network


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


def test_two_gains_share_a_shift_and_a_gain_of_nothing_stays_nothing() -> None:
    multipliers, shift = fit_multipliers(np.array([[0.5, 0.1], [0.01, 0.0]]), 8)
    assert shift.tolist() == [8, 11]
    assert multipliers.tolist() == [[128, 205], [3, 0]]


@example(9932, "linear")
@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS))
def test_as_many_bits_as_there_are_change_no_gain_and_fewer_run(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    network = random_layer_network(rng, kind, free=True)
    images = random_images(rng, network, 2)
    same = narrow_scales(network, network.scale_bits)
    for old, new in zip(network.layers, same.layers, strict=True):
        if isinstance(old, Conv2d | Linear) and isinstance(new, Conv2d | Linear):
            exact, found = (
                own.multiplier * np.exp2(-own.shift.astype(float)) for own in (old.requantization, new.requantization)
            )
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
            if isinstance(layer, Conv2d | Linear) and layer.residual is not None:
                assert layer.residual.multiplier < 1 << bits


def test_more_bits_than_there_are_are_refused() -> None:
    network = random_layer_network(np.random.default_rng(0), "conv")
    with pytest.raises(IntarsiaError, match=r"have 6 bits; narrow them to 1 to 6, not to 7"):
        narrow_scales(network, 7)
