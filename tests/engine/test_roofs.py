# SPDX-License-Identifier: Apache-2.0
"""Roofs: no layer is faster, and they are those of the layer, not of how it happens to be computed."""

import numpy as np
import pytest

from intarsia.engine import compile_network, config_for
from intarsia.engine.cycles import predict
from intarsia.engine.roofs import LayerRoofs, roofs
from intarsia.errors import IntarsiaError
from mlperf_tiny_networks import Digits, autoencoder_like, dscnn_like
from random_networks import KINDS, random_layer_network, resnet8_like


@pytest.mark.parametrize("kind", KINDS)
def test_no_layer_is_faster_than_its_roofs(kind: str) -> None:
    compared = 0
    for seed in range(40):
        try:
            program = compile_network(random_layer_network(np.random.default_rng([23, seed]), kind, far=True))
        except IntarsiaError:
            continue
        for layer, roof, output in zip(predict(program), roofs(program), program.layers, strict=True):
            assert layer.cycles >= roof.cycles == max(roof.compute, roof.weights, roof.activations)
            assert layer.steps >= roof.compute
            assert layer.dense_reads >= roof.weights
            assert layer.activation_writes <= layer.cycles
            assert roof.activations >= output.output.words
            compared += 1
    assert compared >= 25


def _by_name(found: tuple[LayerRoofs, ...]) -> dict[str, LayerRoofs]:
    return {roof.name: roof for roof in found}


def test_roofs_of_known_layers() -> None:
    rng = np.random.default_rng(0)
    image = _by_name(roofs(compile_network(resnet8_like(rng))))
    assert image["stack1.conv1"] == LayerRoofs("stack1.conv1", 9216.0, 9, 1024)
    assert image["stack1.conv1"].bound_by == "compute"
    assert image["stack2.shortcut"] == LayerRoofs("stack2.shortcut", 512.0, 2, 512)  # one pixel of four is read
    assert image["stack1.add"] == LayerRoofs("stack1.add", 0.0, 2, 2048)
    assert image["stack1.add"].bound_by == "activations"
    keyword = _by_name(roofs(compile_network(dscnn_like(rng, Digits(3, 2, 4)))))
    assert keyword["stem"] == LayerRoofs("stem", 3 * 1250.0, 3 * 3 * 4, 500)
    assert keyword["block1.depthwise"] == LayerRoofs("block1.depthwise", 2 * 281.25, 2 * 4, 500)
    network = autoencoder_like(rng)
    anomaly = _by_name(roofs(compile_network(network, config_for(network))))
    assert anomaly["fc"] == LayerRoofs("fc", 4 * 320.0, 4 * 320, 40)
    assert anomaly["hidden.12"] == LayerRoofs("hidden.12", 4.0, 8, 8)  # 8 of 16 lanes have a channel
    assert anomaly["hidden.12"].bound_by == "weights"
