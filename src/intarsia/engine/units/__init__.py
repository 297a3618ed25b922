# SPDX-License-Identifier: Apache-2.0
"""Execution units: what a lane multiplies with, one file for each.

A new unit is named here, in `Unit` and `units_for`, and by its number in the RTL's top module; nothing else lists
units.
"""

from collections.abc import Mapping
from types import MappingProxyType

from intarsia.engine.units.base import ExecutionUnit, Occupied, Operands, Planes
from intarsia.engine.units.dense import LEAST_BITS, MOST_BITS, Dense
from intarsia.engine.units.superposition import Positions, Superposition
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork

#: Any of them; their fields differ in name, so that JSON says which one is meant.
Unit = Superposition | Dense
UNITS: Mapping[str, type[Unit]] = MappingProxyType({unit.name: unit for unit in (Superposition, Dense)})
#: Dense units of fixed width, by the names that people give them.
DENSE_UNITS: Mapping[str, Dense] = MappingProxyType(
    {f"{Dense.name}{bits}": Dense(bits, digits=True) for bits in range(LEAST_BITS, MOST_BITS + 1)}
)

__all__ = [
    "DENSE_UNITS",
    "UNITS",
    "Dense",
    "ExecutionUnit",
    "Occupied",
    "Operands",
    "Planes",
    "Positions",
    "Superposition",
    "Unit",
    "unit_named",
    "units_for",
]


def units_for(network: IntegerNetwork) -> tuple[Unit, ...]:
    """Return the kinds of units to try for a network where nobody names one, in order.

    Planes in balanced ternary, with or without a sparse plane, run on superposition units, dense planes of other
    integers in one pass on dense units as wide as the widest weights, which also take the sum of any planes.
    """
    planes = [plane for layer in network.weight_layers() for plane in layer.planes]
    plain = any(plane.pattern.kind == "dense" and plane.format.name.startswith("int") for plane in planes)
    return (Dense(),) if plain else (Superposition(), Dense())


def unit_named(name: str) -> Unit:
    """Return a unit with its usual parameters.

    Args:
        name: that of a kind of unit, which is fitted to a network; or of a dense unit with multipliers of so many bits,
            which runs wider weights in passes: `dense4`.

    Raises:
        IntarsiaError: there is no unit of that name.
    """
    if name in DENSE_UNITS:
        return DENSE_UNITS[name]
    if name not in UNITS:
        raise IntarsiaError(f"unknown execution unit {name!r}; known are {', '.join((*UNITS, *DENSE_UNITS))}.")
    return UNITS[name]()
