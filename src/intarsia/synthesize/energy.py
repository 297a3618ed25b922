# SPDX-License-Identifier: Apache-2.0
"""Energy of an inference without a netlist, an estimate for exploration: events that the cycle model counts, each at
what it takes.

Memory accesses take what the macros take that the memories are mapped to. Events of the logic take what was fitted to
measurements on netlists (`intarsia.synthesize.inference`), for each kind of execution unit; benchmarks/energy.py fits
them and says how far the model is off on networks that it was not fitted to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from intarsia.engine import EngineConfig
from intarsia.engine.cycles import LayerCycles
from intarsia.engine.layout import DESCRIPTOR_WORDS
from intarsia.engine.units import Dense, Superposition
from intarsia.errors import IntarsiaError
from intarsia.synthesize.netlist.memories import memory_model
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.sram import Memory
from intarsia.typed_json import read_typed

#: Events of a layer: clock cycles; steps of the lanes; steps as many as its multiply-accumulates would fill; those
#: times the unit's size (`unit_size`); bits of weights and of activations that are read; bits of activations that are
#: written.
EVENTS = ("cycles", "steps", "full_steps", "sized_steps", "weight_bits", "activation_bits", "output_bits")
MODEL_FILE = Path(str(files("intarsia.synthesize") / "energy_model.json"))


@dataclass(frozen=True)
class FittedEnergies:
    """What the events of one kind of unit take.

    Attributes:
        unit: the kind, as `unit_kind` gives it.
        picojoules: of each of `EVENTS`.
        error: of an inference's energy of logic, relative: the largest on a network that the fit did not see.
        layer_error: the same of single layers, the mean weighted by their energy.
    """

    unit: str
    picojoules: tuple[float, ...]
    error: float
    layer_error: float


@dataclass(frozen=True)
class FittedModel:
    """The fast model: energies of each kind of unit, and the library that they were measured with."""

    library: str
    units: tuple[FittedEnergies, ...]


@cache
def fitted_model() -> FittedModel:
    """Return the model that comes with the package."""
    return read_typed(FittedModel, MODEL_FILE, "install Intarsia again")


def unit_kind(engine: EngineConfig) -> str:
    """Return the kind of an engine's unit; energies are fitted for each kind."""
    return engine.unit.name


def unit_size(engine: EngineConfig) -> float:
    """Return what the energy of a step grows with, within a kind of unit: bits of the weights that it multiplies by."""
    unit = engine.unit
    if isinstance(unit, Superposition):
        return float(unit.slots * unit.slot_bits)
    return float(unit.bits) if isinstance(unit, Dense) else 0.0


def events_of(layer: LayerCycles, engine: EngineConfig) -> tuple[float, ...]:
    """Return how often each of `EVENTS` happens in a layer, as the cycle model counts it."""
    scale = engine.lanes * engine.block / 256  # the lanes of the engines that were measured
    weights = (layer.weight_reads + layer.parameter_reads) * engine.weight_bits
    activations = (layer.activation_reads + layer.residual_reads) * engine.act_bits
    outputs = layer.activation_writes * engine.act_bits
    steps, full = layer.steps * scale, layer.ideal * scale
    accesses = (float(weights), float(activations), float(outputs))
    return (float(layer.cycles), steps, full, full * unit_size(engine), *accesses)


def logic_energy(layers: Sequence[LayerCycles], engine: EngineConfig) -> float:
    """Return an estimate of the energy of all logic in an inference, clock and leakage included, in nJ.

    Raises:
        IntarsiaError: no such unit was measured.
    """
    fitted = {each.unit: each for each in fitted_model().units}
    kind = unit_kind(engine)
    if kind not in fitted:
        raise IntarsiaError(f"the energy of {engine.unit} was never measured on a netlist; choose another objective.")
    energies = fitted[kind].picojoules
    events = [events_of(layer, engine) for layer in layers]
    return sum(count * each for counts in events for count, each in zip(counts, energies, strict=True)) / 1000


def inference_energy(layers: Sequence[LayerCycles], engine: EngineConfig, pdk: Pdk) -> float:
    """Return an estimate of the energy of an inference, logic and memories, in nJ.

    Raises:
        IntarsiaError: no such unit was measured, or the library lacks macros.
    """
    return logic_energy(layers, engine) + memory_energy(layers, engine, pdk)


def memory_energy(layers: Sequence[LayerCycles], engine: EngineConfig, pdk: Pdk) -> float:
    """Return the energy of the memory accesses of an inference while the engine runs, in nJ.

    Memories are mapped to macros as for their area; words of banks of different depth count as used equally often.

    Args:
        layers: of the program, as the cycle model counts them.
        engine: its memories have the depths that are meant.
        pdk: the library with SRAM macros.

    Raises:
        IntarsiaError: the library has no macros for these memories, or does not say what they take.
    """
    reads, writes = _accesses(layers)
    energy_pj = 0.0
    for memory in _memories(engine):
        model = memory_model(memory, pdk.srams, multiplexer_um2=pdk.multiplexer_um2)
        read_pj, write_pj = float(model.read_pj.mean()), float(model.write_pj.mean())
        energy_pj += reads[memory.path] * read_pj + writes.get(memory.path, 0) * write_pj
    return energy_pj / 1000


def _memories(engine: EngineConfig) -> list[Memory]:
    """Return the memories of an engine, of the activations one bank: an access wakes one."""
    return [
        Memory("activations", engine.act_bits, -(-engine.act_depth // engine.act_banks), 1),
        Memory("weights", engine.weight_bits, engine.weight_depth, 1),
        Memory("program", 32, engine.program_depth, 1),
    ]


def _accesses(layers: Sequence[LayerCycles]) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Return the reads and the writes of each memory, in words."""
    reads = {
        "activations": sum(layer.activation_reads + layer.residual_reads for layer in layers),
        "weights": sum(layer.weight_reads + layer.parameter_reads for layer in layers),
        "program": DESCRIPTOR_WORDS * len(layers),
    }
    return reads, {"activations": sum(layer.activation_writes for layer in layers)}
