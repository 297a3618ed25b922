# SPDX-License-Identifier: Apache-2.0
"""A worker of a study: takes jobs until nothing is left to do. `python -m intarsia.explore.worker` starts one."""

import argparse
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from intarsia.errors import IntarsiaError
from intarsia.explore.jobs import Entry, Evaluation, Job
from intarsia.explore.plan import first_jobs, is_over, next_jobs
from intarsia.explore.space import DesignSpace
from intarsia.explore.store import ClaimedJob, Store
from intarsia.text import escaped

#: The environment variable that holds the URL of the database: it may have a password, and command lines are public.
STORAGE_VARIABLE = "INTARSIA_STORAGE"
_IDLE = 0.5  # seconds between two looks for a job while others are at work


def work(
    store: Store,
    folder: Path,
    data_dir: Path | None = None,
    *,
    device: str = "cpu",
    threads: int = 1,
    name: str | None = None,
) -> int:
    """Take jobs of a study until all of it is done; return how many this worker did.

    Args:
        store: of the study.
        folder: of the network's run on this machine; its float network is made there if it is missing.
        data_dir: folder of data sets, or a user's own data.
        device: where PyTorch trains.
        threads: of PyTorch and the executor.
        name: of this worker; by default its machine and process.

    Raises:
        IntarsiaError: the study, the data or the float network cannot be had.
    """
    from torch import AcceleratorError, OutOfMemoryError  # noqa: PLC0415 (heavy)

    from intarsia.explore.evaluate import Evaluator  # noqa: PLC0415 (heavy: PyTorch)
    from intarsia.explore.source import identity, ready, settings_of  # noqa: PLC0415

    space, name = store.space(), name or f"{socket.gethostname()}:{os.getpid()}"
    settings = settings_of(space.network, folder, data_dir, device=device)
    ready(settings)
    store.require(identity(settings, space))
    evaluator = Evaluator(space, settings, threads=threads)
    device_troubles = (AcceleratorError, OutOfMemoryError)  # a GPU that is full or lost may serve a new process
    done = 0
    while True:
        taken = take_any(store, space, name)
        if taken is None:
            if finished(store, space):
                return done
            time.sleep(_IDLE)
            continue
        known = evaluated_before(store, space, taken.job)
        if known is not None:
            taken.finish(Evaluation(known.metrics, known.reason, unit=known.unit), space.objectives)
            continue
        with taken.alive():
            try:
                found = evaluator(taken.job.point, space.rungs[taken.job.rung], taken.job.seed)
            except IntarsiaError as error:
                taken.refuse(str(error))
            except (MemoryError, OSError, *device_troubles):  # of this machine: the job is lost here, others take it up
                raise
            except Exception as error:  # it would come again for every worker that takes this job up
                taken.refuse(f"{type(error).__name__}: {error}")
            except KeyboardInterrupt:
                taken.drop()
                raise
            else:
                taken.finish(found, space.objectives)
        done += 1


def take_any(store: Store, space: DesignSpace, worker: str) -> ClaimedJob | None:
    """Take a job of the lowest rung that has one; put in those of a rung when all before it are finished."""
    for rung in range(len(space.rungs)):
        taken = store.take(rung, worker)
        if taken is None and rung == 0 and space.search.kind == "evolution":
            taken = store.draw(space, worker)
        if taken is not None:
            return taken
        entries = store.entries(rung)
        if not is_over(entries):
            return None
        if rung + 1 < len(space.rungs):
            store.add(next_jobs(space, rung + 1, entries))
    return None


def evaluated_before(store: Store, space: DesignSpace, job: Job) -> Entry | None:
    """Return the same design with the same seed at a rung before that trains it just so, if there is one."""
    alike = (rung for rung in range(job.rung) if space.rungs[rung].training == space.rungs[job.rung].training)
    entries = (entry for rung in alike for entry in store.entries(rung))
    return next((entry for entry in entries if entry.state == "done" and entry.job.key == job.key), None)


def finished(store: Store, space: DesignSpace) -> bool:
    """Whether every job of every rung is finished."""
    return all(is_over(store.entries(rung)) for rung in range(len(space.rungs)))


def begin(store: Store, space: DesignSpace) -> None:
    """Put the jobs of the first rung in, those that are missing."""
    store.add(first_jobs(space))


def main() -> int:
    """Start a worker; the database is in the environment (`STORAGE_VARIABLE`). Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--heartbeat", type=int, default=10)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    _follow_parent()
    try:
        store = Store(os.environ[STORAGE_VARIABLE], options.study, heartbeat=options.heartbeat)
        work(store, options.out, options.data, device=options.device, threads=options.threads)
    except (IntarsiaError, MemoryError, OSError) as error:
        print(escaped(f"intarsia: error: {error or 'out of memory'}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _leave(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _follow_parent() -> None:
    """End this process when the one that started it has ended, however that was: nobody would see what it does."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(3)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
