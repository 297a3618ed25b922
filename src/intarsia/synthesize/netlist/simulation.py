# SPDX-License-Identifier: Apache-2.0
"""Simulation of a mapped netlist with the delays of its cells, which counts what switches, glitches included.

Every cell has an inertial delay for a rising and one for a falling output: the mean over its inputs of that in its
tables, at the slews and the load of the static timing. What is counted is what energy depends on: for each cell which
input changed, in which state of all inputs, and whether its output followed.
"""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.synthesize.netlist.cells import CellModel, Kind
from intarsia.synthesize.netlist.clocks import clock_gates
from intarsia.synthesize.netlist.compiled import compiled, load
from intarsia.synthesize.netlist.flat import HIGH, LOW, NO_NET, MemoryPins, Netlist
from intarsia.synthesize.netlist.memories import MemoryModel
from intarsia.synthesize.netlist.timing import Timing
from intarsia.synthesize.netlist.wires import Sinks

Counts = NDArray[np.int64]
Bits = NDArray[np.uint8]
_SOURCE, _NONE = 3, -1  # the kind of a cell that stands for a net without one; no cell
_PS = 1000
#: Counters of a flip-flop: clock edges that rise and fall by (output, data), changes of data by (clock, data), changes
#: of the output (rise, fall).
FLOP_RISE, FLOP_FALL, FLOP_DATA, FLOP_OUTPUT, FLOP_COUNTERS = 0, 4, 8, 12, 14
#: Counters of a clock gate: pulses passed on and stopped, changes of the enable by (clock, enable).
GATE_PULSES, GATE_ENABLE, GATE_COUNTERS = 0, 4, 8


@dataclass(frozen=True, eq=False)
class Activity:
    """What switched while it was counted.

    Attributes:
        cycles: clock cycles.
        toggles: changes of each net.
        counters: of each cell, from `first` on.
        first: index of each cell's first counter.
        pulses: clock pulses that each clock gate passed on, by cell.
        reads, writes: of each memory, by its path and address.
    """

    cycles: int
    toggles: Counts
    counters: Counts
    first: Counts
    pulses: Counts
    reads: Mapping[str, Counts]
    writes: Mapping[str, Counts]

    def since(self, before: "Activity") -> "Activity":
        """Return what happened after `before`, an earlier state of the same simulation."""
        return Activity(
            cycles=self.cycles - before.cycles,
            toggles=self.toggles - before.toggles,
            counters=self.counters - before.counters,
            first=self.first,
            pulses=self.pulses - before.pulses,
            reads={path: counts - before.reads[path] for path, counts in self.reads.items()},
            writes={path: counts - before.writes[path] for path, counts in self.writes.items()},
        )


class NetlistSimulation:
    """A netlist that runs. Use it in a `with` block.

    Args:
        netlist: with buffers.
        timing: its delays.
        memories: by their paths.
        period_ns: of the clock; everything must settle in it.
        clock: name of the clock's port.
        cache: folder of the compiled simulator; None for the user's.

    Raises:
        IntarsiaError: there is no compiler, or the clock passes through other cells than buffers and clock gates.
    """

    def __init__(
        self,
        netlist: Netlist,
        timing: Timing,
        memories: Mapping[str, MemoryModel],
        *,
        period_ns: float,
        clock: str = "clk_i",
        cache: Path | None = None,
    ) -> None:
        self._netlist, self._period_ns = netlist, period_ns
        self._library = load(compiled(cache))
        self._handle: int | None = None
        self.gates = clock_gates(netlist, clock)
        self._sources = _Sources(netlist)
        self._first = _first_counters(netlist)
        self._changes = _changes(netlist, self._first)
        self._access_ns = {memory.path: memories[memory.path].access_ns for memory in netlist.memories}
        self._handle = self._create(timing)
        self._cycles, self._counting = 0, False
        self._latest = ctypes.c_int32(0)
        self._memories = {
            memory.path: _Words(memory, memories[memory.path].depth, self._sources) for memory in netlist.memories
        }
        for path, words in self._memories.items():
            words.join(self._library, self._handle, round(self._access_ns[path] * _PS))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the simulation; it cannot be used any more."""
        if self._handle is not None:
            self._library.netsim_destroy(self._handle)
            self._handle = None

    def _create(self, timing: Timing) -> int:
        netlist, sources = self._netlist, self._sources
        models = netlist.models
        quiet = [any(model.pins[pin].powers for pin in model.inputs) for model in models]
        tables = [model.table if model.kind is Kind.LOGIC else 0 for model in models]
        fan_first, fans = _fans(netlist, sources)
        kept = sources.count
        longest = max(float(timing.delays.max(initial=0.0)), *self._access_ns.values(), 0.0)
        return int(
            self._library.netsim_create(
                len(models) + 1,
                _given([*tables, 0], np.uint64),
                _given([*(model.kind.value for model in models), _SOURCE], np.uint8),
                _given([*(len(model.inputs) for model in models), 0], np.uint8),
                _given([*quiet, False], np.uint8),
                kept + len(netlist.kinds),
                _given(np.concatenate([np.full(kept, len(models)), netlist.kinds]), np.uint8),
                _given(np.concatenate([np.arange(kept), kept + self._first[:-1]]), np.int32),
                _given(fan_first, np.int32),
                _given(fans, np.uint32),
                _given(np.concatenate([np.ones((kept, 2)), _delays_ps(netlist, timing)]), np.uint16),
                _given(np.concatenate([np.full(kept, _NONE), sources.inverses]), np.int32),
                _given(np.concatenate([np.full(kept, _NONE), _moved(self.gates, kept)]), np.int32),
                kept + int(self._first[-1]) + 1,
                round(self._period_ns * _PS / 2),
                round((longest + self._period_ns) * _PS) + 2,
            )
        )

    def store(self, memory: str, words: Bits) -> None:
        """Fill the first words of a memory; `words` are bits [word, bit], the least significant first."""
        self._memories[memory].words[: len(words), : words.shape[1]] = words

    def stored(self, memory: str) -> Bits:
        """Return the words of a memory as bits [word, bit]."""
        return self._memories[memory].words.copy()

    def drive(self, port: str, value: int) -> None:
        """Set an input of the design from the next cycle on."""
        for bit, net in enumerate(self._netlist.ports[port]):
            self._library.netsim_drive(self._handle, int(self._sources.driver[net]), value >> bit & 1)

    def value(self, port: str) -> int:
        """Return the value of an output of the design."""
        drivers = [int(self._sources.driver[net]) for net in self._netlist.ports[port]]
        return sum(self._library.netsim_value(self._handle, cell) << bit for bit, cell in enumerate(drivers))

    def values(self) -> NDArray[np.int64]:
        """Return the value of each net; the clock's are 0."""
        return np.array([self._library.netsim_value(self._handle, int(cell)) for cell in self._sources.driver])

    def run(self, limit: int, *, until: str | None = None) -> int:
        """Run clock cycles, at most `limit`, until a port of one bit is 1; return how many.

        Raises:
            IntarsiaError: something had not settled within a period.
        """
        watch = _NONE if until is None else int(self._sources.driver[self._netlist.ports[until][0]])
        cycles = int(self._library.netsim_run(self._handle, limit, watch, ctypes.byref(self._latest)))
        if cycles < 0:
            raise IntarsiaError(f"the netlist does not settle in {self._period_ns:g} ns; choose a slower clock.")
        self._cycles += cycles * self._counting
        return cycles

    @property
    def latest_ns(self) -> float:
        """When the latest change was, in ns after the clock's edge, over all cycles until now."""
        return self._latest.value / _PS

    def count(self, on: bool) -> None:
        """Begin or end to count what switches."""
        self._library.netsim_count(self._handle, int(on))
        self._counting = on

    def activity(self) -> Activity:
        """Return what has been counted until now."""
        kept, total = self._sources.count, int(self._first[-1])
        counters = self._counted(self._library.netsim_counters, kept + total)
        return Activity(
            cycles=self._cycles,
            toggles=self._toggles(counters[:kept], counters[kept:]),
            counters=counters[kept:],
            first=self._first,
            pulses=self._counted(self._library.netsim_pulses, kept + len(self._netlist.kinds))[kept:],
            reads={path: words.reads.astype(np.int64) for path, words in self._memories.items()},
            writes={path: words.writes.astype(np.int64) for path, words in self._memories.items()},
        )

    def _counted(self, function: Callable[[int | None], object], number: int) -> Counts:
        return np.ctypeslib.as_array(function(self._handle), (number,)).astype(np.int64)

    def _toggles(self, of_sources: Counts, of_cells: Counts) -> Counts:
        """Return the changes of each net, from the counters of what drives it."""
        toggles = np.zeros(self._netlist.nets, np.int64)
        toggles[self._sources.nets] = of_sources
        each = np.add.reduceat(of_cells * self._changes, self._first[:-1])
        outputs = self._netlist.outputs[:, 0]
        toggles[outputs[outputs != NO_NET]] = each[outputs != NO_NET]
        return toggles


class _Sources:
    """Cells that stand for nets that no cell drives: the constants, inputs, bits of memories, inverted outputs.

    They come before all real cells. Attributes: `nets` of each; `driver` of each net, as the simulator numbers cells;
    `inverses`: of each real cell, the one for its second output, or none.
    """

    def __init__(self, netlist: Netlist) -> None:
        nets = [LOW, HIGH, *(net for name in sorted(netlist.drives) for net in netlist.ports[name])]
        nets += [net for memory in netlist.memories for net in memory.ports["rdata_o"]]
        self.inverses = np.full(len(netlist.kinds), _NONE, np.int32)
        if netlist.outputs.shape[1] > 1:
            for cell in np.flatnonzero(netlist.outputs[:, 1] != NO_NET):
                self.inverses[cell] = len(nets)
                nets.append(int(netlist.outputs[cell, 1]))
        self.nets = np.array(nets, np.int32)
        self.driver = np.zeros(netlist.nets, np.int32)
        outputs = netlist.outputs[:, 0]
        self.driver[outputs[outputs != NO_NET]] = len(nets) + np.flatnonzero(outputs != NO_NET)
        self.driver[self.nets] = np.arange(len(nets))

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.nets)


class _Words:
    """The content of a memory and its counters; C++ writes to them, so they live as long as the simulation."""

    def __init__(self, memory: MemoryPins, depth: int, sources: _Sources) -> None:
        self.words = np.zeros((depth, len(memory.ports["rdata_o"])), np.uint8)
        self.reads, self.writes = np.zeros(depth, np.int32), np.zeros(depth, np.int32)
        self._ports = {name: sources.driver[list(nets)] for name, nets in memory.ports.items()}

    def join(self, library: ctypes.CDLL, handle: int, access_ps: int) -> None:
        """Make it a memory of a simulation."""
        ports = self._ports
        library.netsim_memory(
            handle,
            *self.words.shape,
            len(ports["be_i"]),
            int(ports["req_i"][0]),
            int(ports["we_i"][0]),
            *(_address(ports[name]) for name in ("be_i", "addr_i", "wdata_i", "rdata_o")),
            _address(self.words),
            _address(self.reads),
            _address(self.writes),
            access_ps,
        )


def _fans(netlist: Netlist, sources: _Sources) -> tuple[Counts, NDArray[np.uint32]]:
    """Return what the output of each cell of the simulator drives, as cell · 8 + pin, and where each one's begin."""
    sinks = Sinks(netlist)
    entries = ((sources.count + sinks.cells) << 3 | sinks.pins).astype(np.uint32)
    outputs = np.concatenate([sources.nets, netlist.outputs[:, 0]])
    counts = np.where(outputs == NO_NET, 0, sinks.counts[outputs])
    first = np.concatenate([[0], np.cumsum(counts)])
    places = np.repeat(sinks.first[outputs] - first[:-1], counts) + np.arange(first[-1])
    return first, entries[places]


def _delays_ps(netlist: Netlist, timing: Timing) -> Counts:
    """Return the delay of each cell for a rising and a falling output, the mean over its inputs, in ps."""
    known = timing.delays > 0
    mean = timing.delays.sum(axis=1) / np.maximum(1, known.sum(axis=1))
    found: Counts = np.clip(np.round(mean * _PS), 1, np.iinfo(np.uint16).max).astype(np.int64)
    return found


def _moved(cells: NDArray[np.int32], by: int) -> NDArray[np.int32]:
    return np.where(cells == _NONE, _NONE, cells + by).astype(np.int32)


def counters_of(model: CellModel) -> int:
    """Return how many counters a cell has; one without inputs, which never switches, has one that is never used."""
    sizes = {Kind.FLIP_FLOP: FLOP_COUNTERS, Kind.CLOCK_GATE: GATE_COUNTERS}
    return sizes.get(model.kind, max(1, 2 * len(model.inputs) << len(model.inputs)))


def _first_counters(netlist: Netlist) -> Counts:
    """Return the index of the first counter of each cell, and how many there are."""
    each = [counters_of(model) for model in netlist.models]
    return np.concatenate([[0], np.cumsum(np.array(each, np.int64)[netlist.kinds])])


def _changes(netlist: Netlist, first: Counts) -> NDArray[np.bool_]:
    """Return which counters count changes of a cell's output."""
    found = np.zeros(int(first[-1]), bool)
    for kind, model in enumerate(netlist.models):
        begins = first[:-1][netlist.kinds == kind][:, None]
        if model.kind is Kind.LOGIC:
            found[begins + np.arange(0, 2 * len(model.inputs) << len(model.inputs), 2)] = True
        elif model.kind is Kind.FLIP_FLOP:
            found[begins + np.arange(FLOP_OUTPUT, FLOP_COUNTERS)] = True
    return found


def _given(array: Sequence[int] | NDArray[np.generic], kind: type[np.generic]) -> ctypes.c_void_p:
    """Return an array as an argument that C++ copies during the call."""
    made = np.ascontiguousarray(array, kind)
    argument = ctypes.c_void_p(made.ctypes.data)
    argument.array = made  # type: ignore[attr-defined]  # lives as long as the argument
    return argument


def _address(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
