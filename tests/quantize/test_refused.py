# SPDX-License-Identifier: Apache-2.0
"""What the quantizer does not take is refused in one sentence that names the operator and its layer."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from intarsia.errors import IntarsiaError
from intarsia.networks import build
from intarsia.quantize import LayerScheme, Scheme, attach
from intarsia.quantize.plan import read_plan
from network_kinds import Net, after_conv


class Wrapped(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.conv, self.layer = nn.Conv2d(4, 4, 3), layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layer(self.conv(x))
        return result


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def two(compute: Callable[[Any, Any], Any]) -> nn.Module:
    return Net(lambda net, x: compute(net.a(x), net.b(x)), a=nn.Conv2d(4, 4, 3), b=nn.Conv2d(4, 4, 3))


class Recurrent(nn.Module):
    """FX cannot trace it: the layer returns two values."""

    def __init__(self) -> None:
        super().__init__()
        self.loss, self.gru = nn.CrossEntropyLoss(), nn.GRU(64, 5, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found, _ = self.gru(x.flatten(2))
        result: torch.Tensor = found
        return result


def lstm() -> nn.Module:
    parts = {"conv": nn.Conv2d(4, 4, 3), "lstm": nn.LSTM(4, 5, batch_first=True)}
    return Net(lambda net, x: net.lstm(net.conv(x).flatten(2).transpose(1, 2))[0], **parts)


OPERATORS = (
    *(nn.LeakyReLU(), nn.PReLU(), nn.Hardswish(), nn.Hardsigmoid(), nn.SiLU(), nn.GELU(), nn.ELU(), nn.Tanh()),
    *(nn.LayerNorm(6), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.LocalResponseNorm(2), nn.ReflectionPad2d(1)),
    *(nn.ConvTranspose2d(4, 4, 2), nn.Upsample(scale_factor=2), nn.PixelShuffle(2), nn.Embedding(4, 4)),
)


@pytest.mark.parametrize(
    ("model", "names"),
    [(Wrapped(layer), (f"layer layer: {type(layer).__name__} is not supported", "Linear")) for layer in OPERATORS]
    + [
        (after_conv(functional.leaky_relu), ("layer leaky_relu: leaky_relu is not supported",)),
        (after_conv(functional.gelu), ("gelu is not supported",)),
        (after_conv(lambda x: torch.cat([x, x], 1)), ("layer cat: cat is not supported", "concatenation")),
        (after_conv(torch.exp), ("exp is not supported",)),
        (after_conv(lambda x: x.permute(0, 2, 3, 1)), ("permute is not supported",)),
        (after_conv(lambda x: functional.max_pool2d(x, 2, return_indices=True)[0]), ("max_pool2d_with_indices",)),
        (
            Net(lambda net, x: net.pool(x)[0], pool=nn.MaxPool2d(2, return_indices=True)),
            ("layer pool", "several results"),
        ),
        (lstm(), ("layer lstm: LSTM is not supported",)),
        (Recurrent(), ("layer gru: GRU is not supported",)),
        (Branching(), ("cannot trace", "Branching")),
        (nn.ReLU(), ("nothing to quantize", "no convolution")),
        (nn.Sequential(nn.BatchNorm2d(4)), ("nothing to quantize", "no convolution")),
        (Wrapped(nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")), ("reflect", "layer")),
        (Wrapped(nn.AdaptiveAvgPool2d(4)), ("AdaptiveAvgPool2d", "layer", "whole")),
        (Wrapped(nn.AvgPool2d(4, ceil_mode=True)), ("AvgPool2d with ceil_mode", "layer")),
        (Wrapped(nn.AvgPool2d(2, padding=1, count_include_pad=False)), ("does not count", "layer")),
        (Wrapped(nn.AvgPool2d(2, divisor_override=3)), ("divisor", "layer")),
        (Wrapped(nn.MaxPool2d(2, dilation=2)), ("dilation", "layer")),
        (Wrapped(nn.Sequential(nn.ZeroPad2d(1), nn.ReLU())), ("padding", "layer.0")),
        (Wrapped(nn.ZeroPad2d(1)), ("padding", "layer")),
        (Wrapped(nn.Sequential(nn.ConstantPad2d(1, 2.0), nn.Conv2d(4, 4, 3))), ("2.0", "layer.0")),
        (Wrapped(nn.Sequential(nn.ConstantPad2d(1, -float("inf")), nn.Conv2d(4, 4, 3))), ("zeros", "layer.1")),
        (Wrapped(nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(2))), ("MaxPool2d after padding with 0", "layer.1")),
        (Wrapped(nn.Sequential(nn.ReLU(), nn.ZeroPad2d(2), nn.MaxPool2d(2))), ("padding alone", "layer.2")),
        (Wrapped(nn.Hardtanh(0.1, 1.0)), ("a clip to 0.1 … 1", "layer", "must hold 0")),
        (after_conv(lambda x: x.clamp(-2, -1)), ("a clip to -2 … -1", "clamp")),
        (after_conv(lambda x: x.clamp(x.mean((2, 3), keepdim=True))), ("clamp", "numbers")),
        (
            after_conv(lambda x: x.view(x.size(0), 2, 12, 6).mean(3)),
            ("a view of (4, 6, 6) as (2, 12, 6)", "layer mean"),
        ),
        (after_conv(lambda x: x[:, :2]), ("layer getitem", "picks from")),
        (after_conv(lambda x: x[:, torch.tensor([3, 2, 1, 0])]), ("layer getitem",)),
        (after_conv(lambda x: x.mean((1, 2, 3))), ("mean over axes (1, 2, 3)", "height and width")),
        (after_conv(lambda x: x.mean().view(1, 1)), ("mean over all values",)),
        (after_conv(lambda x: x.flatten(1).mean(1)), ("layer mean",)),
        (after_conv(lambda x: functional.max_pool1d(x.flatten(2), 2)), ("max_pool1d over", "height 1")),
        (after_conv(lambda x: functional.avg_pool1d(x.flatten(1), 2)), ("avg_pool1d over a view",)),
        (after_conv(lambda x: functional.dropout(x, 0.5)), ("dropout outside training", "training=self.training")),
        (Wrapped(nn.Linear(6, 4)), ("Linear over anything but a flattened tensor", "layer")),
        (two(lambda x, y: x * y), ("layer mul: a product of anything but a tensor and a constant",)),
        (two(lambda x, y: x - y), ("layer sub: a subtraction of anything but a tensor and a constant",)),
        (two(lambda x, y: torch.add(x, y, alpha=2)), ("layer add: an addition with a factor",)),
        (two(lambda x, y: x + y.mean((2, 3), keepdim=True)), ("different shapes", "(4, 6, 6)", "(4, 1, 1)")),
        (after_conv(lambda x: 1 / (x + 1)), ("a division by a tensor",)),
        (after_conv(lambda x: x.div(2, rounding_mode="floor")), ("layer div",)),
        (after_conv(lambda x: x * x.shape[1]), ("layer mul",)),
        (after_conv(lambda x: torch.relu(x * torch.randn(1, 4, 6, 6))), ("for each pixel", "layer mul")),
        (after_conv(lambda x: x * torch.rand(7, 1, 1, 1)), ("each input of a batch",)),
        (Wrapped(nn.BatchNorm2d(4, track_running_stats=False)), ("running statistics", "layer")),
        (Wrapped(nn.Sequential(nn.Softmax(1), nn.ReLU())), ("Softmax before other operators", "layer.0")),
        (Wrapped(nn.Softmax(2)), ("Softmax over another axis than the classes", "layer")),
        (two(lambda x, y: (x, y)), ("several values",)),
        (nn.Sequential(nn.Conv1d(4, 4, 3)), ("layer 0", "nn.Flatten(2)")),
    ],
)
def test_what_is_not_supported_is_named(model: nn.Module, names: tuple[str, ...]) -> None:
    with pytest.raises(IntarsiaError) as caught:
        read_plan(model, (4, 8, 8))
    assert all(name in str(caught.value) for name in names)
    assert "\n" not in str(caught.value)


def test_a_wrong_input_shape_and_an_unknown_layer_are_named() -> None:
    with pytest.raises(IntarsiaError, match="does not accept this input at layer stem"):
        read_plan(build("digits"), (3, 8, 8))
    scheme = Scheme("mine", LayerScheme.parse("ternary"), layers={"stern": LayerScheme.parse("int8")})
    with pytest.raises(IntarsiaError, match="stern"):
        attach(build("digits"), scheme, (1, 8, 8), 1 / 16)


def test_changes_in_place_that_cannot_be_followed_are_refused() -> None:
    def viewed(net: Any, x: Any) -> Any:
        x = net.conv(x)
        flat = x.flatten(1)
        x.relu_()
        return net.fc(flat)

    def named_twice(net: Any, x: Any) -> Any:
        x = net.conv(x)
        second = x
        second += net.conv(x)  # FX reads an addition that changes nothing else
        return net.conv(x)

    with pytest.raises(IntarsiaError, match="layer relu_: an operator in place"):
        read_plan(Net(viewed, conv=nn.Conv2d(4, 4, 3), fc=nn.Linear(144, 2)), (4, 8, 8))
    with pytest.raises(IntarsiaError, match=r"something else than torch\.fx"):
        read_plan(Net(named_twice, conv=nn.Conv2d(4, 4, 3, padding=1)), (4, 8, 8))


def hooked(attach_to: Callable[[nn.Module], object]) -> nn.Module:
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    attach_to(model[0])
    return model


def own_forward(layer: nn.Module) -> None:
    layer.forward = lambda x: -3 * functional.conv2d(x, layer.weight)  # type: ignore[method-assign, arg-type]


def infinite(layer: nn.Module) -> None:
    with torch.no_grad():
        layer.bias[1] = float("inf")  # type: ignore[index, operator]


@pytest.mark.parametrize(
    ("attach_to", "says"),
    [
        (lambda layer: layer.register_forward_hook(lambda m, i, o: -3 * o), "layer 0 has hooks"),
        (lambda layer: layer.register_forward_pre_hook(lambda m, i: (-3 * i[0],)), "layer 0 has hooks"),
        (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), r"layer 0 has hooks.*prune\.remove"),
        (own_forward, "layer 0 has a forward of its own"),
        (infinite, "layer 0: its bias is not finite"),
    ],
)
def test_layers_that_are_not_what_their_kind_says_are_refused(
    attach_to: Callable[[nn.Module], object], says: str
) -> None:
    with pytest.raises(IntarsiaError, match=says):
        read_plan(hooked(attach_to), (4, 8, 8))


def test_a_softmax_over_one_output_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(32, 1), nn.Softmax(1))
    with pytest.raises(IntarsiaError, match="layer 2: a softmax over a single output, which is always 1"):
        read_plan(model, (2, 4, 4))
