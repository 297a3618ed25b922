# SPDX-License-Identifier: Apache-2.0
"""Runs the command line, or one task, and kills this process by SIGKILL at a write that was chosen beforehand.

`python dying.py FOLDER TARGET COUNT ARGUMENTS…`: the COUNT-th time that a temporary file in FOLDER is about to take the
place of a file whose path in FOLDER fits the pattern TARGET, the process dies; the temporary file is complete then, and
the target is still what it was. With COUNT 0 it lives. An audit hook sees that moment, so nothing of the product is
changed. Every file that was put in place is listed in `FOLDER.writes`, a line each.

`task:STAGE/NAME` in the place of a command runs that task, and before it what it needs itself; settings in JSON follow.
"""

import fnmatch
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any


def watch(folder: Path, target: str, count: int) -> None:
    writes = os.open(f"{folder}.writes", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event != "os.rename" or folder not in Path(os.fsdecode(arguments[1])).parents:
            return
        name = str(Path(os.fsdecode(arguments[1])).relative_to(folder))
        seen += fnmatch.fnmatch(name, target)
        if count and seen == count:
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(writes, f"{name}\n".encode())

    sys.addaudithook(hook)


def run_task(name: str, folder: Path, options: str) -> None:
    from intarsia.flow.scheduler import locked, run_tasks  # noqa: PLC0415
    from intarsia.flow.settings import Settings  # noqa: PLC0415
    from intarsia.flow.stages import all_tasks  # noqa: PLC0415

    settings = Settings(folder=folder, **json.loads(options))
    tasks = {task.id: task for task in all_tasks(settings)}
    with locked(folder):
        run_tasks([tasks[needed] for needed in (*tasks[name].needs, name)], settings)


if __name__ == "__main__":
    chosen, target, count, command, *arguments = sys.argv[1:]
    watch(Path(chosen), target, int(count))
    if command.startswith("task:"):
        run_task(command.removeprefix("task:"), Path(chosen), arguments[0])
        sys.exit(0)
    from intarsia import cli

    sys.exit(cli.main([command, *arguments]))
