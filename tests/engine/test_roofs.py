# SPDX-License-Identifier: Apache-2.0
"""Roofs: no layer is faster, and they are those of the layer, not of how it happens to be computed."""

from dataclasses import replace

import numpy as np
import pytest

from intarsia.engine import EngineConfig, compile_network
from intarsia.engine.cycles import predict
from intarsia.engine.roofs import LayerRoofs, roofs
from intarsia.errors import IntarsiaError
from mlperf_tiny_networks import Digits, autoencoder_like, dscnn_like
from random_networks import KINDS, random_layer_network, resnet8_like

DEEP = EngineConfig(weight_depth=4096, acc_bits=26)
PARAMS = DEEP.param_words


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
            assert layer.weight_reads + layer.parameter_reads >= roof.weights
            assert layer.activation_writes <= layer.cycles
            assert roof.activations >= output.output.words
            compared += 1
    assert compared >= 25


def _by_name(found: tuple[LayerRoofs, ...]) -> dict[str, LayerRoofs]:
    return {roof.name: roof for roof in found}


def test_roofs_of_known_layers() -> None:
    rng = np.random.default_rng(0)
    image = _by_name(roofs(compile_network(resnet8_like(rng), DEEP)))
    # Weights are multiples of the words of a tile: of its requantization, and a word for each block.
    assert image["stack1.conv1"] == LayerRoofs("stack1.conv1", 9216.0, PARAMS + 9, 1024)
    assert image["stack1.conv1"].bound_by == "compute"
    # One pixel of four is read; the residual is read and the sum written.
    assert image["stack2.shortcut"] == LayerRoofs("stack2.shortcut", 512.0, 2 * (PARAMS + 1), 1024)
    assert image["stack2.shortcut"].bound_by == "activations"
    keyword = _by_name(roofs(compile_network(dscnn_like(rng, Digits(3, 2, 4)), DEEP)))
    assert keyword["stem"] == LayerRoofs("stem", 3 * 1250.0, 4 * (PARAMS + 3 * 3), 500)
    assert keyword["block1.depthwise"] == LayerRoofs("block1.depthwise", 2 * 281.25, 4 * (PARAMS + 2), 500)
    anomaly = _by_name(roofs(compile_network(autoencoder_like(rng), DEEP)))
    assert anomaly["fc"] == LayerRoofs("fc", 4 * 320.0, 40 * (PARAMS + 4 * 8), 40)
    assert anomaly["hidden.12"] == LayerRoofs("hidden.12", 4.0, PARAMS + 8, 8)  # 8 of 16 lanes have a channel
    assert anomaly["hidden.12"].bound_by == "weights"


@pytest.mark.parametrize("field", ["out_width", "blocks", "tile_pixels", "pixel_tiles"])
def test_the_cycle_model_ends_on_a_program_that_does_not(field: str) -> None:
    """A descriptor that no compiler made, as in a damaged file, has an empty loop."""
    program = compile_network(resnet8_like(np.random.default_rng(0)), DEEP)
    layer = program.layers[1]
    broken = replace(layer, descriptor=replace(layer.descriptor, **{field: 0}))
    with pytest.raises(IntarsiaError, match=f"{layer.name} never ends on the engine: {field} is 0"):
        predict(replace(program, layers=(broken,)))
