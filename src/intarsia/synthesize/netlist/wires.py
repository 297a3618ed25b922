# SPDX-License-Identifier: Apache-2.0
"""What a net loads its driver with: pins, and an estimate of wires.

Within a block, the length of a net of n sinks is that of the library's wire-load table. A net that joins blocks also
crosses half the side of the smallest block around them. The capacitance per length is the library's.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from intarsia.synthesize.netlist.cells import Cells
from intarsia.synthesize.netlist.flat import HIGH, LOW, NO_NET, Netlist

Reals = NDArray[np.float64]
Blocks = NDArray[np.intp]
#: Cells fill this share of the area that they are placed in.
_FILLED = 0.7


class Sinks:
    """Which input pins each net drives.

    Attributes:
        cells, pins: of all input pins, sorted by their net, then by cell.
        first: index of the first pin of each net, and one past the last.
        pin_pf: capacitance of all input pins of a net, in pF.
    """

    def __init__(self, netlist: Netlist) -> None:
        flat = netlist.inputs.ravel()
        order = np.argsort(flat, kind="stable")
        order = order[np.searchsorted(flat[order], 0) :]  # without padding
        width = netlist.inputs.shape[1]
        self.cells, self.pins = order // width, order % width
        self.first = np.searchsorted(flat[order], np.arange(netlist.nets + 1))
        each = pin_capacitances(netlist)[self.cells, self.pins]
        self.pin_pf = np.bincount(flat[order], weights=each, minlength=netlist.nets)

    @property
    def counts(self) -> NDArray[np.intp]:
        """How many input pins each net drives."""
        return np.diff(self.first)


def pin_capacitances(netlist: Netlist) -> Reals:
    """Return the capacitance of each input pin of each cell, in pF."""
    table = np.zeros((len(netlist.models), netlist.inputs.shape[1]))
    for row, model in zip(table, netlist.models, strict=True):
        row[: len(model.inputs)] = [model.pins[name].capacitance for name in model.inputs]
    found: Reals = table[netlist.kinds]
    return found


class Wires:
    """The estimate for one netlist; `memory_pf` is the capacitance of an input of each memory, by its path."""

    def __init__(self, netlist: Netlist, cells: Cells, *, memory_pf: Mapping[str, float]) -> None:
        self._cells, self._memory_pf = cells, memory_pf
        self._parents = np.array([block.parent for block in netlist.blocks], np.intp)
        self._depths = np.zeros(len(self._parents), np.intp)
        own = np.bincount(netlist.owners, weights=netlist.areas_um2, minlength=len(netlist.blocks))
        for block in range(1, len(own)):  # a block comes behind the one around it
            self._depths[block] = self._depths[self._parents[block]] + 1
        for block in range(len(own) - 1, 0, -1):
            own[self._parents[block]] += own[block]
        self._spans_um = 0.5 * np.sqrt(own / _FILLED)

    def around(self, first: Blocks, second: Blocks) -> Blocks:
        """Return the smallest block around both of each pair of blocks."""
        a, b = first.copy(), second.copy()
        while (differ := a != b).any():
            deeper = differ & (self._depths[a] >= self._depths[b])
            other = differ & ~deeper
            a[deeper], b[other] = self._parents[a[deeper]], self._parents[b[other]]
        return a

    def span_um(self, block: int) -> float:
        """Return what a net that joins blocks within a block crosses of it, in µm."""
        return float(self._spans_um[block])

    def loads(self, netlist: Netlist, sinks: Sinks) -> Reals:
        """Return the load of each net in pF, pins and wire."""
        at_memories = _memory_ends(netlist)
        nets_there = [net for net, *_ in at_memories]
        memory_pins = np.bincount(nets_there, minlength=netlist.nets)
        memory_pf = np.bincount(nets_there, [self._memory_pf[path] for *_, path in at_memories], netlist.nets)
        low, high = self._reach(netlist, sinks, at_memories)
        ends = sinks.counts + memory_pins
        crosses = (low != high) & (ends > 0)
        around = self.around(np.where(crosses, low, 0), np.where(crosses, high, 0))
        wire_um = self.length_um(ends) + np.where(crosses, self._spans_um[around], 0.0)
        found: Reals = sinks.pin_pf + memory_pf + wire_um * self._cells.wire_pf
        return found

    def _reach(self, netlist: Netlist, sinks: Sinks, at_memories: list[tuple[int, int, str]]) -> tuple[Blocks, Blocks]:
        """Return the first and the last block that each net touches; what is around both is around all between."""
        low, high = np.full(netlist.nets, len(netlist.blocks) - 1, np.intp), np.zeros(netlist.nets, np.intp)
        ends = [(np.repeat(np.arange(netlist.nets), sinks.counts), netlist.owners[sinks.cells])]
        ends += [(column[column != NO_NET], netlist.owners[column != NO_NET]) for column in netlist.outputs.T]
        if at_memories:
            ends.append((np.array([net for net, *_ in at_memories]), np.array([block for _, block, _ in at_memories])))
        for nets, blocks in ends:
            np.minimum.at(low, nets, blocks)
            np.maximum.at(high, nets, blocks)
        return low, high

    def length_um(self, ends: Blocks) -> Reals:
        """Return the length of the wire within a block of a net of so many sinks; 0 of none."""
        table = np.array([0.0, *self._cells.wire_um])
        beyond = np.maximum(0, ends - len(table) + 1) * (table[-1] - table[-2])
        found: Reals = table[np.minimum(ends, len(table) - 1)] + beyond
        return found


def _memory_ends(netlist: Netlist) -> list[tuple[int, int, str]]:
    """Return the net, the block and the path of the memory, of each input of a memory."""
    return [
        (net, memory.block, memory.path)
        for memory in netlist.memories
        for port, bits in memory.ports.items()
        if port.endswith("_i")
        for net in bits
        if net not in (LOW, HIGH)
    ]
