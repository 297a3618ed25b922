# SPDX-License-Identifier: Apache-2.0
"""The next jobs of a study: those of each rung follow from what is finished. Pure, so any worker may ask."""

import math
import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from intarsia.explore.front import best, front
from intarsia.explore.jobs import Entry, Job
from intarsia.explore.space import DesignSpace, Point
from intarsia.report.study import Figures

_NOTHING: Mapping[str, str] = MappingProxyType({})  # coordinates of a design that the space lists in addition
_MOST_DRAWS = 100  # of points for each that is wanted, before a random search is told that there are no more


def first_jobs(space: DesignSpace) -> list[Job]:
    """Return the jobs of the first rung; of an evolution, which proposes as it goes, only the listed designs."""
    if space.search.kind == "evolution":
        found = [(Point.parse(text), _NOTHING) for text in space.schemes]
    else:
        found = _drawn(space) if space.search.kind == "random" else _grid(space)
    seeds = space.rungs[0].seeds
    return [Job(0, point, seed, chosen) for point, chosen in found for seed in seeds]


def next_jobs(space: DesignSpace, rung: int, before: Sequence[Entry]) -> list[Job]:
    """Return the jobs of a rung above the first, when all of the rung before are finished.

    Args:
        space: of the study.
        rung: from 1.
        before: every entry of the rung before.
    """
    designs = means(before)
    points = list(designs)
    metrics = [designs[point] for point in points]
    keep = space.rungs[rung].keep
    if keep is None:
        chosen = front(metrics, space.objectives)
    else:
        chosen = best(metrics, space.objectives, math.ceil(keep * len(points)))
    coordinates = {entry.job.point: entry.job.chosen for entry in before}
    seeds = space.rungs[rung].seeds
    return [Job(rung, points[index], seed, coordinates[points[index]]) for index in chosen for seed in seeds]


def means(entries: Sequence[Entry]) -> dict[Point, Figures]:
    """Return the metrics of each design that was evaluated, the mean over its seeds."""
    grouped: dict[Point, list[Figures]] = {}
    for entry in entries:
        if entry.state == "done":
            grouped.setdefault(entry.job.point, []).append(entry.metrics)
    return {point: _mean(rows) for point, rows in grouped.items()}


def _mean(rows: Sequence[Figures]) -> Figures:
    mean: dict[str, float | None] = {}
    for name in rows[0]:
        values = [value for row in rows if (value := row.get(name)) is not None]
        mean[name] = math.fsum(values) / len(values) if len(values) == len(rows) else None
    return mean


def is_over(entries: Sequence[Entry]) -> bool:
    """Whether nothing of a rung waits or runs."""
    return not any(entry.state in ("waiting", "running") for entry in entries)


def _grid(space: DesignSpace) -> list[tuple[Point, Mapping[str, str]]]:
    designs = list(space.designs().items())
    return designs[: space.search.trials] if space.search.trials else designs


def _drawn(space: DesignSpace) -> list[tuple[Point, Mapping[str, str]]]:
    rng = random.Random(space.search.seed)  # noqa: S311 (no secret)
    choices, wanted = space.choices(), space.search.trials
    found: dict[Point, Mapping[str, str]] = {Point.parse(text): {} for text in space.schemes}
    for _ in range(_MOST_DRAWS * wanted):
        if len(found) >= wanted + len(space.schemes) or not space.layers:
            break
        chosen = {choice.name: rng.choice(choice.values) for choice in choices}
        found.setdefault(space.point(chosen), chosen)
    return list(found.items())
