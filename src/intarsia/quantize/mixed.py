# SPDX-License-Identifier: Apache-2.0
"""Weight quantizer of a mix: several formats in one layer, each at its own channels, blocks or kernel taps."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from intarsia.integer.formats import MOST_TIE
from intarsia.quantize.patterns import position_cost, share_out
from intarsia.quantize.planes import (
    PlanedWeight,
    SuperposedWeight,
    best_steps,
    integer_values,
    roomy_steps,
)
from intarsia.quantize.scheme import LayerScheme, Mix
from intarsia.recipes import Criterion


class MixedWeight(PlanedWeight):
    """Planes that share out the weights: each rounds those at its own positions, whatever the others do.

    The most sensitive channels, blocks or taps, by the error that the format of the rest would make there, go to the
    first format, the next ones to the second, and so on.
    """

    masks: torch.Tensor

    def __init__(
        self,
        weight: torch.Tensor,
        mix: Mix,
        scale_bits: int,
        *,
        depthwise: bool = False,
        kernel: tuple[int, int] | None = None,
    ) -> None:
        formats = [form for form, _ in mix.parts]
        patterns = [mix.pattern for _ in formats]
        super().__init__(weight, [*formats, mix.rest], [*patterns, replace(mix.pattern, rest=True)], scale_bits, kernel)
        self.mix, self.depthwise = mix, depthwise
        everything = torch.ones_like(weight, dtype=torch.bool)
        self.register_buffer("masks", torch.stack([~everything for _ in formats] + [everything]))
        self.fit(weight.detach())

    @torch.no_grad()
    def fit(
        self, weight: torch.Tensor, *, criterion: Criterion = "residual", gradient: torch.Tensor | None = None
    ) -> None:
        """Choose scales and positions for a float weight by least squares, alternating between the two."""
        for _ in range(3):
            step = best_steps(weight, self.mix.rest, self.masks[-1])
            self._choose(weight, step, criterion, gradient)
        own = torch.stack(
            [roomy_steps(weight, form, mask) for form, mask in zip(self.formats, self.masks, strict=True)]
        ).log2()
        used = self.masks.flatten(2).any(dim=2)
        shifts = _shifts_between(own, used)
        counts = used.sum(dim=0).clamp_min(1)
        guess = ((own - torch.tensor(shifts)[:, None]) * used).sum(dim=0) / counts
        self._tie(weight, torch.exp2(guess), shifts)

    @torch.no_grad()
    def choose(
        self, weight: torch.Tensor, *, criterion: Criterion = "residual", gradient: torch.Tensor | None = None
    ) -> None:
        """Choose the positions again for the present weight and the present scales."""
        self._choose(weight, self.scales()[-1], criterion, gradient)

    def _choose(
        self, weight: torch.Tensor, steps: torch.Tensor, criterion: Criterion, gradient: torch.Tensor | None
    ) -> None:
        """Choose the positions by what the format of the rest, at `steps` (O,), would lose there."""
        step = steps.view(self._shape)
        residual = weight - integer_values(weight, step, self.mix.rest) * step
        cost = self.by_tap(position_cost(residual, gradient, criterion))
        chosen = share_out(cost, self.mix.pattern, [share for _, share in self.mix.parts], depthwise=self.depthwise)
        self.masks.copy_(torch.cat([chosen, ~chosen.any(dim=0, keepdim=True)]).reshape(self.masks.shape))

    def used(self) -> torch.Tensor:
        """Return which output channels have any position in a plane, bool (O,)."""
        return self.masks.flatten(2).any(dim=2).any(dim=0)

    def positions(self) -> Sequence[torch.Tensor]:
        """Return every plane's mask."""
        return tuple(self.masks)

    def split(
        self, weight: torch.Tensor, steps: Sequence[torch.Tensor], positions: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Return every plane's integers, as floats, with gradients."""
        planes = zip(self.formats, steps, positions, strict=True)
        return [integer_values(weight, step, form, unbounded=True) * mask for form, step, mask in planes]


def _shifts_between(steps: torch.Tensor, used: torch.Tensor) -> list[float]:
    """Return each plane's shift with respect to the finest: the mean over the channels that have several planes.

    Args:
        steps: logarithms to base 2 of the planes' own steps, (P, O).
        used: which of them count, (P, O).
    """
    several = used & (used.sum(dim=0) > 1)
    if not bool(several.any()):
        return [0.0] * len(steps)
    finest = torch.where(used, steps, math.inf).amin(dim=0)
    finest = torch.where(several.any(dim=0), finest, 0.0)
    means = ((steps - finest) * several).sum(dim=1) / several.sum(dim=1).clamp_min(1)
    found = torch.round(means)
    return [float(k) for k in (found - found.min()).clamp(0, MOST_TIE)]


def weight_quantizer(
    weight: torch.Tensor,
    scheme: LayerScheme,
    scale_bits: int,
    *,
    depthwise: bool = False,
    kernel: tuple[int, int] | None = None,
) -> PlanedWeight:
    """Return the quantizer of a layer's weight, fitted to it.

    Args:
        weight: (O, I, KH, KW), I = 1 if depthwise, or (O, I·KH·KW) of a linear layer.
        scheme: what it is made of.
        scale_bits: of the multipliers.
        depthwise: whether input channels are output channels.
        kernel: as in `PlanedWeight`.
    """
    if scheme.mix is not None:
        return MixedWeight(weight, scheme.mix, scale_bits, depthwise=depthwise, kernel=kernel)
    return SuperposedWeight(weight, scheme, scale_bits, depthwise=depthwise, kernel=kernel)
