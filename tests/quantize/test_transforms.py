# SPDX-License-Identifier: Apache-2.0
"""Transforms keep the function of a float network, and do what they are for."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from frozen_networks import assert_integers_are_their_model
from intarsia.datasets import Dataset, load_dataset
from intarsia.errors import IntarsiaError
from intarsia.integer.formats import WeightFormat
from intarsia.networks import build
from intarsia.quantize import (
    PRESETS,
    LayerScheme,
    Scheme,
    Transforms,
    attach,
    freeze,
    post_training,
    quantize,
)
from intarsia.quantize.calibrate import float_tensors
from intarsia.quantize.module import QuantizedNetwork
from intarsia.quantize.plan import Step, read_plan
from intarsia.quantize.planes import best_steps
from intarsia.quantize.residuals import fuse_residuals
from intarsia.quantize.transforms.channels import channel_ties, float_weight
from intarsia.quantize.transforms.equalize import channel_sizes, equalize
from intarsia.quantize.transforms.permute import permute, saved_cost
from intarsia.quantize.transforms.widen import widen, widened_channels
from intarsia.recipes import QUANTIZATION_RECIPES

TEXTS = ("permute", "equalize", "widen1.25", "widen1.5/16", "equalize+widen1.3/4+permute")


def short_mobilenet() -> nn.Module:
    """The opening of MobileNetV1, three strides deep."""
    model = build("mobilenet")
    blocks = model.blocks
    assert isinstance(blocks, nn.Sequential)
    model.blocks, model.fc = blocks[:5], nn.Linear(64, 2)
    return model


NETWORKS = {
    "resnet8": (lambda: build("resnet8"), (3, 32, 32)),
    "dscnn": (lambda: build("dscnn"), (1, 49, 10)),
    "mobilenet": (short_mobilenet, (3, 96, 96)),
    "autoencoder": (lambda: build("autoencoder"), (640, 1, 1)),
    "digits": (lambda: build("digits"), (1, 8, 8)),
}


class Fork(nn.Module):
    """A convolution whose channels two others read."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 1)
        self.left, self.right = nn.Conv2d(channels, outputs, 1), nn.Conv2d(channels, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum of what both readers make of it."""
        x = torch.relu(self.first(x))
        both: torch.Tensor = self.left(x) + self.right(x)
        return both


class Graph(nn.Module):
    """A chain of random layers with residual additions, flattened to two linear layers.

    `layers` holds (kind, channels, activation, terms back): an addition adds the tensor so many layers back where its
    shape is the same.
    """

    def __init__(self, layers: Sequence[tuple[str, int, str, int]], seed: int) -> None:
        super().__init__()
        self.kinds, self.backs = [kind for kind, *_ in layers], [back for *_, back in layers]
        self.layers = nn.ModuleList()
        self.activations = nn.ModuleList()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            channels, size = 2, 8
            self.shapes = [(channels, size)]
            for kind, wanted, activation, _ in layers:
                module: nn.Module = nn.Identity()
                if kind == "conv":
                    module = nn.Sequential(nn.Conv2d(channels, wanted, 3, padding=1), nn.BatchNorm2d(wanted))
                    channels = wanted
                elif kind == "depthwise" and channels > 1:
                    module = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
                elif kind == "pool" and size > 2:
                    module, size = (nn.MaxPool2d(2) if wanted % 2 else nn.AvgPool2d(2)), size // 2
                self.layers.append(module)
                computes = not isinstance(module, nn.Identity | nn.MaxPool2d)
                chosen = {"relu": nn.ReLU, "relu6": nn.ReLU6}.get(activation if computes else "", nn.Identity)
                self.activations.append(chosen())
                self.shapes.append((channels, size))
            self.hidden = nn.Linear(channels * size * size, 6)
            self.fc = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tensors = [x]
        for number, (layer, activation) in enumerate(zip(self.layers, self.activations, strict=True)):
            x = activation(layer(x))
            earlier = max(0, number + 1 - self.backs[number])
            if self.kinds[number] == "add" and self.shapes[earlier] == self.shapes[number + 1]:
                x = x + tensors[earlier]
            tensors.append(x)
        result: torch.Tensor = self.fc(torch.relu(self.hidden(torch.flatten(x, 1))))
        return result


def varied(model: nn.Module) -> nn.Module:
    """Return a model whose normalization and weights differ from channel to channel."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.running_mean.uniform_(-0.2, 0.2, generator=generator)  # type: ignore[union-attr]
                module.running_var.uniform_(0.1, 2, generator=generator)  # type: ignore[union-attr]
    return model.eval()


def outputs(network: QuantizedNetwork, x: torch.Tensor) -> torch.Tensor:
    return float_tensors(network, x)[network.steps[-1].name].flatten(1)


def assert_same_function(
    model: nn.Module, shape: tuple[int, int, int], scheme: Scheme, transforms: Transforms
) -> QuantizedNetwork:
    x = torch.randint(-128, 128, (4, *shape), generator=torch.Generator().manual_seed(2)) / 64
    with torch.no_grad():
        wanted = model(x)
        network = attach(model, scheme, shape, 1 / 64, transforms=transforms)
        found = outputs(network, x)
        assert (found - wanted).abs().max() <= 1e-4 * max(float(wanted.abs().max()), 1e-3)
        assert torch.equal(model(x), wanted)
    for step, value in float_tensors(network, x).items():
        assert step == "input" or value.shape[1] == network.step(step).shape[0]
    return network


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_function_stays(name: str, text: str) -> None:
    make, shape = NETWORKS[name]
    model, transforms = varied(make()), Transforms.parse(text)
    network = assert_same_function(model, shape, PRESETS["superposition"], transforms)
    for before, after in zip(fuse_residuals(read_plan(model, shape)), network.steps, strict=True):
        assert before.name == after.name
        free = after.name != network.steps[-1].name
        count = widened_channels(before.shape[0], transforms.widen, transforms.multiple)
        assert after.shape == ((count if free and transforms.widen > 1 else before.shape[0]), *before.shape[1:])


layers = st.lists(
    st.tuples(
        st.sampled_from(["conv", "conv", "depthwise", "add", "add", "pool"]),
        st.integers(1, 9),
        st.sampled_from(["relu", "relu6", "none"]),
        st.integers(1, 4),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40)
@given(
    layers,
    st.integers(0, 99),
    st.sampled_from(TEXTS),
    st.sampled_from(
        ["ternary+1:4xint5", "2:3xint8", "int4+1:4/2xint4", "ternary", "ternary+1:16xint8", "ternary+fixed1:4xint4"]
    ),
)
def test_the_function_of_random_graphs_stays(
    kinds: list[tuple[str, int, str, int]], seed: int, text: str, planes: str
) -> None:
    scheme = Scheme("mine", LayerScheme.parse(planes))
    assert_same_function(varied(Graph(kinds, seed)), (2, 8, 8), scheme, Transforms.parse(text))


FIXED = ("ternary+fixed1:4xint4", "fixed3:8xint8")


def schemes_of(steps: Sequence[Step], text: str) -> dict[str, LayerScheme]:
    return {step.name: LayerScheme.parse(text) for step in steps if step.module is not None}


@settings(max_examples=25)
@given(layers, st.integers(0, 99), st.sampled_from([*("ternary+1:4xint5", "2:3xint8", "int4+1:4/2xint4"), *FIXED]))
def test_permutation_never_saves_less(kinds: list[tuple[str, int, str, int]], seed: int, planes: str) -> None:
    steps = read_plan(varied(Graph(kinds, seed)), (2, 8, 8))
    schemes = schemes_of(steps, planes)
    assert saved_cost(permute(steps, schemes), schemes) >= saved_cost(steps, schemes) * (1 - 1e-9)


def pair(weight: torch.Tensor) -> list[Step]:
    """Return two 1×1 convolutions with a ReLU between them, the second of the given weights (O, C)."""
    channels = weight.shape[1]
    model = nn.Sequential(nn.Conv2d(3, channels, 1), nn.ReLU(), nn.Conv2d(channels, weight.shape[0], 1))
    model[2].weight.data = weight[:, :, None, None].clone()  # type: ignore[operator, union-attr]
    return read_plan(model, (3, 4, 4))


def test_permutation_parts_heavy_channels_that_shared_a_block() -> None:
    weight = torch.full((2, 8), 0.1)
    weight[:, :2] = 1.0  # both in the first block of four, which has one place
    steps = pair(weight)
    schemes = schemes_of(steps, "1:4xint8")
    small = saved_cost(steps[:1], schemes)  # of the first layer, whose three inputs stay
    assert saved_cost(steps, schemes) - small == pytest.approx(2 * (1 + 0.01))
    assert saved_cost(permute(steps, schemes), schemes) - small == pytest.approx(2 * (1 + 1))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [1, 2])
def test_permutation_finds_the_best_of_all_orders(seed: int, n: int) -> None:
    weight = torch.randn(5, 8, generator=torch.Generator().manual_seed(seed)) ** 3
    steps = pair(weight)
    schemes = schemes_of(steps, f"{n}:4xint8")
    cost = weight.square()
    best = max(
        sum(float(cost[:, list(half)].topk(n, dim=1).values.sum()) for half in (chosen, set(range(8)) - set(chosen)))
        for chosen in combinations(range(8), 4)
    )
    found = saved_cost(permute(steps, schemes)[1:], schemes)
    assert found == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("text", ["fixed1:4xint8", "fixed2:4xint8", "fixed3:16xint8"])
def test_permutation_puts_the_heaviest_channels_at_fixed_positions(seed: int, text: str) -> None:
    """Fixed positions were once left as they lay."""
    steps = pair(torch.randn(5, 8, generator=torch.Generator().manual_seed(seed)) ** 3)
    schemes = schemes_of(steps, text)
    places = {"fixed1:4xint8": 2, "fixed2:4xint8": 4, "fixed3:16xint8": 3}[text]
    best = float_weight(steps[1]).square().sum(dim=(0, 2, 3)).topk(places).values.sum()
    assert saved_cost(permute(steps, schemes)[1:], schemes) == pytest.approx(float(best), rel=1e-5)


@pytest.mark.parametrize(("text", "best"), [("fixed1:4xint8", 29.0), ("fixed3:8xint8", 29.0 + 25.0 + 9.01)])
def test_permutation_puts_whole_flattened_channels_at_fixed_positions(text: str, best: float) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 1))
    model[3].weight.data = torch.tensor([[0.0, 5.0, 3.0, 0.1, 0.1, 0.1, 2.0, 5.0]])  # channels of two pixels
    steps = read_plan(model, (3, 1, 2))
    assert saved_cost(permute(steps, schemes_of(steps, text))[1:], schemes_of(steps, text)) == pytest.approx(best)


def test_permutation_serves_a_fixed_and_an_nm_reader_of_the_same_channels() -> None:
    model = Fork(channels=8, outputs=1)
    generator = torch.Generator().manual_seed(0)
    for layer in (model.left, model.right):
        layer.weight.data = torch.randn(1, 8, 1, 1, generator=generator) ** 3
    steps = read_plan(model, (1, 2, 2))
    schemes = {name: LayerScheme.parse(text) for name, text in (("left", "fixed1:4xint8"), ("right", "1:4xint8"))}
    fixed, chosen = (layer.weight.detach().flatten().square() for layer in (model.left, model.right))

    def saved(first: int, second: int) -> float:
        """The most that is saved with these two channels at the fixed positions."""
        rest = [channel for channel in range(8) if channel not in (first, second)]
        ways = ((half, set(rest) - set(half)) for half in combinations(rest, 3))
        best = max(float(chosen[[first, *one]].max() + chosen[[second, *other]].max()) for one, other in ways)
        return float(fixed[first] + fixed[second]) + best

    best = max(saved(first, second) for first, second in combinations(range(8), 2))
    assert saved_cost(permute(steps, schemes), schemes) == pytest.approx(best, rel=1e-5)


def test_permutation_parts_flattened_channels_that_are_heavy_at_the_same_pixel() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    model[3].weight.data = torch.full((2, 16), 0.1)
    model[3].weight.data[:, [1, 3]] = 1.0  # the second pixel of channels 0 and 1, both in the first block of four
    steps = read_plan(model, (3, 1, 2))
    schemes = schemes_of(steps, "1:4xint8")
    assert saved_cost(steps[1:], schemes) == pytest.approx(2 * (1 + 3 * 0.01))
    assert saved_cost(permute(steps, schemes)[1:], schemes) == pytest.approx(2 * (2 + 2 * 0.01))


def test_equalization_gives_all_input_channels_one_size() -> None:
    generator = torch.Generator().manual_seed(0)
    steps = pair(torch.randn(5, 8, generator=generator) * torch.logspace(-0.5, 0.5, 8))
    tie = channel_ties(steps)[0]
    before, after = channel_sizes(steps, tie), channel_sizes(equalize(steps), tie)
    assert before.max() / before.min() > 5
    assert after.max() / after.min() < 1.5  # rows change in size, too, so it is not 1


def test_equalization_lets_ternary_weights_come_closer() -> None:
    generator = torch.Generator().manual_seed(1)
    steps = pair(torch.randn(32, 8, generator=generator) * torch.logspace(-1, 1, 8))

    def lost(step: Step, inputs: torch.Tensor) -> float:
        """Part of the output that ternary weights lose, for inputs of these sizes."""
        weight = float_weight(step).flatten(1)
        step_sizes = best_steps(weight, WeightFormat("ternary"))[:, None]
        ternary = (weight / step_sizes).round().clamp(-1, 1) * step_sizes
        return float(((weight - ternary) * inputs).square().sum() / (weight * inputs).square().sum())

    changed = equalize(steps)
    sizes = channel_sizes(steps, channel_ties(steps)[0])
    factors = sizes.log().mean().exp() / sizes
    plain = torch.logspace(1, -1, 8)  # all channels contribute alike
    assert lost(changed[1], plain / factors) < 0.7 * lost(steps[1], plain)


def test_of_several_readers_the_greatest_size_counts() -> None:
    model = Fork(channels=2, outputs=2)
    model.left.weight.data = torch.tensor([[0.6, 0.8], [0.6, 0.8]])[:, :, None, None]
    # Rows count as parts of their norm, so these are no larger.
    model.right.weight.data = torch.tensor([[8.0, 6.0], [8.0, 6.0]])[:, :, None, None]
    steps = read_plan(model, (1, 4, 4))
    assert torch.allclose(channel_sizes(steps, channel_ties(steps)[0]), torch.tensor([0.8, 0.8]))


def test_equalization_asks_nothing_of_depthwise_readers() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    steps = read_plan(model, (1, 8, 8))
    first, depthwise, last = equalize(steps)
    assert torch.equal(float_weight(first), float_weight(steps[0]))
    assert not torch.equal(float_weight(depthwise), float_weight(steps[1]))
    assert not torch.equal(float_weight(last), float_weight(steps[2]))


def test_equalization_does_not_blow_up_dead_channels_and_leaves_ceilings_alone() -> None:
    weight = torch.ones(2, 4)
    weight[:, 1] = 0.0
    weight[:, 2] = 1e-9
    steps = pair(weight)
    changed = equalize(steps)
    factors = float_weight(steps[0]).flatten(1).norm(dim=1) / float_weight(changed[0]).flatten(1).norm(dim=1)
    assert factors.max() / factors.min() == pytest.approx(50, rel=1e-3)
    capped = [replace(steps[0], ceiling=6.0), steps[1]]
    assert torch.equal(float_weight(equalize(capped)[0]), float_weight(steps[0]))


@pytest.mark.parametrize(
    ("channels", "factor", "multiple", "wanted"),
    [
        (16, 1.25, 1, 20),
        (10, 1.1, 1, 11),
        (10, 1.01, 1, 11),
        (16, 1.25, 16, 32),
        (48, 1.25, 16, 64),
        (64, 2.0, 16, 128),
    ],
)
def test_widened_channel_counts(channels: int, factor: float, multiple: int, wanted: int) -> None:
    assert widened_channels(channels, factor, multiple) == wanted


def test_widening_copies_the_channel_that_is_hardest_to_quantize() -> None:
    weight = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)).sign()
    weight[:, 5] = 2.0  # what two ternary weights hold, and one does not
    steps = pair(weight)
    wide = widen(steps, schemes_of(steps, "ternary"), 1.1)
    assert wide[0].shape == (9, 4, 4)
    first, second = (float_weight(step) for step in wide)
    assert torch.equal(first[8], first[5])
    assert torch.allclose(second[:, 5] + second[:, 8], torch.full((6, 1, 1), 2.0))
    network = QuantizedNetwork(wide, Scheme("mine", LayerScheme.parse("ternary")), (3, 4, 4), 1 / 128)
    left, planes = network.weight_of(network.steps[1])
    assert torch.allclose(planes(left), left, atol=0.02)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = load_dataset("digits")
    return replace(data, train=data.train.take(256), validation=data.validation.take(64))


@pytest.mark.parametrize("text", ["widen1.5", "equalize+widen1.25/16+permute"])
def test_a_widened_network_freezes_to_integers_that_are_its_model(text: str, digits: Dataset) -> None:
    module = post_training(varied(build("digits")), digits, PRESETS["superposition"], transforms=Transforms.parse(text))
    network = freeze(module, name="wide")
    assert network.tensors["stem"].shape[0] == (24 if text == "widen1.5" else 32)
    assert_integers_are_their_model(module, network, digits.scaling.integers(digits.validation.images))


def test_training_matches_the_layers_of_the_transformed_network_and_refuses_a_given_teacher(digits: Dataset) -> None:
    model, transforms = varied(build("digits")), Transforms.parse("widen1.25+permute")
    recipe = QUANTIZATION_RECIPES["digits"]
    recipe = replace(recipe, training=replace(recipe.training, batch=64, match=1.0), compile=False)
    scheme = PRESETS["superposition"]
    result = quantize(model, digits, scheme, seed=0, epochs=1, recipe=recipe, transforms=transforms)
    assert result.module.step("stem").shape[0] == 20
    assert np.isfinite([record.loss for record in result.history.epochs]).all()
    with pytest.raises(IntarsiaError, match=r"widen1.25\+permute cannot match"):
        quantize(model, digits, scheme, seed=0, epochs=1, recipe=recipe, transforms=transforms, teacher=model)


@pytest.mark.parametrize("text", ["none", "permute", "widen1.25", "widen2.0/16", "equalize+widen1.5+permute"])
def test_transforms_are_read_as_they_are_written(text: str) -> None:
    assert str(Transforms.parse(text)) == text
    assert bool(Transforms.parse(text)) == (text != "none")


def test_transforms_are_read_in_any_order() -> None:
    assert Transforms.parse("permute + widen2/16") == Transforms(widen=2.0, multiple=16, permute=True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("permut", "no such transform"),
        ("", "no such transform"),
        ("none+permute", "no such transform"),
        ("widen", "no such transform"),
        ("permute+permute", "twice"),
        ("widen2+widen3", "twice"),
        ("widen0.5", "from 1 to 16"),
        ("widen17", "from 1 to 16"),
        ("widen1/16", "widens nothing"),
        ("widen2/0", "at least 1"),
    ],
)
def test_other_transforms_are_refused(text: str, why: str) -> None:
    with pytest.raises(IntarsiaError, match=why) as caught:
        Transforms.parse(text)
    assert "\n" not in str(caught.value)
