# SPDX-License-Identifier: Apache-2.0
"""Where the cache is, and that nothing damaged in it is used."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import intarsia
from intarsia.cache import default_cache, is_whole, keep, seal
from intarsia.errors import IntarsiaError


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.delenv("INTARSIA_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


@pytest.mark.parametrize("base", [None, "", "relative/cache"])
def test_without_a_valid_xdg_folder_the_cache_is_in_the_home(
    bare: pytest.MonkeyPatch, tmp_path: Path, base: str | None
) -> None:
    if base is not None:
        bare.setenv("XDG_CACHE_HOME", base)
    assert default_cache() == tmp_path / ".cache" / "intarsia"


def test_the_cache_is_where_the_variables_say(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "intarsia"
    bare.setenv("INTARSIA_CACHE", "")
    assert default_cache() == tmp_path / "xdg" / "intarsia"
    bare.chdir(tmp_path)
    bare.setenv("INTARSIA_CACHE", "own")
    assert default_cache() == tmp_path / "own"  # tools are started elsewhere


def test_a_user_without_a_home_is_told_what_to_set() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become a user that does not exist")
    code = """
import os
from intarsia.cache import default_cache
from intarsia.errors import IntarsiaError
for name in ("HOME", "XDG_CACHE_HOME", "INTARSIA_CACHE"):
    os.environ.pop(name, None)
os.setuid(54321)
try:
    default_cache()
except IntarsiaError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "there is no home folder to keep results in; set INTARSIA_CACHE to a folder.\n"


def test_one_place_decides_where_the_cache_is() -> None:
    source = Path(intarsia.__file__).parent
    asks = re.compile(r"Path\.home\(|expanduser|environ[^\n]*(XDG_CACHE_HOME|INTARSIA_CACHE)")
    found = [path.name for path in source.rglob("*.py") if asks.search(path.read_text(encoding="utf-8"))]
    assert found == ["cache.py"]


def sealed(folder: Path) -> Path:
    (folder / "inner").mkdir(parents=True)
    (folder / "library.so").write_bytes(b"\x7fELF" + bytes(1000))
    (folder / "inner" / "part").write_bytes(b"part")
    seal(folder)
    return folder


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda folder: os.truncate(folder / "library.so", 100),
    "empty": lambda folder: os.truncate(folder / "library.so", 0),
    "changed": lambda folder: (folder / "inner" / "part").write_bytes(b"trap"),
    "missing": lambda folder: (folder / "library.so").unlink(),
    "another file": lambda folder: (folder / "more").touch(),
    "no sums": lambda folder: (folder / "sums.json").unlink(),
    "half of the sums": lambda folder: os.truncate(folder / "sums.json", 20),
    "sums that are a list": lambda folder: (folder / "sums.json").write_text("[]"),
    "no folder": shutil.rmtree,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_not_whole(tmp_path: Path, damage: str) -> None:
    folder = sealed(tmp_path / "kept")
    assert is_whole(folder)
    DAMAGES[damage](folder)
    assert not is_whole(folder)


@pytest.mark.parametrize("before", ["nothing", "a file", "a folder", "a link"])
def test_what_is_kept_takes_the_place_of_whatever_is_there(tmp_path: Path, before: str) -> None:
    target, other = tmp_path / "kept", sealed(tmp_path / "other")
    if before == "a file":
        target.write_text("half")
    elif before == "a folder":
        sealed(target)
        (target / "more").touch()
    elif before == "a link":
        target.symlink_to(other)
    keep(sealed(tmp_path / "made"), target)
    assert is_whole(target)
    assert is_whole(other)
    assert not (tmp_path / "made").exists()


def test_an_unreadable_cache_is_a_sentence(tmp_path: Path, bare: pytest.MonkeyPatch) -> None:
    from intarsia.engine import EngineConfig  # noqa: PLC0415
    from intarsia.simulate.verilator import build  # noqa: PLC0415

    (tmp_path / "file").touch()
    bare.setenv("INTARSIA_CACHE", str(tmp_path / "file"))
    with pytest.raises(IntarsiaError, match="INTARSIA_CACHE"):
        build(EngineConfig())
