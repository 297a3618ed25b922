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
        self._delays = np.zeros((*netlist.inputs.shape, 2))
        self._sources = np.full(netlist.nets, NO_NET, np.int64)  # the input net that decides when a net is there
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
                later = before + delay > self._arrivals[nets, number]
                self._arrivals[nets[later], number] = (before + delay)[later]
                self._sources[nets[later]] = sources[later]
                found = arc.slew[edge].at(slew, load)
                fresh = self._slews[nets, number] == SLEW_NS
                self._slews[nets, number] = np.where(fresh, found, np.maximum(self._slews[nets, number], found))

    def _slowest(self) -> SlowestPath:
        ends = list(self._ends())
        nets = np.array([net for net, _, _ in ends])
        times = self._arrivals[nets].max(axis=1) + np.array([setup for _, setup, _ in ends])
        worst = int(times.argmax())
        net, _, end = ends[worst]
        steps = []
        while True:
            cell = int(self._drivers[net])
            steps.append(self._step(net, cell))
            if cell < 0 or not self._netlist.is_kind[Kind.LOGIC][cell]:
                break
            net = int(self._sources[net])
        steps.reverse()
        return SlowestPath(float(times[worst]), steps[0].net, end, tuple(steps))

    def _step(self, net: int, cell: int) -> Step:
        netlist = self._netlist
        name = netlist.names[net] or self._memory_of(net)
        if cell < 0:
            return Step(name, "", "", float(self._arrivals[net].max()))
        block = netlist.blocks[netlist.owners[cell]].path
        return Step(name, block, netlist.models[netlist.kinds[cell]].name, float(self._arrivals[net].max()))

    def _memory_of(self, net: int) -> str:
        return next((f"{m.path}.rdata_o" for m in self._netlist.memories if net in m.ports["rdata_o"]), "")

    def _ends(self) -> Iterator[tuple[int, float, str]]:
        """Yield nets that something samples, the set-up time of what samples them, and its name."""
        netlist = self._netlist
        for cell in np.flatnonzero(~netlist.is_kind[Kind.LOGIC]):
            model = netlist.models[netlist.kinds[cell]]
            output = int(netlist.outputs[cell, 0])
            yield (
                int(netlist.inputs[cell, 1]),
                model.setup_ns,
                netlist.names[output] or netlist.blocks[netlist.owners[cell]].path,
            )
        for memory in netlist.memories:
            for port, nets in memory.ports.items():
                if port.endswith("_i"):
                    yield from ((net, self._memories[memory.path].setup_ns, f"{memory.path}.{port}") for net in nets)
        for port, nets in netlist.ports.items():
            if port not in netlist.drives:
                yield from ((net, 0.0, port) for net in nets)


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
    ready[netlist.outputs[logic, 0]] = False
    ready[[LOW, HIGH]] = True
    waiting = logic
    while len(waiting):
        inputs = netlist.inputs[waiting]
        can = (ready[inputs] | (inputs == NO_NET)).all(axis=1)
        if not can.any():
            raise IntarsiaError("logic of the netlist feeds back on itself without a register; break the loop.")
        yield waiting[can]
        ready[netlist.outputs[waiting[can], 0]] = True
        waiting = waiting[~can]
