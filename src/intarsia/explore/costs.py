# SPDX-License-Identifier: Apache-2.0
"""Hardware costs of a frozen network: stored bits, cycles of the exact model, and the execution unit it needs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.engine.config import LEAST_DEPTH
from intarsia.engine.cycles import LayerCycles, predict
from intarsia.engine.program import Program
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork
from intarsia.integer.effective import effective_bits
from intarsia.integer.formats import Pattern, WeightFormat
from intarsia.integer.layers import Conv2d, Plane, WeightLayer
from intarsia.synthesize.energy import memory_energy
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.units import ExecutionUnit, Positions

_TERNARY = WeightFormat("ternary")


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
        if self.unit is None or self.engine is None:
            return None
        return memory_energy(self.layers, self.engine, self.unit, pdk)


def costs_of(network: IntegerNetwork, engine: EngineConfig | None = None) -> Costs:
    """Count the costs of a network.

    Superposition networks run on the engine, with as many slots as their densest block needs. Networks of dense `intN`
    planes run on lanes of that width in the same shell, where every plane takes one pass.
    """
    engine = engine or EngineConfig()
    counted = effective_bits(network)
    stored = -(-(counted.total + counted.biases) // 8)
    try:
        unit = unit_of(network, engine.lanes)
        built = _single_pass(network) if unit.kind == "dense" else network
        program = compile_network(built, config_for(built, replace(engine, slots=max(1, unit.slots))))
    except IntarsiaError as error:
        return Costs(counted.per_weight, stored, None, None, str(error))
    layers = predict(program)
    cycles = sum(layer.cycles for layer in layers)
    return Costs(counted.per_weight, stored, cycles, unit, layers=layers, engine=_as_deep_as_used(program))


def _as_deep_as_used(program: Program) -> EngineConfig:
    return replace(program.config, **{name: max(LEAST_DEPTH, words) for name, words in program.used_words().items()})


def unit_of(network: IntegerNetwork, lanes: int = 16) -> ExecutionUnit:
    """Return the execution unit that all layers of a network need.

    Raises:
        IntarsiaError: no unit has these planes.
    """
    layers = tuple(network.weight_layers())
    dense = [plane for layer in layers for plane in layer.planes if plane.pattern.kind == "dense"]
    sparse = [(layer, plane) for layer in layers for plane in layer.planes if plane.pattern.kind != "dense"]
    widths = [plane.format.stored_bits(1) for plane in dense if not plane.format.digits]
    if widths:
        if len(widths) < len(dense) or sparse:
            raise IntarsiaError("no execution unit has both dense planes of intN and other planes.")
        return ExecutionUnit("dense", weight_bits=max(2, *widths), lanes=lanes)
    slots = max((_slots(plane, lanes) for _, plane in sparse), default=0)
    if slots > 4:
        raise IntarsiaError(f"a block holds {slots} sparse weights, a lane has at most 4 slots.")
    if any(plane.format.digits for _, plane in sparse):
        raise IntarsiaError("a slot holds intN weights, no digits.")
    if not slots:
        return ExecutionUnit("superposition", lanes=lanes)
    bits = max(plane.format.stored_bits(1) for _, plane in sparse)
    positions = _positions(sparse, lanes)
    return ExecutionUnit("superposition", slots=slots, slot_bits=bits, positions=positions, lanes=lanes)


def _slots(plane: Plane, lanes: int) -> int:
    """Return how many weights of a sparse plane lie at most in one block of input channels of a tap and output."""
    if plane.pattern.kind in ("n:m", "fixed") and plane.pattern.m == lanes:
        return plane.pattern.n
    support = plane.weights.reshape(*plane.weights.shape[:2], -1) != 0
    rest = -support.shape[1] % lanes
    blocks = np.pad(support, ((0, 0), (0, rest), (0, 0))).reshape(support.shape[0], -1, lanes, support.shape[2])
    return int(blocks.sum(axis=2).max(initial=0))


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


def _single_pass(network: IntegerNetwork) -> IntegerNetwork:
    """Return a network of the same shapes whose dense planes take one pass, as on lanes of their width.

    Its weights are random, because the compiler stores equal ones once.
    """
    rng = np.random.default_rng(0)

    def changed(layer: WeightLayer) -> WeightLayer:
        weights = rng.integers(-1, 2, layer.planes[0].weights.shape).astype(layer.planes[0].weights.dtype)
        return replace(layer, planes=(replace(layer.planes[0], weights=weights, format=_TERNARY),))

    weighted = {layer.output.name for layer in network.weight_layers()}
    layers = [changed(layer) if layer.output.name in weighted else layer for layer in network.layers]  # type: ignore[arg-type]
    return replace(network, layers=tuple(layers))
