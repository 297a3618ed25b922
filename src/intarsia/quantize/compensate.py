"""Rounding that makes up for itself: each weight's error is spread over the weights that are not rounded yet.

Frantar et al., GPTQ (2023), after Hassibi and Stork, Optimal Brain Surgeon (1993), for planes: a column of weights (one
input of all output channels) is rounded to its planes, and what that does to the layer's output on calibration inputs
is taken back, as far as can be, by changing the columns after it.
"""

import torch
from torch import nn
from torch.nn import functional

from intarsia.quantize.planes import PlanedWeight
from intarsia.quantize.step import Step

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
    seen, meant = (_rows(step, x) for x in (found, wanted))
    flat = weight.reshape(len(seen), -1, seen.shape[2])  # groups of outputs that see the same inputs
    seen, target = (rows - rows.mean(1, keepdim=True) for rows in (seen, meant))  # means are for the bias to make up
    squares = seen.mT @ seen
    level = (_DAMPING * squares.diagonal(dim1=1, dim2=2).mean(1)).clamp_min(_LEAST)
    damping = torch.eye(squares.shape[1]) * level[:, None, None]
    gram = squares + damping
    # First the float weights that come nearest to the float outputs on the inputs as they are now.
    result = flat @ torch.linalg.solve(gram, seen.mT @ target + damping).mT
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(gram)), upper=True)

    def rounded() -> torch.Tensor:
        sums: torch.Tensor = planes(result.reshape(weight.shape))
        return sums.reshape(result.shape)

    for column in range(gram.shape[1]):
        error = (result - rounded())[:, :, column, None] / upper[:, column, column, None, None]
        result[:, :, column + 1 :] -= error * upper[:, None, column, column + 1 :]
    gains = _gains(rounded(), flat, seen, target)
    rest = torch.lerp(rounded(), result, _REMAINDER)
    planes.log_scales.add_(gains.flatten().log())
    return (rest * gains[:, :, None]).reshape(weight.shape)


def _gains(rounded: torch.Tensor, weight: torch.Tensor, seen: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return what each channel's steps have to be multiplied by for the least squared error of its output, (G, O/G)."""
    found, wanted = seen @ rounded.mT, target @ weight.mT
    gain = (found * wanted).sum(1) / found.square().sum(1).clamp_min(_LEAST)
    return gain.clamp(1 / _MOST_GAIN, _MOST_GAIN)


def _rows(step: Step, x: torch.Tensor) -> torch.Tensor:
    """Return a layer's inputs as rows for each group of its output channels, (groups, samples, inputs · taps)."""
    module = step.module
    assert module is not None  # noqa: S101 (weights are asked for)
    if isinstance(module, nn.Linear):
        return x.flatten(1)[None]
    return _patches(module, functional.pad(x, _around(step))).transpose(0, 1).contiguous()


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
    found = windows[image, :, place // columns, place % columns]
    return found.reshape(len(chosen), module.groups, -1)


def _around(step: Step) -> tuple[int, int, int, int]:
    top, left, bottom, right = step.padding
    return left, right, top, bottom
