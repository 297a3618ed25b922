# SPDX-License-Identifier: Apache-2.0
"""Building the engine with Verilator, from its RTL or from a netlist."""

import shutil
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from intarsia.engine.config import EngineConfig
from intarsia.engine.sources import TOP, write_sources
from intarsia.simulate.builder import Design, build_library, check_tools, verilator_root

__all__ = ["LIBRARY", "build", "check_tools", "verilator_root"]

LIBRARY = "libengine.so"
#: Options for a netlist: it has no lines that people wrote, and no assertions; its memories cannot be looked into.
_OF_NETLIST = ("-Wno-fatal", "-Wno-lint", "-Wno-style", "-Wno-SPECIFYIGN", "-CFLAGS", "-DNETLIST")
#: The folder of the engine's sources in that of a build; their lint waivers name files in a folder.
_RTL = "rtl"


def build(
    config: EngineConfig, cache: Path | None = None, *, cover: bool = False, netlist: Sequence[Path] = ()
) -> Path:
    """Return the shared library of the engine with these parameters, building it if it is not in the cache.

    With `cover` it counts how often each cover point of the RTL is met, which makes it slower. With `netlist`, Verilog
    files of the mapped engine and of its cells, it is made of them instead of the RTL.

    Raises:
        IntarsiaError: a tool is missing, or the build fails.
    """
    harness = Path(str(files("intarsia.simulate") / "harness.cpp"))
    observe = Path(str(files("intarsia.simulate") / "observe.vlt"))

    def write(folder: Path) -> list[Path]:
        engine = [Path(shutil.copy(path, folder)) for path in netlist]
        if not engine:
            engine = [Path(shutil.copy(observe, folder)), *write_sources(folder / _RTL)]
        return [*engine, Path(shutil.copy(harness, folder))]

    # -O1 of the C++ compiler: the engine runs as fast as with -O3, and is built sooner.
    design = Design(
        TOP,
        LIBRARY,
        write,
        _OF_NETLIST if netlist else _of_rtl(config),
        kinds=("--coverage-user",) if cover else (),
    )
    return build_library(design, cache)


def _of_rtl(config: EngineConfig) -> list[str]:
    """Return the options for the RTL with these parameters."""
    return [
        *("-Wall", "--assert"),
        *(f"-G{name}={value}" for name, value in config.module_parameters().items()),
        *("-CFLAGS", f"-DBANKS={config.act_banks} -DBLOCK={config.block}"),
        f"{_RTL}/intarsia.vlt",
    ]
