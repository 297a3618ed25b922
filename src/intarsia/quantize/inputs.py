# SPDX-License-Identifier: Apache-2.0
"""The input of a quantized network: how real values become its integers, and first layers that take on the rest.

An integer network's input has one scale and no zero-point. Where each channel has an offset and a step of its own (a
grid), as the columns of a table want, the layers that read the input take them over: with x = q · step + offset,
W · x + b = (W · step) · q + (b + W · offset), exactly.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import nn

from intarsia.errors import IntarsiaError
from intarsia.integer.formats import ActivationFormat
from intarsia.quantize.plan import read_plan
from intarsia.quantize.step import Step

#: What the layers that read an input can take over of a grid: steps and offsets, steps, or nothing.
Grids = Literal["offsets", "steps", "none"]


class Grid(Protocol):
    """Which real values the integers of each channel stand for: integer · step + offset."""

    @property
    def offsets(self) -> Sequence[float]: ...  # noqa: D102
    @property
    def steps(self) -> Sequence[float]: ...  # noqa: D102


class InputQuantizer(nn.Module):
    """Rounds real inputs (N, C, H, W) to 8-bit integers, halves to even, and clips them.

    Args:
        scale: what the first layers take one unit for; without a grid its real value.
        signed: whether integers are −128 … 127, or 0 … 255.
        grid: of the channels, if they have their own.
    """

    def __init__(self, scale: float, *, signed: bool, grid: Grid | None = None) -> None:
        super().__init__()
        self.scale, self.format = scale, ActivationFormat(8, signed=signed)
        self.offsets: torch.Tensor | None
        self.steps: torch.Tensor | None
        self.register_buffer("offsets", None if grid is None else _by_channel(grid.offsets), persistent=False)
        self.register_buffer("steps", None if grid is None else _by_channel(grid.steps), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the first layers read: integers times `scale`."""
        return self._integers(x) * self.scale

    def held(self, x: torch.Tensor) -> torch.Tensor:
        """Return the real values that the integers stand for."""
        whole = self._integers(x)
        return whole * self.scale if self.offsets is None or self.steps is None else whole * self.steps + self.offsets

    def _integers(self, x: torch.Tensor) -> torch.Tensor:
        whole = x / self.scale if self.offsets is None or self.steps is None else (x - self.offsets) / self.steps
        return torch.clamp(torch.round(whole), self.format.lo, self.format.hi)


def _by_channel(values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None, None]


def grids_of(model: nn.Module, shape: tuple[int, int, int]) -> Grids:
    """Return what the layers of a float network that read its input can take over of a grid.

    Args:
        model: a network of supported layers.
        shape: (channels, height, width) of its input.

    Raises:
        IntarsiaError: an operator is not supported.
    """
    return _taken(read_plan(model, shape))


def _taken(steps: Sequence[Step]) -> Grids:
    readers = [step for step in steps if "input" in step.inputs]
    if any(step.module is None for step in readers):
        return "none"
    return "steps" if any(any(step.padding) for step in readers) else "offsets"


@torch.no_grad()
def folded(steps: Sequence[Step], grid: Grid, scale: float) -> None:
    """Put a grid of the input into the weights and biases of the layers that read it, which from now on take integers
    times `scale` instead of real values.

    Raises:
        IntarsiaError: one of these layers cannot take it over.
    """
    taken = _taken(steps)
    if taken == "none" or (taken == "steps" and any(grid.offsets)):
        raise IntarsiaError(
            "the layers that read the input cannot take over an offset or a step for each channel (padding is zero in "
            "real values, and a sum or a pool has no weights); load the data with one scale, from_npz(…, grids='none')."
        )
    offsets, units = (torch.tensor(values, dtype=torch.float64) for values in (grid.offsets, grid.steps))
    for step in steps:
        if step.module is not None and "input" in step.inputs:
            _fold(step.module, offsets, units / scale)


def _fold(module: nn.Conv2d | nn.Linear, offsets: torch.Tensor, factors: torch.Tensor) -> None:
    weight = module.weight.double()
    by_feature = [_of_weights(module, values) for values in (offsets, factors)]
    shift = (weight * by_feature[0]).flatten(1).sum(1)
    if module.bias is None:
        module.bias = nn.Parameter(torch.zeros(len(weight)))
    module.bias.copy_(module.bias.double() + shift)
    module.weight.copy_(weight * by_feature[1])


def _of_weights(module: nn.Conv2d | nn.Linear, values: torch.Tensor) -> torch.Tensor:
    """Return values (C,) of the input's channels so that they can be multiplied with the weights that read them."""
    if isinstance(module, nn.Linear):
        return values.repeat_interleave(module.in_features // len(values))
    # Output channel o of group g reads the input channels from g · I on.
    outputs, each = module.weight.shape[:2]
    first = torch.arange(outputs) // (outputs // module.groups) * each
    return values[first[:, None] + torch.arange(each)][:, :, None, None]
