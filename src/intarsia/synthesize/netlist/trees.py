# SPDX-License-Identifier: Apache-2.0
"""Buffers that a netlist lacks: trees for nets of many sinks or of a large load, and trees of the clock.

Synthesis by module sees neither the fan-out across modules nor the wires. These trees stand for what placement adds:
balanced, neighbours on one branch, each buffer the weakest whose load is at most half of what it may drive.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.synthesize.netlist.cells import CellModel, Cells
from intarsia.synthesize.netlist.flat import HIGH, LOW, NO_NET, Netlist
from intarsia.synthesize.netlist.wires import Sinks, Wires, pin_capacitances

#: Sinks of a buffer at most.
MOST_SINKS = 16
#: The share of the largest load of an output that is used.
_USED = 0.5


def add_trees(netlist: Netlist, cells: Cells, *, clock: str, memory_pf: Mapping[str, float]) -> Netlist:
    """Return the netlist with buffers.

    Args:
        netlist: as it was mapped.
        cells: of its library.
        clock: name of the top module's clock port.
        memory_pf: capacitance of an input of each memory in pF, by its path.

    Raises:
        IntarsiaError: the library has no buffers, or the design no such port.
    """
    if not cells.buffers:
        raise IntarsiaError("the cell library has no buffers; check PDK_ROOT.")
    if clock not in netlist.ports:
        raise IntarsiaError(f"the design has no clock port {clock}; give it one.")
    return _Builder(netlist, cells, memory_pf).built()


class _Builder:
    def __init__(self, netlist: Netlist, cells: Cells, memory_pf: Mapping[str, float]) -> None:
        self._netlist, self._buffers = netlist, cells.buffers
        self._wires = Wires(netlist, cells, memory_pf=memory_pf)
        self._wire_pf = cells.wire_pf
        self._sinks = Sinks(netlist)
        self._loads = self._wires.loads(netlist, self._sinks)
        self._pins = pin_capacitances(netlist)
        self._inputs = netlist.inputs.copy()
        self._new: list[tuple[CellModel, int, int, int]] = []  # model, input, output, block
        self._nets = netlist.nets

    def built(self) -> Netlist:
        most = self._most_loads()
        many = self._sinks.counts > MOST_SINKS
        heavy = (self._loads > _USED * most) & (self._sinks.counts > 0)
        for net in np.flatnonzero(many | heavy):
            if net not in (LOW, HIGH):
                self._tree(int(net))
        return self._grown()

    def _most_loads(self) -> NDArray[np.float64]:
        """Return what the driver of each net may drive, in pF; of ports and memories what the strongest buffer may."""
        found = np.full(self._netlist.nets, _most(self._buffers[-1]))
        each = np.array([_most(model) for model in self._netlist.models])[self._netlist.kinds]
        for column in self._netlist.outputs.T:
            found[column[column != NO_NET]] = each[column != NO_NET]
        return found

    def _tree(self, net: int) -> None:
        """Put buffers between a net and its sinks, level by level until few enough are left."""
        first, last = self._sinks.first[net], self._sinks.first[net + 1]
        cells, pins = self._sinks.cells[first:last], self._sinks.pins[first:last]
        ends = [
            (int(c), int(p), float(self._pins[c, p]), int(self._netlist.owners[c]))
            for c, p in zip(cells, pins, strict=True)
        ]
        while True:
            groups = [ends[i : i + MOST_SINKS] for i in range(0, len(ends), MOST_SINKS)]
            ends = [self._buffer(net, group) for group in groups]
            if len(ends) <= MOST_SINKS:
                return

    def _buffer(self, net: int, ends: list[tuple[int, int, float, int]]) -> tuple[int, int, float, int]:
        """Add a buffer between a net and some sinks; return it as a sink of the net."""
        blocks = np.array([block for *_, block in ends], np.intp)
        block = int(self._wires.around(blocks.min(keepdims=True), blocks.max(keepdims=True))[0])
        length = self._wires.length_um(np.array([len(ends)])) + (
            self._wires.span_um(block) if blocks.min() != blocks.max() else 0
        )
        load = sum(pf for *_, pf, _ in ends) + float(length[0]) * self._wire_pf
        model = next((m for m in self._buffers if load <= _USED * _most(m)), self._buffers[-1])
        cell, output = len(self._netlist.kinds) + len(self._new), self._nets
        self._nets += 1
        self._new.append((model, net, output, block))
        for sink, pin, *_ in ends:
            self._connect(sink, pin, output)
        return cell, 0, model.pins[model.inputs[0]].capacitance, block

    def _connect(self, cell: int, pin: int, net: int) -> None:
        old = len(self._netlist.kinds)
        if cell < old:
            self._inputs[cell, pin] = net
        else:
            model, _, output, block = self._new[cell - old]
            self._new[cell - old] = (model, net, output, block)

    def _grown(self) -> Netlist:
        old = self._netlist
        models = list(old.models)
        for model, *_ in self._new:
            if model not in models:
                models.append(model)
        index = {model.name: number for number, model in enumerate(models)}
        more = len(self._new)
        inputs = np.full((more, old.inputs.shape[1]), NO_NET, np.int32)
        outputs = np.full((more, old.outputs.shape[1]), NO_NET, np.int32)
        inputs[:, 0] = [source for _, source, _, _ in self._new]
        outputs[:, 0] = [output for _, _, output, _ in self._new]
        return replace(
            old,
            models=tuple(models),
            kinds=np.concatenate([old.kinds, np.array([index[m.name] for m, *_ in self._new], np.int32)]),
            inputs=np.concatenate([self._inputs, inputs]),
            outputs=np.concatenate([old.outputs, outputs]),
            owners=np.concatenate([old.owners, np.array([block for *_, block in self._new], np.int32)]),
            names=(*old.names, *[""] * more),
        )


def _most(model: CellModel) -> float:
    """Return the largest load that a cell may drive, in pF."""
    return model.pins[model.outputs[0]].most_load
