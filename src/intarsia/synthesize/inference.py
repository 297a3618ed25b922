# SPDX-License-Identifier: Apache-2.0
"""Timing and energy of an inference on the netlist of an engine: an estimate, on cells of a library, before layout.

The netlist gets the buffers and the clock tree that placement would add, its delays follow from the library's tables
and estimated wires, one real input runs on it in full, and what switched is priced: see `intarsia.synthesize.netlist`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from intarsia.engine import EngineConfig, Program
from intarsia.engine.sources import TOP, write_sources
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork
from intarsia.integer.executor import Executor
from intarsia.synthesize.area import MappedNetlist, Setting, mapped_netlist
from intarsia.synthesize.netlist.cells import Cells, read_cells
from intarsia.synthesize.netlist.flat import Block, Netlist, read_netlist
from intarsia.synthesize.netlist.memories import MemoryModel, memory_model
from intarsia.synthesize.netlist.power import EnergyModel, PartEnergy
from intarsia.synthesize.netlist.run import LayerActivity, run_program, sample_program
from intarsia.synthesize.netlist.simulation import NetlistSimulation
from intarsia.synthesize.netlist.timing import MemoryTiming, SlowestPath, Timing, analyze
from intarsia.synthesize.netlist.trees import add_trees
from intarsia.synthesize.netlist.wires import Sinks, Wires
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.results import MEMORY_MODULE
from intarsia.synthesize.yosys import Design

#: Period of the clock at which energy is given, in ns: leakage depends on it, switching does not.
PERIOD_NS = 20.0
#: Names of the memories in reports, by the beginning of their path.
_MEMORIES = (
    ("u_activations", "activation memory"),
    ("u_weight_memory", "weight memory"),
    ("u_program", "program memory"),
)
#: Names of the parts in reports, by instance in the top module.
_PARTS = {
    "u_drain": "requantization and drain",
    "u_window": "activation window",
    "u_loader": "loader",
    "u_sequencer": "sequencer",
    "u_weights": "weight fetcher",
    "u_control": "control",
    "u_host": "host interface",
    "u_activations": "memory banks",
}


@dataclass(frozen=True)
class LayerEnergy:
    """Energy of a layer, in pJ, by part."""

    name: str
    cycles: int
    parts: tuple[PartEnergy, ...]

    @property
    def total(self) -> float:
        """The sum over the parts."""
        return sum(part.total for part in self.parts)


@dataclass(frozen=True)
class EngineTiming:
    """The slowest path of a whole engine, with what placement adds.

    Attributes:
        path: from register, memory or port to register, memory or port.
        buffers: cells that were added for fan-out, wires and the clock.
        buffers_um2: their area.
        cells_um2: the area of all other cells.
    """

    path: SlowestPath
    buffers: int
    buffers_um2: float
    cells_um2: float


@dataclass(frozen=True, eq=False)
class InferenceEnergy:
    """Energy of an inference.

    Attributes:
        period_ns: of the clock.
        settled_ns: when the last change of any cycle was, after the clock's edge.
        layers: of the program.
        sampled: cycles of each layer that were run at most; None: all were.
        timing: of the engine.
    """

    period_ns: float
    settled_ns: float
    layers: tuple[LayerEnergy, ...]
    sampled: int | None
    timing: EngineTiming

    @property
    def parts(self) -> tuple[PartEnergy, ...]:
        """Energy of the whole inference by part, in pJ."""
        return add_parts([layer.parts for layer in self.layers])

    @property
    def total(self) -> float:
        """Energy of the whole inference, in pJ."""
        return sum(layer.total for layer in self.layers)


def add_parts(groups: Sequence[Sequence[PartEnergy]]) -> tuple[PartEnergy, ...]:
    """Return the sum of energies by part."""
    names = dict.fromkeys(part.name for group in groups for part in group)
    return tuple(_sum(name, [part for group in groups for part in group if part.name == name]) for name in names)


def _sum(name: str, parts: Sequence[PartEnergy]) -> PartEnergy:
    return PartEnergy(
        name,
        sum(part.internal for part in parts),
        sum(part.nets for part in parts),
        sum(part.clock for part in parts),
        sum(part.leakage for part in parts),
    )


class PlacedEngine:
    """The netlist of an engine with buffers, clock tree, loads and timing.

    Args:
        config: of the engine.
        pdk: the library.
        setting: of synthesis.
        cache: folder of kept results; None keeps none.
        timeout_s: for synthesis.

    Raises:
        IntarsiaError: a tool is missing or fails, or the library lacks something.
    """

    def __init__(
        self,
        config: EngineConfig,
        pdk: Pdk,
        *,
        setting: Setting = "smallest",
        cache: Path | None = None,
        timeout_s: float = 900.0,
    ) -> None:
        with TemporaryDirectory(prefix="intarsia-rtl-") as folder:
            design = Design(tuple(write_sources(Path(folder))), TOP, config.module_parameters())
            self.mapped: MappedNetlist = mapped_netlist(design, pdk, setting=setting, cache=cache, timeout_s=timeout_s)
        self.cells: Cells = read_cells(pdk.cells.path)
        self.memories: dict[str, MemoryModel] = {
            memory.path: memory_model(memory, pdk.srams, multiplexer_um2=pdk.multiplexer_um2)
            for memory in self.mapped.memories
        }
        plain = read_netlist(self.mapped.json, TOP, self.cells, MEMORY_MODULE)
        pins_pf = {path: memory.pin_pf for path, memory in self.memories.items()}
        self.netlist: Netlist = add_trees(plain, self.cells, clock="clk_i", memory_pf=pins_pf)
        self.loads = Wires(self.netlist, self.cells, memory_pf=pins_pf).loads(self.netlist, Sinks(self.netlist))
        self.times: Timing = analyze(
            self.netlist,
            self.loads,
            {path: MemoryTiming(memory.access_ns, memory.setup_ns) for path, memory in self.memories.items()},
        )
        self._added = len(plain.kinds)

    @property
    def timing(self) -> EngineTiming:
        """The slowest path, and what was added."""
        areas = self.netlist.areas_um2
        return EngineTiming(
            path=self.times.path,
            buffers=len(areas) - self._added,
            buffers_um2=float(areas[self._added :].sum()),
            cells_um2=float(areas[: self._added].sum()),
        )

    def energy(
        self,
        network: IntegerNetwork,
        program: Program,
        image: NDArray[np.integer],
        *,
        period_ns: float = PERIOD_NS,
        cycles: int | None = None,
        progress: Callable[[str], object] | None = None,
    ) -> InferenceEnergy:
        """Run one inference on the netlist and return what it takes.

        Args:
            network: its result is compared.
            program: of the network, for this engine.
            image: (C, H, W) of the network's integers.
            period_ns: of the clock.
            cycles: of each layer at most, which then stand for the layer; None: every cycle of the inference is run.
            progress: called with the name of each layer that has ended.

        Raises:
            IntarsiaError: the netlist does not settle in the period, does not do what the cycle model says, or computes
                something else than the network.
        """
        values = {name: each[0] for name, each in Executor(network, 1).trace(image[None]).items()}
        with NetlistSimulation(self.netlist, self.times, self.memories, period_ns=period_ns) as simulation:
            if cycles is None:
                output, found = run_program(simulation, program, image, progress)
                if not np.array_equal(output, values[program.layers[-1].name]):
                    raise IntarsiaError(
                        f"the netlist computes something else than {network.name}; please report this as a bug."
                    )
            else:
                values["input"] = image
                found = sample_program(simulation, program, values, cycles=cycles, progress=progress)
            settled = simulation.latest_ns
        model = EnergyModel(self.netlist, self.cells, self.loads, self.times, self.memories)
        names = [part_of(block) for block in self.netlist.blocks]
        layers = tuple(_layer(model, layer, period_ns, names) for layer in found)
        return InferenceEnergy(period_ns, settled, layers, cycles, self.timing)


def _layer(model: EnergyModel, layer: LayerActivity, period_ns: float, names: Sequence[str]) -> LayerEnergy:
    parts = [[_scaled(part, count) for part in model.parts(some, period_ns, names)] for some, count in layer.parts]
    return LayerEnergy(layer.name, layer.cycles, _named(add_parts(parts)))


def _scaled(part: PartEnergy, by: float) -> PartEnergy:
    return PartEnergy(part.name, part.internal * by, part.nets * by, part.clock * by, part.leakage * by)


def _named(parts: Sequence[PartEnergy]) -> tuple[PartEnergy, ...]:
    """Return the energies with memories under their names in reports, banks as one."""
    return add_parts([[_sum(memory_name(part.name), [part]) for part in parts]])


def memory_name(path: str) -> str:
    """Return the name in reports of the memory at a path of the engine, the same for all banks; else the path."""
    return next((name for start, name in _MEMORIES if path.startswith(start)), path)


def part_of(block: Block) -> str:
    """Return the part of an engine that a block of its netlist belongs to."""
    if "array" in block.path:
        return "lanes"
    return _PARTS.get(block.path.split(".", 1)[0], "between parts")
