# SPDX-License-Identifier: Apache-2.0
"""What an execution unit is: the part of the engine that multiplies, and all that others need to know about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from intarsia.engine.arrangement import Arrangement
from intarsia.errors import IntarsiaError
from intarsia.integer import Conv2d, IntegerNetwork, Pattern, WeightFormat, WeightLayer

Ints = NDArray[np.int64]
Bits = NDArray[np.uint8]

#: Bits of the narrowest accumulator that an engine has, whatever its unit.
LEAST_ACCUMULATOR = 16
#: Bits of an activation, in most units.
BYTE = 8
#: Files of the RTL that every lane array is made of, whatever its unit.
ARRAY_SOURCES = ("intarsia_operands.sv", "intarsia_accumulators.sv")
#: Kinds of patterns that a plane beside a dense one may have; a layer of others is a mix of formats.
SPARSE_KINDS = ("n:m", "fixed", "inputs")


@dataclass(frozen=True, eq=False)
class Operands:
    """A weight layer in the terms of a unit.

    Attributes:
        passes: (P, O, I, KH, KW), what the lanes multiply a block by in each pass: digits of the weights, most
            significant first. A pass adds to `radix` times the sum before it (Horner's rule).
        slots: (O, I, KH, KW), what the sparse slots multiply by, in the last pass; None without a sparse plane.
        shift: binary shift of the passes' sum with respect to the slots'.
        radix: of the digits; of each output channel's, (O,), where they differ.
    """

    passes: Ints
    slots: Ints | None = None
    shift: int = 0
    radix: int | Ints = 3

    @property
    def greatest_sum(self) -> int:
        """Greatest magnitude of a partial sum of any channel over inputs of magnitude 1, in any order of its blocks."""
        total = np.zeros(len(self.passes[0]), np.int64)
        for number, values in enumerate(self.passes):
            total = (self.radix * total if number else total) + np.abs(values).reshape(len(values), -1).sum(axis=1)
        total = total << self.shift
        if self.slots is not None:
            total = total + np.abs(self.slots).reshape(len(self.slots), -1).sum(axis=1)
        return int(total.max())


@dataclass(frozen=True)
class Planes:
    """What a scheme gives a layer, before there is one: formats of a dense and of a sparse plane, and where that one
    lies; or a mix of formats. `depthwise`: whether the layer is, so that each lane has a block of its own.
    """

    dense: WeightFormat | None
    sparse: WeightFormat | None = None
    pattern: Pattern = field(default_factory=Pattern)
    mix: str = ""
    depthwise: bool = False

    @classmethod
    def of(cls, layer: WeightLayer) -> Self:
        """Return what the planes of a layer were asked for."""
        dense = next((plane for plane in layer.planes if plane.pattern.kind == "dense"), None)
        sparse = [plane for plane in layer.planes if plane.pattern.kind != "dense"]
        depthwise = isinstance(layer, Conv2d) and layer.depthwise
        if len(sparse) > 1 or any(plane.pattern.kind not in SPARSE_KINDS for plane in sparse):
            return cls(None, mix=str(sparse[0].pattern), depthwise=depthwise)
        form = sparse[0].format if sparse else None
        pattern = sparse[0].pattern if sparse else Pattern()
        return cls(dense.format if dense else None, form, pattern, depthwise=depthwise)


@dataclass(frozen=True)
class Occupied:
    """Where the sparse weights of a layer lie in its blocks, as it is mapped.

    Attributes:
        own: weights of a lane in one block, at most.
        shared: positions of one block at which some lane has a weight, at most.
        places: positions at which some lane has a weight in some block, in order.
        common: whether all lanes multiply the same block; else, in a depthwise layer, each has one of its own.
    """

    own: int = 0
    shared: int = 0
    places: tuple[int, ...] = ()
    common: bool = True


class ExecutionUnit(Protocol):
    """An execution unit with its parameters; each is a frozen dataclass in a file of its own, derived from this.

    Nobody else decides what planes the hardware takes, how their weights are packed, or in how many passes they run.
    What is answered here is true of most units: lanes that are all alike, activations of a byte, no slots, and
    parameters that are given and not fitted.
    """

    #: Its name in configurations and reports.
    name: ClassVar[str]
    #: Its number in the RTL's parameter `Unit`, the RTL modules of one lane and of all of them, and the files of the
    #: latter.
    number: ClassVar[int]
    lane: ClassVar[str]
    array: ClassVar[str]
    sources: ClassVar[tuple[str, ...]]
    #: Whether all lanes can take one channel of the sliding window (else it serves depthwise layers only).
    common_window: ClassVar[bool] = True
    #: Bits of an activation.
    most_activation_bits: ClassVar[int] = BYTE

    def refusal(self, planes: Planes, block: int) -> str | None:
        """Return why no layer of such planes runs on the unit, as a sentence that says what to choose instead; None
        where layers may run (a layer is then asked for its `operands`).
        """
        ...

    def for_planes(self, planes: Iterable[Planes], lanes: int, block: int) -> Self:
        """Return the unit with parameters that hold any layers of such planes, whatever their weights; none of them is
        one that it refuses.
        """
        ...

    def stored_bits(self, network: IntegerNetwork) -> Mapping[str, int]:
        """Return the bits (4, 8 or 16) in which activation words hold each tensor's values; the same for a residual
        and the output that it is added to.

        Raises:
            IntarsiaError: the unit has none for some tensor; the sentence names it.
        """
        for tensor in network.tensors.values():
            if tensor.format.bits > BYTE:
                raise IntarsiaError(
                    f"tensor {tensor.name} has {tensor.format.bits} bits, and activations of this execution unit at "
                    f"most {BYTE}; end its layer with a quantizer of {BYTE} bits, or choose the unit sum_together."
                )
        return dict.fromkeys(network.tensors, BYTE)

    def for_network(self, network: IntegerNetwork, block: int) -> Self:
        """Return the unit with those parameters that suit a network and that its layers are mapped for; the unit itself
        if it has none (`fitted` then chooses all).
        """
        return self

    def arranged(self, network: IntegerNetwork, block: int) -> Arrangement:
        """Return a network, before it is mapped, as the unit computes it best."""
        return Arrangement(network, {})

    def operands(self, layer: WeightLayer) -> Operands:
        """Return a layer in the unit's terms.

        Raises:
            IntarsiaError: the unit does not take these planes; the sentence names the layer and says why.
        """
        ...

    def fitted(self, layers: Iterable[tuple[str, Operands, Occupied]]) -> Self:
        """Return the unit with parameters that hold a network's layers and no more: (name, operands, where the sparse
        weights lie).

        Raises:
            IntarsiaError: none hold them; the sentence names the layer.
        """
        return self

    def holds(self, other: "ExecutionUnit") -> bool:
        """Whether it runs whatever `other`, of its own kind, does."""
        return self == other

    def lacks(self, other: "ExecutionUnit") -> dict[str, tuple[object, object]]:
        """Return what it has too little of to hold `other`, of its own kind: what that has and what it has, by name."""
        if not isinstance(other, type(self)):
            return {}
        return {name: (value, vars(self)[name]) for name, value in vars(other).items() if value != vars(self)[name]}

    def joined(self, other: "ExecutionUnit") -> Self:
        """Return the least unit that holds both this one and `other`, of its own kind."""
        # Without fitting, layers are mapped for the parameters that are asked for: none holds both.
        return other if isinstance(other, type(self)) else self

    def has_room(self, occupied: Occupied) -> bool:
        """Whether there are slots for the sparse weights of a layer, where they lie."""
        return occupied.own == 0

    def block_bits(self, lanes: int, block: int) -> int:
        """Return the bits of a block of all lanes in the weight memory, a multiple of the most words that it takes."""
        ...

    def least_acc_bits(self, block: int) -> int:
        """Return the bits of the narrowest accumulator that the hardware takes: the sum of a block fits."""
        ...

    def packed(self, dense: Ints, slots: Ints, block: int) -> Bits:
        """Return the bits (n, block_bits) of blocks of a pass and of the slots, (n, lanes, inputs) each."""
        ...

    def check(self, lanes: int, block: int) -> str | None:
        """Return what is wrong with its parameters in an engine of so many lanes and inputs of a block, as a clause;
        None if nothing is.
        """
        ...

    def parameters(self) -> dict[str, int]:
        """Return its parameters by their names in the RTL's top module."""
        ...

    def array_parameters(self) -> dict[str, int]:
        """Return its parameters by their names in `array`."""
        return self.parameters()

    def lane_parameters(self) -> dict[str, int]:
        """Return its parameters by their names in `lane`."""
        return self.array_parameters()
