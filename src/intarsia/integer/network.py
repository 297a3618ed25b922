# SPDX-License-Identifier: Apache-2.0
"""The integer network: where learning ends and integers begin (one of Intarsia's two contracts).

Activations are integers with one scale per tensor and no zero-point. A weight layer with planes p computes, for each
output channel o,

    acc_p[o] = Σ W_p[o,·] · x                                        exact, fits int32
    y[o]     = clip((Σ_p acc_p[o]·m_p[o] + c[o] + 2^(s[o]−1)) >> s[o], lo, hi)

with an arithmetic shift (rounding half up; nothing is added where s = 0). Nothing here is floating point but the
scales, which are kept beside the network only to read its result: real value = integer × scale.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from intarsia.integer.formats import ActivationFormat, Pattern, WeightFormat

Ints = NDArray[np.integer]
Shape = tuple[int, int, int]

#: Bits of a requantization's shift.
SHIFT_BITS = 5
MAX_SHIFT = (1 << SHIFT_BITS) - 1
#: Elements of a tensor with its padding: a hundred times what the hardware holds. A file of a few hundred bytes may
#: declare more, and whoever reads it would fill the memory.
LARGEST_TENSOR = 1 << 24


@dataclass(frozen=True)
class Tensor:
    """An activation tensor: `shape` is (channels, height, width), without the batch."""

    name: str
    shape: Shape
    format: ActivationFormat
    scale: float


@dataclass(frozen=True, eq=False)
class Plane:
    """An integer weight tensor in one format with one support pattern.

    `weights`: (O, I, KH, KW) for a convolution (I = 1 if depthwise); (O, C, H, W) for a linear layer over an input
    (C, H, W), whose pixels are its kernel taps.
    `multiplier`: (O,), 0 … 2^scale_bits − 1.
    """

    weights: Ints
    multiplier: Ints
    format: WeightFormat
    pattern: Pattern


@dataclass(frozen=True, eq=False)
class Requantization:
    """From accumulators to the output: per-channel bias c (O,) int32 and shift s (O,), then a clip to lo … hi."""

    bias: Ints
    shift: Ints
    lo: int
    hi: int


@dataclass(frozen=True, eq=False)
class Conv2d:
    """2-D convolution; depthwise if `depthwise` (one filter per channel). Padding is (top, left, bottom, right)."""

    input: str
    output: Tensor
    planes: tuple[Plane, ...]
    requantization: Requantization
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    depthwise: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors that it reads."""
        return (self.input,)

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        shape = self.planes[0].weights.shape
        return int(shape[2]), int(shape[3])


@dataclass(frozen=True, eq=False)
class Linear:
    """Fully connected layer: a convolution whose kernel covers its whole input; output (O, 1, 1).

    So its patterns are those of that convolution: `n:m` counts the channels of one pixel, `taps` are pixels.
    """

    input: str
    output: Tensor
    planes: tuple[Plane, ...]
    requantization: Requantization

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors that it reads."""
        return (self.input,)

    @property
    def convolution(self) -> Conv2d:
        """The convolution that it is."""
        return Conv2d(self.input, self.output, self.planes, self.requantization)


@dataclass(frozen=True)
class Add:
    """Residual add: clip((a·m_a + b·m_b + 2^(s−1)) >> s, lo, hi)."""

    inputs: tuple[str, str]
    output: Tensor
    multipliers: tuple[int, int]
    shift: int
    lo: int
    hi: int


@dataclass(frozen=True)
class AveragePool:
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
class MaxPool:
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


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """Layers in order of execution; each writes the tensor `layer.output`, the last one is the result.

    `metadata` is free text for people (how the network was made); it never changes a result.

    Raises:
        IntarsiaError: the layers do not fit together, or a value is outside its format.
    """

    name: str
    input: Tensor
    layers: tuple[Layer, ...]
    scale_bits: int
    metadata: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from intarsia.integer.validation import check_network  # noqa: PLC0415 (it reads the classes above)

        check_network(self)

    @property
    def output(self) -> Tensor:
        """The tensor that the last layer writes."""
        return self.layers[-1].output

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, the input first."""
        return {self.input.name: self.input} | {layer.output.name: layer.output for layer in self.layers}

    def weight_layers(self) -> Iterator[WeightLayer]:
        """The layers that have weights."""
        return (layer for layer in self.layers if isinstance(layer, Conv2d | Linear))
