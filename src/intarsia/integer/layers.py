# SPDX-License-Identifier: Apache-2.0
"""The tensors, planes and layers of an integer network. What they compute: `intarsia.integer.network`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intarsia.integer.formats import ActivationFormat, Pattern, WeightFormat
from intarsia.integer.plain import PlainNumbers

Ints = NDArray[np.integer]
Shape = tuple[int, int, int]

#: Bits of a requantization's shift.
SHIFT_BITS = 5
MAX_SHIFT = (1 << SHIFT_BITS) - 1
#: Greatest magnitude of a bias: that of a layer of 16 bits is one of its outputs, 2^15, at the greatest shift.
LARGEST_BIAS = 1 << 46
#: Elements of a tensor with its padding: a hundred times what the hardware holds. A file of a few hundred bytes may
#: declare more, and whoever reads it would fill the memory.
LARGEST_TENSOR = 1 << 24


@dataclass(frozen=True)
class Tensor(PlainNumbers):
    """An activation tensor: `shape` is (channels, height, width), without the batch."""

    name: str
    shape: Shape
    format: ActivationFormat
    scale: float


@dataclass(frozen=True, eq=False)
class Plane(PlainNumbers):
    """An integer weight tensor in one format with one support pattern.

    `weights`: (O, I, KH, KW) for a convolution (I = 1 if depthwise); (O, C, H, W) for a linear layer over an input
    (C, H, W), whose pixels are its kernel taps.
    `shift`: k, by which its weights count 2^k-fold in the layer's matrix, 0 … 7.
    """

    weights: Ints
    format: WeightFormat
    pattern: Pattern
    shift: int = 0


def weight_matrix(planes: Sequence[Plane]) -> Ints:
    """Return the one integer matrix that planes add up to, Σ 2^k·P, in their shape; int32."""
    total = planes[0].weights.astype(np.int32) << planes[0].shift
    for plane in planes[1:]:
        total += plane.weights.astype(np.int32) << plane.shift
    return total


@dataclass(frozen=True, eq=False)
class Requantization(PlainNumbers):
    """From accumulators to the output, for each channel: multiplier m (O,), 0 … 2^scale_bits − 1, bias c (O,), at most
    `LARGEST_BIAS` in magnitude, and shift s (O,), then a clip to lo … hi.
    """

    multiplier: Ints
    bias: Ints
    shift: Ints
    lo: int
    hi: int


@dataclass(frozen=True)
class Residual(PlainNumbers):
    """A second input of a weight layer, of its output's shape, that is added times multiplier · 2^−shift.

    `multiplier` n: 0 … 2^scale_bits − 1. `shift` t: at most the requantization's in every channel.
    """

    input: str
    multiplier: int
    shift: int


@dataclass(frozen=True, eq=False)
class Conv2d(PlainNumbers):
    """2-D convolution; depthwise if `depthwise` (one filter per channel). Padding is (top, left, bottom, right)."""

    input: str
    output: Tensor
    planes: tuple[Plane, ...]
    requantization: Requantization
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    depthwise: bool = False
    residual: Residual | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors that it reads; that of the residual is the second."""
        return (self.input,) if self.residual is None else (self.input, self.residual.input)

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        shape = self.planes[0].weights.shape
        return int(shape[2]), int(shape[3])


@dataclass(frozen=True, eq=False)
class Linear(PlainNumbers):
    """Fully connected layer: a convolution whose kernel covers its whole input; output (O, 1, 1).

    So its patterns are those of that convolution: `n:m` counts the channels of one pixel, `taps` are pixels.
    """

    input: str
    output: Tensor
    planes: tuple[Plane, ...]
    requantization: Requantization
    residual: Residual | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors that it reads; that of the residual is the second."""
        return (self.input,) if self.residual is None else (self.input, self.residual.input)

    @property
    def convolution(self) -> Conv2d:
        """The convolution that it is."""
        return Conv2d(self.input, self.output, self.planes, self.requantization, residual=self.residual)


@dataclass(frozen=True)
class Add(PlainNumbers):
    """Addition that no weight layer takes as its residual: clip((a·m_a + b·m_b + 2^(s−1)) >> s, lo, hi)."""

    inputs: tuple[str, str]
    output: Tensor
    multipliers: tuple[int, int]
    shift: int
    lo: int
    hi: int


@dataclass(frozen=True)
class AveragePool(PlainNumbers):
    """The sum over a window, then clip((sum·m + 2^(s−1)) >> s, lo, hi); padding counts as zeros."""

    input: str
    output: Tensor
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    multiplier: int
    shift: int
    lo: int
    hi: int

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors that it reads."""
        return (self.input,)


@dataclass(frozen=True)
class MaxPool(PlainNumbers):
    """The maximum over a window; padding never wins. The output has the input's format and scale."""

    input: str
    output: Tensor
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors that it reads."""
        return (self.input,)


WeightLayer = Conv2d | Linear
Layer = Conv2d | Linear | Add | AveragePool | MaxPool
