# SPDX-License-Identifier: Apache-2.0
"""Layers may be called anything: as words of the language of schemes, as attributes of PyTorch's dictionaries."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from intarsia.datasets import Dataset, InputScaling, Split
from intarsia.integer import IntegerNetwork
from intarsia.integer.effective import effective_bits
from intarsia.quantize import Scheme, attach, freeze, post_training
from intarsia.quantize.layerwise import search_layerwise
from intarsia.quantize.module import key
from intarsia.quantize.scheme import LayerScheme


class Chain(nn.Module):
    """1×1 convolutions of these names, after a first one and before a linear layer."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.names = names
        self.stem = nn.Conv2d(1, 8, 3)
        for name in names:
            parent = self
            *path, last = name.split(".")
            for part in path:
                parent.add_module(part, nn.Sequential())
                parent = parent.get_submodule(part)
            parent.add_module(last, nn.Conv2d(8, 8, 1))
        self.pool, self.flatten, self.fc = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        for name in self.names:
            x = self.get_submodule(name)(x).relu()
        result: torch.Tensor = self.fc(self.flatten(self.pool(x)))
        return result


def some_data() -> Dataset:
    images = np.random.default_rng(0).integers(0, 255, (64, 1, 8, 8)).astype(np.uint8)
    split = Split(images, np.arange(64) % 10)
    return Dataset("mine", split, split, split, tuple(map(str, range(10))), InputScaling(0, 1 / 255, signed=False))


def bits(network: IntegerNetwork) -> dict[str, float]:
    return {layer.name: float(layer.total) for layer in effective_bits(network).layers}


RESERVED = ("first", "depthwise", "last", "scales")


@pytest.mark.parametrize("names", [RESERVED, ("a", "b", "c", "d"), ("層", "default", "int8", "a4")])
def test_a_layer_wise_budget_is_kept_through_text(names: tuple[str, ...]) -> None:
    model, data = Chain(names).eval(), some_data()
    int8 = freeze(post_training(model, data, Scheme("int8", LayerScheme.parse("int8"), scale_bits=6)), name="int8")
    budget = 0.7 * sum(bits(int8).values())
    found = search_layerwise(model, data, ("int8", "int4", "int2"), bits, budget, images=32)
    assert found.cost <= budget
    network = freeze(post_training(model, data, Scheme.parse(str(found.scheme))), name="found")
    assert sum(bits(network).values()) == found.cost


@pytest.mark.parametrize("names", [("keys", "values", "pop", "type_"), ("a.b", "a_b")])
def test_every_layer_has_weights_of_its_own(names: tuple[str, ...]) -> None:
    model = Chain(names).eval()
    network = attach(model, Scheme.parse("int8"), (1, 8, 8), 1 / 255, signed=False)
    weights = {step.name: network.weight_of(step)[0] for step in network.steps if step.module is not None}
    for name in ("stem", *names, "fc"):
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        assert torch.equal(weights[name], layer.weight)
    assert len({id(weight) for weight in weights.values()}) == len(names) + 2


@given(st.lists(st.text("ab._/", max_size=5) | st.sampled_from(dir(nn.ModuleDict)), unique=True))
def test_different_layers_have_different_keys(names: list[str]) -> None:
    assert len(nn.ModuleDict({key(name): nn.Identity() for name in names})) == len(names)
