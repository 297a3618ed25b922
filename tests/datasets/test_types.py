# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from intarsia.datasets import Dataset, InputScaling, Split
from intarsia.datasets.metrics import accuracy, classes_of, classes_told, reconstruction_errors, roc_auc

NOTHING = Split(np.zeros((0, 2, 1, 1), np.float32), np.zeros(0, np.int64))


@given(
    st.lists(st.integers(-500, 500), min_size=1, max_size=30),
    st.integers(-20, 20),
    st.sampled_from([0.5, 2.0, 0.7]),
    st.sampled_from([0.25, 1.0, 0.3]),
    st.booleans(),
)
def test_a_scaling_of_another_unit_rounds_to_the_nearest_step_and_clips(
    values: list[int], offset: int, scale: float, unit: float, signed: bool
) -> None:
    scaling = InputScaling(offset, scale, unit, signed)
    stored = np.array(values, np.float16)
    lo, hi = (-128, 127) if signed else (0, 255)
    for value, real, integer in zip(stored, scaling.reals(stored), scaling.integers(stored), strict=True):
        assert real == pytest.approx((float(value) - offset) * unit, rel=1e-6)
        assert lo <= integer <= hi
        ideal = float(real) / scale
        assert integer in (lo, hi) or abs(integer - ideal) <= 0.5 + 1e-4
        assert (integer, True) in [(lo, ideal <= lo + 0.51), (hi, ideal >= hi - 0.51), (integer, lo < ideal < hi)]


def test_an_unsigned_input_holds_a_whole_byte() -> None:
    pixels = np.arange(256, dtype=np.uint8)
    scaling = InputScaling(0, 1 / 255, signed=False)
    assert scaling.integers(pixels).dtype == np.uint8
    assert (scaling.integers(pixels) == pixels).all()
    assert scaling.reals(pixels).max() == 1.0


def test_bytes_in_steps_of_the_input_must_fit_but_numbers_are_rounded() -> None:
    with pytest.raises(ValueError, match=" signed 8-bit"):
        InputScaling(0, 0.5).integers(np.array([128], np.uint8))
    with pytest.raises(ValueError, match="unsigned 8-bit"):
        InputScaling(0, 0.5, signed=False).integers(np.array([-1], np.int8))
    rounded = InputScaling(0, 0.5).integers(np.array([128.2, -200, 1.5, 2.5, 0.6], np.float32))
    assert rounded.tolist() == [127, -128, 2, 2, 1]


def test_windows_share_a_label_and_are_taken_together() -> None:
    split = Split(np.arange(12, dtype=np.float16).reshape(12, 1, 1, 1), np.array([0, 1, -1]), windows=4)
    assert len(split) == 3
    assert split.take(2).images.ravel().tolist() == list(range(8))
    with pytest.raises(ValueError, match="12 images but labels of shape"):
        Split(split.images, split.labels)
    with pytest.raises(ValueError, match="-1"):
        Split(split.images, np.array([0, 1, -2]), windows=4)


def test_accuracy_leaves_unknown_labels_out() -> None:
    outputs = np.array([[1, 0], [0, 1], [1, 0]])
    assert accuracy(outputs, np.array([0, 0, -1])) == 0.5
    with pytest.raises(ValueError, match="no label is known"):
        accuracy(outputs, np.array([-1, -1, -1]))


@given(
    st.lists(st.tuples(st.integers(-1, 1), st.integers(-3, 3)), min_size=2, max_size=60),
    st.sampled_from([1.0, 1e-9, 1e9]),
)
def test_auc_is_that_of_scikit_learn_and_of_counting_pairs(clips: list[tuple[int, int]], factor: float) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labels = np.array([label for label, _ in clips])
    scores = np.array([score * factor for _, score in clips])
    if not {0, 1} <= set(labels.tolist()):
        with pytest.raises(ValueError, match="both normal clips and anomalies"):
            roc_auc(scores, labels)
        return
    found = roc_auc(scores, labels)
    pairs = [(a > n) + (a == n) / 2 for a in scores[labels == 1] for n in scores[labels == 0]]
    assert found == sum(pairs) / len(pairs)
    assert found == pytest.approx(metrics.roc_auc_score(labels[labels >= 0], scores[labels >= 0]), abs=1e-12)


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        roc_auc(np.array([0.0, np.nan]), np.array([0, 1]))


@given(hnp.arrays(np.float32, (6, 5), elements=st.floats(-50, 50, width=16)), st.sampled_from([1, 2, 3, 6]))
def test_a_clip_scores_the_mean_over_its_windows(outputs: np.ndarray, windows: int) -> None:
    inputs = np.ones_like(outputs)
    expected = [np.mean((1 - outputs[i : i + windows].astype(float)) ** 2) for i in range(0, 6, windows)]
    assert reconstruction_errors(inputs, outputs, windows) == pytest.approx(expected)


def test_the_detector_is_judged_against_its_unquantized_input() -> None:
    images = np.array([[3, 3], [5, 5], [3, 3], [9, 1]], np.float16).reshape(4, 2, 1, 1)
    data = Dataset("d", NOTHING, NOTHING, Split(images, np.array([0, 1]), 2), (), InputScaling(1, 4, 0.5), metric="auc")
    outputs = np.array([[1, 1], [2, 2], [1, 1], [2, 2]], np.float32).reshape(4, 2, 1, 1)
    assert data.clip_errors(outputs, data.test).tolist() == [0.0, 2.0]
    assert data.score(outputs, data.test) == 1.0
    with pytest.raises(ValueError, match="3 outputs for 4 inputs"):
        data.score(outputs[:3], data.test)


@given(hnp.arrays(np.int8, st.tuples(st.integers(1, 20), st.just(1))))
def test_one_output_is_the_logit_of_class_one(outputs: np.ndarray) -> None:
    assert classes_told(1) == classes_told(2) == 2
    classes = classes_of(outputs)
    assert classes.tolist() == [int(value > 0) for value in outputs[:, 0]]
    assert accuracy(outputs, classes) == 1.0
    assert accuracy(outputs, 1 - classes) == 0.0
    two = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    assert np.array_equal(classes_of(two), classes)
