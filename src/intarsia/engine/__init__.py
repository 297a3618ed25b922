# SPDX-License-Identifier: Apache-2.0
"""The accelerator: its configuration, its RTL, the compiler that programs it and the model of its cycles."""

from intarsia.engine.compiler import compile_network
from intarsia.engine.config import EngineConfig
from intarsia.engine.fitting import config_for
from intarsia.engine.program import Placement, Program, ProgramLayer

__all__ = ["EngineConfig", "Placement", "Program", "ProgramLayer", "compile_network", "config_for"]
