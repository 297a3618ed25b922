# SPDX-License-Identifier: Apache-2.0
"""What stands for a data set in the keys of tasks: other files, another text; the same files, the same text."""

from pathlib import Path

import numpy as np
import pytest

from intarsia.datasets import DATASETS, identity_of, identity_of_npz
from intarsia.datasets.speech_commands import OFFICIAL, identity_of_speech_commands
from intarsia.datasets.toycar import identity_of_toycar
from intarsia.datasets.visual_wake_words import identity_of_visual_wake_words
from intarsia.errors import IntarsiaError


def write(path: Path, content: str = "a") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def test_what_checksums_pin_is_the_same_anywhere(tmp_path: Path) -> None:
    assert {name for name in DATASETS if not identity_of(name, tmp_path)} >= {"cifar10", "digits"}
    with pytest.raises(IntarsiaError, match="no folder"):
        identity_of("toycar", tmp_path / "mistyped")


def test_small_and_official_speech_commands_differ(tmp_path: Path) -> None:
    def found(split: str) -> list[str]:
        splits = ("train", "validation") if split == "train" else ("test",)
        return identity_of_speech_commands(tmp_path, splits, cache=tmp_path / "cache")  # type: ignore[arg-type]

    fetched = found("train")
    assert fetched == [f"{OFFICIAL.name} {OFFICIAL.checksum}"]
    for name in ("test_kws01.npz", "train_speech_commands_v1.npz", "train_synthetic_speech.npz"):
        write(tmp_path / "kws" / name)
    small, tested = found("train"), found("test")
    names = {"speech_commands.py", "train_speech_commands_v1.npz", "train_synthetic_speech.npz"}
    assert {text.split()[0] for text in small} == names
    write(tmp_path / "kws" / "test_kws01.npz", "b")
    assert found("train") == small
    assert found("test") != tested
    tested = found("test")
    write(tmp_path / "cache" / "kws" / f"{OFFICIAL.name}.tar.gz")
    assert found("train") == fetched
    write(tmp_path / "kws" / OFFICIAL.name / "yes" / "a.wav")
    own = found("train")
    assert own not in (small, fetched)
    assert found("test") == tested
    write(tmp_path / "kws" / OFFICIAL.name / "yes" / "a.wav", "longer")
    assert found("train") != own


def test_small_and_official_wake_words_differ(tmp_path: Path) -> None:
    def found(*splits: str) -> list[str]:
        return identity_of_visual_wake_words(tmp_path, splits, cache=tmp_path / "cache")  # type: ignore[arg-type]

    fetched = found("train")
    write(tmp_path / "vww" / "train_coco2014.npz")
    small = found("train")
    assert [text.split()[0] for text in small] == ["train_coco2014.npz", "visual_wake_words.py"]
    assert found("test") == []
    write(tmp_path / "vww" / "vw_coco2014_96" / "person" / "1.jpg")
    assert found("train") not in (small, fetched)
    before = found("test")
    write(tmp_path / "vww" / "y_labels.csv")
    assert found("test") != before


def test_small_and_official_toy_cars_differ(tmp_path: Path) -> None:
    assert identity_of_toycar(None, ("train",)) == []
    write(tmp_path / "ad" / "train_normal.npz")
    small = identity_of_toycar(tmp_path, ("train",))
    write(tmp_path / "ad" / "ToyCar" / "train" / "a.wav")
    assert len(small) == 1
    assert identity_of_toycar(tmp_path, ("train",)) != small


def test_own_files_are_told_apart_by_what_they_hold(tmp_path: Path) -> None:
    for name in ("train", "test"):
        np.savez(tmp_path / f"{name}.npz", x=np.zeros(3), y=np.zeros(3))
    before = identity_of_npz(tmp_path)
    write(tmp_path / "other.npz")
    assert identity_of_npz(tmp_path) == before
    np.savez(tmp_path / "test.npz", x=np.ones(3), y=np.zeros(3))
    assert identity_of_npz(tmp_path) != before
    (tmp_path / "test.npz").unlink()
    with pytest.raises(IntarsiaError, match=r"test\.npz"):
        identity_of_npz(tmp_path)
