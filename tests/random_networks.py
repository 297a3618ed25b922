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
from intarsia.engine.units import Dense, MixedRows, SumTogether, Superposition
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
    Residual,
    Tensor,
    weight_matrix,
)
from intarsia.integer.layers import LARGEST_BIAS
from intarsia.integer.validation import LARGEST_ACCUMULATOR, window_output
from random_planes import UNIT_PATTERNS, ends, mixed_planes, mixed_rows, multipliers, pick, random_plane

_SHIPPED = EngineConfig()
KINDS = ("conv", "depthwise", "linear", "residual", "own residual", "add", "avgpool", "maxpool")

Window = tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]
_POINTWISE: Window = ((1, 1), (1, 1), (0, 0, 0, 0))


@dataclass(frozen=True)
class Fit:
    """The engine that a network is drawn for: its parameters of these names; with `dense_bits` its unit takes
    any weights of so many bits, with `rows` it is one of mixed rows; `wide`: activations, too, can have 16 bits.
    """

    lanes: int = _SHIPPED.lanes
    block: int = _SHIPPED.block
    scale_bits: int = _SHIPPED.scale_bits
    acc_bits: int = _SHIPPED.acc_bits
    slots: int = Superposition().slots
    positions: str = Superposition().positions
    slot_bits: int = Superposition().slot_bits
    shift_bits: int = Superposition().shift_bits
    dense_bits: int = 0
    wide: bool = False
    rows: bool = False

    @classmethod
    def of(cls, config: EngineConfig) -> "Fit":
        """Return what networks for an engine are drawn from."""
        common = {"lanes": config.lanes, "block": config.block, "acc_bits": config.acc_bits}
        unit = config.unit
        if isinstance(unit, SumTogether):
            return cls(**common, scale_bits=config.scale_bits, dense_bits=16, wide=True)
        if isinstance(unit, Dense):
            return cls(**common, scale_bits=config.scale_bits, dense_bits=8 if unit.digits else unit.bits)
        if isinstance(unit, MixedRows):
            return cls(**common, scale_bits=config.scale_bits, rows=True)
        assert isinstance(unit, Superposition)
        return cls(
            **common,
            scale_bits=config.scale_bits,
            slots=unit.slots,
            positions=unit.positions,
            slot_bits=unit.slot_bits,
            shift_bits=unit.shift_bits,
        )


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

    `add` has a 1×1 convolution before it, so that its two inputs differ; `residual` is a convolution, depthwise or not,
    after another one like it, whose result it adds; `own residual` is a convolution that adds what it reads. With
    `second` every layer has a convolution before it, so that it
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
        random_format(rng, free=free or ranges.fit.wide),
        0.01,
    )
    layers: list[Layer] = []
    inputs = [source]
    if kind == "add" or second:
        layers.append(_weight_layer(rng, "branch", "conv", source, ranges, outputs=source.shape[0], window=_POINTWISE))
        inputs = [source, layers[0].output] if kind == "add" else [layers[0].output]
    if kind == "residual":
        layers += _residual_layers(rng, "residual", inputs[0], ranges, sparse=sparse, dense=dense)
    elif kind == "own residual":
        layers.append(_own_residual(rng, kind, inputs[0], ranges, sparse=sparse, dense=dense))
    else:
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
        made: list[Layer]
        if kind == "residual":
            made = _residual_layers(rng, f"{kind}{number}", inputs[0], ranges)
        elif kind == "own residual":
            made = [_own_residual(rng, f"{kind}{number}", inputs[0], ranges)]
        else:
            made = [random_layer(rng, kind, f"{kind}{number}", inputs, ranges)]
        layers += made
        tensors += [layer.output for layer in made]
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

    scale_bits = _SHIPPED.scale_bits

    def conv(
        name: str,
        x: Tensor,
        outputs: int,
        form: ActivationFormat,
        *,
        kernel: int = 3,
        stride: int = 1,
        residual: Tensor | None = None,
    ) -> Tensor:
        output = Tensor(name, (outputs, x.shape[1] // stride, x.shape[2] // stride), form, 0.01)
        shape = (outputs, x.shape[0], kernel, kernel)
        first = x.shape[0] < 16
        planes = [random_plane(rng, shape, "digits4" if first else "ternary", Pattern(), shift=0 if first else 2)]
        if not first:
            planes.append(random_plane(rng, shape, "int8", Pattern("n:m", 1, 16)))
        edge = (kernel - 1) // 2
        requantization = _whole_range(_requantization(rng, planes, x, output, scale_bits), form)
        kept = None if residual is None else Residual(residual.name, 45, min(6, int(requantization.shift.min())))
        window = (stride, stride), (edge,) * 4
        layers.append(Conv2d(x.name, output, tuple(planes), requantization, *window, residual=kept))
        return output

    def block(name: str, x: Tensor, outputs: int, stride: int) -> Tensor:
        body = conv(f"{name}.conv1", x, outputs, uint8, stride=stride)
        if stride == 1:
            return conv(f"{name}.conv2", body, outputs, uint8, residual=x)
        body = conv(f"{name}.conv2", body, outputs, int8)
        return conv(f"{name}.shortcut", x, outputs, uint8, kernel=1, stride=stride, residual=body)

    x = conv("stem", source, 16, uint8)
    for name, outputs, stride in (("stack1", 16, 1), ("stack2", 32, 2), ("stack3", 64, 2)):
        x = block(name, x, outputs, stride)
    pooled = Tensor("pool", (64, 1, 1), uint8, 0.01)
    layers.append(AveragePool(x.name, pooled, (8, 8), (8, 8), (0, 0, 0, 0), 32, 11, 0, 255))
    planes = (random_plane(rng, (10, 64, 1, 1), "digits4", Pattern()),)
    logits = Tensor("fc", (10, 1, 1), int8, 0.1)
    requantization = _whole_range(_requantization(rng, planes, pooled, logits, scale_bits), int8)
    layers.append(Linear("pool", logits, planes, requantization))
    return IntegerNetwork("resnet8-like", source, tuple(layers), scale_bits)


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
    form = random_format(rng, free=ranges.free or ranges.fit.wide)
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
    window: Window | None = None,
    residual: Tensor | None = None,
    sparse: bool | None = None,
    dense: str | None = None,
) -> Conv2d | Linear:
    channels = x.shape[0]
    outputs = channels if kind == "depthwise" else (outputs or _between(rng, ranges.channels))
    window = _POINTWISE if kind == "linear" else (window or _window(rng, x, ranges))
    if kind == "linear":
        weights_shape: tuple[int, ...] = (outputs, *x.shape)
        shape = (outputs, 1, 1)
    else:
        weights_shape = (outputs, 1 if kind == "depthwise" else channels, *window[0])
        shape = (outputs, *window_output(*x.shape[1:], *window))
    if ranges.free and sparse is None and dense is None and rng.random() < 0.2:
        planes = mixed_planes(rng, weights_shape, extreme=ranges.extreme)
    elif ranges.fit.rows and sparse is None and dense is None:
        planes = mixed_rows(rng, weights_shape, extreme=ranges.extreme)
    else:
        planes = [
            random_plane(rng, weights_shape, form, pattern, shift=shift, extreme=ranges.extreme)
            for form, pattern in _plane_kinds(rng, ranges, sparse, dense)
            for shift in [_plane_shift(rng, form, pattern, ranges)]
        ]
    planes = _bounded(rng, planes, x, ranges)
    output = Tensor(name, shape, random_format(rng, free=ranges.free or ranges.fit.wide), 0.02)
    # The greatest shifts would take a residual of 16 bits beyond what the executor sums exactly.
    extreme = ranges.extreme and not ((ranges.free or ranges.fit.wide) and residual is not None)
    greatest = LARGEST_BIAS if ranges.free else 1 << 44 if ranges.fit.wide else (1 << 31) - 1
    requantization = _requantization(rng, planes, x, output, ranges.scale_bits, extreme=extreme, greatest_bias=greatest)
    if residual is not None:
        # So far apart may shifts of channels lie, or the residual counts more than 2^50 in some.
        shift, most = requantization.shift, 8 if ranges.free or ranges.fit.wide else 20
        requantization = replace(requantization, shift=np.maximum(shift, shift.max() - min(most, shift.max())))
    added = None
    if residual is not None:
        multiplier = int(multipliers(rng, 1, ranges.scale_bits, ranges.extreme)[0])
        most = min(int(requantization.shift.min()), ranges.scale_bits + 2)
        added = Residual(residual.name, multiplier, int(rng.integers(max(0, most - 3), most, endpoint=True)))
    if kind == "linear":
        return Linear(x.name, output, tuple(planes), requantization, added)
    depthwise = kind == "depthwise"
    return Conv2d(x.name, output, tuple(planes), requantization, window[1], window[2], depthwise, added)


def _residual_layers(
    rng: Generator,
    name: str,
    x: Tensor,
    ranges: Ranges,
    *,
    sparse: bool | None = None,
    dense: str | None = None,
) -> list[Layer]:
    """Return a layer and another one of the same window that adds the result of the first."""
    kind = pick(rng, ("conv", "depthwise", "linear"))
    outputs, window = _between(rng, ranges.channels), _window(rng, x, ranges)
    first = _weight_layer(rng, f"{name}.first", kind, x, ranges, outputs=outputs, window=window)
    planes = {"sparse": sparse, "dense": dense}
    second = _weight_layer(rng, name, kind, x, ranges, outputs=outputs, window=window, residual=first.output, **planes)
    return [first, second]


def _own_residual(
    rng: Generator,
    name: str,
    x: Tensor,
    ranges: Ranges,
    *,
    sparse: bool | None = None,
    dense: str | None = None,
) -> Layer:
    """Return a convolution that adds what it reads: its window keeps the size of the image, whatever its stride."""
    kernel, stride = (tuple(rng.integers(1, most, 2, endpoint=True).tolist()) for most in (ranges.max_kernel, 3))
    paddings = []
    for extent, size, step in zip(x.shape[1:], kernel, stride, strict=True):
        more = (extent - 1) * step + size - extent
        first = int(rng.integers(0, more, endpoint=True))
        paddings.append((first, more - first))
    (top, bottom), (left, right) = paddings
    window = kernel, stride, (top, left, bottom, right)
    kind, planes = pick(rng, ("conv", "depthwise")), {"sparse": sparse, "dense": dense}
    return _weight_layer(rng, name, kind, x, ranges, outputs=x.shape[0], window=window, residual=x, **planes)


def _plane_shift(rng: Generator, form: str, pattern: Pattern, ranges: Ranges) -> int:
    """Return a plane's shift; on an engine only the dense plane has one. Binary weights, which cannot be left out where
    sums get too large, have none.
    """
    if ranges.free:
        return 0 if form == "binary" else int(rng.integers(8))
    if pattern.kind != "dense" or ranges.fit.dense_bits:
        return 0
    return int(rng.integers(1 << ranges.fit.shift_bits))


def _plane_kinds(rng: Generator, ranges: Ranges, sparse: bool | None, dense: str | None) -> list[tuple[str, Pattern]]:
    digits = ("ternary", "ternary", "digits2", "digits3", "digits4", "digits5")
    integers = tuple(f"int{bits}" for bits in range(2, 9))
    if ranges.free and sparse is None and dense is None:
        patterns = [Pattern.parse(text) for text in ("dense", "unstructured", "2:4", "1:3/2", "1:16", "fixed2:5")]
        patterns += UNIT_PATTERNS
        kinds = [
            (str(rng.choice((*digits, *integers, "int16"))), pick(rng, patterns)) for _ in range(rng.integers(1, 4))
        ]
        return [("binary", Pattern()), *kinds[1:]] if rng.random() < 0.1 else kinds
    if ranges.fit.dense_bits and sparse is None and dense is None:
        names = ("ternary", *integers[: ranges.fit.dense_bits - 1], integers[min(ranges.fit.dense_bits, 8) - 2])
        if ranges.fit.dense_bits == 16:
            names = (*names, "int16", "int16", "int4", "int4")
        return [(str(rng.choice(names)), Pattern())]
    kinds = [(dense or str(rng.choice(digits)), Pattern())]
    if ranges.fit.slots and (sparse if sparse is not None else rng.integers(2)):
        n, block = int(rng.integers(1, ranges.fit.slots, endpoint=True)), ranges.fit.block
        patterns = [Pattern("n:m", n, m, group) for m, group in ((block, 1), (block, 1), (2 * block, 1), (block, 16))]
        if ranges.fit.positions != "own":
            shared = Pattern("n:m", n, block, 16), Pattern("n:m", n, 2 * block, 32)
            fixed = Pattern("fixed", n, block), Pattern("fixed", n, 2 * block)
            patterns = [*fixed, *(shared if ranges.fit.positions == "shared" else ())]
        integers = integers[: ranges.fit.slot_bits - 1]
        kinds.append((str(rng.choice((integers[-1], integers[-1], *integers))), pick(rng, patterns)))
        if sparse is None and dense is None and rng.random() < 0.15:
            return kinds[1:]
    return kinds


def _bounded(rng: Generator, planes: Sequence[Plane], x: Tensor, ranges: Ranges) -> list[Plane]:
    """Return planes with random weights set to zero until their accumulators keep below their limit."""
    greatest = LARGEST_ACCUMULATOR if ranges.free else (1 << (ranges.fit.acc_bits - 1)) - 1
    limit = greatest // _magnitude(x)
    sizes = [(np.abs(p.weights.astype(np.int64)) << p.shift).reshape(len(p.weights), -1) for p in planes]
    settled = sum(size.sum(axis=1) for size, plane in zip(sizes, planes, strict=True) if not plane.format.has_zero)
    rest = sum(size for size, plane in zip(sizes, planes, strict=True) if plane.format.has_zero)
    kept = np.ones(sizes[0].shape, bool)
    for number, mask in enumerate(kept):
        order = rng.permutation(mask.size)
        row = np.broadcast_to(rest, kept.shape)[number]
        mask[order[row[order].cumsum() > limit - np.broadcast_to(settled, len(kept))[number]]] = False
    return [
        replace(plane, weights=plane.weights * kept.reshape(plane.weights.shape)) if plane.format.has_zero else plane
        for plane in planes
    ]


def _requantization(
    rng: Generator,
    planes: Sequence[Plane],
    x: Tensor,
    output: Tensor,
    scale_bits: int,
    *,
    extreme: bool = False,
    greatest_bias: int = (1 << 31) - 1,
) -> Requantization:
    """Return a bias and a shift that spread the output over its range for inputs uniform over theirs."""
    outputs = output.shape[0]
    lo, hi = _clip(rng, output.format)
    multiplier = multipliers(rng, outputs, scale_bits, extreme)
    flat = weight_matrix(planes).reshape(outputs, -1).astype(float) * multiplier[:, None]
    mean = flat.sum(axis=1) * (x.format.lo + x.format.hi) / 2
    deviation = np.sqrt((flat**2).sum(axis=1)) * (_span(x) / 3.46) + 1
    shift = np.array([_shift(rng, value * 6, output.format, extreme) for value in deviation])
    middle = (output.format.lo + output.format.hi) / 2 * 2.0**shift
    bias = np.clip(middle - mean + rng.normal(0, deviation / 2), -greatest_bias, greatest_bias).astype(np.int64)
    if extreme:
        bias = np.where(rng.random(outputs) < 0.5, ends(rng, -greatest_bias, greatest_bias, (outputs,)), bias)
    return Requantization(multiplier.astype(np.int32), bias, shift.astype(np.uint8), lo, hi)


def _whole_range(requantization: Requantization, form: ActivationFormat) -> Requantization:
    return replace(requantization, lo=form.lo, hi=form.hi)


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
