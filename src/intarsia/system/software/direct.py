# SPDX-License-Identifier: Apache-2.0
"""The plain form: one multiplication for each weight, for any layer."""

import math

import numpy as np
from numpy.typing import NDArray

from intarsia.integer.layers import Add, AveragePool, Conv2d, MaxPool, Tensor, WeightLayer, weight_matrix
from intarsia.system.software.geometry import Window, convolution, window_of
from intarsia.system.software.pieces import (
    Argument,
    Constant,
    Kernel,
    Lowered,
    Table,
    Use,
    narrowest,
    storage_type,
    written_type,
)
from intarsia.system.software.ranges import (
    Range,
    fits_int32,
    residual_multipliers,
    rounded_bias,
    sum_magnitude,
    total_bits,
)

#: Output channels that a kernel can compute together, the best first.
GROUPS = (8, 4, 2, 1)
#: Instructions for one output besides its sum.
REQUANTIZATION = 14.0


def channel_table(multiplier: NDArray[np.int64], bias: NDArray[np.int64], shift: NDArray[np.int64], bits: int) -> Table:
    """Return the requantization of output channels, for sums of so many bits."""
    rows = tuple(zip(bias.tolist(), multiplier.tolist(), shift.tolist(), strict=True))
    return Table("channels", f"intarsia_channel{bits}", rows, 8 if bits == 32 else 16, array=True)


def finish(
    layer: WeightLayer, inputs: list[Tensor], ranges: list[Range], reach: NDArray[np.int64], bias: NDArray[np.int64]
) -> tuple[tuple[tuple[str, str], ...], tuple[Argument, ...]]:
    """Return the parameters and the arguments of a kernel that requantizes.

    Args:
        layer: whose outputs these are.
        inputs: its tensors, the residual second.
        ranges: of them.
        reach: greatest magnitude of the accumulators, (O,).
        bias: that is added, with the rounding, (O,).
    """
    own = layer.requantization
    bits = total_bits(layer, reach, bias, ranges[1] if layer.residual else None)
    parameters: tuple[tuple[str, str], ...] = (("Y", written_type(layer.output.format)), ("SUM", str(bits)))
    arguments: tuple[Argument, ...] = (
        channel_table(own.multiplier.astype(np.int64), bias, own.shift.astype(np.int64), bits),
    )
    if layer.residual:
        residual = storage_type(inputs[1].format)
        parameters += (("R", residual),)
        added = Constant("added", f"int{bits}_t", residual_multipliers(layer))
        arguments += (Use(inputs[1].name, residual), added)
    return parameters, (*arguments, Use(layer.output.name, written_type(layer.output.format), writes=True))


def accumulator(reach: NDArray[np.int64]) -> str:
    """Return the C type of accumulators of this magnitude."""
    return "int32_t" if fits_int32(reach) else "int64_t"


def lower_weights(layer: WeightLayer, inputs: list[Tensor], ranges: list[Range]) -> Lowered:
    """Return a weight layer as a call of the plain kernels."""
    if isinstance(layer, Conv2d) and layer.depthwise:
        return _depthwise(layer, inputs, ranges)
    window, matrix = convolution(layer, inputs[0])
    group = next(group for group in GROUPS if window.outputs % group == 0)
    weights = matrix.reshape(window.outputs // group, group, -1).transpose(0, 2, 1)
    reach = sum_magnitude(matrix, ranges[0])
    ending, arguments = finish(layer, inputs, ranges, reach, rounded_bias(layer.requantization))
    source = storage_type(inputs[0].format)
    parameters = (("X", source), ("W", narrowest(weights)), ("ACC", accumulator(reach)), ("CHANNELS", str(group)))
    pixels = 2 if window.out_width > 1 else 1
    each = 2 + 1 / group + 1 / pixels
    return Lowered(
        Kernel("conv", (*parameters, *ending)),
        (
            window.table(),
            Use(inputs[0].name, source),
            Constant("weights", narrowest(weights), weights),
            *arguments,
        ),
        window.pixels * window.outputs * (window.taps * each + REQUANTIZATION),
    )


def _depthwise(layer: Conv2d, inputs: list[Tensor], ranges: list[Range]) -> Lowered:
    window = window_of(layer, inputs[0])
    weights = weight_matrix(layer.planes)[:, 0]
    reach = sum_magnitude(weights, ranges[0])
    ending, arguments = finish(layer, inputs, ranges, reach, rounded_bias(layer.requantization))
    source = storage_type(inputs[0].format)
    parameters = (("X", source), ("W", narrowest(weights)), ("ACC", accumulator(reach)), *ending)
    kernel = Kernel("depthwise", parameters)
    if _is_3x3(window):
        kernel = Kernel("depthwise3x3", (*parameters, ("STRIDE", str(window.stride_width))))
    values = Constant("weights", narrowest(weights), weights)
    outputs = window.pixels * window.outputs
    return Lowered(kernel, (window.table(), Use(inputs[0].name, source), values, *arguments), 40.0 * outputs)


def _is_3x3(window: Window) -> bool:
    """Whether the kernel for 3 × 3 taps takes a layer."""
    if (window.kernel_height, window.kernel_width) != (3, 3) or window.stride_width not in (1, 2):
        return False
    beyond = (window.out_width - 1) * window.stride_width + 3 - window.left - window.width
    return window.width >= 2 and window.left <= 1 and beyond <= 1


def lower_add(layer: Add, inputs: list[Tensor], ranges: list[Range]) -> Lowered:
    """Return an addition as a call."""
    half = (1 << layer.shift) >> 1
    most = half + sum(m * r.magnitude for m, r in zip(layer.multipliers, ranges, strict=True))
    bits = "32" if fits_int32(most) else "64"
    first, second = (storage_type(tensor.format) for tensor in inputs)
    written = written_type(layer.output.format)
    size = math.prod(layer.output.shape)
    fields = (size, *layer.multipliers, half, layer.shift, layer.lo, layer.hi)
    return Lowered(
        Kernel("add", (("X", first), ("R", second), ("Y", written), ("SUM", bits))),
        (
            Table("addition", "intarsia_addition", (fields,), 4 * len(fields), array=False),
            Use(inputs[0].name, first),
            Use(inputs[1].name, second),
            Use(layer.output.name, written, writes=True),
        ),
        REQUANTIZATION * size,
    )


def lower_pool(layer: AveragePool | MaxPool, source: Tensor, reach: Range) -> Lowered:
    """Return a pooling as a call."""
    window = window_of(layer, source)
    bits, most, channel = "32", reach.magnitude, (0, 0, 0)
    if isinstance(layer, AveragePool):
        half = (1 << layer.shift) >> 1
        most = reach.magnitude * window.kernel_height * window.kernel_width
        bits = "32" if fits_int32(most * max(layer.multiplier, 1) + half) else "64"
        channel = (layer.multiplier, half, layer.shift)
    kind, written = storage_type(source.format), written_type(layer.output.format)
    parameters = (
        ("X", kind),
        ("Y", written),
        ("ACC", accumulator(np.array([most]))),
        ("SUM", bits),
        ("MAXIMUM", str(int(isinstance(layer, MaxPool)))),
    )
    multiplier, bias, shift = (np.array([value], np.int64) for value in channel)
    return Lowered(
        Kernel("pool", parameters),
        (
            window.table(),
            Use(source.name, kind),
            channel_table(multiplier, bias, shift, int(bits)),
            Use(layer.output.name, written, writes=True),
        ),
        window.pixels * window.outputs * (4.0 * window.kernel_height * window.kernel_width + REQUANTIZATION),
    )
