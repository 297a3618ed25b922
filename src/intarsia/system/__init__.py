# SPDX-License-Identifier: Apache-2.0
"""The accelerator as a part of a system: bus, DMA, driver, and a RISC-V system around it in simulation."""

from intarsia.system.layout import CORES, Core, SystemMemory
from intarsia.system.simulation import Counts, Mark, SimulatedSystem, SystemRun
from intarsia.system.toolchain import ProgramImage, compile_program

__all__ = [
    "CORES",
    "Core",
    "Counts",
    "Mark",
    "ProgramImage",
    "SimulatedSystem",
    "SystemMemory",
    "SystemRun",
    "compile_program",
]
