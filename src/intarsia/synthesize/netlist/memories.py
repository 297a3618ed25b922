# SPDX-License-Identifier: Apache-2.0
"""Memories of a netlist as the SRAM macros that stand for them: timing, capacitances, energy of each word."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.synthesize.liberty import Cell
from intarsia.synthesize.sram import MappedMemory, map_memory
from intarsia.synthesize.sram import Memory as Words

Reals = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MemoryModel:
    """A memory made of macros.

    Attributes:
        depth: words.
        access_ns: when a word is there after the clock's edge, in the slowest macro.
        setup_ns: how long before it the inputs must be there.
        pin_pf: capacitance of an input, of all macros that it goes to, in pF.
        read_pj, write_pj: of each word, what the macros that hold it take for an access.
        leakage_nw: of all macros.
    """

    depth: int
    access_ns: float
    setup_ns: float
    pin_pf: float
    read_pj: Reals
    write_pj: Reals
    leakage_nw: float


def memory_model(memory: Words, macros: Sequence[Cell], *, multiplexer_um2: float) -> MemoryModel:
    """Return the model of a memory, mapped as for its area.

    Raises:
        IntarsiaError: the library has no macros for it, or does not say what they take.
    """
    return model_of(map_memory(memory, macros, multiplexer_um2=multiplexer_um2))


def model_of(mapped: MappedMemory) -> MemoryModel:
    """Return the model of a memory that was mapped.

    Raises:
        IntarsiaError: the library does not say what its macros take.
    """
    cells = [cell for column in mapped.columns for cell in column]
    return MemoryModel(
        depth=mapped.memory.depth,
        access_ns=max(cell.access_ns for cell in cells),
        setup_ns=max(cell.setup_ns for cell in cells),
        # an address goes to all; a bit of data to one column, which is less
        pin_pf=sum(cell.pin_pf for cell in cells),
        read_pj=_per_word(mapped, [_known(cell, cell.read_pj) for cell in cells]),
        write_pj=_per_word(mapped, [_known(cell, cell.write_pj) for cell in cells]),
        leakage_nw=sum(cell.leakage_nw for cell in cells),
    )


def _per_word(mapped: MappedMemory, energies: Sequence[float]) -> Reals:
    """Return the energy of an access to each word: in every column that of the bank where the word is."""
    total, at = np.zeros(mapped.memory.depth), iter(energies)
    for column in mapped.columns:
        words = np.concatenate([np.full(cell.words, next(at)) for cell in column])
        total += words[: mapped.memory.depth]
    return total


def _known(cell: Cell, energy: float | None) -> float:
    if energy is None:
        raise IntarsiaError(f"the library does not say what an access to {cell.name} takes; check PDK_ROOT.")
    return energy
