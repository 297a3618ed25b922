# SPDX-License-Identifier: Apache-2.0
"""Where factors and offsets go: into a neighbour where that is exact, else into a layer that no scheme counts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from intarsia.errors import IntarsiaError
from intarsia.integer import Conv2d
from intarsia.quantize import PRESETS, LayerScheme, Scheme, attach
from intarsia.quantize.plan import read_plan
from network_kinds import Net, conv, head, inputs, make, norm, positive, quantized

SHAPE = (4, 8, 8)


def steps_of(*layers: nn.Module) -> list[tuple[str, str]]:
    return [(step.name, step.kind) for step in read_plan(nn.Sequential(*layers).eval(), SHAPE)]


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        ((norm(4), conv()), ["1"]),
        ((norm(4), conv(padding=1)), ["0 affine", "1"]),
        ((conv(), nn.ReLU(), norm(4), conv()), ["0", "3"]),
        ((conv(), nn.ReLU(), norm(4), conv(padding=1)), ["0", "2 affine", "3"]),
        ((conv(), norm(4), norm(4), conv(padding=1)), ["0", "3"]),
        ((norm(4), norm(4), conv(padding=1)), ["0 affine", "2"]),
        ((norm(4), nn.ReLU(), conv()), ["0 affine", "2"]),
        ((conv(), nn.ReLU(), norm(4), *head(144)), ["0", "4"]),
        ((conv(), nn.Flatten(), norm(144, nn.BatchNorm1d), nn.Linear(144, 3)), ["0", "3"]),
        ((conv(), nn.ReLU(), norm(4), nn.AvgPool2d(2), conv()), ["0", "3", "4"]),
        ((conv(), nn.ReLU(), positive(4), nn.MaxPool2d(2, padding=1), conv()), ["0", "3", "4"]),
        ((conv(), nn.ReLU(), positive(4), nn.MaxPool2d(2), nn.AvgPool2d(3)), ["0", "3", "4", "2 affine"]),
        ((conv(), nn.ReLU(), norm(4), nn.MaxPool2d(2), conv()), ["0", "2 affine", "3", "4"]),
        ((conv(), nn.ReLU(), norm(4), nn.AvgPool2d(2, padding=1), conv()), ["0", "2 affine", "3", "4"]),
        ((conv(), nn.ReLU(), norm(4)), ["0", "2 affine"]),
        ((conv(), nn.ReLU(), norm(4), conv(groups=4), norm(4)), ["0", "3"]),
    ],
)
def test_a_normalization_is_folded_wherever_that_is_exact(layers: tuple[nn.Module, ...], wanted: list[str]) -> None:
    found = [name if kind != "affine" else f"{name} {kind}" for name, kind in steps_of(*layers)]
    assert found == wanted


def scaling(compute: Callable[[Any, Any], Any], padding: int) -> list[str]:
    model = Net(lambda net, x: net.conv(compute(net, x)), conv=conv(padding=padding), mean=torch.rand(4, 1, 1))
    return [step.name for step in read_plan(model, SHAPE)]


def test_a_factor_alone_passes_padding_and_an_offset_does_not() -> None:
    assert scaling(lambda _, x: x / 255, 1) == ["conv"]
    assert scaling(lambda net, x: x * net.mean, 1) == ["conv"]
    assert scaling(lambda net, x: -x, 1) == ["conv"]
    assert scaling(lambda net, x: x - net.mean, 1) == ["sub", "conv"]
    assert scaling(lambda net, x: x - net.mean, 0) == ["conv"]
    assert scaling(lambda net, x: x * 1 + 0, 1) == ["conv"]


def test_all_readers_take_a_factor_up_or_none() -> None:
    def compute(net: Any, x: Any) -> Any:
        x = net.norm(x)
        return net.one(x) + net.two(x)

    for padding, wanted in ((0, ["one", "two", "add"]), (1, ["norm", "one", "two", "add"])):
        model = Net(compute, norm=norm(4), one=conv(padding=padding), two=conv(kernel=3, padding=padding)).eval()
        assert [step.name for step in read_plan(model, SHAPE)] == wanted


def test_an_affine_layer_is_exact_in_ternary_and_is_no_layer_of_a_scheme() -> None:
    """It has one weight per channel, so the first layer stays the first convolution."""
    model, shape = make("standardized")
    scheme = Scheme.parse("ternary, first=digits3, depthwise=digits2")
    network = attach(model, scheme, shape, 1 / 64)
    texts = {name: str(layer) for name, layer in network.layer_schemes.items()}
    assert texts == {"sub": "ternary", "conv": "digits3", "fc": "digits4"}
    x = inputs(shape)
    with torch.no_grad():
        step = network.step("sub")
        torch.testing.assert_close(network.compute(step, [x]), (x - model.mean) / model.std[:, None, None])  # type: ignore[index, operator]
    named = attach(model, Scheme.parse("ternary a4, sub=digits2"), shape, 1 / 64)
    assert str(named.layer_schemes["sub"]) == "digits2"
    assert str(attach(model, Scheme.parse("ternary a4"), shape, 1 / 64).layer_schemes["sub"]) == "ternary a4"


def test_an_affine_layer_becomes_a_depthwise_convolution_with_one_pixel() -> None:
    model, shape = make("standardized")
    _, network = quantized(model, shape)
    first = network.layers[0]
    assert isinstance(first, Conv2d)
    assert (first.output.name, first.depthwise, first.kernel) == ("sub", True, (1, 1))
    model, shape = make("normalized one channel")
    _, network = quantized(model, shape)
    first = network.layers[0]
    assert isinstance(first, Conv2d)
    assert (first.output.name, first.depthwise, first.kernel) == ("0", False, (1, 1))


def test_a_channel_with_the_factor_0_keeps_its_offset() -> None:
    model = nn.Sequential(conv(), nn.ReLU(), norm(4), nn.ReLU(), conv(padding=1)).eval()
    with torch.no_grad():
        model[2].weight[:2] = 0.0  # type: ignore[index, union-attr]
        model[2].bias[:2] = torch.tensor([1.5, -1.5])  # type: ignore[index, union-attr]
    module, network = quantized(model, SHAPE)
    with torch.no_grad():
        tensor = module.tensors(inputs(SHAPE))["2"]
    torch.testing.assert_close(tensor[:, 0], torch.full_like(tensor[:, 0], 1.5), rtol=0.02, atol=0.02)
    assert bool((tensor[:, 1] == 0).all())
    assert network.layers[1].output.name == "2"


@pytest.mark.parametrize("layers", [[conv(groups=2)], [conv(4, 8, groups=4)], [conv(dilation=2)]])
def test_binary_weights_are_refused_where_a_kernel_is_filled_up_with_zeros(layers: list[nn.Module]) -> None:
    model = nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(layers[0].out_channels, 4, 1)).eval()  # type: ignore[arg-type]
    for text in ("binary", "binary+1:16xint8", "mix-outputs:int8@0.3/binary"):
        scheme = Scheme("binary", LayerScheme.parse(text))
        with pytest.raises(IntarsiaError, match="layer 0: binary weights have no 0"):
            attach(model, scheme, SHAPE, 1 / 64)
    attach(model, PRESETS["int8"], SHAPE, 1 / 64)
