# SPDX-License-Identifier: Apache-2.0
"""Where a plane of few or of precise weights lies: positions chosen by what leaving them out would cost."""

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from intarsia.integer.formats import Pattern
from intarsia.integer.units import fixed_channels, unit_numbers
from intarsia.recipes import Criterion


def position_cost(
    residual: torch.Tensor, gradient: torch.Tensor | None = None, criterion: Criterion = "residual"
) -> torch.Tensor:
    """Estimate what the dense plane's error costs at every weight, in arbitrary units.

    `residual` is w − dense, of any shape. `residual` squares it. `curvature` weighs it by the
    squared gradient of the loss, the diagonal of the empirical Fisher matrix (as in LeCun's Optimal Brain
    Damage, 1990, with Fisher for the Hessian): `gradient` is then the root of that mean square. `gradient`
    takes the first-order change |g · residual| for a mean gradient.

    Raises:
        ValueError: the criterion needs a gradient and none is given.
    """
    if criterion == "residual":
        return residual.square()
    if gradient is None:
        raise ValueError(f"choosing positions by {criterion} needs gradients")
    if criterion == "curvature":
        return (residual * gradient).square()
    return (residual * gradient).abs()


def choose_positions(
    cost: torch.Tensor, pattern: Pattern, density: float = 0.0625, *, depthwise: bool = False
) -> torch.Tensor:
    """Return the mask of the positions that save most under a pattern.

    Args:
        cost: (O, I, KH, KW), at least 0.
        pattern: `n:m` takes the n most expensive of every m consecutive input channels of each tap and output
            channel (of the sum over a group, if positions are shared); `fixed` the first n; `unstructured` the
            most expensive anywhere; `inputs`, `outputs`, `blocks` and `taps` those of the greatest sums.
        density: part of all weights, channels, blocks or taps that is taken, to the nearest number, but at least
            one; `n:m` and `fixed` ignore it.
        depthwise: whether (O, 1, KH, KW) is a depthwise layer, whose input channels are its output channels. There
            `inputs` is `outputs`, a block is some channels of one tap, and `n:m` and `fixed` take everything.

    Returns:
        A mask of the same shape, bool.
    """
    if pattern.kind == "dense":
        return torch.ones_like(cost, dtype=torch.bool)
    if pattern.kind == "n:m":
        return _dearest_of_each_block(cost, pattern)
    if pattern.kind == "fixed":
        covered = torch.from_numpy(fixed_channels(cost.shape[1], pattern)).to(cost.device)
        return covered.view(1, -1, 1, 1).expand_as(cost).contiguous()
    return share_out(cost, pattern, (density,), depthwise=depthwise)[0]


def share_out(
    cost: torch.Tensor, pattern: Pattern, shares: Sequence[float], *, depthwise: bool = False
) -> torch.Tensor:
    """Share out the channels, blocks or taps of a layer by cost: the most expensive to the first share, and so on.

    Args:
        cost: (O, I, KH, KW), at least 0.
        pattern: of units: `unstructured`, `inputs`, `outputs`, `blocks` or `taps`.
        shares: parts of all units, each to the nearest number, but at least one while there are any left.
        depthwise: as in `choose_positions`.

    Returns:
        Disjoint masks (shares, *cost.shape), bool.
    """
    units = torch.from_numpy(unit_numbers(tuple(cost.shape), pattern, depthwise=depthwise))
    # Summed on the CPU in 64 bits, so that the same cost gives the same positions wherever it was computed.
    total = torch.zeros(int(units.max()) + 1, dtype=torch.float64)
    total.index_add_(0, units.flatten(), cost.detach().double().cpu().flatten())
    order = total.argsort(descending=True, stable=True)
    owner = torch.full_like(order, -1)
    start = 0
    for number, share in enumerate(shares):
        count = max(1, math.floor(share * len(order) + 0.5))
        owner[order[start : start + count]] = number
        start += count
    masks = owner[units][None] == torch.arange(len(shares)).view(-1, *[1] * cost.dim())
    return masks.to(cost.device)


def _dearest_of_each_block(cost: torch.Tensor, pattern: Pattern) -> torch.Tensor:
    outputs, inputs = cost.shape[:2]
    taps = cost.reshape(outputs, inputs, -1).transpose(1, 2)
    taps = functional.pad(taps, (0, -inputs % pattern.m, 0, 0, 0, -outputs % pattern.group), value=0.0)
    grouped = taps.reshape(-1, pattern.group, *taps.shape[1:]).sum(dim=1)
    blocks = grouped.reshape(*grouped.shape[:2], -1, pattern.m)
    chosen = torch.zeros_like(blocks, dtype=torch.bool)
    chosen.scatter_(-1, blocks.topk(pattern.n, dim=-1).indices, True)
    mask = chosen.reshape(grouped.shape).repeat_interleave(pattern.group, dim=0)
    return mask[:outputs, :, :inputs].transpose(1, 2).reshape(cost.shape).contiguous()
