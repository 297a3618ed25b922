# SPDX-License-Identifier: Apache-2.0
"""The accelerator's registers: `rtl/registers.rdl` is their one declaration (SystemRDL 2.0); PeakRDL makes the rest.

    python -m intarsia.system.registers --page docs/registers.md

writes the register block and its package in SystemVerilog, the C header of the driver, `ADDRESSES` and `FIELDS` for
Python (`_registers.py`), and the page. All are kept in the repository: only who changes a register needs PeakRDL.
"""

import argparse
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from intarsia.errors import IntarsiaError
from intarsia.files import write_text
from intarsia.packages import require
from intarsia.processes import run_tool
from intarsia.text import escaped

if TYPE_CHECKING:
    from systemrdl.node import FieldNode, RegNode

_SPDX = "SPDX-License-Identifier: Apache-2.0"
_MADE = "Made of registers.rdl by `python -m intarsia.system.registers`; do not edit."
_HEADER = Path("firmware/intarsia_registers.h")
_PYTHON = Path("_registers.py")
#: C11 without <assert.h>, and C++.
_ASSERTION = """
#ifdef __cplusplus
#define INTARSIA_STATIC_ASSERT static_assert
#else
#define INTARSIA_STATIC_ASSERT _Static_assert
#endif
INTARSIA_STATIC_ASSERT("""


def generate() -> dict[Path, str]:
    """Return all that is made of the declaration: file contents, by their place in this package.

    Raises:
        IntarsiaError: PeakRDL is missing, or the declaration has an error.
    """
    require("peakrdl", "dev")
    declaration = Path(str(files("intarsia.system") / "rtl/registers.rdl"))
    with TemporaryDirectory(prefix="intarsia-registers-") as name:
        folder = Path(name)
        checks = ("--err-if-bad-addr", "--err-if-bad-rw")
        _peakrdl(folder, "regblock", declaration, "--cpuif", "passthrough", "--default-reset", "arst_n", *checks)
        _peakrdl(folder, "c-header", declaration, output="intarsia_registers.h")
        made = {
            Path("rtl") / source: _headed((folder / source).read_text(encoding="utf-8"), "// ")
            for source in ("intarsia_registers_pkg.sv", "intarsia_registers.sv")
        }
        made[_HEADER] = _headed(_freestanding((folder / "intarsia_registers.h").read_text(encoding="utf-8")), "// ")
    return made | {_PYTHON: _python(declaration)}


def _peakrdl(folder: Path, command: str, declaration: Path, *options: str, output: str = ".") -> None:
    arguments = [sys.executable, "-m", "peakrdl", command, str(declaration), "-o", output, *options]
    status, log = run_tool("PeakRDL", arguments, folder=folder, timeout_s=120.0)
    if status:
        raise IntarsiaError(f"PeakRDL failed: {log.strip().splitlines()[0] if log.strip() else 'no output'}.")


def _freestanding(header: str) -> str:
    """Return a C header without what a program without a C library lacks, and whose registers are whole words: a packed
    structure would be read byte by byte.
    """
    for old, new in (
        ("#include <assert.h>\n", ""),
        ("\nstatic_assert(", _ASSERTION),
        ("struct __attribute__ ((__packed__))", "struct"),
    ):
        if old not in header:
            raise IntarsiaError(
                f"PeakRDL's header has no {old.strip()}; adapt intarsia.system.registers to its version."
            )
        header = header.replace(old, new)
    return header


def _headed(text: str, comment: str) -> str:
    return f"{comment}{_SPDX}\n{comment}{_MADE}\n{text}"


def _python(declaration: Path) -> str:
    """Return the module of addresses and fields."""
    registers = _declared(declaration)
    addresses: Mapping[str, int] = {node.inst_name: node.absolute_address for node in registers}
    lines = [
        f"# {_SPDX}",
        f'"""{_MADE}"""',
        "",
        "#: Byte address of each register.",
        "ADDRESSES = {",
        *(f'    "{name}": 0x{address:02X},' for name, address in addresses.items()),
        "}",
        "#: Lowest and highest bit of each field.",
        "FIELDS = {",
    ]
    for node in registers:
        fields = [f'        "{field.inst_name}": ({field.low}, {field.high}),' for field in node.fields()]
        lines += [f'    "{node.inst_name}": {{', *fields, "    },"]
    return "\n".join([*lines, "}", ""])


def _declared(declaration: Path) -> list["RegNode"]:
    from systemrdl.compiler import RDLCompiler  # noqa: PLC0415 (only who changes a register needs it)
    from systemrdl.node import RegNode  # noqa: PLC0415

    compiler = RDLCompiler()
    compiler.compile_file(str(declaration))
    return [node for node in compiler.elaborate().top.children() if isinstance(node, RegNode)]


def page() -> str:
    """Return docs/registers.md.

    Raises:
        IntarsiaError: PeakRDL is missing.
    """
    require("peakrdl", "dev")
    registers = _declared(Path(str(files("intarsia.system") / "rtl/registers.rdl")))
    lines = [*_PAGE_HEAD, "| offset | register | |", "|---|---|---|"]
    for register in registers:
        name = register.inst_name
        lines.append(f"| 0x{register.absolute_address:02X} | [{name}](#{name.lower()}) | {_title(register)} |")
    for register in registers:
        lines += ["", f"## {register.inst_name}", "", f"{_title(register)}.", ""]
        lines += ["| bits | field | access | after reset | |", "|---|---|---|---|---|"]
        lines += [_field_row(field) for field in reversed(list(register.fields()))]
    return "\n".join([*lines, ""])


_PAGE_HEAD = (
    "# Registers of the accelerator",
    "",
    "Made of `src/intarsia/system/rtl/registers.rdl` by",
    "`python -m intarsia.system.registers --page docs/registers.md`. How the accelerator is built in and driven:",
    "[in a system](system.md).",
    "",
)


def _title(node: "RegNode") -> str:
    return str(node.get_property("name"))


def _field_row(node: "FieldNode") -> str:
    bits = str(node.low) if node.low == node.high else f"{node.high}:{node.low}"
    write = "write" if node.is_sw_writable else ""
    if node.get_property("onwrite") is not None:
        write = "write 1 to clear"
    if node.get_property("singlepulse"):
        write = "write 1"
    access = ", ".join(text for text in ("read" if node.is_sw_readable else "", write) if text)
    reset = node.get_property("reset")
    shown = f"0x{reset:X}" if isinstance(reset, int) else "–"
    return f"| {bits} | {node.inst_name} | {access} | {shown} | {node.get_property('desc') or ''} |"


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, metavar="FILE.md", help="also write the page there")
    options = parser.parse_args()
    for place, content in generate().items():
        target = Path(str(files("intarsia.system"))) / place
        target.parent.mkdir(exist_ok=True)
        write_text(target, content)
        print(escaped(str(target)))
    if options.page is not None:
        write_text(options.page, page())


if __name__ == "__main__":
    main()
