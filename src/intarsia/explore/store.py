# SPDX-License-Identifier: Apache-2.0
"""A study in a database: jobs that wait, run, and are finished, shared by any number of workers.

Optuna's storage holds them, one Optuna study per rung, so that its samplers and its dashboard also read them. A job is
taken by one compare-and-swap of its state. A worker sends a heartbeat every few seconds; a job whose worker has gone
silent is put back. A job that was put in twice (two machines planned at once) is done once: of jobs with one
key, the one with the lowest number that has not failed is the job.
"""

import contextlib
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning, OptunaError, UpdateFinishedTrialError
from optuna.trial import TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from intarsia.errors import IntarsiaError
from intarsia.explore.database import Result, again, connect, damaged, shown
from intarsia.explore.front import losses
from intarsia.explore.jobs import IDENTITY_NAMES, Entry, Evaluation, Job, StudyIdentity, decode, encode, entry_of
from intarsia.explore.space import DesignSpace
from intarsia.explore.space_file import parse_space
from intarsia.report.metrics import DESIGN_METRICS

optuna.logging.set_verbosity(optuna.logging.ERROR)

#: Tries of a job whose workers were killed.
MOST_TRIES = 5
_MOST_PROPOSALS = 4  # for each trial of an evolution: designs that are there already are proposed again


class Store:
    """One study. Every method tries again for a minute where the connection to the database is lost.

    Args:
        url: of the database, as SQLAlchemy reads it: `sqlite:///study.db`, `postgresql+psycopg://user@host/name`.
        name: of the study.
        heartbeat: seconds between two heartbeats of a worker; three missing ones mean that it is dead.

    Raises:
        IntarsiaError: the database cannot be reached, or a package for it is missing.
    """

    def __init__(self, url: str, name: str, *, heartbeat: int = 10) -> None:
        self.url, self.name, self.heartbeat = url, name, heartbeat
        self._storage = connect(url, heartbeat)
        self._ids: dict[int, int] = {}
        self._space: DesignSpace | None = None  # it never changes

    def create(self, space_text: str, identity: StudyIdentity) -> DesignSpace:
        """Create the study of a space, or join it where it exists.

        Args:
            space_text: the file's text.
            identity: the float network and data that all its workers must agree in.

        Raises:
            IntarsiaError: the study exists and is of another space, float network or data.
        """
        space = parse_space(space_text)
        if self._exists():
            self._require_space(space)
            self.require(identity)
            return space
        directions = [DESIGN_METRICS[name].direction for name in space.objectives]

        def made() -> None:
            first, *_ = [
                optuna.create_study(
                    storage=self._storage, study_name=self._study_name(rung), directions=directions, load_if_exists=True
                )
                for rung in range(len(space.rungs))
            ]
            if "space" not in first.user_attrs:
                first.set_user_attr("identity", encode(identity))
                first.set_user_attr("space", space_text)  # last: from now on the study is there

        self._again(made)
        self._require_space(space)
        self.require(identity)
        return space

    def _exists(self) -> bool:
        """Whether there is a study of this name, and nobody is just about to make it."""
        known = self._again(self._storage.get_all_studies)
        return any(study.study_name == self.name and "space" in study.user_attrs for study in known)

    def _require_space(self, space: DesignSpace) -> None:
        if self.space() != space:
            raise IntarsiaError(
                f"the study {self.name} is of another design space; give another name with --study, or the space that "
                "it began with."
            )

    def require(self, identity: StudyIdentity) -> None:
        """Refuse to mix what does not compare.

        Raises:
            IntarsiaError: the study is of another float network or other data.
        """
        _, text = self._attributes()
        try:
            known = decode(StudyIdentity, text)
        except ValueError as error:
            raise IntarsiaError(
                f"the study {self.name} was made by another version of Intarsia ({error}); give another name with "
                "--study and run it again."
            ) from error
        for name, title in IDENTITY_NAMES.items():
            if getattr(known, name) != getattr(identity, name):
                raise IntarsiaError(
                    f"the study {self.name} began with another {title}, whose figures do not compare; "
                    "give another name with --study, or what it began with."
                )

    def space(self) -> DesignSpace:
        """Return the space that the study is of.

        Raises:
            IntarsiaError: there is no such study.
        """
        if self._space is None:
            text, _ = self._attributes()
            self._space = parse_space(text, f"the space of the study {self.name}")
        return self._space

    def _attributes(self) -> tuple[str, str]:
        """Return the space and the identity of the study, as texts."""
        attributes = self._again(lambda: self._storage.get_study_user_attrs(self._study_id(0)))
        if not {"space", "identity"} <= attributes.keys():
            raise IntarsiaError(
                f"{self.name} is not a study of this version of Intarsia; give another name with --study."
            )
        return str(attributes["space"]), str(attributes["identity"])

    def entries(self, rung: int) -> list[Entry]:
        """Return every job of a rung, in the order in which they were put in."""
        trials = self._again(lambda: self._storage.get_all_trials(self._study_id(rung)))
        try:
            return [entry_of(trial, rung) for trial in trials if "job" in trial.user_attrs]
        except ValueError as error:
            raise damaged(self.url, f"a job of rung {rung} cannot be read: {error}") from error

    def add(self, jobs: Sequence[Job]) -> None:
        """Put jobs in, to be taken in this order; those already there and not lost are left out."""
        known = {
            (rung, entry.job.key)
            for rung in {job.rung for job in jobs}
            for entry in self.entries(rung)
            if entry.state != "lost"
        }
        for job in jobs:
            if (job.rung, job.key) not in known:
                self._put(job)

    def _put(self, job: Job, *, refused: str = "") -> None:
        attributes: dict[str, object] = {"job": encode(job)}
        if refused:
            attributes |= {"refused": True, "found": encode(Evaluation(reason=refused))}
        known = {choice.name: CategoricalDistribution(choice.values) for choice in self.space().choices()}
        options: dict[str, BaseDistribution] = {name: known[name] for name in job.chosen}
        trial = create_trial(
            state=TrialState.FAIL if refused else TrialState.WAITING,
            user_attrs=attributes,
            params=dict(job.chosen),
            distributions=options,
        )
        self._again(lambda: self._storage.create_new_trial(self._study_id(job.rung), template_trial=trial))

    def take(self, rung: int, worker: str) -> "ClaimedJob | None":
        """Take the first waiting job of a rung; None if there is none.

        A job that was put back is taken in its old place, but after all others once two workers have died of it: were
        it the machine's fault, good jobs would soon be given up.
        """
        self.put_back_lost(rung)
        entries = self.entries(rung)
        waiting = [entry for entry in entries if entry.state == "waiting"]
        deaths = Counter(entry.job.key for entry in entries if entry.state == "lost" and not entry.dropped)
        places = {entry.job.key: entry.number for entry in reversed(entries)}
        for entry in sorted(waiting, key=lambda entry: (max(1, deaths[entry.job.key]), places[entry.job.key])):
            number = self._trial_id(rung, entry.number)
            # The first heartbeat comes before the job is taken: without any, nobody would ever take it back.
            self._heartbeat(number)
            if not self._starts(number):
                continue  # somebody else was faster
            self._note(number, "worker", worker)
            taken = ClaimedJob(self, entry.job, number)
            if not self._has_older(entry.job, entry.number):
                return taken
            taken.drop()
        return None

    def _heartbeat(self, trial: int) -> None:
        self._again(lambda: self._storage.record_heartbeat(trial))

    def _starts(self, trial: int) -> bool:
        """Turn a waiting trial into a running one; False if it waits no longer."""
        try:
            return self._again(lambda: self._storage.set_trial_state_values(trial, TrialState.RUNNING))
        except UpdateFinishedTrialError:
            return False

    def draw(self, space: DesignSpace, worker: str) -> "ClaimedJob | None":
        """Let the evolution propose the next design of the first rung; None once it has proposed enough."""
        while True:
            entries = self.entries(0)
            if sum(entry.state != "lost" for entry in entries) >= space.search.trials + len(space.schemes):
                return None
            if len(entries) >= _MOST_PROPOSALS * space.search.trials + len(space.schemes):
                return None  # nearly all that is proposed is there already: the space is small
            taken, number = self._proposed(space, worker, len(entries))
            if not self._has_older(taken.job, number):
                return taken
            taken.drop()

    def _proposed(self, space: DesignSpace, worker: str, known: int) -> "tuple[ClaimedJob, int]":
        """Ask the evolution for a design; return it, taken, and its number."""
        sampler = optuna.samplers.NSGAIISampler(seed=space.search.seed + known)
        study = self._again(
            lambda: optuna.load_study(study_name=self._study_name(0), storage=self._storage, sampler=sampler)
        )

        def asked() -> tuple[int, int, dict[str, str]]:
            trial = study.ask()
            chosen = {choice.name: trial.suggest_categorical(choice.name, choice.values) for choice in space.choices()}
            return trial._trial_id, trial.number, chosen

        trial, number, chosen = self._again(asked)
        job = Job(0, space.point(chosen), space.rungs[0].seeds[0], chosen)
        self._heartbeat(trial)
        self._note(trial, "worker", worker)
        self._note(trial, "job", encode(job))
        return ClaimedJob(self, job, trial), number

    def _note(self, trial: int, name: str, value: str | bool) -> None:
        """Write an attribute of a trial; nothing where it is finished, because others gave this worker up."""
        with contextlib.suppress(UpdateFinishedTrialError):
            self._again(lambda: self._storage.set_trial_user_attr(trial, name, value))

    def _has_older(self, job: Job, number: int) -> bool:
        """Whether a job was put in before, and is not lost."""
        return any(
            entry.job.key == job.key and entry.number < number and entry.state != "lost"
            for entry in self.entries(job.rung)
        )

    def put_back_lost(self, rung: int) -> None:
        """Give the jobs of dead workers to others."""

        def lost() -> None:
            study = optuna.load_study(study_name=self._study_name(rung), storage=self._storage)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                optuna.storages.fail_stale_trials(study)

        self._again(lost)
        entries = self.entries(rung)
        alive = {entry.job.key for entry in entries if entry.state != "lost"}
        for entry in entries:
            if entry.state == "lost" and entry.job.key not in alive:
                tries = sum(other.job.key == entry.job.key and not other.dropped for other in entries)
                alive.add(entry.job.key)
                self._put(entry.job, refused=f"its worker died {tries} times" if tries >= MOST_TRIES else "")

    def _study_name(self, rung: int) -> str:
        return self.name if rung == 0 else f"{self.name}, rung {rung}"

    def _study_id(self, rung: int) -> int:
        if rung not in self._ids:
            try:
                self._ids[rung] = self._storage.get_study_id_from_name(self._study_name(rung))
            except KeyError as error:
                raise IntarsiaError(f"there is no study {self.name} in {shown(self.url)}; correct --study.") from error
        return self._ids[rung]

    def _trial_id(self, rung: int, number: int) -> int:
        return self._again(lambda: self._storage.get_trial_id_from_study_id_trial_number(self._study_id(rung), number))

    def _again(self, action: Callable[[], Result]) -> Result:
        return again(self._storage, self.url, action)


class ClaimedJob:
    """A job that this worker has, until it is finished, refused or dropped."""

    def __init__(self, store: Store, job: Job, trial: int) -> None:
        self.job = job
        self._store, self._trial = store, trial

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Send heartbeats while a block runs."""
        stop = threading.Event()

        def heartbeat() -> None:
            while True:
                with contextlib.suppress(SQLAlchemyError, OptunaError):  # the next one may come through
                    self._store._storage.record_heartbeat(self._trial)
                if stop.wait(self._store.heartbeat):
                    return

        thread = threading.Thread(target=heartbeat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def finish(self, found: Evaluation, objectives: Sequence[str]) -> None:
        """Write what was measured."""
        self._store._note(self._trial, "found", encode(found))
        row = [
            -value if DESIGN_METRICS[name].direction == "maximize" else value
            for name, value in zip(objectives, losses(found.metrics, objectives), strict=True)
        ]
        self._end(TrialState.COMPLETE, row)

    def refuse(self, reason: str) -> None:
        """Write why there is nothing to measure."""
        self._store._note(self._trial, "found", encode(Evaluation(reason=reason)))
        self._store._note(self._trial, "refused", True)
        self._end(TrialState.FAIL, None)

    def drop(self) -> None:
        """Leave the job to another worker that has it, or that takes it later."""
        self._store._note(self._trial, "dropped", True)
        self._end(TrialState.FAIL, None)

    def _end(self, state: TrialState, values: list[float] | None) -> None:
        # It is finished already where the connection was lost after the write, or where others gave this worker up.
        with contextlib.suppress(UpdateFinishedTrialError):
            self._store._again(lambda: self._store._storage.set_trial_state_values(self._trial, state, values))
