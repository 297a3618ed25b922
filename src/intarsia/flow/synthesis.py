"""The stage that synthesizes: area of the engine and of lane arrays, and an FPGA."""

from collections.abc import Mapping
from typing import Any

from intarsia.flow.settings import Settings
from intarsia.flow.task import Record, Task
from intarsia.report.data import Area, Comparison, Fpga


def synthesis_tasks(settings: Settings, key: dict[str, Any]) -> list[Task]:
    """Return the tasks of the stage."""
    return []


def collect_synthesis(
    settings: Settings, records: Mapping[str, Record]
) -> tuple[tuple[Area, ...], tuple[Comparison, ...], tuple[Fpga, ...]]:
    """Return what the stage found."""
    return (), (), ()
