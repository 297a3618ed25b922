# SPDX-License-Identifier: Apache-2.0
"""Execution units: what a lane multiplies with, one file for each.

A new unit is named here, in `Unit` and `units_for`, by its number in the RTL's top module, and in the help of `--unit`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from intarsia.engine.units.base import ExecutionUnit, Occupied, Operands, Planes
from intarsia.engine.units.dense import LEAST_BITS, MOST_BITS, Dense
from intarsia.engine.units.mixed_rows import MixedRows
from intarsia.engine.units.sum_together import WIDTHS, SumTogether
from intarsia.engine.units.superposition import Positions, Superposition
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork

#: Any of them; their fields differ in name, so that JSON says which one is meant.
Unit = Superposition | Dense | MixedRows | SumTogether
UNITS: Mapping[str, type[Unit]] = MappingProxyType(
    {unit.name: unit for unit in (Superposition, Dense, MixedRows, SumTogether)}
)
#: Units with parameters of their own, by the names that people give them: dense ones of so many bits at most, which run
#: wider weights in passes, and Sum-Together ones whose narrowest operands have 8 or 16 bits; the latter is the fixed
#: build, of one product per multiplier.
NAMED_UNITS: Mapping[str, Unit] = MappingProxyType(
    {f"{Dense.name}{bits}": Dense(bits, digits=True) for bits in range(LEAST_BITS, MOST_BITS + 1)}
    | {f"{SumTogether.name}{bits}": SumTogether(bits) for bits in WIDTHS[1:]}
)

__all__ = [
    "NAMED_UNITS",
    "UNITS",
    "Dense",
    "ExecutionUnit",
    "MixedRows",
    "Occupied",
    "Operands",
    "Planes",
    "Positions",
    "SumTogether",
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


def unit_named(name: str, lanes: int = 16) -> Unit:
    """Return a unit with its usual parameters.

    Args:
        name: that of a kind of unit, which is fitted to a network; of a dense unit with multipliers of so many bits,
            which runs wider weights in passes: `dense4`; or of a Sum-Together unit whose operands have so many bits at
            least: `sum_together16`.
        lanes: of the engine.

    Raises:
        IntarsiaError: there is no unit of that name.
    """
    if name in NAMED_UNITS:
        return NAMED_UNITS[name]
    if name not in UNITS:
        raise IntarsiaError(f"unknown execution unit {name!r}; known are {', '.join((*UNITS, *NAMED_UNITS))}.")
    return MixedRows.usual(lanes) if name == MixedRows.name else UNITS[name]()
