# SPDX-License-Identifier: Apache-2.0
"""The results of a study as plain data: every design at the last rung that it reached, and the Pareto front."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from intarsia.errors import unreadable
from intarsia.files import require_readable
from intarsia.report.metrics import DESIGN_METRICS
from intarsia.typed_json import read_typed

#: Figures of a design by the name of the metric, of `DESIGN_METRICS`; None where the hardware has none.
Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class Design:
    """A design as far as it was evaluated.

    Attributes:
        scheme, transforms, unit: what it is; without a unit it runs on the first kind that takes it.
        chosen: its coordinates in the space; empty for schemes that the space lists in addition.
        rung: the last one that it reached.
        seeds: evaluated there.
        metrics: the mean over these seeds.
        by_seed: accuracy with each of these seeds, in their order.
        accuracies: mean accuracy at each rung, from the first.
        reason: why metrics are missing.
        on_front: whether it is on the Pareto front of the last rung that any design reached.
        measured_on: kind of execution unit whose cycles, area and energy these are; empty if there are none, or if the
            kind is not known.
    """

    scheme: str
    transforms: str
    unit: str
    chosen: Mapping[str, str]
    rung: int
    seeds: tuple[int, ...]
    metrics: Figures
    by_seed: tuple[float, ...]
    accuracies: tuple[float, ...]
    reason: str
    on_front: bool
    measured_on: str = ""

    @property
    def name(self) -> str:
        """What it is, in one line."""
        parts = [self.scheme, *([] if self.transforms == "none" else [self.transforms])]
        return " | ".join([*parts, *([f"unit {self.unit}"] if self.unit else [])])

    def __post_init__(self) -> None:
        if unknown := self.metrics.keys() - DESIGN_METRICS.keys():
            raise ValueError(f"there is no metric {min(unknown)!r}")


@dataclass(frozen=True)
class StudyResults:
    """All of a study.

    Attributes:
        name: of the study.
        network: it is of.
        objectives: metrics that the Pareto front compares.
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
        """The designs of the Pareto front, the smallest first."""
        found = [design for design in self.designs if design.on_front]
        return tuple(sorted(found, key=lambda design: design.metrics["bits"] or 0.0))

    def as_csv(self) -> str:
        """Return a table of the designs, one per line."""
        names = sorted({name for design in self.designs for name in design.chosen} - {"transforms", "units"})
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        rungs = [f"accuracy at rung {rung}" for rung in range(len(self.epochs))]
        writer.writerow(
            [
                "scheme",
                "transforms",
                "unit",
                "rung",
                "seeds",
                *DESIGN_METRICS,
                "accuracy by seed",
                *rungs,
                "on_front",
                *names,
            ]
        )
        for d in self.designs:
            metrics = ["" if d.metrics.get(name) is None else d.metrics[name] for name in DESIGN_METRICS]
            chosen = [d.chosen.get(name, "") for name in names]
            seeds = " ".join(map(str, d.seeds))
            passed = [*d.accuracies, *[""] * (len(rungs) - len(d.accuracies))]
            by_seed = " ".join(map(str, d.by_seed))
            last = [by_seed, *passed, int(d.on_front), *chosen]
            writer.writerow([d.scheme, d.transforms, d.unit or d.measured_on, d.rung, seeds, *metrics, *last])
        return text.getvalue()


def read_results(path: Path) -> StudyResults:
    """Read the results of a study from its folder, or from its `results.json`.

    Raises:
        IntarsiaError: there are none, or the file is damaged.
    """
    try:
        file = path / "results.json" if path.is_dir() else path
    except OSError as error:
        raise unreadable(path, error) from error
    require_readable(file, "run intarsia explore first")
    return read_typed(StudyResults, file, "give a results.json of a study, or run the study again")
