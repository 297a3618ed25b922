# SPDX-License-Identifier: Apache-2.0
"""What makes an integer network well formed; every refusal names the layer and the field."""

import math
from collections.abc import Sequence

import numpy as np

from intarsia.errors import IntarsiaError
from intarsia.integer.formats import MOST_TIE
from intarsia.integer.layers import (
    LARGEST_BIAS,
    LARGEST_TENSOR,
    MAX_SHIFT,
    Add,
    AveragePool,
    Conv2d,
    Ints,
    Layer,
    Linear,
    MaxPool,
    Plane,
    Requantization,
    Residual,
    Shape,
    Tensor,
    WeightLayer,
    weight_matrix,
)
from intarsia.integer.units import support, taken_units, unit_numbers
from intarsia.text import is_printable

#: What a residual adds before the shift, so that sums of it, of acc·m and of a bias are exact in float64.
_LARGEST_RESIDUAL = 1 << 50
#: Greatest magnitude of an accumulator: 2^14 products of 15 and 15 bits. Times a multiplier of 16 bits it fits int64.
LARGEST_ACCUMULATOR = 1 << 44


def window_output(
    height: int,
    width: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
) -> tuple[int, int]:
    """Height and width after sliding a window; 0 or less where it does not fit."""
    top, left, bottom, right = padding
    return (
        (height + top + bottom - kernel[0]) // stride[0] + 1,
        (width + left + right - kernel[1]) // stride[1] + 1,
    )


def check_layers(name: str, source: Tensor, layers: Sequence[Layer], scale_bits: int) -> None:
    """Refuse a network whose layers do not fit together.

    Raises:
        IntarsiaError: names the layer and what is wrong with it.
    """
    for text in (name, source.name, *(layer.output.name for layer in layers)):
        if not is_printable(text):
            raise IntarsiaError(f"the name {text!a} holds a character that does not print.")
    if not 1 <= scale_bits <= 16:
        raise IntarsiaError(f"network {name}: scale_bits is {scale_bits}, it must be 1 to 16.")
    if not layers:
        raise IntarsiaError(f"network {name} has no layers.")
    _check_size(source.shape, f"input {source.name}")
    tensors: dict[str, Tensor] = {source.name: source}
    reach = {source.name: _reach(source.format.lo, source.format.hi)}
    for layer in layers:
        where = f"layer {layer.output.name}"
        for read in layer.inputs:
            if read not in tensors:
                raise IntarsiaError(f"{where}: reads tensor {read!r}, which no layer before it writes.")
        if layer.output.name in tensors:
            raise IntarsiaError(f"{where}: writes a tensor that exists already.")
        if isinstance(layer, Conv2d | Linear):
            _check_axes(layer, where)
        inputs = [tensors[name] for name in layer.inputs]
        expected = _output_shape(layer, inputs, where)
        _check_size(expected, where)
        if layer.output.shape != expected:
            raise IntarsiaError(f"{where}: its output is {layer.output.shape}, but its input makes {expected}.")
        if isinstance(layer, Conv2d | Linear) and layer.residual and inputs[1].shape != expected:
            raise IntarsiaError(f"{where}: its residual is {inputs[1].shape}, but its output {expected}.")
        _check_values(layer, inputs[0], reach[layer.inputs[0]], scale_bits, where)
        if isinstance(layer, Conv2d | Linear) and layer.residual:
            _check_residual(layer.residual, inputs[1], layer.requantization, scale_bits, where)
        tensors[layer.output.name] = layer.output
        reach[layer.output.name] = reach[layer.inputs[0]] if isinstance(layer, MaxPool) else _reach(*_limits(layer))


def _reach(lo: int, hi: int) -> int:
    """Return the greatest magnitude of a value of lo … hi."""
    return max(-lo, hi, 0)


def _limits(layer: Conv2d | Linear | Add | AveragePool) -> tuple[int, int]:
    """Return what a layer clips its results to; often less than their format holds."""
    if isinstance(layer, Conv2d | Linear):
        return layer.requantization.lo, layer.requantization.hi
    return layer.lo, layer.hi


def _output_shape(layer: Layer, inputs: list[Tensor], where: str) -> Shape:
    channels, height, width = inputs[0].shape
    if isinstance(layer, Add):
        if inputs[0].shape != inputs[1].shape:
            raise IntarsiaError(f"{where}: adds tensors of {inputs[0].shape} and {inputs[1].shape}.")
        return inputs[0].shape
    if isinstance(layer, Linear):
        shape = layer.planes[0].weights.shape
        if shape[1:] != inputs[0].shape:
            raise IntarsiaError(f"{where}: weights {shape} do not fit an input of {inputs[0].shape}.")
        return int(shape[0]), 1, 1
    if min(layer.padding) < 0 or min(layer.stride) < 1:
        raise IntarsiaError(f"{where}: padding must be at least 0 and stride at least 1.")
    top, left, bottom, right = layer.padding
    _check_size((channels, height + top + bottom, width + left + right), where)
    out_h, out_w = window_output(height, width, layer.kernel, layer.stride, layer.padding)
    if min(out_h, out_w) < 1:
        raise IntarsiaError(f"{where}: its kernel {layer.kernel} does not fit into the input {inputs[0].shape}.")
    if not isinstance(layer, Conv2d):
        return channels, out_h, out_w
    outputs, per_group = layer.planes[0].weights.shape[:2]
    if per_group != (1 if layer.depthwise else channels) or (layer.depthwise and outputs != channels):
        raise IntarsiaError(f"{where}: weights {layer.planes[0].weights.shape} do not fit {channels} channels.")
    return int(outputs), out_h, out_w


def _check_size(shape: Shape, where: str) -> None:
    if math.prod(shape) > LARGEST_TENSOR:
        raise IntarsiaError(f"{where}: {shape} with its padding has more than {LARGEST_TENSOR:,} elements.")


def _check_axes(layer: WeightLayer, where: str) -> None:
    if not layer.planes:
        raise IntarsiaError(f"{where}: has no planes.")
    for number, plane in enumerate(layer.planes):
        if plane.weights.ndim != 4 or 0 in plane.weights.shape:
            axes = "outputs, input channels, height, width"
            what = "of its input" if isinstance(layer, Linear) else "of the kernel"
            raise IntarsiaError(
                f"{where}, plane {number}: weights of shape {plane.weights.shape} need 4 axes, none of them empty: "
                f"{axes} {what}."
            )


def _check_values(layer: Layer, source: Tensor, reach: int, scale_bits: int, where: str) -> None:
    if isinstance(layer, Conv2d | Linear):
        _check_weight_layer(layer, reach, scale_bits, where)
        return
    if isinstance(layer, MaxPool):
        if layer.output.format != source.format:
            raise IntarsiaError(f"{where}: a max pool keeps the format {source.format} of its input.")
        if any(p >= k for p, k in zip(layer.padding, (*layer.kernel, *layer.kernel), strict=True)):
            raise IntarsiaError(f"{where}: a max pool's padding must be smaller than its kernel.")
        return
    multipliers = layer.multipliers if isinstance(layer, Add) else (layer.multiplier,)
    _check_range(np.array(multipliers), 0, (1 << scale_bits) - 1, f"{where}: multiplier")
    _check_range(np.array([layer.shift]), 0, MAX_SHIFT, f"{where}: shift")
    _check_clip(layer, layer.output, where)


def _check_weight_layer(layer: WeightLayer, reach: int, scale_bits: int, where: str) -> None:
    outputs = layer.output.shape[0]
    for number, plane in enumerate(layer.planes):
        name = f"{where}, plane {number}"
        if plane.weights.shape != layer.planes[0].weights.shape:
            raise IntarsiaError(f"{name}: weights of shape {plane.weights.shape} do not fit the other planes.")
        _check_range(plane.weights, -plane.format.limit, plane.format.limit, f"{name}: weight")
        _check_range(np.array([plane.shift]), 0, MOST_TIE, f"{name}: shift")
        _check_pattern(plane, name)
        _check_units(layer, number, name)
    if int(accumulator_bound(weight_matrix(layer.planes), reach).max()) > LARGEST_ACCUMULATOR:
        raise IntarsiaError(f"{where}: its accumulators can pass 2^44; use fewer inputs or narrower formats.")
    _check_requantization(layer.requantization, outputs, scale_bits, where)
    _check_clip(layer.requantization, layer.output, where)


def accumulator_bound(weights: Ints, magnitude: int) -> Ints:
    """Greatest magnitude of Σ w·x for each output channel, over all inputs of −magnitude … magnitude; (O,) int64."""
    flat = np.abs(weights.reshape(weights.shape[0], -1).astype(np.int64))
    return np.asarray(flat.sum(axis=1) * magnitude)


def greatest_magnitude(source: Tensor) -> int:
    """Greatest magnitude of a value of a tensor's format."""
    return max(-source.format.lo, source.format.hi)


def _check_pattern(plane: Plane, name: str) -> None:
    pattern = plane.pattern
    if pattern.kind == "fixed" and bool((plane.weights != 0)[~support(plane.weights, pattern)].any()):
        raise IntarsiaError(
            f"{name}: has weights beyond the first {pattern.n} in {pattern.m}, against its pattern {pattern}."
        )
    if pattern.kind == "n:m":
        _check_counts(plane, name)


def _check_units(layer: WeightLayer, number: int, name: str) -> None:
    """Refuse what only the other planes or the kind of the layer show: a rest that is none, or a binary weight of 0."""
    plane, depthwise = layer.planes[number], isinstance(layer, Conv2d) and layer.depthwise
    if plane.pattern.rest:
        units = unit_numbers(plane.weights.shape, plane.pattern, depthwise=depthwise)
        own, before = taken_units(plane.weights, units), layer.planes[:number]
        if not before:
            raise IntarsiaError(f"{name}: its pattern {plane.pattern} needs a plane before it.")
        if any(bool((own & taken_units(other.weights, units)).any()) for other in before):
            raise IntarsiaError(
                f"{name}: has weights where a plane before it has, against its pattern {plane.pattern}."
            )
    if plane.format.has_zero:
        return
    if plane.pattern.kind == "n:m":
        raise IntarsiaError(f"{name}: {plane.format.name} weights have no 0 for an empty place of {plane.pattern}.")
    if bool((plane.weights == 0)[support(plane.weights, plane.pattern, depthwise=depthwise)].any()):
        raise IntarsiaError(f"{name}: a {plane.format.name} weight is 0; it must be -1 or 1.")


def _check_counts(plane: Plane, name: str) -> None:
    pattern = plane.pattern
    outputs, inputs = plane.weights.shape[:2]
    m = min(pattern.m, inputs)  # a longer group holds the same channels
    padded = -(-inputs // m) * m
    support = np.zeros((outputs, padded, *plane.weights.shape[2:]), bool)
    support[:, :inputs] = plane.weights != 0
    if pattern.group > 1:
        shared = [support[i : i + pattern.group].any(axis=0) for i in range(0, outputs, pattern.group)]
        support = np.stack(shared)
    blocks = support.reshape(support.shape[0], padded // m, m, -1)
    if int(blocks.sum(axis=2).max(initial=0)) > pattern.n:
        raise IntarsiaError(f"{name}: has more than {pattern.n} weights in {pattern.m}, against its pattern {pattern}.")


def _check_requantization(requantization: Requantization, outputs: int, scale_bits: int, where: str) -> None:
    for field in ("multiplier", "bias", "shift"):
        values = getattr(requantization, field)
        if values.shape != (outputs,):
            raise IntarsiaError(f"{where}: needs one {field} for each of {outputs} channels.")
    _check_range(requantization.multiplier, 0, (1 << scale_bits) - 1, f"{where}: multiplier")
    _check_range(requantization.bias, -LARGEST_BIAS, LARGEST_BIAS, f"{where}: bias")
    _check_range(requantization.shift, 0, MAX_SHIFT, f"{where}: shift")


def _check_residual(
    residual: Residual, source: Tensor, requantization: Requantization, scale_bits: int, where: str
) -> None:
    _check_range(np.array([residual.multiplier]), 0, (1 << scale_bits) - 1, f"{where}: multiplier of the residual")
    least = int(requantization.shift.min())
    _check_range(np.array([residual.shift]), 0, least, f"{where}: shift of the residual, at most each channel's own")
    bits = int(requantization.shift.max()) - residual.shift
    if (residual.multiplier * greatest_magnitude(source)) << bits > _LARGEST_RESIDUAL:
        raise IntarsiaError(f"{where}: its residual counts more than 2^50 in some channel; use smaller shifts.")


def _check_clip(clip: Requantization | Add | AveragePool, output: Tensor, where: str) -> None:
    if not output.format.lo <= clip.lo <= clip.hi <= output.format.hi:
        raise IntarsiaError(f"{where}: clips to {clip.lo} … {clip.hi}, which its format {output.format} cannot hold.")


def _check_range(values: Ints, lo: int, hi: int, what: str) -> None:
    if not np.issubdtype(values.dtype, np.integer):
        raise IntarsiaError(f"{what}: must be integers, not {values.dtype}.")
    if values.size and (int(values.min()) < lo or int(values.max()) > hi):
        raise IntarsiaError(f"{what}: outside {lo} … {hi}.")
