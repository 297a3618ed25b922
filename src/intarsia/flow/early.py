# SPDX-License-Identifier: Apache-2.0
"""Checks before any work: a mistake should not cost the hours of a training before it is reported."""

from collections.abc import Collection, Sequence

from intarsia.cache import default_cache
from intarsia.datasets import require_folder
from intarsia.files import require_writable
from intarsia.flow.float_networks import require_device
from intarsia.flow.settings import Settings
from intarsia.flow.task import Result, Task


def require_possible(settings: Settings, tasks: Sequence[Task[Result]], done: Collection[str] = ()) -> None:
    """Refuse a run that is sure to fail at a later stage.

    Args:
        settings: of the run.
        tasks: what it consists of.
        done: tasks that need not run again, as `STAGE/NAME`.

    Raises:
        IntarsiaError: the folder cannot be written, the data or the device is not there, or what the simulation is
            built with.
    """
    require_writable(settings.folder, "choose another folder with --out")
    if settings.model is None and settings.data_dir is not None:
        require_folder(settings.benchmark.dataset, settings.data_dir)
    waiting = {task.stage for task in tasks if task.id not in done}
    if settings.device != Settings.device and "quantize" in waiting:
        require_device(settings.device)
    if "simulate" in waiting:
        _require_simulation()


def _require_simulation() -> None:
    from intarsia.simulate.verilator import check_tools  # noqa: PLC0415 (heavy only where it is used)

    check_tools()
    require_writable(default_cache(), "set INTARSIA_CACHE to a writable folder")
