# SPDX-License-Identifier: Apache-2.0
"""Small mapped netlists: a Liberty library of a few cells, circuits as Yosys writes them, and what measures them.

All tables of the library are planes, base + a · slew + b · load, so that a test can say by hand what any of them holds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import numpy as np

from intarsia.synthesize.netlist.cells import CellModel, Cells, Kind, read_cells
from intarsia.synthesize.netlist.flat import MemoryPins, Netlist, read_netlist
from intarsia.synthesize.netlist.memories import MemoryModel
from intarsia.synthesize.netlist.power import EnergyModel, PartEnergy
from intarsia.synthesize.netlist.simulation import NetlistSimulation
from intarsia.synthesize.netlist.timing import MemoryTiming, Timing, analyze
from intarsia.synthesize.netlist.wires import Sinks, Wires

#: Of every delay and slew of the library, in ns: per ns of slew and per pF.
DELAY_SLEW, DELAY_LOAD = 0.25, 2.0
SLEW_BASE, SLEW_SLEW, SLEW_LOAD = 0.05, 0.125, 4.0
#: Of every energy, in pJ: per ns of slew and per pF; that of a falling edge is this much larger than of a rising one.
ENERGY_SLEW, ENERGY_LOAD, FALL = 0.002, 0.05, 0.0005
#: How much later than a rising output a falling one comes, in ns.
FALL_DELAY = 0.015
#: In V, pF per µm, and µm for 1, 2, 3 sinks.
VOLTAGE, WIRE_PF, WIRE_UM = 1.5, 0.0005, (10.0, 22.0, 31.0)
#: Set-up: base + this · slew of the data + this · slew of the clock.
SETUP_DATA, SETUP_CLOCK = 0.5, 0.125


def plane(base: float, slew: float, load: float) -> str:
    """Return a table that is a plane."""
    rows = [f'"{base + slew * i!r}, {base + slew * i + load!r}"' for i in (0, 1)]
    return f'{{ index_1 ("0, 1"); index_2 ("0, 1"); values ({rows[0]}, {rows[1]}); }}'


def line(base: float, slew: float) -> str:
    """Return a table over the slew alone."""
    return f'{{ index_1 ("0, 1"); values ("{base!r}, {base + slew!r}"); }}'


def arc(pin: str, base: float, sense: str, kind: str = "combinational", when: str = "") -> str:
    """Return the delay from a pin."""
    condition = f'when : "{when}"; ' if when else ""
    tables = "".join(
        f"cell_{edge} (t) {plane(base + later, DELAY_SLEW, DELAY_LOAD)} "
        f"{edge}_transition (t) {plane(SLEW_BASE, SLEW_SLEW, SLEW_LOAD)} "
        for edge, later in (("rise", 0.0), ("fall", FALL_DELAY))
    )
    return f'timing () {{ related_pin : "{pin}"; timing_sense : {sense}; timing_type : {kind}; {condition}{tables} }}\n'


def power(pin: str, base: float, when: str = "") -> str:
    """Return the energy of an edge of an output that a pin causes, or of an input itself without one."""
    related = f'related_pin : "{pin}"; ' if pin else ""
    condition = f'when : "{when}"; ' if when else ""
    tables = "".join(
        f"{edge}_power (p) {plane(base + more, ENERGY_SLEW, ENERGY_LOAD) if pin else line(base + more, ENERGY_SLEW)} "
        for edge, more in (("rise", 0.0), ("fall", FALL))
    )
    return f"internal_power () {{ {related}{condition}{tables} }}\n"


def output(name: str, function: str, body: str, most: float = 0.125, more: str = "") -> str:
    """Return an output pin."""
    return f'pin ({name}) {{ direction : output; function : "{function}"; max_capacitance : {most}; {more}\n{body} }}\n'


def entry(name: str, capacitance: float, body: str = "") -> str:
    """Return an input pin."""
    return f'pin ({name}) {{ direction : "input"; capacitance : {capacitance}; {body} }}\n'


def cell(name: str, area: float, leakage: float, body: str) -> str:
    """Return a cell."""
    return f"cell ({name}) {{ area : {area}; cell_leakage_power : {leakage};\n{body} }}\n"


def _buffer(name: str, area: float, most: float, pin_pf: float, delay: float) -> str:
    body = arc("A", delay, "positive_unate") + power("A", 0.004)
    return cell(name, area, 3.0, output("X", "A", body, most) + entry("A", pin_pf))


def setup(base: float) -> str:
    """Return the set-up time of data before the edge of CLK."""
    tables = "".join(
        f"{edge}_constraint (c) {plane(base + later, SETUP_DATA, SETUP_CLOCK)} "
        for edge, later in (("rise", 0.0), ("fall", 0.01))
    )
    return f'timing () {{ related_pin : "CLK"; timing_type : setup_rising; {tables} }}\n'


CLOCKED = arc("CLK", 0.1, "non_unate", "rising_edge")
CELLS = {
    "INV": cell("INV", 1.0, 2.0, output("Y", "!A", arc("A", 0.02, "negative_unate") + power("A", 0.001))
                + entry("A", 0.003)),
    "BUF": _buffer("BUF", 2.0, 0.125, 0.002, 0.04),
    "BUFX4": _buffer("BUFX4", 4.0, 0.5, 0.006, 0.03),
    "DELAY": _buffer("DELAY", 9.0, 0.125, 0.002, 0.5),
    "NAND2": cell("NAND2", 1.5, 2.5, output("Y", "(A*B)'", arc("A", 0.025, "negative_unate")
                  + arc("B", 0.035, "negative_unate") + power("A", 0.0015) + power("B", 0.0025))
                  + entry("A", 0.0030) + entry("B", 0.0035)),
    "XOR2": cell("XOR2", 3.0, 5.0, output("Y", "A^B", arc("A", 0.05, "positive_unate", when="!B")
                 + arc("A", 0.06, "negative_unate", when="B") + arc("B", 0.055, "non_unate")
                 + power("A", 0.005, "B") + power("A", 0.007, "!B") + power("A", 0.1) + power("B", 0.006))
                 + entry("A", 0.005) + entry("B", 0.0045)),
    "MUX2": cell("MUX2", 4.0, 6.0, output("Y", "(!S*A0)+(S*A1)", arc("A0", 0.05, "positive_unate")
                 + arc("A1", 0.05, "positive_unate") + arc("S", 0.07, "non_unate")
                 + power("A0", 0.008) + power("A1", 0.009) + power("S", 0.010))
                 + entry("A0", 0.003) + entry("A1", 0.003)
                 + entry("S", 0.006, power("", 0.0035, "A0*A1") + power("", 0.0045, "!A0*!A1") + power("", 0.2))),
    # the inverted state comes first in the alphabet and in the file
    "DFF": cell("DFF", 10.0, 12.0, 'ff (STATE, NSTATE) { clear : "!RST_N"; clocked_on : "CLK"; next_state : "D"; }\n'
                + output("A_N", "NSTATE", CLOCKED + power("CLK", 0.011))
                + output("Q", "STATE", CLOCKED + arc("RST_N", 0.2, "positive_unate", "clear") + power("CLK", 0.020))
                + entry("CLK", 0.004, power("", 0.0101, "D*RST_N*Q") + power("", 0.0102, "D*RST_N*!Q")
                        + power("", 0.0103, "!D*RST_N*Q") + power("", 0.0104, "!D*RST_N*!Q") + power("", 0.3))
                + entry("D", 0.002, setup(0.06) + power("", 0.0012, "CLK") + power("", 0.0112, "!CLK*RST_N")
                        + power("", 0.0002, "!CLK*!RST_N"))
                + entry("RST_N", 0.005)),
    "DFFQ": cell("DFFQ", 8.0, 10.0, 'ff (IQ, IQN) { clocked_on : CLK; next_state : D; }\n'
                 + output("Q", "IQ", CLOCKED + power("CLK", 0.018)) + entry("CLK", 0.004, power("", 0.009))
                 + entry("D", 0.002, setup(0.05) + power("", 0.003))),
    "ICG": cell("ICG", 6.0, 7.0, 'clock_gating_integrated_cell : "latch_posedge";\n'
                + output("GCLK", "", arc("CLK", 0.07, "positive_unate") + power("CLK", 0.008), 0.25,
                         "clock_gate_out_pin : true;")
                + entry("CLK", 0.005, "clock_gate_clock_pin : true;" + power("", 0.007))
                + entry("EN", 0.0025, "clock_gate_enable_pin : true;" + setup(0.04) + power("", 0.013, "!CLK")
                        + power("", 0.001))),
    "TIE1": cell("TIE1", 1.0, 1.0, output("Y", "1", "")),
    "LATCH": cell("LATCH", 7.0, 8.0, 'latch (IQ, IQN) { data_in : "D"; enable : "G"; }\n' + output("Q", "IQ", "")
                  + entry("D", 0.002) + entry("G", 0.002)),
    "TRISTATE": cell("TRISTATE", 7.0, 8.0, output("Z", "A", "", more='three_state : "!EN";') + entry("A", 0.002)
                     + entry("EN", 0.002)),
    "FALLING": cell("FALLING", 8.0, 8.0, 'ff (IQ, IQN) { clocked_on : "!CLK"; next_state : D; }\n'
                    + output("Q", "IQ", "") + entry("CLK", 0.004) + entry("D", 0.002)),
    "FILLER": cell("FILLER", 1.0, 0.0, ""),
}  # fmt: skip
HEAD = """library (small) { /* for tests */
  time_unit : "1ns"; voltage_unit : "1V"; capacitive_load_unit (1, pf); leakage_power_unit : "1nW";
  nom_voltage : 1.5; default_wire_load_capacitance : 0.0005;
  wire_load ("large") { capacitance : 0.004; fanout_length (1, 99); fanout_length (2, 199); slope : 99; }
  wire_load ("usual") { capacitance : 0.0005; slope : 7.5; fanout_length (1, 10); fanout_length (3, 31);
    fanout_length (2, 22); }
"""


def write_library(folder: Path, text: str | None = None) -> Path:
    """Write the library, or another one."""
    path = folder / "small.lib"
    path.write_text(text or HEAD + "".join(CELLS.values()) + "}\n", encoding="utf-8")
    return path


@cache
def small_cells() -> Cells:
    """Return the library, read."""
    with TemporaryDirectory() as folder:
        return read_cells(write_library(Path(folder)))


Pins = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class Module:
    """A module of a netlist: ports and cells, whose nets have names; "0", "1" and "x" (undefined) are constants.

    Nets that begin with `_` are hidden. A port is of one bit with the name of its net, or a list of nets.
    """

    inputs: Pins
    outputs: Pins
    cells: Mapping[str, tuple[str, Pins]] = field(default_factory=dict)


def _bits(nets: str | Sequence[str]) -> list[str]:
    return [nets] if isinstance(nets, str) else list(nets)


def write_json(modules: Mapping[str, Module]) -> str:
    """Return modules as Yosys' `write_json` has them."""
    return json.dumps({"modules": {name: _module(module) for name, module in modules.items()}})


def _module(module: Module) -> dict[str, object]:
    numbers: dict[str, int | str] = {"0": "0", "1": "1", "x": "x"}

    def bits(nets: str | Sequence[str]) -> list[int | str]:
        return [numbers.setdefault(net, len(numbers) - 1) for net in _bits(nets)]

    ports = {
        name: {"direction": direction, "bits": bits(nets)}
        for direction, some in (("input", module.inputs), ("output", module.outputs))
        for name, nets in some.items()
    }
    cells = {
        label: {"type": kind, "connections": {pin: bits(nets) for pin, nets in pins.items()}}
        for label, (kind, pins) in module.cells.items()
    }
    names = {name: {"hide_name": 0, "bits": port["bits"]} for name, port in ports.items()}
    for net, number in numbers.items():
        if net not in ("0", "1", "x", *names):
            names[net] = {"hide_name": int(net.startswith("_")), "bits": [number]}
    return {"attributes": {}, "ports": ports, "cells": cells, "netnames": names}


def read_module(module: Module, cells: Cells) -> Netlist:
    """Return the netlist of one module."""
    return read_netlist(write_json({"top": module}), "top", cells, "intarsia_memory")


#: A memory of four words of two bits, as a cell of a module: its pins.
MEMORY = "intarsia_memory$top.u_memory"


def memory_pins(depth_bits: int = 2, width: int = 2, enables: int = 1) -> dict[str, list[str]]:
    """Return the pins of a memory, each at a net of the pin's name."""
    sizes = {"clk_i": 1, "req_i": 1, "we_i": 1, "be_i": enables, "addr_i": depth_bits}
    sizes |= {"wdata_i": width, "rdata_o": width}
    return {pin: ["clk_i"] if pin == "clk_i" else [f"{pin}{bit}" for bit in range(size)] for pin, size in sizes.items()}


def memory_model(depth: int = 4, access_ns: float = 0.5) -> MemoryModel:
    """Return the model of a memory whose words take different energies."""
    words = np.arange(depth, dtype=float)
    return MemoryModel(depth, access_ns, 0.2, 0.01, 10 + words, 20 + words, 40.0)


class Bench:
    """A netlist with loads and timing, ready to run; `load` and `slew` replace those of all nets where given."""

    def __init__(
        self,
        netlist: Netlist,
        cells: Cells,
        *,
        memories: Mapping[str, MemoryModel] | None = None,
        load: float | None = None,
        slew: float | None = None,
        period_ns: float = 20.0,
    ) -> None:
        self.netlist, self.cells, self.memories, self.period_ns = netlist, cells, memories or {}, period_ns
        memory_pf = {path: memory.pin_pf for path, memory in self.memories.items()}
        self.loads = Wires(netlist, cells, memory_pf=memory_pf).loads(netlist, Sinks(netlist))
        if load is not None:
            self.loads = np.full_like(self.loads, load)
        times = {path: MemoryTiming(memory.access_ns, memory.setup_ns) for path, memory in self.memories.items()}
        self.timing: Timing = analyze(netlist, self.loads, times)
        if slew is not None:
            self.timing = replace(self.timing, slews=np.full_like(self.timing.slews, slew))
        self.simulation = NetlistSimulation(netlist, self.timing, self.memories, period_ns=period_ns)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.simulation.close()

    def net(self, name: str) -> int:
        """Return a net by its name."""
        return self.netlist.names.index(name)

    def drive(self, **values: int) -> None:
        """Set inputs from the next cycle on."""
        for port, value in values.items():
            self.simulation.drive(port, value)

    def step(self, **values: int) -> None:
        """Set inputs, then run one cycle."""
        self.drive(**values)
        self.simulation.run(1)

    def count(self) -> None:
        """Begin to count."""
        self.simulation.count(True)

    def energy(self, names: Sequence[str] = ()) -> dict[str, PartEnergy]:
        """Return the energy of what has been counted, by the part of each block; without names all is `top`."""
        model = EnergyModel(self.netlist, self.cells, self.loads, self.timing, self.memories)
        names = names or ["top"] * len(self.netlist.blocks)
        parts = model.parts(self.simulation.activity(), self.period_ns, names)
        return {part.name: part for part in parts}


class Plain:
    """What a netlist computes, cell by cell in Python, cycle by cycle and without delays: the reference.

    Values of nets are what they are after the clock's edge has had its effect.
    """

    def __init__(self, netlist: Netlist, clock: str = "clk_i") -> None:
        self.netlist = netlist
        self.values = np.zeros(netlist.nets, int)
        self.values[1] = 1
        self._clock = netlist.ports[clock][0]
        self._drivers = {int(net): number for number, net in enumerate(netlist.outputs[:, 0])}
        self.kept = np.zeros(len(netlist.kinds), int)  # what flip-flops store
        self.words = {memory.path: np.zeros((1 << len(memory.ports["addr_i"]), len(memory.ports["rdata_o"])), int)
                      for memory in netlist.memories}  # fmt: skip
        self.settle()

    def model(self, cell: int) -> CellModel:
        """Return the kind of a cell."""
        return self.netlist.models[self.netlist.kinds[cell]]

    def settle(self) -> None:
        """Let values of logic follow from those of registers and inputs."""
        while True:
            before = self.values.copy()
            for cell, (inputs, outputs) in enumerate(zip(self.netlist.inputs, self.netlist.outputs, strict=True)):
                model = self.model(cell)
                read = [int(self.values[net]) for net in inputs[: len(model.inputs)]]
                if model.kind is Kind.LOGIC:
                    self._set(outputs[0], model.table >> sum(bit << place for place, bit in enumerate(read)) & 1)
                elif model.kind is Kind.FLIP_FLOP:
                    if len(read) > 2 and not read[2]:
                        self.kept[cell] = 0
                    for number, net in enumerate(outputs[: len(model.outputs)]):
                        self._set(net, self.kept[cell] ^ number)
            if np.array_equal(before, self.values):
                return

    def _set(self, net: int, value: int) -> None:
        if net >= 0:
            self.values[net] = value

    def passes(self, net: int) -> bool:
        """Return whether the clock's edge arrives at a net."""
        if net == self._clock:
            return True
        cell = self._drivers[net]
        source, enable = self.netlist.inputs[cell, 0], self.netlist.inputs[cell, 1]
        return self.passes(int(source)) and (self.model(cell).kind is Kind.LOGIC or bool(self.values[enable]))

    def step(self, **inputs: int) -> None:
        """Set inputs, then let one edge of the clock have its effect."""
        for port, value in inputs.items():
            for bit, net in enumerate(self.netlist.ports[port]):
                self.values[net] = value >> bit & 1
        self.settle()
        taken = {
            cell: self.values[self.netlist.inputs[cell, 1]]
            for cell in range(len(self.netlist.kinds))
            if self.model(cell).kind is Kind.FLIP_FLOP and self.passes(int(self.netlist.inputs[cell, 0]))
        }
        accessed = [(memory, {pin: self.values[list(nets)].copy() for pin, nets in memory.ports.items()})
                    for memory in self.netlist.memories]  # fmt: skip
        for cell, value in taken.items():
            self.kept[cell] = value
        for memory, pins in accessed:
            self._access(memory, pins)
        self.settle()

    def _access(self, memory: MemoryPins, pins: Mapping[str, np.ndarray]) -> None:
        if not pins["req_i"][0]:
            return
        word = self.words[memory.path][sum(int(bit) << place for place, bit in enumerate(pins["addr_i"]))]
        if pins["we_i"][0]:
            parts = np.repeat(pins["be_i"], len(word) // len(pins["be_i"])).astype(bool)
            word[parts] = pins["wdata_i"][parts]
        else:
            self.values[list(memory.ports["rdata_o"])] = word

    def value(self, port: str) -> int:
        """Return the value of a port."""
        return sum(int(self.values[net]) << bit for bit, net in enumerate(self.netlist.ports[port]))
