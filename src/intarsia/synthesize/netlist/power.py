# SPDX-License-Identifier: Apache-2.0
"""Energy of what switched: the library's internal energies, the charging of nets, the clock, leakage and memories.

The energy of an event follows from the cell, the input that changed, the state of the other inputs (`when` of the
library), the slew at that input and the load. A net takes C·V²/2 for each change. The clock's net and tree take their
energy for every pulse, behind a clock gate for those that it passes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intarsia.synthesize.netlist.cells import CellModel, Cells, Edge, Kind, Pin, Power
from intarsia.synthesize.netlist.clocks import clock_gates, is_clock_buffer
from intarsia.synthesize.netlist.flat import NO_NET, MemoryPins, Netlist
from intarsia.synthesize.netlist.functions import truth_table
from intarsia.synthesize.netlist.memories import MemoryModel
from intarsia.synthesize.netlist.simulation import (
    FLOP_DATA,
    FLOP_FALL,
    FLOP_OUTPUT,
    FLOP_RISE,
    GATE_ENABLE,
    GATE_PULSES,
    Activity,
    counters_of,
)
from intarsia.synthesize.netlist.timing import SLEW_NS, Timing

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class PartEnergy:
    """Energy of a part, in pJ.

    Attributes:
        name: of the part.
        internal: inside cells, clock pins apart; of a memory, of its accesses.
        nets: of charging the nets that its cells drive, or a memory's outputs.
        clock: of its clock pins, clock gates and the tree to them, nets included.
        leakage: over the time of the activity.
    """

    name: str
    internal: float
    nets: float
    clock: float
    leakage: float

    @property
    def total(self) -> float:
        """The sum of all."""
        return self.internal + self.nets + self.clock + self.leakage


class EnergyModel:
    """What every event of a netlist takes.

    Args:
        netlist: with buffers.
        cells: its library.
        loads: of each net, in pF.
        timing: its slews.
        memories: by their paths.
        clock: name of the clock's port.
    """

    def __init__(
        self,
        netlist: Netlist,
        cells: Cells,
        loads: Reals,
        timing: Timing,
        memories: Mapping[str, MemoryModel],
        *,
        clock: str = "clk_i",
    ) -> None:
        self._netlist, self._memories = netlist, memories
        self._gates, self._is_buffer = clock_gates(netlist, clock), is_clock_buffer(netlist, clock)
        self._root = netlist.ports[clock][0]
        self.per_toggle_pj = 0.5 * cells.voltage**2 * loads
        coefficients = _Coefficients(netlist, loads, timing.slews)
        self._of_events, self._of_clock = coefficients.split()
        self._per_pulse = np.where(self._is_buffer, coefficients.buffers(), 0.0)

    def parts(self, activity: Activity, period_ns: float, name_of: Sequence[str]) -> tuple[PartEnergy, ...]:
        """Return the energy of each part, cells first, then memories.

        Args:
            activity: what switched.
            period_ns: of the clock.
            name_of: the part that each block belongs to.
        """
        internal, nets, clock = self.cells(activity)
        time_ns = activity.cycles * period_ns
        leakage = self._leakage_nw() * time_ns * 1e-6
        names = list(dict.fromkeys(name_of))
        index = np.array([names.index(name) for name in name_of])[self._netlist.owners]
        sums = [np.bincount(index, weights=each, minlength=len(names)) for each in (internal, nets, clock, leakage)]
        root = self._root_pj(activity)
        found = [PartEnergy(name, *(float(each[i]) for each in sums)) for i, name in enumerate(names)]
        found.append(PartEnergy("clock input", 0.0, 0.0, root, 0.0))
        return (*found, *(self._memory(memory, activity, time_ns) for memory in self._netlist.memories))

    def cells(self, activity: Activity) -> tuple[Reals, Reals, Reals]:
        """Return for each cell the energy inside it, of the nets that it drives, and of its clock, in pJ."""
        first = activity.first[:-1]
        internal = np.add.reduceat(activity.counters * self._of_events, first)
        clock = np.add.reduceat(activity.counters * self._of_clock, first)
        nets = np.zeros(len(self._netlist.kinds))
        for column in self._netlist.outputs.T:
            driven = column != NO_NET
            nets[driven] += activity.toggles[column[driven]] * self.per_toggle_pj[column[driven]]
        pulses = self._pulses(activity)
        clock += pulses * self._per_pulse
        passes = self._is_buffer | self._netlist.is_kind[Kind.CLOCK_GATE]
        out = self._netlist.outputs[:, 0]
        passed = np.where(self._netlist.is_kind[Kind.CLOCK_GATE], activity.pulses, pulses)
        clock += np.where(passes & (out != NO_NET), 2 * passed * self.per_toggle_pj[out], 0.0)
        return internal, nets, clock

    def _pulses(self, activity: Activity) -> Reals:
        """Return how many clock pulses reach each cell."""
        behind = np.where(self._gates >= 0, activity.pulses[self._gates], activity.cycles)
        return behind.astype(np.float64)

    def _root_pj(self, activity: Activity) -> float:
        """Return what the net of the clock's port takes."""
        return float(2 * activity.cycles * self.per_toggle_pj[self._root])

    def _leakage_nw(self) -> Reals:
        found: Reals = np.array([model.leakage_nw for model in self._netlist.models])[self._netlist.kinds]
        return found

    def _memory(self, pins: MemoryPins, activity: Activity, time_ns: float) -> PartEnergy:
        memory, path, driven = self._memories[pins.path], pins.path, list(pins.ports["rdata_o"])
        accesses = activity.reads[path] @ memory.read_pj + activity.writes[path] @ memory.write_pj
        nets = activity.toggles[driven] @ self.per_toggle_pj[driven]
        return PartEnergy(path, float(accesses), float(nets), 0.0, memory.leakage_nw * time_ns * 1e-6)


class _Coefficients:
    """Energy of an event of each counter, in pJ."""

    def __init__(self, netlist: Netlist, loads: Reals, slews: Reals) -> None:
        self._netlist, self._loads, self._slews = netlist, loads, slews

    def split(self) -> tuple[Reals, Reals]:
        """Return the energies of events, and those of the clock, for all counters in order."""
        events, clock = [], []
        order = []
        for kind, model in enumerate(self._netlist.models):
            cells = np.flatnonzero(self._netlist.kinds == kind)
            if model.kind is Kind.LOGIC:
                found = self._logic(model, cells)
                apart = np.zeros_like(found)
            else:
                found, apart = self._flop(model, cells) if model.kind is Kind.FLIP_FLOP else self._gate(model, cells)
            events.append(found)
            clock.append(apart)
            order.append(cells)
        return self._joined(events, order), self._joined(clock, order)

    def _joined(self, rows: list[Reals], order: list[NDArray[np.intp]]) -> Reals:
        """Return the rows of all cells one after the other, in the order of the cells."""
        width = np.zeros(len(self._netlist.kinds), np.intp)
        for cells, row in zip(order, rows, strict=True):
            width[cells] = row.shape[1]
        first = np.concatenate([[0], np.cumsum(width)])
        result = np.zeros(int(first[-1]))
        for cells, row in zip(order, rows, strict=True):
            result[first[cells][:, None] + np.arange(row.shape[1])] = row
        return result

    def buffers(self) -> Reals:
        """Return for each cell of one input what a pulse takes in it, as a buffer of the clock."""
        found = np.zeros(len(self._netlist.kinds))
        for kind, model in enumerate(self._netlist.models):
            if model.kind is Kind.LOGIC and len(model.inputs) == 1:
                cells = np.flatnonzero(self._netlist.kinds == kind)
                slew, load = np.full(len(cells), SLEW_NS), self._load(cells, 0)
                for edge in ("rise", "fall"):
                    found[cells] += _energy(model.pins[model.outputs[0]], model.inputs[0], {}, edge, slew, load)
        return found

    def _load(self, cells: NDArray[np.intp], output: int) -> Reals:
        nets = self._netlist.outputs[cells, output]
        found: Reals = np.where(nets == NO_NET, 0.0, self._loads[nets])
        return found

    def _slew(self, cells: NDArray[np.intp], pin: int, edge: Edge) -> Reals:
        found: Reals = self._slews[self._netlist.inputs[cells, pin], 0 if edge == "rise" else 1]
        return found

    def _logic(self, model: CellModel, cells: NDArray[np.intp]) -> Reals:
        """Counters (pin, state of all inputs after the change, whether nothing came of it)."""
        if not model.inputs:
            return np.zeros((len(cells), counters_of(model)))
        size = 1 << len(model.inputs)
        result = np.zeros((len(cells), len(model.inputs), size, 2))
        output, load = model.pins[model.outputs[0]], self._load(cells, 0)
        for place, name in enumerate(model.inputs):
            for state in range(size):
                values = {other: state >> bit & 1 for bit, other in enumerate(model.inputs)}
                entered: Edge = "rise" if values[name] else "fall"
                slew = self._slew(cells, place, entered)
                edge: Edge = "rise" if model.table >> state & 1 else "fall"
                result[:, place, state, 0] = _energy(output, name, values, edge, slew, load)
                result[:, place, state, 1] = _energy(model.pins[name], "", values, entered, slew, load)
        return result.reshape(len(cells), -1)

    def _flop(self, model: CellModel, cells: NDArray[np.intp]) -> tuple[Reals, Reals]:
        clock, data, *clear = model.inputs
        events, apart = np.zeros((2, len(cells), counters_of(model)))
        slow = np.full(len(cells), SLEW_NS)
        still = dict.fromkeys(clear, 1)
        for q in (0, 1):
            for d in (0, 1):
                values = {data: d, **still, **{name: q ^ number for number, name in enumerate(model.outputs)}}
                apart[:, FLOP_RISE + 2 * q + d] = _energy(model.pins[clock], "", values, "rise", slow, slow)
                apart[:, FLOP_FALL + 2 * q + d] = _energy(model.pins[clock], "", values, "fall", slow, slow)
        for high in (0, 1):
            for new in (0, 1):
                edge: Edge = "rise" if new else "fall"
                slew = self._slew(cells, 1, edge)
                events[:, FLOP_DATA + 2 * high + new] = _energy(
                    model.pins[data], "", {clock: high, data: new, **still}, edge, slew, slew
                )
        for number, output in enumerate(model.outputs):
            load = self._load(cells, number)
            for falls in (0, 1):
                edge = "fall" if falls ^ number else "rise"
                events[:, FLOP_OUTPUT + falls] += _energy(model.pins[output], clock, {}, edge, slow, load)
        return events, apart

    def _gate(self, model: CellModel, cells: NDArray[np.intp]) -> tuple[Reals, Reals]:
        clock, enable = model.inputs
        apart = np.zeros((len(cells), counters_of(model)))
        slow, load = np.full(len(cells), SLEW_NS), self._load(cells, 0)
        for edge in ("rise", "fall"):
            entered = _energy(model.pins[clock], "", {}, edge, slow, load)
            apart[:, GATE_PULSES] += entered + _energy(model.pins[model.outputs[0]], clock, {}, edge, slow, load)
            apart[:, GATE_PULSES + 1] += entered
        for high in (0, 1):
            for new in (0, 1):
                changed: Edge = "rise" if new else "fall"
                slew = self._slew(cells, 1, changed)
                values = {clock: high, enable: new}
                apart[:, GATE_ENABLE + 2 * high + new] = _energy(model.pins[enable], "", values, changed, slew, load)
        return np.zeros_like(apart), apart


def _energy(  # noqa: PLR0917 (in the order of the library's groups)
    pin: Pin, cause: str, values: Mapping[str, int], edge: Edge, slew: Reals, load: Reals
) -> Reals:
    """Return the energy of an edge of a pin, caused by another pin (empty: by itself), in a state of others, in pJ.

    The first group whose condition holds counts; without one, the group without a condition.
    """
    groups = [power for power in pin.powers if power.input == cause and edge in power.energy]
    chosen = next((power for power in groups if power.when and _holds(power, values)), None)
    chosen = chosen or next((power for power in groups if not power.when), None)
    return np.zeros(len(slew)) if chosen is None else chosen.energy[edge].at(slew, load)


def _holds(power: Power, values: Mapping[str, int]) -> bool:
    """Whether a condition holds; one that names other pins does not."""
    names = sorted(values)
    try:
        table = truth_table(power.when, names)
    except ValueError:
        return False
    state = sum(values[name] << bit for bit, name in enumerate(names))
    return bool(table >> state & 1)
