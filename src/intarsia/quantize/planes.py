# SPDX-License-Identifier: Apache-2.0
"""Weight quantizers: a tensor as the superposition of a dense and a sparse plane, and what all quantizers share.

A quantizer is a parametrization (`torch.nn.utils.parametrize`): the layer keeps its float weight, and whoever reads
`layer.weight` gets the sum of the planes.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from intarsia.integer.formats import Pattern, WeightFormat, greatest_tie
from intarsia.integer.scales import LARGEST_SHIFT
from intarsia.quantize.activations import round_through, scale_gradient, with_gradient_of
from intarsia.quantize.patterns import choose_positions, position_cost
from intarsia.quantize.scheme import LayerScheme
from intarsia.recipes import Criterion

#: Steps beyond which a weight's sign gets no gradient, so that the sign that is settled does not push its weight ever
#: further out (Courbariaux et al., Binarized Neural Networks, 2016, stop at 1, but clip the weights there, too).
BINARY_REACH = 3.0

_HEADROOM = 1.25  # of a wide sparse format over the largest residual, because weights move in training
_WIDE = 31  # limit of a format that has values to spare for headroom
_LEAST_STEP = 1e-8
#: Factors of the scale that is best for one plane, among which lies the best for all.
_TIED_SCALES = tuple(0.7 + 0.05 * number for number in range(13))
#: Dense steps that the sparse plane reaches at most; beyond, its own step is finer for nothing.
_LONGEST_REACH = 16


@dataclass(frozen=True)
class IntegerPlanes:
    """The planes of one layer as integers: weights (O, I, KH, KW) and a binary shift by plane; by channel, a multiplier
    and a shift (O,).
    """

    weights: tuple[torch.Tensor, ...]
    shifts: tuple[int, ...]
    multiplier: torch.Tensor
    shift: torch.Tensor


def fit_multipliers(
    gains: torch.Tensor,
    scale_bits: int,
    *,
    least_shift: torch.Tensor | None = None,
    largest_shift: float = LARGEST_SHIFT,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return multipliers m (P, O) and shifts s (O,) with m · 2^−s ≈ gains, one shift for each column.

    `intarsia.integer.scales.fit_multipliers` on any device, for positive gains: the shift is the greatest at which the
    column's largest multiplier fits `scale_bits`, but at least `least_shift`; no multiplier is 0.
    """
    top = float((1 << scale_bits) - 1)
    largest = gains.amax(dim=0).clamp_min(2.0**-60)
    shift = torch.floor(torch.log2((top + 0.49) / largest)).clamp(0.0, largest_shift)
    if least_shift is not None:
        shift = torch.maximum(shift, least_shift)
    return torch.floor(gains * torch.exp2(shift) + 0.5).clamp(1.0, top), shift


def integer_values(
    rest: torch.Tensor, step: torch.Tensor, form: WeightFormat, *, unbounded: bool = False
) -> torch.Tensor:
    """Return `rest` / `step` as integers of a format, exactly; gradients pass as if nothing were rounded.

    Beyond the limit only the step gets one, unless the gradient is to be `unbounded`: a weight that gets none would
    never come back. A binary value is a sign: its gradient passes to weights of up to `BINARY_REACH` steps and not to
    the step, which only multiplies it.
    """
    if form.has_zero:
        within = round_through(torch.clamp(rest / step, -float(form.limit), float(form.limit)))
        if not (unbounded and torch.is_grad_enabled()):
            return within
        u = rest / step.detach()
        return within + (u - u.detach()) * (u.detach().abs() > form.limit)
    u = rest / step.detach()
    return with_gradient_of(torch.where(u >= 0, 1.0, -1.0), torch.clamp(u, -BINARY_REACH, BINARY_REACH))


class PlanedWeight(nn.Module, ABC):
    """A quantizer of one layer's weights: planes that add up to one integer matrix with a learned scale for each output
    channel. Plane p counts 2^k_p-fold in it, so that its own step is 2^k_p of these.

    Scales are learned (step gradients of Esser et al., 2020) as logarithms. Once `snap` was called, the scales are
    those that the integer network's multipliers can express, and training sees exactly them.

    Args:
        weight: (O, I, KH, KW), or (O, I·KH·KW) of a linear layer.
        formats: of the planes, in order.
        patterns: of the planes, as the integer network names them.
        scale_bits: of the multipliers.
        kernel: height and width, if `weight` does not say them: of a linear layer's input, by default one pixel.
    """

    ratio: torch.Tensor
    shifts: torch.Tensor
    least_shift: torch.Tensor

    def __init__(
        self,
        weight: torch.Tensor,
        formats: Sequence[WeightFormat],
        patterns: Sequence[Pattern],
        scale_bits: int,
        kernel: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self._grid = (len(weight), -1, *(kernel or weight.shape[2:] or (1, 1)))
        self.formats, self.patterns, self.scale_bits = tuple(formats), tuple(patterns), scale_bits
        self.log_scale = nn.Parameter(torch.zeros(weight.shape[0]))
        self.register_buffer("shifts", torch.zeros(len(self.formats)))
        self.register_buffer("ratio", torch.zeros(()))
        self.register_buffer("least_shift", torch.zeros(()))
        self._shape = (-1, *[1] * (weight.dim() - 1))
        per_channel = weight[0].numel()
        self._factors = [1.0 / math.sqrt(per_channel * f.limit) for f in self.formats]

    @abstractmethod
    def fit(
        self, weight: torch.Tensor, *, criterion: Criterion = "residual", gradient: torch.Tensor | None = None
    ) -> None:
        """Choose scales and positions for a float weight by least squares, alternating between the two."""

    @abstractmethod
    def choose(
        self, weight: torch.Tensor, *, criterion: Criterion = "residual", gradient: torch.Tensor | None = None
    ) -> None:
        """Choose the positions again for the present weight and the present scales."""

    @abstractmethod
    def used(self) -> torch.Tensor:
        """Return which output channels have any position in a plane, bool (O,)."""

    @abstractmethod
    def positions(self) -> Sequence[torch.Tensor]:
        """Return the masks that `split` wants, each in the shape of the weight, bool."""

    @abstractmethod
    def split(
        self, weight: torch.Tensor, steps: Sequence[torch.Tensor], positions: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Return every plane's integers, as floats, with gradients.

        Each weight is split on its own, so this also takes some columns of weights.

        Args:
            weight: (O, …).
            steps: of every plane, in a shape that broadcasts over the weight.
            positions: masks in the shape of the weight.
        """

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the sum of the planes in real units, shape of `weight`: exactly what their integers say."""
        steps = self.steps()
        return _sum_of(self.split(weight, steps, self.positions()), steps)

    @torch.no_grad()
    def values(self, weight: torch.Tensor) -> list[torch.Tensor]:
        """Return every plane's integers, as floats."""
        return self.split(weight, [scale.view(self._shape) for scale in self.scales()], self.positions())

    @torch.no_grad()
    def by_columns(self) -> Callable[[torch.Tensor, slice], torch.Tensor]:
        """Return a function that rounds some columns, (O, columns), of the weight flattened to (O, …), as `forward`
        does, at the scales and positions of now.
        """
        steps = [scale[:, None] for scale in self.scales()]
        positions = [mask.flatten(1) for mask in self.positions()]

        def rounded(weight: torch.Tensor, columns: slice) -> torch.Tensor:
            return _sum_of(self.split(weight, steps, [mask[:, columns] for mask in positions]), steps)

        return rounded

    @torch.no_grad()
    def snap(self, ratio: float, *, least_shift: float = 0.0) -> None:
        """From now on use only scales that integers express; `ratio` is input step / output step, `least_shift` that of
        every channel's requantization.
        """
        self.ratio.fill_(ratio)
        self.least_shift.fill_(least_shift)

    @torch.no_grad()
    def release(self) -> None:
        """Let scales learn freely again, beginning with those in use."""
        self.log_scale.copy_(torch.where(self.used(), self.scale().log(), self.log_scale))
        self.ratio.zero_()
        self.least_shift.zero_()

    def scale(self) -> torch.Tensor:
        """Return the real value of a unit of the integer matrix in every channel, (O,)."""
        free = self.log_scale.exp()
        safe = torch.where(self.ratio > 0, self.ratio, torch.ones_like(self.ratio))
        multiplier, shift = self._multiplier(free * safe)
        snapped = multiplier * torch.exp2(-shift) / safe
        return torch.where(self.ratio > 0, with_gradient_of(snapped, free), free)

    def scales(self) -> torch.Tensor:
        """Return the step of every plane and channel, (P, O)."""
        return self.scale() * torch.exp2(self.shifts)[:, None]

    @torch.no_grad()
    def integers(self, weight: torch.Tensor) -> IntegerPlanes:
        """Return the planes as integers (after `snap`), int64."""
        multiplier, shift = self._multiplier(self.log_scale.exp() * self.ratio)
        values = tuple(self.by_tap(plane.to(torch.int64)) for plane in self.values(weight))
        shifts = tuple(int(k) for k in self.shifts)
        return IntegerPlanes(values, shifts, multiplier.to(torch.int64), shift.to(torch.int64))

    def by_tap(self, weight: torch.Tensor) -> torch.Tensor:
        """Return weights, or what belongs to each, as (O, I, KH, KW), in which patterns count."""
        return weight.reshape(self._grid)

    def steps(self) -> list[torch.Tensor]:
        """Return every plane's step in the shape that broadcasts over the weight, its gradient scaled down."""
        scales = zip(self.scales(), self._factors, strict=True)
        return [scale_gradient(scale, factor).view(self._shape) for scale, factor in scales]

    @torch.no_grad()
    def requantization_shift(self) -> torch.Tensor:
        """Return the shift of every channel's requantization (after `snap`), (O,)."""
        return self._multiplier(self.log_scale.exp() * self.ratio)[1]

    def _multiplier(self, gains: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # A channel without a weight has no use for a gain.
        gains = gains.detach()[None] * self.used()
        multiplier, shift = fit_multipliers(gains, self.scale_bits, least_shift=self.least_shift)
        return multiplier[0], shift

    @torch.no_grad()
    def _tie(self, weight: torch.Tensor, guess: torch.Tensor, shifts: Sequence[float]) -> torch.Tensor:
        """Let planes count 2^shifts-fold and set each channel's scale, near `guess` (O,), to the one with the least
        squared error of all planes together; return that error (O,).
        """
        self.shifts.copy_(torch.tensor(shifts))
        best, least = guess, torch.full_like(guess, math.inf)
        masks = self.positions()
        for factor in _TIED_SCALES:
            steps = [(guess * factor * 2.0**k).view(self._shape) for k in shifts]
            error = (weight - _sum_of(self.split(weight, steps, masks), steps)).flatten(1).square().sum(1)
            best = torch.where(error < least, guess * factor, best)
            least = torch.minimum(error, least)
        self.log_scale.copy_(best.clamp_min(_LEAST_STEP).log())
        return least


class SuperposedWeight(PlanedWeight):
    """The sum of a dense and a sparse plane, or one of them alone.

    The dense plane rounds every weight; the sparse plane rounds, at its chosen positions, what the dense plane leaves.
    """

    mask: torch.Tensor

    def __init__(
        self,
        weight: torch.Tensor,
        scheme: LayerScheme,
        scale_bits: int,
        *,
        depthwise: bool = False,
        kernel: tuple[int, int] | None = None,
    ) -> None:
        planes = [(scheme.dense, Pattern()), (scheme.sparse, scheme.pattern)]
        present = [(form, pattern) for form, pattern in planes if form is not None]
        formats, patterns = [form for form, _ in present], [pattern for _, pattern in present]
        super().__init__(weight, formats, patterns, scale_bits, kernel)
        self.scheme, self.depthwise = scheme, depthwise
        self.register_buffer("mask", torch.zeros_like(weight, dtype=torch.bool))
        self.fit(weight.detach())

    @torch.no_grad()
    def fit(
        self, weight: torch.Tensor, *, criterion: Criterion = "residual", gradient: torch.Tensor | None = None
    ) -> None:
        """Choose scales and positions for a float weight by least squares, alternating between the two."""
        dense, sparse = self.scheme.dense, self.scheme.sparse
        if dense is None:
            assert sparse is not None  # noqa: S101 (a scheme has one of them)
            self.choose(weight, criterion=criterion, gradient=gradient)
            self.log_scale.copy_(roomy_steps(weight, sparse, self.mask).log())
            return
        self.shifts.zero_()
        self.log_scale.copy_(best_steps(weight, dense).log())
        if sparse is None:
            return
        for _ in range(3):
            self.choose(weight, criterion=criterion, gradient=gradient)
            step = best_steps(weight, dense, ~self.mask)
            self.log_scale.copy_(step.log())
        errors = {k: float(self._tie(weight, step / 2.0**k, (k, 0)).sum()) for k in tied_shifts(sparse)}
        best = min(errors, key=lambda k: errors[k])
        self._tie(weight, step / 2.0**best, (best, 0))

    @torch.no_grad()
    def choose(
        self, weight: torch.Tensor, *, criterion: Criterion = "residual", gradient: torch.Tensor | None = None
    ) -> None:
        """Choose the positions again for the present weight and the present scales."""
        if self.scheme.sparse is None:
            return
        cost = self.by_tap(position_cost(weight - self._dense(weight), gradient, criterion))
        chosen = choose_positions(cost, self.scheme.pattern, self.scheme.density, depthwise=self.depthwise)
        self.mask.copy_(chosen.reshape(weight.shape))

    def used(self) -> torch.Tensor:
        """Return which output channels have any position in a plane, bool (O,)."""
        sparse = self.mask.flatten(1).any(dim=1)
        return torch.ones_like(sparse) if self.scheme.dense is not None else sparse

    def positions(self) -> Sequence[torch.Tensor]:
        """Return the sparse plane's mask."""
        return (self.mask,)

    def split(
        self, weight: torch.Tensor, steps: Sequence[torch.Tensor], positions: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Return every plane's integers, as floats, with gradients."""
        (mask,) = positions
        if self.scheme.dense is None:
            return [integer_values(weight * mask, steps[0], self.formats[0], unbounded=True)]
        dense = integer_values(weight, steps[0], self.formats[0], unbounded=True)
        if self.scheme.sparse is None:
            return [dense]
        return [dense, integer_values((weight - dense * steps[0]) * mask, steps[1], self.formats[1])]

    def _dense(self, weight: torch.Tensor) -> torch.Tensor:
        if self.scheme.dense is None:
            return torch.zeros_like(weight)
        step = self.scales()[0].detach().view(self._shape)
        return integer_values(weight, step, self.scheme.dense) * step


def tied_shifts(sparse: WeightFormat) -> range:
    """Return the shifts of a dense plane, with respect to a sparse one of a format, that are worth trying: its greatest
    value is worth 1 to 16 dense steps.
    """
    most = greatest_tie(sparse)
    return range(min(most, max(0, math.ceil(math.log2(sparse.limit / _LONGEST_REACH)))), most + 1)


def _sum_of(planes: Sequence[torch.Tensor], steps: Sequence[torch.Tensor]) -> torch.Tensor:
    first, *others = (plane * step for plane, step in zip(planes, steps, strict=True))
    return sum(others, first)


@torch.no_grad()
def best_steps(weight: torch.Tensor, form: WeightFormat, where: torch.Tensor | None = None) -> torch.Tensor:
    """Return for each output channel the step (O,) of a format with the least squared rounding error.

    For signs that is the mean magnitude (Rastegari et al., XNOR-Net, 2016); for others, see `best_scales`.

    Args:
        weight: (O, …).
        form: of the plane.
        where: weights that count, same shape, bool; all by default, and in channels where none does.
    """
    counts = None if where is None else where | ~where.flatten(1).any(dim=1).view(-1, *[1] * (weight.dim() - 1))
    if form.has_zero:
        return best_scales(weight, form.limit, counts)
    flat = weight.flatten(1).abs()
    weights = torch.ones_like(flat) if counts is None else counts.flatten(1).to(flat.dtype)
    return ((flat * weights).sum(dim=1) / weights.sum(dim=1)).clamp_min(_LEAST_STEP)


@torch.no_grad()
def roomy_steps(weight: torch.Tensor, form: WeightFormat, where: torch.Tensor) -> torch.Tensor:
    """Return steps (O,) as `best_steps`, but that clip nothing, with room to grow, where a format has values enough."""
    if form.limit < _WIDE:
        return best_steps(weight, form, where).clamp_min(_LEAST_STEP)
    counts = where | ~where.flatten(1).any(dim=1).view(-1, *[1] * (weight.dim() - 1))
    largest = (weight * counts).flatten(1).abs().amax(dim=1)
    return (largest * _HEADROOM / form.limit).clamp_min(_LEAST_STEP)


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
