# SPDX-License-Identifier: Apache-2.0
"""The accelerator on its buses, in simulation: cocotb tests, all on one build of it."""

from pathlib import Path

import pytest

import accelerator_build


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    accelerator_build.require_simulator()
    folder = tmp_path_factory.mktemp("accelerator")
    accelerator_build.build(folder)
    return folder


@pytest.mark.parametrize("module", ["registers", "runs", "transfers", "unfolding", "axi"])
def test_on_its_buses(simulation: Path, module: str) -> None:
    accelerator_build.run(simulation, f"accelerator_{module}")


def test_damaged_programs(simulation: Path) -> None:
    accelerator_build.run(simulation, "accelerator_faults", assertions=False)


def test_assertions_end_a_simulation_that_breaks_the_rules_of_a_bus(simulation: Path) -> None:
    with pytest.raises((RuntimeError, AssertionError, SystemExit)):
        accelerator_build.run(simulation, "accelerator_protocol")
    log = (simulation / "accelerator_protocol" / "log").read_text(encoding="utf-8")
    assert "took back a request before it was granted" in log
