# SPDX-License-Identifier: Apache-2.0
"""Factors and offsets (normalization, arithmetic with constants): folded into a neighbour, else a layer of their own.

The layer before takes them up, if nothing else reads its result (`fold_back`). Else those after take them up where that
is exact: all of them read the tensor alone, and what a convolution pads with is not an offset. What is left follows the
pool after it, which has fewer pixels, or stands alone as a depthwise convolution with a 1×1 kernel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from intarsia.quantize.operators import unsupported
from intarsia.quantize.step import Shape, Step, convolution, with_weights


@dataclass(frozen=True, eq=False)
class Affine:
    """`x · factor + offset`; both (C, H, W), in double precision."""

    factor: torch.Tensor
    offset: torch.Tensor

    @classmethod
    def of(cls, shape: Shape, factor: torch.Tensor, offset: torch.Tensor) -> "Affine":
        """Return what a factor and an offset, which broadcast to a tensor's shape, do to it."""
        return cls(factor.double().broadcast_to(shape), offset.double().broadcast_to(shape))

    def after(self, first: "Affine") -> "Affine":
        """Return what `first` and then this do."""
        return Affine(self.factor * first.factor, self.factor * first.offset + self.offset)

    @property
    def does_nothing(self) -> bool:
        """Whether this leaves everything as it is."""
        return bool((self.factor == 1).all() and (self.offset == 0).all())

    def per_channel(self) -> "Affine | None":
        """Return this for one pixel, if a channel's pixels share a factor and an offset."""
        one = Affine(self.factor[:, :1, :1], self.offset[:, :1, :1])
        return one if bool((self.factor == one.factor).all() and (self.offset == one.offset).all()) else None


@torch.no_grad()
def fold_back(step: Step, affine: Affine) -> Step | None:
    """Return a weight layer that does to its results what comes after it; None if that differs between pixels."""
    one = affine.per_channel()
    if one is None or step.module is None:
        return None
    factor, offset = one.factor.flatten(), one.offset.flatten()
    weight = step.module.weight.double()
    bias = torch.zeros_like(offset) if step.module.bias is None else step.module.bias.double()
    weight = weight * factor.reshape(-1, *[1] * (weight.dim() - 1))
    return with_weights(step, weight.float(), (bias * factor + offset).float())


def settled(steps: Sequence[Step], affines: Mapping[str, Affine]) -> list[Step]:
    """Return the steps of a network without the affine ones that others can take up, and the rest as weight layers.

    Args:
        steps: in order, those of the kind `affine` without a module.
        affines: what these do, by name.

    Raises:
        IntarsiaError: one that is left has values of its own for every pixel.
    """
    network = _Network({step.name: step for step in steps}, dict(affines))
    for name in reversed(list(affines)):
        while network.follow_pool(name):
            pass
        network.fold_forward(name)
    return [network.finished(step) for step in network.steps.values()]


@dataclass(eq=False)
class _Network:
    steps: dict[str, Step]
    affines: dict[str, Affine]

    def readers(self, name: str) -> list[Step]:
        return [step for step in self.steps.values() if name in step.inputs]

    def follow_pool(self, name: str) -> bool:
        """Exchange an affine step and the pool that alone reads it; return whether that was possible."""
        affine, readers = self.affines[name].per_channel(), self.readers(name)
        if affine is None or self.steps[name].clipped or len(readers) != 1 or not _keeps(readers[0], affine):
            return False
        step, pool = self.steps[name], readers[0]
        self.affines[name] = Affine.of(pool.shape, affine.factor, affine.offset)
        moved = {
            pool.name: replace(pool, inputs=step.inputs),
            name: replace(step, inputs=(pool.name,), shape=pool.shape),
        }
        changed: dict[str, Step] = {}
        for other in self.steps.values():
            if other is pool:
                changed |= moved
            elif other is not step:
                changed[other.name] = _reading(other, pool.name, name)
        self.steps = changed
        return True

    def fold_forward(self, name: str) -> None:
        """Let the readers of an affine step take it up, if all of them can."""
        step, affine, readers = self.steps[name], self.affines[name], self.readers(name)
        folded = [reader if reader.name in self.affines else _taking(reader, affine) for reader in readers]
        if step.clipped or not folded or None in folded:
            return
        for reader in folded:
            assert reader is not None  # noqa: S101 (for the type checker)
            self.steps[reader.name] = _reading(reader, name, step.inputs[0])
            if reader.name in self.affines:
                self.affines[reader.name] = self.affines[reader.name].after(affine)
        del self.steps[name], self.affines[name]

    def finished(self, step: Step) -> Step:
        """Return an affine step that is left as a weight layer; others as they are."""
        if step.name not in self.affines:
            return step
        one = self.affines[step.name].per_channel()
        if one is None:
            advice = "give one to each channel, or put it right before a Linear"
            raise unsupported(step.name, "a factor or an offset for each pixel", advice)
        weight = one.factor[:, None]
        depthwise = len(weight) > 1
        return replace(
            step, module=convolution(weight, one.offset.flatten(), (1, 1), (0, 0, 0, 0), depthwise=depthwise)
        )


def _reading(step: Step, old: str, new: str) -> Step:
    """Return a step that reads another tensor in place of `old`."""
    return replace(step, inputs=tuple(new if name == old else name for name in step.inputs))


def _keeps(pool: Step, affine: Affine) -> bool:
    """Whether a pool of what an affine step makes is the same as that of the pool's result."""
    if pool.kind == "maximum":
        return bool((affine.factor > 0).all())
    return (
        pool.kind == "average"
        and not pool.clipped
        and (pool.padding == (0, 0, 0, 0) or bool((affine.offset == 0).all()))
    )


@torch.no_grad()
def _taking(step: Step, affine: Affine) -> Step | None:
    """Return a weight layer that does to its input what comes before it; None for others, and where it is not exact."""
    if step.module is None:
        return None
    weight = step.module.weight.double()
    if isinstance(step.module, nn.Linear):
        factor, offset = affine.factor.flatten(), affine.offset.flatten()
    else:
        one = affine.per_channel()
        if one is None or (any(step.padding) and bool((one.offset != 0).any())):
            return None
        axes = (-1, 1, 1, 1) if step.depthwise else (1, -1, 1, 1)
        factor, offset = one.factor.reshape(axes), one.offset.reshape(axes)
    bias = (weight * offset).flatten(1).sum(1)
    if step.module.bias is not None:
        bias = bias + step.module.bias.double()
    return with_weights(step, (weight * factor).float(), bias.float())
