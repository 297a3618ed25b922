"""Weight quantizers: a tensor as the superposition of a dense and a sparse plane.

`SuperposedWeight` is a parametrization (`torch.nn.utils.parametrize`): the layer keeps its float weight, and
whoever reads `layer.weight` gets the sum of the planes.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from intarsia.integer.scales import LARGEST_SHIFT
from intarsia.quantize.activations import round_through, scale_gradient
from intarsia.quantize.patterns import Criterion, choose_positions, position_cost
from intarsia.quantize.scheme import LayerScheme

_HEADROOM = 1.25  # of a wide sparse format over the largest residual, because weights move in training


@dataclass(frozen=True)
class IntegerPlanes:
    """The planes of one layer as integers: weights by plane, multipliers (O,) by plane, one shift (O,)."""

    weights: tuple[torch.Tensor, ...]
    multipliers: tuple[torch.Tensor, ...]
    shift: torch.Tensor


def fit_multipliers(gains: torch.Tensor, scale_bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return multipliers m (P, O) and shifts s (O,) with m · 2^−s ≈ gains, one shift for all planes of a channel.

    `intarsia.integer.scales.fit_multipliers` on any device, for positive gains: the shift is the greatest at which the
    channel's largest multiplier fits `scale_bits`; no multiplier is 0.
    """
    top = float((1 << scale_bits) - 1)
    largest = gains.amax(dim=0).clamp_min(2.0**-60)
    shift = torch.floor(torch.log2((top + 0.49) / largest)).clamp(0, LARGEST_SHIFT)
    return torch.floor(gains * torch.exp2(shift) + 0.5).clamp(1.0, top), shift


def quantize_values(u: torch.Tensor, limit: int) -> torch.Tensor:
    """Round u to integers within ±limit; gradients pass, and only those of the step see the limit."""
    return round_through(torch.clamp(u, -float(limit), float(limit)))


class SuperposedWeight(nn.Module):
    """The sum of the planes of one layer, each with a learned scale for every output channel.

    The dense plane rounds every weight; the sparse plane rounds, at its fixed positions, what the dense plane
    leaves. Scales are learned (step gradients of Esser et al., 2020) as logarithms. Once `snap` was called, the
    scales are those that the integer network's multipliers can express, and training sees exactly them.
    """

    mask: torch.Tensor
    ratio: torch.Tensor

    def __init__(self, weight: torch.Tensor, scheme: LayerScheme, scale_bits: int) -> None:
        super().__init__()
        self.scheme, self.scale_bits = scheme, scale_bits
        self.formats = tuple(f for f in (scheme.dense, scheme.sparse) if f is not None)
        self.log_scales = nn.Parameter(torch.zeros(len(self.formats), weight.shape[0]))
        self.register_buffer("mask", torch.zeros_like(weight, dtype=torch.bool))
        self.register_buffer("ratio", torch.zeros(()))
        self._shape = (-1, *[1] * (weight.dim() - 1))
        per_channel = weight[0].numel()
        self._factors = [1.0 / math.sqrt(per_channel * f.limit) for f in self.formats]
        self.fit(weight.detach())

    @torch.no_grad()
    def fit(
        self, weight: torch.Tensor, *, criterion: Criterion = "residual", gradient: torch.Tensor | None = None
    ) -> None:
        """Choose scales and positions for a float weight by least squares, alternating between the two."""
        scheme = self.scheme
        if scheme.dense is not None:
            self.log_scales[0] = best_scales(weight, scheme.dense.limit).log()
        if scheme.sparse is None:
            return
        for _ in range(3 if scheme.dense is not None else 1):
            residual = weight - self._dense(weight)
            cost = position_cost(residual, gradient, criterion)
            self.mask.copy_(choose_positions(cost, scheme.pattern, scheme.density))
            if scheme.dense is not None:
                self.log_scales[0] = best_scales(weight, scheme.dense.limit, ~self.mask).log()
        residual = (weight - self._dense(weight)) * self.mask
        if scheme.sparse.limit >= 31:
            steps = residual.flatten(1).abs().amax(dim=1) * _HEADROOM / scheme.sparse.limit
        else:
            steps = best_scales(residual, scheme.sparse.limit, self.mask)
        self.log_scales[-1] = steps.clamp_min(1e-8).log()

    @torch.no_grad()
    def choose(
        self, weight: torch.Tensor, *, criterion: Criterion = "residual", gradient: torch.Tensor | None = None
    ) -> None:
        """Choose the positions anew for the present weight and the present scales."""
        if self.scheme.sparse is None:
            return
        cost = position_cost(weight - self._dense(weight), gradient, criterion)
        self.mask.copy_(choose_positions(cost, self.scheme.pattern, self.scheme.density))

    @torch.no_grad()
    def snap(self, ratio: float) -> None:
        """From now on use only scales that integers express; `ratio` is input step / output step."""
        self.ratio.fill_(ratio)

    def scales(self) -> torch.Tensor:
        """Return the step of every plane and channel, (P, O)."""
        free = self.log_scales.exp()
        safe = torch.where(self.ratio > 0, self.ratio, torch.ones_like(self.ratio))
        multipliers, shift = fit_multipliers((free * safe).detach(), self.scale_bits)
        snapped = multipliers * torch.exp2(-shift) / safe
        return torch.where(self.ratio > 0, free + (snapped - free).detach(), free)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the sum of the planes in real units, shape of `weight`."""
        total: torch.Tensor | None = None
        scales = self.scales()
        for number, format_ in enumerate(self.formats):
            step = scale_gradient(scales[number], self._factors[number]).view(self._shape)
            rest = weight if total is None else (weight - total) * self.mask
            if total is None and self.scheme.dense is None:
                rest = weight * self.mask
            u = rest / step
            plane = quantize_values(u, format_.limit) * step
            if number == 0:
                # Weights beyond the limit would get no gradient and never come back: let it pass for them.
                plane = plane + (rest - rest.detach()) * (u.detach().abs() > format_.limit)
            total = plane if total is None else total + plane
        if total is None:
            raise AssertionError("a layer has at least one plane")
        return total

    @torch.no_grad()
    def integers(self, weight: torch.Tensor) -> IntegerPlanes:
        """Return the planes as integers (after `snap`), int64."""
        gains = self.log_scales.exp() * self.ratio
        multipliers, shift = fit_multipliers(gains, self.scale_bits)
        rest, planes = weight, []
        scales = self.scales()
        for number, format_ in enumerate(self.formats):
            if format_ is self.scheme.sparse:
                rest = rest * self.mask
            step = scales[number].view(self._shape)
            values = quantize_values(rest / step, format_.limit)
            planes.append(values.to(torch.int64))
            rest = weight - values * step
        return IntegerPlanes(tuple(planes), tuple(multipliers.to(torch.int64)), shift.to(torch.int64))

    def _dense(self, weight: torch.Tensor) -> torch.Tensor:
        if self.scheme.dense is None:
            return torch.zeros_like(weight)
        step = self.scales()[0].detach().view(self._shape)
        return quantize_values(weight / step, self.scheme.dense.limit) * step


@torch.no_grad()
def best_scales(
    weight: torch.Tensor, limit: int, where: torch.Tensor | None = None, candidates: int = 64
) -> torch.Tensor:
    """Return for each output channel the step (O,) with the least squared rounding error.

    Args:
        weight: (O, …).
        limit: greatest magnitude of the integers.
        where: weights that count, same shape, bool; all by default.
        candidates: steps tried, from the one that clips nothing down to a tenth of it.
    """
    flat = weight.flatten(1)
    counts = torch.ones_like(flat) if where is None else where.flatten(1).to(flat.dtype)
    top = (flat.abs() * counts).amax(dim=1).clamp_min(1e-8) / limit
    best = top.clone()
    least = torch.full_like(top, float("inf"))
    for k in range(candidates):
        step = top * (1.0 - 0.9 * k / candidates)
        u = flat / step[:, None]
        error = flat - torch.floor(u.clamp(-limit, limit) + 0.5) * step[:, None]
        loss = (error.square() * counts).sum(dim=1)
        best = torch.where(loss < least, step, best)
        least = torch.minimum(loss, least)
    return best
