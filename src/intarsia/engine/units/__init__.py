# SPDX-License-Identifier: Apache-2.0
"""Execution units: what a lane multiplies with, one file for each."""

from intarsia.engine.units.base import ExecutionUnit, Operands
from intarsia.engine.units.dense import Dense
from intarsia.engine.units.superposition import Superposition

__all__ = ["Dense", "ExecutionUnit", "Operands", "Superposition"]
