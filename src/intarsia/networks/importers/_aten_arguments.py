# SPDX-License-Identifier: Apache-2.0
"""What the readers of ATen's operators share: the program, the network so far, and what arguments stand for."""

import numpy as np

from intarsia.networks.importers._arithmetic import Operand
from intarsia.networks.importers._axes import CHANNELS_FIRST
from intarsia.networks.importers._builder import GraphBuilder
from intarsia.networks.importers._graph import Floats, Four, Pair
from intarsia.networks.importers._layout import same_padding
from intarsia.networks.importers._names import from_parameters, from_tensors
from intarsia.networks.importers._program import Argument, Call, Program, Ref
from intarsia.networks.importers._views import Views


class Importing:
    """An import at work.

    Attributes:
        program: that is read.
        builder: makes the graph.
        views: its tensors by the program's names.
        stored: parameters, and what was computed of them.
        used: parameters that layers have.
        readers: calls by what they read.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.builder = GraphBuilder(program.name)
        self.views = Views(self.builder, CHANNELS_FIRST)
        self.stored = dict(program.stored)
        self.used: set[str] = set()
        self.readers: dict[str, list[Call]] = {}
        for call in program.calls:
            for name in call.refs:
                self.readers.setdefault(name, []).append(call)

    def sizes(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, without the batch."""
        sizes = [size for size in self.program.kinds[name].sizes[1:] if size is not None]
        if len(sizes) != len(self.program.kinds[name].sizes[1:]):
            raise self.builder.fail("has a dynamic shape; export the network with fixed sizes (the batch may be open)")
        return tuple(sizes)

    def source(self, call: Call, number: int = 0) -> str:
        """Return the name of the tensor that a call reads."""
        argument = list(call.arguments.values())[number]
        if not isinstance(argument, Ref):
            raise self.builder.fail("does not read a tensor")
        return argument.name

    def constant(self, argument: Argument, what: str) -> Floats:
        """Return a stored tensor."""
        if not isinstance(argument, Ref) or argument.name not in self.stored:
            raise self.builder.fail(f"takes its {what} from another operator, not from a parameter")
        return self.stored[argument.name].values

    def optional(self, argument: Argument, what: str) -> Floats | None:
        """Return a stored tensor, None for none."""
        return None if argument is None else self.constant(argument, what)

    def operand(self, argument: Argument) -> Operand:
        """Return a number or a constant tensor, or an activation's name."""
        if isinstance(argument, Ref):
            return self.stored[argument.name].values if argument.name in self.stored else argument.name
        if isinstance(argument, bool | int | float):
            return np.array(argument, np.float32)
        raise self.builder.fail("calculates with something that is not a number")

    def axes(self, value: Argument, name: str) -> list[int]:
        """Return axes without the batch: 0 is the first one after it."""
        rank = len(self.views.sizes(name)) + 1
        given = value if isinstance(value, tuple) else (value,)
        axes = [int(axis) % rank - 1 for axis in given if isinstance(axis, int)]
        if len(axes) != len(given) or -1 in axes:
            raise self.builder.fail(f"has the axes {given}; the batch cannot be among them")
        return axes

    def name(self, call: Call) -> str:
        """Return a layer's name: that of the module whose parameters a call reads, or which calls it."""
        roots = [self.stored[name].name for name in call.refs if name in self.stored]
        parameters = from_parameters(roots).removesuffix(".parametrizations")
        return parameters or call.layer or from_tensors([call.results[0]], (), call.operator)

    def pair(self, value: Argument, axes: int, along: int) -> Pair:
        """Return an argument for height and width; that of a signal has `along` for the height."""
        values = [integer(part) for part in (value if isinstance(value, tuple) else (value,))]
        return (along, values[-1]) if axes == 2 else (values[0], values[-1])

    def padding(self, value: Argument, kernel: Pair, dilation: Pair, axes: int) -> Four:
        """Return a convolution's padding; with `same`, the odd row and column are at the bottom and the right."""
        if value == "valid":
            return (0, 0, 0, 0)
        if value == "same":
            reach = (dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1)
            return same_padding(reach, reach, (1, 1))
        own = self.pair(value, axes, 0)
        return (*own, *own)


def integer(value: Argument) -> int:
    """Return a whole number; what is none is 0, which no operator takes."""
    return int(value) if isinstance(value, int) else 0


def number(value: Argument) -> float:
    """Return a number; what is none is not finite."""
    return float(value) if isinstance(value, int | float) else float("nan")
