# SPDX-License-Identifier: Apache-2.0
"""A network inside a RISC-V system: from firmware on the accelerator, and in software alone, on the same processor."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intarsia.cache import default_cache
from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.engine.program import Program
from intarsia.errors import IntarsiaError
from intarsia.files import require_replaceable, require_writable
from intarsia.flow.comparison import require_equal
from intarsia.flow.inputs import Images
from intarsia.flow.scheduler import Say
from intarsia.integer import IntegerNetwork
from intarsia.integer.executor import Executor
from intarsia.system.layout import CORES, Core
from intarsia.system.sources import require_core
from intarsia.system.toolchain import Compiler, require_compiler
from intarsia.text import counted, escaped, in_columns

#: Test images that the firmware runs where nothing else is said.
SYSTEM_IMAGES = 10


@dataclass(frozen=True)
class SystemOptions:
    """How a network is tried in the system.

    Attributes:
        cores: processors, one after the other.
        software: families of kernels of the software alone; empty for none.
        software_images: how many of the images the software runs: it takes as long for each.
        compiler: of firmware and software.
        waves: file for the waveforms of the first core with the accelerator.
        cache: folder of built simulations and of the compiler's objects; None for the default one.
    """

    cores: tuple[Core, ...] = CORES
    software: tuple[str, ...] = ("int8", "ternary")
    software_images: int = 1
    compiler: Compiler = "zig"
    waves: Path | None = None
    cache: Path | None = None


@dataclass(frozen=True)
class SoftwareCost:
    """An inference in software: family of kernels, clock cycles, instructions, bytes of constants and of RAM."""

    kernels: str
    cycles: float
    instructions: float
    constant_bytes: int
    ram_bytes: int


@dataclass(frozen=True)
class CoreCost:
    """An inference on one processor, in clock cycles.

    Attributes:
        core: the processor.
        load: of bringing weights and program, once.
        image, run, output: of bringing the image, of the engine from start to the firmware's knowing that it has ended,
            and of fetching the result.
        engine: of `run`, those in which the engine ran.
        instructions: that the processor executed meanwhile.
        software: of the network without the accelerator.
    """

    core: str
    load: int
    image: float
    run: float
    output: float
    engine: float
    instructions: float
    software: tuple[SoftwareCost, ...]

    @property
    def total(self) -> float:
        """Cycles of an inference on the accelerator, movement of data included."""
        return self.image + self.run + self.output


@dataclass(frozen=True)
class SystemCosts:
    """What a network takes in the system.

    Attributes:
        network, unit, lanes, block: what was tried.
        images: how many results were equal to the executor's on the accelerator of each core.
        macs: multiply-accumulates of an inference.
        cores: one for each processor.
    """

    network: str
    unit: str
    lanes: int
    block: int
    images: int
    macs: int
    cores: tuple[CoreCost, ...]


def require_system(options: SystemOptions) -> None:
    """Refuse options that are sure to fail, before the hours that a training may take.

    Raises:
        IntarsiaError: a core, the compiler or what simulations are built with is missing, or a file cannot be written.
    """
    from intarsia.simulate.builder import check_tools  # noqa: PLC0415 (heavy only where it is used)

    if options.waves is not None:
        require_replaceable(options.waves)
        require_writable(options.waves.parent, "choose another --waves")
    for core in options.cores:
        require_core(core)
    require_compiler(options.compiler)
    check_tools()
    require_writable(options.cache or default_cache(), "set INTARSIA_CACHE to a writable folder")


def measure_system(
    network: IntegerNetwork, images: Images, config: EngineConfig, options: SystemOptions, *, say: Say = print
) -> SystemCosts:
    """Run images (N, C, H, W) of a network's integers from firmware and in software; compare every result.

    Raises:
        IntarsiaError: a tool is missing, the network does not fit the engine, the DMA cannot bring its images, or a
            result differs from the executor's.
    """
    if len(images) == 0 or images.shape[1:] != network.input.shape:
        raise IntarsiaError(
            f"network {network.name} takes one or more images of shape {network.input.shape}, but is given an array of "
            f"shape {images.shape}."
        )
    program = compile_network(network, config_for(network, config))
    trial = _Trial(network, images, Executor(network).run(images), options, say)
    return SystemCosts(
        network=network.name,
        unit=str(program.config.unit),
        lanes=program.config.lanes,
        block=program.config.block,
        images=len(images),
        macs=sum(layer.macs for layer in program.layers),
        cores=tuple(trial.on_core(program, core) for core in options.cores),
    )


@dataclass(frozen=True, eq=False)
class _Trial:
    """What is run, and the results (N, features) that are right."""

    network: IntegerNetwork
    images: Images
    expected: Images
    options: SystemOptions
    say: Say

    def on_core(self, program: Program, core: Core) -> CoreCost:
        """Run everything on one processor."""
        from intarsia.system.inference import run_inference  # noqa: PLC0415 (its tools are an optional part)

        options, count = self.options, len(self.images)
        self.say(f"{core}: {counted(count, 'image')} on the accelerator")
        waves = options.waves if core == options.cores[0] else None
        images = list(self.images)
        found = run_inference(program, images, core, compiler=options.compiler, cache=options.cache, waves=waves)
        self._require_equal(f"the accelerator behind {core}", found.outputs)
        return CoreCost(
            core=core,
            load=found.load,
            image=sum(phases.image for phases in found.phases) / count,
            run=sum(phases.engine for phases in found.phases) / count,
            output=sum(phases.output for phases in found.phases) / count,
            engine=found.engine_busy,
            instructions=found.instructions,
            software=tuple(self._in_software(core, kernels) for kernels in options.software),
        )

    def _in_software(self, core: Core, kernels: str) -> SoftwareCost:
        from intarsia.system.baseline import run_software  # noqa: PLC0415 (its tools are an optional part)

        options = self.options
        images = list(self.images[: options.software_images])
        self.say(f"{core}: {counted(len(images), 'image')} in software, {kernels} kernels")
        run = run_software(self.network, images, core, kernels=kernels, compiler=options.compiler, cache=options.cache)
        self._require_equal(f"software on {core}", run.outputs)
        return SoftwareCost(kernels, run.cycles, run.instructions, run.constant_bytes, run.ram_bytes)

    def _require_equal(self, who: str, outputs: Sequence[NDArray[np.int64]]) -> None:
        found = np.stack(outputs).reshape(len(outputs), -1)
        require_equal(who, self.network.output.name, found, self.expected[: len(outputs)], 0)


def system_table(costs: SystemCosts) -> str:
    """Return the costs as text for people."""
    heads = ("core", "how", "image", "engine", "result", "cycles", "MAC/cycle", "instructions", "speed-up")
    rows: list[tuple[str, ...]] = [heads]
    for each in costs.cores:
        rows.append(
            (
                each.core,
                f"accelerator, {costs.lanes} × {costs.block}",
                *(f"{value:,.0f}" for value in (each.image, each.run, each.output)),
                f"{each.total:,.0f}",
                f"{costs.macs / each.total:.2f}",
                f"{each.instructions:,.0f}",
                "",
            )
        )
        rows += [
            (
                each.core,
                f"software, {run.kernels}",
                *("", "", ""),
                f"{run.cycles:,.0f}",
                f"{costs.macs / run.cycles:.3f}",
                f"{run.instructions:,.0f}",
                f"{run.cycles / each.total:,.0f} ×",
            )
            for run in each.software
        ]
    loads = ", ".join(f"{each.load:,} on {each.core}" for each in costs.cores)
    equal = f"{counted(costs.images, 'result')} equal to the executor's on each core"
    return (
        f"{escaped(costs.network)} on {costs.unit}: {equal}\n\n{in_columns(rows)}\n\n"
        f"cycles to load weights and program, once: {loads}"
    )
