# SPDX-License-Identifier: Apache-2.0
"""One layer of the network to be, as the float network describes it."""

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch
from torch import nn
from torch.nn import functional

Pair = tuple[int, int]
Four = tuple[int, int, int, int]
Shape = tuple[int, int, int]
Range = tuple[float, float]

#: `affine` is one factor and one offset per channel: a depthwise convolution with a 1×1 kernel.
Kind = Literal["conv", "linear", "affine", "add", "average", "maximum"]

_Weighted = TypeVar("_Weighted", nn.Conv2d, nn.Linear)


#: All numbers.
ANY: Range = (-math.inf, math.inf)


@dataclass(frozen=True)
class Step:
    """One layer of the network to be.

    Attributes:
        name: of the layer and of the tensor that it makes.
        kind: what it does; `average` with a 1×1 kernel is how a clip stands alone.
        inputs: names of the tensors that it reads; of a weight layer's, the second is a residual that it adds.
        module: the weight layer's own module, else None.
        kernel, stride: of a window; a linear layer's kernel is all pixels of its input.
        padding: top, left, bottom, right.
        shape: (channels, height, width) of the output.
        filled: whether the kernel has zeros between groups or taps that the float network's has not.
        floor, ceiling: real values that lesser and greater results become; a ReLU has the floor 0.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    module: nn.Conv2d | nn.Linear | None = None
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Four = (0, 0, 0, 0)
    shape: Shape = (0, 0, 0)
    filled: bool = False
    floor: float = -math.inf
    ceiling: float = math.inf

    @property
    def residual(self) -> str | None:
        """The tensor that a weight layer adds to its result."""
        return self.inputs[1] if self.module is not None and len(self.inputs) > 1 else None

    @property
    def clipped(self) -> bool:
        """Whether some results are clipped."""
        return (self.floor, self.ceiling) != ANY

    @property
    def depthwise(self) -> bool:
        """Whether this is a convolution with one filter per channel, of several channels."""
        return isinstance(self.module, nn.Conv2d) and self.module.groups > 1

    def clip(self, x: torch.Tensor) -> torch.Tensor:
        """Return results as this layer clips them."""
        if (self.floor, self.ceiling) == (0.0, math.inf):
            return functional.relu(x)
        return x.clamp(self.floor, self.ceiling) if self.clipped else x


def convolution(
    weight: torch.Tensor, bias: torch.Tensor | None, stride: Pair, padding: Four, *, depthwise: bool
) -> nn.Conv2d:
    """Return a convolution with its own copy of weights (O, I, KH, KW), I = 1 if depthwise, and of a bias (O,).

    It pads what it can, that is the same on both sides; `QuantizedNetwork` pads the rest.
    """
    outputs, inputs, height, width = weight.shape
    module = nn.Conv2d(
        outputs if depthwise else inputs,
        outputs,
        (height, width),
        stride=stride,
        padding=padding[:2] if padding[:2] == padding[2:] else (0, 0),
        groups=outputs if depthwise else 1,
        device="meta",
    )
    return _filled(module, weight, bias)


def linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    """Return a linear layer with its own copy of weights (O, I) and of a bias (O,)."""
    return _filled(nn.Linear(weight.shape[1], weight.shape[0], device="meta"), weight, bias)


def _filled(module: _Weighted, weight: torch.Tensor, bias: torch.Tensor | None) -> _Weighted:
    module.weight = nn.Parameter(weight.detach().float().clone().contiguous())
    module.register_parameter("bias", None if bias is None else nn.Parameter(bias.detach().float().clone()))
    return module.eval()


def with_weights(step: Step, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Step:
    """Return a weight layer with other weights, and another bias if there is one; its channel counts follow."""
    assert step.module is not None  # noqa: S101 (for the type checker)
    module = copy.deepcopy(step.module)
    module.weight = nn.Parameter(weight.contiguous())
    if bias is not None:
        module.bias = nn.Parameter(bias.clone())
    if isinstance(module, nn.Conv2d):
        module.out_channels, depthwise = weight.shape[0], module.groups > 1
        module.groups = weight.shape[0] if depthwise else 1
        module.in_channels = weight.shape[0] if depthwise else weight.shape[1]
    else:
        module.out_features, module.in_features = weight.shape
    return replace(step, module=module)


def value_ranges(steps: Iterable[Step], source: Range) -> dict[str, Range]:
    """Return what the values of every tensor lie between, by name, as far as clips say so; each range holds 0.

    Args:
        steps: in order.
        source: of the input.
    """
    known = {"input": source}
    for step in steps:
        low, high = _computed(step, [known[name] for name in step.inputs])
        known[step.name] = max(low, step.floor), min(high, step.ceiling)
    return known


def _computed(step: Step, inputs: list[Range]) -> Range:
    """Return the range of what a layer computes, before its own clip."""
    match step.kind:
        case "add":
            return sum(low for low, _ in inputs), sum(high for _, high in inputs)
        case "average" | "maximum":  # zeros of padding lie in every range
            return inputs[0]
        case _:
            return ANY


def key(name: str) -> str:
    """Return a tensor's name as a module's name, which may hold no dot and be no attribute (`keys`) of a dictionary of
    modules; another tensor has another one.
    """
    return "/" + name.replace("/", "/_").replace(".", "//")
