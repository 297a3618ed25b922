"""Running a program on the simulated engine, from images to results, and reading what it did layer by layer."""

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from intarsia.engine.layout import REGION_SHIFT, REGIONS, REGISTERS
from intarsia.engine.packing import Words, activation_words
from intarsia.engine.program import Placement, Program
from intarsia.errors import IntarsiaError
from intarsia.simulate.verilator import build

_COUNTS = ("cycles", "steps", "activation_reads", "activation_writes", "dense_reads", "sparse_reads", "parameter_reads")


@dataclass(frozen=True)
class LayerCounts:
    """What the engine did in one layer: clock cycles, steps of the lanes, memory accesses in words."""

    name: str
    cycles: int
    steps: int
    activation_reads: int
    activation_writes: int
    dense_reads: int
    sparse_reads: int
    parameter_reads: int


@dataclass(frozen=True, eq=False)
class Run:
    """One inference: the result, each layer's counts and, if traced, each layer's values (C, H, W)."""

    output: NDArray[np.int64]
    counts: tuple[LayerCounts, ...]
    values: dict[str, NDArray[np.int64]]
    input_cycles: int
    """Cycles to write the image over the host bus, not part of the layers' cycles."""

    @property
    def cycles(self) -> int:
        """Cycles from the start command to the interrupt."""
        return sum(layer.cycles for layer in self.counts)


class SimulatedEngine:
    """An engine in Verilator that holds one program. Use it in a `with` block.

    Raises:
        IntarsiaError: the simulation cannot be built.
    """

    def __init__(self, program: Program, *, cache: Path | None = None) -> None:
        self.program = program
        self._library = _load(build(program.config, cache))
        self._handle = self._library.engine_create()
        self._write("Dense", program.dense)
        self._write("Sparse", program.sparse)
        self._write("Parameters", program.params)
        self._write("Program", program.descriptors[:, None])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the simulation; it cannot be used any more."""
        if self._handle:
            self._library.engine_destroy(self._handle)
            self._handle = None

    def run(self, image: NDArray[np.integer], *, trace: bool = False) -> Run:
        """Run one inference on an image (C, H, W) of the network's integers.

        Raises:
            IntarsiaError: the image does not fit the network's input, or the engine never ends.
        """
        program = self.program
        lanes = program.config.lanes
        stored = activation_words(program.input.store(image, lanes), program.config)
        input_cycles = self._write("Activations", stored, program.input.base)
        counts, memories = self._execute(trace=trace)
        layers = tuple(
            LayerCounts(layer.name, *(int(c) for c in row)) for layer, row in zip(program.layers, counts, strict=True)
        )
        values = {
            layer.name: _extract(memory, layer.output, lanes)
            for layer, memory in zip(program.layers, memories, strict=False)
        }
        output = self._read(program.output)
        return Run(output, layers, values, input_cycles)

    def _execute(self, *, trace: bool) -> tuple[NDArray[np.uint64], NDArray[np.int8]]:
        program, config = self.program, self.program.config
        layers = len(program.layers)
        counts = np.zeros((layers, len(_COUNTS)), np.uint64)
        memory_bytes = config.act_depth * config.lanes
        memories = np.zeros((layers if trace else 0, config.act_depth, config.lanes), np.int8)
        limit = 1000 * (layers + sum(layer.macs for layer in program.layers)) + 10_000_000
        ended = self._library.engine_run(
            self._handle,
            _address("Registers") + REGISTERS["Control"],
            layers,
            limit,
            counts.ctypes.data_as(ctypes.c_void_p),
            memories.ctypes.data_as(ctypes.c_void_p) if trace else None,
            memory_bytes,
        )
        if ended == -3:
            raise IntarsiaError(f"an assertion of the hardware failed while it ran {program.name} (see above).")
        if ended != layers:
            raise IntarsiaError(
                f"the engine ended {ended} of {layers} layers of {program.name}: the hardware is at fault."
            )
        return counts, memories

    def _write(self, region: str, words: Words, first: int = 0) -> int:
        parts = words.shape[1]
        stride = _stride(parts)
        data = np.ascontiguousarray(words, np.uint32)
        return int(
            self._library.engine_write(
                self._handle,
                _address(region) + first * stride,
                len(words),
                parts,
                stride,
                data.ctypes.data_as(ctypes.c_void_p),
            )
        )

    def _read(self, placement: Placement) -> NDArray[np.int64]:
        lanes = self.program.config.lanes
        parts = lanes // 4
        data = np.zeros((placement.words, parts), np.uint32)
        stride = _stride(parts)
        self._library.engine_read(
            self._handle,
            _address("Activations") + placement.base * stride,
            placement.words,
            parts,
            stride,
            data.ctypes.data_as(ctypes.c_void_p),
        )
        return placement.restore(data.view(np.int8).reshape(placement.words, lanes))


def _extract(memory: NDArray[np.int8], placement: Placement, lanes: int) -> NDArray[np.int64]:
    rows = memory[placement.base : placement.base + placement.words]
    return placement.restore(rows.reshape(placement.words, lanes))


def _address(region: str) -> int:
    return REGIONS[region] << REGION_SHIFT


def _stride(parts: int) -> int:
    """Bus addresses of a wide word: the next power of two."""
    return 1 << (parts - 1).bit_length()


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    handle, words = ctypes.c_void_p, ctypes.c_uint32
    library.engine_create.restype = handle
    library.engine_destroy.argtypes = [handle]
    library.engine_write.argtypes = [handle, words, words, words, words, handle]
    library.engine_write.restype = ctypes.c_uint64
    library.engine_read.argtypes = [handle, words, words, words, words, handle]
    library.engine_run.argtypes = [handle, words, words, ctypes.c_uint64, handle, handle, ctypes.c_uint64]
    library.engine_run.restype = ctypes.c_int32
    return library
