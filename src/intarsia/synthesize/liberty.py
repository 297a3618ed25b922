"""A small reader of Liberty cell libraries: area, leakage, memory size and scalar energies of each cell."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from intarsia.errors import IntarsiaError

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|/\*.*?\*/|//[^\n]*|\\\r?\n|[{}();:,]|[^\s{}();:,"]+', re.DOTALL)
_LINE_END = re.compile(r"[ \t\r]*(?://[^\n]*)?\n")
_LEAKAGE_W = {"1W": 1.0, "1mW": 1e-3, "1uW": 1e-6, "1nW": 1e-9, "1pW": 1e-12}


@dataclass
class Group:
    """A Liberty group `kind(name) { … }`: simple attributes and the groups in it, in the order of the file."""

    kind: str
    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    groups: list["Group"] = field(default_factory=list)

    def find(self, kind: str) -> Iterator["Group"]:
        """Yield the groups of one kind directly in this group."""
        return (group for group in self.groups if group.kind == kind)


@dataclass(frozen=True)
class Cell:
    """One library cell.

    Attributes:
        name: cell name.
        area_um2: cell area in µm².
        leakage_w: leakage power in W.
        words: memory words; 0 when the cell is no memory.
        bits: bits of a memory word; 0 when the cell is no memory.
        read_pj, write_pj: energy of reading or writing a memory word in pJ (the clock's energy in that state); None if
            not given.
    """

    name: str
    area_um2: float
    leakage_w: float
    words: int = 0
    bits: int = 0
    read_pj: float | None = None
    write_pj: float | None = None


@dataclass(frozen=True)
class Library:
    """The cells of one Liberty file."""

    path: Path
    cells: tuple[Cell, ...]

    @cached_property
    def areas_um2(self) -> dict[str, float]:
        """Cell areas in µm² by cell name."""
        return {cell.name: cell.area_um2 for cell in self.cells}


def read_liberty(path: Path) -> Library:
    """Read a Liberty file.

    Raises:
        IntarsiaError: the file is missing or not Liberty.
    """
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise IntarsiaError(f"cannot read the cell library {path}: {error.strerror}; check PDK_ROOT.") from error
    try:
        root = _parse(text)
        unit_w = _LEAKAGE_W.get(root.attributes.get("leakage_power_unit", "1nW").strip('"').replace(" ", ""), 1e-9)
        cells = tuple(_cell(group, unit_w) for group in root.find("cell"))
    except (ValueError, IndexError, StopIteration) as error:
        raise IntarsiaError(f"{path} is not a readable Liberty file; check PDK_ROOT.") from error
    if not cells:
        raise IntarsiaError(f"{path} holds no cells; check PDK_ROOT.")
    return Library(path, cells)


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        token = match.group()
        if not token.startswith(("/*", "//", "\\")):
            yield token
            if match.end() < len(text) and _LINE_END.match(text, match.end()):
                yield "\n"


def _parse(text: str) -> Group:
    """Parse the outermost group. Complex attributes `name (values);` are kept as text like simple ones.

    A simple attribute ends at `;` or, as in the macros of IHP, at the end of its line.
    """
    tokens = list(_tokens(text))
    stack: list[Group] = [Group("file", "")]
    position = 0
    while position < len(tokens):
        word = tokens[position]
        if word == "}":
            stack.pop()
            position += 1
        elif word in (";", "\n"):
            position += 1
        elif tokens[position + 1] == ":":
            end = position + 2
            while tokens[end] not in (";", "}", "\n"):
                end += 1
            stack[-1].attributes[word] = " ".join(tokens[position + 2 : end])
            position = end
        elif tokens[position + 1] == "(":
            end = tokens.index(")", position)
            following = end + 1
            while following < len(tokens) and tokens[following] == "\n":
                following += 1
            if following < len(tokens) and tokens[following] == "{":
                group = Group(word, "".join(tokens[position + 2 : end]).strip('"'))
                stack[-1].groups.append(group)
                stack.append(group)
                position = following + 1
            else:
                stack[-1].attributes[word] = " ".join(tokens[position + 2 : end]).replace("\n", "")
                position = end + 1
        else:
            raise ValueError(f"unexpected {word!r}")
    if len(stack) != 1:
        raise ValueError("unbalanced braces")
    return next(stack[0].find("library"))


def _cell(group: Group, leakage_unit_w: float) -> Cell:
    memory = next(group.find("memory"), None)
    return Cell(
        name=group.name,
        area_um2=float(group.attributes.get("area", "0")),
        leakage_w=float(group.attributes.get("cell_leakage_power", "0")) * leakage_unit_w,
        words=2 ** int(memory.attributes["address_width"]) if memory else 0,
        bits=int(memory.attributes["word_width"]) if memory else 0,
        read_pj=_clock_energy_pj(group, read=True) if memory else None,
        write_pj=_clock_energy_pj(group, read=False) if memory else None,
    )


def _clock_energy_pj(cell: Group, *, read: bool) -> float | None:
    """Return the energy of a clock cycle of the first port with memory enabled and only reading (or only writing).

    The values of the SRAM libraries are energies a toggle (their header says so): rise and fall make a cycle.
    """
    state = {"A_MEN": True, "A_WEN": not read, "A_REN": read}
    for pin in cell.find("pin"):
        for power in pin.find("internal_power"):
            terms = power.attributes.get("when", "").strip('"').replace(" ", "").split("&")
            if pin.attributes.get("clock") and {term.lstrip("!"): not term.startswith("!") for term in terms} == state:
                return sum(map(_scalar, power.groups))
    return None


def _scalar(table: Group) -> float:
    return float(table.attributes["values"])
