"""Which SRAM macros of a cell library stand for a memory of given width and depth, and what they cost."""

import re
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
        macros: (cell name, number of such cells); columns side by side, banks of words in each.
        area_um2: area of all macros in µm².
        leakage_w: leakage of all macros in W.
        read_pj, write_pj: energy of one access to a whole word in pJ (one bank of each column); None if the
            library does not give it.
    """

    memory: Memory
    macros: tuple[tuple[str, int], ...]
    area_um2: float
    leakage_w: float
    read_pj: float | None
    write_pj: float | None


def map_memory(memory: Memory, cells: Sequence[Cell]) -> MappedMemory:
    """Choose the macros of least area that cover a memory.

    A word is cut into columns; each column is one kind of macro, as many banks as its depth needs. The least area
    over all such covers is found by dynamic programming over the width. Two-port macros serve memories with two
    ports, one-port macros those with one.

    Raises:
        IntarsiaError: the library has no macro with so many ports.
    """
    fitting = [cell for cell in cells if cell.words and _ports(cell) == memory.ports]
    if not fitting:
        raise IntarsiaError(
            f"no SRAM macro with {memory.ports} port(s) for the memory {memory.path}; add its Liberty file to PDK_ROOT."
        )
    best: list[tuple[float, tuple[Cell, ...]]] = [(0.0, ())]
    for width in range(1, memory.width + 1):
        options = []
        for cell in fitting:
            area, columns = best[max(0, width - cell.bits)]
            options.append((area + cell.area_um2 * _banks(memory, cell), (*columns, cell)))
        best.append(min(options, key=lambda option: (option[0], len(option[1]))))
    area, columns = best[memory.width]
    counts: dict[str, int] = {}
    for cell in columns:
        counts[cell.name] = counts.get(cell.name, 0) + _banks(memory, cell)
    return MappedMemory(
        memory=memory,
        macros=tuple(sorted(counts.items())),
        area_um2=area,
        leakage_w=sum(cell.leakage_w * _banks(memory, cell) for cell in columns),
        read_pj=_total([cell.read_pj for cell in columns]),
        write_pj=_total([cell.write_pj for cell in columns]),
    )


def _ports(cell: Cell) -> int:
    match = _PORTS.search(cell.name)
    return int(match.group(1)) if match else 1


def _banks(memory: Memory, cell: Cell) -> int:
    return -(-memory.depth // cell.words)


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
