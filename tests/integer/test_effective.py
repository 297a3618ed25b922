# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from intarsia.integer.effective import LayerBits, effective_bits
from intarsia.integer.formats import ActivationFormat, Pattern, WeightFormat
from intarsia.integer.layers import Conv2d, Linear, Plane, Requantization, Tensor
from intarsia.integer.network import IntegerNetwork

INT8 = ActivationFormat(8, signed=True)


def plane(shape: tuple[int, ...], format_: str, pattern: str = "dense", filled: int = 0) -> Plane:
    weights = np.zeros(shape, np.int8)
    weights.reshape(-1)[:filled] = 1
    return Plane(weights, WeightFormat(format_), Pattern.parse(pattern))


def bits(channels: int, *planes: Plane, depthwise: bool = False, linear: bool = False) -> LayerBits:
    outputs = planes[0].weights.shape[0]
    settings = Requantization(*[np.zeros(outputs, np.int32)] * 3, -128, 127)
    output = Tensor("layer", (outputs, 1, 1), INT8, 1.0)
    size = planes[0].weights.shape[2]
    layer: Conv2d | Linear = Conv2d("input", output, planes, settings, depthwise=depthwise)
    if linear:
        layer = Linear("input", output, planes, settings)
    source = Tensor("input", (channels, size, size), INT8, 1.0)
    return effective_bits(IntegerNetwork("one", source, (layer,), 8)).layers[0]


def test_superposition_of_whole_blocks() -> None:
    found = bits(32, plane((64, 32, 3, 3), "ternary"), plane((64, 32, 3, 3), "int8", "1:16"))
    blocks = 64 * 9 * 2
    assert (found.planes, found.indices, found.padding) == (blocks * (26 + 8), blocks * 4, 0)
    assert (found.scales, found.biases) == (64 * (8 + 5), 64 * 32)
    assert found.per_weight == pytest.approx((26 + 12) / 16 + 13 / 288)


def test_digits_cost_a_plane_each_and_rest_is_padding() -> None:
    found = bits(20, plane((4, 20, 1, 1), "digits4"), linear=True)
    assert found.planes == 4 * 4 * (26 + 7)  # 16 + 4 trits
    assert found.padding == 4 * 4 * (26 - 7) + 12 * (4 * 2 * 26 + 13)  # the rest of a block, and twelve lanes


def test_outputs_fill_the_lanes_in_every_plane() -> None:
    shape = (20, 32, 1, 1)
    found = bits(32, plane(shape, "ternary"), plane(shape, "int8", "1:16"), linear=True)
    assert (found.planes, found.indices, found.scales) == (20 * 2 * (26 + 8), 20 * 2 * 4, 20 * 13)
    assert found.padding == 12 * (2 * (26 + 8 + 4) + 13)
    shared = bits(32, plane(shape, "ternary"), plane(shape, "int8", "1:16/4"), linear=True)
    assert shared.total == 32 * (2 * (26 + 8) + 13) + 32 // 4 * 2 * 4


def test_rgb_and_depthwise_layers_block_along_their_taps() -> None:
    assert bits(3, plane((16, 3, 3, 3), "digits4")).total == 16 * 3 * 26 * 4 + 16 * 13
    assert bits(32, plane((32, 1, 5, 5), "digits4"), depthwise=True).total == 32 * 2 * 26 * 4 + 32 * 13


def test_linear_layers_count_as_the_convolutions_that_they_are() -> None:
    assert bits(20, plane((4, 20, 3, 3), "digits4"), linear=True) == bits(20, plane((4, 20, 3, 3), "digits4"))
    image = bits(1, plane((16, 1, 28, 28), "ternary"), linear=True)
    assert image.planes == 16 * 28 * 28 // 16 * 26
    few = bits(3, plane((16, 3, 1, 1), "ternary"), linear=True)
    assert few.planes + few.padding == 16 * 26  # one block, not one for each channel


def test_shared_positions_store_one_index_for_the_group_and_free_ones_an_index_each() -> None:
    shape = (32, 16, 1, 1)
    assert bits(16, plane(shape, "ternary"), plane(shape, "int8", "1:16/16")).indices == 2 * 4
    free = bits(16, plane(shape, "ternary"), plane(shape, "int8", "unstructured", filled=10))
    assert free.indices == 10 * 9  # 512 positions
    assert free.planes == 32 * 26 + 10 * 8
