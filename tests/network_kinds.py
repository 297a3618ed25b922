# SPDX-License-Identifier: Apache-2.0
"""Small float networks of every kind that the quantizer reads, as people write them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from intarsia.integer import IntegerNetwork
from intarsia.quantize import PRESETS, QuantizedNetwork, freeze, post_training
from intarsia.quantize.data import Samples, TrainingSet

Shape = tuple[int, int, int]

SCHEME = PRESETS["ternary"]


@dataclass(frozen=True)
class Sixtyfourths:
    """Inputs are stored as the integers that the network reads."""

    offset: int = 0
    scale: float = 1 / 64
    unit: float = 1 / 64
    signed: bool = True
    grid: None = None


class Net(nn.Module):
    """A network from its parts and what its forward does with them and the input."""

    def __init__(self, compute: Callable[[Any, Any], Any], **parts: nn.Module | torch.Tensor) -> None:
        super().__init__()
        self.compute = compute
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.compute(self, x)
        return result


def conv(inputs: int = 4, outputs: int = 4, kernel: Any = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, **options)


def after_conv(compute: Callable[[Any], Any]) -> nn.Module:
    """Return a network that computes something of the result (N, 4, 6, 6) of a convolution."""
    return Net(lambda net, x: compute(net.conv(x)), conv=conv())


def norm(channels: int, kind: Any = nn.BatchNorm2d) -> nn.Module:
    """Return a normalization whose factors differ, and some of them are negative."""
    module: nn.Module = kind(channels)
    with torch.no_grad():
        values = {"running_mean": (1, -1), "running_var": (2, 0.5), "weight": (-0.5, 2), "bias": (-1, 1)}
        for name, (first, last) in values.items():
            getattr(module, name).copy_(torch.linspace(first, last, channels))
    return module


def positive(channels: int) -> nn.Module:
    module = norm(channels)
    module.weight.data.abs_().add_(0.1)  # type: ignore[union-attr, operator]
    return module


def head(features: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(features, 3)]


def preactivation() -> nn.Module:
    parts = {"stem": conv(), "norm1": norm(4), "conv1": conv(padding=1), "norm2": norm(4), "conv2": conv(padding=1)}

    def compute(net: Any, x: Any) -> Any:
        x = net.stem(x)
        body = net.conv1(functional.relu(net.norm1(x)))
        x = x + net.conv2(functional.relu(net.norm2(body)))
        return net.fc(functional.relu(net.last(x)).mean((2, 3)))

    return Net(compute, **parts, last=norm(4), fc=nn.Linear(4, 3))


def residual_perceptron() -> nn.Module:
    def compute(net: Any, x: Any) -> Any:
        hidden = functional.relu(net.fc1(torch.flatten(x, 1)))
        return net.fc3(hidden + functional.relu(net.fc2(hidden)))

    return Net(compute, fc1=nn.Linear(16, 16), fc2=nn.Linear(16, 16), fc3=nn.Linear(16, 3))


def flattened_and_convolved(*, first: bool) -> nn.Module:
    def compute(net: Any, x: Any) -> Any:
        x = functional.relu(net.stem(x))
        if first:
            side = net.side(x.flatten(1))
            return side + net.fc(functional.relu(net.conv(x)).flatten(1))
        main = net.fc(functional.relu(net.conv(x)).flatten(1))
        return main + net.side(x.flatten(1))

    return Net(compute, stem=conv(), conv=conv(), side=nn.Linear(144, 3), fc=nn.Linear(64, 3))


def row_network() -> nn.Module:
    return nn.Sequential(
        *(nn.Flatten(2), nn.Conv1d(2, 4, 5, stride=2, padding=2), norm(4, nn.BatchNorm1d), nn.ReLU()),
        *(nn.MaxPool1d(2), nn.Conv1d(4, 4, 3, padding="same", dilation=2, groups=2), nn.Hardtanh(-1.0, 1.0)),
        *(nn.AvgPool1d(2), nn.AdaptiveAvgPool1d(1), *head(4)),
    )


def thrice_pooled() -> nn.Module:
    """One pool for all of them, as tutorials have it."""

    def compute(net: Any, x: Any) -> Any:
        x = net.pool(functional.relu(net.conv1(x)))
        x = net.pool(functional.relu(net.conv2(x)))
        return net.fc(net.pool(x).flatten(1))

    return Net(compute, conv1=conv(padding=1), conv2=conv(padding=1), pool=nn.MaxPool2d(2), fc=nn.Linear(4, 3))


def twice_added() -> nn.Module:
    def compute(net: Any, x: Any) -> Any:
        x = net.conv(x)
        return net.fc(functional.relu(x + x + net.other(x)).mean((2, 3)))

    return Net(compute, conv=conv(), other=conv(padding=1), fc=nn.Linear(4, 3))


def scaled(compute: Callable[[Any, Any], Any], *, padding: int) -> nn.Module:
    """A network that begins by scaling its input."""
    parts = {"mean": torch.rand(1, 4, 1, 1) - 0.5, "std": torch.rand(4) + 0.5}

    def whole(net: Any, x: Any) -> Any:
        return net.fc(functional.relu(net.conv(compute(net, x))).mean((2, 3)))

    return Net(whole, conv=conv(padding=padding), fc=nn.Linear(4, 3), **parts)


KINDS: Mapping[str, tuple[Callable[[], nn.Module], Shape]] = {
    "clip": (lambda: nn.Sequential(conv(), nn.Hardtanh(-0.3, 0.7), conv(), nn.ReLU(), *head(64)), (4, 8, 8)),
    "clips": (lambda: nn.Sequential(conv(), nn.ReLU(), nn.Hardtanh(-1, 0.5), nn.Hardtanh(-1, 2), conv()), (4, 8, 8)),
    "clipped input": (lambda: nn.Sequential(nn.Hardtanh(-1, 0.75), conv(), nn.ReLU6()), (4, 8, 8)),
    "clipped pool": (lambda: nn.Sequential(conv(), nn.MaxPool2d(2), nn.Hardtanh(-0.2, 0.5), *head(36)), (4, 8, 8)),
    "clipped sum": (
        lambda: Net(lambda net, x: functional.hardtanh(net.one(x) + net.two(x), -0.4, 0.4), one=conv(), two=conv()),
        (4, 8, 8),
    ),
    "normalized input": (lambda: nn.Sequential(norm(4), conv(padding=1), nn.ReLU(), *head(256)), (4, 8, 8)),
    "normalized row": (lambda: nn.Sequential(nn.Flatten(), norm(8, nn.BatchNorm1d), nn.Linear(8, 3)), (8, 1, 1)),
    "normalized one channel": (lambda: nn.Sequential(norm(1), conv(1, padding=1), nn.ReLU()), (1, 8, 8)),
    "normalized behind ReLU": (
        lambda: nn.Sequential(conv(), nn.ReLU(), norm(4), conv(padding=1), nn.ReLU(), norm(4), *head(144)),
        (4, 8, 8),
    ),
    "normalized before max pool": (
        lambda: nn.Sequential(conv(), nn.ReLU(), positive(4), nn.MaxPool2d(2), conv(padding=1), *head(36)),
        (4, 8, 8),
    ),
    "preactivation": (preactivation, (4, 8, 8)),
    "a part of 255": (lambda: scaled(lambda _, x: x / 255 * 64, padding=1), (4, 8, 8)),
    "standardized": (lambda: scaled(lambda net, x: (x - net.mean) / net.std[:, None, None], padding=1), (4, 8, 8)),
    "scaled to one": (lambda: scaled(lambda _, x: 2 * x - 1, padding=0), (4, 8, 8)),
    "turned around": (lambda: scaled(lambda net, x: -(1 - x).mul(net.std.view(-1, 1, 1)), padding=0), (4, 8, 8)),
    "residual perceptron": (residual_perceptron, (16, 1, 1)),
    "twice added": (twice_added, (4, 8, 8)),
    "flattened, then convolved": (lambda: flattened_and_convolved(first=True), (4, 8, 8)),
    "convolved, then flattened": (lambda: flattened_and_convolved(first=False), (4, 8, 8)),
    "pool of all": (
        lambda: Net(lambda net, x: net.fc(net.conv(x).amax((2, 3))), conv=conv(), fc=nn.Linear(4, 3)),
        (4, 8, 8),
    ),
    "whole pools rounded up": (
        lambda: nn.Sequential(conv(), nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(3, ceil_mode=True), *head(4)),
        (4, 8, 8),
    ),
    "max pool rounded up": (lambda: nn.Sequential(conv(), nn.MaxPool2d(4, 3, ceil_mode=True), *head(16)), (4, 8, 8)),
    "one pool, three times": (thrice_pooled, (4, 8, 8)),
    "rows": (row_network, (2, 1, 32)),
    "groups": (lambda: nn.Sequential(conv(4, 6, groups=2), norm(6), nn.ReLU(), *head(216)), (4, 8, 8)),
    "depth multiplier": (lambda: nn.Sequential(conv(4, 8, groups=4), nn.ReLU(), conv(8, 3, 1)), (4, 8, 8)),
    "dilation": (lambda: nn.Sequential(conv(dilation=(2, 1), padding=(2, 0)), nn.ReLU(), *head(192)), (4, 8, 8)),
    "dilated depthwise": (lambda: nn.Sequential(conv(dilation=2, groups=4, padding="same"), conv()), (4, 8, 8)),
}


def make(kind: str) -> tuple[nn.Module, Shape]:
    """Return a network in evaluation mode, always the same, and the shape of its input."""
    build, shape = KINDS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sum(map(ord, kind)))
        return build().eval(), shape


def inputs(shape: Shape, count: int = 8) -> torch.Tensor:
    """Return inputs that 8 bits hold, multiples of 1/64."""
    return torch.randint(-128, 128, (count, *shape), generator=torch.Generator().manual_seed(2)) / 64


def training_set(shape: Shape) -> TrainingSet:
    """Return random inputs, all of one class."""
    images = (inputs(shape, 32) * 64).numpy().astype(np.int8)
    samples = Samples(images, np.zeros(len(images), np.int64))
    return TrainingSet(samples, samples, Sixtyfourths())


def quantized(model: nn.Module, shape: Shape) -> tuple[QuantizedNetwork, IntegerNetwork]:
    """Return a network after post-training quantization on random inputs, and its integers."""
    module = post_training(model, training_set(shape), SCHEME, rounding="compensated")
    return module, freeze(module, name="kind")
