# SPDX-License-Identifier: Apache-2.0
"""Run Yosys (the `pyosys` package with its slang front end for SystemVerilog 2017) in a process of its own."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from intarsia.errors import IntarsiaError
from intarsia.files import sha256
from intarsia.processes import run_tool
from intarsia.synthesize.tools import cached, fingerprint, plain_folder, tool_version

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_ERROR = re.compile(r"(?:^|: )(?:fatal )?error: ", re.IGNORECASE)
_WORKER = Path(__file__).with_name("_worker.py")


@dataclass(frozen=True)
class Design:
    """One SystemVerilog design to synthesize.

    Attributes:
        sources: SystemVerilog files; each module in one of them. Base names differ, without spaces.
        top: name of the module to elaborate.
        parameters: values of its parameters (integers); those not named keep their defaults.
    """

    sources: tuple[Path, ...]
    top: str
    parameters: Mapping[str, int] = field(default_factory=dict)

    def read_command(self, *options: str) -> str:
        """Return the Yosys command that reads the design (file names relative to the folder of the run).

        Raises:
            IntarsiaError: a name is not an identifier, or a file name has characters a command cannot carry.
        """
        for name in (self.top, *self.parameters):
            if not _NAME.fullmatch(name):
                raise IntarsiaError(f"{name!r} is no SystemVerilog identifier; correct the module or parameter name.")
        for source in self.sources:
            _require_plain(source)
        values = [f"-G {name}={int(value)}" for name, value in sorted(self.parameters.items())]
        files = [source.name for source in self.sources]
        return " ".join(["read_slang --threads 1 --top", self.top, *options, *values, *files])


def _require_plain(path: Path) -> None:
    if not _FILE.fullmatch(path.name):
        raise IntarsiaError(f"the source file name {path.name!r} has unusual characters; rename the file.")


def run_yosys(
    commands: Sequence[str],
    *,
    inputs: Sequence[Path],
    outputs: Sequence[str],
    cache: Path | None = None,
    timeout_s: float = 600.0,
) -> dict[str, str]:
    """Run Yosys commands in an empty folder and return the text of the files they wrote.

    Args:
        commands: passes in order. They name inputs by their base names and write outputs to the current folder.
        inputs: files the commands read; linked into the folder.
        outputs: names of the files to return.
        cache: folder where results are kept by a hash of commands, inputs, Yosys' version and the worker that runs it;
            None: not kept.
        timeout_s: time limit in seconds.

    Returns:
        Text of each output by its name.

    Raises:
        IntarsiaError: pyosys is missing, the time is over, or a command failed (with Yosys' first error line).
    """
    for path in inputs:
        _require_plain(path)
    key = {
        "tool": f"pyosys {tool_version('pyosys')}",
        "commands": list(commands),
        "inputs": fingerprint(inputs),
        "outputs": list(outputs),
        "worker": sha256(_WORKER),
    }
    return cached(cache, key, lambda: _run(commands, inputs, outputs, timeout_s))


def _run(commands: Sequence[str], inputs: Sequence[Path], outputs: Sequence[str], timeout_s: float) -> dict[str, str]:
    with plain_folder("intarsia-yosys-") as name:
        folder = Path(name)
        for path in inputs:
            (folder / path.name).symlink_to(path.resolve())
        job = folder / "job.json"
        job.write_text(json.dumps(list(commands)), encoding="utf-8")
        # -P: the modules beside the worker must not hide those of the library
        arguments = [sys.executable, "-P", str(_WORKER), job.name]
        status, log = run_tool("Yosys", arguments, folder=folder, timeout_s=timeout_s)
        if status:
            # a pass under `tee -q` leaves its error in its file only
            log += "\n".join(_read(path) for path in map(folder.joinpath, outputs) if path.exists())
            raise IntarsiaError(f"Yosys failed: {first_error(log)}")
        return {output: _read(folder / output) for output in outputs}


def _read(path: Path) -> str:
    """Return what Yosys wrote; names in it may come from a library in any encoding."""
    return path.read_text(encoding="utf-8", errors="replace")


def first_error(log: str) -> str:
    """Return the first line of a tool's log that reports an error, else its last line that is not blank."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    for line in lines:
        if _ERROR.search(line):
            return line
    return lines[-1] if lines else "it ended without a message"
