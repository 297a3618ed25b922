# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia.datasets.picture_variants import picture_variants, resampled


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 24, 24)).astype(np.uint8)


def test_variants_are_the_same_for_everybody_and_differ_from_each_other() -> None:
    made = picture_variants(pictures(3), 4, seed=5)
    assert made.shape == (12, 3, 24, 24)
    assert made.dtype == np.uint8
    assert np.array_equal(made, picture_variants(pictures(3), 4, seed=5))
    assert not np.array_equal(made, picture_variants(pictures(3), 4, seed=6))
    assert len({variant.tobytes() for variant in made}) == 12


def test_a_variant_shows_its_own_picture_or_four_in_a_mosaic() -> None:
    flat = np.stack([np.full((3, 24, 24), value, np.uint8) for value in (40, 90, 140, 190)])
    made = picture_variants(flat, 50, seed=1).reshape(4, 50, 3, 24, 24)
    colours = [[len(np.unique(variant[0])) for variant in variants] for variants in made]
    assert 0.15 < np.mean(np.array(colours) > 1) < 0.4
    assert np.max(colours) <= 4
    levels = [np.mean([variant[0, 0, 0] for variant in variants]) for variants in made]
    assert np.allclose(levels, (40, 90, 140, 190), rtol=0.1)


def test_a_whole_picture_resampled_to_its_size_is_itself() -> None:
    [picture] = pictures(1)
    assert np.allclose(resampled(picture, (0, 0, 24, 24), (24, 24)), picture, atol=1e-3)


@given(
    st.tuples(st.floats(0, 10), st.floats(0, 10), st.floats(2, 14), st.floats(2, 14)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
def test_a_box_of_a_slope_is_a_slope(box: tuple[float, float, float, float], size: tuple[int, int]) -> None:
    y, x = np.mgrid[:24, :24]
    found = resampled(np.stack([y * 10, x * 10, y * 5 + x * 5]).astype(np.uint8), box, size)
    (at_y, inside_y), (at_x, inside_x) = (places(box[k], box[k + 2], size[k]) for k in (0, 1))
    inside = inside_y[:, None] & inside_x
    wanted = np.broadcast_arrays(at_y[:, None] * 10, at_x * 10, at_y[:, None] * 5 + at_x * 5)
    for channel, slope in zip(found, wanted, strict=True):
        # A triangle as wide as a step averages a slope to its middle, up to the grid's own coarseness.
        assert channel[inside] == pytest.approx(slope[inside], abs=2.6)


def places(start: float, extent: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where samples lie, and which are a step away from the edges of a picture of 24 pixels."""
    step = extent / count
    at = np.clip(start + (np.arange(count) + 0.5) * step - 0.5, 0, 23)
    return at, (at >= step) & (at <= 23 - step)
