# SPDX-License-Identifier: Apache-2.0
"""Running a program on the simulated engine, from images to results, and reading what it did layer by layer."""

import ctypes
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from intarsia.engine.config import bus_words
from intarsia.engine.cycles import predict
from intarsia.engine.layout import REGION_SHIFT, REGIONS
from intarsia.engine.packing import Words, activation_words, activations_of
from intarsia.engine.program import Placement, Program
from intarsia.errors import IntarsiaError
from intarsia.simulate.builder import open_library
from intarsia.simulate.verilator import build

_COUNTS = (
    *("cycles", "steps", "activation_reads", "activation_writes", "residual_reads", "weight_reads", "parameter_reads"),
)

#: The cycle model is exact, so an engine that takes twice as long, and some, never ends.
_MARGIN, _LEAST_LIMIT = 2, 10_000
#: What `engine_run` returns besides the number of layers.
_LIMIT_REACHED, _FAULT, _OVERRUN = -1, -4, -5


@dataclass(frozen=True)
class LayerCounts:
    """What the engine did in one layer: clock cycles, steps of the lanes, memory accesses in words."""

    name: str
    cycles: int
    steps: int
    activation_reads: int
    activation_writes: int
    residual_reads: int
    weight_reads: int
    parameter_reads: int


@dataclass(frozen=True, eq=False)
class Run:
    """One inference: the result, each layer's counts and, if traced, each layer's values (C, H, W)."""

    output: NDArray[np.int64]
    counts: tuple[LayerCounts, ...]
    values: dict[str, NDArray[np.int64]]
    input_cycles: int
    """Cycles to write the image through the memory port, not part of the layers' cycles."""

    @property
    def cycles(self) -> int:
        """Cycles from the start command to the end of the program."""
        return sum(layer.cycles for layer in self.counts)


class SimulatedEngine:
    """An engine in Verilator that holds one program. Use it in a `with` block.

    Args:
        program: what it runs.
        cache: folder of built simulations; None for `default_cache`.
        seed: draws what registers and memories hold at the start (1 to 2^31 - 1); no result depends on it.
        cover: count how often each cover point of the RTL is met (`cover_counts`).
        netlist: Verilog files of the mapped engine and of its cells, to be simulated instead of the RTL; inferences
            cannot be traced then.

    Raises:
        IntarsiaError: the simulation cannot be built.
    """

    def __init__(
        self,
        program: Program,
        *,
        cache: Path | None = None,
        seed: int = 1,
        cover: bool = False,
        netlist: Sequence[Path] = (),
    ) -> None:
        self.program = program
        self._library = _load(build(program.config, cache, cover=cover, netlist=netlist))
        self._predicted = _predicted_cycles(program)
        self._handle = self._library.engine_create(seed)
        self._load_program()
        self._check_assertions()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the simulation; it cannot be used any more."""
        if self._handle:
            self._library.engine_destroy(self._handle)
            self._handle = None

    def _load_program(self) -> None:
        self._write("Weights", self.program.weights)
        self._write("Program", self.program.descriptors[:, None])

    def reset(self) -> None:
        """Reset the hardware, even in the middle of a run or after an assertion; its memories keep their content."""
        self._library.engine_reset(self._handle)

    def cover_counts(self) -> dict[str, int]:
        """Return how often each cover point was met since the process began, in all engines of this build, by
        `MODULE.NAME`; empty without `cover`.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "coverage.dat"
            self._library.engine_cover(self._handle, str(path).encode())
            return _cover_counts(path.read_text(encoding="utf-8")) if path.exists() else {}

    def read_word(self, address: int) -> int:
        """Read 32 bits at an address of the memory port.

        Raises:
            IntarsiaError: an assertion of the hardware failed.
        """
        data = np.zeros(1, np.uint32)
        self._fetch(address, 1, data)
        return int(data[0])

    def write_word(self, address: int, value: int) -> None:
        """Write 32 bits at an address of the memory port.

        Raises:
            IntarsiaError: an assertion of the hardware failed.
        """
        data = np.array([value], np.uint32)
        self._library.engine_write(self._handle, address, 1, 1, 1, data.ctypes.data_as(ctypes.c_void_p))
        self._check_assertions()

    def _fetch(self, address: int, stride: int, data: NDArray[np.uint32]) -> None:
        """Fill `data` (words, parts of 32 bits) through the memory port."""
        words, parts = (*data.shape, 1)[:2]
        answered = self._library.engine_read(
            self._handle, address, words, parts, stride, data.ctypes.data_as(ctypes.c_void_p)
        )
        self._check_assertions()
        if answered < 0:
            raise self._failed(f"the engine does not answer a read while it holds {self.program.name}")

    def _check_assertions(self) -> None:
        if self._library.engine_failed(self._handle):
            raise self._failed(f"an assertion of the hardware failed while it ran {self.program.name} (see above)")

    def _failed(self, reason: str) -> IntarsiaError:
        """Return the error for a fault, with the engine as it was at the start: it can be used again."""
        self.reset()
        self._load_program()  # the fault may have changed it
        return IntarsiaError(f"{reason}; please report this as a bug of the hardware.")

    def run(self, image: NDArray[np.integer], *, trace: bool = False) -> Run:
        """Run one inference on an image (C, H, W) of the network's integers.

        Raises:
            IntarsiaError: the image does not fit the network's input, an assertion of the hardware failed, or the
                engine never ends; it can be used again after that.
        """
        program = self.program
        stored = activation_words(program.input.store(image), program.input.stored.bits)
        input_cycles = self._write("Activations", stored, program.input.base)
        counts, memories = self._execute(trace=trace)
        layers = tuple(
            LayerCounts(layer.name, *(int(c) for c in row)) for layer, row in zip(program.layers, counts, strict=True)
        )
        values = {
            layer.name: _extract(memory, layer.output) for layer, memory in zip(program.layers, memories, strict=False)
        }
        output = self._read(program.output)
        return Run(output, layers, values, input_cycles)

    def _execute(self, *, trace: bool) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        program, config = self.program, self.program.config
        layers = len(program.layers)
        counts = np.zeros((layers, len(_COUNTS)), np.uint64)
        memory_bytes = config.act_depth * config.block
        memories = np.zeros((layers if trace else 0, config.act_depth, config.act_bits // 32), np.uint32)
        limit = _MARGIN * self._predicted + _LEAST_LIMIT
        ended = self._library.engine_run(
            self._handle,
            layers,
            limit,
            counts.ctypes.data_as(ctypes.c_void_p),
            memories.ctypes.data_as(ctypes.c_void_p) if trace else None,
            memory_bytes,
        )
        self._check_assertions()
        if ended == _LIMIT_REACHED:
            raise self._failed(
                f"the engine has not ended {program.name} after {limit:,} cycles, where the cycle model predicts "
                f"{self._predicted:,}"
            )
        if ended in (_FAULT, _OVERRUN):
            what = "begins a layer that cannot be run" if ended == _FAULT else "goes beyond the end of a memory"
            raise self._failed(f"the program of {program.name} {what}")
        if ended != layers:
            found = f"{ended} of {layers}" if ended >= 0 else f"more than {layers}"
            raise self._failed(f"the engine ended {found} layers of {program.name}")
        return counts, memories

    def _write(self, region: str, words: Words, first: int = 0) -> int:
        parts = words.shape[1]
        stride = bus_words(32 * parts)
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
        parts = self.program.config.act_bits // 32
        data = np.zeros((placement.words, parts), np.uint32)
        stride = bus_words(32 * parts)
        self._fetch(_address("Activations") + placement.base * stride, stride, data)
        return placement.restore(activations_of(data, placement.stored.bits))


def _cover_counts(text: str) -> dict[str, int]:
    """Read Verilator's file of cover points: fields behind \\x01, their values behind \\x02, then a count."""
    counts: dict[str, int] = {}
    for line in text.splitlines():
        if line.startswith("C '"):
            described, _, count = line[3:].rpartition("' ")
            fields = dict(part.split("\x02", 1) for part in described.split("\x01") if "\x02" in part)
            name = f"{Path(fields['f']).stem}.{fields['o']}"
            counts[name] = counts.get(name, 0) + int(count)
    return counts


def _predicted_cycles(program: Program) -> int:
    """Return the cycles of an inference; 0 for a program that no compiler made, which ends at an assertion."""
    try:
        return sum(layer.cycles for layer in predict(program))
    except (IntarsiaError, ValueError, IndexError, ZeroDivisionError):
        return 0


def _extract(memory: NDArray[np.uint32], placement: Placement) -> NDArray[np.int64]:
    words = memory[placement.base : placement.base + placement.words]
    return placement.restore(activations_of(words, placement.stored.bits))


def _address(region: str) -> int:
    return REGIONS[region] << REGION_SHIFT


def _load(path: Path) -> ctypes.CDLL:
    library = open_library(path)
    handle, words = ctypes.c_void_p, ctypes.c_uint32
    library.engine_create.argtypes = [words]
    library.engine_create.restype = handle
    library.engine_reset.argtypes = [handle]
    library.engine_cover.argtypes = [handle, ctypes.c_char_p]
    library.engine_cover.restype = None
    library.engine_failed.argtypes = [handle]
    library.engine_failed.restype = ctypes.c_int32
    library.engine_destroy.argtypes = [handle]
    library.engine_write.argtypes = [handle, words, words, words, words, handle]
    library.engine_write.restype = ctypes.c_uint64
    library.engine_read.argtypes = [handle, words, words, words, words, handle]
    library.engine_read.restype = ctypes.c_int32
    library.engine_run.argtypes = [handle, words, ctypes.c_uint64, handle, handle, ctypes.c_uint64]
    library.engine_run.restype = ctypes.c_int32
    return library
