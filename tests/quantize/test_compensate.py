# SPDX-License-Identifier: Apache-2.0
import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from intarsia.datasets import InputScaling
from intarsia.quantize.calibrate import post_training
from intarsia.quantize.compensate import _patches, compensated
from intarsia.quantize.data import Samples, TrainingSet, outputs_of
from intarsia.quantize.module import QuantizedNetwork, attach
from intarsia.quantize.plan import Step
from intarsia.quantize.planes import PlanedWeight
from intarsia.quantize.scheme import Scheme
from intarsia.recipes import Rounding


class _One(nn.Module):
    """A network of one layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layer(x.flatten(1) if isinstance(self.layer, nn.Linear) else x)
        return result


def attached(layer: nn.Module, shape: tuple[int, int, int], text: str) -> QuantizedNetwork:
    scheme = Scheme.parse(f"{text}, first={text}, last={text}, depthwise={text}")
    return attach(_One(layer), scheme, shape, 1 / 16)


def inputs(shape: tuple[int, int, int], seed: int) -> torch.Tensor:
    """Return correlated, positive inputs, as a layer behind a ReLU has them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(200, *shape, generator=generator)
    mixing = torch.randn(shape[0], shape[0], generator=generator)
    return functional.relu(torch.einsum("nchw,dc->ndhw", x, mixing) / shape[0] ** 0.5 + 0.5)


@pytest.mark.parametrize("text", ["int3", "int4", "digits2", "digits2+1:16xint8"])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: nn.Conv2d(16, 8, 3, padding=1), (16, 6, 6)),
        (lambda: nn.Conv2d(16, 8, 1, stride=2), (16, 6, 6)),
        (lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8), (8, 6, 6)),
        (lambda: nn.Linear(48, 10), (48, 1, 1)),
    ],
    ids=["conv", "strided", "depthwise", "linear"],
)
def test_a_layers_output_comes_nearer_than_by_nearest_rounding(
    layer: "type[nn.Module]", shape: tuple[int, int, int], text: str
) -> None:
    torch.manual_seed(0)
    network = attached(layer(), shape, text)
    step = network.steps[0]
    weight, planes = network.weight_of(step)
    x = inputs(shape, 1)

    def output(of: torch.Tensor) -> torch.Tensor:
        module = step.module
        if isinstance(module, nn.Conv2d):
            found = functional.conv2d(x, of, None, module.stride, module.padding, module.dilation, module.groups)
        else:
            found = functional.linear(x.flatten(1), of)
        return found - found.mean(dim=[0, *range(2, found.dim())], keepdim=True)  # the bias makes up for means

    wanted, nearest = output(weight), output(planes(weight))
    changed = compensated(step, weight, planes, x, x)
    errors = [float((found - wanted).detach().square().mean()) for found in (output(planes(changed)), nearest)]
    assert errors[0] < errors[1]


def one_by_one(
    step: Step, weight: torch.Tensor, planes: PlanedWeight, found: torch.Tensor, wanted: torch.Tensor
) -> torch.Tensor:
    """`compensated` as it is written down: one column after the other, all planes evaluated for each."""
    layer = step.module
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1

    def rows(x: torch.Tensor) -> torch.Tensor:
        if isinstance(layer, nn.Conv2d):
            top, left = step.padding[:2]
            x = functional.unfold(x, layer.kernel_size, padding=(top, left), stride=layer.stride)
            x = x.transpose(1, 2).flatten(0, 1)
        seen = x.flatten(1).reshape(len(x), groups, -1).transpose(0, 1)
        return seen - seen.mean(1, keepdim=True)

    seen, target = rows(found), rows(wanted)
    flat = weight.reshape(groups, -1, seen.shape[2])
    squares = seen.mT @ seen
    damping = torch.eye(seen.shape[2]) * (0.01 * squares.diagonal(dim1=1, dim2=2).mean(1))[:, None, None]
    gram = squares + damping
    result = flat @ torch.linalg.solve(gram, seen.mT @ target + damping).mT
    upper = torch.linalg.cholesky(torch.linalg.inv(gram), upper=True)

    def rounded() -> torch.Tensor:
        return planes(result.reshape(weight.shape)).detach().reshape(result.shape)

    for column in range(gram.shape[1]):
        error = (result - rounded())[:, :, column, None] / upper[:, column, column, None, None]
        result[:, :, column + 1 :] -= error * upper[:, None, column, column + 1 :]
    outputs, wishes = seen @ rounded().mT, target @ flat.mT
    gains = ((outputs * wishes).sum(1) / outputs.square().sum(1).clamp_min(1e-9)).clamp(0.5, 2.0)
    changed = torch.lerp(rounded(), result, 0.2) * gains[:, :, None]
    with torch.no_grad():
        planes.log_scale.add_(gains.flatten().log())
    return changed.reshape(weight.shape)


@pytest.mark.parametrize("snapped", [False, True], ids=["free", "snapped"])
@pytest.mark.parametrize(
    "text", ["ternary+1:16xint4", "ternary+1:16/4xint8", "ternary+taps@0.2xint8", "mix-inputs:int8@0.2/binary", "int4"]
)
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: nn.Conv2d(32, 12, 3, padding=1), (32, 5, 4)),  # 288 columns
        (lambda: nn.Conv2d(16, 12, (1, 3), stride=2), (16, 6, 6)),
        (lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8), (8, 5, 5)),
        (lambda: nn.Linear(150, 10), (150, 1, 1)),
    ],
    ids=["conv", "strided", "depthwise", "linear"],
)
def test_blocks_of_columns_are_rounded_as_columns_one_by_one_are(
    layer: "type[nn.Module]", shape: tuple[int, int, int], text: str, snapped: bool
) -> None:
    torch.manual_seed(0)
    found = inputs(shape, 1)[:100].double()
    wanted = found + 0.05 * torch.randn(found.shape)
    results = []
    module = layer()
    for way in (compensated, one_by_one):
        network = attached(copy.deepcopy(module), shape, text).double()
        weight, planes = network.weight_of(network.steps[0])
        if snapped:
            planes.snap(0.4)
        changed = way(network.steps[0], weight.detach(), planes, found, wanted)
        results.append((changed, planes.scales().detach(), *planes.values(changed)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def test_progress_counts_every_column_once() -> None:
    network = attached(nn.Linear(300, 4), (300, 1, 1), "int4")
    step = network.steps[0]
    counted: list[int] = []
    x = inputs((300, 1, 1), 1)
    compensated(step, *network.weight_of(step), x, x, progress=counted.append)
    assert sum(counted) == 300
    assert len(counted) > 2


def test_integers_stay_where_the_weights_were_rounded_to() -> None:
    torch.manual_seed(0)
    network = attached(nn.Linear(32, 6), (32, 1, 1), "ternary+1:16xint4")
    weight, planes = network.weight_of(network.steps[0])
    x = inputs((32, 1, 1), 2)
    changed = compensated(network.steps[0], weight, planes, x, x)
    assert changed.shape == weight.shape
    step = planes.scales()[0][:, None]
    dense = planes.values(changed)[0]
    assert float(dense.abs().max()) <= 1
    assert torch.equal(planes.values(changed * 1.0)[0], dense)
    assert bool(((planes(changed) - dense * step).abs() > 1e-6).sum(dim=1).le(2).all())  # one slot a block of 16


def test_an_input_that_is_always_zero_is_no_trouble() -> None:
    torch.manual_seed(0)
    network = attached(nn.Linear(8, 4), (8, 1, 1), "int4")
    weight, planes = network.weight_of(network.steps[0])
    x = torch.zeros(50, 8, 1, 1)
    assert bool(torch.isfinite(compensated(network.steps[0], weight, planes, x, x)).all())


def test_post_training_gains_by_it() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, 10)).eval()
    shape = (48, 1, 1)
    pixels = (inputs(shape, 3) * 16).clamp(0, 127).round().to(torch.uint8).numpy()
    split = Samples(pixels, np.zeros(len(pixels), np.int64))
    data = TrainingSet(split, split, InputScaling(offset=0, scale=1 / 16))
    wanted = outputs_of(model, pixels, data.scaling)

    def error(rounding: Rounding) -> float:
        scheme = Scheme.parse("ternary+2:16xint4, first=default, last=default")
        found = outputs_of(post_training(model, data, scheme, rounding=rounding), pixels, data.scaling)
        return float((found - wanted).square().mean() / wanted.var())

    assert error("compensated") < 0.7 * error("nearest")


@pytest.mark.parametrize("text", ["ternary", "ternary+1:16xint5", "digits2"])
def test_small_steps_round_hardly_any_weight_anew(text: str) -> None:
    torch.manual_seed(0)
    network = attached(nn.Conv2d(32, 16, 3, padding=1), (32, 6, 6), text)
    weight, planes = network.weight_of(network.steps[0])
    x = inputs((32, 6, 6), 3)
    before = weight.detach().clone()
    changed = compensated(network.steps[0], weight, planes, x, x)
    step = 0.05 * before.square().mean().sqrt() * torch.randn(before.shape).sign()

    def moved(start: torch.Tensor) -> float:
        first, second = (planes.values(of)[0] for of in (start, start + step))  # the sparse plane has fine steps
        return float((first != second).float().mean())

    assert moved(changed) < 0.25 * moved(before)


@pytest.mark.parametrize("rounding", ["nearest", "compensated"])
def test_a_few_inputs_beyond_the_range_do_not_shift_the_others(rounding: Rounding) -> None:
    """Digital silence lies far below the input's range; what clipping it loses once went into every bias."""
    torch.manual_seed(0)
    images = torch.randn(200, 16, 1, 1)
    images[::10] = -60.0
    samples = Samples(images.numpy(), np.zeros(len(images), np.int64))
    data = TrainingSet(samples, samples, InputScaling(offset=0, scale=1 / 16, unit=1.0))
    model = _One(nn.Linear(16, 8)).eval()
    network = post_training(model, data, Scheme.parse("int8"), images=200, rounding=rounding)
    inside = np.delete(samples.images, np.s_[::10], axis=0)
    wanted, found = (outputs_of(m, inside, data.scaling) for m in (model, network.eval()))
    assert float((found - wanted).mean(dim=0).abs().max()) < 0.1 * float(wanted.std())


@pytest.mark.parametrize(
    ("images", "groups", "kernel", "stride"), [(300, 1, (3, 3), 1), (7, 8, (1, 1), 2), (130, 4, (3, 2), 1)]
)
def test_what_a_kernel_sees_is_what_unfolding_gives(
    images: int, groups: int, kernel: tuple[int, int], stride: int
) -> None:
    layer = nn.Conv2d(8, 8, kernel, stride=stride, groups=groups)
    x = torch.randn(images, 8, 14, 13).contiguous(memory_format=torch.channels_last)
    seen = [
        functional.unfold(part, kernel, stride=stride).transpose(1, 2).flatten(0, 1)[:: _every(images, kernel, stride)]
        for part in torch.split(x, 64)
    ]
    rows = torch.cat(seen)
    found = _patches(layer, x)
    assert torch.equal(found.reshape(len(rows), -1), rows)


def _every(images: int, kernel: tuple[int, int], stride: int) -> int:
    """Return which of so many places counts: about 20,000 do."""
    places = ((14 - kernel[0]) // stride + 1) * ((13 - kernel[1]) // stride + 1)
    return max(1, images * places // 20_000)
