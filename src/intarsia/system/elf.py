# SPDX-License-Identifier: Apache-2.0
"""Reading what a linker wrote: the loaded segments and the symbols of a 32-bit RISC-V ELF program, and nothing else."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from intarsia.errors import IntarsiaError

_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SEGMENT = struct.Struct("<IIIIIIII")
_SECTION = struct.Struct("<IIIIIIIIII")
_SYMBOL = struct.Struct("<IIIBBH")
_IDENT = b"\x7fELF\x01\x01\x01"  # 32 bits, little-endian, version 1
_EXECUTABLE, _RISCV = 2, 243
_LOAD = 1
_SYMBOLS = 2


@dataclass(frozen=True)
class Segment:
    """Memory of the running program.

    Attributes:
        address: where the program uses it.
        size: bytes there.
        source: where its content lies when the program starts (another address for initialized variables).
        content: what is loaded there; shorter than `size` where the program clears the rest.
    """

    address: int
    size: int
    source: int
    content: bytes


@dataclass(frozen=True)
class Symbol:
    """A named object or function: its address and its size in bytes."""

    address: int
    size: int


@dataclass(frozen=True)
class Elf:
    """A linked program."""

    entry: int
    segments: tuple[Segment, ...]
    symbols: dict[str, Symbol]


def read_elf(data: bytes) -> Elf:
    """Read an executable.

    Raises:
        IntarsiaError: it is not an ELF executable for 32-bit RISC-V, or it is damaged.
    """
    try:
        return _read(data)
    except (struct.error, IndexError, ValueError) as error:
        raise IntarsiaError("the linked program is damaged; build it again.") from error


def _read(data: bytes) -> Elf:
    header = _HEADER.unpack_from(data)
    ident, kind, machine, _, entry, segments_at, sections_at, *_, segment_size, segments, section_size, sections, _ = (
        header
    )
    if not ident.startswith(_IDENT) or (kind, machine) != (_EXECUTABLE, _RISCV):
        raise IntarsiaError("the linked program is not an ELF executable for 32-bit RISC-V; check the compiler.")
    if segment_size != _SEGMENT.size or (sections and section_size != _SECTION.size):
        raise IntarsiaError("the linked program has headers of an unknown size; check the compiler.")
    loaded = tuple(_segment(data, segments_at + i * segment_size) for i in range(segments))
    tables = [_SECTION.unpack_from(data, sections_at + i * section_size) for i in range(sections)]
    return Elf(entry, tuple(segment for segment in loaded if segment), dict(_symbols(data, tables)))


def _segment(data: bytes, at: int) -> Segment | None:
    kind, offset, address, source, stored, size, _, _ = _SEGMENT.unpack_from(data, at)
    if kind != _LOAD or size == 0:
        return None
    return Segment(address, size, source, _part(data, offset, stored))


def _part(data: bytes, offset: int, size: int) -> bytes:
    if offset + size > len(data):
        raise IndexError(offset)
    return data[offset : offset + size]


def _symbols(data: bytes, sections: list[tuple[int, ...]]) -> Iterator[tuple[str, Symbol]]:
    for _, kind, _, _, offset, size, link, *_ in sections:
        if kind != _SYMBOLS:
            continue
        names = _part(data, *sections[link][4:6])
        for name, address, length, _, _, _ in _SYMBOL.iter_unpack(_part(data, offset, size)):
            if text := names[name : names.index(b"\0", name)].decode():
                yield text, Symbol(address, length)
