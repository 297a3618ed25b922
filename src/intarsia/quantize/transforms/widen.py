# SPDX-License-Identifier: Apache-2.0
"""Wider layers of the same function: copies of channels, between which the readers' weights are split.

The copies are those of Net2WiderNet (Chen et al., Net2Net, 2016); that the channels hardest to quantize are copied, and
that their readers' weights are split with the rounding in mind, is outlier channel splitting (Zhao et al., Improving
Neural Network Quantization without Retraining using Outlier Channel Splitting, 2019).
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import torch

from intarsia.quantize.planes import SuperposedWeight
from intarsia.quantize.scheme import LayerScheme
from intarsia.quantize.step import Step
from intarsia.quantize.transforms.channels import channel_ties, float_weight, readers, reindexed


def widened_channels(channels: int, factor: float, multiple: int = 1) -> int:
    """Return how many channels a tensor of `channels` widens to: ⌈channels · factor⌉, up to the next multiple."""
    exact = channels * Fraction(str(factor))  # 1.1 · 10 is 11, not a little more
    return multiple * math.ceil(exact / multiple)


def widen(steps: Sequence[Step], schemes: Mapping[str, LayerScheme], factor: float, multiple: int = 1) -> list[Step]:
    """Return steps of the same function with more channels between the layers.

    All tied tensors of C channels get `widened_channels(C, factor, multiple)`: the C as they were, then the copies. The
    network's input and output, and all tensors tied to them, keep theirs. The channel copied next is the one in whose
    readers' weights the planes leave the greatest squared error, divided by the copies that it has already.

    Args:
        steps: of a float network; they stay as they are.
        schemes: of every weight layer, by name.
        factor: at least 1.
        multiple: of which the new channel counts are.
    """
    changed = list(steps)
    for tie in channel_ties(steps):
        reading = readers(changed, tie)
        extra = widened_channels(tie.channels, factor, multiple) - tie.channels
        if not (tie.free and reading and extra > 0):
            continue
        error = sum(_left_error(step, schemes[step.name]).sum(dim=(0, 2, 3)) for step in reading)
        copies = torch.ones(tie.channels, dtype=torch.int64)
        for _ in range(extra):
            copies[int((error / copies).argmax())] += 1
        split = _Split(copies, schemes)
        changed = reindexed(changed, tie, split.sources, split)
    return changed


class _Split:
    """Splits a reader's weights between the copies of its channels.

    Attributes:
        sources: (K,) the channel that each new channel copies: first every channel once, then the further copies.
    """

    def __init__(self, copies: torch.Tensor, schemes: Mapping[str, LayerScheme]) -> None:
        further = torch.arange(len(copies)).repeat_interleave(copies - 1)
        self.sources = torch.cat([torch.arange(len(copies)), further])
        same = self.sources[:, None] == self.sources[None, :]
        self.number = same.tril(-1).sum(dim=1)[None, :, None]  # of the copy among those of its channel, from 0
        self.copies = copies[self.sources][None, :, None]
        self.schemes = schemes

    def __call__(self, step: Step, weight: torch.Tensor) -> torch.Tensor:
        """Return the weights (O, K, R) of a reader for its weights (O, C, R).

        Equal parts would all be rounded the same way. So what the weight rounds to, t steps of the dense plane, is
        dealt out as whole steps, and only what is left is split equally.
        """
        scheme = self.schemes[step.name]
        whole = weight[:, self.sources]
        if scheme.dense is None:
            return whole / self.copies
        scale = _planes(step, scheme).scales()[0].detach()[:, None, None]
        limit = scheme.dense.limit * self.copies
        steps = torch.maximum(torch.minimum(torch.floor(whole / scale + 0.5), limit), -limit)
        dealt = torch.floor(steps / self.copies)
        dealt = dealt + (self.number < steps - dealt * self.copies)
        return dealt * scale + (whole - steps * scale) / self.copies


def _planes(step: Step, scheme: LayerScheme) -> SuperposedWeight:
    return SuperposedWeight(float_weight(step), scheme, 16, kernel=step.kernel)


@torch.no_grad()
def _left_error(step: Step, scheme: LayerScheme) -> torch.Tensor:
    """Return the squared error that the planes leave in each weight, (O, I, KH, KW)."""
    weight, planes = float_weight(step), _planes(step, scheme)
    return planes.by_tap((weight - planes(weight)).square())
