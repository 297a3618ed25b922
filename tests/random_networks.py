# SPDX-License-Identifier: Apache-2.0
"""Seeded random integer networks: layers of every kind, for the executor, the file format, ONNX and the RTL.

Everything is drawn from the `numpy.random.Generator` that is passed in, so a seed names a network. With `free=False`
a network is one for an engine (`Fit`; by default as it ships): at most one dense plane in balanced ternary and at most
one sparse plane, activations of 2 to 8 bits, multipliers and accumulators as wide as the engine's. `free=True` draws
from all of the contract: any formats, patterns and number of planes, activations of 2 to 16 bits, multipliers of up to
16 bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from intarsia.engine import EngineConfig
from intarsia.integer import (
    ActivationFormat,
    Add,
    AveragePool,
    Conv2d,
    IntegerNetwork,
    Layer,
    Linear,
    MaxPool,
    Pattern,
    Plane,
    Requantization,
    Tensor,
)
from intarsia.integer.validation import window_output
from random_planes import UNIT_PATTERNS, ends, mixed_planes, multipliers, pick, random_plane

_SHIPPED = EngineConfig()
KINDS = ("conv", "depthwise", "linear", "add", "avgpool", "maxpool")

Window = tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]


@dataclass(frozen=True)
class Fit:
    """The engine that a network is drawn for: its parameters of these names."""

    lanes: int = _SHIPPED.lanes
    slots: int = _SHIPPED.slots
    slot_bits: int = _SHIPPED.slot_bits
    scale_bits: int = _SHIPPED.scale_bits
    acc_bits: int = _SHIPPED.acc_bits


@dataclass(frozen=True)
class Ranges:
    """What is drawn: bounds (inclusive) of channels, spatial sizes, kernels and strides; see the head.

    `far`: now and then strides of up to 20, padding of up to 9 and up to 140 channels.
    """

    channels: tuple[int, int] = (1, 40)
    size: tuple[int, int] = (1, 9)
    max_kernel: int = 5
    max_stride: int = 3
    extreme: bool = False
    free: bool = False
    scale_bits: int = _SHIPPED.scale_bits
    fit: Fit = Fit()
    far: bool = False


def random_layer_network(
    rng: Generator,
    kind: str | None = None,
    *,
    channels: tuple[int, int] = (1, 40),
    size: tuple[int, int] = (1, 9),
    max_kernel: int = 5,
    max_stride: int = 3,
    extreme: bool = False,
    free: bool = False,
    sparse: bool | None = None,
    dense: str | None = None,
    fit: Fit | None = None,
    far: bool = False,
    second: bool = False,
) -> IntegerNetwork:
    """Return a network of one layer of `kind` (one of KINDS, or drawn).

    `add` has a 1×1 convolution before it, so that its two inputs differ; with `second` every layer has one, so that it
    does not read the network's input. `extreme` puts weights, multipliers, biases
    and shifts at their limits. `sparse` forces or forbids the sparse plane of a convolution or linear layer (drawn if
    None), `dense` forces the format of the dense plane. `fit` and `far`: see `Fit` and `Ranges`; multipliers have fewer
    bits than the engine's now and then where `fit` is given.
    """
    kind = kind or str(rng.choice(KINDS))
    scale_bits = int(rng.integers(1, 17)) if free else (fit or Fit()).scale_bits
    if fit and rng.random() < 0.25:
        scale_bits = int(rng.integers(1, fit.scale_bits, endpoint=True))
    if far and rng.random() < 0.06:
        channels, size = (41, 140), (1, 3)
    ranges = Ranges(channels, size, max_kernel, max_stride, extreme, free, scale_bits, fit or Fit(), far)
    source = Tensor(
        "input",
        (_between(rng, channels), _between(rng, size), _between(rng, size)),
        random_format(rng, free=free),
        0.01,
    )
    layers: list[Layer] = []
    inputs = [source]
    if kind == "add" or second:
        layers.append(_weight_layer(rng, "branch", "conv", source, ranges, outputs=source.shape[0], pointwise=True))
        inputs = [source, layers[0].output] if kind == "add" else [layers[0].output]
    layers.append(random_layer(rng, kind, kind, inputs, ranges, sparse=sparse, dense=dense))
    return IntegerNetwork(f"random {kind}", source, tuple(layers), scale_bits)


def random_network(rng: Generator, depth: int = 5, *, extreme: bool = False, free: bool = False) -> IntegerNetwork:
    """Return a network of `depth` random layers; an add joins any two earlier tensors of the same shape."""
    scale_bits = int(rng.integers(1, 17)) if free else _SHIPPED.scale_bits
    ranges = Ranges(channels=(1, 12), size=(1, 10), extreme=extreme, free=free, scale_bits=scale_bits)
    source = Tensor(
        "input", (_between(rng, (1, 6)), *rng.integers(4, 11, 2).tolist()), random_format(rng, free=free), 0.01
    )
    tensors: list[Tensor] = [source]
    layers: list[Layer] = []
    for number in range(depth):
        kind = str(rng.choice(KINDS))
        inputs = [tensors[-1]]
        if kind == "add":
            inputs.append(pick(rng, [t for t in tensors if t.shape == inputs[0].shape]))
        layer = random_layer(rng, kind, f"{kind}{number}", inputs, ranges)
        layers.append(layer)
        tensors.append(layer.output)
    return IntegerNetwork("random", source, tuple(layers), scale_bits, {"seeded": "yes"})


def random_images(rng: Generator, network: IntegerNetwork, n: int, *, extreme: bool = False) -> NDArray[np.integer]:
    """Return (n, C, H, W) inputs over the whole range of the network's input format; only its limits if `extreme`."""
    form = network.input.format
    shape = (n, *network.input.shape)
    values = ends(rng, form.lo, form.hi, shape) if extreme else rng.integers(form.lo, form.hi, shape, endpoint=True)
    width = 8 if form.bits <= 8 else 16
    return values.astype(f"{'' if form.signed else 'u'}int{width}")


def resnet8_like(rng: Generator) -> IntegerNetwork:
    """Return a network with ResNet-8's layers and planes (stem and linear digits4, else ternary + 1:16 int8)."""
    int8, uint8 = ActivationFormat(8, True), ActivationFormat(8, False)
    source = Tensor("input", (3, 32, 32), int8, 1 / 128)
    layers: list[Layer] = []

    def conv(name: str, x: Tensor, outputs: int, form: ActivationFormat, *, kernel: int = 3, stride: int = 1) -> Tensor:
        output = Tensor(name, (outputs, x.shape[1] // stride, x.shape[2] // stride), form, 0.01)
        shape = (outputs, x.shape[0], kernel, kernel)
        first = x.shape[0] < 16
        planes = [random_plane(rng, shape, "digits4" if first else "ternary", Pattern())]
        if not first:
            planes.append(random_plane(rng, shape, "int8", Pattern("n:m", 1, 16)))
        edge = (kernel - 1) // 2
        requantization = _whole_range(_requantization(rng, planes, x, output, False), form)
        layers.append(Conv2d(x.name, output, tuple(planes), requantization, (stride, stride), (edge,) * 4))
        return output

    def block(name: str, x: Tensor, outputs: int, stride: int) -> Tensor:
        body = conv(f"{name}.conv1", x, outputs, uint8, stride=stride)
        body = conv(f"{name}.conv2", body, outputs, int8)
        skip = x if stride == 1 else conv(f"{name}.shortcut", x, outputs, int8, kernel=1, stride=stride)
        layers.append(Add((skip.name, body.name), Tensor(f"{name}.add", body.shape, uint8, 0.01), (45, 55), 6, 0, 255))
        return layers[-1].output

    x = conv("stem", source, 16, uint8)
    for name, outputs, stride in (("stack1", 16, 1), ("stack2", 32, 2), ("stack3", 64, 2)):
        x = block(name, x, outputs, stride)
    pooled = Tensor("pool", (64, 1, 1), uint8, 0.01)
    layers.append(AveragePool(x.name, pooled, (8, 8), (8, 8), (0, 0, 0, 0), 32, 11, 0, 255))
    planes = (random_plane(rng, (10, 64, 1, 1), "digits4", Pattern()),)
    logits = Tensor("fc", (10, 1, 1), int8, 0.1)
    requantization = _whole_range(_requantization(rng, planes, pooled, logits, False), int8)
    layers.append(Linear("pool", logits, planes, requantization))
    return IntegerNetwork("resnet8-like", source, tuple(layers), _SHIPPED.scale_bits)


def random_format(rng: Generator, *, free: bool = False) -> ActivationFormat:
    """Return a format of 2, 4 or 8 bits, signed or unsigned; of 16 bits, too, if `free`."""
    return ActivationFormat(int(rng.choice((2, 4, 8, 16) if free else (2, 4, 8, 8))), bool(rng.integers(2)))


def random_layer(
    rng: Generator,
    kind: str,
    name: str,
    inputs: Sequence[Tensor],
    ranges: Ranges,
    *,
    sparse: bool | None = None,
    dense: str | None = None,
) -> Layer:
    """Return one layer of `kind` that reads `inputs` (two for `add`) and writes the tensor `name`."""
    x = inputs[0]
    if kind in ("conv", "depthwise", "linear"):
        return _weight_layer(rng, name, kind, x, ranges, sparse=sparse, dense=dense)
    form = random_format(rng, free=ranges.free)
    lo, hi = _clip(rng, form)
    top = (1 << ranges.scale_bits) - 1
    if kind == "add":
        first, second = multipliers(rng, 2, ranges.scale_bits, ranges.extreme).tolist()
        spread = max(1.0, 0.5 * np.hypot(first * (x.format.hi - x.format.lo), second * _span(inputs[1])))
        shift = _shift(rng, spread, form, ranges.extreme)
        return Add((x.name, inputs[1].name), Tensor(name, x.shape, form, 0.02), (first, second), shift, lo, hi)
    kernel, stride, padding = _window(rng, x, ranges, inside=kind == "maxpool")
    shape = (x.shape[0], *window_output(*x.shape[1:], kernel, stride, padding))
    if kind == "maxpool":
        return MaxPool(x.name, Tensor(name, shape, x.format, x.scale), kernel, stride, padding)
    multiplier = int(rng.integers(min(1, top), top, endpoint=True))
    spread = max(1.0, multiplier * kernel[0] * kernel[1] * _span(x) * 0.5)
    shift = _shift(rng, spread, form, ranges.extreme)
    return AveragePool(x.name, Tensor(name, shape, form, 0.02), kernel, stride, padding, multiplier, shift, lo, hi)


def _weight_layer(
    rng: Generator,
    name: str,
    kind: str,
    x: Tensor,
    ranges: Ranges,
    *,
    outputs: int | None = None,
    pointwise: bool = False,
    sparse: bool | None = None,
    dense: str | None = None,
) -> Layer:
    channels = x.shape[0]
    outputs = channels if kind == "depthwise" else (outputs or _between(rng, ranges.channels))
    window = ((1, 1), (1, 1), (0, 0, 0, 0)) if pointwise or kind == "linear" else _window(rng, x, ranges)
    if kind == "linear":
        weights_shape: tuple[int, ...] = (outputs, *x.shape)
        shape = (outputs, 1, 1)
    else:
        weights_shape = (outputs, 1 if kind == "depthwise" else channels, *window[0])
        shape = (outputs, *window_output(*x.shape[1:], *window))
    if ranges.free and sparse is None and dense is None and rng.random() < 0.2:
        planes = mixed_planes(rng, weights_shape, scale_bits=ranges.scale_bits, extreme=ranges.extreme)
    else:
        planes = [
            random_plane(rng, weights_shape, form, pattern, scale_bits=ranges.scale_bits, extreme=ranges.extreme)
            for form, pattern in _plane_kinds(rng, ranges, sparse, dense)
        ]
    planes = [_bounded(rng, plane, x, ranges) for plane in planes]
    output = Tensor(name, shape, random_format(rng, free=ranges.free), 0.02)
    requantization = _requantization(rng, planes, x, output, ranges.extreme)
    if kind == "linear":
        return Linear(x.name, output, tuple(planes), requantization)
    return Conv2d(x.name, output, tuple(planes), requantization, window[1], window[2], kind == "depthwise")


def _plane_kinds(rng: Generator, ranges: Ranges, sparse: bool | None, dense: str | None) -> list[tuple[str, Pattern]]:
    digits = ("ternary", "ternary", "digits2", "digits3", "digits4", "digits5")
    integers = tuple(f"int{bits}" for bits in range(2, 9))
    if ranges.free and sparse is None and dense is None:
        patterns = [Pattern.parse(text) for text in ("dense", "unstructured", "2:4", "1:3/2", "1:16", "fixed2:5")]
        patterns += UNIT_PATTERNS
        kinds = [(str(rng.choice(digits + integers)), pick(rng, patterns)) for _ in range(rng.integers(1, 4))]
        return [("binary", Pattern()), *kinds[1:]] if rng.random() < 0.1 else kinds
    kinds = [(dense or str(rng.choice(digits)), Pattern())]
    if sparse if sparse is not None else rng.integers(2):
        n, lanes = int(rng.integers(1, ranges.fit.slots, endpoint=True)), ranges.fit.lanes
        patterns = [Pattern("n:m", n, m, group) for m, group in ((lanes, 1), (lanes, 1), (2 * lanes, 1), (lanes, 16))]
        integers = integers[: ranges.fit.slot_bits - 1]
        kinds.append((str(rng.choice((integers[-1], integers[-1], *integers))), pick(rng, patterns)))
        if sparse is None and dense is None and rng.random() < 0.15:
            return kinds[1:]
    return kinds


def _bounded(rng: Generator, plane: Plane, x: Tensor, ranges: Ranges) -> Plane:
    """Return the plane with random weights set to zero until its accumulators keep below their limit."""
    limit = ((1 << ((32 if ranges.free else ranges.fit.acc_bits) - 1)) - 1) // _magnitude(x)
    flat = plane.weights.reshape(plane.weights.shape[0], -1).copy()
    for row in flat:
        order = rng.permutation(row.size)
        row[order[np.abs(row[order].astype(np.int64)).cumsum() > limit]] = 0
    return replace(plane, weights=flat.reshape(plane.weights.shape))


def _requantization(
    rng: Generator, planes: Sequence[Plane], x: Tensor, output: Tensor, extreme: bool
) -> Requantization:
    """Return a bias and a shift that spread the output over its range for inputs uniform over theirs."""
    outputs = output.shape[0]
    lo, hi = _clip(rng, output.format)
    flat = sum(p.weights.reshape(outputs, -1).astype(float) * p.multiplier[:, None] for p in planes)
    mean = flat.sum(axis=1) * (x.format.lo + x.format.hi) / 2
    deviation = np.sqrt((flat**2).sum(axis=1)) * (_span(x) / 3.46) + 1
    shift = np.array([_shift(rng, value * 6, output.format, extreme) for value in deviation])
    middle = (output.format.lo + output.format.hi) / 2 * 2.0**shift
    bias = np.clip(middle - mean + rng.normal(0, deviation / 2), -(2**31), 2**31 - 1).astype(np.int64)
    if extreme:
        bias = np.where(rng.random(outputs) < 0.5, ends(rng, -(2**31), 2**31 - 1, (outputs,)), bias)
    return Requantization(bias.astype(np.int32), shift.astype(np.uint8), lo, hi)


def _whole_range(requantization: Requantization, form: ActivationFormat) -> Requantization:
    return Requantization(requantization.bias, requantization.shift, form.lo, form.hi)


def _shift(rng: Generator, spread: float, form: ActivationFormat, extreme: bool) -> int:
    if extreme and rng.integers(2):
        return int(rng.choice((0, 1, 30, 31)))
    return int(np.clip(np.ceil(np.log2(spread / (form.hi - form.lo))), 0, 31))


def _clip(rng: Generator, form: ActivationFormat) -> tuple[int, int]:
    if rng.random() < 0.75:
        return form.lo, form.hi
    if rng.random() < 0.5:  # a rectifier
        return 0, form.hi
    lo, hi = sorted(rng.integers(form.lo, form.hi, 2, endpoint=True).tolist())
    return lo, hi


def _window(rng: Generator, x: Tensor, ranges: Ranges, *, inside: bool = False) -> Window:
    """Return kernel, stride and padding that fit; `inside` keeps the padding below the kernel (max pooling)."""
    height, width = x.shape[1:]
    max_stride = 20 if ranges.far and rng.random() < 0.1 else ranges.max_stride
    more = 4 if ranges.far and not inside and rng.random() < 0.1 else 0
    while True:
        kernel_h, kernel_w = rng.integers(1, ranges.max_kernel, 2, endpoint=True).tolist()
        stride_h, stride_w = rng.integers(1, max_stride, 2, endpoint=True).tolist()
        top, bottom = rng.integers(0, kernel_h + more, 2, endpoint=not inside).tolist()
        left, right = rng.integers(0, kernel_w + more, 2, endpoint=not inside).tolist()
        window: Window = (kernel_h, kernel_w), (stride_h, stride_w), (top, left, bottom, right)
        if height + top + bottom >= kernel_h and width + left + right >= kernel_w:
            return window


def _between(rng: Generator, bounds: tuple[int, int]) -> int:
    return int(rng.integers(*bounds, endpoint=True))


def _span(x: Tensor) -> int:
    return x.format.hi - x.format.lo


def _magnitude(x: Tensor) -> int:
    return max(-x.format.lo, x.format.hi)
