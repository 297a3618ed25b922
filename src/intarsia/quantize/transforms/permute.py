# SPDX-License-Identifier: Apache-2.0
"""Channel permutations for n:m and fixed planes (Pool and Yu, Channel Permutations for N:M Sparsity, NeurIPS 2021).

Of m consecutive input channels a sparse plane corrects n. Where the weights that need it crowd into one block, some are
left out while another block has places to spare; another order of the channels between two layers spreads them. Where
the plane's positions are fixed, it puts the channels that need them there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional

from intarsia.integer.units import fixed_channels
from intarsia.quantize.patterns import choose_positions, position_cost
from intarsia.quantize.planes import best_steps, integer_values
from intarsia.quantize.scheme import LayerScheme
from intarsia.quantize.step import Step
from intarsia.quantize.transforms.channels import by_channel, channel_ties, readers, reindexed

_KINDS = ("n:m", "fixed")  # of patterns for which the order of channels makes a difference
_ESCAPES = 4  # random starts around the best order found
_GAIN = 1e-9  # part of the whole cost below which a swap gains nothing but rounding


def permute(steps: Sequence[Step], schemes: Mapping[str, LayerScheme], *, seed: int = 0) -> list[Step]:
    """Return steps of the same function in an order of channels that raises `saved_cost`, or leaves it.

    For each set of tied tensors: the best swap of two channels, again and again until none gains, then the same from a
    few orders that random swaps make of the best one. The input and the output keep their order, and a pattern whose
    positions several output channels share is not improved by their order, only kept from losing.

    Args:
        steps: of a float network; they stay as they are.
        schemes: of every weight layer, by name.
        seed: of the random swaps.
    """
    changed = list(steps)
    for number, tie in enumerate(channel_ties(steps)):
        if not tie.free:
            continue
        views = [view for step in readers(changed, tie) for view in _views(step, schemes[step.name], tie.channels)]
        order = _search(views, tie.channels, np.random.default_rng((seed, number)))
        if (order == torch.arange(tie.channels)).all():
            continue
        candidate = reindexed(changed, tie, order)
        before, after = zip(*((a, b) for a, b in zip(changed, candidate, strict=True) if a is not b), strict=True)
        if saved_cost(after, schemes) > saved_cost(before, schemes):
            changed = candidate
    return changed


def saved_cost(steps: Sequence[Step], schemes: Mapping[str, LayerScheme]) -> float:
    """Return what all n:m and fixed planes save: the squared error of the dense plane at the positions they choose."""
    total = 0.0
    for step in steps:
        scheme = schemes.get(step.name)
        if scheme is not None and scheme.sparse is not None and scheme.pattern.kind in _KINDS:
            cost = dense_cost(by_channel(step), scheme)[..., None]
            total += float((cost * choose_positions(cost, scheme.pattern)).double().sum())
    return total


def dense_cost(weight: torch.Tensor, scheme: LayerScheme) -> torch.Tensor:
    """Return the squared error that the dense plane alone makes of each weight, in the shape of `weight`.

    Its scales are the best for all weights of an output channel, so that their order does not matter.
    """
    if scheme.dense is None:
        return position_cost(weight)
    step = best_steps(weight, scheme.dense).reshape(-1, *[1] * (weight.dim() - 1))
    return position_cost(weight - integer_values(weight, step, scheme.dense) * step)


class _View(Protocol):
    """A reader of channels (C,) as the search sees it."""

    @property
    def size(self) -> int:
        """Channels of a block: swaps between others gain what they did, whatever is swapped in this one."""

    @property
    def whole(self) -> float:
        """What sparse values at all positions would save."""

    def saved(self, order: torch.Tensor) -> float:
        """Return what an order of the channels (C,) saves."""

    def gains(self, order: torch.Tensor) -> torch.Tensor:
        """Return what swapping the channels at two positions gains, (C, C)."""


@dataclass(frozen=True)
class _ChosenView:
    """A reader with n sparse values in each block of `size` channels, wherever they save the most.

    Attributes:
        costs: what a sparse value saves, (R, C).
    """

    costs: torch.Tensor
    n: int
    size: int

    @property
    def whole(self) -> float:
        return float(self.costs.sum())

    def saved(self, order: torch.Tensor) -> float:
        return float(self._blocks(self.costs[:, order]).topk(self.n, dim=-1).values.sum())

    def _blocks(self, costs: torch.Tensor) -> torch.Tensor:
        """Return costs (R, C) by block, (R, C / size, size), the last one filled with zeros."""
        return functional.pad(costs, (0, -costs.shape[1] % self.size)).reshape(len(costs), -1, self.size)

    def gains(self, order: torch.Tensor) -> torch.Tensor:
        positions = len(order)
        costs = self.costs[:, order]
        # One zero more: a block of n channels has a place to spare.
        top = functional.pad(self._blocks(costs), (0, 1)).topk(self.n + 1, dim=-1).values
        whole, least, next_ = (
            value.repeat_interleave(self.size, dim=1)[:, :positions]
            for value in (top[..., : self.n].sum(-1), top[..., self.n - 1], top[..., self.n])
        )
        chosen = costs >= least
        # Without one channel, n - 1 values of its block are certain; for the last place the best left competes with the
        # newcomer.
        certain = torch.where(chosen, whole - costs, whole - least)
        rival = torch.where(chosen, next_, least)
        # max(a, b) = (a + b + |a − b|) / 2, and cdist sums |a − b| without making R × C × C values.
        last = (rival.sum(0)[:, None] + costs.sum(0)[None, :] + torch.cdist(rival.T, costs.T, p=1.0)) / 2
        side = certain.sum(0)[:, None] + last - whole.sum(0)[:, None]
        block = torch.arange(positions) // self.size
        return (side + side.T).masked_fill(block[:, None] == block[None, :], 0.0)


@dataclass(frozen=True)
class _FixedView:
    """A reader with sparse values at fixed positions.

    Attributes:
        costs: what sparse values of each channel save, (C,).
        covered: at which positions there are any, 0 or 1, (C,).
    """

    costs: torch.Tensor
    covered: torch.Tensor

    @property
    def size(self) -> int:
        return 1

    @property
    def whole(self) -> float:
        return float(self.costs.sum())

    def saved(self, order: torch.Tensor) -> float:
        return float((self.costs[order] * self.covered).sum())

    def gains(self, order: torch.Tensor) -> torch.Tensor:
        at = torch.outer(self.costs[order], self.covered)  # of the channel at one position, if it lay at another
        here = at.diagonal()
        return at + at.T - here[:, None] - here[None, :]


def _views(step: Step, scheme: LayerScheme, channels: int) -> list[_View]:
    """Return a reader's view, or none if the order of its channels makes no difference."""
    pattern = scheme.pattern
    if scheme.sparse is None or pattern.kind not in _KINDS:
        return []
    cost = dense_cost(by_channel(step), scheme).double()
    if pattern.kind == "fixed":
        covered = torch.from_numpy(fixed_channels(channels, pattern))
        return [] if bool(covered.all()) else [_FixedView(cost.sum(dim=(0, 2)), covered.double())]
    if pattern.m >= channels:
        return []
    cost = functional.pad(cost, (0, 0, 0, 0, 0, -len(cost) % pattern.group))
    grouped = cost.reshape(-1, pattern.group, *cost.shape[1:]).sum(dim=1)
    return [_ChosenView(grouped.transpose(1, 2).reshape(-1, channels), pattern.n, pattern.m)]


def _search(views: Sequence[_View], channels: int, draw: np.random.Generator) -> torch.Tensor:
    """Return the channel (C,) to put at each position."""
    best = torch.arange(channels)
    if not views:
        return best
    best = _climb(views, best)
    most = sum(view.saved(best) for view in views)
    for _ in range(_ESCAPES):
        shaken = best.clone()
        for _ in range(max(2, channels // 8)):
            pair = draw.choice(channels, 2, replace=False)
            shaken[pair] = shaken[pair[::-1].copy()]
        found = _climb(views, shaken)
        saved = sum(view.saved(found) for view in views)
        if saved > most:
            best, most = found, saved
    return best


def _climb(views: Sequence[_View], start: torch.Tensor) -> torch.Tensor:
    """Return the order, from `start` on, in which no swap gains any more."""
    order = start.clone()
    least = _GAIN * sum(view.whole for view in views)
    block = torch.arange(len(order)) // math.lcm(*(view.size for view in views))
    while True:
        gains = torch.stack([view.gains(order) for view in views]).sum(0)
        if not float(gains.max()) > least:  # also where a weight is not a number
            return order
        while float(gains.max()) > least:  # swaps between other blocks still gain what they did
            pair = list(divmod(int(gains.argmax()), len(order)))
            order[pair] = order[pair[::-1]]
            touched = torch.isin(block, block[pair])
            gains[touched] = 0.0
            gains[:, touched] = 0.0
