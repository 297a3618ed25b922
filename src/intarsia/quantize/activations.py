# SPDX-License-Identifier: Apache-2.0
"""Activation quantizers with learned steps, and the rounding that every quantizer shares."""

import math
from typing import Any

import torch
from torch import nn

from intarsia.integer.formats import ActivationFormat

_BINS = 1 << 14
_NARROWEST = 0.85  # by how much the smallest step that is tried is below the one that clips nothing


class _RoundHalfUp(torch.autograd.Function):
    """Rounds half up; its gradient is that of its input. In half the passes over memory that arithmetic would take."""

    @staticmethod
    def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
        return (x + 0.5).floor_()

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


def round_through(x: torch.Tensor) -> torch.Tensor:
    """Round half up, as the integer network does; the gradient passes as if nothing were rounded."""
    found: torch.Tensor = _RoundHalfUp.apply(x)  # type: ignore[no-untyped-call]
    return found


def with_gradient_of(value: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return `value` exactly, with the gradient of a finite `x` of its shape."""
    return value.detach() + (x - x.detach())


def scale_gradient(x: torch.Tensor, factor: float) -> torch.Tensor:
    """Return a finite x exactly, with its gradient multiplied by `factor`."""
    return with_gradient_of(x, x * factor)


class ActivationQuantizer(nn.Module):
    """Quantizes a tensor to `format` with one learned step (Esser et al., Learned Step Size Quantization, 2020).

    The step is learned as its logarithm, so that one learning rate moves every step by the same part of itself.
    `fix` ends learning: from then on the step is a constant that integer multipliers were derived from.
    """

    log_scale: nn.Parameter
    fixed: torch.Tensor

    def __init__(self, format: ActivationFormat) -> None:
        super().__init__()
        self.format = format
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("fixed", torch.zeros(()))

    @torch.no_grad()
    def set_scale(self, scale: float) -> None:
        """Set the step, above 0."""
        self.log_scale.fill_(math.log(scale))

    @torch.no_grad()
    def fix(self) -> None:
        """Freeze the step at its present value; does nothing the second time."""
        if float(self.fixed) == 0.0:
            self.fixed.copy_(self.log_scale.exp())

    @torch.no_grad()
    def release(self) -> None:
        """Let the step learn again, beginning where it is."""
        self.log_scale.copy_(self.scale().log())
        self.fixed.zero_()

    def scale(self) -> torch.Tensor:
        """Return the step, a scalar."""
        return torch.where(self.fixed > 0, self.fixed, self.log_scale.exp())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the quantized tensor, in real units."""
        step = scale_gradient(self.scale(), 1.0 / math.sqrt(max(x[0].numel(), 1) * self.format.hi))
        lo, hi = float(self.format.lo), float(self.format.hi)
        return round_through(torch.clamp(x / step, lo, hi)) * step


def best_activation_scale(samples: torch.Tensor, format: ActivationFormat, candidates: int = 60) -> float:
    """Return the step with the least mean squared error on samples (any shape), searched from the maximum down.

    Errors are those of a histogram of the samples, of which the smallest step of 8 bits takes ten bins.
    """
    values = samples.flatten().float()
    least = float(values.min()) if format.signed else 0.0
    top = max(float(values.max()), -least)
    if top <= 0.0:
        return 1.0 / format.hi
    low = -top if format.signed else 0.0
    counts = torch.histc(values, _BINS, low, top)  # what lies below is zero to an unsigned format, and has no error
    centres = low + (torch.arange(_BINS) + 0.5) * ((top - low) / _BINS)
    steps = top / format.hi * (1.0 - _NARROWEST * torch.arange(candidates) / candidates)
    quantized = torch.clamp(torch.floor(centres / steps[:, None] + 0.5), format.lo, format.hi) * steps[:, None]
    errors = (quantized - centres).square() @ counts.cpu()
    return float(steps[errors.argmin()])
