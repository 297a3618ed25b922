# SPDX-License-Identifier: Apache-2.0
"""Forms of a network compute the same values, and the compiler takes the one with fewer cycles."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from intarsia.engine import compile_network, config_for
from intarsia.engine.forms import Form, forms
from intarsia.engine.program import Patches, Placement
from intarsia.engine.storage import Stored
from intarsia.integer import Conv2d, IntegerNetwork
from intarsia.integer.executor import Executor
from mlperf_tiny_networks import autoencoder_like, dscnn_like, mobilenet_like
from random_networks import KINDS, random_images, random_layer_network, random_network


def _arrange(image: NDArray[np.integer], form: Form) -> NDArray[np.integer]:
    values = image.swapaxes(1, 2) if form.transposed else image
    return form.patches.unfold(values.astype(np.int64)).astype(image.dtype) if form.patches else values


def _same_values(network: IntegerNetwork, rng: np.random.Generator) -> int:
    images = random_images(rng, network, 2)
    expected = Executor(network).trace(images)
    count = 0
    for form in forms(network, 16):
        found = Executor(form.network).trace(np.stack([_arrange(image, form) for image in images]))
        for layer in network.layers:
            values = found[layer.output.name]
            values = values.swapaxes(2, 3) if form.transposed else values
            np.testing.assert_array_equal(values, expected[layer.output.name], err_msg=layer.output.name)
        count += 1
    return count


@settings(max_examples=60)
@given(st.integers(0, 100_000), st.sampled_from(KINDS))
def test_a_layer_has_the_same_values_in_every_form(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    network = random_layer_network(rng, kind)
    count = _same_values(network, rng)
    assert count >= 1 + (network.input.shape[1] != network.input.shape[2])


@settings(max_examples=30)
@given(st.integers(0, 100_000))
def test_a_network_has_the_same_values_in_every_form(seed: int) -> None:
    rng = np.random.default_rng(seed)
    _same_values(random_network(rng), rng)


@settings(max_examples=60)
@given(st.integers(0, 100_000), st.booleans())
def test_what_is_stored_is_restored(seed: int, transposed: bool) -> None:
    rng = np.random.default_rng(seed)
    network = random_layer_network(rng, "avgpool")
    channels, height, width = network.input.shape
    shape = (channels, width, height) if transposed else network.input.shape
    placement = Placement(network.input, 3, Stored(replace(network.input, shape=shape), 8, 16, 1), transposed)
    image = random_images(rng, network, 1)[0]
    stored = placement.store(image)
    assert stored.shape == (placement.words, 16)
    np.testing.assert_array_equal(placement.restore(stored), image)


def test_patches_hold_what_the_kernel_sees() -> None:
    patches = Patches((2, 3), (2, 1), (1, 0, 0, 1))
    values = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    unfolded = patches.unfold(values)
    assert unfolded.shape == patches.shape((2, 3, 4)) == (12, 2, 3)
    np.testing.assert_array_equal(unfolded[:, 0, 0], [0, 0, 0, 0, 0, 0, 0, 12, 1, 13, 2, 14])
    np.testing.assert_array_equal(unfolded[0::2, 1, 2], [6, 7, 0, 10, 11, 0])


def test_patches_of_a_transposed_image_hold_the_same_in_the_same_order() -> None:
    values = np.random.default_rng(0).integers(-9, 9, (2, 5, 7))
    plain = Patches((2, 3), (2, 1), (1, 0, 0, 1)).unfold(values)
    transposed = Patches((3, 2), (1, 2), (0, 1, 1, 0), transposed=True).unfold(values.swapaxes(1, 2))
    np.testing.assert_array_equal(transposed.swapaxes(1, 2), plain)


def test_an_input_that_others_read_too_is_not_unfolded() -> None:
    rng = np.random.default_rng(0)
    network = random_layer_network(rng, "conv", channels=(3, 3), size=(6, 6))
    first = network.layers[0]
    assert isinstance(first, Conv2d)
    again = replace(first, output=replace(first.output, name="again"))
    shared = replace(network, layers=(first, again))
    assert any(form.patches for form in forms(network, 16))
    assert not any(form.patches for form in forms(shared, 16))


def test_the_form_with_fewer_cycles_is_taken() -> None:
    """DS-CNN's tall maps are stored transposed; kernels over few channels are unfolded, others are not."""
    rng = np.random.default_rng(0)
    keyword, person, anomaly = (_input(build(rng)) for build in (dscnn_like, mobilenet_like, autoencoder_like))
    assert keyword.transposed
    assert keyword.patches == Patches((4, 10), (2, 2), (1, 4, 1, 5), transposed=True)
    assert keyword.words == 125 * 3
    assert not person.transposed
    assert person.patches == Patches((3, 3), (2, 2), (0, 0, 1, 1))
    assert person.words == 48 * 48 * 2
    assert not anomaly.transposed
    assert anomaly.patches is None


def _input(network: IntegerNetwork) -> Placement:
    return compile_network(network, config_for(network)).input
