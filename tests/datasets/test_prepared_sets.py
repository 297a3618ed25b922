# SPDX-License-Identifier: Apache-2.0
"""How the loaders divide the prepared sets, on small files of the same layout."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from intarsia.datasets import load_dataset
from intarsia.datasets.speech_commands import CLASSES
from intarsia.errors import IntarsiaError

RANDOM = np.random.default_rng(0)
OFF, ON, YES = (CLASSES.index(word) for word in ("Off", "On", "Yes"))


def clips(labels: list[int]) -> dict[str, NDArray[Any]]:
    mfcc = RANDOM.normal(size=(len(labels), 49, 10)).astype(np.float16)
    return {"mfcc": mfcc, "y": np.array(labels, np.uint8), "classes": np.array(CLASSES)}


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Return a folder of data sets with a few clips; the first value of each clip is its number."""
    files = {
        "train_speech_commands_v1": clips([YES] * 6) | {"split": np.array(["training"] * 4 + ["validation"] * 2)},
        "train_speech_commands_v1_variants": clips([YES] * 8) | {"clip": np.repeat(np.arange(4), 2)},
        "train_synthetic_speech": clips([ON, OFF, YES] * 20)
        | {"voice": np.array([f"voice {number:02}" for number in np.repeat(np.arange(20), 3)])},
    }
    (tmp_path / "kws").mkdir()
    first = 0
    for name, content in files.items():
        content["mfcc"][:, 0, 0] = first + np.arange(len(content["y"]))
        first += 100
        np.savez(tmp_path / "kws" / f"{name}.npz", **content)
    return tmp_path


def test_keywords_validate_on_the_official_split_and_on_words_of_other_voices(words: Path) -> None:
    data = load_dataset("speech_commands", words, splits=("train", "validation"))
    trained = data.train.images[:, 0, 0, 0].astype(int).tolist()
    validated = data.validation.images[:, 0, 0, 0].astype(int).tolist()
    spoken = [200 + number for number in range(60) if number // 3 not in (0, 10)]
    assert trained == [0, 1, 2, 3, *range(100, 108), *spoken]
    assert validated == [4, 5, 200, 201, 230, 231]  # On and Off of the first and of the eleventh voice
    assert data.validation.labels.tolist() == [YES, YES, -1, -1, -1, -1]
    assert set(data.train.labels) == {YES, ON, OFF}
    assert data.source.startswith(
        "4 training clips of Speech Commands v0.01, 8 variants of them and 54 synthetic clips"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": np.array([*CLASSES[:-1], "Other"])}, "has other classes"),
        ({"split": np.array(["training"])}, "split"),
        ({"mfcc": np.zeros((6, 49, 9), np.float16)}, "mfcc"),
    ],
)
def test_clips_of_another_layout_are_refused(words: Path, change: dict[str, NDArray[Any]], message: str) -> None:
    path = words / "kws" / "train_speech_commands_v1.npz"
    np.savez(path, **{**np.load(path), **change})
    with pytest.raises(IntarsiaError, match=message):
        load_dataset("speech_commands", words, splits=("train",))


def jpeg(level: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (96, 96), (level, level, level)).save(content, "JPEG", quality=95, subsampling=0)
    return content.getvalue()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    files = [jpeg(10 * number) for number in range(20)]
    offsets = np.concatenate([[0], np.cumsum([len(file) for file in files])])
    (tmp_path / "vww").mkdir()
    np.savez(
        tmp_path / "vww" / "train_coco2014.npz",
        jpeg=np.frombuffer(b"".join(files), np.uint8),
        offsets=offsets,
    )
    x = np.full((3, 96, 96, 3), 255, np.uint8)
    np.savez(tmp_path / "vww" / "calibration_coco_extra.npz", x=x, y=np.array([1, 0, 1]))
    return tmp_path


def test_wake_words_validate_with_labels_and_on_images_that_are_not_trained_on(pictures: Path) -> None:
    data = load_dataset("visual_wake_words", pictures, splits=("train", "validation"))
    levels = [number for number in range(20) if number % 5]
    assert np.abs(data.train.images[:, 0, 50, 50] - 10.0 * np.array(levels)).max() <= 1
    assert set(data.train.labels) == {-1}
    assert data.validation.labels.tolist() == [1, 0, 1, -1, -1, -1, -1]
    assert np.abs(data.validation.images[3:, 0, 50, 50] - np.array([0.0, 50.0, 100.0, 150.0])).max() <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": np.arange(5)}, "do not divide"),
        ({"offsets": np.array([0])}, "do not divide"),
        ({"jpeg": np.zeros(40, np.uint8), "offsets": np.array([0, 40])}, "image 0 of .* cannot be read as an image"),
    ],
)
def test_damaged_pictures_are_refused(pictures: Path, change: dict[str, NDArray[Any]], message: str) -> None:
    path = pictures / "vww" / "train_coco2014.npz"
    np.savez(path, **{**np.load(path), **change})
    with pytest.raises(IntarsiaError, match=message):
        load_dataset("visual_wake_words", pictures, splits=("train",))
