# SPDX-License-Identifier: Apache-2.0
"""Tools that are started: none of them outlives what it was started for."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from intarsia.errors import IntarsiaError
from intarsia.processes import TimeOverError, run_tool
from patience import wait_for

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to see which tools are at work")

#: A tool that starts another one, as make does, says so, and waits for it.
FAMILY = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(1000)",
    sys.argv[1]])
child.wait()
"""


def mentioning(path: Path) -> list[int]:
    """The processes whose command line names a path."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(os.fsencode(path) in word for word in words):
                found.append(int(entry.name))
    return found


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_whatever_ends_us_ends_a_tool_and_its_children(tmp_path: Path, number: signal.Signals) -> None:
    sign = tmp_path / "sign-of-life"
    code = f"""
import signal, sys
from pathlib import Path
from intarsia.processes import run_tool
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup
run_tool("it", [sys.executable, "-c", {FAMILY!r}, {str(sign)!r}], folder=Path(), timeout_s=1000.0)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    wait_for(sign.exists, every=0.01)
    process.send_signal(number)
    process.wait()
    wait_for(lambda: not mentioning(sign), every=0.01)


@linux
def test_an_error_while_a_tool_is_at_work_ends_it(tmp_path: Path) -> None:
    sign = tmp_path / "sign-of-life"

    class AlarmError(Exception):
        pass

    def raise_it(*_: object) -> None:
        raise AlarmError

    before = signal.signal(signal.SIGUSR1, raise_it)
    watcher = f"import os, signal, time\nwhile not os.path.exists({str(sign)!r}): time.sleep(0.01)\n"
    watcher += f"os.kill({os.getpid()}, signal.SIGUSR1)"
    waiting = subprocess.Popen([sys.executable, "-c", watcher])
    try:
        with pytest.raises(AlarmError):
            run_tool("it", [sys.executable, "-c", FAMILY, str(sign)], folder=tmp_path, timeout_s=1000.0)
    finally:
        signal.signal(signal.SIGUSR1, before)
        waiting.wait()
    wait_for(lambda: not mentioning(sign), every=0.01)


@linux
def test_time_that_is_over_ends_a_tool_and_its_children(tmp_path: Path) -> None:
    sign = tmp_path / "sign-of-life"
    with pytest.raises(TimeOverError, match=r"it did not finish within 2 s"):
        run_tool("it", [sys.executable, "-c", FAMILY, str(sign)], folder=tmp_path, timeout_s=2.0)
    wait_for(lambda: not mentioning(sign), every=0.01)


def test_status_output_folder_and_variables_are_the_tools(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd(), os.environ['WORD'], sys.stdin.read()); sys.exit(7)"
    status, output = run_tool(
        "it", [sys.executable, "-c", code], folder=tmp_path, timeout_s=1000.0, environment={"WORD": "said"}
    )
    assert (status, output) == (7, f"{tmp_path} said \n")
    (tmp_path / "here").symlink_to("/bin/true")
    assert run_tool("it", ["./here"], folder=tmp_path, timeout_s=1000.0) == (0, "")
    killed = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    assert run_tool("it", killed, folder=tmp_path, timeout_s=1000.0)[0] == 128 + 9


def test_a_tool_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match="cannot start it: there is no program nothing-of-this-name"):
        run_tool("it", ["nothing-of-this-name"], folder=tmp_path, timeout_s=1.0)
    with pytest.raises(IntarsiaError, match=r"cannot start it .*: No such file"):
        run_tool("it", [sys.executable], folder=tmp_path / "nowhere", timeout_s=1.0)
