# SPDX-License-Identifier: Apache-2.0
"""Building the simulation: missing tools, illegal parameters in the hardware, wrong images."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from intarsia.engine import EngineConfig, compile_network
from intarsia.engine.sources import write_sources
from intarsia.engine.units import Dense, MixedRows, SumTogether, Superposition, Unit
from intarsia.errors import IntarsiaError
from intarsia.simulate import SimulatedEngine
from intarsia.simulate.verilator import LIBRARY, build, verilator_root
from patience import wait_for
from random_networks import random_layer_network
from rtl_bench import verilator


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
    "parameters",
    [
        {"Unit": 9},
        {"Lanes": 12},
        {"Slots": 5},
        {"SlotBits": 9},
        {"Positions": 3},
        {"AccBits": 49},
        {"Unit": 3, "RequantLanes": 16},
        {"Unit": 3, "AccBits": 32},
        {"AccSlots": 1},
        {"RequantLanes": 3},
        {"ScaleBits": 1},
        {"Unit": 2, "Lanes8": 9, "Lanes4": 8},
        {"Unit": 2, "AccBits": 18},
    ],
    ids=str,
)
def test_illegal_parameters_stop_elaboration(parameters: dict[str, int], tmp_path: Path) -> None:
    sources = write_sources(tmp_path)
    root = verilator_root()
    command = [str(root / "bin" / "verilator"), "--lint-only", "--top-module", "intarsia_engine"]
    done = subprocess.run(
        [*command, *(f"-G{name}={value}" for name, value in parameters.items()), *map(str, sources)],
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


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to see which tools are at work")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_build_that_is_ended_leaves_no_compiler_at_work(tmp_path: Path, number: signal.Signals) -> None:
    code = f"""
import signal
from pathlib import Path
from intarsia.engine import EngineConfig
from intarsia.simulate.verilator import build
signal.signal(signal.SIGINT, signal.default_int_handler)
build(EngineConfig(lanes=8, block=8), Path({str(tmp_path)!r}))
"""

    def at_work() -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(tmp_path):
                    found.append((entry / "comm").read_text().strip())
        return found

    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    wait_for(lambda: "cc1plus" in at_work() or process.poll() is not None, every=0.01)
    assert process.poll() is None
    process.send_signal(number)
    process.wait()
    wait_for(lambda: not at_work(), every=0.01)
    assert not list(tmp_path.glob(f"simulate/*/{LIBRARY}"))


@pytest.mark.parametrize(
    "unit",
    [Superposition(2, 5, 2), Superposition(1, 4, 1, "fixed", (3,)), Dense(4, digits=True), MixedRows(), SumTogether()],
)
def test_lanes_and_arrays_take_the_parameters_that_their_unit_gives(unit: Unit, tmp_path: Path) -> None:
    """Those of one lane are what is routed on an FPGA: a parameter that it does not have once stopped that."""
    sources = [str(path) for path in write_sources(tmp_path)]
    shell = {"Block": 16, "AccBits": 40, "AccSlots": 6}
    for top, values in ((unit.lane, unit.lane_parameters()), (unit.array, unit.array_parameters() | {"Lanes": 16})):
        given = [f"-G{name}={value}" for name, value in (shell | values).items()]
        done = verilator(tmp_path, "--lint-only", "--top-module", top, *given, *sources)
        assert done.returncode == 0, done.stderr
