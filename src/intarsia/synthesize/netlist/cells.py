# SPDX-License-Identifier: Apache-2.0
"""What a Liberty library says of its cells: functions, capacitances, delays, energies, leakage.

Units here: ns, pF, pJ, nW, µm².
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from intarsia.synthesize.liberty import LEAKAGE_NW, Group, numbers, parse_liberty, readable
from intarsia.synthesize.netlist.functions import truth_table

Edge = Literal["rise", "fall"]
EDGES: tuple[Edge, Edge] = ("rise", "fall")
Reals = NDArray[np.float64]
_UNITS = {"time_unit": "1ns", "capacitive_load_unit": "1,pf", "voltage_unit": "1v"}
#: Inputs of a cell of logic at most: a truth table has 64 bits.
_MOST_INPUTS = 6


@dataclass(frozen=True, eq=False)
class Table:
    """A value over the slew at an input (ns) and the load of the output (pF)."""

    slews: Reals
    loads: Reals
    values: Reals  # [slew, load]

    def at(self, slew: Reals | float, load: Reals | float) -> Reals:
        """Return the value, linear between and beyond the points of the table."""
        (i, u), (j, v) = _place(self.slews, slew), _place(self.loads, load)
        down, right = min(1, len(self.slews) - 1), min(1, len(self.loads) - 1)
        t = self.values
        low = t[i, j] * (1 - v) + t[i, j + right] * v
        high = t[i + down, j] * (1 - v) + t[i + down, j + right] * v
        found: Reals = low * (1 - u) + high * u
        return found


def _place(points: Reals, where: Reals | float) -> tuple[NDArray[np.intp], Reals]:
    """Return the index of the interval of each value, and the fraction of the interval that is below it."""
    at = np.asarray(where, np.float64)
    if len(points) == 1:
        return np.zeros(at.shape, np.intp), np.zeros(at.shape)
    index = np.clip(np.searchsorted(points, at) - 1, 0, len(points) - 2)
    return index, (at - points[index]) / (points[index + 1] - points[index])


@dataclass(frozen=True, eq=False)
class Arc:
    """Delay from an input to an output, and the slew there; an edge that the arc does not have is not in the mapping.

    Attributes:
        input: the pin that it starts at.
        sense: `positive_unate`, `negative_unate` or `non_unate`.
        delay, slew: of the output's edge.
    """

    input: str
    sense: str
    delay: Mapping[Edge, Table]
    slew: Mapping[Edge, Table]


@dataclass(frozen=True, eq=False)
class Power:
    """Energy inside a cell for an edge of a pin, in pJ; what its load takes is not in it.

    Attributes:
        input: the input that caused the edge of an output; empty for an edge of an input.
        when: the condition on other pins; empty where there is none.
        energy: of an edge.
    """

    input: str
    when: str
    energy: Mapping[Edge, Table]


@dataclass(frozen=True, eq=False)
class Pin:
    """A pin: its capacitance in pF (0 of an output), the largest load of an output in pF, its arcs and energies."""

    name: str
    is_input: bool
    capacitance: float
    most_load: float
    function: str
    arcs: tuple[Arc, ...]
    powers: tuple[Power, ...]


class Kind(Enum):
    """What a cell does with time: nothing, keep a bit, or pass a clock edge on."""

    LOGIC = 0
    FLIP_FLOP = 1
    CLOCK_GATE = 2


@dataclass(frozen=True, eq=False)
class CellModel:
    """One cell.

    Attributes:
        name, area_um2: of the library.
        leakage_nw: mean over its states.
        kind: what it does with time.
        pins: by name.
        inputs: names of the input pins; of a flip-flop clock, data and, if it has one, clear; of a clock gate clock and
            enable.
        outputs: names of the output pins; of a flip-flop that is not inverted first.
        setups: how long before the clock's edge the data of a flip-flop or a clock gate must be there, in ns: edges of
            the data, over its slew and the clock's (in place of a load).
    """

    name: str
    area_um2: float
    leakage_nw: float
    kind: Kind
    pins: Mapping[str, Pin]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    setups: tuple[tuple[Edge, Table], ...]

    @cached_property
    def table(self) -> int:
        """The truth table of the (first) output of a cell of logic over its inputs."""
        return truth_table(self.pins[self.outputs[0]].function, self.inputs)


@dataclass(frozen=True, eq=False)
class Cells:
    """A library.

    Attributes:
        models: its cells by name: logic of one output, flip-flops of a rising edge, clock gates.
        voltage: supply in V.
        wire_pf: capacitance of a wire in pF per µm.
        wire_um: length of the wire of a net of 1, 2, … sinks within a block, in µm.
    """

    models: Mapping[str, CellModel]
    voltage: float
    wire_pf: float
    wire_um: tuple[float, ...]

    @cached_property
    def buffers(self) -> tuple[CellModel, ...]:
        """The cells that pass a signal on, the weakest first; those made for delay, which are slow, are not in it."""
        found = [m for m in self.models.values() if m.kind is Kind.LOGIC and len(m.inputs) == 1 and m.table == 0b10]
        strongest = 0.0
        chosen = []
        for model in sorted(found, key=lambda model: model.area_um2):
            if _drive(model) > strongest:
                chosen.append(model)
                strongest = _drive(model)
        return tuple(chosen)


def _drive(model: CellModel) -> float:
    return model.pins[model.outputs[0]].most_load


def read_cells(path: Path) -> Cells:
    """Read a Liberty library of standard cells.

    Raises:
        IntarsiaError: the file is missing, not Liberty, or has other units.
    """
    library = parse_liberty(path)
    with readable(path):
        leakage = _leakage_unit(library)
        models = [_model(cell, leakage) for cell in library.find("cell")]
        wire_pf, wire_um = _wires(library)
        return Cells(
            {model.name: model for model in models if model},
            float(library.text("nom_voltage")),
            wire_pf,
            wire_um,
        )


def _leakage_unit(library: Group) -> float:
    """Return the unit of leakage in nW; all others must be those of this module. One that is missing counts as such."""
    for name, expected in _UNITS.items():
        found = library.attributes.get(name, expected).replace('"', "").replace(" ", "").lower()
        if found != expected:
            raise ValueError(f"its {name} is {found[:20]}, not {expected}")
    found = library.text("leakage_power_unit") or "1nW"
    if found not in LEAKAGE_NW:
        raise ValueError(f"its leakage_power_unit is {found[:20]}, not one of {', '.join(LEAKAGE_NW)}")
    return LEAKAGE_NW[found]


def _wires(library: Group, longest: int = 64) -> tuple[float, tuple[float, ...]]:
    """Return the library's estimate of wires: the largest table whose wires have its usual capacitance per length.

    Tables of larger blocks put several times as much on a µm, which no wire of the process has.
    """
    usual = float(library.text("default_wire_load_capacitance"))
    tables = [group for group in library.find("wire_load") if float(group.text("capacitance")) == usual]
    lengths: dict[int, float] = {}
    for name, value in tables[-1].lists:
        if name == "fanout_length":
            sinks, length = value.split(",")
            lengths[int(sinks)] = float(length)
    points = sorted(lengths)
    slope = float(tables[-1].text("slope"))
    inside = np.interp(np.arange(1, longest + 1), points, [lengths[point] for point in points])
    beyond = np.maximum(0, np.arange(1, longest + 1) - points[-1]) * slope
    return usual, tuple(float(length) for length in inside + beyond)


def _model(cell: Group, leakage_unit: float) -> CellModel | None:
    """Return a cell; None for one that a netlist of one clock edge does not have (latches, tristate, fillers)."""
    pins = {group.name: _pin(group) for group in cell.find("pin")}
    kind, inputs, outputs = _roles(cell, pins)
    if not outputs or any(name not in pins for name in (*inputs, *outputs)):
        return None
    if kind is Kind.LOGIC:
        truth_table(pins[outputs[0]].function, inputs)  # refuses what is not an expression
        setups: tuple[tuple[Edge, Table], ...] = ()
    else:
        setups = tuple(_setups(next(group for group in cell.find("pin") if group.name == inputs[1])))
    return CellModel(
        name=cell.name,
        area_um2=float(cell.text("area")),
        leakage_nw=float(cell.text("cell_leakage_power") or 0) * leakage_unit,
        kind=kind,
        pins=pins,
        inputs=inputs,
        outputs=outputs,
        setups=setups,
    )


def _roles(cell: Group, pins: Mapping[str, Pin]) -> tuple[Kind, tuple[str, ...], tuple[str, ...]]:
    """Return the kind of a cell with its inputs and outputs in order; no outputs for one that is not modelled."""
    if cell.text("clock_gating_integrated_cell"):
        roles = {role: _with(cell, f"clock_gate_{role}_pin") for role in ("clock", "enable", "out", "test")}
        return Kind.CLOCK_GATE, (roles["clock"], roles["enable"]), () if roles["test"] else (roles["out"],)
    stored = next(cell.find("ff"), None)
    if stored is not None:
        clear = stored.text("clear")
        plain = stored.text("next_state") in pins and stored.text("clocked_on") in pins and not stored.text("preset")
        names = (stored.text("clocked_on"), stored.text("next_state"), *([clear.lstrip("!")] if clear else []))
        state, inverse = (name.strip() for name in stored.name.split(","))
        kept = [pin.name for wanted in (state, inverse) for pin in pins.values() if pin.function == wanted]
        has_state = any(pin.function == state for pin in pins.values())
        usable = plain and has_state and len(kept) <= 2 and (not clear or clear.startswith("!"))
        return Kind.FLIP_FLOP, names, tuple(kept) if usable else ()
    entered = tuple(pin.name for pin in pins.values() if pin.is_input)
    driven = tuple(pin.name for pin in pins.values() if pin.function)
    stores = any(group.kind in ("latch", "statetable") for group in cell.groups)
    tristate = any(pin.text("three_state") for pin in cell.find("pin"))
    unusable = stores or tristate or len(driven) != 1 or len(entered) > _MOST_INPUTS
    return Kind.LOGIC, entered, () if unusable else driven


def _with(cell: Group, attribute: str) -> str:
    return next((pin.name for pin in cell.find("pin") if pin.text(attribute) == "true"), "")


def _pin(group: Group) -> Pin:
    is_input = group.text("direction") == "input"
    return Pin(
        name=group.name,
        is_input=is_input,
        capacitance=float(group.text("capacitance") or 0) if is_input else 0.0,
        most_load=float(group.text("max_capacitance") or 0),
        function=group.text("function"),
        arcs=tuple(_arcs(group)),
        powers=tuple(
            Power(power.text("related_pin"), power.text("when"), _edges(power, "{}_power"))
            for power in group.find("internal_power")
        ),
    )


def _arcs(pin: Group) -> Iterator[Arc]:
    for timing in pin.find("timing"):
        if timing.text("timing_type") in ("", "combinational", "rising_edge"):
            delay, slew = _edges(timing, "cell_{}"), _edges(timing, "{}_transition")
            yield Arc(timing.text("related_pin"), timing.text("timing_sense"), delay, slew)


def _edges(group: Group, kind: str) -> dict[Edge, Table]:
    found: dict[Edge, Table] = {}
    for edge in EDGES:
        table = next(group.find(kind.format(edge)), None)
        if table is not None:
            found[edge] = _table(table)
    return found


def _table(group: Group) -> Table:
    slews, loads = (np.array(numbers(group.attributes.get(f"index_{axis}", "0"))) for axis in (1, 2))
    return Table(slews, loads, np.array(numbers(group.attributes["values"])).reshape(len(slews), len(loads)))


def _setups(pin: Group) -> Iterator[tuple[Edge, Table]]:
    for timing in pin.find("timing"):
        if timing.text("timing_type") == "setup_rising":
            yield from _edges(timing, "{}_constraint").items()
