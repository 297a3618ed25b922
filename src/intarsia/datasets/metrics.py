# SPDX-License-Identifier: Apache-2.0
"""How outputs are judged: accuracy of classes, and the anomaly detector's area under the ROC curve."""

import numpy as np
from numpy.typing import NDArray

_CHUNK = 4096  # windows at a time; bounds the memory of real inputs


def classes_of(outputs: NDArray[np.floating | np.integer]) -> NDArray[np.int64]:
    """Return the class that each row of outputs (N, K) says, (N,): the greatest one's, or, of one output before a
    sigmoid, class 1 where it is above zero.
    """
    if outputs.shape[1] == 1:
        return (outputs[:, 0] > 0).astype(np.int64)
    return np.asarray(outputs.argmax(axis=1), np.int64)


def classes_told(outputs: int) -> int:
    """Return how many classes so many outputs tell apart."""
    return max(outputs, 2)


def accuracy(outputs: NDArray[np.floating | np.integer], labels: NDArray[np.int64]) -> float:
    """Return the share of inputs whose outputs say their class (`classes_of`), 0 to 1.

    Args:
        outputs: (N, K), in any unit.
        labels: (N,), −1 where the class is unknown; these inputs are left out.

    Raises:
        ValueError: no class is known.
    """
    known = labels >= 0
    if not known.any():
        raise ValueError("no label is known, so there is no accuracy")
    return float((classes_of(outputs)[known] == labels[known]).mean())


def reconstruction_errors(
    inputs: NDArray[np.float32], outputs: NDArray[np.floating], windows: int
) -> NDArray[np.float64]:
    """Return each clip's anomaly score: the mean over its windows of the mean squared error; (clips,).

    Args:
        inputs: (clips · windows, features), real, as they were before any quantization.
        outputs: same shape, real: what the autoencoder makes of them.
        windows: consecutive inputs that are one clip.
    """
    if inputs.shape != outputs.shape:
        raise ValueError(f"inputs {inputs.shape} and outputs {outputs.shape} must have one shape")
    errors = np.empty(len(inputs))
    for start in range(0, len(inputs), _CHUNK):
        part = slice(start, start + _CHUNK)
        errors[part] = np.square(inputs[part].astype(np.float64) - outputs[part]).mean(axis=1)
    return np.asarray(errors.reshape(-1, windows).mean(axis=1))


def roc_auc(scores: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Return the area under the ROC curve: how often an anomaly scores higher than a normal clip, ties half.

    Exact, from ranks (Mann and Whitney, 1947), over all clips together as in MLPerf Tiny.

    Args:
        scores: (N,), finite.
        labels: (N,), 1 for an anomaly, 0 for normal, −1 for unknown; these are left out.

    Raises:
        ValueError: a score is not finite, or one of the two kinds is missing.
    """
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite, so there is no order of scores")
    anomalous, normal = int((labels == 1).sum()), int((labels == 0).sum())
    if anomalous == 0 or normal == 0:
        raise ValueError("the area under the ROC curve needs both normal clips and anomalies")
    known = labels >= 0
    _, place, counts = np.unique(scores[known], return_inverse=True, return_counts=True)
    twice_ranks = (2 * np.cumsum(counts) - counts + 1)[place]  # twice the mean rank among equals: integers, so exact
    total = int(twice_ranks[labels[known] == 1].sum())
    return (total - anomalous * (anomalous + 1)) / (2 * anomalous * normal)
