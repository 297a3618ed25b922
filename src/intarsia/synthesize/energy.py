# SPDX-License-Identifier: Apache-2.0
"""Energy of an engine's memory accesses, an estimate: counted by the cycle model, each at what SRAM macros take.

A partial one: lanes, requantization, the clock tree and leakage are not in it, nor what switching address and data
inputs takes, nor the host's writing of inputs and reading of results.
"""

from collections.abc import Mapping, Sequence

from intarsia.engine import EngineConfig
from intarsia.engine.cycles import LayerCycles
from intarsia.engine.layout import DESCRIPTOR_WORDS
from intarsia.errors import IntarsiaError
from intarsia.synthesize.liberty import Cell
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.sram import Memory, ports_of


def memory_energy(layers: Sequence[LayerCycles], engine: EngineConfig, pdk: Pdk) -> float:
    """Return the energy of the memory accesses of an inference while the engine runs, in nJ.

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
        read_pj, write_pj = access_energies(memory, pdk.srams)
        energy_pj += reads[memory.path] * read_pj + writes.get(memory.path, 0) * write_pj
    return energy_pj / 1000


def access_energies(memory: Memory, cells: Sequence[Cell]) -> tuple[float, float]:
    """Return the energy of reading and of writing a word of a memory, in pJ.

    The memory is made of one kind of macro, side by side as wide as a word, in as many banks as its depth needs, of
    which an access wakes one: the kind with the least product of area and energy of a read. Least area alone would
    take large macros, and least energy alone countless small ones.

    Raises:
        IntarsiaError: the library has no macros with so many ports that say what they take.
    """
    best: tuple[float, float, float] | None = None
    for cell in cells:
        if not cell.words or cell.read_pj is None or cell.write_pj is None or ports_of(cell) != memory.ports:
            continue
        columns, banks = -(-memory.width // cell.bits), -(-memory.depth // cell.words)
        read_pj, write_pj = columns * cell.read_pj, columns * cell.write_pj
        found = (columns * banks * cell.area_um2 * read_pj, read_pj, write_pj)
        best = found if best is None else min(best, found)
    if best is None:
        raise IntarsiaError(
            f"no SRAM macro with {memory.ports} port(s) for the memory of {memory.path} says what an access takes; "
            "check PDK_ROOT."
        )
    return best[1:]


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
