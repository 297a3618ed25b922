# SPDX-License-Identifier: Apache-2.0
"""The accelerator: its parameters and its sources."""

import json
import zlib
from importlib.resources import files
from pathlib import Path

from intarsia.engine.config import EngineConfig
from intarsia.engine.layout import FIELD_BITS
from intarsia.engine.sources import require_same, write_sources
from intarsia.files import write_text

TOP = "intarsia_accelerator"
#: Sources in an order that compiles.
_SOURCES = (
    *("intarsia_registers_pkg.sv", "intarsia_registers.sv", "intarsia_fifo.sv", "intarsia_dma.sv"),
    *("intarsia_accelerator.sv", "intarsia_axi_lite.sv"),
)
#: Lint waivers of Verilator for engine and accelerator.
WAIVERS = ("intarsia.vlt", "accelerator.vlt")


def fingerprint(config: EngineConfig) -> int:
    """Return what tells one build of the engine from another: a CRC of its parameters and of the descriptor's fields.

    A program runs only on the build that it was compiled for; the accelerator compares.
    """
    described = json.dumps([config.module_parameters(), FIELD_BITS], sort_keys=True)
    return zlib.crc32(described.encode()) >> 1  # 31 bits: some tools take no larger parameter


def module_parameters(config: EngineConfig) -> dict[str, int]:
    """Return the parameters of the SystemVerilog module `intarsia_accelerator`."""
    return {"Build": fingerprint(config), **config.module_parameters()}


def rtl_folder() -> Path:
    """The folder of the accelerator's own sources."""
    return Path(str(files("intarsia.system") / "rtl"))


def write_accelerator(folder: Path) -> list[Path]:
    """Copy the sources of accelerator and engine into `folder`; return them in an order that compiles.

    Raises:
        IntarsiaError: as `intarsia.engine.sources.write_sources`.
    """
    own = {name: (rtl_folder() / name).read_text(encoding="utf-8") for name in (*_SOURCES, WAIVERS[1])}
    for name, content in own.items():
        require_same(folder / name, content)
    sources = write_sources(folder)
    for name, content in own.items():
        write_text(folder / name, content)
    return [*sources, *(folder / name for name in _SOURCES)]
