"""What a study found, as plain data: every design at the last rung that it reached, and the front."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from intarsia.explore.front import front, rank_correlation
from intarsia.explore.plan import means
from intarsia.explore.space import DIRECTIONS, DesignSpace
from intarsia.explore.store import Store


@dataclass(frozen=True)
class Design:
    """A design as far as it was evaluated.

    Attributes:
        scheme, transforms: what it is.
        chosen: its coordinates in the space; empty for schemes that are listed beside it.
        rung: the last one that it reached.
        seeds: evaluated there.
        metrics: the mean over these seeds.
        spread: greatest less least accuracy over these seeds.
        accuracies: mean accuracy at each rung, from the first.
        reason: why metrics are missing.
        on_front: whether it reached the last rung that any did, and no design there beats it.
    """

    scheme: str
    transforms: str
    chosen: Mapping[str, str]
    rung: int
    seeds: tuple[int, ...]
    metrics: Mapping[str, float | None]
    spread: float
    accuracies: tuple[float, ...]
    reason: str
    on_front: bool


@dataclass(frozen=True)
class StudyResults:
    """All of a study.

    Attributes:
        name: of the study.
        network: it is of.
        objectives: what the front weighs.
        epochs: of each rung; None is the whole recipe.
        designs: in the order in which they came.
        refused: designs that could not be evaluated, with the reason.
        correlations: of each rung above the first: Spearman's rank correlation of the accuracy there with that of the
            first rung, over the designs that reached it.
        seconds: of all evaluations together.
    """

    name: str
    network: str
    objectives: tuple[str, ...]
    epochs: tuple[int | None, ...]
    designs: tuple[Design, ...]
    refused: Mapping[str, str]
    correlations: tuple[float | None, ...]
    seconds: float

    @property
    def front(self) -> tuple[Design, ...]:
        """The designs of the front, the smallest first."""
        found = [design for design in self.designs if design.on_front]
        return tuple(sorted(found, key=lambda design: design.metrics["bits"] or 0.0))

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)

    def as_csv(self) -> str:
        """Return a table of the designs, one a line."""
        names = sorted({name for design in self.designs for name in design.chosen})
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["scheme", "transforms", "rung", "seeds", *DIRECTIONS, "spread", "on_front", *names])
        for d in self.designs:
            metrics = ["" if d.metrics.get(name) is None else d.metrics[name] for name in DIRECTIONS]
            chosen = [d.chosen.get(name, "") for name in names]
            seeds = " ".join(map(str, d.seeds))
            writer.writerow([d.scheme, d.transforms, d.rung, seeds, *metrics, d.spread, int(d.on_front), *chosen])
        return text.getvalue()


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
        accuracy = [value for entry in done if (value := entry.metrics["accuracy"]) is not None]
        designs.append(
            Design(
                scheme=point.scheme,
                transforms=point.transforms,
                chosen=done[0].job.chosen,
                rung=rung,
                seeds=tuple(sorted(entry.job.seed for entry in done)),
                metrics=by_rung[rung][point],
                spread=max(accuracy) - min(accuracy),
                accuracies=tuple(found[point]["accuracy"] or 0.0 for found in by_rung[: rung + 1] if point in found),
                reason=done[0].reason,
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
    """Mark the front of the designs at the last rung that any has reached: accuracies of other rungs do not compare."""
    top = max((design.rung for design in designs), default=0)
    reached = [number for number, design in enumerate(designs) if design.rung == top]
    best = {reached[index] for index in front([designs[number].metrics for number in reached], objectives)}
    return tuple(Design(**(vars(design) | {"on_front": number in best})) for number, design in enumerate(designs))


def _correlation(designs: Sequence[Design], rung: int) -> float | None:
    pairs = [(d.accuracies[0], d.accuracies[rung]) for d in designs if len(d.accuracies) > rung]
    return rank_correlation([first for first, _ in pairs], [later for _, later in pairs])
