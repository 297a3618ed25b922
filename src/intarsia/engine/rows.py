# SPDX-License-Identifier: Apache-2.0
"""Rows of different width: which output channel each lane computes where lanes have weights of different bits, in how
many passes each layer runs then, and how many lanes of each width suit a network.

Output channel p of a tensor, as it lies in memory, is computed by lane p mod lanes, the widest lanes first. Tensors
that a residual, an addition, a depthwise layer or a pool joins have one order of channels: they are a *group*. Each
layer that writes into it asks for a width of each channel; the more passes it runs in, the less it asks for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from intarsia.engine.bits import Ints
from intarsia.integer import Conv2d, IntegerNetwork, Linear, WeightLayer, weight_matrix

#: Bits of the weights of a lane, the widest first.
WIDTHS = (8, 4, 2)
_TOO_WIDE = 16

#: Of the channels of a tensor in memory, those of the network that they are.
Order = tuple[int, ...]

#: What the logic of an engine but its multipliers weighs, in bits of every lane's weights: about 110 kGE, where a bit
#: in 16 lanes takes 20 (engines of dense lanes of 2 and 8 bits, fitted to ResNet-8: 151 and 270 kGE).
_REST_BITS = 6
#: Cycles of an output word at least: its requantization.
_REQUANTIZATION = 2


@dataclass(frozen=True, eq=False)
class _Writer:
    """A weight layer, as one that writes a group of tensors.

    `passes`: by width, the passes of each channel, (O,). `tiles` output words are written; a pass of one takes `steps`
    steps, and all of them no less than `least` cycles.
    """

    passes: Mapping[int, Ints]
    tiles: int
    steps: int
    least: int

    def cycles(self, passes: int) -> int:
        """Cycles in so many passes, nearly."""
        return self.tiles * max(passes * self.steps, self.least)

    def widths(self, passes: int) -> Ints:
        """Return the least width of each channel in so many passes, (O,)."""
        found = np.full(len(self.passes[WIDTHS[0]]), _TOO_WIDE)
        for bits in WIDTHS:
            found[self.passes[bits] <= passes] = bits
        return found

    def passes_on(self, places: Ints) -> int:
        """Return the passes on lanes of such widths, (O,)."""
        return max(int(self.passes[bits][places == bits].max(initial=1)) for bits in WIDTHS)


@dataclass(frozen=True, eq=False)
class _Group:
    """Tensors of one order of channels, and the layers that write them, the longest first; `fixed` if it is their
    own order, because the network's input is one of them.
    """

    tensors: Sequence[str]
    channels: int
    writers: Sequence[_Writer]
    fixed: bool


def passes_of(rows: Ints, bits: int) -> Ints:
    """Return how many digits to base 2^bits the weights of each row (O, …) need at most, (O,), at least 1.

    Digits are two's complement: two of 4 bits are −136 to 119.
    """
    flat = rows.reshape(len(rows), -1)
    low, high = flat.min(axis=1, initial=0), flat.max(axis=1, initial=0)
    passes, half, ones = np.ones(len(rows), np.int64), 1 << (bits - 1), 1
    while (missing := (low < -half * ones) | (high > (half - 1) * ones)).any():
        passes += missing
        ones = (ones << bits) + 1
    return passes


def channel_orders(network: IntegerNetwork, lanes: Sequence[int], block: int) -> dict[str, Order]:
    """Return the channel order of each tensor, where it is not the network's: that in which its layers take the fewest
    passes.

    Where the layers of a group want more wide lanes than there are, those of the most cycles have the choice. The input
    keeps its own order, and so does what is joined to it.

    Args:
        network: as it is computed.
        lanes: bits of the weights of each lane.
        block: input channels per cycle.
    """
    result: dict[str, Order] = {}
    for group in _groups(network, len(lanes), block):
        if group.fixed:
            continue
        places = np.resize(np.array(lanes), group.channels)
        own = tuple(range(group.channels))
        need, order = np.zeros(group.channels, np.int64), own
        for writer in group.writers:
            passes, found = 0, None
            while found is None:
                passes += 1
                wanted = np.maximum(need, writer.widths(passes))
                found = _order(wanted, places)
            need, order = wanted, found
        if order != own:
            result |= dict.fromkeys(group.tensors, order)
    return result


def best_lanes(network: IntegerNetwork, lanes: int, block: int) -> tuple[int, ...]:
    """Return how many lanes of each of `WIDTHS` suit a network: those of the least logic times cycles.

    Layers of one group are taken to want wide lanes for different channels, so that weights may move between channels
    later, in training.
    """
    groups = _groups(network, lanes, block)
    found: tuple[float, tuple[int, ...]] | None = None
    for wide in range(lanes + 1):
        for middle in range(lanes - wide + 1):
            counts = (wide, middle, lanes - wide - middle)
            cycles = sum(_cycles(group, counts) for group in groups)
            bits = sum(count * width for count, width in zip(counts, WIDTHS, strict=True)) / lanes
            cost = (_REST_BITS + bits) * cycles
            found = (cost, counts) if found is None or cost < found[0] else found
    assert found is not None  # noqa: S101 (for the type checker)
    return found[1]


def _order(need: Ints, places: Ints) -> Order | None:
    """Return the order in which each channel finds a place as wide as it needs; None if there is none."""
    if (need <= places).all():
        return tuple(range(len(need)))
    by_place, by_need = np.argsort(-places, kind="stable"), np.argsort(-need, kind="stable")
    if (need[by_need] > places[by_place]).any():
        return None
    order = np.empty(len(need), np.int64)
    order[by_place] = by_need
    return tuple(order.tolist())


def _cycles(group: _Group, counts: Sequence[int]) -> int:
    """Return the cycles of the layers of a group on so many lanes of each width, nearly."""
    places = np.resize(np.repeat(WIDTHS, counts), group.channels)
    if group.fixed:
        return sum(writer.cycles(writer.passes_on(places)) for writer in group.writers)
    total = 0
    taken = np.zeros(len(WIDTHS), np.int64)  # places of each width or a greater one
    room = np.array([(places >= bits).sum() for bits in WIDTHS])
    for writer in group.writers:
        passes = 0
        while True:
            passes += 1
            widths = writer.widths(passes)
            wanted = taken + np.array([(widths >= bits).sum() for bits in WIDTHS])
            if widths.max() <= WIDTHS[0] and _fits(np.minimum(wanted, group.channels), room, int(places.min())):
                break
        total += writer.cycles(passes)
        taken = wanted
    return total


def _fits(wanted: Ints, room: Ints, narrowest: int) -> bool:
    """Whether there are places for channels: those as wide as the narrowest hold any other channel."""
    return all(
        want <= has for want, has, bits in zip(wanted.tolist(), room.tolist(), WIDTHS, strict=True) if bits > narrowest
    )


def _groups(network: IntegerNetwork, lanes: int, block: int) -> list[_Group]:
    tensors = network.tensors
    first = {name: name for name in tensors}

    def find(name: str) -> str:
        while first[name] != name:
            name = first[name]
        return name

    for layer in network.layers:
        mixes = isinstance(layer, Conv2d | Linear) and not (isinstance(layer, Conv2d) and layer.depthwise)
        for name in layer.inputs[1 if mixes else 0 :]:
            first[find(name)] = find(layer.output.name)
    result = []
    for root in dict.fromkeys(map(find, tensors)):
        members = [name for name in tensors if find(name) == root]
        writers = [
            _writer(layer, tensors[layer.input].shape[0], lanes, block, unfolds=layer.input == network.input.name)
            for layer in network.weight_layers()
            if layer.output.name in members
        ]
        writers.sort(key=lambda writer: -writer.tiles * writer.steps)
        result.append(_Group(members, tensors[root].shape[0], writers, network.input.name in members))
    return result


def _writer(layer: WeightLayer, inputs: int, lanes: int, block: int, *, unfolds: bool) -> _Writer:
    matrix = weight_matrix(layer.planes).astype(np.int64)
    outputs, height, width = layer.output.shape
    rows, columns = matrix.shape[2:]
    taps = rows * columns
    if isinstance(layer, Conv2d) and layer.depthwise:
        steps, least = 1, min(rows, 4)
    elif unfolds:
        steps, least = -(-inputs * taps // block), _REQUANTIZATION
    else:
        steps, least = min(taps * -(-inputs // block), max(inputs, 4)), _REQUANTIZATION
    passes = {bits: passes_of(matrix, bits) for bits in WIDTHS}
    return _Writer(passes, -(-outputs // lanes) * height * width, steps, least)
