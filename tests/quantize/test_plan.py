# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from frozen_networks import assert_integers_are_their_model
from intarsia.errors import IntarsiaError
from intarsia.integer import Conv2d
from intarsia.networks import build
from intarsia.quantize import PRESETS, attach, freeze
from intarsia.quantize.calibrate import float_tensors
from intarsia.quantize.operators import QUANTIZABLE
from intarsia.quantize.plan import read_plan
from intarsia.quantize.step import key
from network_kinds import Net, after_conv, head, inputs


class Branches(nn.Module):
    """Everything that is supported and not in the registry's networks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, (3, 2), stride=(1, 2), padding=(1, 0))
        self.norm = nn.BatchNorm2d(4)
        self.twice = nn.Conv2d(4, 4, 3, padding="same", bias=False)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.mean = nn.AvgPool2d(2, 1, padding=1)
        self.drop = nn.Dropout(0.5)
        self.hidden = nn.Linear(4 * 6 * 4, 7)
        self.fc = nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x))
        x = torch.add(functional.relu(x), self.twice(x).relu())
        x = self.drop(self.mean(self.pool(x)))
        result: torch.Tensor = self.fc(functional.relu(self.hidden(torch.flatten(x, 1))))
        return result


class Padded(nn.Module):
    """Every way to write padding, clipped activations and functional pooling; asymmetric where it can be."""

    def __init__(self) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.conv = nn.Conv2d(2, 4, 3, stride=2)
        self.relu6 = nn.ReLU6()
        self.even = nn.Conv2d(4, 4, (4, 2), padding="same", groups=4)
        self.low = nn.Hardtanh(0.0, 0.4)
        self.best = nn.ConstantPad2d((0, 1, 0, 1), -float("inf"))
        self.drop = nn.Dropout(0.5)
        self.shrink = nn.MaxPool2d(2, 2)
        self.hidden = nn.Linear(4 * 2 * 3, 7)
        self.norm = nn.BatchNorm1d(7)
        self.narrow = nn.Conv2d(4, 4, 3)
        self.fc = nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu6(self.conv(self.pad(x)))
        x = self.low(self.even(x))
        x = self.shrink(self.drop(self.best(x)))
        x = functional.relu6(self.narrow(functional.pad(functional.pad(x, (1, 0, 2, 0)), (1, 1))))
        x = functional.avg_pool2d(
            functional.pad(functional.max_pool2d(functional.pad(x, (0, 1, 1, 0)), 2, 1), [1] * 4), 2
        )
        x = torch.clamp(self.norm(self.hidden(x.view(x.size(0), -1))), 0, 6)
        result: torch.Tensor = self.fc(x)
        return result


class Averaged(nn.Module):
    """Ends in a mean over height and width, in one of the ways in which people write it."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.conv, self.fc, self.way = nn.Conv2d(2, 4, 3), nn.Linear(4, 3), way

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        flat = {
            "mean": lambda: x.mean((2, 3)),
            "kept": lambda: torch.mean(x, dim=[-1, -2], keepdim=True).flatten(1),
            "adaptive": lambda: functional.adaptive_avg_pool2d(x, 1).reshape(x.shape[0], -1),
            "features": lambda: functional.adaptive_avg_pool2d(x, (1, 1)).view(-1, 4),
        }[self.way]()
        result: torch.Tensor = self.fc(functional.dropout(flat, 0.5, self.training))
        return result


class FirstLinear(nn.Sequential):
    """Opens with a linear layer, as an auto-encoder does."""

    def __init__(self) -> None:
        layers = [nn.Flatten(), nn.Linear(2 * 9 * 12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5)]
        super().__init__(*layers)


def randomized(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.running_mean.uniform_(-1, 1, generator=generator)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2, generator=generator)  # type: ignore[union-attr]
    return model.eval()


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    ("model", "shape"),
    [(build("resnet8"), (3, 32, 32)), (build("digits"), (1, 8, 8)), (Branches(), (2, 9, 12)), (Padded(), (2, 9, 12))]
    + [(FirstLinear(), (2, 9, 12))]
    + [(Averaged(way), (2, 6, 5)) for way in ("mean", "kept", "adaptive", "features")],
)
def test_the_plan_computes_what_the_network_does_and_leaves_it_alone(
    model: nn.Module, shape: tuple[int, int, int]
) -> None:
    randomized(model)
    x = torch.randint(-128, 128, (4, *shape), generator=torch.Generator().manual_seed(2)) / 64
    with torch.no_grad():
        wanted = model(x)
        network = attach(model, PRESETS["superposition"], shape, 1 / 64)
        found = float_tensors(network, x)[network.steps[-1].name].flatten(1)
        assert torch.allclose(wanted, found, atol=1e-4)
        network(x)
        assert torch.equal(wanted, model(x))
    shapes = {name: tuple(value.shape[1:]) for name, value in float_tensors(network, x).items()}
    assert shapes == {"input": shape} | {step.name: step.shape for step in network.steps}


@pytest.mark.parametrize(("size", "kernel"), [(3, 2), (7, 5), (6, 6)])
def test_an_average_pool_takes_its_own_window_also_where_one_result_is_left(size: int, kernel: int) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AvgPool2d(kernel), nn.Flatten(), nn.Linear(2, 2)).eval()
    network = attach(model, PRESETS["superposition"], (1, size, size), 1 / 128)
    x = torch.randn(4, 1, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        step = network.step("1")
        assert torch.allclose(model[:2](x), network.compute(step, [model[0](x)]), atol=1e-6)


class Flattening(nn.Module):
    """Flattens by the function, its arguments given as `way` says."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.conv, self.fc, self.way = nn.Conv2d(1, 2, 3), nn.Linear(8, 2), way

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        flat = {
            "start": lambda: torch.flatten(x, start_dim=1),
            "method": lambda: x.flatten(start_dim=1),
            "both": lambda: torch.flatten(x, 1, 3),
            "end": lambda: torch.flatten(x, 1, end_dim=-1),
            "half": lambda: torch.flatten(x, 1, 2).flatten(1),
        }[self.way]()
        result: torch.Tensor = self.fc(flat)
        return result


@pytest.mark.parametrize("way", ["start", "method", "both", "end"])
def test_flatten_is_read_however_its_arguments_are_written(way: str) -> None:
    assert [step.kind for step in read_plan(Flattening(way), (1, 4, 4))] == ["conv", "linear"]


def test_a_flatten_in_two_pieces_is_read_and_one_that_joins_the_batch_refused() -> None:
    assert [step.kind for step in read_plan(Flattening("half"), (1, 4, 4))] == ["conv", "linear"]
    with pytest.raises(IntarsiaError, match="layer 1: Flatten that joins the inputs"):
        read_plan(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(0)), (1, 4, 4))


def test_who_asks_for_a_size_reads_no_values() -> None:
    def compute(net: Any, x: Any) -> Any:
        x = net.conv(x)
        batch = x.size(0)
        return net.fc(functional.relu(x).view(batch, -1))

    model = Net(compute, conv=nn.Conv2d(4, 4, 3), fc=nn.Linear(144, 3))
    assert [(step.name, step.floor) for step in read_plan(model, (4, 8, 8))] == [("conv", 0.0), ("fc", -INFINITE)]


def test_padding_goes_into_the_window_and_a_ceiling_to_its_step() -> None:
    steps = {step.name: step for step in read_plan(Padded(), (2, 9, 12))}
    assert (steps["conv"].padding, steps["conv"].ceiling) == ((0, 0, 1, 1), 6.0)
    assert (steps["even"].padding, steps["even"].ceiling) == ((1, 0, 2, 1), 0.4)
    assert (steps["shrink"].padding, steps["shrink"].kind) == ((0, 0, 1, 1), "maximum")
    assert steps["narrow"].padding == (2, 2, 0, 1)
    assert (steps["hidden"].floor, steps["hidden"].ceiling) == (0.0, 6.0)


def test_a_ceiling_bounds_the_frozen_integers_and_equals_the_model() -> None:
    torch.manual_seed(0)
    model = randomized(nn.Sequential(nn.ZeroPad2d((0, 1, 1, 0)), nn.Conv2d(2, 4, 3), nn.ReLU6(), nn.Conv2d(4, 3, 2)))
    module = attach(model, PRESETS["int8"], (2, 8, 8), 1 / 16)
    for step, scale in zip(module.steps, (0.0303, 0.25), strict=True):
        module.quantizers[key(step.name)].set_scale(scale)  # type: ignore[operator]
    network = freeze(module, name="clipped")
    first = network.layers[0]
    assert isinstance(first, Conv2d)
    assert (first.requantization.lo, first.requantization.hi) == (0, 198)  # 6 / 0.0303 = 198.02
    assert first.padding == (1, 0, 0, 1)
    images = np.random.default_rng(0).integers(-128, 128, (16, 2, 8, 8))
    assert_integers_are_their_model(module, network, images)


def test_a_relu_beside_another_reader_stands_alone() -> None:
    steps = {step.name: step for step in read_plan(Branches(), (2, 9, 12))}
    assert not steps["conv"].clipped
    assert (steps["relu"].kind, steps["relu"].floor) == ("average", 0.0)
    assert steps["twice"].floor == 0.0


def test_the_table_names_operators_as_pytorch_does() -> None:
    assert {"Conv2d", "Conv1d", "BatchNorm2d", "Hardtanh", "clamp_min", "AdaptiveMaxPool2d", "softmax"} <= set(
        QUANTIZABLE
    )
    assert not {"iadd", "getitem", "relu_", "truediv"} & set(QUANTIZABLE)
    for name in QUANTIZABLE:
        assert any(hasattr(where, name) for where in (nn, functional, torch, torch.Tensor)), name


def steps_of(model: nn.Module, shape: tuple[int, int, int] = (4, 8, 8)) -> list[tuple[str, str]]:
    return [(step.name, step.kind) for step in read_plan(model, shape)]


def clips_of(model: nn.Module) -> list[tuple[str, float, float]]:
    return [(step.name, step.floor, step.ceiling) for step in read_plan(model, (4, 8, 8))]


INFINITE = float("inf")


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        ((nn.Hardtanh(-0.5, 2), nn.Hardtanh(-1, 1)), [("0", -0.5, 1.0)]),
        ((nn.ReLU(), nn.Hardtanh(-1, 1), nn.ReLU()), [("0", 0.0, 1.0)]),
        ((nn.MaxPool2d(2), nn.ReLU()), [("0", 0.0, INFINITE), ("1", -INFINITE, INFINITE)]),
        ((nn.ReLU6(), nn.AvgPool2d(2), nn.Hardtanh(-1, 6)), [("0", 0.0, 6.0), ("2", -INFINITE, INFINITE)]),
        ((nn.ReLU6(), nn.AvgPool2d(2), nn.Hardtanh(-1, 5)), [("0", 0.0, 6.0), ("2", -1.0, 5.0)]),
        ((nn.Hardtanh(-1, 0),), [("0", -1.0, 0.0)]),
    ],
)
def test_clips_are_merged_and_those_that_change_nothing_make_no_step(
    layers: tuple[nn.Module, ...], wanted: list[tuple[str, float, float]]
) -> None:
    assert clips_of(nn.Sequential(nn.Conv2d(4, 4, 3), *layers)) == wanted


@pytest.mark.parametrize(
    "clip",
    [
        lambda x: torch.clamp(x, -0.5, 1),
        lambda x: x.clamp(min=-0.5, max=1.0),
        lambda x: torch.clip(x, max=1).clamp_min(-0.5),
        lambda x: torch.clamp_max(torch.clamp_min(x, -0.5), torch.tensor(1)),
        lambda x: functional.hardtanh(x, -0.5),
        lambda x: functional.hardtanh(x, min_val=-0.5, max_val=1.0, inplace=True),
    ],
)
def test_clips_are_read_however_they_are_written(clip: Callable[[Any], Any]) -> None:
    assert clips_of(after_conv(clip)) == [("conv", -0.5, 1.0)]


def test_a_clip_bounds_the_frozen_integers_on_both_sides() -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Hardtanh(-0.5, 3.0), nn.Conv2d(4, 3, 2), nn.Hardtanh(-100, 100)).eval()
    module = attach(model, PRESETS["int8"], (2, 8, 8), 1 / 16)
    for step, scale in zip(module.steps, (0.03, 0.25), strict=True):
        module.quantizers[key(step.name)].set_scale(scale)  # type: ignore[operator]
    first, last = freeze(module, name="clipped").layers
    assert isinstance(first, Conv2d)
    assert isinstance(last, Conv2d)
    assert (first.requantization.lo, first.requantization.hi) == (-17, 100)  # -16.67 and 100
    assert (last.requantization.lo, last.requantization.hi) == (-128, 127)  # the format's, not -400 and 400


@pytest.mark.parametrize(
    "end",
    [nn.Softmax(1), nn.LogSoftmax(-1), nn.Sigmoid(), nn.Sequential(nn.Softmax(dim=1), nn.Dropout(), nn.Identity())],
)
def test_a_final_softmax_or_sigmoid_is_left_out(end: nn.Module) -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3), *head(144), end).eval()
    x = inputs((4, 8, 8))
    network = attach(model, PRESETS["int8"], (4, 8, 8), 1 / 64)
    with torch.no_grad():
        found = float_tensors(network, x)[network.steps[-1].name].flatten(1)
        torch.testing.assert_close(found, model[:3](x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "end",
    [
        lambda x: functional.softmax(x.flatten(1), dim=-1),
        lambda x: torch.log_softmax(x.mean((2, 3), keepdim=True), 1).flatten(1),
        lambda x: functional.dropout(x.mean((2, 3)).sigmoid(), 0.5, training=False),
        torch.sigmoid,
    ],
)
def test_a_final_function_is_left_out_too(end: Callable[[Any], Any]) -> None:
    assert {kind for _, kind in steps_of(after_conv(end))} <= {"conv", "average"}


def test_names_are_those_of_modules_and_never_the_same() -> None:
    """Names that a dictionary of modules has for itself, or two that are one there, were once confused."""

    def compute(net: Any, x: Any) -> Any:
        x = net.pool(net.values(net.input(x)))
        x = net.shared(x) + net.shared(x) + net.block_conv(x)
        return net.pool(net.block.conv(x) + x)

    parts = {name: nn.Conv2d(4, 4, 1) for name in ("values", "input", "shared", "block_conv")}
    block = nn.Module()
    block.add_module("conv", nn.Conv2d(4, 4, 1))
    model = Net(compute, **parts, block=block, pool=nn.MaxPool2d(2)).eval()
    names = [name for name, _ in steps_of(model)]
    assert names == [
        *("input_1", "values", "pool", "shared", "shared_1", "add", "block_conv", "add_1", "block.conv", "add_2"),
        "pool_1",
    ]
    network, x = attach(model, PRESETS["int8"], (4, 8, 8), 1 / 64), inputs((4, 8, 8))
    with torch.no_grad():
        torch.testing.assert_close(float_tensors(network, x)["pool_1"], model(x), rtol=1e-4, atol=1e-4)


def statement(_: Any, y: Any) -> Any:
    y.relu_()
    return y


IN_PLACE: dict[str, Callable[[Any, Any], Any]] = {
    "statement": statement,
    "function": lambda _, y: functional.relu_(y),
    "argument": lambda _, y: functional.relu(y, True),
    "module": lambda net, y: net.relu(y),
    "method": lambda _, y: y.add_(1).mul_(0.5),
    "second name": lambda net, y: net.relu(net.drop(y)),
}


@pytest.mark.parametrize("way", IN_PLACE)
def test_what_works_in_place_changes_the_tensor_for_those_who_read_it_later(way: str) -> None:
    """The tensor was once read as it was before."""

    def compute(net: Any, x: Any) -> Any:
        y = net.conv(x)
        return net.other(IN_PLACE[way](net, y)) + y

    parts = {"conv": nn.Conv2d(4, 4, 1), "other": nn.Conv2d(4, 4, 1), "relu": nn.ReLU(inplace=True)}
    model = Net(compute, **parts, drop=nn.Dropout()).eval()
    x = inputs((4, 8, 8))
    network = attach(model, PRESETS["int8"], (4, 8, 8), 1 / 64)
    with torch.no_grad():
        found = float_tensors(network, x)[network.steps[-1].name]
        torch.testing.assert_close(found, model(x), rtol=1e-4, atol=1e-4)


def test_weights_that_a_forward_passes_itself_are_read() -> None:
    def compute(net: Any, x: Any) -> Any:
        x = functional.batch_norm(functional.conv2d(x, net.w, None, 2, 1), net.mean, net.mean + 1, eps=1e-3)
        return functional.linear(x.flatten(1), net.v)

    values = {"w": torch.randn(4, 4, 3, 3), "v": torch.randn(3, 64), "mean": torch.rand(4)}
    assert steps_of(Net(compute, **values)) == [("conv2d", "conv"), ("linear", "linear")]
