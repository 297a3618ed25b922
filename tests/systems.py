# SPDX-License-Identifier: Apache-2.0
"""What tests of the system share: programs, and the stub that stands for the accelerator."""

from pathlib import Path

from intarsia.engine.config import EngineConfig
from intarsia.system import CORES, Core, ProgramImage, SimulatedSystem, SystemMemory, compile_program
from intarsia.system.toolchain import Compiler

FOLDER = Path(__file__).parent / "system"
STUB = FOLDER / "rtl" / "intarsia_accelerator.sv"


def program(
    name: str, core: Core, memory: SystemMemory | None = None, compiler: Compiler = "zig", **defines: int
) -> ProgramImage:
    return compile_program(
        [FOLDER / "programs" / f"{name}.c"],
        core,
        memory=memory,
        compiler=compiler,
        defines={"CORE_NUMBER": CORES.index(core), **defines},
    )


def system(core: Core, seed: int = 1) -> SimulatedSystem:
    """Return the system with the stub; all tests take this build."""
    return SimulatedSystem(core, EngineConfig(), accelerator=[STUB], optimize="-O1", seed=seed)
