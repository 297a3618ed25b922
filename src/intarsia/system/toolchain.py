# SPDX-License-Identifier: Apache-2.0
"""Compiling C and assembly for the system: from sources to the content of both RAM banks."""

import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from intarsia.cache import default_cache
from intarsia.errors import IntarsiaError
from intarsia.files import require_readable
from intarsia.packages import require
from intarsia.processes import run_tool
from intarsia.system.elf import Elf, Symbol, read_elf
from intarsia.system.layout import CODE_BASE, DATA_BASE, Core, SystemMemory, core_number

Compiler = Literal["zig", "gcc"]

_GCC = "riscv64-unknown-elf-gcc"
#: The first compilation also builds the compiler's own library.
_COMPILE_S = 600.0
_COMMON = (
    *("-std=gnu17", "-ffreestanding", "-fno-sanitize=all", "-nostdlib", "-static"),
    *("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"),
)
#: In version 2.2 of the specification, instructions for CSRs are part of the base; Debian's GCC has no library for an
#: -march that names them. Relaxation (short calls and addresses, set by the linker) is on by default in GCC only.
_TARGETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "zig": ("--target=riscv32-freestanding-none", "-mcpu=generic_rv32+m+c+relax"),
        "gcc": ("-march=rv32imc", "-misa-spec=2.2", "-mabi=ilp32", "-mstrict-align"),
    }
)
#: What follows the sources: division of 64 bits and floating point.
_LIBRARY: Mapping[str, tuple[str, ...]] = MappingProxyType({"zig": ("-rtlib=compiler-rt",), "gcc": ("-lgcc",)})


@dataclass(frozen=True)
class ProgramImage:
    """A compiled program.

    Attributes:
        core: it runs on.
        memory: RAM that it was linked for.
        code: content of the code bank from its base on.
        data: content of the data bank from its base on; variables are not in it, the program sets them itself.
        data_used: bytes of the data bank that constants and variables take; the rest is stack.
        symbols: address and size of each function and variable.
    """

    core: Core
    memory: SystemMemory
    code: bytes = field(repr=False)
    data: bytes = field(repr=False)
    data_used: int
    symbols: Mapping[str, Symbol] = field(repr=False)


def firmware_folder() -> Path:
    """The folder of start-up code, linker script and `platform.h`."""
    return Path(str(files("intarsia.system") / "firmware"))


def compile_program(
    sources: Sequence[Path],
    core: Core,
    *,
    memory: SystemMemory | None = None,
    include: Sequence[Path] = (),
    defines: Mapping[str, str | int] = MappingProxyType({}),
    compiler: Compiler = "zig",
    optimize: str = "-O2",
    stack_bytes: int = 4096,
    cache: Path | None = None,
) -> ProgramImage:
    """Compile C and assembly sources, with the start-up code and `platform.h`, into a program.

    Args:
        sources: `.c` and `.S` files; one of them defines main.
        core: it is to run on.
        memory: RAM of the system; None for the default sizes.
        include: folders of headers.
        defines: macros.
        compiler: "zig" (the package ziglang) or "gcc" (riscv64-unknown-elf-gcc of the system).
        optimize: option of the compiler.
        stack_bytes: what must be left for the stack.
        cache: folder where the compiler keeps its objects; None for `default_cache`.

    Raises:
        IntarsiaError: the compiler is missing or refuses a source (with its first error), or the program does not fit.
    """
    memory = memory or SystemMemory()
    core_number(core)
    for source in sources:
        require_readable(source)
    macros = {**defines, f"CORE_{core.upper()}": 1, "STACK_TOP": DATA_BASE + memory.data_bytes}
    firmware = firmware_folder()
    command = [
        *_driver(compiler),
        *_TARGETS[compiler],
        optimize,
        *_COMMON,
        *(f"-D{name}={value}" for name, value in macros.items()),
        *(f"-I{folder.absolute()}" for folder in (firmware, *include)),
        *("-T", str(firmware / "link.ld")),
        *(str(path.absolute()) for path in (*_firmware_sources(core), *sources)),
        *_LIBRARY[compiler],
        *("-o", "program.elf"),
    ]
    elf = read_elf(_run(compiler, command, (cache or default_cache()) / "zig"))
    return _image(elf, core, memory, stack_bytes)


def require_compiler(compiler: Compiler) -> None:
    """Refuse to go on without a compiler.

    Raises:
        IntarsiaError: it is missing.
    """
    _driver(compiler)


def _driver(compiler: Compiler) -> list[str]:
    if compiler == "zig":
        require("ziglang", "system")
        return [sys.executable, "-P", "-m", "ziglang", "cc"]
    if shutil.which(_GCC) is None:
        raise IntarsiaError(
            f"{_GCC} is missing; install it with your system's package manager (gcc-riscv64-unknown-elf), or use the "
            "compiler zig."
        )
    return [_GCC]


def _firmware_sources(core: Core) -> list[Path]:
    names = ("start.S", f"trap_{core}.S", f"trap_{core}.c", "platform.c", "memory.c")
    return [firmware_folder() / name for name in names]


def _run(compiler: Compiler, command: list[str], kept: Path) -> bytes:
    environment = {"ZIG_GLOBAL_CACHE_DIR": str(kept), "ZIG_LOCAL_CACHE_DIR": str(kept)} if compiler == "zig" else {}
    with tempfile.TemporaryDirectory(prefix="intarsia-compile-") as name:
        folder = Path(name)
        try:
            if environment:
                kept.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise IntarsiaError(
                f"cannot write {kept}: {error.strerror}; set INTARSIA_CACHE to a writable folder."
            ) from error
        status, log = run_tool("the compiler", command, folder=folder, timeout_s=_COMPILE_S, environment=environment)
        if status:
            raise IntarsiaError(f"the program cannot be compiled: {_first_error(log)}.")
        return (folder / "program.elf").read_bytes()


def _first_error(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return next(
        (line for line in lines if "error:" in line or "undefined reference" in line), (lines or ["no output"])[-1]
    )


def _image(elf: Elf, core: Core, memory: SystemMemory, stack_bytes: int) -> ProgramImage:
    code, data = bytearray(), bytearray()
    data_used = 0
    for segment in elf.segments:
        for bank, base, size in ((code, CODE_BASE, 1 << 28), (data, DATA_BASE, 1 << 28)):
            if base <= segment.source < base + size:
                _place(bank, segment.source - base, segment.content)
        if segment.address >= DATA_BASE:
            data_used = max(data_used, segment.address + segment.size - DATA_BASE)
    _require_room("code", len(code), memory.code_bytes, "")
    _require_room("data", data_used + stack_bytes, memory.data_bytes, f", of which {stack_bytes:,} are for the stack")
    return ProgramImage(core, memory, bytes(code), bytes(data), data_used, MappingProxyType(elf.symbols))


def _place(bank: bytearray, offset: int, content: bytes) -> None:
    bank.extend(bytes(max(0, offset + len(content) - len(bank))))
    bank[offset : offset + len(content)] = content


def _require_room(bank: str, needed: int, present: int, of_which: str) -> None:
    if needed > present:
        raise IntarsiaError(
            f"the program does not fit: it needs {needed:,} bytes of the {bank} bank{of_which}, {needed - present:,} "
            f"more than the {present:,} there are; give the system more {bank}_bytes or make the program smaller."
        )
