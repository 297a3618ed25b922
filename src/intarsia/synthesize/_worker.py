# SPDX-License-Identifier: Apache-2.0
"""Run one list of Yosys commands; started by `yosys.py` as a process of its own, because an error ends the interpreter.

Argument: a JSON file holding the list of commands. The current folder holds the inputs and receives the outputs.
Beside Yosys' own passes there is one more command, `merge_identical_modules`.
"""

import ctypes
import json
import os
import re
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PARENT = "INTARSIA_PARENT"  # environment variable: the process that started this one
MERGE = "merge_identical_modules"
#: A path that means the same to a shell, to a script of ABC and to the preprocessor of Verilog.
PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./-]*")
_AUTO_NAME = re.compile(r"\$[\w.:$]*\$\d+")


def main() -> None:
    """Run the commands of the file named on the command line, in order."""
    die_with_parent()
    _hide_package()
    from pyosys import libyosys  # noqa: PLC0415 - importing it starts Yosys

    design = libyosys.Design()
    for command in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        if command == MERGE:
            while _merge(libyosys, design):
                pass
        else:
            libyosys.run_pass(command, design)


def _hide_package() -> None:
    """Keep the name of its own folder from Yosys, which hands it to a shell; the current folder has a plain path."""
    spec = find_spec("pyosys")
    places = (spec and spec.submodule_search_locations) or []
    if places and not PLAIN_PATH.fullmatch(places[0]):
        Path("packages").mkdir()
        Path("packages", "pyosys").symlink_to(places[0])
        sys.path.insert(0, str(Path("packages").absolute()))


def die_with_parent() -> None:
    """Let the kernel end this process when the one that started it dies, however it dies (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):
            os._exit(1)  # it died before we asked the kernel


def _merge(libyosys: Any, design: Any) -> bool:
    """Let one module stand for all that differ in nothing but names; return whether there were any.

    The front end makes a module of every instance when it keeps the hierarchy, so that a lane would be mapped
    as often as there are lanes.
    """
    libyosys.run_pass("tee -q -o modules.txt dump", design)
    text = Path("modules.txt").read_text(encoding="utf-8", errors="replace")
    first: dict[str, str] = {}
    merged = False
    for found in re.finditer(r"^module (\S+)\n(.*?)^end$", text, re.MULTILINE | re.DOTALL):
        name, body = found.group(1).removeprefix("\\"), _renumbered(found.group(2))
        stands = first.setdefault(f"{name.split('$', 1)[0]}\n{body}", name)
        if stands != name:
            libyosys.run_pass(f"chtype -set \\{stands} t:{_quoted(name)}", design)
            libyosys.run_pass(f"delete {_quoted(name)}", design)
            merged = True
    return merged


def _renumbered(body: str) -> str:
    """Number Yosys' automatic names in the order of their appearance: they count over the whole design."""
    numbers: dict[str, int] = {}
    return _AUTO_NAME.sub(lambda name: f"${numbers.setdefault(name.group(), len(numbers))}", body)


def _quoted(name: str) -> str:
    """Write a module name as a pattern that matches only it (brackets are wildcards in Yosys' selections)."""
    return re.sub(r"[\[\]*?\\]", lambda character: f"\\{character.group()}", name)


if __name__ == "__main__":
    main()
