# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia.datasets import ChannelGrid, InputScaling
from intarsia.datasets.rounding import COARSE, Grids, input_rounding, own_scaling


def table(seed: int, columns: int, spread: float, far: float, rows: int = 200) -> np.ndarray:
    """Normal columns of sizes up to 10^±spread, up to `far` times their size away from zero."""
    random = np.random.default_rng(seed)
    sizes = 10.0 ** random.uniform(-spread, spread, columns)
    x = (random.normal(size=(rows, columns)) + far * random.uniform(-1, 1, columns)) * sizes
    return x.astype(np.float32)[:, :, None, None]


@given(
    x=st.builds(table, st.integers(0, 1000), st.integers(1, 8), st.floats(0, 4), st.floats(0, 1000)),
    offset=st.integers(-50, 50),
    unit=st.sampled_from([1.0, 0.3, 100.0]),
)
def test_columns_keep_their_precision_whatever_their_size(x: np.ndarray, offset: int, unit: float) -> None:
    scaling = own_scaling(offset, unit, x, "offsets")
    assert input_rounding(x, scaling).worst < 0.02
    if scaling.grid is not None:
        assert scaling.signed
        reals, steps = scaling.reals(x), np.array(scaling.grid.steps)[:, None, None]
        assert (np.abs(scaling.held(x) - reals) <= 0.5 * steps + 1e-6 * np.abs(reals)).mean() > 0.99  # few are clipped


def test_columns_of_one_size_far_from_zero_have_a_grid() -> None:
    assert own_scaling(0, 1.0, table(0, 3, 0.0, 100.0), "offsets").grid is not None


@given(st.integers(0, 1000), st.floats(0, 4), st.floats(0, 100), st.sampled_from(["offsets", "steps", "none"]))
def test_the_rule_of_a_frozen_network_makes_its_integers(seed: int, spread: float, far: float, grids: Grids) -> None:
    x = table(seed, 4, spread, far)
    scaling = own_scaling(3, 0.5, x, grids)
    rule = json.loads(scaling.rule)
    offset, step = (np.array(rule[name]).reshape(-1, 1, 1) for name in ("offset", "step"))
    exact = np.clip((x.astype(np.float64) - offset) / step, rule["least"], rule["greatest"])
    rounding = 2.0**-21 * (np.abs(x) + np.abs(offset) + 3) / step  # of float32
    assert (np.abs(scaling.integers(x) - exact) <= 0.5 + rounding).all()


def test_bytes_have_a_rule_too() -> None:
    scaling = InputScaling(128, 1 / 128)
    assert json.loads(scaling.rule) == {"offset": 128, "step": 1.0, "least": -128, "greatest": 127}


def test_one_scale_stays_where_nothing_is_lost_or_nothing_can_be_done() -> None:
    random = np.random.default_rng(0)
    flags = random.integers(0, 2, (100, 5, 1, 1)).astype(np.float32)
    assert own_scaling(0, 1.0, flags, "offsets").grid is None
    assert input_rounding(flags, own_scaling(0, 1.0, flags, "offsets")).worst == 0.0
    assert own_scaling(0, 1.0, table(0, 5, 3.0, 10.0), "none").grid is None


def test_a_grid_without_offsets_keeps_zero_and_comes_only_where_one_step_is_coarse() -> None:
    random = np.random.default_rng(0)
    alike = random.normal(size=(100, 3, 4, 4)).astype(np.float32)
    assert own_scaling(0, 1.0, alike, "steps").grid is None
    assert own_scaling(0, 1.0, alike, "offsets").grid is None
    for positive in (False, True):
        x = (np.abs(alike) if positive else alike) * np.float32([1e-3, 1.0, 500.0])[:, None, None]
        one, own = (own_scaling(0, 1.0, x, grids) for grids in ("none", "steps"))
        assert input_rounding(x, one).worst > COARSE > input_rounding(x, own).worst
        assert input_rounding(x, one).channel == 0
        assert own.grid is not None
        assert set(own.grid.offsets) == {0.0}
        assert own.signed != positive
        assert not own.integers(np.zeros_like(x)).any()


def test_a_column_that_never_varies_has_hardly_a_weight() -> None:
    x = table(0, 3, 1.0, 5.0)
    x[:, 1] = 7.25
    scaling = own_scaling(0, 1.0, x, "offsets")
    assert scaling.grid is not None
    assert np.array_equal(scaling.held(x)[:, 1], x[:, 1])
    assert scaling.grid.steps[1] < min(scaling.grid.steps[0], scaling.grid.steps[2]) / 1000
    everywhere = own_scaling(0, 1.0, np.full((10, 2, 1, 1), 3.3, np.float32), "offsets")
    assert np.abs(everywhere.held(np.full((1, 2, 1, 1), 3.3, np.float32)) - 3.3).max() < 1e-6


def test_a_grid_has_a_positive_step_for_each_channel() -> None:
    with pytest.raises(ValueError, match="positive step"):
        ChannelGrid((0.0,), (1.0, 2.0))
    with pytest.raises(ValueError, match="positive step"):
        ChannelGrid((0.0,), (0.0,))
