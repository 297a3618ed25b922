# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia.explore.front import best, crowding, front, losses, rank_correlation, ranks

rows = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.tuples(*[st.integers(0, 5).map(float)] * width), min_size=1, max_size=20)
)


def beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def test_no_designs_have_no_front() -> None:
    assert ranks([]).tolist() == front([], ("bits",)) == best([], ("bits",), 3) == []


@given(rows)
def test_a_row_is_on_the_front_after_the_last_one_that_beats_it(table: list[tuple[float, ...]]) -> None:
    found = ranks(table)
    for number, row in enumerate(table):
        better = [int(found[other]) for other, one in enumerate(table) if beats(one, row)]
        assert found[number] == max(better, default=-1) + 1


@given(rows, st.integers(0, 20))
def test_the_best_are_whole_fronts_and_a_part_of_the_next(table: list[tuple[float, ...]], count: int) -> None:
    metrics = [{"bits": row[0], "cycles": row[-1]} for row in table]
    chosen = best(metrics, ("bits", "cycles"), count)
    level = ranks([losses(row, ("bits", "cycles")) for row in metrics])
    assert len(chosen) == min(count, len(table))
    left = set(range(len(table))) - set(chosen)
    assert max((level[i] for i in chosen), default=0) <= min((level[i] for i in left), default=len(table))


def test_more_accuracy_is_better_and_no_figure_is_worst() -> None:
    metrics = [
        {"accuracy": 0.9, "area": 5.0},
        {"accuracy": 0.8, "area": 4.0},
        {"accuracy": 0.85, "area": None},
        {"accuracy": 0.95, "area": None},
    ]
    assert front(metrics, ("accuracy", "area")) == [0, 1, 3]
    assert front(metrics, ("accuracy",)) == [3]


def test_the_ends_of_a_front_stand_apart() -> None:
    distance = crowding([(0.0, 9.0), (1.0, 8.0), (5.0, 5.0), (9.0, 0.0)])
    assert list(np.isinf(distance)) == [True, False, False, True]
    assert distance[2] > distance[1]


def test_rank_correlation_knows_order_and_ties() -> None:
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 400]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 2, 4], [1, 3, 3, 4]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [7, 7, 7]) is None
    assert rank_correlation([1, 2], [1, 2]) is None
