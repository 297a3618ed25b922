# SPDX-License-Identifier: Apache-2.0
"""Running programs on the simulated system: what they print, how they end, how long they take."""

import ctypes
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Self

import numpy as np

from intarsia.engine.config import EngineConfig
from intarsia.errors import IntarsiaError
from intarsia.files import require_replaceable, require_writable
from intarsia.simulate.builder import Design, build_library, open_library
from intarsia.system.accelerator import module_parameters
from intarsia.system.layout import CODE_BASE, DATA_BASE, Core, SystemMemory, core_number
from intarsia.system.sources import TOP, WAIVERS, write_system
from intarsia.system.toolchain import ProgramImage

_LIBRARY = "libsystem.so"
_EXITED, _STOPPED, _FAILED = 1, 2, 3  # what `system_run` returns
#: Cycles of one call: an interrupt of the user waits for its end.
_CHUNK = 1_000_000
_QUOTED = 200


@dataclass(frozen=True)
class Counts:
    """What happened since the reset.

    Attributes:
        cycles: clock cycles.
        instructions: that the processor completed.
        engine_busy, dma_busy, other_busy: cycles in which bits 0, 1 and 2 of the accelerator's busy_o were high.
        data_waits, instruction_waits, dma_waits: cycles in which the bus kept the port waiting: a request was not
            granted, or an answer came later than in the cycle after the grant. PicoRV32 has its data port only.
    """

    cycles: int
    instructions: int
    engine_busy: int
    dma_busy: int
    other_busy: int
    data_waits: int
    instruction_waits: int
    dma_waits: int

    def __sub__(self, other: "Counts") -> "Counts":
        """Return what happened since `other`."""
        return Counts(*(a - b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


@dataclass(frozen=True)
class Mark:
    """A number that the program gave to `system_mark`, and the counts in that cycle."""

    number: int
    counts: Counts


@dataclass(frozen=True)
class SystemRun:
    """One run of a program, from the reset to its exit.

    Attributes:
        uart: what it printed.
        exit_code: what main returned, or what `system_exit` was given (unsigned).
        counts: of the whole run, with start-up code.
        marks: in the order in which they were set.
    """

    uart: str
    exit_code: int
    counts: Counts
    marks: tuple[Mark, ...]

    @property
    def cycles(self) -> int:
        """Clock cycles of the whole run."""
        return self.counts.cycles

    @property
    def instructions(self) -> int:
        """Instructions of the whole run."""
        return self.counts.instructions

    def between(self, first: int, last: int) -> Counts:
        """Return what happened between the first mark `first` and the next mark `last` after it.

        Raises:
            IntarsiaError: the program did not set them in this order.
        """
        numbers = [mark.number for mark in self.marks]
        try:
            begin = numbers.index(first)
            end = numbers.index(last, begin + 1)
        except ValueError:
            raise IntarsiaError(
                f"the program did not set mark {first} and then mark {last}; it set {numbers}."
            ) from None
        return self.marks[end].counts - self.marks[begin].counts


class SimulatedSystem:
    """The system in Verilator: processor, RAM, peripherals, accelerator. Use it in a `with` block.

    Args:
        core: the processor.
        config: of the engine in the accelerator; None: there is no accelerator, and the simulation is faster.
        memory: sizes of the RAM banks; None for the default ones.
        uart_divisor: clock cycles per bit of the UART; a program that prints waits for it.
        accelerator: files of another module intarsia_accelerator; None for that of Intarsia.
        waves: file for the waveforms of all signals (VCD); they slow the simulation down, and take much space.
        optimize: option of the C++ compiler, -O1 builds sooner, -O3 runs faster; None for -O1 with an engine, which is
            large, and -O3 without.
        cache: folder of built simulations; None for `default_cache`.
        seed: draws what registers and memories hold at the start (1 to 2^31 - 1); no result depends on it.
        assertions: check those of the hardware. Some of the engine's hold for programs of the compiler only; without
            them, other programs show what the accelerator reports.

    Raises:
        IntarsiaError: the simulation cannot be built.
    """

    def __init__(
        self,
        core: Core = "picorv32",
        config: EngineConfig | None = None,
        *,
        memory: SystemMemory | None = None,
        uart_divisor: int = 1,
        accelerator: Sequence[Path] | None = None,
        waves: Path | None = None,
        optimize: str | None = None,
        cache: Path | None = None,
        seed: int = 1,
        assertions: bool = True,
    ) -> None:
        self.core = core
        self.memory = memory or SystemMemory()
        self._handle = None
        if waves is not None:
            require_writable(waves.parent, "choose another file")
            require_replaceable(waves)
            waves.parent.mkdir(parents=True, exist_ok=True)
        parameters = {
            "Core": core_number(core),
            "CodeBytes": self.memory.code_bytes,
            "DataBytes": self.memory.data_bytes,
            "UartDivisor": uart_divisor,
            "Accelerator": int(config is not None),
            **(module_parameters(config) if config else {}),
        }
        optimize = optimize or ("-O1" if config else "-O3")
        design = _design(core, parameters, accelerator if config else (), traced=waves is not None, optimize=optimize)
        self._library = _declared(open_library(build_library(design, cache)))
        self._handle = self._library.system_create(seed, os.fsencode(waves) if waves else None, assertions)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the simulation; it cannot be used any more."""
        if self._handle:
            self._library.system_destroy(self._handle)
            self._handle = None

    def run(
        self,
        image: ProgramImage,
        *,
        limit_cycles: int = 100_000_000,
        content: Mapping[int, bytes] = MappingProxyType({}),
    ) -> SystemRun:
        """Reset the system, load a program and run it to its exit.

        Args:
            image: the program, compiled for this core and these sizes of RAM.
            limit_cycles: when to give up.
            content: bytes by address that are written over the loaded program: its constants, inputs say. Variables
                get their values when the program starts, whatever is written here.

        Raises:
            IntarsiaError: the program is for another system, has not ended within the limit, or stopped the
                processor; or an assertion of the hardware failed.
        """
        if (image.core, image.memory) != (self.core, self.memory):
            raise IntarsiaError(
                f"the program is compiled for {image.core} with {image.memory}, this system has {self.core} with "
                f"{self.memory}; compile it again."
            )
        self._library.system_reset(self._handle)
        for address, data in ((CODE_BASE, image.code), (DATA_BASE, image.data), *content.items()):
            self.write(address, data)
        status, left = 0, limit_cycles
        while not status and left > 0:
            status = self._library.system_run(self._handle, min(left, _CHUNK))
            left -= _CHUNK
        if status != _EXITED:
            raise IntarsiaError(self._reason(status, limit_cycles))
        exit_code = int(self._library.system_exit_code(self._handle))
        return SystemRun(self._uart(), exit_code, self._counts(), self._marks())

    def read(self, address: int, size: int) -> bytes:
        """Return bytes of RAM, as the last run has left them.

        Raises:
            IntarsiaError: they are not in a RAM bank.
        """
        data = ctypes.create_string_buffer(size)
        self._library.system_read(self._handle, *self._place(address, size), data, size)
        return data.raw

    def write(self, address: int, data: bytes) -> None:
        """Write bytes of RAM.

        Raises:
            IntarsiaError: they are not in a RAM bank.
        """
        self._library.system_write(self._handle, *self._place(address, len(data)), data, len(data))

    def _place(self, address: int, size: int) -> tuple[int, int]:
        banks = ((CODE_BASE, self.memory.code_bytes), (DATA_BASE, self.memory.data_bytes))
        for bank, (base, room) in enumerate(banks):
            if base <= address and address + size <= base + room:
                return bank, address - base
        raise IntarsiaError(f"there is no RAM for {size:,} bytes at 0x{address:08x}; correct the address.")

    def _reason(self, status: int, limit_cycles: int) -> str:
        text = self._uart()
        said = f"the last of what it printed is {text[-_QUOTED:]!r}" if text else "it has not printed anything"
        if status == _FAILED:
            return "an assertion of the hardware failed (see above); please report this as a bug of the hardware."
        if status == _STOPPED:
            return (
                f"the processor stopped after {self._counts().cycles:,} cycles, at a fault that its program does not "
                f"handle; {said}."
            )
        return f"the program has not ended after {limit_cycles:,} cycles (limit_cycles); {said}."

    def _uart(self) -> str:
        size = ctypes.c_uint64()
        text = self._library.system_uart(self._handle, ctypes.byref(size))
        return ctypes.string_at(text, size.value).decode(errors="replace")

    def _counts(self) -> Counts:
        values = np.zeros(_FIELDS, np.uint64)
        self._library.system_counts(self._handle, values.ctypes.data)
        return Counts(*map(int, values))

    def _marks(self) -> tuple[Mark, ...]:
        number = self._library.system_marks(self._handle, None)
        values = np.zeros((number, 1 + _FIELDS), np.uint64)
        self._library.system_marks(self._handle, values.ctypes.data)
        return tuple(Mark(int(row[0]), Counts(*map(int, row[1:]))) for row in values)


_FIELDS = len(Counts.__dataclass_fields__)


def _design(
    core: Core, parameters: Mapping[str, int], accelerator: Sequence[Path] | None, *, traced: bool, optimize: str
) -> Design:
    package = files("intarsia.system")

    def write(folder: Path) -> list[Path]:
        first, last = (Path(shutil.copy(str(package / name), folder)) for name in ("observe.vlt", "soc.cpp"))
        return [first, *write_system(folder, core, accelerator=accelerator), last]

    options = [
        *("-Wall", "--assert", "-Icore"),
        *(f"-G{name}={value}" for name, value in parameters.items()),
        *(("-CFLAGS", "-DIBEX") if core == "ibex" else ()),
        f"soc/{WAIVERS}",
        *(("rtl/intarsia.vlt", "rtl/accelerator.vlt") if accelerator is None else ()),
    ]
    return Design(TOP, _LIBRARY, write, options, kinds=("--trace-vcd",) if traced else (), optimize=optimize)


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """Declare the types of `soc.cpp`."""
    handle, word, long = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
    for name, result, arguments in (
        ("system_create", handle, [word, ctypes.c_char_p, ctypes.c_int32]),
        ("system_destroy", None, [handle]),
        ("system_reset", None, [handle]),
        ("system_write", None, [handle, word, word, ctypes.c_char_p, word]),
        ("system_read", None, [handle, word, word, handle, word]),
        ("system_run", ctypes.c_int32, [handle, long]),
        ("system_counts", None, [handle, handle]),
        ("system_exit_code", word, [handle]),
        ("system_uart", handle, [handle, handle]),
        ("system_marks", long, [handle, handle]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
