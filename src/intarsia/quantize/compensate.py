"""Rounding that makes up for itself: each weight's error is spread over the weights that are not rounded yet.

Frantar et al., GPTQ (2023), after Hassibi and Stork, Optimal Brain Surgeon (1993), for planes: a column of weights (one
input of all output channels) is rounded to its planes, and what that does to the layer's output on calibration inputs
is taken back, as far as can be, by changing the columns after it.
"""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional

from intarsia.quantize.plan import Step
from intarsia.quantize.planes import PlanedWeight

_ROWS = 20_000  # of inputs that a layer's statistics are taken from
_PIECE = 64  # images, in each of which places are counted anew
_DAMPING = 0.01  # of the mean of their squares
_MOST_GAIN = 2.0  # of a channel's steps, either way
_REMAINDER = 0.2  # of what rounding took away, that a weight keeps
_LEAST = 1e-9  # damping of inputs that are all zero


@torch.no_grad()
def compensated(
    step: Step, weight: torch.Tensor, planes: PlanedWeight, found: torch.Tensor, wanted: torch.Tensor
) -> torch.Tensor:
    """Return weights whose rounding gives the layer's output with the least squared error.

    Args:
        step: a convolution or a linear layer.
        weight: the float weights, (O, I, KH, KW) or (O, I).
        planes: round them; scales and positions stay.
        found: the layer's input as the quantized network has it, (N, …).
        wanted: the same in the float network.

    Returns:
        Float weights, as many, on which the planes have to be read. They lie near what they are rounded to: training
        that begins here does not round them anew at the first small step, which would undo all of this.
    """
    result = weight.clone().reshape(weight.shape[0], -1)
    gains = torch.ones(len(result))
    for outputs, seen, meant in _groups(step, found, wanted):
        rows, target = seen - seen.mean(0), meant - meant.mean(0)  # their means are for the bias to make up
        squares, flat = rows.T @ rows, result[outputs]
        damping = torch.eye(len(squares)) * (_DAMPING * squares.diagonal().mean()).clamp_min(_LEAST)
        gram = squares + damping
        # First the float weights that come nearest to the float outputs on the inputs as they are now.
        result[outputs] = flat @ torch.linalg.solve(gram, rows.T @ target + damping).T
        upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(gram)), upper=True)
        for column in range(len(gram)):
            rounded = planes(result.view_as(weight)).reshape(weight.shape[0], -1)[outputs, column]
            error = (result[outputs, column] - rounded) / upper[column, column]
            result[outputs, column + 1 :] -= torch.outer(error, upper[column, column + 1 :])
        gains[outputs] = _gains(planes(result.view_as(weight)).reshape_as(result)[outputs], flat, rows, target)
    rounded = planes(result.view_as(weight)).view_as(result)
    planes.log_scales.add_(gains.log())
    return (torch.lerp(rounded, result, _REMAINDER) * gains[:, None]).view_as(weight)


def _gains(rounded: torch.Tensor, weight: torch.Tensor, rows: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return what each channel's steps have to be multiplied by for the least squared error of its output, (O,)."""
    found, wanted = rows @ rounded.T, target @ weight.T
    gain = (found * wanted).sum(0) / found.square().sum(0).clamp_min(_LEAST)
    return gain.clamp(1 / _MOST_GAIN, _MOST_GAIN)


def _groups(
    step: Step, found: torch.Tensor, wanted: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yield the output channels that see the same inputs, and these as rows (samples, inputs · taps)."""
    module = step.module
    assert module is not None  # noqa: S101 (weights are asked for)
    if isinstance(module, nn.Linear):
        yield torch.arange(module.weight.shape[0]), found.flatten(1), wanted.flatten(1)
        return
    each = module.weight.shape[0] // module.groups
    rows, target = (_patches(module, functional.pad(x, _around(step))) for x in (found, wanted))
    for group, (own, float_own) in enumerate(zip(rows.unbind(1), target.unbind(1), strict=True)):
        yield torch.arange(group * each, (group + 1) * each), own, float_own


def _patches(module: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """Return what the kernel sees at places spread over all images, (samples, groups, inputs · taps)."""
    (tall, wide), (down, right) = module.kernel_size, module.stride
    windows = x.unfold(2, tall, down).unfold(3, wide, right)  # a view: only the places that count are copied
    rows, columns = windows.shape[2:4]
    places = rows * columns
    every = max(1, len(x) * places // _ROWS)
    starts = range(0, len(x) * places, _PIECE * places)
    chosen = torch.cat([torch.arange(start, min(start + _PIECE * places, len(x) * places), every) for start in starts])
    image, place = chosen // places, chosen % places
    found = windows[image, :, place // columns, place % columns].contiguous()
    return found.reshape(len(chosen), module.groups, -1)


def _around(step: Step) -> tuple[int, int, int, int]:
    top, left, bottom, right = step.padding
    return left, right, top, bottom
