# SPDX-License-Identifier: Apache-2.0
"""A small reader of Liberty cell libraries: area of each cell, clock gates, and size and energies of memories."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from intarsia.errors import IntarsiaError, unreadable
from intarsia.text import whole_number

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|/\*.*?\*/|//[^\n]*|\\\r?\n|[{}();:,]|[^\s{}();:,"]+', re.DOTALL)
#: A condition of a port's memory enable, write enable or read enable (IHP's names), negated or not.
_ENABLE = re.compile(r"(!?)\s*\b[A-Z]_(MEN|WEN|REN)\b")
_NUMBER = re.compile(r'\s*"?\s*(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*"?\s*')
_LINE_END = re.compile(r"[ \t\r]*(?://[^\n]*)?\n")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: Units of leakage in use, in nW.
LEAKAGE_NW = {"1pW": 1e-3, "1nW": 1.0, "1uW": 1e3, "1mW": 1e6}

_WIDEST_ADDRESS, _WIDEST_WORD = 24, 4096  # bits


@dataclass
class Group:
    """A Liberty group `kind(name) { … }`: its attributes and the groups in it, in the order of the file.

    `attributes` has the last value of each name; `lists`, all values of those in parentheses.
    """

    kind: str
    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    groups: list["Group"] = field(default_factory=list)
    lists: list[tuple[str, str]] = field(default_factory=list)

    def find(self, kind: str) -> Iterator["Group"]:
        """Yield the groups of one kind directly in this group."""
        return (group for group in self.groups if group.kind == kind)

    def text(self, name: str) -> str:
        """Return a simple attribute without quotation marks, an empty text where there is none."""
        return self.attributes.get(name, "").strip('" ')


@dataclass(frozen=True)
class Cell:
    """One library cell.

    Attributes:
        name: cell name.
        area_um2: cell area in µm².
        words: memory words; 0 when the cell is not a memory.
        bits: bits of a memory word; 0 when the cell is not a memory.
        read_pj: energy in pJ of a clock edge that reads a word, without what address and data inputs switch; None where
            the library does not say.
        write_pj: the same of one that writes a word.
        access_ns: of a memory, the longest delay from the clock to its word, in ns; 0 where the library does not say.
        setup_ns: of a memory, how long before the clock its inputs must be there, in ns, at slews of the middle.
        pin_pf: of a memory, the largest capacitance of an input, in pF.
        leakage_nw: of a memory, its leakage in nW.
    """

    name: str
    area_um2: float
    words: int = 0
    bits: int = 0
    read_pj: float | None = None
    write_pj: float | None = None
    access_ns: float = 0.0
    setup_ns: float = 0.0
    pin_pf: float = 0.0
    leakage_nw: float = 0.0


@dataclass(frozen=True)
class ClockGate:
    """A cell that passes a rising clock edge on where its enable was high before.

    Attributes:
        cell: cell name.
        enable, clock, gated: names of its pins.
    """

    cell: str
    enable: str
    clock: str
    gated: str


@dataclass(frozen=True)
class Library:
    """The cells of one Liberty file.

    Attributes:
        path: the file.
        cells: all cells.
        clock_gates: those that gate a clock and have no test pin, the smallest first.
    """

    path: Path
    cells: tuple[Cell, ...]
    clock_gates: tuple[ClockGate, ...] = ()

    @cached_property
    def areas_um2(self) -> dict[str, float]:
        """Cell areas in µm² by cell name."""
        return {cell.name: cell.area_um2 for cell in self.cells}


def read_liberty(path: Path) -> Library:
    """Read a Liberty file.

    Raises:
        IntarsiaError: the file is missing or not Liberty.
    """
    library = parse_liberty(path)
    groups = tuple(library.find("cell"))
    with readable(path):
        cells = tuple(_cell(group, LEAKAGE_NW.get(library.text("leakage_power_unit"), 1.0)) for group in groups)
        gates = [gate for gate in map(_clock_gate, sorted(groups, key=_area)) if gate]
    if not cells:
        raise IntarsiaError(f"{path} holds no cells; check PDK_ROOT.")
    return Library(path, cells, tuple(gates))


def parse_liberty(path: Path) -> Group:
    """Return the outermost group of a Liberty file.

    Raises:
        IntarsiaError: the file is missing or not Liberty.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise unreadable(path, error, "check PDK_ROOT") from error
    with readable(path):
        return _parse(text)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what goes wrong in reading a Liberty file into an error that names the file.

    Raises:
        IntarsiaError: the block found that the file does not hold what it should.
    """
    try:
        yield
    except (ValueError, LookupError, StopIteration) as error:
        reason = f": {error}" if type(error) is ValueError else ""
        raise IntarsiaError(f"{path} is not a readable Liberty file{reason}; check PDK_ROOT.") from error


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
                value = " ".join(tokens[position + 2 : end]).replace("\n", "")
                stack[-1].attributes[word] = value
                stack[-1].lists.append((word, value))
                position = end + 1
        else:
            raise ValueError(f"unexpected {word!r}")
    if len(stack) != 1:
        raise ValueError("unbalanced braces")
    return next(stack[0].find("library"))


def _cell(group: Group, leakage_nw: float) -> Cell:
    memory = next(group.find("memory"), None)
    if memory is None:
        return Cell(group.name, _area(group))
    pins = [pin for pin in group.groups if pin.kind in ("pin", "bus") and "_BIST_" not in pin.name]
    return Cell(
        name=group.name,
        area_um2=_area(group),
        words=2 ** _width(group, memory, "address_width", _WIDEST_ADDRESS),
        bits=_width(group, memory, "word_width", _WIDEST_WORD),
        read_pj=_edge_energy(group, {"MEN": True, "WEN": False, "REN": True}),
        write_pj=_edge_energy(group, {"MEN": True, "WEN": True, "REN": False}),
        access_ns=max((max(values) for values in _times(pins, "rising_edge")), default=0.0),
        setup_ns=max((values[len(values) // 2] for values in _times(pins, "setup_rising")), default=0.0),
        pin_pf=max((float(pin.text("capacitance") or 0) for pin in pins), default=0.0),
        leakage_nw=float(group.text("cell_leakage_power") or 0) * leakage_nw,
    )


def _times(pins: list[Group], kind: str) -> Iterator[list[float]]:
    """Yield the values of each table of delays or constraints of a kind of timing."""
    for pin in pins:
        for timing in pin.find("timing"):
            if timing.text("timing_type") == kind:
                for table in timing.groups:
                    if not table.kind.endswith("_transition"):
                        yield numbers(table.attributes.get("values", "0"))


def numbers(text: str) -> list[float]:
    """Return the numbers of a list of Liberty, quoted in rows or not."""
    return [float(number) for number in text.replace('"', " ").replace(",", " ").split()]


def _clock_gate(cell: Group) -> ClockGate | None:
    """Return a cell as a clock gate, None if it is none or has names that a command cannot carry."""
    if cell.attributes.get("clock_gating_integrated_cell", "").strip('" ') != "latch_posedge":
        return None

    def pin(role: str) -> str:
        attribute = f"clock_gate_{role}_pin"
        return next((pin.name for pin in cell.find("pin") if "true" in pin.attributes.get(attribute, "")), "")

    names = cell.name, pin("enable"), pin("clock"), pin("out")
    return ClockGate(*names) if all(map(_IDENTIFIER.fullmatch, names)) else None


def _area(cell: Group) -> float:
    text = cell.attributes.get("area", "0")
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"the area of cell {cell.name} is {text[:40]}")
    return float(text.strip('" '))


def _width(cell: Group, memory: Group, name: str, most: int) -> int:
    found = whole_number(memory.attributes.get(name, ""))
    if found is None or not 1 <= found <= most:
        raise ValueError(f"cell {cell.name} is a memory without a usable {name}")
    return found


def _edge_energy(cell: Group, enables: dict[str, bool]) -> float | None:
    """Return what a rising edge of a memory's clock takes under a port's enables, in pJ as the macros of IHP have it;
    None where it is not one number. Ports are alike, the first one speaks for all.
    """
    for pin in cell.find("pin"):
        if "true" not in pin.attributes.get("clock", ""):
            continue
        for power in pin.find("internal_power"):
            found = {name: not negated for negated, name in _ENABLE.findall(power.attributes.get("when", ""))}
            rise = next(power.find("rise_power"), None)
            if found == enables and rise is not None:
                number = _NUMBER.fullmatch(rise.attributes.get("values", ""))
                return float(number[1]) if number else None
    return None
