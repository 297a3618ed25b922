# SPDX-License-Identifier: Apache-2.0
"""What every importer reads a file into: a list of operators in PyTorch's layout, (channels, height, width).

Readers of files (TFLite, ONNX, exported programs) only translate into these operators; `_float` makes a PyTorch module
of them and `_integer` an integer network. Signals (N, C, L) are images of height 1.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]
Pair = tuple[int, int]
Four = tuple[int, int, int, int]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Quantization:
    """How integers stand for a tensor: real value = (q − zero_point) · scale, with lo ≤ q ≤ hi."""

    scale: float
    zero_point: int
    lo: int
    hi: int

    @property
    def dtype(self) -> str:
        """The type of the stored integers, `int8` or `uint8` for example."""
        bits = max(self.hi.bit_length() + (self.lo < 0), (-self.lo - 1).bit_length() + 1 if self.lo < 0 else 1)
        return f"{'int' if self.lo < 0 else 'uint'}{bits}"

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest real value: what lies beyond is clipped."""
        return (self.lo - self.zero_point) * self.scale, (self.hi - self.zero_point) * self.scale

    def clipped(self, lo: float, hi: float) -> "Quantization | None":
        """Return it with its integers within lo … hi; None if none are left or a limit is not an integer."""
        least, greatest = max(self.lo, lo), min(self.hi, hi)
        if not (least <= greatest and float(least).is_integer() and float(greatest).is_integer()):
            return None
        return replace(self, lo=int(least), hi=int(greatest))


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights in real units, (O, I, KH, KW) or (O, I), and the integers behind them if the file has any.

    `integers` has the shape of `values`, `scales` is (O,): values = integers · scales.
    """

    values: Floats
    integers: NDArray[np.integer[Any]] | None = None
    scales: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Op:
    """An operator and the tensor that it makes, which has its name.

    Attributes:
        name: unique, fit for a module.
        inputs: names of the tensors that it reads; `input` is the network's.
        shape: (channels, height, width) of its result.
        quantization: of its result, None where the file leaves it in floating point.
        flat: whether the result is (N, features) in PyTorch.
    """

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    quantization: Quantization | None = None
    flat: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(Op):
    """2-D convolution; weights are (O, I / groups, KH, KW)."""

    weights: Weights
    bias: Floats | None
    stride: Pair
    padding: Four
    groups: int = 1
    dilation: Pair = (1, 1)

    @property
    def depthwise(self) -> bool:
        """Whether there is one filter per channel (and more than one channel)."""
        outputs, per_group = self.weights.values.shape[:2]
        return int(per_group) == 1 < self.groups == int(outputs)


@dataclass(frozen=True, eq=False, kw_only=True)
class Dense(Op):
    """Fully connected layer over features in (channel, row, column) order."""

    weights: Weights
    bias: Floats | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Normalization(Op):
    """(x − mean) / √(variance + epsilon) · gamma + beta for each channel, anywhere; every array is (C,)."""

    mean: Floats
    variance: Floats
    gamma: Floats
    beta: Floats
    epsilon: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Clip(Op):
    """Clips to lo … hi in real units, lo ≤ 0 ≤ hi; either may be infinite. A ReLU is 0 … ∞."""

    lo: float = -math.inf
    hi: float = math.inf


@dataclass(frozen=True, eq=False, kw_only=True)
class Sign(Op):
    """`step` where the input is at least 0, else −`step` (a bipolar quantizer)."""

    step: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Addition(Op):
    """The sum of two tensors of one shape."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Pool(Op):
    """Average (padding counts as zeros) or maximum (padding never wins) over a window."""

    maximum: bool
    kernel: Pair
    stride: Pair
    padding: Four


@dataclass(frozen=True, eq=False, kw_only=True)
class Pad(Op):
    """Zeros around the image: (top, left, bottom, right)."""

    padding: Four


@dataclass(frozen=True, eq=False, kw_only=True)
class Flatten(Op):
    """(N, C, H, W) to (N, C·H·W)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Requantize(Op):
    """Rounds to `quantization`, and clips to its range."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A network as it was read: operators in order of execution, the last one makes the result.

    Attributes:
        name: of the file.
        shape: (channels, height, width) of the input.
        quantization: of the input, None if that is floating point.
        ops: the operators.
        dropped: what the file has and the import leaves out, one clause each.
    """

    name: str
    shape: Shape
    quantization: Quantization | None
    ops: tuple[Op, ...]
    dropped: tuple[str, ...]

    def readers(self, name: str) -> int:
        """Return how many operators read a tensor."""
        return sum(op.inputs.count(name) for op in self.ops)
