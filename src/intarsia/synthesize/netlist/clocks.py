# SPDX-License-Identifier: Apache-2.0
"""The clock of a netlist: which clock gate each cell is behind, and which cells pass it on."""

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.synthesize.netlist.cells import Kind
from intarsia.synthesize.netlist.flat import Netlist


def clock_gates(netlist: Netlist, clock: str) -> NDArray[np.int32]:
    """Return for each cell the clock gate that its clock comes from; -1: the clock itself, or it has none.

    Buffers of the clock count as cells with a clock.

    Raises:
        IntarsiaError: the clock passes through another cell.
    """
    found = np.full(len(netlist.kinds), -1, np.int32)
    gate_of: dict[int, int] = {netlist.ports[clock][0]: -1}
    drivers = {int(net): cell for cell, net in enumerate(netlist.outputs[:, 0])}

    def source(net: int) -> int:
        if net not in gate_of:
            cell = drivers.get(net, -1)
            model = netlist.models[netlist.kinds[cell]] if cell >= 0 else None
            if model is not None and model.kind is Kind.CLOCK_GATE:
                gate_of[net] = cell
                found[cell] = source(int(netlist.inputs[cell, 0]))
            elif model is not None and len(model.inputs) == 1 and model.table == 0b10:
                gate_of[net] = source(int(netlist.inputs[cell, 0]))
            else:
                raise IntarsiaError("the clock passes through logic; only buffers and clock gates may drive a clock.")
        return gate_of[net]

    timed = netlist.is_kind[Kind.FLIP_FLOP] | netlist.is_kind[Kind.CLOCK_GATE]
    for cell in np.flatnonzero(timed):
        found[cell] = source(int(netlist.inputs[cell, 0]))
    for cell in np.flatnonzero(~timed):
        if int(netlist.outputs[cell, 0]) in gate_of:
            found[cell] = gate_of[int(netlist.outputs[cell, 0])]
    return found


def is_clock_buffer(netlist: Netlist, clock: str) -> NDArray[np.bool_]:
    """Return which cells of logic pass the clock on."""
    timed = netlist.is_kind[Kind.FLIP_FLOP] | netlist.is_kind[Kind.CLOCK_GATE]
    nets = {int(net) for net in netlist.inputs[timed, 0]} | {netlist.ports[clock][0]}
    found = np.zeros(len(netlist.kinds), bool)
    while True:
        more = np.isin(netlist.outputs[:, 0], list(nets)) & ~timed & ~found
        if not more.any():
            return found
        found |= more
        nets |= {int(net) for net in netlist.inputs[more, 0]}
