# SPDX-License-Identifier: Apache-2.0
"""The small sets of the data folder through their loaders: what they hold, and that no test input is trained on."""

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
    data = load("speech_commands", "kws/calibration_speech_commands_v1.npz")
    # 194 of the 249 calibration clips to learn from, 57 of them keywords; the others, 20 of them keywords, to validate.
    related, varied = 12_000 + 3_000 + 1_000, 57 * 120 + 137 * 15
    assert (len(data.train), len(data.validation), len(data.test)) == (related + varied, 55 + 20 * 40 + 35 * 4, 1000)
    assert "variants of 194 clips" in data.source
    assert "55 other clips" in data.source
    assert set(data.train.labels) == {-1}
    assert data.test.images.shape == (1000, 1, 49, 10)
    assert np.bincount(data.test.labels, minlength=12).min() >= 70
    assert not keys(data.test) & (keys(data.train) | keys(data.validation))
    clipped = data.scaling.reals(data.train.images) < -128.5 * data.scaling.scale
    assert clipped.mean() < 0.03  # digital silence


def test_wake_words() -> None:
    data = load("visual_wake_words", "vww/calibration_coco_extra.npz")
    labelled = data.train.labels >= 0
    distinct = len({bytes(image) for image in np.ascontiguousarray(data.train.images[labelled])})
    assert (distinct, len(data.validation), len(data.test)) == (208, 100 * (1 + 10), 1000)
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
