# SPDX-License-Identifier: Apache-2.0
"""Rounding that makes up for itself: each weight's error is spread over the weights that are not rounded yet.

Frantar et al., GPTQ (2023), after Hassibi and Stork, Optimal Brain Surgeon (1993), for planes: a column of weights (one
input of all output channels) is rounded to its planes, and what that does to the layer's output on calibration inputs
is taken back, as far as can be, by changing the columns after it.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from intarsia.quantize.planes import PlanedWeight
from intarsia.quantize.step import Step

_ROWS = 20_000  # of inputs that a layer's statistics are taken from
_PIECE = 64  # images, in each of which places are counted again
_DAMPING = 0.01  # of the mean of their squares
_MOST_GAIN = 2.0  # of a channel's steps, either way
_REMAINDER = 0.2  # of what rounding took away, that a weight keeps
_BLOCK = 128  # columns whose errors reach the later ones together
_LEAST = 1e-9  # damping of inputs that are all zero


@torch.no_grad()
def compensated(
    step: Step,
    weight: torch.Tensor,
    planes: PlanedWeight,
    found: torch.Tensor,
    wanted: torch.Tensor,
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> torch.Tensor:
    """Return weights whose rounding gives the layer's output with the least squared error.

    Args:
        step: a convolution or a linear layer.
        weight: the float weights, (O, I, KH, KW) or (O, I).
        planes: round them; scales and positions stay.
        found: the layer's input as the quantized network has it, (N, …).
        wanted: the same in the float network.
        progress: called with the number of columns (inputs of an output channel) that were rounded.

    Returns:
        Float weights, as many, on which the planes have to be read. They lie near what they are rounded to: training
        that begins here does not round them again at the first small step, which would undo all of this.
    """
    squares, products = _statistics(step, found, wanted)
    flat = weight.reshape(len(squares), -1, squares.shape[1])  # groups of outputs that see the same inputs
    level = (_DAMPING * squares.diagonal(dim1=1, dim2=2).mean(1)).clamp_min(_LEAST)
    damping = torch.eye(squares.shape[1]) * level[:, None, None]
    lower = torch.linalg.cholesky(squares + damping)
    # First the float weights that come nearest to the float outputs on the inputs as they are now.
    result = flat @ torch.cholesky_solve(products + damping, lower).mT
    upper = torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)
    rounded = _round_in_turn(result, upper, planes, progress)
    gains = _gains(rounded, flat, squares, products)
    rest = torch.lerp(rounded, result, _REMAINDER)
    planes.log_scale.add_(gains.flatten().log())
    return (rest * gains[:, :, None]).reshape(weight.shape)


def _round_in_turn(
    weights: torch.Tensor, upper: torch.Tensor, planes: PlanedWeight, progress: Callable[[int], object]
) -> torch.Tensor:
    """Round one column after the other, each as the errors of those before it have changed it, in place; return what
    they are rounded to.

    Within a block of columns each changes the next ones at once; those after the block take the errors of all of it
    together, as one product of matrices (the lazy updates of GPTQ).

    Args:
        weights: (groups, outputs, columns).
        upper: the triangular factor of the inverse Gram matrix of each group's inputs, (groups, columns, columns).
        planes: of all outputs, (groups · outputs, …).
        progress: called with the number of columns after each block.
    """
    groups, outputs, columns = weights.shape
    round_columns = planes.by_columns()
    rounded = torch.empty_like(weights)
    for start in range(0, columns, _BLOCK):
        block = slice(start, min(start + _BLOCK, columns))
        left, factors = weights[:, :, block].clone(), upper[:, block, block]
        errors = torch.empty_like(left)
        for number in range(left.shape[2]):
            one, behind = slice(number, number + 1), slice(number + 1, None)
            column = slice(start + number, start + number + 1)
            found = round_columns(left[:, :, one].reshape(-1, 1), column).reshape(groups, outputs, 1)
            errors[:, :, one] = (left[:, :, one] - found) / factors[:, one, one]
            left[:, :, behind] -= errors[:, :, one] * factors[:, one, behind]
            rounded[:, :, column] = found
        weights[:, :, block] = left
        weights[:, :, block.stop :] -= errors @ upper[:, block, block.stop :]
        progress(left.shape[2])
    return rounded


def _gains(rounded: torch.Tensor, weight: torch.Tensor, squares: torch.Tensor, products: torch.Tensor) -> torch.Tensor:
    """Return what each channel's steps have to be multiplied by for the least squared error of its output, (G, O/G).

    Args:
        rounded: weights, (G, O/G, columns).
        weight: those that give the wanted output.
        squares: of the layer's inputs with themselves, (G, columns, columns).
        products: of the layer's inputs with those of the float network.
    """
    matched = ((rounded @ products) * weight).sum(2)
    gain = matched / ((rounded @ squares) * rounded).sum(2).clamp_min(_LEAST)
    return gain.clamp(1 / _MOST_GAIN, _MOST_GAIN)


def _statistics(step: Step, found: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the products of a layer's inputs with themselves, and with those of the float network.

    Both are sums over samples, less the inputs' means, which are for the bias to make up; (groups, columns, columns)
    for each group of output channels, columns in the order of its weights.
    """
    seen, target = (_rows(step, x) for x in (found, wanted))
    taps = step.kernel[0] * step.kernel[1]
    squares, products = (_channels_first(seen.mT @ rows, taps) for rows in (seen, target))
    return squares, products


def _channels_first(products: torch.Tensor, taps: int) -> torch.Tensor:
    """Return products (groups, taps · inputs, taps · inputs) in the order of weights, which is inputs · taps."""
    groups, columns = products.shape[:2]
    split = products.view(groups, taps, columns // taps, taps, columns // taps)
    return split.permute(0, 2, 1, 4, 3).reshape(groups, columns, columns)


def _rows(step: Step, x: torch.Tensor) -> torch.Tensor:
    """Return a layer's inputs, less their means, as rows for each group of its output channels, (groups, samples,
    taps · inputs): as they lie in memory.
    """
    module = step.module
    assert module is not None  # noqa: S101 (weights are asked for)
    if isinstance(module, nn.Linear):
        rows = x.flatten(1)[None]
        return rows - rows.mean(1, keepdim=True)
    seen = _patches(module, functional.pad(x, _around(step))).permute(0, 2, 3, 1)
    samples, groups, columns = len(seen), module.groups, seen[0].numel() // module.groups
    rows = seen.reshape(samples, -1, groups, seen.shape[3] // groups).permute(2, 0, 1, 3)
    rows = rows.reshape(groups, samples, columns)
    return rows.sub_(rows.mean(1, keepdim=True))


def _patches(module: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """Return what the kernel sees at places spread over all images, (samples, inputs, KH, KW)."""
    (tall, wide), (down, right) = module.kernel_size, module.stride
    windows = x.unfold(2, tall, down).unfold(3, wide, right)  # a view: only the places that count are copied
    rows, columns = windows.shape[2:4]
    places = rows * columns
    every = max(1, len(x) * places // _ROWS)
    starts = range(0, len(x) * places, _PIECE * places)
    chosen = torch.cat([torch.arange(start, min(start + _PIECE * places, len(x) * places), every) for start in starts])
    image, place = chosen // places, chosen % places
    return windows[image, :, place // columns, place % columns]


def _around(step: Step) -> tuple[int, int, int, int]:
    top, left, bottom, right = step.padding
    return left, right, top, bottom
