# SPDX-License-Identifier: Apache-2.0
"""What Yosys wrote about a synthesized design: cells by part, memories taken out, the slowest path."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from intarsia.errors import IntarsiaError
from intarsia.synthesize.sram import Memory

MEMORY_MODULE = "intarsia_memory"


@dataclass(frozen=True)
class Part:
    """Area of all instances of one module, in the unit of the report.

    Attributes:
        module: name of the module.
        instances: how many there are.
        own: area without the modules in it; the `own` of all parts add up to the whole.
        inclusive: area with the modules in it.
        flip_flops: flip-flops of its own.
    """

    module: str
    instances: int
    own: float
    inclusive: float
    flip_flops: int


@dataclass(frozen=True)
class CombinationalPath:
    """The slowest path between registers, memories and ports, without wires, clock-to-output and set-up times.

    Attributes:
        delay_ps: delay in ps, by ABC's timer on the Liberty tables.
        module: the module that the path lies in.
        start, end: names of the nets where the path starts and ends.
    """

    delay_ps: float
    module: str
    start: str
    end: str


def group_parts(
    top: str, stat: str, cost: Callable[[str], float | None], is_flip_flop: Callable[[str], bool]
) -> tuple[Part, ...]:
    """Group the cell counts of Yosys' `stat -json` by SystemVerilog module.

    With its hierarchy kept, a Yosys module is named `MODULE$PATH`, the path of its (first) instance.

    Args:
        top: name of the top module.
        stat: the JSON text.
        cost: area of a cell by its type; None if it has none.
        is_flip_flop: whether a cell type is a flip-flop.

    Raises:
        IntarsiaError: a cell has no area, so the sum would be wrong.
    """
    modules: dict[str, Any] = json.loads(stat)["modules"]
    counts = {name.removeprefix("\\"): module["num_cells_by_type"] for name, module in modules.items()}
    own: defaultdict[str, float] = defaultdict(float)
    inclusive: defaultdict[str, float] = defaultdict(float)
    flip_flops, instances = Counter[str](), Counter[str]()

    def walk(name: str) -> tuple[float, float]:
        """Add one instance of a module with what is in it; return its own and its inclusive area."""
        mine = inside = 0.0
        for cell, number in counts[name].items():
            if cell in counts:
                inside += sum(walk(cell)[1] for _ in range(number))
            elif not cell.startswith(f"{MEMORY_MODULE}$"):
                each = cost(cell)
                if each is None:
                    raise IntarsiaError(f"synthesis of {top} left cells {cell} of unknown area.")
                mine += number * each
                flip_flops[_module(name)] += number if is_flip_flop(cell) else 0
        own[_module(name)] += mine
        inclusive[_module(name)] += mine + inside
        instances[_module(name)] += 1
        return mine, mine + inside

    walk(top)
    parts = [Part(name, instances[name], own[name], inclusive[name], flip_flops[name]) for name in instances]
    return tuple(sorted(parts, key=lambda part: (-part.inclusive, part.module)))


def _module(name: str) -> str:
    return name.split("$", 1)[0]


def find_memories(top: str, dump: str) -> tuple[Memory, ...]:
    """Read the memories from Yosys' dump of the wrapper's instances.

    A wrapper with one address for reading and writing counts as one port, any other as two.
    """
    memories = []
    for body in re.split(r"^module ", dump, flags=re.MULTILINE)[1:]:
        instance = body.split("\n", 1)[0].removeprefix("\\")
        path = instance.split("$", 1)[1].removeprefix(f"{top}.")
        width, depth = (int(_match(rf"parameter \\{name} (\d+)", body)) for name in ("WIDTH", "SIZE"))
        read, write = (_match(rf"connect \\{name} (.*)", body) for name in ("RD_ADDR", "WR_ADDR"))
        memories.append(Memory(path, width, depth, 1 if read == write else 2))
    return tuple(sorted(memories, key=lambda memory: memory.path))


def _match(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise IntarsiaError(
            f"a memory wrapper is not one plain memory ({pattern} not found); simplify {MEMORY_MODULE}."
        )
    return found.group(1)


def slowest_path(log: str) -> CombinationalPath | None:
    """Return the slowest of the paths in ABC's log, which names all modules in order; None if there is none."""
    modules = re.findall(r"Extracting gate netlist of module `\\?(.*?)'", log)
    slowest = None
    for module, section in zip(modules, re.split(r"^Extracted \d+ gates", log, flags=re.MULTILINE)[1:], strict=False):
        delay = re.search(r"Delay = *([\d.]+) ps", section)
        ends = re.search(r"Start-point = \w+ \((.*?)\)\. +End-point = \w+ \((.*?)\)\.", section)
        if delay and (slowest is None or float(delay.group(1)) > slowest.delay_ps):
            start, end = (name.removeprefix("\\") for name in ends.groups()) if ends else ("", "")
            slowest = CombinationalPath(float(delay.group(1)), _module(module), start, end)
    return slowest
