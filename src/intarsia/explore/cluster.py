# SPDX-License-Identifier: Apache-2.0
"""Workers of a study on the machines of a Ray cluster.

Ray decides which machine a worker runs on, and tells when one of them is gone. The study itself stays in its database:
a worker that dies with its machine loses the one job that it had, and others take that up.
"""

import logging
import os
import socket
from dataclasses import replace

import ray
from ray.exceptions import RayError

from intarsia.errors import IntarsiaError
from intarsia.explore.options import StudyOptions
from intarsia.explore.store import Store
from intarsia.explore.worker import work
from intarsia.explore.workers import Restarts, Say

_PATIENCE = 5.0  # seconds to answer


class RayTasks:
    """Workers as tasks on a Ray cluster, as far apart as they go.

    Args:
        options: of the study; its folders are those of the same names on every machine.
        address: of the cluster, `auto` or host:port.
    """

    def __init__(self, options: StudyOptions, address: str) -> None:
        self._options, self._address, self._restarts = options, address, Restarts()
        self._running: list[ray.ObjectRef[str]] = []

    def __enter__(self) -> "RayTasks":
        require_cluster(self._address)
        try:
            ray.init(address=self._address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError, RayError) as error:
            raise _no_cluster(self._address, error) from error
        self._running = [self._start() for _ in range(self._options.workers)]
        return self

    def __exit__(self, *_: object) -> None:
        for task in self._running:
            ray.cancel(task, force=True)
        ray.shutdown()

    def ended(self, say: Say) -> bool:
        """See `intarsia.explore.workers.Workers`."""
        ready, _ = ray.wait(self._running, num_returns=len(self._running), timeout=0)
        for task in ready:
            try:
                mistake = ray.get(task)
            except RayError as error:
                self._restarts.another(type(error).__name__, say)
                self._running[self._running.index(task)] = self._start()
                return False
            if mistake:
                raise IntarsiaError(mistake)
        return len(ready) == len(self._running)

    def _start(self) -> "ray.ObjectRef[str]":
        options = self._options
        task = ray.remote(_work).options(
            num_cpus=options.threads,
            num_gpus=1 if options.device.startswith("cuda") else 0,
            max_retries=0,  # we count and tell
            scheduling_strategy="SPREAD",
        )
        here = replace(
            options,
            folder=options.folder.resolve(),
            data_dir=None if options.data_dir is None else options.data_dir.resolve(),
        )
        return task.remote(here)


def require_cluster(address: str) -> None:
    """Connect to an address like host:port and leave at once: Ray itself goes on trying for minutes.

    Raises:
        IntarsiaError: nobody answers there.
    """
    host, colon, port = address.rpartition(":")
    if not colon or "/" in host:
        return
    try:
        with socket.create_connection((host, int(port)), timeout=_PATIENCE):
            pass
    except (OSError, ValueError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> IntarsiaError:
    reason = str(error).partition("\n")[0].rstrip(".")
    return IntarsiaError(
        f"there is no Ray cluster at {address} ({reason}); start one with `ray start --head`, or correct --ray."
    )


def _work(options: StudyOptions) -> str:
    """Work on a study until it is done; return the sentence that says why that cannot be, or nothing."""
    name = f"{socket.gethostname()}:{os.getpid()}, Ray node {ray.get_runtime_context().get_node_id()}"
    try:
        store = Store(options.url, options.name, heartbeat=options.heartbeat)
        work(store, options.folder, options.data_dir, device=options.device, threads=options.threads, name=name)
    except IntarsiaError as error:
        return str(error)
    return ""
