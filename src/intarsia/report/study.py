# SPDX-License-Identifier: Apache-2.0
"""What a study found, as plain data: every design at the last rung that it reached, and the front."""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intarsia.errors import IntarsiaError, unreadable
from intarsia.files import read_json, require_readable

#: Metrics of a design, in the order of tables, with what people read beside them.
METRICS: Mapping[str, str] = {
    "accuracy": "accuracy",
    "bits": "effective bits per weight",
    "bytes": "bytes of weights",
    "cycles": "cycles per inference",
    "area": "transistors of the lanes",
    "memory_energy": "nJ of memory accesses per inference, estimated",
}


@dataclass(frozen=True)
class Design:
    """A design as far as it was evaluated.

    Attributes:
        scheme, transforms: what it is.
        chosen: its coordinates in the space; empty for schemes that are listed beside it.
        rung: the last one that it reached.
        seeds: evaluated there.
        metrics: the mean over these seeds.
        by_seed: accuracy with each of these seeds, in their order.
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
    by_seed: tuple[float, ...]
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
        """Return a table of the designs, one per line."""
        names = sorted({name for design in self.designs for name in design.chosen})
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        rungs = [f"accuracy at rung {rung}" for rung in range(len(self.epochs))]
        writer.writerow(
            ["scheme", "transforms", "rung", "seeds", *METRICS, "accuracy by seed", *rungs, "on_front", *names]
        )
        for d in self.designs:
            metrics = ["" if d.metrics.get(name) is None else d.metrics[name] for name in METRICS]
            chosen = [d.chosen.get(name, "") for name in names]
            seeds = " ".join(map(str, d.seeds))
            passed = [*d.accuracies, *[""] * (len(rungs) - len(d.accuracies))]
            by_seed = " ".join(map(str, d.by_seed))
            last = [by_seed, *passed, int(d.on_front), *chosen]
            writer.writerow([d.scheme, d.transforms, d.rung, seeds, *metrics, *last])
        return text.getvalue()

    @classmethod
    def from_json(cls, fields: Any, name: str) -> "StudyResults":
        """Return the results that `as_json` gave; `name` is what errors call their file.

        Raises:
            IntarsiaError: these are not results of a study.
        """
        try:
            designs = tuple(
                Design(**(design | {part: tuple(design[part]) for part in ("seeds", "by_seed", "accuracies")}))
                for design in fields["designs"]
            )
            lists = {part: tuple(fields[part]) for part in ("objectives", "epochs", "correlations")}
            return cls(**(fields | lists | {"designs": designs}))
        except (KeyError, TypeError) as error:
            raise IntarsiaError(f"{name} holds no results of a study ({error}); give a results.json of one.") from error


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
    fields = read_json(file)
    if not isinstance(fields, dict):
        raise IntarsiaError(f"{file} holds no results of a study; give a results.json of one.")
    return StudyResults.from_json(fields, str(file))
