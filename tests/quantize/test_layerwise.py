# SPDX-License-Identifier: Apache-2.0
import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from intarsia.datasets import Dataset, InputScaling, Split, load_dataset
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork
from intarsia.integer.effective import effective_bits
from intarsia.networks import build
from intarsia.quantize.calibrate import post_training
from intarsia.quantize.freezing import freeze
from intarsia.quantize.layerwise import choose_levels, measure_layerwise, search_layerwise
from intarsia.quantize.scheme import LayerScheme
from intarsia.quantize.transforms.settings import Transforms
from network_kinds import make, quantized, training_set

FORMATS = ("int8", "int4", "int2")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors this small only wait for each other
    yield
    torch.set_num_threads(threads)


@given(st.data())
def test_the_choice_keeps_the_budget_and_no_cheaper_step_back_fits(data: st.DataObject) -> None:
    layers = data.draw(st.integers(1, 4))
    row = st.lists(st.floats(0.01, 10), min_size=3, max_size=3)
    sensitivity = {str(n): sorted(data.draw(row)) for n in range(layers)}
    cost = {str(n): sorted(data.draw(row), reverse=True) for n in range(layers)}
    totals = [sum(pick) for pick in itertools.product(*cost.values())]
    budget = data.draw(st.sampled_from(totals))
    levels = choose_levels(sensitivity, cost, budget)
    assert sum(cost[layer][level] for layer, level in levels.items()) <= budget
    if budget >= max(totals):
        assert set(levels.values()) == {0}
    with pytest.raises(IntarsiaError, match="no choice of formats costs less"):
        choose_levels(sensitivity, cost, min(totals) - 0.001)


def test_the_layer_that_minds_least_for_what_it_saves_is_lowered_first() -> None:
    sensitivity = {"touchy": [0.0, 1.0], "calm": [0.0, 0.1], "small": [0.0, 0.01]}
    cost = {"touchy": [8.0, 4.0], "calm": [8.0, 4.0], "small": [0.8, 0.7]}
    assert choose_levels(sensitivity, cost, 13.0) == {"touchy": 0, "calm": 1, "small": 0}


def test_the_search_finds_formats_that_fit_a_budget_of_bits() -> None:
    data, model = load_dataset("digits"), build("digits", 0)

    def bits(network: IntegerNetwork) -> dict[str, float]:
        return {layer.name: float(layer.total) for layer in effective_bits(network).layers}

    steps: list[int] = []
    found = search_layerwise(model, data, FORMATS, bits, 4.5 * 1_840, images=64, progress=steps.append)
    assert found.cost <= 4.5 * 1_840
    assert len(set(map(str, found.scheme.layers.values()))) > 1
    assert set(found.scheme.layers.values()) <= {LayerScheme.parse(text) for text in FORMATS}
    assert len(steps) == len(found.sensitivity) * len(FORMATS)
    for losses in found.sensitivity.values():
        assert losses["int8"] < losses["int2"]


def test_in_pairs_a_layers_input_is_as_wide_as_its_weights() -> None:
    data, model = load_dataset("digits"), build("digits", 0)

    def bits(network: IntegerNetwork) -> dict[str, float]:
        return {layer.name: float(layer.total) for layer in effective_bits(network).layers}

    formats = ("int16 a16", "int8 a8", "int4 a4")
    tables = measure_layerwise(model, data, formats, bits, images=16, paired=True)
    widths = {
        "stem": 8,
        "block1.depthwise": 16,
        "block1.pointwise": 8,
        "block2.depthwise": 4,
        "block2.pointwise": 16,
        "block3.depthwise": 4,
        "block3.pointwise": 4,
        "fc": 8,
    }
    scheme = tables.scheme({layer: LayerScheme.parse(f"int{width} a{width}") for layer, width in widths.items()})
    network = freeze(post_training(model, data, scheme, images=16, rounding="nearest"), name="pairs")
    assert {layer.output.name: layer.planes[0].format.name for layer in network.weight_layers()} == {
        layer: f"int{width}" for layer, width in widths.items()
    }
    assert {layer.output.name: layer.output.format.bits for layer in network.weight_layers()} == {
        "stem": 16,
        "block1.depthwise": 8,
        "block1.pointwise": 4,
        "block2.depthwise": 16,
        "block2.pointwise": 4,
        "block3.depthwise": 8,  # also a term of the sum that fc reads
        "block3.pointwise": 8,
        "fc": 8,  # what no layer reads
    }


def test_a_choice_among_pairs_gives_a_layers_input_the_bits_of_its_format() -> None:
    data, model = load_dataset("digits"), build("digits", 0)

    def bits(network: IntegerNetwork) -> dict[str, float]:
        return {layer.name: float(layer.total) for layer in effective_bits(network).layers}

    tables = measure_layerwise(model, data, ("int16 a16", "int4 a4"), bits, images=16, paired=True)
    least = tables.fixed_cost + sum(min(row) for row in tables.cost.values())
    layers = tables.choose(least).scheme.layers  # leaves no choice, on any processor
    assert {str(scheme) for layer, scheme in layers.items() if layer != "fc"} == {"int4 a4"}
    assert str(layers["fc"]) == "int4"


def test_inputs_beyond_the_range_do_not_hide_what_a_layer_loses() -> None:
    torch.manual_seed(0)
    images = torch.randn(200, 16, 1, 1)
    images[::10] = -60.0
    split = Split(images.numpy(), np.zeros(len(images), np.int64))
    data = Dataset("mine", split, split, split, ("one",), InputScaling(0, 1 / 16, unit=1.0))
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8)).eval()

    def nothing(network: IntegerNetwork) -> dict[str, float]:
        return {layer.name: 0.0 for layer in effective_bits(network).layers}

    (losses,) = search_layerwise(model, data, FORMATS, nothing, 1.0, images=200).sensitivity.values()
    assert losses["int8"] < 0.01 < losses["int2"]


def test_the_search_counts_what_transforms_make_of_the_network() -> None:
    data, model = load_dataset("digits"), build("digits", 0)

    def weights(network: IntegerNetwork) -> dict[str, float]:
        return {layer.output.name: float(layer.planes[0].weights.size) for layer in network.weight_layers()}

    plain = search_layerwise(model, data, ["int8"], weights, 1e9, images=32)
    wide = search_layerwise(model, data, ["int8"], weights, 1e9, images=32, transforms=Transforms(widen=1.5))
    assert plain.cost == 1_840
    assert wide.cost > 1.3 * plain.cost


def test_a_final_softmax_and_affine_layers_are_none_of_the_search() -> None:
    """The error was once measured between logits and probabilities; an affine layer has no format to choose."""
    model, shape = make("standardized")
    softmax, data = nn.Sequential(model, nn.Softmax(1)).eval(), training_set(shape)

    def bits(network: IntegerNetwork) -> dict[str, float]:
        return {layer.name: float(layer.total) for layer in effective_bits(network).layers}

    plain = search_layerwise(model, data, FORMATS, bits, 1e6, images=16)
    ended = search_layerwise(softmax, data, FORMATS, bits, 1e6, images=16)
    assert set(plain.scheme.layers) == {"conv", "fc"}
    assert set(ended.scheme.layers) == {"0.conv", "0.fc"}
    assert ended.sensitivity["0.fc"] == pytest.approx(plain.sensitivity["fc"])
    every = sum(bits(quantized(model, shape)[1]).values())
    assert plain.cost > every  # int8 throughout, the affine layer's few bits included
    with pytest.raises(IntarsiaError, match="no choice of formats"):
        search_layerwise(model, data, FORMATS, bits, 10.0, images=16)
