# SPDX-License-Identifier: Apache-2.0
"""Whether a frozen network computes what its quantized model in floating point does, on any machine."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from intarsia.integer import Conv2d, IntegerNetwork, Linear
from intarsia.integer.executor import Executor
from intarsia.quantize.module import QuantizedNetwork, own_padding, padded
from intarsia.quantize.step import Step

#: Half the distance of 1 and the next float32: the greatest relative error of one operation.
_UNIT = 2.0**-24
#: Roundings of a value besides those of its sum: of its weights' scales, its bias, its division by the output's step.
_OTHER_ROUNDINGS = 16


@torch.no_grad()
def assert_integers_are_their_model(
    module: QuantizedNetwork, network: IntegerNetwork, images: NDArray[np.integer]
) -> None:
    """Assert that each layer, given the integers before it, rounds to the integers that the executor has.

    Floating-point sums depend on the processor, so a value within their error of a tie may round either way. That error
    is bounded here by what any order of summation can cause (Higham, Accuracy and Stability of Numerical Algorithms,
    2002, chapter 4), and by the rounding of the integer bias. Nothing else may differ, and nothing by more than one.
    Layers are compared one by one, because one such unit makes many of the layers behind it.

    Args:
        module: frozen, in evaluation mode or not.
        network: what it was frozen to.
        images: (N, C, H, W) integers of the network's input.
    """
    integers = Executor(network).trace(images)

    def reals(name: str) -> torch.Tensor:
        return torch.from_numpy(integers[name]).float() * network.tensors[name].scale

    assert np.array_equal(_rounded(module.quantized_input(reals("input")), network.input.scale), integers["input"])
    for step, layer in zip(module.steps, network.layers, strict=True):
        inputs, expected, scale = [reals(name) for name in step.inputs], integers[step.name], layer.output.scale
        total = module.compute(step, inputs)
        found, error = module.finish(step, total), np.zeros(expected.shape)
        if step.kind != "maximum":
            error = _error(module, step, inputs) / scale
            if isinstance(layer, Conv2d | Linear):
                bias = 0.5 * np.exp2(-layer.requantization.shift.astype(float))
                error = error.reshape(expected.shape) + bias[:, None, None]
        rounded = _rounded(found, scale).reshape(expected.shape)
        exact = (step.clip(total).double().numpy() / scale).reshape(expected.shape)
        tie = np.abs(exact - (rounded + expected) / 2) <= error
        wrong = (rounded != expected) & ~(tie & (np.abs(rounded - expected) == 1))
        assert not wrong.any(), (step.name, exact[wrong][:5], rounded[wrong][:5], expected[wrong][:5])


def _rounded(values: torch.Tensor, scale: float) -> NDArray[np.float64]:
    return np.asarray(np.floor(values.double().numpy() / scale + 0.5))


def _error(module: QuantizedNetwork, step: Step, inputs: Sequence[torch.Tensor]) -> NDArray[np.float64]:
    """Return the greatest error of what a step computes in float32, in real units, whatever the order of its sums."""
    sizes = [x.abs() for x in inputs]
    if step.module is None:
        terms = step.kernel[0] * step.kernel[1] if step.kind == "average" else 2
        total = module.compute(step, sizes)
    else:
        weight, planes = module.weight_of(step)
        scales = planes.scales().view(-1, len(weight), *[1] * (weight.dim() - 1))
        values = torch.stack([plane.reshape(weight.shape) for plane in planes.values(weight)])
        size = (values.abs() * scales).sum(dim=0)
        terms, total = weight[0].numel() + 2, _weighted(step, sizes[0], size)
        if step.residual is not None:
            total = total + sizes[1] * module.gain(step)[0]
    return (terms + _OTHER_ROUNDINGS) * _UNIT * total.double().numpy()


def _weighted(step: Step, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    assert step.module is not None and step.module.bias is not None
    bias = step.module.bias.abs()
    if isinstance(step.module, nn.Conv2d):
        return functional.conv2d(padded(step, x), weight, bias, step.stride, own_padding(step), 1, step.module.groups)
    return functional.linear(x.flatten(1), weight, bias)[:, :, None, None]
