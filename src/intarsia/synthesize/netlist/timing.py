# SPDX-License-Identifier: Apache-2.0
"""Static timing of a whole netlist: delays of all cells, and the slowest path between registers, memories and ports.

Delays and slews come from the library's tables (the worst edge and slew at each input), loads from `wires`. The clock
is ideal: it arrives everywhere at once. Wires delay by their capacitance only. Inputs of the design arrive with the
clock's edge, outputs may take the whole period.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.synthesize.netlist.cells import EDGES, Arc, Edge, Kind
from intarsia.synthesize.netlist.flat import HIGH, LOW, NO_NET, Netlist

Reals = NDArray[np.float64]
#: Slew of the clock and of what comes from outside or from a memory, in ns.
SLEW_NS = 0.1
_OTHER: Mapping[Edge, Edge] = {"rise": "fall", "fall": "rise"}


@dataclass(frozen=True)
class MemoryTiming:
    """When a memory's word is there after the clock's edge, and when its inputs must be there before it, in ns."""

    access_ns: float
    setup_ns: float


@dataclass(frozen=True)
class Step:
    """A step of a path: the net that is reached, by a cell of a block, and when, in ns after the clock's edge."""

    net: str
    block: str
    cell: str
    time_ns: float


@dataclass(frozen=True)
class SlowestPath:
    """The slowest path.

    Attributes:
        period_ns: the least period of the clock, set-up time included.
        start, end: registers, memories or ports, by their names in the design.
        steps: what lies between.
    """

    period_ns: float
    start: str
    end: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, eq=False)
class Timing:
    """Delays of a netlist.

    Attributes:
        slews: of each net and edge (rise, fall), in ns.
        delays: from each input pin of each cell to its output, for each edge of the output, in ns.
        path: the slowest path.
    """

    slews: Reals  # [net, edge]
    delays: Reals  # [cell, pin, edge]
    path: SlowestPath


def analyze(netlist: Netlist, loads: Reals, memories: Mapping[str, MemoryTiming]) -> Timing:
    """Return the timing of a netlist.

    Args:
        netlist: with the buffers that it needs.
        loads: of each net, in pF.
        memories: timing of each memory by its path.

    Raises:
        IntarsiaError: logic feeds back on itself without a register.
    """
    return _Analysis(netlist, loads, memories).timing()


class _Analysis:
    def __init__(self, netlist: Netlist, loads: Reals, memories: Mapping[str, MemoryTiming]) -> None:
        self._netlist, self._loads, self._memories = netlist, loads, memories
        self._arrivals = np.zeros((netlist.nets, 2))
        self._slews = np.full((netlist.nets, 2), SLEW_NS)
        self._slews[netlist.outputs[netlist.outputs != NO_NET]] = np.nan  # until an arc says
        self._delays = np.zeros((*netlist.inputs.shape, 2))
        # what decides when a net is there: 2 · the input net + its edge
        self._sources = np.full((netlist.nets, 2), NO_NET, np.int64)
        self._drivers = np.full(netlist.nets, -1, np.int64)
        for column in netlist.outputs.T:
            self._drivers[column[column != NO_NET]] = np.flatnonzero(column != NO_NET)

    def timing(self) -> Timing:
        for memory in self._netlist.memories:
            self._arrivals[list(memory.ports["rdata_o"])] = self._memories[memory.path].access_ns
        self._propagate(np.flatnonzero(~self._netlist.is_kind[Kind.LOGIC]))
        for level in levels(self._netlist):
            self._propagate(level)
        return Timing(self._slews, self._delays, self._slowest())

    def _propagate(self, cells: NDArray[np.intp]) -> None:
        """Set when the outputs of some cells are there, from their inputs."""
        kinds = self._netlist.kinds[cells]
        for kind in np.unique(kinds):
            model, some = self._netlist.models[kind], cells[kinds == kind]
            for place, name in enumerate(model.outputs):
                nets = self._netlist.outputs[some, place]
                driven = some[nets != NO_NET]
                for arc in model.pins[name].arcs:
                    if arc.input in model.inputs:
                        self._arc(driven, nets[nets != NO_NET], model.inputs.index(arc.input), arc, model.kind)
                unknown = nets[nets != NO_NET]
                self._slews[unknown] = np.where(np.isnan(self._slews[unknown]), SLEW_NS, self._slews[unknown])

    def _arc(self, cells: NDArray[np.intp], nets: NDArray[np.int32], pin: int, arc: Arc, kind: Kind) -> None:
        sources = self._netlist.inputs[cells, pin]
        load = self._loads[nets]
        for number, edge in enumerate(EDGES):
            if edge not in arc.delay:
                continue
            for cause in _causes(arc.sense, edge, kind):
                slew = np.full(len(cells), SLEW_NS) if kind is not Kind.LOGIC else self._slews[sources, cause]
                before = np.zeros(len(cells)) if kind is not Kind.LOGIC else self._arrivals[sources, cause]
                delay = np.maximum(arc.delay[edge].at(slew, load), 0.0)
                self._delays[cells, pin, number] = np.maximum(self._delays[cells, pin, number], delay)
                later = (before + delay > self._arrivals[nets, number]) & (sources != LOW) & (sources != HIGH)
                self._arrivals[nets[later], number] = (before + delay)[later]
                self._sources[nets[later], number] = 2 * sources[later] + cause
                found = arc.slew[edge].at(slew, load)
                self._slews[nets, number] = np.fmax(self._slews[nets, number], found)

    def _slowest(self) -> SlowestPath:
        ends = list(self._ends())
        nets = np.array([net for net, _, _ in ends])
        times = self._arrivals[nets] + np.array([setup for _, setup, _ in ends])
        worst, edge = (int(place) for place in np.unravel_index(times.argmax(), times.shape))
        net, _, end = ends[worst]
        steps = []
        while True:
            cell = int(self._drivers[net])
            steps.append(self._step(net, edge, cell))
            source = int(self._sources[net, edge])
            if cell < 0 or source < 0 or not self._netlist.is_kind[Kind.LOGIC][cell]:
                break
            net, edge = divmod(source, 2)
        steps.reverse()
        return SlowestPath(float(times.max()), steps[0].net, end, tuple(steps))

    def _step(self, net: int, edge: int, cell: int) -> Step:
        netlist = self._netlist
        name, time = netlist.names[net] or self._memory_of(net), float(self._arrivals[net, edge])
        if cell < 0:
            return Step(name, "", "", time)
        block = netlist.blocks[netlist.owners[cell]].path
        return Step(name, block, netlist.models[netlist.kinds[cell]].name, time)

    def _memory_of(self, net: int) -> str:
        return next((f"{m.path}.rdata_o" for m in self._netlist.memories if net in m.ports["rdata_o"]), "")

    def _ends(self) -> Iterator[tuple[int, tuple[float, float], str]]:
        """Yield nets that something samples, the set-up time of what samples them (rise, fall), and its name."""
        netlist, setups = self._netlist, self._setups()
        for cell in np.flatnonzero(~netlist.is_kind[Kind.LOGIC]):
            output = int(netlist.outputs[cell, 0])
            name = netlist.names[output] if output != NO_NET else ""
            rise, fall = (float(setup) for setup in setups[cell])
            yield int(netlist.inputs[cell, 1]), (rise, fall), name or netlist.blocks[netlist.owners[cell]].path
        for memory in netlist.memories:
            setup = self._memories[memory.path].setup_ns
            for port, nets in memory.ports.items():
                if port.endswith("_i"):
                    yield from ((net, (setup, setup), f"{memory.path}.{port}") for net in nets)
        for port, nets in netlist.ports.items():
            if port not in netlist.drives:
                yield from ((net, (0.0, 0.0), port) for net in nets)

    def _setups(self) -> Reals:
        """Return the set-up time of each cell's data for its edges, at the slew that the data has."""
        netlist = self._netlist
        found = np.zeros((len(netlist.kinds), 2))
        for kind, model in enumerate(netlist.models):
            cells = np.flatnonzero(netlist.kinds == kind)
            for number, edge in enumerate(EDGES):
                tables = [table for name, table in model.setups if name == edge]
                if tables:
                    slews = self._slews[netlist.inputs[cells, 1], number]
                    found[cells, number] = np.max([table.at(slews, SLEW_NS) for table in tables], axis=0)
        return found


def _causes(sense: str, edge: Edge, kind: Kind) -> tuple[int, ...]:
    """Return the edges of the input (0 rise, 1 fall) that cause an edge of the output."""
    if kind is not Kind.LOGIC:
        return (0,)
    same, other = EDGES.index(edge), EDGES.index(_OTHER[edge])
    return {"positive_unate": (same,), "negative_unate": (other,)}.get(sense, (0, 1))


def levels(netlist: Netlist) -> Iterator[NDArray[np.intp]]:
    """Yield the cells of logic, level by level: the inputs of a cell come from registers or from levels before.

    Raises:
        IntarsiaError: logic feeds back on itself without a register.
    """
    ready = np.ones(netlist.nets, bool)
    logic = np.flatnonzero(netlist.is_kind[Kind.LOGIC])
    driven = netlist.outputs[logic, 0]
    ready[driven[driven != NO_NET]] = False
    ready[[LOW, HIGH]] = True
    waiting = logic
    while len(waiting):
        inputs = netlist.inputs[waiting]
        can = (ready[inputs] | (inputs == NO_NET)).all(axis=1)
        if not can.any():
            raise IntarsiaError("logic of the netlist feeds back on itself without a register; break the loop.")
        yield waiting[can]
        driven = netlist.outputs[waiting[can], 0]
        ready[driven[driven != NO_NET]] = True
        waiting = waiting[~can]
