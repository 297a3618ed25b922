# SPDX-License-Identifier: Apache-2.0
"""The results of a study, read from its database."""

from collections.abc import Sequence
from dataclasses import replace

from intarsia.explore.front import front, rank_correlation
from intarsia.explore.plan import means
from intarsia.explore.space import DesignSpace
from intarsia.explore.store import Store
from intarsia.report.study import Design, StudyResults


def collect(store: Store, space: DesignSpace) -> StudyResults:
    """Read all that is finished of a study."""
    entries = [store.entries(rung) for rung in range(len(space.rungs))]
    by_rung = [means(found) for found in entries]
    points = list(by_rung[0])
    last = {point: max(rung for rung, found in enumerate(by_rung) if point in found) for point in points}
    designs = []
    for point in points:
        rung = last[point]
        done = [entry for entry in entries[rung] if entry.state == "done" and entry.job.point == point]
        done.sort(key=lambda entry: entry.job.seed)
        designs.append(
            Design(
                scheme=point.scheme,
                transforms=point.transforms,
                unit=point.unit,
                chosen=done[0].job.chosen,
                rung=rung,
                seeds=tuple(entry.job.seed for entry in done),
                metrics=by_rung[rung][point],
                by_seed=tuple(entry.metrics["accuracy"] or 0.0 for entry in done),
                accuracies=tuple(found[point]["accuracy"] or 0.0 for found in by_rung[: rung + 1] if point in found),
                reason=done[0].reason,
                measured_on=done[0].unit,
                on_front=False,
            )
        )
    return StudyResults(
        name=store.name,
        network=space.network,
        objectives=space.objectives,
        epochs=tuple(rung.epochs for rung in space.rungs),
        designs=_with_front(designs, space.objectives),
        refused={entry.job.point.key: entry.reason for found in entries for entry in found if entry.state == "refused"},
        correlations=tuple(_correlation(designs, rung) for rung in range(1, len(space.rungs))),
        seconds=sum(entry.seconds for found in entries for entry in found if entry.state == "done"),
    )


def _with_front(designs: Sequence[Design], objectives: Sequence[str]) -> tuple[Design, ...]:
    """Mark the Pareto front of the last rung that any design reached: accuracies of other rungs do not compare."""
    top = max((design.rung for design in designs), default=0)
    reached = [number for number, design in enumerate(designs) if design.rung == top]
    best = {reached[index] for index in front([designs[number].metrics for number in reached], objectives)}
    return tuple(replace(design, on_front=number in best) for number, design in enumerate(designs))


def _correlation(designs: Sequence[Design], rung: int) -> float | None:
    pairs = [(d.accuracies[0], d.accuracies[rung]) for d in designs if len(d.accuracies) > rung]
    return rank_correlation([first for first, _ in pairs], [later for _, later in pairs])
