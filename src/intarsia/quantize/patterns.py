"""Where the sparse plane lies: positions chosen by what leaving them out would cost."""

import math
from typing import Literal

import torch
from torch.nn import functional

from intarsia.integer.formats import Pattern

Criterion = Literal["residual", "curvature", "gradient"]


def position_cost(
    residual: torch.Tensor, gradient: torch.Tensor | None = None, criterion: Criterion = "residual"
) -> torch.Tensor:
    """Estimate what the dense plane's error costs at every weight, in arbitrary units.

    `residual` is w − dense, (O, I, KH, KW) or (O, I). `residual` squares it. `curvature` weighs it by the
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


def choose_positions(cost: torch.Tensor, pattern: Pattern, density: float = 0.0625) -> torch.Tensor:
    """Return the mask of the positions that save most under a pattern.

    Args:
        cost: (O, I, KH, KW) or (O, I), at least 0.
        pattern: `n:m` takes the n dearest of every m consecutive input channels of each tap and output
            channel (of the sum over a group, if positions are shared); `unstructured` the dearest anywhere.
        density: part that `unstructured` takes.

    Returns:
        A mask of the same shape, bool.
    """
    if pattern.kind == "dense":
        return torch.ones_like(cost, dtype=torch.bool)
    if pattern.kind == "unstructured":
        count = max(1, math.floor(density * cost.numel()))
        mask = torch.zeros(cost.numel(), dtype=torch.bool, device=cost.device)
        mask[cost.flatten().topk(count).indices] = True
        return mask.reshape(cost.shape)
    outputs, inputs = cost.shape[:2]
    taps = cost.reshape(outputs, inputs, -1).transpose(1, 2)
    taps = functional.pad(taps, (0, -inputs % pattern.m, 0, 0, 0, -outputs % pattern.group), value=0.0)
    grouped = taps.reshape(-1, pattern.group, *taps.shape[1:]).sum(dim=1)
    blocks = grouped.reshape(*grouped.shape[:2], -1, pattern.m)
    chosen = torch.zeros_like(blocks, dtype=torch.bool)
    chosen.scatter_(-1, blocks.topk(pattern.n, dim=-1).indices, True)
    mask = chosen.reshape(grouped.shape).repeat_interleave(pattern.group, dim=0)
    return mask[:outputs, :, :inputs].transpose(1, 2).reshape(cost.shape).contiguous()
