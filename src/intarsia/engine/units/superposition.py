# SPDX-License-Identifier: Apache-2.0
"""The superposition unit: a ternary dot product over the block, and a multiplier for each of a few sparse slots."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal, Self

import numpy as np

from intarsia.engine.bits import balanced_digits, bits_of, fixed_slots, pack_trits, shared_slots, sparse_slots
from intarsia.engine.units.base import (
    ARRAY_SOURCES,
    LEAST_ACCUMULATOR,
    SPARSE_KINDS,
    Bits,
    ExecutionUnit,
    Ints,
    Occupied,
    Operands,
    Planes,
)
from intarsia.errors import IntarsiaError
from intarsia.integer import Pattern, Plane, WeightLayer
from intarsia.integer.formats import DIGIT_LIMITS, greatest_tie, trit_bits

MOST_SLOTS = 4
MOST_SLOT_BITS = 8
_MOST_SHIFT_BITS = 3
_LONGEST_GROUP = 1 << 16  # of channels; more than any layer of the engine has
_INDICES_UNIT = 4  # bits of shared indices are filled up to a multiple: a block is cut into 1, 2 or 4 words

Positions = Literal["own", "shared", "fixed"]
#: The values of the RTL's parameter `Positions`: from free to regular.
_POSITIONS: Mapping[Positions, int] = MappingProxyType({"own": 0, "shared": 1, "fixed": 2})


@dataclass(frozen=True)
class Superposition(ExecutionUnit):
    """A dense plane of balanced-ternary digits, one pass each, and a sparse plane in slots.

    Attributes:
        slots: sparse weights of a lane in a block (0 to 4).
        slot_bits: bits of each, two's complement (2 to 8); without effect where there are no slots.
        shift_bits: bits of the binary shift of the dense plane with respect to the slots (0 to 3).
        positions: where in a block the slots' weights lie. `own`: each lane has an index for each slot. `shared`: all
            lanes have the same, stored once, so no sparse plane in a layer where each lane has a block of its own.
            `fixed`: at `places`, in all blocks of all layers, so that none is stored. `own` where there are no slots.
        places: the fixed positions, one for each slot, in order; none where they are not fixed.
    """

    slots: int = 1
    slot_bits: int = 8
    shift_bits: int = 3
    positions: Positions = "own"
    places: tuple[int, ...] = ()

    name: ClassVar[str] = "superposition"
    number: ClassVar[int] = 0
    lane: ClassVar[str] = "intarsia_lane"
    array: ClassVar[str] = "intarsia_lane_array"
    sources: ClassVar[tuple[str, ...]] = (
        *ARRAY_SOURCES,
        "intarsia_trits.sv",
        "intarsia_lane.sv",
        "intarsia_lane_array.sv",
    )

    def __str__(self) -> str:
        if not self.slots:
            return "ternary"
        where = "" if self.positions == "own" else f" at {self.positions} positions"
        return f"ternary + {self.slots} × int{self.slot_bits}{where}"

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
                "choose int7 or digits5, or another unit, such as dense8"
            )
        if planes.sparse is None:
            return None
        pattern = planes.pattern
        if pattern.kind not in SPARSE_KINDS:
            return f"a superposition unit has no sparse planes of the pattern {pattern}; choose one such as 1:{block}"
        held = most_in_block(pattern, block)
        if held > MOST_SLOTS:
            return (
                f"the pattern {pattern} puts up to {held} sparse weights into a block of {block} inputs, and a lane "
                f"has at most {MOST_SLOTS} slots; choose a pattern such as 1:{block}"
            )
        return None

    def for_planes(self, planes: Iterable[Planes], lanes: int, block: int) -> Self:
        """Return the unit with slots for the densest block of any pattern, positions as regular as all patterns are,
        and the widest ties. How many of a block are whole inputs, no pattern says; there is a slot for one.
        """
        found = type(self)(0, 2, 0)
        for each in planes:
            if each.sparse is None:
                continue
            slots = most_in_block(each.pattern, block)
            positions, places = _regularity(each, lanes, block)
            tie = greatest_tie(each.sparse).bit_length() if each.dense else 0
            found = found.joined(type(self)(slots, each.sparse.stored_bits(1), tie, positions, places))
        return found

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

    def fitted(self, layers: Iterable[tuple[str, Operands, Occupied]]) -> Self:
        """Return the unit with the slots and bits that a network needs, and the most regular positions that take no
        more slots than free ones; or those of this unit, if the network runs there.

        Raises:
            IntarsiaError: a layer needs more slots than there can be.
        """
        bits, shift = 2, 0
        found: list[Occupied] = []
        for name, operands, occupied in layers:
            if occupied.own > MOST_SLOTS:
                raise IntarsiaError(
                    f"layer {name}: a block of a lane holds {occupied.own} sparse weights, and a lane has at most "
                    f"{MOST_SLOTS} slots; use a regular pattern such as 1:16, or digits alone."
                )
            shift = max(shift, operands.shift)
            if occupied.own:
                found.append(occupied)
                bits = bits if operands.slots is None else max(bits, _slot_bits(operands.slots))
        slots, positions, places = self._positions_of(found)
        return type(self)(slots, bits, shift.bit_length(), positions, places)

    def _positions_of(self, layers: Sequence[Occupied]) -> tuple[int, Positions, tuple[int, ...]]:
        """Return slots, positions and places of layers that all have sparse weights."""
        slots = max((each.own for each in layers), default=0)
        if not slots or not all(each.common for each in layers):
            return slots, "own", ()
        places = tuple(sorted({place for each in layers for place in each.places}))
        if len(places) <= slots or set(places) <= set(self.places):
            return len(places), "fixed", places
        shared = max(each.shared for each in layers)
        if shared <= slots or (self.positions == "shared" and shared <= self.slots):
            return shared, "shared", ()
        return slots, "own", ()

    def holds(self, other: ExecutionUnit) -> bool:
        """Whether it has as many slots, of as many bits, at positions as free, and as wide a shift."""
        return isinstance(other, Superposition) and not self.lacks(other)

    def lacks(self, other: ExecutionUnit) -> dict[str, tuple[object, object]]:
        """Return what it has too little of."""
        if not isinstance(other, Superposition):
            return {}
        numbers = {name: (getattr(other, name), getattr(self, name)) for name in ("slots", "slot_bits", "shift_bits")}
        if not other.slots:
            del numbers["slot_bits"]
        found: dict[str, tuple[object, object]] = {name: pair for name, pair in numbers.items() if pair[0] > pair[1]}
        if not self.slots or not other.slots:
            return found
        if _POSITIONS[self.positions] > _POSITIONS[other.positions]:
            found["positions"] = (other.positions, self.positions)
        elif self.positions == "fixed" and not set(other.places) <= set(self.places):
            found["places"] = (other.places, self.places)
        return found

    def joined(self, other: ExecutionUnit) -> Self:
        """Return the least unit that holds both: places that differ are shared ones."""
        if self.holds(other) or not isinstance(other, Superposition):
            return self
        slots, bits, shift = (
            max(getattr(self, name), getattr(other, name)) for name in ("slots", "slot_bits", "shift_bits")
        )
        ranked = sorted((each for each in (self, other) if each.slots), key=lambda each: -_POSITIONS[each.positions])
        positions, places = (ranked[-1].positions, ranked[-1].places) if ranked else ("own", ())
        if positions == "fixed":
            places = max((each.places for each in ranked), key=len)
            if not all(set(each.places) <= set(places) for each in ranked):
                positions, places = "shared", ()
        return type(self)(slots, bits, shift, positions, places)

    def has_room(self, occupied: Occupied) -> bool:
        """Whether there are slots for the sparse weights of a layer, where they lie."""
        if not occupied.own or self.positions == "own":
            return occupied.own <= self.slots
        if not occupied.common:
            return False
        return occupied.shared <= self.slots if self.positions == "shared" else set(occupied.places) <= set(self.places)

    def block_bits(self, lanes: int, block: int) -> int:
        """Return the bits of a block of all lanes: of each its packed trits and the value of each slot, at own
        positions with its index; then, at shared positions, the indices.
        """
        index = self.slots * _index_bits(block)
        lane = trit_bits(block) + self.slots * self.slot_bits + (index if self.positions == "own" else 0)
        return lanes * lane + (_filled(index) if self.positions == "shared" else 0)

    def least_acc_bits(self, block: int) -> int:
        """Return the bits of the narrowest accumulator; the dot product of a block of trits always fits."""
        return LEAST_ACCUMULATOR

    def packed(self, dense: Ints, slots: Ints, block: int) -> Bits:
        """Return the bits of blocks.

        Raises:
            ValueError: a block holds more sparse weights than there are slots, or some elsewhere.
        """
        count, _, block = slots.shape
        width = _index_bits(block)
        shared = np.zeros((count, 0), np.uint8)
        if self.positions == "own":
            values, indices = sparse_slots(slots, self.slots)
            fields = np.concatenate([bits_of(values, self.slot_bits, signed=True), bits_of(indices, width)], axis=-1)
        elif self.positions == "shared":
            values, indices = shared_slots(slots, self.slots)
            fields = bits_of(values, self.slot_bits, signed=True)
            shared = np.zeros((count, _filled(self.slots * width)), np.uint8)
            shared[:, : self.slots * width] = bits_of(indices, width).reshape(count, -1)
        else:
            fields = bits_of(fixed_slots(slots, self.places), self.slot_bits, signed=True)
        by_lane = np.concatenate([pack_trits(dense), fields.reshape(*dense.shape[:2], -1)], axis=-1)
        return np.concatenate([by_lane.reshape(count, -1), shared], axis=-1)

    def check(self, lanes: int, block: int) -> str | None:
        """Return what is wrong with its parameters."""
        for name, least, most in (
            ("slots", 0, MOST_SLOTS),
            ("slot_bits", 2, MOST_SLOT_BITS),
            ("shift_bits", 0, _MOST_SHIFT_BITS),
        ):
            if not least <= getattr(self, name) <= most:
                return f"{name} is {getattr(self, name)}, it must be {least} to {most}"
        known = tuple(_POSITIONS) if self.slots else ("own",)
        if self.positions not in known:
            return f"positions is {self.positions!r}, it must be {', '.join(known)}"
        count = self.slots if self.positions == "fixed" else 0
        if len(self.places) != count or list(self.places) != sorted({*self.places} & {*range(block)}):
            return f"places is {self.places}, it must be {count} different ones of 0 to {block - 1}, in order"
        return None

    def parameters(self) -> dict[str, int]:
        """Return its parameters by their names in the RTL's top module."""
        return {
            "Slots": self.slots,
            "SlotBits": self.slot_bits,
            "PlaneShiftBits": self.shift_bits,
            "Positions": _POSITIONS[self.positions],
            "Places": sum(place << 4 * slot for slot, place in enumerate(self.places)),
        }

    def array_parameters(self) -> dict[str, int]:
        """Return its parameters by their names in `array`."""
        return self.parameters()

    def lane_parameters(self) -> dict[str, int]:
        """Return its parameters by their names in `lane`."""
        return {
            "Slots": self.slots,
            "SlotBits": self.slot_bits,
            "OwnGather": int(self.positions == "own"),
            "PlaneShiftBits": self.shift_bits,
        }


def _regularity(planes: Planes, lanes: int, block: int) -> tuple[Positions, tuple[int, ...]]:
    """Return the most regular positions that a sparse plane has in any mapping; and places, if these are fixed."""
    pattern = planes.pattern
    if planes.depthwise:
        return "own", ()
    if pattern.kind == "fixed":
        channels = range(math.lcm(min(pattern.m, _LONGEST_GROUP), block))
        places = tuple(sorted({channel % block for channel in channels if channel % pattern.m < pattern.n}))
        return ("fixed", places) if len(places) == most_in_block(pattern, block) else ("shared", ())
    return ("shared" if pattern.kind == "inputs" or pattern.group % lanes == 0 else "own"), ()


def most_in_block(pattern: Pattern, block: int) -> int:
    """Return how many weights of a pattern `n:m` or `fixed` lie at most in a block of `block` inputs, all that begin at
    multiples of `block`; of `inputs`, which may lie in any block, one.
    """
    if pattern.kind == "inputs":
        return 1
    n, m = pattern.n, pattern.m
    if m > _LONGEST_GROUP:
        return min(n, block)  # one group holds all channels
    firsts = range(0, math.lcm(m, block), block)
    if pattern.kind == "fixed":
        return max(sum(channel % m < n for channel in range(first, first + block)) for first in firsts)
    return max(
        sum(
            min(n, min(first + block, start + m) - max(first, start))
            for start in range(first - first % m, first + block, m)
        )
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


def _filled(bits: int) -> int:
    """Return the bits that shared indices take in a block."""
    return -(-bits // _INDICES_UNIT) * _INDICES_UNIT
