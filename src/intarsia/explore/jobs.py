# SPDX-License-Identifier: Apache-2.0
"""Jobs of a study: what is to be evaluated, what was measured, and how both are written into a trial of Optuna."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from optuna.trial import FrozenTrial, TrialState

from intarsia.explore.space import Point
from intarsia.report.study import Figures
from intarsia.typed_json import MismatchError, from_json, to_json

T = TypeVar("T")

#: `refused`: the evaluation ended in an error. `lost`: its worker died, or another entry has the same job.
State = Literal["waiting", "running", "done", "refused", "lost"]


@dataclass(frozen=True)
class StudyIdentity:
    """What all evaluations of a study must agree in, besides the space.

    Attributes:
        float_network: SHA-256 sums of its files.
        data: name and sum of each file that no checksum pins.
        sram_library: sum of the library of SRAM macros; empty if no objective needs it.
    """

    float_network: tuple[str, ...]
    data: tuple[str, ...] = ()
    sram_library: str = ""


#: What errors call the fields of an identity.
IDENTITY_NAMES: Mapping[str, str] = {
    "float_network": "float network",
    "data": "data",
    "sram_library": "library of SRAM macros",
}


@dataclass(frozen=True)
class Job:
    """A design to evaluate at a rung with a seed; `chosen` are the coordinates in the space that it came from."""

    rung: int
    point: Point
    seed: int
    chosen: Mapping[str, str]

    @property
    def key(self) -> str:
        """What tells this job from others of its rung."""
        return f"{self.point.key} | seed {self.seed}"


@dataclass(frozen=True)
class Evaluation:
    """What was measured of a design.

    Attributes:
        metrics: by name; `accuracy` (or explained variance) is of validation inputs; None where hardware has no figure.
        reason: why some are None, one sentence; else empty.
        seconds: how long it took.
        unit: kind of execution unit whose cycles, area and energy these are; empty if there are none.
    """

    metrics: Figures = field(default_factory=dict)
    reason: str = ""
    seconds: float = 0.0
    unit: str = ""


@dataclass(frozen=True)
class Entry:
    """A job in the database.

    Attributes:
        job: what is to do.
        number: of the trial in its rung's Optuna study.
        state: see `State`.
        metrics: of a job that is done.
        reason: why some metrics are None, or why the job was refused.
        seconds: how long it took.
        worker: who did it.
        dropped: whether a lost one was given back by a worker that lives: a duplicate, or the study was interrupted.
        unit: see `Evaluation`.
    """

    job: Job
    number: int
    state: State
    metrics: Figures
    reason: str
    seconds: float
    worker: str
    dropped: bool = False
    unit: str = ""


_STATES: Mapping[TrialState, State] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "done",
}


def encode(value: Job | Evaluation | StudyIdentity) -> str:
    """Return the text that an attribute in the database holds."""
    return json.dumps(to_json(value))


def decode(kind: type[T], text: object) -> T:
    """Return what `encode` wrote.

    Raises:
        ValueError: the text is damaged, or another version wrote it.
    """
    try:
        return from_json(kind, json.loads(str(text)))
    except (MismatchError, RecursionError) as error:
        raise ValueError(str(error)) from error


def entry_of(trial: FrozenTrial, rung: int) -> Entry:
    """Return the job that a trial of a rung's Optuna study holds.

    Raises:
        ValueError: it is damaged, or another version wrote it.
    """
    attributes = trial.user_attrs
    job = decode(Job, attributes["job"])
    if job.rung != rung:
        raise ValueError(f"a job of rung {job.rung} is among those of rung {rung}")
    found = decode(Evaluation, attributes["found"]) if "found" in attributes else Evaluation()
    return Entry(
        job,
        trial.number,
        _STATES.get(trial.state, "refused" if attributes.get("refused") else "lost"),
        found.metrics,
        found.reason,
        found.seconds,
        str(attributes.get("worker", "")),
        bool(attributes.get("dropped")),
        found.unit,
    )
