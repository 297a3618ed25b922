# SPDX-License-Identifier: Apache-2.0
"""The loss of rounding an input to 8 bits, and grids of integers that lose little."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from intarsia.datasets.types import ChannelGrid, InputScaling, Stored

#: Root mean square error, in parts of a channel's standard deviation, from which rounding counts as coarse: the values
#: within two standard deviations fall on 23 integers then. On tables whose columns differ in size, 1.5 % of the inputs
#: get another class at a twentieth, 4 % at a seventh.
COARSE = 0.05

#: What the layers that read a network's input can take into their weights: a step for each channel, an offset too, or
#: nothing.
Grids = Literal["offsets", "steps", "none"]
#: What a first layer takes a unit of an input with a grid for: inputs from −1 to 1 leave its weights an ordinary size.
GRID_SCALE = 1 / 128

_SAMPLES = 1_000_000  # values that steps are searched on


@dataclass(frozen=True)
class InputRounding:
    """How far the integers of an input are from its real values: root mean square error over standard deviation.

    Attributes:
        overall: over all channels together, whatever their units.
        worst: of the channel that loses most.
        channel: which one that is.
    """

    overall: float
    worst: float
    channel: int


def input_rounding(images: Stored, scaling: InputScaling) -> InputRounding:
    """Measure what a scaling loses on inputs (N, C, H, W) as stored; channels that are constant count for nothing."""
    some = _some(images)
    wanted = scaling.reals(some).astype(np.float64)
    axes = (0, 2, 3)
    errors, spreads = np.square(scaling.held(some) - wanted).mean(axis=axes), wanted.var(axis=axes)
    varied = np.flatnonzero(spreads > 0)
    if not varied.size:
        return InputRounding(0.0, 0.0, 0)
    losses = np.sqrt(errors[varied] / spreads[varied])
    worst = int(losses.argmax())
    overall = float(np.sqrt(errors[varied].sum() / spreads[varied].sum()))
    return InputRounding(overall, float(losses[worst]), int(varied[worst]))


def own_scaling(offset: int, unit: float, images: Stored, grids: Grids) -> InputScaling:
    """Return the scaling of a user's own inputs (N, C, H, W) that are not bytes.

    One step for all of them, that of least squared error, or, where `grids` allows and less is lost so, a grid: for the
    columns of a table always, because each has its own meaning and unit, and a first layer whose weights are of one
    size is itself easier to quantize; for the channels of images and signals where one step is coarse for any of them.

    Args:
        offset, unit: of real values, see `InputScaling`.
        images: training inputs, as stored.
        grids: what the network's first layers can take into their weights.
    """
    base = InputScaling(offset, unit)
    values = base.reals(images).reshape(-1)
    values = values[:: max(1, len(values) // _SAMPLES)]
    signed = bool(values.min() < 0)
    one = InputScaling(offset, best_scale(values, signed=signed), unit, signed)
    loss, table = input_rounding(images, one).worst, images.shape[2:] == (1, 1)
    if grids == "none" or loss == 0.0 or (loss < COARSE and not table):
        return one
    reals = base.reals(_some(images))
    grid = _with_offsets(reals) if grids == "offsets" else _grid(np.zeros(reals.shape[1]), _steps(reals, signed=signed))
    own = InputScaling(offset, GRID_SCALE, unit, signed or grids == "offsets", grid)
    return own if input_rounding(images, own).worst < loss else one


def _with_offsets(reals: NDArray[np.float32]) -> ChannelGrid:
    """Return the grid of signed integers on which the least value of each channel is the least integer."""
    least = reals.min(axis=(0, 2, 3))
    steps = _steps(reals - least[:, None, None], signed=False)
    constant = steps == 0
    return _grid(least + np.where(constant, 0, 128 * steps), steps)


def _steps(reals: NDArray[np.float32], *, signed: bool) -> NDArray[np.float64]:
    """Return the best step of each channel; 0 where it is zero everywhere."""
    channels = [values.reshape(-1) for values in reals.transpose(1, 0, 2, 3)]
    return np.array([best_scale(values, signed=signed) if values.any() else 0.0 for values in channels])


def _grid(offsets: NDArray[np.float64], steps: NDArray[np.float64]) -> ChannelGrid:
    """Return a grid, rounded as it is used; a step of 0, of a channel that never varies, becomes one so small that its
    weights, which were never needed, vanish next to the others.
    """
    tiny = steps[steps > 0].min(initial=1.0) / 1024
    found = (values.astype(np.float32).tolist() for values in (offsets, np.where(steps == 0, tiny, steps)))
    return ChannelGrid(*map(tuple, found))


def _some(images: Stored) -> Stored:
    """Return inputs that are enough to measure on, spread over all."""
    return images[:: max(1, images.size // _SAMPLES)]


def best_scale(values: NDArray[np.float32], *, signed: bool) -> float:
    """Return the step of 8-bit integers that has the least squared error, at most the one that clips nothing.

    The error has narrow dips where the largest value falls on a step, so the best of 64 steps is searched
    around once more.
    """
    lo, hi = (-128, 127) if signed else (0, 255)
    most = float(np.abs(values).max())
    if most == 0:
        return 1.0
    wide = most / hi / 64
    coarse = _least(values, wide * np.arange(1, 65), lo, hi)
    fine = coarse + wide * np.arange(-15, 16) / 16
    return _least(values, fine[fine <= 64 * wide], lo, hi)


def _least(values: NDArray[np.float32], steps: NDArray[np.floating], lo: int, hi: int) -> float:
    errors = [np.square(np.clip(np.rint(values / step), lo, hi) * step - values).mean() for step in steps]
    return float(steps[int(np.argmin(errors))])
