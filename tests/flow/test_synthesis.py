# SPDX-License-Identifier: Apache-2.0
"""What is synthesized in a run is the engine that is fitted to its network."""

from pathlib import Path

import pytest

from intarsia.engine import EngineConfig
from intarsia.engine.units import Superposition
from intarsia.flow import Settings
from intarsia.flow.collect import collect
from intarsia.flow.hardware import FIT
from intarsia.flow.memories import memory_bits_available
from intarsia.flow.results import FittedEngine
from intarsia.flow.stages import all_tasks
from intarsia.flow.synthesis import engine_area
from intarsia.flow.task import Job, Record
from intarsia.report import table

FITTED = EngineConfig(unit=Superposition(1, 4, 2), lanes=8, act_depth=9216)


def test_area_and_memory_are_of_the_fitted_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyosys")
    monkeypatch.delenv("PDK_ROOT", raising=False)
    settings = Settings("digits", tmp_path)
    fit = Record({}, {}, FittedEngine(FITTED), 0.0, {})
    task = next(task for task in all_tasks(settings) if task.id == "synthesize/engine")
    assert task.needs == (FIT,)
    found = engine_area(Job(settings, task, {FIT: fit}, lambda _: None, progress=False), pdk=None)
    [area] = found.areas
    bits = sum(memory_bits_available(FITTED).values())
    assert area.memory_bits == bits
    results, _ = collect(settings, {FIT: fit, task.id: Record({}, {}, found, 0.0, {})})
    assert results.engine == FITTED
    assert results.synthesized == {}
    assert results.energy is None
    assert f"{bits / 8192:,.1f} KiB memory" in table(results)
