# SPDX-License-Identifier: Apache-2.0
"""A mapped netlist without hierarchy: cells, nets and memories in arrays, read from what Yosys writes as JSON.

Each cell keeps the instance of the module that it lies in, so that figures can be given by part.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.synthesize.netlist.cells import CellModel, Cells, Kind

#: Nets of the two constants; an undefined bit is read as 0.
LOW, HIGH = 0, 1
NO_NET = -1
Integers = NDArray[np.int32]


class _Port(TypedDict):
    direction: str
    bits: list[int | str]


class _Instance(TypedDict):
    type: str
    connections: dict[str, list[int | str]]


class _Name(TypedDict):
    hide_name: int
    bits: list[int | str]


class _Module(TypedDict):
    attributes: dict[str, str]
    ports: dict[str, _Port]
    cells: dict[str, _Instance]
    netnames: dict[str, _Name]


class Block(NamedTuple):
    """An instance of a module: its path below the top module, its module's name, the index of the block around it."""

    path: str
    module: str
    parent: int


@dataclass(frozen=True)
class MemoryPins:
    """A memory that was taken out: the block it lies in and the nets of its ports, least significant bit first."""

    path: str
    block: int
    ports: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Netlist:
    """A flat netlist.

    Attributes:
        models: the kinds of cells.
        kinds: of each cell, its index in `models`.
        inputs: nets of each cell's input pins, in the order of its model; padded with `NO_NET`.
        outputs: nets of each cell's output pins, likewise.
        blocks: instances of modules; the first is the top module.
        owners: of each cell, the index of its block.
        memories: what was taken out.
        ports: nets of the top module's ports.
        drives: names of the top module's input ports.
        names: of each net, one that people gave it, as `PATH.NAME[BIT]`; empty where there is none.
    """

    models: tuple[CellModel, ...]
    kinds: Integers
    inputs: Integers
    outputs: Integers
    blocks: tuple[Block, ...]
    owners: Integers
    memories: tuple[MemoryPins, ...]
    ports: Mapping[str, tuple[int, ...]]
    drives: frozenset[str]
    names: tuple[str, ...]

    @property
    def nets(self) -> int:
        """The number of nets, constants included."""
        return len(self.names)

    @cached_property
    def is_kind(self) -> Mapping[Kind, NDArray[np.bool_]]:
        """For each kind of cell, which cells are of it."""
        kinds = np.array([model.kind.value for model in self.models], np.int32)[self.kinds]
        return {kind: kinds == kind.value for kind in Kind}

    @cached_property
    def areas_um2(self) -> NDArray[np.float64]:
        """Area of each cell in µm²."""
        areas: NDArray[np.float64] = np.array([model.area_um2 for model in self.models])[self.kinds]
        return areas


def read_netlist(text: str, top: str, cells: Cells, memory_module: str) -> Netlist:
    """Read a netlist with its hierarchy.

    Args:
        text: JSON by Yosys' `write_json`.
        top: name of the top module.
        cells: the library that the netlist is mapped to.
        memory_module: name of the module that was taken out (before a `$`).

    Raises:
        IntarsiaError: it has cells of another library, or a cell that cannot be simulated, such as a latch.
    """
    modules = cast(Mapping[str, _Module], json.loads(text)["modules"])
    reader = _Reader(modules, cells, memory_module)
    ports = {name: tuple(reader.new() for _ in port["bits"]) for name, port in modules[top]["ports"].items()}
    reader.walk(top, Block("", top, -1), ports)
    models = tuple(reader.models.values())
    same = np.array([*map(reader.found, range(len(reader.names))), NO_NET], np.int32)  # the last is that of NO_NET
    width_in, width_out = (max((len(row) for row in rows), default=1) for rows in (reader.inputs, reader.outputs))
    return Netlist(
        models=models,
        kinds=np.array(reader.kinds, np.int32),
        inputs=same[_padded(reader.inputs, width_in)],
        outputs=same[_padded(reader.outputs, width_out)],
        blocks=tuple(reader.blocks),
        owners=np.array(reader.owners, np.int32),
        memories=tuple(replace(memory, ports=_same(memory.ports, same)) for memory in reader.memories),
        ports=_same(ports, same),
        drives=frozenset(name for name, port in modules[top]["ports"].items() if port["direction"] == "input"),
        names=tuple(reader.names),
    )


def _same(ports: Mapping[str, Sequence[int]], same: Integers) -> dict[str, tuple[int, ...]]:
    return {name: tuple(int(same[net]) for net in nets) for name, nets in ports.items()}


def _padded(rows: Sequence[Sequence[int]], width: int) -> Integers:
    return np.array([[*row, *[NO_NET] * (width - len(row))] for row in rows], np.int32).reshape(len(rows), width)


class _Reader:
    def __init__(self, modules: Mapping[str, _Module], cells: Cells, memory_module: str) -> None:
        self._modules, self._cells, self._memory = modules, cells, f"{memory_module}$"
        self.models: dict[str, CellModel] = {}
        self._index: dict[str, int] = {}
        self.kinds: list[int] = []
        self.inputs: list[list[int]] = []
        self.outputs: list[list[int]] = []
        self.owners: list[int] = []
        self.blocks: list[Block] = []
        self.memories: list[MemoryPins] = []
        self.names = ["0", "1"]
        self._joined: dict[int, int] = {}

    def new(self) -> int:
        """Return a new net."""
        self.names.append("")
        return len(self.names) - 1

    def walk(self, name: str, block: Block, ports: Mapping[str, Sequence[int]]) -> None:
        """Add an instance of a module with all that is in it; `ports` are the nets at its ports."""
        module, here = self._modules[name], len(self.blocks)
        self.blocks.append(block)
        nets: dict[int | str, int] = {"0": LOW, "1": HIGH, "x": LOW, "z": LOW}
        for port, outside in ports.items():
            for bit, net in zip(module["ports"][port]["bits"], outside, strict=True):
                self._join(nets.setdefault(bit, net), net)
        self._name(module, block.path, nets)
        for label, instance in module["cells"].items():
            pins = {pin: [self._net(nets, bit) for bit in bits] for pin, bits in instance["connections"].items()}
            kind, path = instance["type"], f"{block.path}.{label}".lstrip(".")
            if kind.startswith(self._memory):
                self.memories.append(MemoryPins(path, here, {pin: tuple(bits) for pin, bits in pins.items()}))
            elif kind in self._modules and kind not in self._cells.models:  # Yosys may list cells as empty modules
                self.walk(kind, Block(path, kind.split("$", 1)[0], here), pins)
            else:
                self._add(kind, here, pins)

    def _join(self, first: int, second: int) -> None:
        """Make two nets one: an output of a module may be a constant, or one of its inputs."""
        kept, gone = sorted((self.found(first), self.found(second)))
        if kept != gone:
            self._joined[gone] = kept

    def found(self, net: int) -> int:
        """Return the net that a net is a part of."""
        while net in self._joined:
            net = self._joined[net]
        return net

    def _net(self, nets: dict[int | str, int], bit: int | str) -> int:
        if bit not in nets:
            nets[bit] = self.new()
        return nets[bit]

    def _name(self, module: _Module, path: str, nets: dict[int | str, int]) -> None:
        for name, entry in module["netnames"].items():
            if not entry["hide_name"]:
                for index, bit in enumerate(entry["bits"]):
                    net = self._net(nets, bit)
                    if not self.names[net]:
                        suffix = f"[{index}]" if len(entry["bits"]) > 1 else ""
                        self.names[net] = f"{path}.{name}{suffix}".lstrip(".")

    def _add(self, kind: str, block: int, pins: Mapping[str, Sequence[int]]) -> None:
        if kind not in self._index:
            if kind not in self._cells.models:
                raise IntarsiaError(
                    f"the netlist has a cell {kind}, which cannot be simulated; map it to the library of PDK_ROOT."
                )
            self._index[kind] = len(self.models)
            self.models[kind] = self._cells.models[kind]
        model = self.models[kind]
        self.kinds.append(self._index[kind])
        self.inputs.append([pins[pin][0] if pin in pins else LOW for pin in model.inputs])
        self.outputs.append([pins[pin][0] if pins.get(pin) else NO_NET for pin in model.outputs])
        self.owners.append(block)
