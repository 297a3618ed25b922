# SPDX-License-Identifier: Apache-2.0
"""Where tensors lie in the activation memory: first fit over their lifetimes."""

from dataclasses import dataclass

from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork, Tensor


@dataclass(frozen=True)
class Lifetime:
    """A tensor is written at step `first` (the input: −1) and read last at step `last`; it takes `words` words."""

    name: str
    first: int
    last: int
    words: int


def stored_words(tensor: Tensor, lanes: int) -> int:
    """Words of a tensor: `lanes` channels of a pixel in each."""
    channels, height, width = tensor.shape
    return height * width * -(-channels // lanes)


def lifetimes(network: IntegerNetwork, lanes: int) -> list[Lifetime]:
    """Lifetimes of all tensors, in order of writing. The result lives on after the last layer."""
    last_read = {network.output.name: len(network.layers)}
    for step, layer in enumerate(network.layers):
        for name in layer.inputs:
            last_read[name] = max(step, last_read.get(name, 0))
    result = []
    for step, tensor in enumerate(network.tensors.values()):
        last = last_read.get(tensor.name, step - 1)
        result.append(Lifetime(tensor.name, step - 1, last, stored_words(tensor, lanes)))
    return result


def allocate(network: IntegerNetwork, lanes: int, depth: int, *, keep_all: bool = False) -> dict[str, int]:
    """Give each tensor a base address such that no two that live at once overlap.

    With `keep_all` no tensor is overwritten, so that every layer can be read afterwards.

    Raises:
        IntarsiaError: the tensors do not fit into `depth` words.
    """
    bases: dict[str, int] = {}
    placed: list[tuple[Lifetime, int]] = []
    for tensor in lifetimes(network, lanes):
        alive = [(o, base) for o, base in placed if keep_all or o.last >= tensor.first]
        base = 0
        for other, start in sorted(alive, key=lambda item: item[1]):
            if base + tensor.words <= start:
                break
            base = max(base, start + other.words)
        if base + tensor.words > depth:
            raise IntarsiaError(
                f"network {network.name} needs more words than the {depth:,} of the deepest activation memory: "
                f"tensor {tensor.name} would end at word {base + tensor.words:,}; use smaller inputs or fewer channels."
            )
        bases[tensor.name] = base
        placed.append((tensor, base))
    return bases
