# SPDX-License-Identifier: Apache-2.0
"""A program of `torch.export` as data: calls of operators by name, the same from memory and from a file."""

from collections.abc import Mapping
from dataclasses import dataclass

from intarsia.networks.importers._graph import Floats

#: Elements of a tensor; more is a damaged file, not a network for this hardware.
LARGEST = 1 << 26


@dataclass(frozen=True)
class Ref:
    """What an argument names: a tensor, or a size."""

    name: str


Argument = Ref | bool | int | float | str | None | tuple["Argument", ...]


@dataclass(frozen=True)
class Kind:
    """Of a tensor: its shape, open sizes None, and whether its elements are floating-point numbers."""

    sizes: tuple[int | None, ...]
    floating: bool = True


@dataclass(frozen=True, eq=False)
class Stored:
    """A parameter, buffer or constant by its name in the user's module."""

    name: str
    values: Floats


@dataclass(frozen=True)
class Call:
    """A call of an operator.

    Attributes:
        operator: of ATen, without its overload: `conv2d`. In-place variants have the names of their plain ones.
        arguments: by the names of its schema; those at their defaults may be missing.
        results: what it makes.
        layer: path of the user's module that calls it, for example `block.conv`; may be empty.
        module: that module's class, for example `Conv2d`; may be empty.
    """

    operator: str
    arguments: Mapping[str, Argument]
    results: tuple[str, ...]
    layer: str
    module: str

    @property
    def refs(self) -> tuple[str, ...]:
        """What it reads."""
        return tuple(_refs(tuple(self.arguments.values())))


def _refs(argument: Argument) -> list[str]:
    if isinstance(argument, Ref):
        return [argument.name]
    return [name for part in argument for name in _refs(part)] if isinstance(argument, tuple) else []


@dataclass(frozen=True, eq=False)
class Program:
    """A program.

    Attributes:
        name: of the file or program, for messages.
        inputs: names.
        stored: parameters, buffers and constants by the names that calls read them by.
        calls: in order of execution.
        results: what it returns.
        kinds: of every tensor.
    """

    name: str
    inputs: tuple[str, ...]
    stored: Mapping[str, Stored]
    calls: tuple[Call, ...]
    results: tuple[str, ...]
    kinds: Mapping[str, Kind]


def plain_operator(name: str) -> str:
    """Return an operator's name without the underscore of its in-place variant."""
    return name if name.startswith("__") else name.rstrip("_")


def module_path(path: str) -> str:
    """Return a module's path as the user writes it: without `L['self'].`, and without the count of its calls."""
    return ".".join(part.split("@", maxsplit=1)[0] for part in path.removeprefix("L['self'].").split("."))
