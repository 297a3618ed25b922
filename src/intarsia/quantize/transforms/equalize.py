"""Cross-layer range equalization (Nagel et al., Data-Free Quantization through Weight Equalization, 2019).

A positive factor passes through ReLU, pools and additions: a channel divided by s before them and multiplied by s after
them computes the same. s is chosen so that the weights that write a channel and those that read it have one range.
"""

from collections.abc import Sequence

import torch

from intarsia.quantize.plan import Step
from intarsia.quantize.transforms.channels import (
    Tie,
    by_channel,
    channel_ties,
    float_weight,
    is_depthwise,
    rescaled,
    writers,
)

_ROUNDS = 50
_CLOSE = 1e-3  # factors this near to 1 change nothing any more


def equalize(steps: Sequence[Step]) -> list[Step]:
    """Return steps of the same function in which, channel by channel, writers and readers have weights of one range.

    Where several layers write or read a channel (additions, branches), the greatest range of each side counts. A
    channel is left alone if either side is all zeros, and so is a tensor under a ceiling (ReLU6), the input and the
    output.
    Layers are visited until nothing moves, 50 times at most.
    """
    clipped = {step.name for step in steps if step.ceiling is not None}
    changed = list(steps)
    ties = [tie for tie in channel_ties(steps, through_depthwise=False) if tie.free and tie.tensors.isdisjoint(clipped)]
    for _ in range(_ROUNDS):
        furthest = 0.0
        for tie in ties:
            factors = _factors(changed, tie)
            furthest = max(furthest, float(factors.log().abs().max()))
            changed = rescaled(changed, tie, factors)
        if furthest < _CLOSE:
            break
    return changed


def channel_ranges(steps: Sequence[Step], tie: Tie) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the greatest magnitude of the weights that write each channel of a tie, and of its readers; (C,)."""
    written, read = torch.zeros(tie.channels), torch.zeros(tie.channels)
    for step in writers(steps, tie):
        written = torch.maximum(written, float_weight(step).flatten(1).abs().amax(dim=1))
    for step in steps:
        if step.module is not None and step.inputs[0] in tie.tensors:
            if is_depthwise(step):
                largest = float_weight(step).flatten(1).abs().amax(dim=1)
            else:
                largest = by_channel(step, tie.channels).abs().amax(dim=(0, 2))
            read = torch.maximum(read, largest)
    return written, read


def _factors(steps: Sequence[Step], tie: Tie) -> torch.Tensor:
    written, read = channel_ranges(steps, tie)
    used = (written > 0) & (read > 0)
    return torch.where(used, (written / read).sqrt(), torch.ones_like(written))
