# SPDX-License-Identifier: Apache-2.0
"""Equalization of the input channels of layers whose outputs have a scale each.

A positive factor passes through ReLU, pools and additions: a channel divided by s before them and multiplied by s after
them computes the same (Nagel et al., Data-Free Quantization through Weight Equalization, 2019). There s makes the
weights that write a channel and those that read it alike, for one scale per tensor. Here every output channel has its
own scale, and a writer takes up any s for nothing. So s is chosen for the readers alone: their weights of all input
channels become alike in size, and few levels fit them all. What it costs is that activations spread more widely, and
eight bits bear that.
"""

import math
from collections.abc import Sequence

import torch

from intarsia.quantize.step import Step
from intarsia.quantize.transforms.channels import Tie, by_channel, channel_ties, readers, rescaled

_LEAST = 0.02  # of the greatest size: channels that training has all but removed are not blown up
_ZERO = 1e-12


def equalize(steps: Sequence[Step]) -> list[Step]:
    """Return steps of the same function in which readers' weights of all input channels have nearly one size.

    The size of a channel is the root mean square of the weights that read it, those of each output channel taken as
    parts of that channel's own. Where several layers read a channel, the greatest size counts; none grows more than
    fiftyfold against the greatest. Depthwise layers, which have a scale for every channel, ask for nothing. A tensor
    that is clipped elsewhere than at 0 (ReLU6), the input and the output are left alone.
    """
    clipped = {step.name for step in steps if not {step.floor, step.ceiling} <= {-math.inf, 0.0, math.inf}}
    changed = list(steps)
    for tie in channel_ties(steps, through_depthwise=False):
        if tie.free and tie.tensors.isdisjoint(clipped) and readers(steps, tie):
            sizes = channel_sizes(steps, tie)
            changed = rescaled(changed, tie, sizes.log().mean().exp() / sizes)
    return changed


def channel_sizes(steps: Sequence[Step], tie: Tie) -> torch.Tensor:
    """Return the size of the weights that read each channel of a tie with readers, (C,), none below a fiftieth of the
    greatest of its reader.
    """
    sizes = []
    for step in readers(steps, tie):
        weight = by_channel(step)
        parts = weight / weight.flatten(1).norm(dim=1).clamp_min(_ZERO)[:, None, None]
        own = parts.square().mean(dim=(0, 2)).sqrt()
        sizes.append(own.clamp_min(_LEAST * float(own.max().clamp_min(_ZERO))))
    return torch.stack(sizes).amax(dim=0)
