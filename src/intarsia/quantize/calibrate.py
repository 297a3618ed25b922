# SPDX-License-Identifier: Apache-2.0
"""Post-training quantization: everything that a few hundred images and least squares can set, in seconds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from intarsia.quantize.activations import ActivationQuantizer, best_activation_scale
from intarsia.quantize.compensate import compensated
from intarsia.quantize.data import TrainingData, reals
from intarsia.quantize.module import QuantizedNetwork, attach, own_padding, padded
from intarsia.quantize.objectives import class_logits
from intarsia.quantize.scheme import Scheme
from intarsia.quantize.step import Step, key
from intarsia.quantize.transforms.settings import NO_TRANSFORMS, Transforms
from intarsia.recipes import Criterion, Rounding

_SAMPLES = 400_000  # values of a tensor that its step is searched on


def post_training(
    model: nn.Module,
    dataset: TrainingData,
    scheme: Scheme,
    *,
    images: int = 512,
    criterion: Criterion = "residual",
    seed: int = 0,
    rounding: Rounding = "compensated",
    transforms: Transforms = NO_TRANSFORMS,
    progress: bool = False,
) -> QuantizedNetwork:
    """Quantize a trained network without training, ready to freeze: scales by least squares, positions by `criterion`,
    activation steps by mean squared error, weights rounded to make up for each other's errors and biases corrected
    (Nagel et al., Data-Free Quantization, 2019), layer by layer.

    Args:
        model: trained float network; it is not changed.
        dataset: its training images calibrate; a criterion but `residual` wants a label for each.
        scheme: planes and activation bits.
        images: how many training images to calibrate on.
        criterion: what decides the sparse positions: `residual`, `curvature` or `gradient`.
        seed: draws the images.
        rounding: so that the weights of a channel make up for each other's errors, or each weight to its `nearest`
            value, which takes seconds less, and is as good only where formats have levels to spare.
        transforms: that the float network goes through first; its function stays.
        progress: show a bar.

    Raises:
        IntarsiaError: an operator is not supported, or the scheme does not fit the network.
    """
    network, scaling = attached(model, dataset, scheme, transforms), dataset.scaling
    draw = np.random.default_rng(seed).permutation(len(dataset.train.images))[:images]
    x = reals(dataset.train.images[draw], scaling)
    network.eval()
    if criterion != "residual":
        labels = torch.from_numpy(dataset.train.labels[draw])
        gradients = weight_gradients(network, x, labels, criterion)
        for step in network.steps:
            if step.module is not None:
                weight, planes = network.weight_of(step)
                planes.fit(weight.detach(), criterion=criterion, gradient=gradients[step.name])
    floats = float_tensors(network, x)
    set_activation_steps(network, floats)
    network.snap()
    columns = sum(map(columns_of, network.steps))
    with tqdm(total=columns, desc="rounding weights", unit="column", leave=False, disable=not progress) as bar:
        correct(network, x, floats, rounding, progress=bar.update)
    return network


def attached(
    model: nn.Module, dataset: TrainingData, scheme: Scheme, transforms: Transforms = NO_TRANSFORMS
) -> QuantizedNetwork:
    """Return a float network with quantizers for the inputs of a data set, not calibrated yet (`attach`).

    Raises:
        IntarsiaError: an operator is not supported, or the scheme does not fit the network.
    """
    scaling, shape = dataset.scaling, dataset.train.images.shape[1:]
    size = (int(shape[0]), int(shape[1]), int(shape[2]))
    return attach(model, scheme, size, scaling.scale, signed=scaling.signed, grid=scaling.grid, transforms=transforms)


def float_step(network: QuantizedNetwork, step: Step, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return what a step computes with its float weights and without quantizers, clips included; (N, C, H, W)."""
    x = inputs[0]
    if step.module is None:
        return step.clip(x + inputs[1] if step.kind == "add" else network.compute(step, inputs))
    weight = network.weight_of(step)[0]
    m = step.module
    if isinstance(m, nn.Linear):
        result = functional.linear(x.flatten(1), weight, m.bias)[:, :, None, None]
    else:
        padding = own_padding(step)
        result = functional.conv2d(padded(step, x), weight, m.bias, step.stride, padding, m.dilation, m.groups)
    return step.clip(result if step.residual is None else result + inputs[1])


def float_tensors(network: QuantizedNetwork, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return every tensor of the float network (normalization folded) by name; gradients flow.

    It reads the input as the integer network does. Nothing behind the input can make up for what its rounding and
    clipping lose, and a few inputs beyond its range would move the mean of a channel by more than all weights do.
    """
    values = {"input": network.quantized_input(x)}
    for step in network.steps:
        values[step.name] = float_step(network, step, [values[name] for name in step.inputs])
    return values


@torch.no_grad()
def set_activation_steps(network: QuantizedNetwork, floats: dict[str, torch.Tensor]) -> None:
    """Set every activation step to the best for the float tensors."""
    for step in network.steps:
        if step.kind == "maximum":
            continue
        values = floats[step.name].flatten()
        stride = max(1, values.numel() // _SAMPLES)
        quantizer = network.quantizers[key(step.name)]
        assert isinstance(quantizer, ActivationQuantizer)  # noqa: S101 (for the type checker)
        if step is network.steps[-1]:
            quantizer.set_scale(max(float(values.abs().max()), 1e-6) / quantizer.format.hi)  # order, not error, matters
        else:
            quantizer.set_scale(best_activation_scale(values[::stride], quantizer.format))


@torch.no_grad()
def correct(
    network: QuantizedNetwork,
    x: torch.Tensor,
    floats: dict[str, torch.Tensor],
    rounding: Rounding = "compensated",
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> None:
    """Shift each bias so that the mean of its channel, over calibration images, is the float network's; before that,
    if weights are to be rounded so, let the weights of a channel make up for each other's errors.

    `progress` is called with numbers of columns that are done, see `columns_of`.
    """
    values = {"input": network.quantized_input(x)}
    for step in network.steps:
        inputs = [values[name] for name in step.inputs]
        if step.module is None or step.module.bias is None:
            total = network.compute(step, inputs)
        else:
            unclipped = replace(step, floor=-math.inf, ceiling=math.inf)
            wanted = float_step(network, unclipped, [floats[name] for name in step.inputs])
            if rounding == "compensated":
                weight, planes = network.weight_of(step)
                weight.copy_(compensated(step, weight, planes, inputs[0], floats[step.inputs[0]], progress=progress))
            else:
                progress(columns_of(step))
            found = network.compute(step, inputs)
            shift = (wanted - found).mean(dim=(0, 2, 3), keepdim=True)
            step.module.bias += shift.flatten()
            total = found.add_(shift)
        values[step.name] = network.finish(step, total)


def columns_of(step: Step) -> int:
    """Return how many weights an output channel of a step has."""
    return 0 if step.module is None else step.module.weight[0].numel()


def weight_gradients(
    network: QuantizedNetwork, x: torch.Tensor, labels: torch.Tensor, criterion: Criterion, batch: int = 8
) -> dict[str, torch.Tensor]:
    """Return a gradient statistic of the float loss for every weight, by layer.

    For `curvature` the root mean square over small batches (the diagonal of the empirical Fisher matrix), for
    `gradient` the mean.
    """
    steps = [step for step in network.steps if step.module is not None]
    weights = [network.weight_of(step)[0] for step in steps]
    sums = [torch.zeros_like(weight) for weight in weights]
    pieces = range(0, len(labels), batch)
    for start in pieces:
        logits = float_tensors(network, x[start : start + batch])[network.steps[-1].name].flatten(1)
        loss = functional.cross_entropy(class_logits(logits), labels[start : start + batch])
        for total, gradient in zip(sums, torch.autograd.grad(loss, weights), strict=True):
            total.add_(gradient.square() if criterion == "curvature" else gradient)
    means = [total / len(pieces) for total in sums]
    return {
        step.name: mean.sqrt() if criterion == "curvature" else mean for step, mean in zip(steps, means, strict=True)
    }
