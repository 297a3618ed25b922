# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from intarsia.datasets import Dataset, from_npz
from intarsia.datasets.rounding import best_scale
from intarsia.errors import IntarsiaError

RANDOM = np.random.default_rng(3)


def inputs(count: int = 40, shape: tuple[int, ...] = (3, 8, 6), dtype: str = "uint8") -> np.ndarray:
    return RANDOM.integers(0, 100, (count, *shape)).astype(dtype)


def folder(path: Path, **changes: Any) -> Path:
    """A folder of three good files, with entries replaced (`train_x=…`) or left out (None)."""
    path.mkdir(exist_ok=True)
    for name, count in (("train", 40), ("validation", 10), ("test", 12)):
        arrays = {"x": inputs(count), "y": np.arange(count) % 4}
        arrays |= {key.removeprefix(f"{name}_"): value for key, value in changes.items() if key.startswith(f"{name}_")}
        np.savez(path / f"{name}.npz", **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_a_folder_is_three_splits(tmp_path: Path) -> None:
    x = inputs(12)
    data = from_npz(folder(tmp_path / "mine", test_x=x))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [40, 10, 12]
    assert np.array_equal(data.test.images, x)
    assert data.classes == ("0", "1", "2", "3")
    assert (data.name, data.shape, data.metric) == ("mine", (3, 8, 6), "accuracy")
    assert set(data.checksums) == {"train.npz", "validation.npz", "test.npz"}
    assert np.array_equal(data.scaling.integers(x), x)


def test_without_a_validation_file_a_tenth_is_held_out(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (path / "validation.npz").unlink()
    data, again = from_npz(path), from_npz(path)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [36, 4, 12]
    assert np.array_equal(data.validation.images, again.validation.images)
    with np.load(path / "train.npz") as content:
        everything = np.concatenate([data.train.images, data.validation.images])
        assert sorted(map(bytes, everything)) == sorted(map(bytes, content["x"]))


def test_one_file_is_split_without_overlap(tmp_path: Path) -> None:
    x = np.arange(100, dtype=np.uint8).reshape(100, 1)
    np.savez(tmp_path / "mine.npz", x=x, y=np.arange(100) % 7, classes=np.array(list("abcdefg")))
    data = from_npz(tmp_path / "mine.npz")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [80, 10, 10]
    found = np.concatenate([split.images.ravel() for split in (data.train, data.validation, data.test)])
    assert sorted(found.tolist()) == list(range(100))
    for split in (data.train, data.validation, data.test):
        assert np.array_equal(split.labels, split.images.ravel() % 7)
    assert data.classes == tuple("abcdefg")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((8, 6, 3), (3, 8, 6)),
        ((49, 10, 1), (1, 49, 10)),
        ((3, 8, 6), (3, 8, 6)),
        ((1, 49, 10), (1, 49, 10)),
        ((640, 1, 1), (640, 1, 1)),
        ((1, 1, 1), (1, 1, 1)),
        ((9, 1, 128), (9, 1, 128)),
        ((9, 128), (9, 1, 128)),
        ((64, 5, 5), (64, 5, 5)),
        ((17,), (17, 1, 1)),
    ],
)
def test_the_order_of_axes_follows_its_rule(
    shape: tuple[int, ...], expected: tuple[int, int, int], tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", x=inputs(20, shape), y=np.arange(20))
    assert from_npz(tmp_path / "a.npz").shape == expected


def test_the_order_of_axes_can_be_said(tmp_path: Path) -> None:
    x, y = inputs(20, (4, 4, 2)), np.arange(20)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    assert from_npz(tmp_path / "a.npz").shape == (4, 4, 2)
    assert from_npz(tmp_path / "a.npz", layout="NHWC").shape == (2, 4, 4)
    np.savez(tmp_path / "a.npz", x=x, y=y, layout="NHWC")
    assert from_npz(tmp_path / "a.npz").shape == (2, 4, 4)
    with pytest.raises(IntarsiaError, match=r"there is no layout 'NCWH'; choose of NF, .*NCHW, NHWC"):
        from_npz(tmp_path / "a.npz", layout="NCWH")
    with pytest.raises(IntarsiaError, match=r"'NHWC' does not fit x of the shape \(20, 32\); choose NF"):
        np.savez(tmp_path / "a.npz", x=x.reshape(20, 32), y=y, layout="NHWC")
        from_npz(tmp_path / "a.npz")


#: Stored shapes, what the network takes, and as which layout they are read; None: that is for the user to say.
READINGS = [
    ((8, 6, 3), (3, 8, 6), "NHWC"),
    ((3, 8, 6), (3, 8, 6), "NCHW"),
    ((5, 6, 7), (7, 5, 6), "NHWC"),  # the rule for data alone would read both as NCHW
    ((5, 6, 7), (5, 6, 7), "NCHW"),
    ((49, 1, 10), (10, 49, 1), "NHWC"),
    ((3, 3, 3), (3, 3, 3), None),
    ((8, 8, 8), (8, 8, 8), None),
    ((1, 1, 8), (8, 1, 1), "NHWC"),
    ((1, 1, 1), (1, 1, 1), "NCHW"),
    ((28, 28), (1, 28, 28), "NHW"),
    ((9, 128), (9, 1, 128), "NCL"),
    ((128, 9), (9, 1, 128), "NLC"),
    ((30, 1), (30, 1, 1), "NCL"),
    ((1, 30), (30, 1, 1), "NLC"),
    ((12, 12), (12, 1, 12), None),
    ((17,), (17, 1, 1), "NF"),
    ((17,), (1, 1, 17), "NF"),
    ((64,), (1, 8, 8), "NF"),
]
ORDERS = {"NHWC": (0, 3, 1, 2), "NLC": (0, 2, 1)}


@pytest.mark.parametrize(("stored", "taken", "expected"), READINGS)
def test_the_network_decides_how_axes_are_meant(
    stored: tuple[int, ...], taken: tuple[int, int, int], expected: str | None, tmp_path: Path
) -> None:
    x = (np.arange(20 * np.prod(stored)) % 251).reshape(20, *stored)

    def read(path: Path, layout: str) -> None:
        data = from_npz(path, shape=taken)
        order = ORDERS.get(layout, tuple(range(x.ndim)))
        assert np.array_equal(data.test.images, x[data.test.labels].transpose(order).reshape(2, *taken))

    np.savez(tmp_path / "a.npz", x=x, y=np.arange(20))
    if expected is not None:
        read(tmp_path / "a.npz", expected)
        return
    for shape in (taken, None):
        with pytest.raises(IntarsiaError, match=r"may be N\w+ or N\w+; save an entry layout"):
            from_npz(tmp_path / "a.npz", shape=shape)
    for layout in ("NCHW", "NHWC") if x.ndim == 4 else ("NCL", "NLC"):
        np.savez(tmp_path / "a.npz", x=x, y=np.arange(20), layout=layout)
        read(tmp_path / "a.npz", layout)


@pytest.mark.parametrize("stored", [(3, 8, 7), (8, 7), (56,), (2, 2, 2, 7)])
def test_inputs_of_another_network_are_refused_with_both_shapes(stored: tuple[int, ...], tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=inputs(20, stored), y=np.arange(20))
    wanted = r"takes inputs of 3 x 8 x 6 .*has the shape \(20, .*7\)|must be \(N, C, H, W\)|has the shape \(20, 56\)"
    with pytest.raises(IntarsiaError, match=wanted):
        from_npz(tmp_path / "a.npz", shape=(3, 8, 6))


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("bool", (0, 1), "uint8"),
        ("int64", (0, 255), "uint8"),
        ("int16", (-128, 127), "int8"),
        ("uint16", (0, 65535), "float32"),
        ("int32", (-129, 3), "float32"),
        ("int64", (-(1 << 24), 1 << 24), "float32"),
        ("float64", (-1, 1), "float32"),
    ],
)
def test_numbers_of_other_types_are_kept_exactly(
    dtype: str, values: tuple[int, int], expected: str, tmp_path: Path
) -> None:
    x = np.resize(np.array([*values, 0, 1]), (40, 3)).astype(dtype)
    data = scaled(tmp_path, x)
    assert data.train.images.dtype == expected
    assert set(np.unique(data.train.images).tolist()) == set(map(float, {*values, 0, 1}))
    if expected != "float32":
        assert np.array_equal(data.scaling.held(data.train.images), data.train.images)


def test_whole_numbers_are_of_one_type_in_all_files(tmp_path: Path) -> None:
    data = from_npz(folder(tmp_path, test_x=inputs(12, dtype="int64"), validation_x=-inputs(10, dtype="int16")))
    assert {split.images.dtype.name for split in (data.train, data.validation, data.test)} == {"int8"}
    data = from_npz(folder(tmp_path, test_x=inputs(12, dtype="float16"), validation_x=-inputs(10, dtype="int16")))
    assert {split.images.dtype.name for split in (data.train, data.validation, data.test)} == {"float32"}


def test_classes_may_be_stored_as_floating_point(tmp_path: Path) -> None:
    data = from_npz(folder(tmp_path, train_y=(np.arange(40) % 4).astype(np.float32)[:, None]))
    assert np.array_equal(data.train.labels, np.arange(40) % 4)


def scaled(tmp_path: Path, x: np.ndarray, **entries: Any) -> Dataset:
    np.savez(tmp_path / "a.npz", x=x, y=np.zeros(len(x), int), **entries)
    return from_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("dtype", "entries", "lowest", "unit"),
    [
        ("uint8", {}, 0, 1.0),
        ("uint8", {"offset": 128, "unit": 1 / 128}, -128, 1 / 128),
        ("uint8", {"unit": 1 / 255}, 0, 1 / 255),
        ("int8", {}, -128, 1.0),
        ("int8", {"offset": -128, "unit": 0.5}, 0, 0.5),
    ],
)
def test_bytes_stay_bytes(dtype: str, entries: dict[str, Any], lowest: int, unit: float, tmp_path: Path) -> None:
    x = np.arange(256, dtype=np.uint8).view(dtype).reshape(64, 4)
    data = scaled(tmp_path, x, **entries)
    integers = data.scaling.integers(data.train.images).astype(int)
    assert np.array_equal(integers, data.train.images.astype(int) - entries.get("offset", 0))
    assert data.scaling.integers(np.array([np.iinfo(x.dtype).min], x.dtype)) == lowest
    assert data.scaling.scale == pytest.approx(unit)
    assert np.allclose(data.scaling.reals(data.train.images), integers * unit)


def test_bytes_that_do_not_fit_their_offset_are_rounded(tmp_path: Path) -> None:
    x = np.arange(256, dtype=np.uint8).reshape(64, 4)
    data = scaled(tmp_path, x, offset=83, unit=0.5)
    reals = data.scaling.reals(data.train.images)
    assert reals.min() < 0
    integers = data.scaling.integers(data.train.images)
    assert np.abs(integers * data.scaling.scale - reals).max() <= data.scaling.scale / 2 + 1e-4


@settings(max_examples=30)
@example(seed=497, signed=False, size=1e-6)  # a tenth worse when the steps were tried only once, in 64
@given(seed=st.integers(0, 1000), signed=st.booleans(), size=st.sampled_from([1e-6, 1.0, 1e6]))
def test_the_best_step_is_hardly_worse_than_any(seed: int, signed: bool, size: float) -> None:
    values = np.random.default_rng(seed).normal(size=2000).astype(np.float32) * np.float32(size)
    values = values if signed else np.abs(values)
    lo, hi = (-128, 127) if signed else (0, 255)

    def error(step: float) -> float:
        return float(np.square(np.clip(np.rint(values / step), lo, hi) * step - values, dtype=np.float64).mean())

    most = float(np.abs(values).max()) / hi
    assert error(best_scale(values, signed=signed)) <= 1.05 * min(error(most * k / 500) for k in range(50, 501))


def test_numbers_get_a_step_and_keep_their_sign(tmp_path: Path) -> None:
    x = RANDOM.normal(size=(50, 10)).astype(np.float64)
    data = scaled(tmp_path, x)
    assert data.train.images.dtype == np.float32
    assert data.scaling.signed
    assert not scaled(tmp_path, np.abs(x).astype(np.float16)).scaling.signed
    assert scaled(tmp_path, np.zeros((20, 3), np.float32)).scaling.scale == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_y": None}, r"test\.npz lacks y \(it holds x\)"),
        ({"train_x": None}, r"train\.npz lacks x"),
        ({"train_x": inputs(40, (3, 8))}, r"train\.npz has inputs of the shape \(3, 1, 8\), .*validation\.npz \(3"),
        ({"train_x": np.zeros(40)}, r"train\.npz: x has the shape \(40,\)"),
        ({"train_x": inputs(40, (3, 8, 6, 1))}, r"train\.npz: x has the shape \(40, 3, 8, 6, 1\)"),
        ({"train_x": inputs(40, (3, 8, 0))}, r"x has the shape \(40, 3, 8, 0\)"),
        ({"train_x": inputs(40).astype(complex)}, "x is complex128; save it as"),
        ({"train_x": inputs(40).astype(str)}, "x is <U[0-9]+; save it as"),
        ({"train_x": np.full((40, 3, 8, 6), 1 << 25)}, "whole numbers beyond 16,777,216"),
        ({"train_x": np.full((40, 3, 8, 6), 1e39)}, "too large for float32"),
        ({"train_x": np.full((40, 3, 8, 6), np.nan, np.float32)}, "infinite or no numbers"),
        ({"train_y": np.arange(39)}, "x holds 40 inputs, y 39 classes"),
        ({"train_y": np.arange(40) / 2}, "y is float64"),
        ({"train_y": np.eye(40, dtype=int)}, "one integer class for each"),
        ({"train_y": np.int64(3)}, "one integer class for each"),
        ({"train_y": np.arange(40) - 2}, "y holds -2; classes count from 0"),
        ({"train_y": np.arange(40) * 1e30}, "y is float64"),
        ({"train_y": np.arange(40) % 2 * 2 - 1}, "y holds only -1 and 1, but -1 means unknown"),
        ({"train_y": np.arange(40) * 10**10}, "classes count from 0 to at most 65,535"),
        ({"test_x": inputs(0), "test_y": np.zeros(0, int)}, r"test\.npz: x holds no inputs"),
        ({"test_x": inputs(12, (3, 6, 8))}, r"train\.npz has inputs of the shape \(3, 8, 6\), .*test\.npz \(3, 6, 8\)"),
        ({"train_offset": 128}, "has offset 128, .*None; they must be alike"),
        ({"train_classes": np.array(["a", "b"])}, "y holds class 3, but there are only 2 names"),
        ({"train_layout": "CHWN"}, "there is no layout 'CHWN'; choose of NF"),
    ],
)
def test_each_mistake_is_one_sentence(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match=message) as caught:
        from_npz(folder(tmp_path, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"offset": 0.5}, r"offset 0\.5 must be whole"),
        ({"unit": -1.0}, r"unit -1\.0 positive"),
        ({"unit": np.nan}, "unit must be one number"),
        ({"offset": np.arange(3)}, "offset must be one number"),
        ({"offset": "128"}, "offset must be one number"),
    ],
)
def test_a_scaling_that_cannot_be_is_refused(entries: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match=message):
        scaled(tmp_path, inputs(30), **entries)


def test_too_few_inputs_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match="too few to hold some out"):
        scaled(tmp_path, inputs(3))
    with pytest.raises(IntarsiaError, match="neither a file nor a folder"):
        from_npz(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(IntarsiaError, match=r"holds no train\.npz"):
        from_npz(tmp_path / "empty")


def test_test_inputs_of_which_no_class_is_known_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match="no class of a test input"):
        from_npz(folder(tmp_path / "mine", test_y=np.full(12, -1)))
    np.savez(tmp_path / "one.npz", x=inputs(), y=np.full(40, -1))
    with pytest.raises(IntarsiaError, match="no class of a test input"):
        from_npz(tmp_path / "one.npz")
