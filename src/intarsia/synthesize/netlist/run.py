# SPDX-License-Identifier: Apache-2.0
"""Running a program on the simulated netlist of its engine, layer by layer: every cycle, or samples of each layer."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from intarsia.engine.cycles import LayerCycles, predict
from intarsia.engine.layout import DESCRIPTOR_WORDS, bank_of
from intarsia.engine.packing import Words, activation_words, activations_of, to_words
from intarsia.engine.program import Placement, Program
from intarsia.errors import IntarsiaError
from intarsia.synthesize.netlist.simulation import Activity, Bits, NetlistSimulation

Values = NDArray[np.integer]
_RESET_CYCLES = 4
_WEIGHTS, _PROGRAM = "u_weight_memory", "u_program_memory"
#: Cycles at the start of a layer that stand for themselves when it is sampled: until its pipelines are full.
START_CYCLES = 64


@dataclass(frozen=True, eq=False)
class LayerActivity:
    """What switched in a layer.

    Attributes:
        name, cycles: of the layer.
        parts: what was counted, and how many times it counts: once, if the layer was run to its end.
    """

    name: str
    cycles: int
    parts: tuple[tuple[Activity, float], ...]


def run_program(
    simulation: NetlistSimulation, program: Program, image: Values, progress: Callable[[str], object] | None = None
) -> tuple[NDArray[np.int64], tuple[LayerActivity, ...]]:
    """Run one inference; return the result (C, H, W) and what switched between the start command and the interrupt.

    Memories are filled directly, not over the bus.

    Args:
        simulation: of the engine that the program is for, just made.
        program: what it runs.
        image: (C, H, W) of the network's integers.
        progress: called with the name of each layer that has ended.

    Raises:
        IntarsiaError: the netlist does not end the program in the cycles of the cycle model.
    """
    memory = _Activations(program)
    memory.put(program.input, image)
    _fill(simulation, program, memory, first=0)
    _start(simulation)
    found, before = [], simulation.activity()
    for layer in predict(program):
        _end_layer(simulation, layer)
        after = simulation.activity()
        found.append(LayerActivity(layer.name, layer.cycles, ((after.since(before), 1.0),)))
        before = after
        if progress is not None:
            progress(layer.name)
    simulation.count(False)
    return memory.output(simulation), tuple(found)


def sample_program(
    simulation: NetlistSimulation,
    program: Program,
    values: Mapping[str, Values],
    *,
    cycles: int,
    progress: Callable[[str], object] | None = None,
) -> tuple[LayerActivity, ...]:
    """Run the beginning of each layer of an inference and let it stand for the layer.

    The first `START_CYCLES` stand for themselves, those after them for the rest of the layer.

    Args:
        simulation, program, progress: as for `run_program`.
        values: of the network's input (by `input`) and of each layer's output, by its name, (C, H, W).
        cycles: to run of each layer, at most; more than `START_CYCLES`.

    Raises:
        IntarsiaError: there are too few cycles, or the netlist does not end a layer in those of the cycle model.
    """
    if cycles <= START_CYCLES:
        raise IntarsiaError(
            f"{cycles} cycles of each layer are too few, its start takes {START_CYCLES}; give more than that."
        )
    memory, found = _Activations(program), []
    memory.put(program.input, values["input"])
    for number, layer in enumerate(predict(program)):
        _fill(simulation, program, memory, first=number)
        # Alone, a layer begins with the reading of its descriptor, which the layer before it hides otherwise.
        alone = predict(replace(program, layers=(program.layers[number],)))[0]
        _start(simulation, uncounted=alone.cycles - layer.cycles)
        before = simulation.activity()
        parts: tuple[tuple[Activity, float], ...]
        if layer.cycles <= max(cycles, 2 * START_CYCLES):
            _end_layer(simulation, layer)
            parts = ((simulation.activity().since(before), 1.0),)
        else:
            simulation.run(START_CYCLES)
            middle = simulation.activity()
            simulation.run(cycles - START_CYCLES)
            rest = simulation.activity().since(middle)
            parts = ((middle.since(before), 1.0), (rest, (layer.cycles - START_CYCLES) / rest.cycles))
        simulation.count(False)
        found.append(LayerActivity(layer.name, layer.cycles, parts))
        memory.put(program.layers[number].output, values[layer.name])
        if progress is not None:
            progress(layer.name)
    return tuple(found)


def _end_layer(simulation: NetlistSimulation, layer: LayerCycles) -> None:
    found = simulation.run(2 * layer.cycles + 1000, until="layer_done_o") + 1
    simulation.run(1)
    if found != layer.cycles:
        raise IntarsiaError(
            f"the netlist takes {found:,} cycles for {layer.name}, where the cycle model predicts {layer.cycles:,}; "
            "please report this as a bug."
        )


def _fill(simulation: NetlistSimulation, program: Program, activations: "_Activations", *, first: int) -> None:
    """Fill the memories with what is there before a layer, as if the program began with it."""
    _store(simulation, _WEIGHTS, program.weights)
    _store(simulation, _PROGRAM, program.descriptors[first * DESCRIPTOR_WORDS :, None])
    activations.store(simulation)


def _start(simulation: NetlistSimulation, *, uncounted: int = 0) -> None:
    simulation.drive("rst_ni", 0)
    simulation.run(_RESET_CYCLES)
    simulation.drive("rst_ni", 1)
    simulation.run(1)
    simulation.drive("start_i", 1)
    simulation.run(1)
    simulation.drive("start_i", 0)
    if uncounted:
        simulation.run(uncounted)
    simulation.count(True)


def _store(simulation: NetlistSimulation, memory: str, words: Words) -> None:
    width = simulation.stored(memory).shape[1]
    simulation.store(memory, _bits(words)[:, :width])


def _bits(words: Words) -> Bits:
    return np.unpackbits(np.ascontiguousarray(words, "<u4").view(np.uint8), axis=1, bitorder="little")


class _Activations:
    """The activation memory: bits [word, bit] in the order of addresses, whatever bank they lie in."""

    def __init__(self, program: Program) -> None:
        self._program, self._config = program, program.config
        self._bits = np.zeros((self._config.act_depth, self._config.act_bits), np.uint8)

    def put(self, place: Placement, values: Values) -> None:
        """Store a tensor (C, H, W) where it belongs."""
        words = activation_words(place.store(values), place.stored.bits)
        self._bits[place.base : place.base + len(words)] = _bits(words)

    def store(self, simulation: NetlistSimulation) -> None:
        """Fill the banks of a simulation."""
        for memory, addresses in self._banks():
            simulation.store(memory, self._bits[addresses])

    def output(self, simulation: NetlistSimulation) -> NDArray[np.int64]:
        """Read the result of the program from a simulation."""
        place, bits = self._program.output, np.zeros_like(self._bits)
        for memory, addresses in self._banks():
            bits[addresses] = simulation.stored(memory)[: len(addresses)]
        words = to_words(bits[place.base : place.base + place.words])
        return place.restore(activations_of(words, place.stored.bits))

    def _banks(self) -> Iterator[tuple[str, NDArray[np.intp]]]:
        banks = np.array([bank_of(address, self._config.act_banks) for address in range(self._config.act_depth)])
        for bank in range(self._config.act_banks):
            yield f"u_activations.gen_bank[{bank}].u_memory", np.flatnonzero(banks == bank)
