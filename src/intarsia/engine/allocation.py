# SPDX-License-Identifier: Apache-2.0
"""Where tensors lie in the activation memory: first fit over their lifetimes, also over what is read the last time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intarsia.engine.storage import Stored
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork


@dataclass(frozen=True)
class Plan:
    """How a layer's output may share memory with what the layer reads for the last time.

    Attributes:
        distance: words by which it must at least begin before the input (negative: it may begin so far behind), to
            lie over it.
    """

    distance: int


@dataclass(frozen=True)
class Lifetime:
    """A tensor is written at step `first` (the input: −1) and read last at step `last`; it takes `words` words."""

    name: str
    first: int
    last: int
    words: int


@dataclass(frozen=True)
class _Placed:
    life: Lifetime
    base: int

    @property
    def end(self) -> int:
        return self.base + self.life.words


def lifetimes(network: IntegerNetwork, stored: Mapping[str, Stored]) -> list[Lifetime]:
    """Lifetimes of all tensors, in order of writing. The result lives on after the last layer."""
    last_read = {network.output.name: len(network.layers)}
    for step, layer in enumerate(network.layers):
        for name in layer.inputs:
            last_read[name] = max(step, last_read.get(name, 0))
    result = []
    for step, tensor in enumerate(network.tensors.values()):
        last = last_read.get(tensor.name, step - 1)
        result.append(Lifetime(tensor.name, step - 1, last, stored[tensor.name].words))
    return result


def allocate(
    network: IntegerNetwork, stored: Mapping[str, Stored], plans: Sequence[Plan], depth: int
) -> dict[str, int]:
    """Give each tensor a base address such that no word is overwritten that is still to be read.

    A layer's output may lie over its residual, word by word, and over its input as far as `plans` (one for each layer)
    say, if nothing reads these later.

    Raises:
        IntarsiaError: the tensors do not fit into `depth` words.
    """
    placed: list[_Placed] = []
    for tensor in lifetimes(network, stored):
        alive = [other for other in placed if other.life.last >= tensor.first]
        base = _lowest(tensor, alive, network, plans)
        if base + tensor.words > depth:
            raise IntarsiaError(
                f"network {network.name} needs more words than the {depth:,} of the deepest activation memory: "
                f"tensor {tensor.name} would end at word {base + tensor.words:,}; use smaller inputs or fewer channels."
            )
        placed.append(_Placed(tensor, base))
    return {other.life.name: other.base for other in placed}


def _lowest(tensor: Lifetime, alive: list[_Placed], network: IntegerNetwork, plans: Sequence[Plan]) -> int:
    """Return the lowest base that a tensor can have beside those that are alive when it is written."""
    if tensor.first < 0:
        return 0
    layer, distance = network.layers[tensor.first], plans[tensor.first].distance
    source, *residual = layer.inputs

    def fits(base: int, other: _Placed) -> bool:
        if base >= other.end or base + tensor.words <= other.base:
            return True
        if other.life.last > tensor.first:
            return False
        # Each word of a residual is read just before the same word of the output is written.
        if other.life.name in residual and base != other.base:
            return False
        if other.life.name == source:
            return other.base - base >= distance
        return other.life.name in residual

    candidates = {0, *(other.end for other in alive), *(other.base for other in alive)}
    candidates |= {max(0, other.base - distance) for other in alive if other.life.name == source}
    return min(base for base in candidates if all(fits(base, other) for other in alive))
