# SPDX-License-Identifier: Apache-2.0
"""Where the engine's SystemVerilog is, and how it is written out with its generated package."""

from importlib.resources import files
from pathlib import Path

from intarsia.engine.layout import systemverilog_package
from intarsia.errors import IntarsiaError, unreadable
from intarsia.files import write_text

TOP = "intarsia_engine"
_WAIVERS = "intarsia.vlt"


def rtl_folder() -> Path:
    """The folder of the hand-written sources."""
    return Path(str(files("intarsia.engine") / "rtl"))


def write_sources(folder: Path) -> list[Path]:
    """Copy all sources into `folder`, the generated package first; return them in an order that compiles.

    Files that are there already must have just this content: they may have been changed by hand.

    Raises:
        IntarsiaError: a file is there with other content (nothing is written then), or the folder cannot be written.
    """
    contents = {"intarsia_pkg.sv": systemverilog_package()}
    contents |= {source.name: source.read_text(encoding="utf-8") for source in sorted(rtl_folder().glob("*.sv"))}
    contents[_WAIVERS] = (rtl_folder() / _WAIVERS).read_text(encoding="utf-8")
    for name, content in contents.items():
        require_same(folder / name, content)
    for name, content in contents.items():
        write_text(folder / name, content)
    return [folder / name for name in contents if name != _WAIVERS]


def require_same(path: Path, content: str, mark: str | None = None) -> None:
    """Refuse to write over a file with other content, unless it holds a mark of what this program makes.

    Raises:
        IntarsiaError: names it.
    """
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreadable(path, error, "choose another folder") from error
    if found != content.encode() and (mark is None or mark.encode() not in found):
        raise IntarsiaError(f"{path} is there with other content; move it away or choose another folder.")
