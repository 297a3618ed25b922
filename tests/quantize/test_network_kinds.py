# SPDX-License-Identifier: Apache-2.0
"""Every kind of network that the quantizer reads: equal to the module in floats, and all the way to the engine."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from intarsia.engine import compile_network
from intarsia.engine.fitting import config_for
from intarsia.integer import IntegerNetwork
from intarsia.integer.executor import Executor
from intarsia.quantize import QuantizedNetwork, attach
from intarsia.quantize.calibrate import float_tensors
from network_kinds import KINDS, SCHEME, Shape, conv, inputs, make, norm, quantized


def floats_of(network: QuantizedNetwork, x: torch.Tensor) -> torch.Tensor:
    return float_tensors(network, x)[network.steps[-1].name]


def assert_integers_equal(module: QuantizedNetwork, network: IntegerNetwork, shape: Shape) -> None:
    """Compare each layer, given the integers that the executor has before it; floats may miss a tie."""
    images = (inputs(shape, 16) * 64).numpy().astype(np.int64)
    integers = Executor(network, 1).trace(images)
    reals = {name: torch.from_numpy(values).float() * network.tensors[name].scale for name, values in integers.items()}
    for step in module.steps:
        with torch.no_grad():
            found = module.quantized(step, [reals[name] for name in step.inputs])
        rounded = np.floor(found.numpy() / network.tensors[step.name].scale + 0.5)
        assert np.abs(rounded - integers[step.name]).max() <= 1, step.name


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_is_the_same_in_the_plan_in_integers_and_on_the_engine(kind: str) -> None:
    model, shape = make(kind)
    x = inputs(shape)
    with torch.no_grad():
        wanted = model(x)
        steps = attach(model, SCHEME, shape, 1 / 64)
        found = floats_of(steps, x)
        torch.testing.assert_close(found.flatten(1), wanted.flatten(1), rtol=1e-4, atol=1e-4)
        assert torch.equal(model(x), wanted)
        shapes = {name: tuple(value.shape[1:]) for name, value in steps.tensors(x).items()}
    assert shapes == {"input": shape} | {step.name: step.shape for step in steps.steps}
    module, network = quantized(model, shape)
    assert_integers_equal(module, network, shape)
    compile_network(network, config_for(network))


class Chain(nn.Module):
    """Random layers one after another; `add` adds what was there some layers before, if it has the same shape."""

    def __init__(self, layers: Sequence[tuple[str, int, float]], seed: int) -> None:
        super().__init__()
        self.plan = list(layers)
        self.layers = nn.ModuleList()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            channels, size = 3, 8
            for kind, number, value in layers:
                module, channels, size = self._layer(kind, number, value, channels, size)
                self.layers.append(module)
            self.last = nn.Conv2d(channels, 3, 1)

    def _layer(self, kind: str, number: int, value: float, channels: int, size: int) -> tuple[nn.Module, int, int]:
        made: nn.Module = nn.Identity()
        if kind == "conv":
            made, channels = conv(channels, number, padding=1), number
        elif kind == "valid" and size > 3:
            made, size = conv(channels, channels, (2, 3), dilation=(2, 1), groups=2 - channels % 2), size - 2
        elif kind == "norm":
            made = norm(channels)
        elif kind == "clip":
            made = nn.Hardtanh(min(0.0, 0.5 - number / 4), value)
        elif kind == "relu":
            made = nn.ReLU(inplace=number % 2 == 0)
        elif kind == "pool" and size % 2 == 0:
            made, size = (nn.MaxPool2d(2) if number % 2 else nn.AvgPool2d(2)), size // 2
        elif kind == "pad":
            made = nn.MaxPool2d(3, 1, padding=1)
        return made, channels, size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.clone()  # a ReLU may work in place
        tensors = [x]
        shapes = [(3, 8)]
        for (kind, number, value), layer in zip(self.plan, self.layers, strict=True):
            shapes.append(self._shape(layer, *shapes[-1]))
            earlier = max(0, len(tensors) - number)
            if kind == "add" and shapes[earlier] == shapes[-1]:
                x = x + tensors[earlier]
            elif kind == "scale":
                x = value - x * number if number % 2 else (x - value) / number
            else:
                x = layer(x)
            tensors.append(x)
        result: torch.Tensor = self.last(x)
        return result

    @staticmethod
    def _shape(layer: nn.Module, channels: int, size: int) -> tuple[int, int]:
        if isinstance(layer, nn.Conv2d):
            return layer.out_channels, size if layer.padding == (1, 1) else size - 2
        halves = isinstance(layer, nn.MaxPool2d | nn.AvgPool2d) and layer.stride == 2
        return channels, size // 2 if halves else size


LAYERS = ("conv", "conv", "valid", "norm", "clip", "relu", "pool", "pad", "add", "add", "scale", "none")


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(LAYERS), st.integers(1, 5), st.floats(0.25, 2.0)), min_size=1, max_size=9),
    st.integers(0, 99),
)
def test_random_chains_are_the_same_in_the_plan(layers: list[tuple[str, int, float]], seed: int) -> None:
    model, x = Chain(layers, seed).eval(), inputs((3, 8, 8), 4)
    with torch.no_grad():
        wanted = model(x)
        network = attach(model, SCHEME, (3, 8, 8), 1 / 64)
        found = floats_of(network, x)
    most: Any = wanted.abs().max().clamp_min(1e-3)
    torch.testing.assert_close(found / most, wanted / most, rtol=0.0, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(LAYERS), st.integers(1, 5), st.floats(0.25, 2.0)), min_size=2, max_size=6),
    st.integers(0, 99),
)
def test_random_chains_become_integers(layers: list[tuple[str, int, float]], seed: int) -> None:
    module, network = quantized(Chain(layers, seed).eval(), (3, 8, 8))
    assert_integers_equal(module, network, (3, 8, 8))
