# SPDX-License-Identifier: Apache-2.0
"""A network on the accelerator inside the system: firmware that brings images, runs them and fetches the results."""

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intarsia.engine.program import Program
from intarsia.errors import IntarsiaError
from intarsia.files import write_text
from intarsia.system.layout import Core, SystemMemory
from intarsia.system.program_source import input_image, output_values, output_words, program_source, words_source
from intarsia.system.simulation import Counts, SimulatedSystem, SystemRun
from intarsia.system.toolchain import Compiler, ProgramImage, compile_program, firmware_folder

#: Marks of apps/inference.c.
_LOAD, _LOADED, _IMAGE, _STARTED, _FINISHED, _FETCHED = range(1, 7)
#: RAM in bytes: for the firmware, for data beside program, weights and images, and the least for all data.
_CODE, _DATA, _LEAST = 32 << 10, 32 << 10, 256 << 10


@dataclass(frozen=True)
class Phases:
    """Clock cycles of an inference, by what goes on.

    Attributes:
        image: the DMA brings the image.
        engine: from the start to the firmware's knowing that it has ended.
        output: the DMA fetches the result.
    """

    image: int
    engine: int
    output: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.image + self.engine + self.output


@dataclass(frozen=True, eq=False)
class Inferences:
    """What the firmware did.

    Attributes:
        outputs: a result (C, H, W) for each image.
        load: cycles of bringing weights and program, once.
        phases: of each inference.
        instructions: that the processor executed in an inference, on average.
        engine_busy: cycles of an inference in which the engine ran, on average.
        code_bytes, data_bytes: RAM that the firmware takes, with program, weights and images.
    """

    outputs: tuple[NDArray[np.int64], ...]
    load: int
    phases: tuple[Phases, ...]
    instructions: float
    engine_busy: float
    code_bytes: int
    data_bytes: int


def build_inference(
    program: Program,
    images: Sequence[NDArray[np.integer]],
    core: Core,
    *,
    compiler: Compiler = "zig",
    cache: Path | None = None,
) -> ProgramImage:
    """Compile the firmware that runs a program on images (C, H, W) of the network's integers.

    Raises:
        IntarsiaError: the DMA cannot bring such images, or as `compile_program`.
    """
    with tempfile.TemporaryDirectory(prefix="intarsia-inference-") as name:
        folder = Path(name)
        write_text(folder / "program.c", program_source(program))
        stored = [input_image(program.input, image) for image in images]
        write_text(folder / "images.c", words_source(stored))
        firmware = firmware_folder()
        sources = [
            *(folder / "program.c", folder / "images.c"),
            *(firmware / "intarsia.c", firmware / "apps" / "inference.c"),
        ]
        return compile_program(
            sources,
            core,
            memory=memory_for(program, sum(map(len, stored))),
            defines={"OUTPUT_WORDS": output_words(program.output)},
            compiler=compiler,
            cache=cache,
        )


def memory_for(program: Program, image_bytes: int) -> SystemMemory:
    """Return RAM that has room for a program, images of so many bytes and the firmware; its sizes are powers of two, so
    that simulations are used again.
    """
    words = program.weights.size + program.descriptors.size + output_words(program.output)
    return SystemMemory(_CODE, max(_LEAST, 1 << (4 * words + image_bytes + _DATA - 1).bit_length()))


def run_inference(
    program: Program,
    images: Sequence[NDArray[np.integer]],
    core: Core,
    *,
    compiler: Compiler = "zig",
    cache: Path | None = None,
    waves: Path | None = None,
) -> Inferences:
    """Run a program on images (C, H, W) from firmware, in simulation.

    Args:
        program: what the engine executes.
        images: of the network's integers.
        core: the processor.
        compiler: of the firmware.
        cache: folder of built simulations and of the compiler's objects; None for `default_cache`.
        waves: file for the waveforms of all signals.

    Raises:
        IntarsiaError: a tool is missing, the firmware reports an error, or the hardware has a bug.
    """
    image = build_inference(program, images, core, compiler=compiler, cache=cache)
    with SimulatedSystem(core, program.config, memory=image.memory, cache=cache, waves=waves) as system:
        run = system.run(image, limit_cycles=100_000_000 * (1 + len(images)))
    return _read(program, run, len(images), image)


def _read(program: Program, run: SystemRun, count: int, image: ProgramImage) -> Inferences:
    lines = run.uart.splitlines()
    if run.exit_code:
        raise IntarsiaError(f"the firmware ended with status {run.exit_code} ({lines[-1] if lines else 'no text'}).")
    results = [line.split()[1:] for line in lines if line.startswith("out ")]
    if len(results) != count:
        raise IntarsiaError(f"the firmware printed {len(results)} results for {count} images; report this as a bug.")
    begun = [mark for mark in run.marks if mark.number >= _IMAGE]
    turns = [begun[i : i + 4] for i in range(0, len(begun), 4)]
    steps = [[second.counts - first.counts for first, second in itertools.pairwise(turn)] for turn in turns]
    whole = [turn[-1].counts - turn[0].counts for turn in turns]
    return Inferences(
        outputs=tuple(output_values(program.output, [int(word, 16) for word in words]) for words in results),
        load=run.between(_LOAD, _LOADED).cycles,
        phases=tuple(Phases(*(counts.cycles for counts in step)) for step in steps),
        instructions=_mean(whole, "instructions"),
        engine_busy=_mean(whole, "engine_busy"),
        code_bytes=len(image.code),
        data_bytes=image.data_used,
    )


def _mean(counts: Sequence[Counts], name: str) -> float:
    return float(np.mean([getattr(each, name) for each in counts]))
