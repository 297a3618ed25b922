# SPDX-License-Identifier: Apache-2.0
"""Execution units: what a lane multiplies with, one file for each.

A new unit is named here, in `Unit`, and by its number in the RTL's top module; nothing else lists units.
"""

from collections.abc import Mapping
from types import MappingProxyType

from intarsia.engine.units.base import ExecutionUnit, Operands, Planes
from intarsia.engine.units.dense import Dense
from intarsia.engine.units.superposition import Superposition
from intarsia.errors import IntarsiaError

#: Any of them; their fields differ in name, so that JSON says which one is meant.
Unit = Superposition | Dense
UNITS: Mapping[str, type[Unit]] = MappingProxyType({unit.name: unit for unit in (Superposition, Dense)})

__all__ = ["UNITS", "Dense", "ExecutionUnit", "Operands", "Planes", "Superposition", "Unit", "unit_named"]


def unit_named(name: str) -> Unit:
    """Return a unit with its usual parameters.

    Raises:
        IntarsiaError: there is no unit of that name.
    """
    if name not in UNITS:
        raise IntarsiaError(f"unknown execution unit {name!r}; known are {', '.join(UNITS)}.")
    return UNITS[name]()
