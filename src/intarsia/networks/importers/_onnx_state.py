# SPDX-License-Identifier: Apache-2.0
"""What the handlers of ONNX operators share: the graph being built, the constants, and how each tensor is laid out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from intarsia.networks.importers._budget import Budget
from intarsia.networks.importers._builder import GraphBuilder
from intarsia.networks.importers._graph import Floats, Quantization, Weights
from intarsia.networks.importers._names import from_parameters, from_tensors
from intarsia.networks.importers._onnx_attributes import Attributes, Unsupported
from intarsia.networks.importers._onnx_constants import Constant, floats
from intarsia.networks.importers._onnx_file import OnnxFile


class State:
    """An import at work.

    Attributes:
        file: the model.
        budget: what may still be unpacked.
        builder: makes the graph.
        constants: every tensor that does not depend on the input.
        channels_last: tensors (N, H, W, C) or (N, L, C), which the builder knows as (N, C, H, W).
        signals: tensors (N, C, L) or (N, L, C), which the builder knows as (N, C, 1, L).
        coded: tensors of integers, and what these stand for.
    """

    def __init__(self, source: str, file: OnnxFile) -> None:
        self.file, self.budget = file, Budget(file.size)
        self.builder = GraphBuilder(source, self.budget)
        self.constants = dict(file.constants)
        self.channels_last: set[str] = set()
        self.signals: set[str] = set()
        self.coded: dict[str, Quantization] = {}

    def constant(self, node: Any, index: int, what: str) -> Constant:
        """Return a constant input.

        Raises:
            Unsupported: it is missing or computed.
        """
        name = node.input[index] if index < len(node.input) else ""
        if name not in self.constants:
            raise Unsupported(f"takes its {what} from another operator, not from the file")
        return self.constants[name]

    def given(self, node: Any, index: int) -> Constant | None:
        """Return an optional constant input."""
        if index >= len(node.input) or not node.input[index]:
            return None
        return self.constant(node, index, f"input {index}")

    def source(self, node: Any, index: int = 0) -> str:
        """Return a computed input of real values in PyTorch's order.

        Raises:
            Unsupported: it has another order, or holds integers.
        """
        name = self.anywise(node, index)
        if name in self.channels_last:
            raise Unsupported("reads a tensor in another order than (N, channels, height, width)")
        if name in self.coded:
            raise Unsupported("reads the integers of a quantized tensor, not its real values")
        return name

    def anywise(self, node: Any, index: int = 0) -> str:
        """Return a computed input, in whatever order and coding.

        Raises:
            Unsupported: there is none.
        """
        if index >= len(node.input) or not node.input[index]:
            raise Unsupported(f"lacks input {index}")
        return str(node.input[index])

    def like(self, name: str, output: str) -> None:
        """Note that a tensor is laid out and coded as another."""
        for kind in (self.channels_last, self.signals):
            if name in kind:
                kind.add(output)
        if name in self.coded:
            self.coded[output] = self.coded[name]

    def axes(self, name: str) -> int:
        """Return how many axes a tensor has in the file."""
        if self.builder.flat(name):
            return 2
        return 3 if name in self.signals else 4

    def only_reader(self, name: str) -> bool:
        """Whether a tensor is read once."""
        return sum(list(other.input).count(name) for other in self.file.nodes) == 1

    def weights(self, constant: Constant) -> Weights:
        """Return a constant as weights, output channels first.

        Raises:
            Unsupported: its quantization has several scales for one output channel.
        """
        values = floats(constant)
        if constant.integers is None or constant.scales is None:
            return Weights(values)
        by_channel = constant.scales.reshape(constant.scales.shape[0], -1)
        if not (by_channel == by_channel[:, :1]).all():
            raise Unsupported("has weights with several scales for one output channel")
        return Weights(values, constant.integers, by_channel[:, 0].astype(np.float64))

    def by_channel(self, name: str, values: Floats) -> Floats:
        """Return a constant as one value per channel (or one value), after a check that it is broadcast so."""
        axes, channels = self.axes(name), self.builder.shape(name)[0]
        at = axes - 1 if name in self.channels_last else 1
        shape = (1,) * (axes - values.ndim) + values.shape
        if values.size != 1 and shape != tuple(channels if axis == at else 1 for axis in range(axes)):
            raise Unsupported(f"has a constant of shape {values.shape}, which is not one value per channel")
        return values.reshape(-1)

    def name(self, node: Any, *constants: Constant | None) -> str:
        """Return a layer's name: from its parameters, else from the node and its tensors."""
        roots = [root for constant in constants if constant is not None for root in constant.roots]
        kind = str(node.op_type)
        found = from_parameters(roots)
        if found:
            return found
        names = [root for root in roots[:1] if "/" in root] + [node.name.removeprefix("node_"), node.output[0]]
        return from_tensors(names, (kind.lower(), "conv2d", "matmul"), kind.lower())


@dataclass(frozen=True)
class Handler:
    """Reads one kind of operator.

    Attributes:
        read: adds a node to the graph.
        note: what of the operator is supported, for the table in the documentation.
        domains: of the operator sets that define it so.
    """

    read: Callable[[State, Any, Attributes], None]
    note: str = ""
    domains: tuple[str, ...] = ("", "ai.onnx")
