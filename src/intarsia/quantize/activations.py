"""Activation quantizers with learned steps, and the rounding that every quantizer shares."""

import math

import torch
from torch import nn

from intarsia.integer.formats import ActivationFormat


def round_through(x: torch.Tensor) -> torch.Tensor:
    """Round half up, as the integer network does; the gradient passes as if nothing were rounded."""
    return x + (torch.floor(x + 0.5) - x).detach()


def scale_gradient(x: torch.Tensor, factor: float) -> torch.Tensor:
    """Return x with its gradient multiplied by `factor`."""
    return x * factor + (x * (1.0 - factor)).detach()


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

    def scale(self) -> torch.Tensor:
        """Return the step, a scalar."""
        return torch.where(self.fixed > 0, self.fixed, self.log_scale.exp())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the quantized tensor, in real units."""
        step = scale_gradient(self.scale(), 1.0 / math.sqrt(max(x[0].numel(), 1) * self.format.hi))
        lo, hi = float(self.format.lo), float(self.format.hi)
        return round_through(torch.clamp(x / step, lo, hi)) * step


def best_activation_scale(samples: torch.Tensor, format: ActivationFormat, candidates: int = 60) -> float:
    """Return the step with the least mean squared error on samples (any shape), searched from the maximum down."""
    values = samples.flatten().float()
    if not format.signed:
        values = values.clamp_min(0.0)
    top = float(values.abs().max())
    if top == 0.0:
        return 1.0 / format.hi
    steps = [top / format.hi * (1.0 - 0.85 * k / candidates) for k in range(candidates)]
    errors = []
    for step in steps:
        quantized = torch.clamp(torch.floor(values / step + 0.5), format.lo, format.hi) * step
        errors.append(float((quantized - values).square().mean()))
    return steps[min(range(candidates), key=errors.__getitem__)]
