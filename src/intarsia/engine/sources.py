# SPDX-License-Identifier: Apache-2.0
"""Where the engine's SystemVerilog is, and how it is written out with its generated package."""

from importlib.resources import files
from pathlib import Path

from intarsia.engine.layout import systemverilog_package
from intarsia.files import write_text

TOP = "intarsia_engine"


def rtl_folder() -> Path:
    """The folder of the hand-written sources."""
    return Path(str(files("intarsia.engine") / "rtl"))


def write_sources(folder: Path) -> list[Path]:
    """Copy all sources into `folder`, the generated package first; return them in an order that compiles.

    Raises:
        IntarsiaError: the folder cannot be written.
    """
    package = folder / "intarsia_pkg.sv"
    write_text(package, systemverilog_package())
    written = [package]
    for source in sorted(rtl_folder().glob("*.sv")):
        target = folder / source.name
        write_text(target, source.read_text(encoding="utf-8"))
        written.append(target)
    write_text(folder / "intarsia.vlt", (rtl_folder() / "intarsia.vlt").read_text(encoding="utf-8"))
    return written
