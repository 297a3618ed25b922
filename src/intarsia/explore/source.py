# SPDX-License-Identifier: Apache-2.0
"""What a study needs in addition to its space: the float network, from a run of the flow up to its first stage, and a
library of SRAM macros for the energy of memories.
"""

import hashlib
import time
from pathlib import Path

from intarsia.errors import IntarsiaError
from intarsia.explore.jobs import StudyIdentity
from intarsia.explore.space import DesignSpace
from intarsia.flow import Settings, run_stage
from intarsia.flow.data import data_identity, float_record
from intarsia.flow.names import named
from intarsia.flow.scheduler import FolderBusyError
from intarsia.report.metrics import ENERGY, MEMORY_ENERGY
from intarsia.synthesize.pdk import Pdk, load_pdk, pdk_root

_PATIENCE = 600.0  # seconds that another process may take to make the float network


def settings_of(network: str, folder: Path, data_dir: Path | None, *, device: str = "cpu") -> Settings:
    """Return the settings of a network's run.

    Args:
        network: a name, or the file of a float network.
        folder: where runs go; the network's is inside.
        data_dir: folder of data sets, or a user's own data.
        device: where PyTorch trains.

    Raises:
        IntarsiaError: there is no such network, or a file has the name of a built-in one.
    """
    name, model = named(network)
    return Settings(name, folder / name, model=model, data_dir=data_dir, device=device, synthesis=False)


def identity(settings: Settings, space: DesignSpace) -> StudyIdentity:
    """Return what all evaluations of a study must agree in; the float network must be there.

    Raises:
        IntarsiaError: the data is not there, or an objective needs SRAM macros and there are none.
    """
    macros = ""
    if _wanted(space) and (library := cell_library(space)) is not None:
        cells = [(cell.name, cell.area_um2, cell.read_pj, cell.write_pj) for cell in library.srams]
        macros = hashlib.sha256(repr(cells).encode()).hexdigest()
    return StudyIdentity(
        float_network=tuple(sorted(float_record(settings).files.values())),
        data=data_identity(settings, ("train", "validation")),
        sram_library=macros,
    )


def cell_library(space: DesignSpace) -> Pdk | None:
    """Return the cell library (`pdk_root`), for the energy of memories; None where there is none and no objective
    needs it.

    Raises:
        IntarsiaError: an objective needs the library, and it is not given, missing or damaged.
    """
    needed, root = bool(_wanted(space)), pdk_root()
    if root is None and needed:
        raise IntarsiaError(
            f"the objective {_wanted(space)} needs a library of SRAM macros; fetch it with `intarsia pdk`, give "
            "its folder with PDK_ROOT, or leave the objective out."
        )
    try:
        return None if root is None else load_pdk(root)
    except IntarsiaError:
        if needed:
            raise
        return None  # PDK_ROOT may be there for other tools


def _wanted(space: DesignSpace) -> str:
    """Return the first objective that needs the library, an empty text without one."""
    return next((name for name in space.objectives if name in (MEMORY_ENERGY.name, ENERGY.name)), "")


def ready(settings: Settings) -> None:
    """Make the float network if it is not there; wait where another process is at it.

    Raises:
        IntarsiaError: it cannot be made.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            run_stage(settings, "train", say=lambda _: None)
        except FolderBusyError as error:
            if time.monotonic() > deadline:
                raise IntarsiaError(str(error)) from error
            time.sleep(0.5)
        else:
            return
