# SPDX-License-Identifier: Apache-2.0
"""Starting outside tools: with a time limit, and so that none of them outlives what it was started for."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from intarsia.errors import IntarsiaError

#: The longest time limit, in seconds; the system counts milliseconds in 31 bits.
LONGEST_TIMEOUT_S = 2e6

_GUARD = Path(__file__).with_name("_guard.py")


class TimeOverError(IntarsiaError):
    """A tool was ended because its time was over; `output` is what it had written until then."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


def run_tool(
    name: str,
    arguments: Sequence[str],
    *,
    folder: Path,
    timeout_s: float,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> tuple[int, str]:
    """Run a program in `folder` and return its exit status and its output (both streams, in order).

    Its temporary files also go to `folder`.

    The program and everything it started are ended when `timeout_s` seconds have passed, when an exception (an
    interrupt, too) ends this call, and when this process dies, even where it is killed.

    Args:
        name: of the program, for people.
        arguments: the program, a name or a path from `folder`, and its arguments.
        folder: where it runs.
        timeout_s: at most `LONGEST_TIMEOUT_S`.
        environment: variables beside those of this process.

    Raises:
        TimeOverError: the time is over.
        IntarsiaError: the program cannot be started.
    """
    program = arguments[0] if os.sep not in arguments[0] else str(folder / arguments[0])
    if shutil.which(program) is None:
        raise IntarsiaError(f"cannot start {name}: there is no program {program}; install it.")
    ends, held = os.pipe()  # what the guard waits for the end of
    try:
        process = subprocess.Popen(
            # -I, -S: nothing of the user's gets between
            [sys.executable, "-I", "-S", str(_GUARD), *arguments],
            cwd=folder,
            stdin=ends,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(folder), **environment},
        )
    except OSError as error:
        os.close(held)
        raise IntarsiaError(f"cannot start {name} ({arguments[0]}): {error.strerror}.") from error
    finally:
        os.close(ends)
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise TimeOverError(
            f"{name} did not finish within {timeout_s:g} s; give it more time or a smaller design.",
            (error.output or b"").decode(errors="replace"),
        ) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(held)
    return process.returncode, output.decode(errors="replace")
