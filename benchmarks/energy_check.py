# SPDX-License-Identifier: Apache-2.0
"""Compare the timing and the power of small netlists with those that OpenSTA finds for them.

PDK_ROOT=… python benchmarks/energy_check.py

Timing: a multiply-accumulate lane, mapped to IHP's cells, with buffers, a clock tree and estimated wires. Power: each
input of gates of one or two inputs, after a flip-flop of random data, the other input at the value that lets it
through. OpenSTA gets the same flat netlist and the wires as loads of nets. It needs `sta` in PATH.

Version 2.0 (of Debian) takes activities of flip-flops only and estimates those after gates; here that estimate is
exact. For each change it adds the energies of a rising and a falling edge, so its internal power is halved here. It
also adds up energies under different conditions, and weighs those of more inputs in another way: flip-flops, gates
with conditions and larger ones are left out, they cannot be compared.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from intarsia.synthesize.area import mapped_netlist
from intarsia.synthesize.netlist.cells import CellModel, Cells, Kind, read_cells
from intarsia.synthesize.netlist.flat import HIGH, LOW, NO_NET, Netlist, read_netlist
from intarsia.synthesize.netlist.power import EnergyModel
from intarsia.synthesize.netlist.simulation import NetlistSimulation
from intarsia.synthesize.netlist.timing import SLEW_NS, Timing, analyze
from intarsia.synthesize.netlist.trees import add_trees
from intarsia.synthesize.netlist.wires import Sinks, Wires
from intarsia.synthesize.pdk import Pdk, installed_pdk
from intarsia.synthesize.results import MEMORY_MODULE
from intarsia.synthesize.yosys import Design

SOURCE = Path(__file__).parent.parent / "tests" / "synthesize" / "rtl" / "mac_cell.sv"
PERIOD_NS, CYCLES = 10.0, 2000
_FLIP_FLOP = "sg13g2_dfrbpq_1"
#: What OpenSTA has one figure for, in mW, in the order of its report.
ROWS = ("Sequential", "Combinational")
Reals = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Placed:
    """A netlist with loads and timing."""

    cells: Cells
    netlist: Netlist
    loads: Reals
    wires_pf: Reals
    timing: Timing


@dataclass(frozen=True)
class Power:
    """Power in mW: inside cells, of the nets that they drive, of leakage."""

    internal: float
    switching: float
    leakage: float


def placed(json_text: str, top: str, cells: Cells) -> Placed:
    plain = read_netlist(json_text, top, cells, MEMORY_MODULE)
    netlist = add_trees(plain, cells, clock="clk_i", memory_pf={})
    sinks = Sinks(netlist)
    loads = Wires(netlist, cells, memory_pf={}).loads(netlist, sinks)
    return Placed(cells, netlist, loads, loads - sinks.pin_pf, analyze(netlist, loads, {}))


def sensitive(model: CellModel, place: int) -> int:
    """Return values of the other inputs with which the output follows one input, inverted or not."""
    states = (state for state in range(1 << len(model.inputs)) if not state >> place & 1)
    return next(state for state in states if (model.table >> state ^ model.table >> (state | 1 << place)) & 1)


def unconditional(model: CellModel) -> bool:
    """Return whether a cell is a gate of one or two inputs that have one energy each, whatever the other is."""
    groups = sorted(power.input for pin in model.pins.values() for power in pin.powers)
    return model.kind is Kind.LOGIC and 1 <= len(model.inputs) <= 2 and groups == sorted(model.inputs)


def gates(cells: Cells) -> str:
    """Return a netlist of every input of those gates, as Yosys would write it; nets 2 to 5 are its inputs."""
    clock, data, low, high = range(2, 6)
    made: dict[str, object] = {}
    nets = high
    for model in cells.models.values():
        for place in range(len(model.inputs) if unconditional(model) else 0):
            state = sensitive(model, place)
            nets += 2
            pins = {pin: [high if state >> bit & 1 else low] for bit, pin in enumerate(model.inputs)}
            pins |= {model.inputs[place]: [nets - 1], model.outputs[0]: [nets]}
            made[f"g{nets}"] = {"type": model.name, "connections": pins}
            flop = {"CLK": [clock], "D": [data], "RESET_B": ["1"], "Q": [nets - 1]}
            made[f"r{nets}"] = {"type": _FLIP_FLOP, "connections": flop}
    ports = {"clk_i": clock, "data_i": data, "low_i": low, "high_i": high}
    declared = {name: {"direction": "input", "bits": [net]} for name, net in ports.items()}
    return json.dumps({"modules": {"gates": {"attributes": {}, "ports": declared, "cells": made, "netnames": {}}}})


def run(found: Placed) -> tuple[dict[str, Power], Reals, Reals]:
    """Return our power by rows of OpenSTA's report, the changes of each net per cycle, its share of cycles at 1."""
    netlist, rng = found.netlist, np.random.default_rng(0)
    ones = np.zeros(netlist.nets)
    with NetlistSimulation(netlist, found.timing, {}, period_ns=PERIOD_NS) as simulation:
        simulation.drive("high_i", 1)
        simulation.run(4)
        simulation.count(True)
        for _ in range(CYCLES):
            simulation.drive("data_i", int(rng.integers(2)))
            simulation.run(1)
            ones += simulation.values()
        activity = simulation.activity()
    model = EnergyModel(netlist, found.cells, found.loads, found.timing, {})
    internal, nets, clock = model.cells(activity)
    toggles = activity.toggles / CYCLES
    tree = clock_nets(netlist)
    toggles[tree] = 2
    is_flop = ~netlist.is_kind[Kind.LOGIC]
    of_tree = np.isin(netlist.outputs[:, 0], tree) & (netlist.outputs[:, 0] != NO_NET)
    charged = np.where(of_tree, 2 * CYCLES * model.per_toggle_pj[netlist.outputs[:, 0]], 0.0)
    leakage_nw = np.array([kind.leakage_nw for kind in netlist.models])[netlist.kinds]
    time_ns = CYCLES * PERIOD_NS
    rows = {}
    for row, some in zip(ROWS, (is_flop, ~is_flop), strict=True):
        inside = float((internal + clock - charged)[some].sum()) / time_ns
        rows[row] = Power(inside, float((nets + charged)[some].sum()) / time_ns, float(leakage_nw[some].sum()) * 1e-6)
    return rows, toggles, ones / CYCLES


def clock_nets(netlist: Netlist) -> list[int]:
    """Return the nets of the clock's tree."""
    nets = {netlist.ports["clk_i"][0]}
    while True:
        more = {int(o) for i, o in zip(netlist.inputs[:, 0], netlist.outputs[:, 0], strict=True)
                if i in nets and o != NO_NET} - nets  # fmt: skip
        flops = netlist.is_kind[Kind.FLIP_FLOP]
        more -= {int(net) for net in netlist.outputs[flops].ravel()}
        if not more:
            return sorted(nets)
        nets |= more


def verilog(netlist: Netlist) -> str:
    """Return the netlist, flat: nets `n0`, `n1`, …, cells `u0`, `u1`, …"""
    ports = {net: f"p{net}" for nets in netlist.ports.values() for net in nets}
    lines = [f"module top({', '.join(sorted(ports.values()))});"]
    for name, nets in netlist.ports.items():
        direction = "input" if name in netlist.drives else "output"
        lines += [f"  {direction} p{net};" for net in nets]

    def term(net: int) -> str:
        return {LOW: "1'b0", HIGH: "1'b1"}.get(net, ports.get(net, f"n{net}"))

    lines += [f"  wire n{net};" for net in range(2, netlist.nets) if net not in ports]
    for cell, (inputs, outputs) in enumerate(zip(netlist.inputs, netlist.outputs, strict=True)):
        model = netlist.models[netlist.kinds[cell]]
        pins = [*zip(model.inputs, inputs, strict=False), *zip(model.outputs, outputs, strict=False)]
        terms = ", ".join(f".{pin}({term(int(net))})" for pin, net in pins if net != NO_NET)
        lines.append(f"  {model.name} u{cell} ({terms});")
    return "\n".join([*lines, "endmodule", ""])


def script(found: Placed, activity: tuple[Reals, Reals] | None) -> Iterator[str]:
    netlist = found.netlist
    ports = {net: f"p{net}" for nets in netlist.ports.values() for net in nets}
    yield "read_liberty cells.lib"
    yield "read_verilog top.v"
    yield "link_design top"
    yield f"create_clock -name c -period {PERIOD_NS} [get_ports p{netlist.ports['clk_i'][0]}]"
    yield f"set_clock_transition {SLEW_NS} [get_clocks c]"
    for name, nets in netlist.ports.items():
        for net in nets if name != "clk_i" else ():
            kind = "input" if name in netlist.drives else "output"
            yield f"set_{kind}_delay 0 -clock c [get_ports p{net}]"
            if kind == "input":
                yield f"set_input_transition {SLEW_NS} [get_ports p{net}]"
    for net, wire_pf in enumerate(found.wires_pf):
        if wire_pf > 0 and net not in (LOW, HIGH):
            yield f"set_load {wire_pf:.9f} [get_nets {ports.get(net, f'n{net}')}]"
    yield "report_checks -path_delay max -format full -digits 6"
    if activity is None:
        return
    toggles, ones = activity
    for name in sorted(netlist.drives - {"clk_i"}):
        [net] = netlist.ports[name]
        yield f"set_power_activity -input_ports p{net} -activity {toggles[net]:.6f} -duty {ones[net]:.6f}"
    for cell in np.flatnonzero(~netlist.is_kind[Kind.LOGIC]):
        net, pin = int(netlist.outputs[cell, 0]), netlist.models[netlist.kinds[cell]].outputs[0]
        # the command for pins of version 2.0 does not work; this is what it would call
        yield f"sta::set_power_pin_activity [get_pins u{cell}/{pin}] {toggles[net]:.6f} {ones[net]:.6f}"
    yield "report_power -digits 6"


def opensta(pdk: Pdk, found: Placed, activity: tuple[Reals, Reals] | None, *, plain: bool) -> str:
    """Return OpenSTA's report; `plain`: with one capacitance per pin, as ours, not one per edge with a range."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        text = pdk.cells.path.read_text(encoding="utf-8")
        if plain:
            text = re.sub(r"^\s*(rise|fall)_capacitance(_range)?\s.*\n", "", text, flags=re.MULTILINE)
        (folder / "cells.lib").write_text(text, encoding="utf-8")
        (folder / "top.v").write_text(verilog(found.netlist), encoding="utf-8")
        (folder / "run.tcl").write_text("\n".join([*script(found, activity), "exit", ""]), encoding="utf-8")
        command = ["sta", "-no_splash", "-exit", "run.tcl"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout + done.stderr


def least_period(log: str) -> float:
    slack = re.search(r"^\s*(-?[\d.]+)\s+slack", log, re.MULTILINE)
    if slack is None:
        sys.exit(f"OpenSTA reported no slack:\n{log[-2000:]}")
    return PERIOD_NS - float(slack[1])


def powers(log: str) -> dict[str, Power]:
    found = {}
    for row in ROWS:
        power = re.search(rf"^{row}\s+(\S+)\s+(\S+)\s+(\S+)", log, re.MULTILINE)
        if power is None:
            sys.exit(f"OpenSTA reported no power:\n{log[-2000:]}")
        internal, switching, leakage = (1e3 * float(value) for value in power.groups())
        found[row] = Power(internal / 2, switching, leakage)
    return found


def percent(ours: float, theirs: float) -> str:
    return f"{ours:.6g} ours, {theirs:.6g} OpenSTA, {100 * (ours / theirs - 1) if theirs else 0:+.3f} %"


def main() -> None:
    if shutil.which("sta") is None:
        sys.exit("OpenSTA (sta) is missing; install it, or leave this check out.")
    pdk = installed_pdk()
    cells = read_cells(pdk.cells.path)
    mapped = mapped_netlist(Design((SOURCE,), "mac_cell"), pdk)
    lane = placed(mapped.json, "mac_cell", cells)
    for plain, how in ((True, "one capacitance per pin"), (False, "capacitances by edge, at the end of their range")):
        theirs = least_period(opensta(pdk, lane, None, plain=plain))
        print(f"least period in ns ({how}): {percent(lane.timing.path.period_ns, theirs)}")
    every = placed(gates(cells), "gates", cells)
    ours, *activity = run(every)
    theirs = powers(opensta(pdk, every, (activity[0], activity[1]), plain=True))
    print(f"power in mW of {len(every.netlist.kinds)} cells:")
    for row in ROWS:
        for name in ("internal", "switching", "leakage"):
            if (row, name) != ("Sequential", "internal"):
                print(f"  {row}, {name}: {percent(getattr(ours[row], name), getattr(theirs[row], name))}")


if __name__ == "__main__":
    main()
