# SPDX-License-Identifier: Apache-2.0
"""Hardware costs of a frozen network: stored bits, cycles of the exact model, and the execution unit it needs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.engine.config import LEAST_DEPTH
from intarsia.engine.cycles import LayerCycles, predict
from intarsia.engine.program import Program
from intarsia.engine.units import Dense, Superposition
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork
from intarsia.integer.effective import effective_bits
from intarsia.integer.formats import Pattern
from intarsia.integer.layers import Conv2d, Plane, WeightLayer
from intarsia.synthesize.energy import memory_energy
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.units import ExecutionUnit, Positions


@dataclass(frozen=True)
class Costs:
    """Costs of one network on one engine.

    Attributes:
        bits: effective bits per weight.
        bytes: of everything stored for the weights, biases included.
        cycles: per inference; None where no engine runs these planes.
        unit: the lanes that multiply; None where there are none for these planes.
        reason: why there are no cycles or no unit, one sentence; else empty.
        layers: cycles and memory accesses of each layer; empty where there is no unit.
        engine: the engine that they are of, its memories no deeper than the network needs.
    """

    bits: float
    bytes: int
    cycles: int | None
    unit: ExecutionUnit | None
    reason: str = ""
    layers: tuple[LayerCycles, ...] = ()
    engine: EngineConfig | None = None

    def memory_energy(self, pdk: Pdk) -> float | None:
        """Return an estimate of the energy of memory accesses of an inference in nJ; None where no engine runs these
        planes.

        Raises:
            IntarsiaError: the library has no macros for these memories.
        """
        if self.engine is None:
            return None
        return memory_energy(self.layers, self.engine, pdk)


def costs_of(network: IntegerNetwork, engine: EngineConfig | None = None) -> Costs:
    """Count the costs of a network on the engine that is fitted to it.

    Networks of dense planes in balanced ternary, with or without a sparse plane, run on superposition units, all others
    on dense units as wide as their widest weights.
    """
    engine = engine or EngineConfig()
    counted = effective_bits(network)
    stored = -(-(counted.total + counted.biases) // 8)
    try:
        program = _compiled(network, engine)
    except IntarsiaError as error:
        return Costs(counted.per_weight, stored, None, None, str(error))
    layers = predict(program)
    cycles = sum(layer.cycles for layer in layers)
    array = array_of(network, program.config)
    return Costs(counted.per_weight, stored, cycles, array, layers=layers, engine=_as_deep_as_used(program))


def _compiled(network: IntegerNetwork, engine: EngineConfig) -> Program:
    """Compile a network for the first kind of unit that takes it."""
    planes = [plane for layer in network.weight_layers() for plane in layer.planes]
    plain = any(plane.pattern.kind == "dense" and plane.format.name.startswith("int") for plane in planes)
    first: IntarsiaError | None = None
    for unit in (Dense(),) if plain else (Superposition(), Dense()):
        try:
            return compile_network(network, config_for(network, replace(engine, unit=unit)))
        except IntarsiaError as error:
            first = first or error
    assert first is not None  # noqa: S101 (there is a unit to try)
    raise first


def _as_deep_as_used(program: Program) -> EngineConfig:
    depths = {name: max(LEAST_DEPTH, words) for name, words in program.used_words().items()}
    return replace(
        program.config,
        act_depth=depths["act_depth"],
        weight_depth=depths["weight_depth"],
        program_depth=depths["program_depth"],
    )


def array_of(network: IntegerNetwork, engine: EngineConfig) -> ExecutionUnit:
    """Return the lane array of an engine that is fitted to a network: without slots where the network has no sparse
    plane, and with its positions as regular as the network's are.
    """
    unit = engine.unit
    if isinstance(unit, Dense):
        return ExecutionUnit("dense", weight_bits=unit.bits, digits=unit.digits, lanes=engine.lanes, block=engine.block)
    assert isinstance(unit, Superposition)  # noqa: S101 (the only other kind that networks are compiled for here)
    sparse = [(layer, plane) for layer in network.weight_layers() for plane in layer.planes]
    sparse = [(layer, plane) for layer, plane in sparse if plane.pattern.kind != "dense"]
    if not sparse:
        return ExecutionUnit("superposition", lanes=engine.lanes, block=engine.block)
    return ExecutionUnit(
        "superposition",
        slots=unit.slots,
        slot_bits=unit.slot_bits,
        positions=_positions(sparse, engine.lanes),
        plane_shift_bits=unit.shift_bits,
        lanes=engine.lanes,
        block=engine.block,
    )


def _positions(sparse: Sequence[tuple[WeightLayer, Plane]], lanes: int) -> Positions:
    """Return the most regular positions that all sparse planes have. Lanes share none in a depthwise layer: each has a
    channel of its own.
    """
    patterns = [plane.pattern for _, plane in sparse]
    if all(pattern.kind == "fixed" for pattern in patterns):
        return "fixed"
    depthwise = any(isinstance(layer, Conv2d) and layer.depthwise for layer, _ in sparse)
    return "shared" if not depthwise and all(_shared(pattern, lanes) for pattern in patterns) else "own"


def _shared(pattern: Pattern, lanes: int) -> bool:
    """Whether all lanes of a tile take their sparse weights from the same input channels."""
    return pattern.kind in ("fixed", "inputs") or (pattern.kind == "n:m" and pattern.group % lanes == 0)
