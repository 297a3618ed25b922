# SPDX-License-Identifier: Apache-2.0
"""The system's SystemVerilog: its own modules, the accelerator, the engine, and the core from its package."""

import shutil
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from intarsia.engine.sources import rtl_folder
from intarsia.files import write_text
from intarsia.packages import missing
from intarsia.system.accelerator import write_accelerator
from intarsia.system.layout import Core

TOP = "intarsia_soc"
WAIVERS = "intarsia_soc.vlt"
#: Folders in that of `write_system`.
_SYSTEM, _ENGINE, _CORE = "soc", "rtl", "core"
_PACKAGES = {"picorv32": "pythondata_cpu_picorv32", "ibex": "pythondata_cpu_ibex"}
#: Of Ibex, packages first. Memory protection, cache and lockstep are not used.
_IBEX = (
    "rtl/ibex_pkg.sv",
    *(
        f"rtl/ibex_{name}.sv"
        for name in (
            *("alu", "branch_predict", "compressed_decoder", "controller", "core", "counter", "cs_registers", "csr"),
            *("decoder", "dummy_instr", "ex_block", "fetch_fifo", "id_stage", "if_stage", "load_store_unit"),
            *("multdiv_fast", "multdiv_slow", "prefetch_buffer", "register_file_fpga", "wb_stage"),
        )
    ),
)
#: What Ibex's sources include.
_IBEX_HEADERS = (
    *(
        f"vendor/lowrisc_ip/ip/prim/rtl/prim_assert{name}"
        for name in (".sv", "_dummy_macros.svh", "_standard_macros.svh", "_yosys_macros.svh", "_sec_cm.svh")
    ),
    "vendor/lowrisc_ip/ip/prim/rtl/prim_flop_macros.sv",
    "vendor/lowrisc_ip/dv/sv/dv_utils/dv_fcov_macros.svh",
)


def system_folder() -> Path:
    """The folder of the system's hand-written sources."""
    return Path(str(files("intarsia.system") / "rtl" / "soc"))


def write_system(folder: Path, core: Core, *, accelerator: Sequence[Path] | None = None) -> list[Path]:
    """Copy all sources of the system into `folder`; return those to compile, in an order that compiles.

    Files that others include go to its folder `core`. The folder must be empty.

    Args:
        folder: where they go.
        core: the processor.
        accelerator: files of the module intarsia_accelerator and of what it instantiates; None: with the engine.

    Raises:
        IntarsiaError: the package of the core is missing.
    """
    if accelerator is None:
        parts = write_accelerator(folder / _ENGINE)
    else:
        parts = _copied([rtl_folder() / "intarsia_memory.sv", *accelerator], folder / _ENGINE)
    cores = _copied(_core_sources(core), folder / _CORE)
    if core == "ibex":
        _copied([_package("ibex") / name for name in _IBEX_HEADERS], folder / _CORE)
        cores = [_directive(folder, "define"), *cores, _directive(folder, "undef")]
    own = sorted(path for path in system_folder().glob("*.sv") if path.stem not in _other_cores(core))
    _copied([system_folder() / WAIVERS], folder / _SYSTEM)
    return [*cores, *parts, *_copied(own, folder / _SYSTEM)]


def require_core(core: Core) -> None:
    """Refuse to go on without a core.

    Raises:
        IntarsiaError: its package is missing.
    """
    _package(core)


def _other_cores(core: Core) -> set[str]:
    return {f"intarsia_{name}" for name in _PACKAGES if name != core}


def _core_sources(core: Core) -> list[Path]:
    package = _package(core)
    return [package / name for name in (_IBEX if core == "ibex" else ("picorv32.v",))]


def _package(core: Core) -> Path:
    name = _PACKAGES[core]
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise missing(name.replace("_", "-"), "system")
    return Path(spec.origin).parent / ("verilog" if core == "picorv32" else "system_verilog")


def _directive(folder: Path, directive: str) -> Path:
    """Write a file that defines or undefines SYNTHESIS for the files that follow.

    Ibex's own checks print to the terminal, and reach into modules by fixed names of instances.
    """
    path = folder / _CORE / f"{directive}_synthesis.sv"
    write_text(path, f"`{directive} SYNTHESIS\n")
    return path


def _copied(paths: Sequence[Path], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copy(path, folder)) for path in paths]
