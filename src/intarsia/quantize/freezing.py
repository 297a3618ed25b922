# SPDX-License-Identifier: Apache-2.0
"""From a quantized network to the integer network: where learning ends and integers begin."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from intarsia.errors import IntarsiaError
from intarsia.integer.layers import (
    LARGEST_BIAS,
    Add,
    AveragePool,
    Conv2d,
    Layer,
    Linear,
    MaxPool,
    Plane,
    Requantization,
    Residual,
    Tensor,
)
from intarsia.integer.network import IntegerNetwork
from intarsia.quantize.module import QuantizedNetwork, attach
from intarsia.quantize.planes import fit_multipliers
from intarsia.quantize.scheme import Scheme
from intarsia.quantize.step import Step
from intarsia.quantize.transforms.settings import NO_TRANSFORMS, Transforms


def freeze(module: QuantizedNetwork, *, name: str, metadata: Mapping[str, str] | None = None) -> IntegerNetwork:
    """Return the integer network that a quantized network has become; `module` keeps its scales from now on.

    Args:
        module: calibrated or trained; its scales are snapped if they are not yet.
        name: of the network.
        metadata: free text for people.

    Raises:
        IntarsiaError: a weight or scale is not finite, or the network's values do not fit the integer formats.
    """
    for label, value in module.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            raise IntarsiaError(f"{label} is not finite: training diverged; lower the learning rate and train again.")
    module.snap()
    layers = tuple(_layer(module, step) for step in module.steps)
    source = Tensor("input", module.shape, module.format_of("input"), module.input_scale)
    text = {"scheme": module.scheme.name, **(metadata or {})}
    return IntegerNetwork(name, source, layers, module.scheme.scale_bits, text)


@torch.no_grad()
def freeze_untrained(
    model: nn.Module,
    scheme: Scheme,
    shape: tuple[int, int, int],
    *,
    name: str,
    transforms: Transforms = NO_TRANSFORMS,
) -> IntegerNetwork:
    """Return an integer network of the shapes, planes, formats and patterns that a scheme gives a model.

    Nothing is calibrated and biases are left out, so its results mean nothing.

    Args:
        model: of supported layers; it is not changed.
        scheme: planes and activation bits.
        shape: (channels, height, width) of the input.
        name: of the network.
        transforms: that the float network goes through first.

    Raises:
        IntarsiaError: an operator is not supported, or the scheme names a layer that does not exist.
    """
    module = attach(model, scheme, shape, 1.0, transforms=transforms)
    for step in module.steps:
        if step.module is not None:
            assert step.module.bias is not None  # noqa: S101 (attach gave it one)
            step.module.bias.zero_()
    return freeze(module, name=name)


def _layer(module: QuantizedNetwork, step: Step) -> Layer:
    output = Tensor(step.name, step.shape, module.format_of(step.name), module.scale_of(step.name))
    if step.module is not None:
        return _weight_layer(module, step, output)
    if step.kind == "maximum":
        return MaxPool(step.inputs[0], output, step.kernel, step.stride, step.padding)
    lo, hi = _clip(step, output)
    multipliers, shift = fit_multipliers(module.float_gains(step)[:, None], module.scheme.scale_bits)
    if step.kind == "add":
        first, second = (int(m) for m in multipliers[:, 0])
        return Add((step.inputs[0], step.inputs[1]), output, (first, second), int(shift), lo, hi)
    return AveragePool(
        step.inputs[0], output, step.kernel, step.stride, step.padding, int(multipliers[0, 0]), int(shift), lo, hi
    )


def _weight_layer(module: QuantizedNetwork, step: Step, output: Tensor) -> Conv2d | Linear:
    weight, quantizer = module.weight_of(step)
    integers = quantizer.integers(weight)
    parts = zip(integers.weights, quantizer.formats, quantizer.patterns, integers.shifts, strict=True)
    planes = tuple(
        Plane(_array(values, np.int8 if form.limit < 128 else np.int16), form, pattern, k)
        for values, form, pattern, k in parts
    )
    shift = _array(integers.shift, np.int64)
    assert step.module is not None and step.module.bias is not None  # noqa: S101 (attach gave it one)
    bias = step.module.bias.detach().cpu().double().numpy() / output.scale
    fixed = np.floor(bias * np.exp2(shift.astype(np.float64)) + 0.5)
    if np.any(np.abs(fixed) > LARGEST_BIAS):
        raise IntarsiaError(
            f"layer {step.name}: a bias of {np.abs(bias).max():.3g} output steps exceeds 2^46 at a shift of "
            f"{shift.max()}; give the scheme other planes or train it longer."
        )
    multiplier = _array(integers.multiplier, np.int32)
    requantization = Requantization(multiplier, fixed.astype(np.int64), shift.astype(np.int32), *_clip(step, output))
    residual = Residual(step.inputs[1], *module.residual_multiplier(step)) if len(step.inputs) > 1 else None
    source, window = step.inputs[0], (step.stride, step.padding, step.depthwise)
    if step.kind == "linear":
        return Linear(source, output, planes, requantization, residual)
    return Conv2d(source, output, planes, requantization, *window, residual)


def _clip(step: Step, output: Tensor) -> tuple[int, int]:
    """Return the integers that results are clipped to: rounded half up, as the quantizer rounds what was clipped."""
    lo, hi = output.format.lo, output.format.hi
    if step.floor > -math.inf:
        lo = max(lo, math.floor(step.floor / output.scale + 0.5))
    if step.ceiling < math.inf:
        hi = min(hi, math.floor(step.ceiling / output.scale + 0.5))
    return lo, hi


def _array(values: torch.Tensor, dtype: type[np.signedinteger]) -> NDArray[np.signedinteger]:
    return values.detach().cpu().numpy().astype(dtype)
