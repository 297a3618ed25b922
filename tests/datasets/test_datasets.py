# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia.datasets import Dataset, InputScaling, Split, load_dataset
from intarsia.errors import IntarsiaError


@pytest.fixture(scope="module")
def digits() -> Dataset:
    pytest.importorskip("sklearn")
    return load_dataset("digits")


def test_digits_splits_are_disjoint_and_complete(digits: Dataset) -> None:
    splits = [digits.train, digits.validation, digits.test]
    assert [len(split) for split in splits] == [400, 397, 1000]
    everything = np.concatenate([split.images.reshape(len(split), -1) for split in splits])
    from sklearn.datasets import load_digits  # noqa: PLC0415

    pixels, labels = load_digits(return_X_y=True)
    assert sorted(map(bytes, everything)) == sorted(map(bytes, pixels.astype(np.uint8)))
    by_image = {bytes(image): label for image, label in zip(pixels.astype(np.uint8), labels, strict=True)}
    found = np.concatenate([split.labels for split in splits])
    assert [by_image[bytes(image)] for image in everything] == found.tolist()


def test_digits_fit_the_integer_input(digits: Dataset) -> None:
    integers = digits.scaling.integers(digits.train.images)
    assert digits.shape == (1, 8, 8)
    assert (integers.min(), integers.max()) == (0, 16)
    assert digits.scaling.reals(digits.train.images).max() == 1.0


@given(st.lists(st.integers(0, 255), min_size=1), st.sampled_from([(128, 1 / 128), (0, 1 / 16)]))
def test_the_float_input_is_the_integer_input_times_the_scale(values: list[int], scaling: tuple[int, float]) -> None:
    offset, scale = scaling
    pixels = np.array([value % (128 + offset) for value in values], np.uint8)
    chosen = InputScaling(offset, scale)
    assert (chosen.integers(pixels).astype(int) == pixels.astype(int) - offset).all()
    assert (chosen.reals(pixels) == (pixels.astype(np.float32) - offset) * np.float32(scale)).all()


def test_pixels_that_do_not_fit_eight_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="8-bit"):
        InputScaling(0, 1.0).integers(np.array([200], np.uint8))


def test_a_split_refuses_labels_of_another_length() -> None:
    with pytest.raises(ValueError, match="3 images"):
        Split(np.zeros((3, 1, 8, 8), np.uint8), np.zeros(2, np.int64))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(IntarsiaError, match=r"'mnist'; choose one of cifar10, digits"):
        load_dataset("mnist")


@pytest.mark.parametrize("name", ["cifar10", "digits"])
def test_a_folder_that_is_not_there_is_named_and_nothing_fetched(name: str, tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match=r"no folder of data sets at .*mistyped; correct --data"):
        load_dataset(name, tmp_path / "mistyped")
