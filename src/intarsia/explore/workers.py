# SPDX-License-Identifier: Apache-2.0
"""The workers of a study: started, watched and started again. Here they are processes of this machine."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from intarsia.errors import IntarsiaError
from intarsia.explore.options import StudyOptions
from intarsia.explore.worker import STORAGE_VARIABLE
from intarsia.files import open_fresh

Say = Callable[[str], None]
#: Times that workers which were killed are started again, all together.
_MOST_RESTARTS = 20
_LEAVING = 30.0  # seconds that a worker may take to give its job back
_USERS_MISTAKE = 2  # exit status of a worker that cannot go on


class Workers(Protocol):
    """Workers at work, until the block that they were started for ends."""

    def ended(self, say: Say) -> bool:
        """Look at all of them, start again those that were killed, and return whether all have ended.

        Raises:
            IntarsiaError: one of them cannot go on, or they are killed again and again.
        """
        ...


class Restarts:
    """How often workers were started again."""

    def __init__(self) -> None:
        self._count = 0

    def another(self, reason: str, say: Say) -> None:
        """Count one more.

        Raises:
            IntarsiaError: it is one too many.
        """
        self._count += 1
        if self._count > _MOST_RESTARTS:
            raise IntarsiaError(f"workers end again and again ({reason}); run the study with fewer --workers.")
        say(f"a worker ended ({reason}) and is started again")


class Processes:
    """Workers on this machine."""

    def __init__(self, options: StudyOptions) -> None:
        self._options, self._restarts = options, Restarts()
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Processes":
        for number in range(self._options.workers):
            self._running.append(self._start(number))
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._running:
            worker.terminate()
        for worker in self._running:
            try:
                worker.wait(_LEAVING)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()

    def ended(self, say: Say) -> bool:
        """See `Workers`."""
        for number, worker in enumerate(self._running):
            status = worker.poll()
            if status in (None, 0):
                continue
            if status == _USERS_MISTAKE:
                raise IntarsiaError(self._last_words(number))
            self._restarts.another(f"status {status}", say)
            self._running[number] = self._start(number)
        return all(worker.poll() == 0 for worker in self._running)

    def _start(self, number: int) -> "subprocess.Popen[bytes]":
        options = self._options
        given = {
            "study": options.name,
            "out": options.folder,
            "device": options.device,
            "threads": options.threads,
            "heartbeat": options.heartbeat,
        }
        if options.data_dir is not None:
            given["data"] = options.data_dir
        # In one word each: a name may begin with a dash.
        words = [f"--{name}={value}" for name, value in given.items()]
        command = [sys.executable, "-m", "intarsia.explore.worker", *words]
        threads = {
            name: str(options.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        }
        environment = (
            os.environ
            | threads
            | {
                STORAGE_VARIABLE: options.url,
                "OMP_WAIT_POLICY": "passive",
                "PYTHONIOENCODING": "utf-8:backslashreplace",  # as its messages are read
            }
        )
        with open_fresh(self._messages(number)) as messages:
            return subprocess.Popen(command, env=environment, stderr=messages)

    def _messages(self, number: int) -> Path:
        """Return the file that a worker's messages go to; a pipe that nobody reads would stop it."""
        return self._options.home / f"worker{number}.log"

    def _last_words(self, number: int) -> str:
        lines = self._messages(number).read_text(encoding="utf-8", errors="replace").splitlines()
        said = [line for line in lines if line.strip()]
        return (
            said[-1].removeprefix("intarsia: error: ")
            if said
            else "a worker exited without an error message; run the study again."
        )
