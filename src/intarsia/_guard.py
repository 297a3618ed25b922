# SPDX-License-Identifier: Apache-2.0
"""Run a tool, and end it and everything that it started when whoever started this process is gone, however it went.

`python _guard.py TOOL ARGUMENTS…` in a process group of its own. Standard input is a pipe into which nothing is ever
written: it ends when the last process that holds its other end does.
"""

import os
import signal
import subprocess
import sys
import threading

_CANNOT_START = 127


def main() -> int:
    """Run the command and return its exit status, as a shell gives it."""
    threading.Thread(target=_follow, daemon=True).start()
    try:
        status = subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"error: cannot start {sys.argv[1]}: {error.strerror}", file=sys.stderr)
        return _CANNOT_START
    return status if status >= 0 else 128 - status


def _follow() -> None:
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
