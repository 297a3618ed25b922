# SPDX-License-Identifier: Apache-2.0
"""Which tensors of a network share their channels, and what it takes to exchange or to scale these channels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from intarsia.quantize.step import Step, with_weights

#: Makes of a reader's weights by channel, (O, C, R), those for the new channels, (O, K, R).
Columns = Callable[[Step, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Tie:
    """Tensors of which channel c is channel c of every other, because additions, pools or depthwise layers join them.

    Attributes:
        tensors: their names.
        channels: how many.
        free: whether the channels may change: neither the network's input nor its output is among the tensors.
    """

    tensors: frozenset[str]
    channels: int
    free: bool


def channel_ties(steps: Sequence[Step], *, through_depthwise: bool = True) -> list[Tie]:
    """Return the ties of all tensors that steps make, in the order of the steps.

    Args:
        steps: of a float network, as `read_plan` returns them.
        through_depthwise: whether a depthwise layer ties its input to its output, as it does for the order and the
            number of channels; for their scales it does not, because it has a weight of its own for each.
    """
    members = {"input": frozenset({"input"})}
    for step in steps:
        joined = frozenset({step.name})
        if step.module is None or (through_depthwise and step.depthwise):
            joined = joined.union(*(members[name] for name in step.inputs))
        members.update(dict.fromkeys(joined, joined))
    counts = {step.name: step.shape[0] for step in steps}
    ties = []
    for tensors in dict.fromkeys(members[step.name] for step in steps):
        channels = {counts[name] for name in tensors if name in counts}
        # Several counts: an addition that broadcasts one channel over many.
        free = tensors.isdisjoint({"input", steps[-1].name}) and len(channels) == 1
        ties.append(Tie(tensors, max(channels), free))
    return ties


def writers(steps: Sequence[Step], tie: Tie) -> list[Step]:
    """Return the weight layers whose output channels are those of the tie."""
    return [step for step in steps if step.module is not None and step.name in tie.tensors]


def readers(steps: Sequence[Step], tie: Tie) -> list[Step]:
    """Return the weight layers, not depthwise, whose input channels are those of the tie."""
    return [step for step in steps if step.module is not None and step.inputs[0] in tie.tensors and not step.depthwise]


def float_weight(step: Step) -> torch.Tensor:
    """Return a copy of a weight layer's weights."""
    assert step.module is not None  # noqa: S101 (for the type checker)
    return step.module.weight.detach().clone()


def by_channel(step: Step) -> torch.Tensor:
    """Return a layer's weights (O, I, R): R kernel taps, which are the pixels of what a linear layer flattens."""
    weight = float_weight(step)
    return weight.reshape(weight.shape[0], -1, math.prod(step.kernel))


def reindexed(steps: Sequence[Step], tie: Tie, sources: torch.Tensor, columns: Columns | None = None) -> list[Step]:
    """Return the steps with other channels in a tie: new channel k is what channel `sources[k]` was.

    The function stays if, for every reader, the new weights of all copies of a channel sum to the old ones.

    Args:
        steps: stay as they are.
        tie: a free one.
        sources: (K,) old channels, int64.
        columns: makes the readers' new weights; by default they follow their channels, as is right for a permutation.
    """
    reading, writing = readers(steps, tie), writers(steps, tie)
    changed = []
    for step in steps:
        new = step
        if any(step is other for other in reading):
            weight = by_channel(step)
            weight = weight[:, sources] if columns is None else columns(step, weight)
            shape = float_weight(step).shape
            new = with_weights(new, weight.reshape(shape[0], -1, *shape[2:]))
        if any(step is other for other in writing):
            assert new.module is not None  # noqa: S101 (for the type checker)
            bias = new.module.bias
            new = with_weights(new, float_weight(new)[sources], None if bias is None else bias.detach()[sources])
        if step.name in tie.tensors:
            new = replace(new, shape=(len(sources), *step.shape[1:]))
        changed.append(new)
    return changed


def rescaled(steps: Sequence[Step], tie: Tie, factors: torch.Tensor) -> list[Step]:
    """Return the steps with channel c of a tie divided by `factors[c]` > 0, and its readers' weights multiplied by it.

    The tie must not run through depthwise layers (`channel_ties(..., through_depthwise=False)`): one that writes the
    tie is divided, one that reads it multiplied.
    """
    changed = []
    for step in steps:
        new = step
        if step.module is not None and step.inputs[0] in tie.tensors:
            weight = float_weight(step)
            if step.depthwise:
                weight = weight * factors.reshape(-1, 1, 1, 1)
            else:
                weight = (by_channel(step) * factors[:, None]).reshape(weight.shape)
            new = with_weights(new, weight, None if step.module.bias is None else step.module.bias.detach())
        if step.module is not None and step.name in tie.tensors:
            weight, bias = float_weight(new), step.module.bias
            divided = weight / factors.reshape(-1, *[1] * (weight.dim() - 1))
            new = with_weights(new, divided, None if bias is None else bias.detach() / factors)
        changed.append(new)
    return changed
