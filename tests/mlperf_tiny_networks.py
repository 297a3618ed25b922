# SPDX-License-Identifier: Apache-2.0
"""Integer networks with the layers and planes of the four MLPerf Tiny networks, their weights random and seeded.

Planes are those of the scheme `superposition`, but for the digits of the first layer, of depthwise layers and of the
last layer; all others are ternary with 1:16 int8.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from intarsia.engine import EngineConfig
from intarsia.integer import (
    ActivationFormat,
    AveragePool,
    Conv2d,
    IntegerNetwork,
    Layer,
    Linear,
    Pattern,
    Plane,
    Tensor,
)
from intarsia.integer.validation import window_output
from random_networks import _requantization, _whole_range
from random_planes import random_plane

SCALE_BITS = EngineConfig().scale_bits
UINT8, INT8 = ActivationFormat(8, signed=False), ActivationFormat(8, signed=True)
#: Output channels and stride of MobileNetV1-0.25's separable blocks.
MOBILENET = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *((128, 1),) * 5, (256, 2), (256, 1))


@dataclass(frozen=True)
class Digits:
    """Balanced-ternary digits of the layers that are not ternary with 1:16 int8; 0: that they are."""

    first: int = 4
    depthwise: int = 4
    last: int = 4


@dataclass
class _Builder:
    rng: Generator
    x: Tensor
    layers: list[Layer] = field(default_factory=list)

    def _planes(self, shape: Sequence[int], digits: int) -> tuple[Plane, ...]:
        dense = f"digits{digits}" if digits > 1 else "ternary"
        planes = [random_plane(self.rng, tuple(shape), dense, Pattern(), shift=0 if digits else 2)]
        if not digits:
            planes.append(random_plane(self.rng, tuple(shape), "int8", Pattern("n:m", 1, 16)))
        return tuple(planes)

    def _append(self, layer: Layer) -> None:
        self.layers.append(layer)
        self.x = layer.output

    def conv(
        self,
        name: str,
        outputs: int,
        kernel: tuple[int, int],
        digits: int,
        *,
        stride: int = 1,
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        depthwise: bool = False,
    ) -> None:
        x = self.x
        shape = (outputs, *window_output(*x.shape[1:], kernel, (stride, stride), padding))
        planes = self._planes((outputs, 1 if depthwise else x.shape[0], *kernel), digits)
        output = Tensor(name, shape, UINT8, 0.01)
        requantization = _whole_range(_requantization(self.rng, planes, x, output, SCALE_BITS), UINT8)
        self._append(Conv2d(x.name, output, planes, requantization, (stride, stride), padding, depthwise))

    def separable(self, name: str, outputs: int, digits: int, *, stride: int = 1) -> None:
        padding = (1, 1, 1, 1) if stride == 1 else (0, 0, 1, 1)  # Keras pads an even size to SAME below and right
        channels = self.x.shape[0]
        self.conv(f"{name}.depthwise", channels, (3, 3), digits, stride=stride, padding=padding, depthwise=True)
        self.conv(f"{name}.pointwise", outputs, (1, 1), 0)

    def linear(self, name: str, outputs: int, digits: int, form: ActivationFormat) -> None:
        planes = self._planes((outputs, *self.x.shape), digits)
        output = Tensor(name, (outputs, 1, 1), form, 0.01)
        requantization = _whole_range(_requantization(self.rng, planes, self.x, output, SCALE_BITS), form)
        self._append(Linear(self.x.name, output, planes, requantization))

    def pool(self) -> None:
        channels, *window = self.x.shape
        kernel = (window[0], window[1])
        multiplier, shift = 50, int(np.ceil(np.log2(50 * np.prod(kernel))))
        output = Tensor("pool", (channels, 1, 1), UINT8, 0.01)
        self._append(AveragePool(self.x.name, output, kernel, kernel, (0, 0, 0, 0), multiplier, shift, 0, 255))

    def network(self, name: str, source: Tensor) -> IntegerNetwork:
        return IntegerNetwork(name, source, tuple(self.layers), SCALE_BITS)


def dscnn_like(rng: Generator, digits: Digits = Digits()) -> IntegerNetwork:
    """Return a network with DS-CNN's layers."""
    source = Tensor("input", (1, 49, 10), INT8, 0.5)
    builder = _Builder(rng, source)
    builder.conv("stem", 64, (10, 4), digits.first, stride=2, padding=(4, 1, 5, 1))
    for number in range(1, 5):
        builder.separable(f"block{number}", 64, digits.depthwise)
    builder.pool()
    builder.linear("fc", 12, digits.last, INT8)
    return builder.network("dscnn-like", source)


def mobilenet_like(rng: Generator, digits: Digits = Digits()) -> IntegerNetwork:
    """Return a network with MobileNetV1-0.25's layers."""
    source = Tensor("input", (3, 96, 96), UINT8, 1 / 255)
    builder = _Builder(rng, source)
    builder.conv("stem", 8, (3, 3), digits.first, stride=2, padding=(0, 0, 1, 1))
    for number, (outputs, stride) in enumerate(MOBILENET):
        builder.separable(f"blocks.{number}", outputs, digits.depthwise, stride=stride)
    builder.pool()
    builder.linear("fc", 2, digits.last, INT8)
    return builder.network("mobilenet-like", source)


def autoencoder_like(rng: Generator, digits: Digits = Digits()) -> IntegerNetwork:
    """Return a network with FC-AutoEncoder's layers."""
    source = Tensor("input", (640, 1, 1), INT8, 0.5)
    builder = _Builder(rng, source)
    for number, outputs in enumerate((128, 128, 128, 128, 8, 128, 128, 128, 128)):
        builder.linear(f"hidden.{3 * number}", outputs, 0 if number else digits.first, UINT8)
    builder.linear("fc", 640, digits.last, INT8)
    return builder.network("autoencoder-like", source)
