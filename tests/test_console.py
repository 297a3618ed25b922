# SPDX-License-Identifier: Apache-2.0
"""Text on terminals and in files, whatever the locale and whatever a name holds."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

import intarsia
from hostile import NAMES
from intarsia.files import write_text
from intarsia.integer import file
from intarsia.text import escaped, is_printable
from random_networks import random_layer_network

#: Environments of terminals that lack most signs.
POOR: tuple[Mapping[str, str], ...] = (
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"PYTHONIOENCODING": "iso-8859-1"},
)


def run(*arguments: str | bytes, poor: Mapping[str, str]) -> "subprocess.CompletedProcess[bytes]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "PYTHONIO"))}
    command = [sys.executable, "-m", "intarsia.cli", *arguments]
    return subprocess.run(command, env=environment | dict(poor), capture_output=True, check=False)


@pytest.mark.parametrize("poor", POOR, ids=str)
def test_every_command_prints_on_a_poor_terminal(poor: Mapping[str, str], tmp_path: Path) -> None:
    network, images = tmp_path / "é×.safetensors", tmp_path / "−.npy"
    made = random_layer_network(np.random.default_rng(0))
    file.save(made, network)
    np.save(images, np.zeros((2, *made.input.shape), np.int8))
    for arguments in (["networks"], ["run", "--help"], ["explore", "--help"], ["simulate", "--help"]):
        done = run(*arguments, poor=poor)
        assert (done.returncode, done.stderr) == (0, b"")
    done = run("execute", str(network), "--input", str(images), "--output", str(tmp_path / "…"), poor=poor)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 1
    done = run("run", "no…×·−é", poor=poor)
    assert done.returncode == 2
    assert done.stderr.startswith(b"intarsia: error: there is no network")
    assert done.stderr.count(b"\n") == 1


def test_common_signs_have_plain_letters() -> None:
    done = run("run", "a…b×c−d·e", poor={"PYTHONIOENCODING": "ascii"})
    assert b"'a...bxc-d*e'" in done.stderr


def test_a_file_name_that_is_not_utf8_is_shown_escaped(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\n\x1b[31m.safetensors"
    done = run("compile", name, poor={})
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert rb"/\udcff\n\x1b[31m.safetensors" in done.stderr
    # A file of that name works, and its result is one line too.
    file.save(random_layer_network(np.random.default_rng(0)), Path(os.fsdecode(name)))
    done = run("compile", name, poor={})
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 1
    assert Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n\x1b[31m/program.json")).is_file()


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_what_is_escaped_is_one_printable_line(name: str) -> None:
    assert not is_printable(name)
    shown = escaped(name)
    assert is_printable(shown)
    assert len(shown.splitlines()) == 1
    assert shown.encode().decode() == shown
    assert escaped(shown) == shown


@pytest.mark.parametrize("name", ["conv1", "späť", "層 1", "a×b…", "👩‍🔬", "می‌خواهم", "\u00a0"])
def test_names_in_any_script_stay(name: str) -> None:
    assert is_printable(name)
    assert escaped(name) == name


def test_text_that_is_no_text_is_written_escaped(tmp_path: Path) -> None:
    write_text(tmp_path / "page.html", "é \udcff\n")
    assert (tmp_path / "page.html").read_bytes() == "é \\udcff\n".encode()


def _unclear(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that open text in whatever encoding the locale has."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        words = {word.arg for word in call.keywords}
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        method = isinstance(call.func, ast.Attribute)
        modes = [part.value for part in call.args if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        mode = next((text for text in modes if re.fullmatch(r"[rwax][bt+]*", text)), None)
        text = (method and name in ("read_text", "write_text")) or (
            name in ("open", "fdopen") and "b" not in (mode or "b")
        )
        pipe = words & {"text", "universal_newlines"}
        if (text or pipe) and not words & {"encoding", "force_zip64"}:  # a member of a zip archive is bytes
            yield call.lineno


def test_no_text_depends_on_the_locale() -> None:
    root = Path(intarsia.__file__).parent
    found = {
        f"{path.relative_to(root)}:{line}"
        for path in root.rglob("*.py")
        for line in _unclear(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == set()
