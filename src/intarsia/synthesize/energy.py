"""Energy of an engine's memory accesses: counted by the cycle model, each at what the SRAM macros of a library take.

An estimate of a part: lanes, requantization, the clock tree and leakage are not in it, nor what switching address and
data inputs takes. Memory is most of what superposition networks differ in, for ternary arithmetic is cheap.
"""

from collections.abc import Mapping, Sequence

from intarsia.engine import EngineConfig
from intarsia.engine.cycles import LayerCycles
from intarsia.engine.layout import DESCRIPTOR_WORDS
from intarsia.errors import IntarsiaError
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.sram import MappedMemory, Memory, map_memory
from intarsia.synthesize.units import ExecutionUnit


def memory_energy(layers: Sequence[LayerCycles], engine: EngineConfig, unit: ExecutionUnit, pdk: Pdk) -> float:
    """Return the energy of all memory accesses of an inference, in nJ.

    Args:
        layers: of the program, as the cycle model counts them.
        engine: whose memories are as deep as these.
        unit: the lanes, which say how wide the words of weights are.
        pdk: the library with SRAM macros.

    Raises:
        IntarsiaError: the library has no macros for these memories, or does not say what they take.
    """
    reads, writes = _accesses(layers)
    energy_pj = 0.0
    for memory in _memories(engine, unit):
        mapped = map_memory(memory, pdk.srams, multiplexer_um2=pdk.multiplexer_um2)
        read_pj, write_pj = _known(mapped)
        energy_pj += reads[memory.path] * read_pj + writes.get(memory.path, 0) * write_pj
    return energy_pj / 1000


def _memories(engine: EngineConfig, unit: ExecutionUnit) -> list[Memory]:
    """Return the memories of an engine with these lanes; a unit without slots has none for a sparse plane."""
    dense = unit.dense_bits
    sizes = [
        Memory("activations", engine.act_bits, engine.act_depth, 2, two_addresses=True),
        Memory("dense", dense, engine.dense_depth, 1),
        Memory("sparse", unit.word_bits - dense, engine.sparse_depth, 1),
        Memory("parameters", engine.param_bits, engine.param_depth, 1),
        Memory("program", 32, engine.program_depth, 1),
    ]
    return [memory for memory in sizes if memory.width]


def _accesses(layers: Sequence[LayerCycles]) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Return the reads and the writes of each memory, in words."""
    reads = {
        "activations": sum(layer.activation_reads for layer in layers),
        "dense": sum(layer.dense_reads for layer in layers),
        "sparse": sum(layer.sparse_reads for layer in layers),
        "parameters": sum(layer.parameter_reads for layer in layers),
        "program": DESCRIPTOR_WORDS * len(layers),
    }
    return reads, {"activations": sum(layer.activation_writes for layer in layers)}


def _known(mapped: MappedMemory) -> tuple[float, float]:
    if mapped.read_pj is None or mapped.write_pj is None:
        raise IntarsiaError(
            f"the SRAM macros for the memory {mapped.memory.path} say no energy of an access; check PDK_ROOT."
        )
    return mapped.read_pj, mapped.write_pj
