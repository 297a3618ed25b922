# SPDX-License-Identifier: Apache-2.0
"""A linear layer over (C, H, W) is the convolution whose kernel covers its input: everywhere, and so on the engine."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from intarsia.datasets.types import Dataset, InputScaling, Split
from intarsia.engine import EngineConfig, compile_network
from intarsia.engine.mapping import map_layer
from intarsia.engine.storage import stored_tensors
from intarsia.integer import Conv2d, IntegerNetwork, Linear
from intarsia.integer.effective import effective_bits
from intarsia.integer.executor import Executor
from intarsia.quantize import LayerScheme, Scheme, freeze, post_training
from intarsia.quantize.mixed import weight_quantizer
from intarsia.simulate import SimulatedEngine
from random_networks import random_images, random_layer_network

SEEDS = st.integers(0, 2**32 - 1)


def as_convolution(network: IntegerNetwork) -> IntegerNetwork:
    layer = network.layers[-1]
    assert isinstance(layer, Linear)
    return replace(network, layers=(*network.layers[:-1], layer.convolution))


@settings(max_examples=100)
@given(SEEDS, st.booleans())
def test_values_and_stored_bits_are_those_of_the_convolution(seed: int, second: bool) -> None:
    rng = np.random.default_rng(seed)
    network = random_layer_network(rng, "linear", free=True, second=second)
    images = random_images(rng, network, 3)
    same = as_convolution(network)
    assert np.array_equal(Executor(network).run(images), Executor(same).run(images))
    assert effective_bits(network) == effective_bits(same)


@settings(max_examples=60)
@given(SEEDS)
def test_the_engine_maps_it_as_the_convolution(seed: int) -> None:
    network = random_layer_network(np.random.default_rng(seed), "linear", second=True)
    config = EngineConfig()
    stored = stored_tensors(network, config)
    ends = stored[network.layers[-1].inputs[0]], stored[network.output.name]
    found, wanted = (map_layer(each.layers[-1], *ends, config) for each in (network, as_convolution(network)))
    assert found.fields == wanted.fields
    assert np.array_equal(found.dense, wanted.dense)
    assert np.array_equal(found.slots, wanted.slots)


SCHEMES = (
    *("ternary+1:16xint8", "ternary+2:5/3xint4", "digits2+fixed1:4xint8", "ternary+unstructured@0.1xint8"),
    *("ternary+inputs@0.2xint8", "ternary+outputs@0.2xint4", "ternary+blocks4@0.2xint8", "ternary+taps@0.3xint8"),
    *("mix-inputs:int8@0.1/int2", "mix-taps:int8@0.1/int4@0.3/binary", "mix-blocks4:int8@0.3/ternary"),
)


@settings(max_examples=60)
@given(st.integers(0, 99), st.sampled_from(SCHEMES), st.sampled_from([(24, 2, 3), (3, 4, 4), (33, 1, 1)]))
def test_its_planes_are_chosen_as_the_convolution_s(seed: int, text: str, shape: tuple[int, int, int]) -> None:
    weight = torch.from_numpy(np.random.default_rng(seed).laplace(0, 0.1, (9, *shape)).astype(np.float32))
    scheme = LayerScheme.parse(text)
    wanted = weight_quantizer(weight, scheme, 8)
    found = weight_quantizer(weight.flatten(1), scheme, 8, kernel=shape[1:])
    assert torch.equal(found.log_scale, wanted.log_scale)
    assert torch.equal(found(weight.flatten(1)), wanted(weight).flatten(1))
    for quantizer in (found, wanted):
        quantizer.snap(0.5)
    pairs = zip(found.integers(weight.flatten(1)).weights, wanted.integers(weight).weights, strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def small_cnn() -> nn.Sequential:
    """The commonest small network: convolutions and pools, then hidden linear layers."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(128, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 10)),
    )


def random_data(shape: tuple[int, int, int]) -> Dataset:
    rng = np.random.default_rng(0)
    split = Split(rng.normal(size=(64, *shape)).astype(np.float32), rng.integers(0, 10, 64))
    return Dataset("random", split, split, split, tuple("0123456789"), InputScaling(0, 1 / 32, 1.0))


@pytest.mark.parametrize("scheme", ["superposition", "ternary+1:16xint8, last=default"])
def test_hidden_linear_layers_after_a_flatten_run_on_the_engine(scheme: str) -> None:
    data = random_data((1, 8, 8))
    module = post_training(small_cnn().eval(), data, Scheme.parse(scheme), images=64)
    network = freeze(module, name="small")
    hidden = [layer for layer in network.layers if isinstance(layer, Linear)]
    assert [plane.pattern.kind for plane in hidden[0].planes] == ["dense", "n:m"]
    assert hidden[0].planes[1].weights.shape == (48, 32, 2, 2)
    program = compile_network(network, EngineConfig())
    images = data.scaling.integers(data.test.images[:3])
    with SimulatedEngine(program) as engine:
        for image, expected in zip(images, Executor(network).run(images), strict=True):
            assert np.array_equal(engine.run(image).output.ravel(), expected)
    assert isinstance(hidden[0].convolution, Conv2d)
