# SPDX-License-Identifier: Apache-2.0
"""Waiting for events of other processes: tests time nothing, because a machine may be busy."""

import time
from collections.abc import Callable

DEADLINE = 900.0  # seconds after which something is surely stuck, however busy the machine is


def wait_for(condition: Callable[[], bool], *, every: float = 0.1) -> None:
    """Wait until something has happened, looking `every` so many seconds; fail where it never does."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(every)
