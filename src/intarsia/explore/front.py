# SPDX-License-Identifier: Apache-2.0
"""Pareto fronts, and how well a cheap evaluation ranks designs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from intarsia.report.metrics import DESIGN_METRICS
from intarsia.report.study import Figures


def losses(metrics: Figures, objectives: Sequence[str]) -> tuple[float, ...]:
    """Return objectives as numbers of which less is better; what has no figure is infinitely bad."""
    values = []
    for name in objectives:
        value = metrics.get(name)
        if value is None:
            values.append(float("inf"))
        else:
            values.append(-value if DESIGN_METRICS[name].direction == "maximize" else value)
    return tuple(values)


def ranks(rows: Sequence[Sequence[float]]) -> NDArray[np.int64]:
    """Return the Pareto front that each row (N, K) is on: 0 for rows that no other row dominates, 1 for those that only
    rows of front 0 dominate, and so on.

    A row dominates another if it is no worse anywhere and better somewhere (Deb et al., NSGA-II, 2002).
    """
    table = _table(rows)
    found = np.full(len(table), -1, np.int64)
    beats = np.zeros((len(table), len(table)), np.bool_)
    for number, row in enumerate(table):
        beats[number] = (row <= table).all(axis=1) & (row < table).any(axis=1)
    level = 0
    while (left := found < 0).any():
        beaten = beats[left].any(axis=0)
        found[left & ~beaten] = level
        level += 1
    return found


def front(metrics: Sequence[Figures], objectives: Sequence[str]) -> list[int]:
    """Return the indices of the designs on the Pareto front, in order; equal designs are all on it."""
    return [int(index) for index in np.flatnonzero(ranks([losses(row, objectives) for row in metrics]) == 0)]


def crowding(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Return how far apart each row's neighbours are, summed over the columns; infinite at the ends of a column."""
    table = _table(rows)
    distance = np.zeros(len(table))
    for column in table.T:
        finite = np.isfinite(column)
        if finite.sum() < 3:
            distance[finite] = np.inf
            continue
        order = np.flatnonzero(finite)[np.argsort(column[finite], kind="stable")]
        values = column[order]
        span = values[-1] - values[0]
        distance[order[[0, -1]]] = np.inf
        if span > 0:
            distance[order[1:-1]] += (values[2:] - values[:-2]) / span
    return distance


def _table(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.asarray(rows, np.float64).reshape(len(rows), len(rows[0]) if rows else 0)


def best(metrics: Sequence[Figures], objectives: Sequence[str], count: int) -> list[int]:
    """Return the indices of the `count` best designs: front by front, of the last one those that are least crowded."""
    rows = [losses(row, objectives) for row in metrics]
    level, apart = ranks(rows), crowding(rows)
    order = sorted(range(len(rows)), key=lambda index: (level[index], -apart[index], index))
    return sorted(order[:count])


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation of two figures of the same designs, ties at their mean rank; None where one is
    constant or there are fewer than three.
    """
    if len(first) < 3:
        return None
    a, b = _mean_ranks(first), _mean_ranks(second)
    if a.std() == 0 or b.std() == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _mean_ranks(values: Sequence[float]) -> NDArray[np.float64]:
    _, place, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])
