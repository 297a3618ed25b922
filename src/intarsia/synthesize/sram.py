# SPDX-License-Identifier: Apache-2.0
"""Which SRAM macros of a cell library stand for a memory of given width and depth, and what they cost."""

import functools
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from intarsia.errors import IntarsiaError
from intarsia.synthesize.liberty import Cell

_PORTS = re.compile(r"_([12])P_")


@dataclass(frozen=True)
class Memory:
    """One memory of a design, behind the wrapper module.

    Attributes:
        path: hierarchical name of the wrapper's instance, from the top module.
        width: bits of a word.
        depth: words.
        ports: 1 when one address serves reading and writing, 2 when a read and a write may use two addresses.
    """

    path: str
    width: int
    depth: int
    ports: int

    @property
    def bits(self) -> int:
        """Number of stored bits."""
        return self.width * self.depth


@dataclass(frozen=True)
class MappedMemory:
    """The macros that stand for a memory.

    Attributes:
        memory: the memory.
        columns: macros, side by side as wide as a word; in each the banks, from the lowest address on.
        area_um2: area of all macros in µm².
        multiplexers: two-input multiplexers of one bit beside the macros, which choose the bank that was read.
        multiplexers_um2: their area in µm². The decoder and the few registers of a bank's choice are not counted.
    """

    memory: Memory
    columns: tuple[tuple[Cell, ...], ...]
    area_um2: float
    multiplexers: int
    multiplexers_um2: float

    @property
    def macros(self) -> tuple[tuple[str, int], ...]:
        """Names of cells, and how many of each there are."""
        return tuple(sorted(Counter(cell.name for column in self.columns for cell in column).items()))


def map_memory(memory: Memory, cells: Sequence[Cell], *, multiplexer_um2: float) -> MappedMemory:
    """Choose the macros of least area that cover a memory.

    A word is cut into columns; each column is a stack of banks as deep as the memory, macros of one width whose depths
    may differ (1,152 words are 1,024 and twice 64). The least area over all such covers, multiplexers between banks
    included, is found by dynamic programming over the width and, for each column, over the depth.
    Two-port macros serve memories with two ports, one-port macros those with one.

    Args:
        memory: what to cover.
        cells: of the library; those that are not memories are passed over.
        multiplexer_um2: area of a two-input multiplexer of one bit in µm².

    Raises:
        IntarsiaError: the library has no macro with so many ports.
    """
    fitting = [cell for cell in cells if cell.words and ports_of(cell) == memory.ports]
    if not fitting:
        raise IntarsiaError(
            f"no SRAM macro with {memory.ports} port(s) for the memory {memory.path}; add its Liberty file to PDK_ROOT."
        )

    @functools.cache
    def column(bits: int, used: int) -> tuple[Cell, ...]:
        """The least stack of macros of `bits`, of which `used` are read."""
        return _stack([cell for cell in fitting if cell.bits == bits], memory.depth, used * multiplexer_um2)

    best: list[tuple[float, int, int, tuple[tuple[Cell, ...], ...]]] = [(0.0, 0, 0, ())]
    for width in range(1, memory.width + 1):
        options = []
        for bits in {cell.bits for cell in fitting}:
            cost, number, multiplexers, columns = best[max(0, width - bits)]
            stack = column(bits, min(width, bits))
            more = (len(stack) - 1) * min(width, bits)
            cost += sum(cell.area_um2 for cell in stack) + more * multiplexer_um2
            options.append((cost, number + len(stack), multiplexers + more, (*columns, stack)))
        best.append(min(options, key=lambda option: option[:2]))
    *_, multiplexers, columns = best[memory.width]
    return MappedMemory(
        memory=memory,
        columns=tuple(tuple(sorted(column, key=lambda cell: -cell.words)) for column in columns),
        area_um2=sum(cell.area_um2 for column in columns for cell in column),
        multiplexers=multiplexers,
        multiplexers_um2=multiplexers * multiplexer_um2,
    )


def ports_of(cell: Cell) -> int:
    """Return how many ports a macro has, as its name says."""
    match = _PORTS.search(cell.name)
    return int(match.group(1)) if match else 1


def _stack(cells: Sequence[Cell], depth: int, multiplexer_um2: float) -> tuple[Cell, ...]:
    """Return the macros of least area that are as deep together; each but the first costs a multiplexer."""
    step = math.gcd(*(cell.words for cell in cells))
    best: list[tuple[float, tuple[Cell, ...]]] = [(0.0, ())]
    for steps in range(1, -(-depth // step) + 1):
        options = []
        for cell in cells:
            cost, below = best[max(0, steps - cell.words // step)]
            options.append((cost + cell.area_um2 + (multiplexer_um2 if below else 0.0), (*below, cell)))
        best.append(min(options, key=lambda option: (option[0], len(option[1]))))
    return best[-1][1]
