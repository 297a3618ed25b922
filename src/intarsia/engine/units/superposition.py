# SPDX-License-Identifier: Apache-2.0
"""The superposition unit: a ternary dot product over the block, and a multiplier for each of a few sparse slots."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from intarsia.engine.arrangement import Arrangement
from intarsia.engine.bits import balanced_digits, bits_of, pack_trits, sparse_slots
from intarsia.engine.units.base import (
    BYTE,
    LEAST_ACCUMULATOR,
    Bits,
    ExecutionUnit,
    Ints,
    Operands,
    Planes,
    bytes_of,
)
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork, Pattern, Plane, WeightLayer
from intarsia.integer.formats import DIGIT_LIMITS, greatest_tie, trit_bits

MOST_SLOTS = 4
MOST_SLOT_BITS = 8
_MOST_SHIFT_BITS = 3
_LONGEST_GROUP = 1 << 16  # of channels; more than any layer of the engine has


@dataclass(frozen=True)
class Superposition:
    """A dense plane of balanced-ternary digits, one pass each, and a sparse plane in slots.

    Attributes:
        slots: sparse weights of a lane in a block (1 to 4).
        slot_bits: bits of each, two's complement (2 to 8).
        shift_bits: bits of the binary shift of the dense plane with respect to the slots (0 to 3).
    """

    slots: int = 1
    slot_bits: int = 8
    shift_bits: int = 3

    name: ClassVar[str] = "superposition"
    number: ClassVar[int] = 0
    lane: ClassVar[str] = "intarsia_lane"
    common_window: ClassVar[bool] = True
    most_activation_bits: ClassVar[int] = BYTE

    def __str__(self) -> str:
        return f"ternary + {self.slots} × int{self.slot_bits}"

    def refusal(self, planes: Planes, block: int) -> str | None:
        """Return why no layer of such planes runs: a mix, too wide a dense plane, positions without a slot."""
        if planes.mix:
            return (
                f"a superposition unit has no mixes of formats within a layer, such as {planes.mix}; choose a pattern "
                f"such as 1:{block}"
            )
        most = max(DIGIT_LIMITS.values())
        if planes.dense is not None and planes.dense.limit > most:
            return (
                f"the dense planes of a superposition unit hold weights of up to {most}, not {planes.dense.name}; "
                "choose int7 or digits5"
            )
        if planes.sparse is None:
            return None
        pattern = planes.pattern
        if pattern.kind not in ("n:m", "fixed"):
            return f"a superposition unit has no sparse planes of the pattern {pattern}; choose one such as 1:{block}"
        held = most_in_block(pattern, block)
        if held > MOST_SLOTS:
            return (
                f"the pattern {pattern} puts up to {held} sparse weights into a block of {block} inputs, and a lane "
                f"has at most {MOST_SLOTS} slots; choose a pattern such as 1:{block}"
            )
        return None

    def for_planes(self, planes: Iterable[Planes], block: int) -> Self:
        """Return the unit with slots for the densest block of any pattern, and the widest ties."""
        found = type(self)(1, 2, 0)
        for each in planes:
            if each.sparse is None:
                continue
            tie = greatest_tie(each.sparse).bit_length() if each.dense else 0
            found = type(self)(
                max(found.slots, most_in_block(each.pattern, block)),
                max(found.slot_bits, each.sparse.stored_bits(1)),
                max(found.shift_bits, tie),
            )
        return found

    def stored_bits(self, network: IntegerNetwork) -> Mapping[str, int]:
        """Return the bits in which each tensor is stored: a byte.

        Raises:
            IntarsiaError: a tensor has more.
        """
        return bytes_of(network)
    def for_network(self, network: IntegerNetwork, block: int) -> Self:
        """Return the unit itself: layers are mapped in the same way whatever its parameters."""
        return self

    def arranged(self, network: IntegerNetwork, block: int) -> Arrangement:
        """Return the network itself: all lanes are alike."""
        return Arrangement(network, {})

    def operands(self, layer: WeightLayer) -> Operands:
        """Return the digits of the layer's dense plane and the weights of its sparse one.

        Raises:
            IntarsiaError: there are other planes, or weights that digits or slots do not hold.
        """
        dense, sparse = _split(layer)
        shape = layer.planes[0].weights.shape
        passes = np.zeros((1, *shape), np.int64)
        if dense is not None:
            passes = balanced_digits(dense.weights.astype(np.int64), _digits(dense, layer))
        if sparse is None:
            return Operands(passes, None, 0 if dense is None else dense.shift)
        slots = sparse.weights.astype(np.int64) << sparse.shift
        if _slot_bits(slots) > MOST_SLOT_BITS:
            raise IntarsiaError(
                f"layer {layer.output.name}: a sparse weight counts {int(np.abs(slots).max())}, and a slot has "
                f"{MOST_SLOT_BITS} bits at most; quantize the sparse plane to fewer."
            )
        return Operands(passes, slots, 0 if dense is None else dense.shift)

    def fitted(self, layers: Iterable[tuple[str, Operands, int]]) -> Self:
        """Return the unit with the slots and bits that a network needs.

        Raises:
            IntarsiaError: a layer needs more slots than there can be.
        """
        slots, bits, shift = 1, 2, 0
        for name, operands, count in layers:
            if count > MOST_SLOTS:
                raise IntarsiaError(
                    f"layer {name}: a block of a lane holds {count} sparse weights, and a lane has at most "
                    f"{MOST_SLOTS} slots; use a regular pattern such as 1:16, or digits alone."
                )
            slots, shift = max(slots, count), max(shift, operands.shift)
            bits = bits if operands.slots is None else max(bits, _slot_bits(operands.slots))
        return type(self)(slots, bits, shift.bit_length())

    def holds(self, other: ExecutionUnit) -> bool:
        """Whether it has as many slots, of as many bits, and as wide a shift."""
        return isinstance(other, Superposition) and all(
            getattr(self, name) >= getattr(other, name) for name in ("slots", "slot_bits", "shift_bits")
        )

    def has_room(self, sparse_weights: int) -> bool:
        """Whether a lane has slots for so many sparse weights of a block."""
        return sparse_weights <= self.slots

    def block_bits(self, block: int, lanes: int) -> int:
        """Return the bits of a block of all lanes; of each, packed trits, then a value and a position for each slot."""
        return lanes * (trit_bits(block) + self.slots * (self.slot_bits + _index_bits(block)))

    def least_acc_bits(self, block: int) -> int:
        """Return the bits of the narrowest accumulator; the dot product of a block of trits always fits."""
        return LEAST_ACCUMULATOR

    def packed(self, dense: Ints, slots: Ints, block: int) -> Bits:
        """Return the bits of blocks.

        Raises:
            ValueError: a block holds more sparse weights than there are slots.
        """
        values, indices = sparse_slots(slots, self.slots)
        fields = np.concatenate(
            [bits_of(values, self.slot_bits, signed=True), bits_of(indices, _index_bits(slots.shape[-1]))], axis=-1
        )
        bits = np.concatenate([pack_trits(dense), fields.reshape(*fields.shape[:2], -1)], axis=-1)
        return bits.reshape(len(bits), -1)

    def check(self, lanes: int) -> str | None:
        """Return what is wrong with its parameters."""
        for name, least, most in (
            ("slots", 1, MOST_SLOTS),
            ("slot_bits", 2, MOST_SLOT_BITS),
            ("shift_bits", 0, _MOST_SHIFT_BITS),
        ):
            if not least <= getattr(self, name) <= most:
                return f"{name} is {getattr(self, name)}, it must be {least} to {most}"
        return None

    def parameters(self) -> dict[str, int]:
        """Return its parameters by their names in the RTL."""
        return {"Slots": self.slots, "SlotBits": self.slot_bits, "PlaneShiftBits": self.shift_bits}

    def lane_parameters(self) -> dict[str, int]:
        """Return the parameters of a lane."""
        return self.parameters()


def most_in_block(pattern: Pattern, block: int) -> int:
    """Return how many weights of a pattern `n:m` or `fixed` lie at most in a block of `block` inputs, all that begin at
    multiples of `block`.
    """
    n, m = pattern.n, pattern.m
    if m > _LONGEST_GROUP:
        return min(n, block)  # one group holds all channels
    firsts = range(0, math.lcm(m, block), block)
    if pattern.kind == "fixed":
        return max(sum(channel % m < n for channel in range(first, first + block)) for first in firsts)
    return max(
        sum(min(n, first + block - start, start + m - first) for start in range(first - first % m, first + block, m))
        for first in firsts
    )


def _split(layer: WeightLayer) -> tuple[Plane | None, Plane | None]:
    """Return the dense and the sparse plane of a layer."""
    where = f"layer {layer.output.name}"
    dense = [plane for plane in layer.planes if plane.format.digits or plane.pattern.kind == "dense"]
    sparse: Sequence[Plane] = [plane for plane in layer.planes if plane not in dense]
    if not all(plane.format.has_zero for plane in sparse):
        raise IntarsiaError(f"{where}: the engine has no binary planes but dense ones; take ternary weights instead.")
    if len(dense) > 1 or len(sparse) > 1:
        raise IntarsiaError(
            f"{where}: a superposition unit takes at most one dense and one sparse plane, not {len(layer.planes)}."
        )
    return (dense[0] if dense else None), (sparse[0] if sparse else None)


def _digits(plane: Plane, layer: WeightLayer) -> int:
    """Return how many digits hold a dense plane: those of its format, else the fewest."""
    if plane.format.digits:
        return plane.format.digits
    greatest = int(np.abs(plane.weights.astype(np.int64)).max())
    for digits, limit in DIGIT_LIMITS.items():
        if greatest <= limit:
            return digits
    raise IntarsiaError(
        f"layer {layer.output.name}: its dense {plane.format.name} weights reach {greatest}, and the engine's "
        f"{max(DIGIT_LIMITS)} digits hold {max(DIGIT_LIMITS.values())} at most; quantize this layer to 7 bits."
    )


def _slot_bits(values: Ints) -> int:
    return max(2, max(-int(values.min(initial=0)) - 1, int(values.max(initial=0))).bit_length() + 1)


def _index_bits(block: int) -> int:
    return (block - 1).bit_length()
