# SPDX-License-Identifier: Apache-2.0
"""A network in software alone on a processor of the system, to compare the accelerator with."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.files import write_text
from intarsia.integer import IntegerNetwork
from intarsia.system.layout import Core, SystemMemory
from intarsia.system.program_source import words_source
from intarsia.system.simulation import SimulatedSystem
from intarsia.system.software import build_library, library_files
from intarsia.system.software.library import Library
from intarsia.system.software.pieces import storage_type
from intarsia.system.toolchain import Compiler, compile_program, firmware_folder

_BEGIN, _END = 1, 2  # marks of apps/software.c
_STACK = 16 << 10
_NAME = "network"
#: RAM in bytes: for the program, for data beside those of the network, and the least for all data.
_CODE, _DATA, _LEAST = 512 << 10, 16 << 10, 256 << 10
#: A simulated cycle takes a third of a microsecond: an hour.
_LIMIT_CYCLES = 10_000_000_000


@dataclass(frozen=True, eq=False)
class SoftwareRun:
    """An inference in software.

    Attributes:
        kernels: family of the library's kernels.
        outputs: a result (C, H, W) for each image.
        cycles, instructions: of an inference, on average.
        constant_bytes, ram_bytes: that the network takes.
    """

    kernels: str
    outputs: tuple[NDArray[np.int64], ...]
    cycles: float
    instructions: float
    constant_bytes: int
    ram_bytes: int


def run_software(
    network: IntegerNetwork,
    images: Sequence[NDArray[np.integer]],
    core: Core,
    *,
    kernels: str = "int8",
    compiler: Compiler = "zig",
    optimize: str = "-O3",
    cache: Path | None = None,
) -> SoftwareRun:
    """Run a network on images (C, H, W) of its integers in software, in simulation.

    Args:
        network: any.
        images: of the network's integers.
        core: the processor.
        kernels: family of kernels.
        compiler: of the library.
        optimize: option of the compiler.
        cache: folder of built simulations and of the compiler's objects; None for `default_cache`.

    Raises:
        IntarsiaError: a tool is missing, or the program does not end.
    """
    library = build_library(network, kernels, _NAME)
    with tempfile.TemporaryDirectory(prefix="intarsia-software-") as name:
        folder = Path(name)
        for file, text in library_files(library).items():
            write_text(folder / file, text)
        input_type = storage_type(network.input.format)
        stored = [image.transpose(1, 2, 0).astype(_numpy(input_type)).tobytes() for image in images]
        write_text(folder / "images.c", words_source(stored))
        image = compile_program(
            [folder / f"{_NAME}.c", folder / "images.c", firmware_folder() / "apps" / "software.c"],
            core,
            memory=_memory(library, sum(map(len, stored))),
            include=[folder],
            defines={
                "NETWORK_HEADER": f'"{_NAME}.h"',
                "NETWORK_RUN": f"{_NAME}_run",
                "INPUT_TYPE": input_type,
                "OUTPUT_TYPE": storage_type(network.output.format),
                "OUTPUT_SIZE": math.prod(network.output.shape),
            },
            compiler=compiler,
            optimize=optimize,
            stack_bytes=_STACK,
            cache=cache,
        )
    with SimulatedSystem(core, memory=image.memory, cache=cache) as system:
        run = system.run(image, limit_cycles=_LIMIT_CYCLES)
    lines = [line.split()[1:] for line in run.uart.splitlines() if line.startswith("out ")]
    if run.exit_code or len(lines) != len(images):
        raise IntarsiaError(f"the software ended with status {run.exit_code} after {len(lines)} images.")
    marks = [mark.counts for mark in run.marks]
    spent = [end - begin for begin, end in zip(marks[::2], marks[1::2], strict=True)]
    return SoftwareRun(
        kernels=kernels,
        outputs=tuple(_output(network, [int(value) for value in line]) for line in lines),
        cycles=sum(counts.cycles for counts in spent) / len(spent),
        instructions=sum(counts.instructions for counts in spent) / len(spent),
        constant_bytes=library.constant_bytes,
        ram_bytes=library.ram_bytes,
    )


def _memory(library: Library, image_bytes: int) -> SystemMemory:
    """Return RAM with room for all; its sizes are powers of two, so that a simulation serves several networks."""
    data = library.constant_bytes + image_bytes + library.ram_bytes + 4 * math.prod(library.network.output.shape)
    return SystemMemory(_CODE, max(_LEAST, 1 << (data + _STACK + _DATA - 1).bit_length()))


def _numpy(c_type: str) -> str:
    return c_type.removesuffix("_t")


def _output(network: IntegerNetwork, values: Sequence[int]) -> NDArray[np.int64]:
    channels, height, width = network.output.shape
    return np.array(values, np.int64).reshape(height, width, channels).transpose(2, 0, 1)
