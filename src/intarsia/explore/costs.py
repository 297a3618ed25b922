# SPDX-License-Identifier: Apache-2.0
"""Hardware costs of a frozen network: stored bits, cycles of the exact model, and the lane array it needs."""

from dataclasses import dataclass, replace

from intarsia.engine import EngineConfig, compile_network
from intarsia.engine.config import LEAST_DEPTH
from intarsia.engine.cycles import LayerCycles, predict
from intarsia.engine.fitting import config_for, engine_for
from intarsia.engine.program import Program
from intarsia.engine.units import unit_named
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork
from intarsia.integer.effective import effective_bits
from intarsia.synthesize.energy import inference_energy, memory_energy
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.units import LaneArray


@dataclass(frozen=True)
class Costs:
    """Costs of one network on one engine.

    Attributes:
        bits: effective bits per weight.
        bytes: of everything stored for the weights, biases included.
        cycles: per inference; None where no engine runs these planes.
        array: the lanes that multiply; None where there are none for these planes.
        reason: why there are no cycles or no lanes, one sentence; else empty.
        layers: cycles and memory accesses of each layer; empty where there are no lanes.
        engine: the engine that they are of, its memories no deeper than the network needs.
    """

    bits: float
    bytes: int
    cycles: int | None
    array: LaneArray | None
    reason: str = ""
    layers: tuple[LayerCycles, ...] = ()
    engine: EngineConfig | None = None

    def memory_energy(self, pdk: Pdk) -> float | None:
        """Return an estimate of the energy of memory accesses of an inference in nJ; None where no engine runs these
        planes.

        Raises:
            IntarsiaError: the library has no macros for these memories.
        """
        return None if self.engine is None else memory_energy(self.layers, self.engine, pdk)

    def energy(self, pdk: Pdk) -> float | None:
        """Return an estimate of the energy of an inference in nJ; None where no engine runs these planes.

        Raises:
            IntarsiaError: the library has no macros for these memories, or the unit was never measured.
        """
        return None if self.engine is None else inference_energy(self.layers, self.engine, pdk)


def costs_of(network: IntegerNetwork, engine: EngineConfig | None = None, unit: str = "") -> Costs:
    """Count the costs of a network on the engine that is fitted to it.

    Args:
        network: any.
        engine: to begin with.
        unit: by the name that `unit_named` reads; empty: the one that `engine_for` chooses.
    """
    engine = engine or EngineConfig()
    counted = effective_bits(network)
    stored = -(-(counted.total + counted.biases) // 8)
    try:
        chosen = config_for(network, _with_unit(engine, unit)) if unit else engine_for(network, engine)
        program = compile_network(network, chosen)
    except IntarsiaError as error:
        return Costs(counted.per_weight, stored, None, None, str(error))
    layers = predict(program)
    cycles = sum(layer.cycles for layer in layers)
    fitted = program.config
    acc_bits = max(LaneArray.acc_bits, fitted.unit.least_acc_bits(fitted.block))
    array = LaneArray(fitted.unit, fitted.lanes, fitted.block, acc_bits)
    return Costs(counted.per_weight, stored, cycles, array, layers=layers, engine=_as_deep_as_used(program))


def _with_unit(engine: EngineConfig, name: str) -> EngineConfig:
    """Return an engine with another unit, and accumulators and requantizers as that needs them."""
    return replace(engine, unit=unit_named(name, engine.lanes), acc_bits=0, requant_lanes=0)


def _as_deep_as_used(program: Program) -> EngineConfig:
    depths = {name: max(LEAST_DEPTH, words) for name, words in program.used_words().items()}
    return replace(
        program.config,
        act_depth=depths["act_depth"],
        weight_depth=depths["weight_depth"],
        program_depth=depths["program_depth"],
    )
