# SPDX-License-Identifier: Apache-2.0
"""The tensors of a graph under construction: by the keys of a reader, with their shapes and what may follow them."""

import math
from collections.abc import Hashable
from dataclasses import replace

from intarsia.errors import IntarsiaError
from intarsia.integer.layers import LARGEST_TENSOR
from intarsia.networks.importers._budget import Budget
from intarsia.networks.importers._graph import Op, Quantization, Requantize, Shape
from intarsia.networks.importers._names import Names, shortened


class Tensors:
    """What operators were read so far, and which tensor each makes.

    Args:
        source: name of the file, for messages.
        budget: of the file; None for a program that is in memory already.
    """

    def __init__(self, source: str, budget: Budget | None = None) -> None:
        self.source, self.budget = source, budget
        self.dropped: list[str] = []
        self._ops: dict[str, Op] = {}
        self._names = Names()
        self._keys: dict[Hashable, str] = {}
        self._ended: dict[str, str] = {}
        self._order: dict[str, Shape] = {}  # flat tensors whose features are in (row, column, channel) order
        self._where = ""
        self._shape: Shape | None = None
        self._quantization: Quantization | None = None

    def enter(self, operator: str, tensor: str) -> None:
        """Say which operator is read from now on, for messages."""
        self._where = f"operator {operator} of {shortened(tensor)!r}"

    def fail(self, what: str) -> IntarsiaError:
        """Return an error about the present operator."""
        return IntarsiaError(f"{self.source}: {self._where} {what}.")

    def input(self, key: Hashable, shape: Shape, quantization: Quantization | None = None) -> None:
        """Declare the input."""
        if self._shape is not None:
            raise IntarsiaError(f"{self.source} has several inputs; only networks with one are supported.")
        self._check_size(shape)
        self._shape, self._quantization, self._keys[key] = shape, quantization, "input"

    def reshape_input(self, key: Hashable, result: Hashable, shape: Shape) -> bool:
        """Let the input have another shape of as many elements, if nothing but this reshape reads it."""
        first = self._keys.get(key) == "input" and not self._ops
        if not first or self._shape is None or math.prod(shape) != math.prod(self._shape):
            return False
        self._check_size(shape)
        self._shape, self._keys = shape, {result: "input"}  # nobody can read it in its old shape any more
        return True

    def knows(self, key: Hashable) -> bool:
        """Whether a tensor depends on the input."""
        return key in self._keys

    def shape(self, key: Hashable) -> Shape:
        """Return a tensor's shape."""
        return self._shape_of(self._keys[key] if self.knows(key) else self._find(key))

    def flat(self, key: Hashable) -> bool:
        """Whether a tensor is (N, features)."""
        name = self._find(key)
        return name in self._ops and self._ops[name].flat

    def quantization(self, key: Hashable) -> Quantization | None:
        """Return how integers stand for a tensor."""
        name = self._find(key)
        return self._quantization if name == "input" else self._ops[name].quantization

    def alias(self, key: Hashable, result: Hashable) -> None:
        """Let a tensor stand for another."""
        self._keys[result] = self._keys[key] if self._is_ended(key) else self._find(key)

    def narrow(self, key: Hashable, result: Hashable, quantization: Quantization) -> bool:
        """Let what a quantizer makes have a narrower range; whether `key` is the result of one."""
        op = self._ops[name] if (name := self._find(key)) in self._ops else None
        if not isinstance(op, Requantize):
            return False
        self._ops[name] = replace(op, quantization=quantization)
        self._keys[result] = name
        return True

    def end(self, key: Hashable, result: Hashable, what: str) -> None:
        """Leave out an operator that only shapes the result; nothing may follow it."""
        name = self._find(key)
        if "softmax" in what.lower() and self._shape_of(name)[0] == 1:
            raise self.fail("is over a single output, so that its result is always 1; train with a sigmoid instead")
        self._keys[result] = name
        self._ended[name] = what
        self.dropped.append(f"{what} at the end")

    def _is_ended(self, key: Hashable) -> bool:
        return self._keys.get(key) in self._ended

    def _find(self, key: Hashable) -> str:
        if key not in self._keys:
            raise self.fail("reads a tensor that nothing before it makes from the input")
        name = self._keys[key]
        if name in self._ended:
            raise self.fail(f"follows {self._ended[name]}, which is supported as the last operator only")
        return name

    def _image(self, key: Hashable) -> str:
        name = self._find(key)
        if self.flat(key):
            raise self.fail("reads a flattened tensor")
        return name

    def _shape_of(self, name: str) -> Shape:
        if name == "input":
            assert self._shape is not None  # noqa: S101 (the key exists because the input was declared)
            return self._shape
        return self._ops[name].shape

    def _add(self, result: Hashable, op: Op) -> None:
        self._check_size(op.shape)
        op = replace(op, name=self._names.unique(op.name))
        self._ops[op.name] = op
        self._keys[result] = op.name

    def _add_like(self, result: Hashable, source: str, op: Op) -> None:
        """Add an operator that leaves every element in its place."""
        self._add(result, op)
        if source in self._order:
            self._order[self._keys[result]] = self._order[source]

    def _afford(self, amount: int) -> None:
        """Count bytes that an operator takes: many may read the same constant."""
        if self.budget is not None and not self.budget.allows(amount):
            raise IntarsiaError(f"{self.source} {self.budget.reason}; export it again.")

    def _check_size(self, shape: Shape) -> None:
        if min(shape) < 1 or math.prod(shape) > LARGEST_TENSOR:
            raise IntarsiaError(f"{self.source}: {self._where or 'the input'} has the impossible shape {shape}.")
