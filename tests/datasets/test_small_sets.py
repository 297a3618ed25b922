# SPDX-License-Identifier: Apache-2.0
"""The prepared sets of the data folder through their loaders: what they hold, and that no test input is trained on."""

import os
from pathlib import Path

import numpy as np
import pytest

from intarsia.datasets import Dataset, Split, load_dataset

DATA = os.environ.get("INTARSIA_DATA")
pytestmark = [pytest.mark.data, pytest.mark.skipif(not DATA, reason="needs INTARSIA_DATA")]


def load(name: str, needed: str) -> Dataset:
    folder = Path(str(DATA))
    if not (folder / needed).is_file():
        pytest.skip(f"needs {needed}")
    return load_dataset(name, folder)


def keys(split: Split) -> set[bytes]:
    return {bytes(np.ascontiguousarray(image)) for image in split.images}


def test_keywords() -> None:
    data = load("speech_commands", "kws/train_speech_commands_v1.npz")
    off, on = data.classes.index("Off"), data.classes.index("On")
    real = data.validation.labels >= 0
    assert (np.count_nonzero(real), len(data.test)) == (2_038, 1_000)
    assert len(data.train) - 14_714 - 58_856 == 3_893  # synthetic clips of nine voices of ten
    assert set(data.train.labels) == set(range(12))
    assert not set(data.validation.labels[real]) & {off, on}
    assert len(data.validation) - 2_038 == 199  # On and Off by the tenth voice
    assert data.test.images.shape == (1000, 1, 49, 10)
    assert np.bincount(data.test.labels, minlength=12).min() >= 70
    assert not keys(data.test) & (keys(data.train) | keys(data.validation))
    assert not keys(data.validation) & keys(data.train)
    clipped = data.scaling.reals(data.train.images) < -128.5 * data.scaling.scale
    assert clipped.mean() < 0.03  # digital silence


def test_wake_words() -> None:
    data = load("visual_wake_words", "vww/train_coco2014.npz")
    assert (len(data.train), len(data.validation), len(data.test)) == (4_063, 308 + 1_016, 1_000)
    assert set(data.train.labels) == {-1}
    assert np.bincount(data.validation.labels[:308]).tolist() == [165, 143]
    assert set(data.validation.labels[308:]) == {-1}
    assert np.bincount(data.test.labels).tolist() == [500, 500]
    assert not keys(data.test) & (keys(data.train) | keys(data.validation))
    assert not keys(data.validation) & keys(data.train)
    assert data.scaling.reals(data.test.images).max() == 1.0


def test_toy_cars() -> None:
    data = load("toycar", "ad/train_normal.npz")
    assert (len(data.train), len(data.validation), len(data.test)) == (293, 32, 248)
    assert data.test.images.shape == (248 * 196, 640, 1, 1)
    first = [Split(split.images[::196], split.labels) for split in (data.train, data.validation, data.test)]
    assert len(keys(first[0]) | keys(first[1]) | keys(first[2])) == 293 + 32 + 248
    reals = data.scaling.reals(data.train.images)
    assert np.abs(reals).max() <= 128 * data.scaling.scale, "nothing is clipped"
