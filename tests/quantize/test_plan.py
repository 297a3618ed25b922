import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from frozen_networks import assert_integers_are_their_model
from intarsia.errors import IntarsiaError
from intarsia.integer import Conv2d
from intarsia.networks import build
from intarsia.quantize import PRESETS, LayerScheme, Scheme, attach, freeze
from intarsia.quantize.calibrate import float_tensors
from intarsia.quantize.plan import read_plan


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
    assert {name: tuple(value.shape[1:]) for name, value in float_tensors(network, x).items() if value.dim() == 4} == {
        "input": shape
    } | {step.name: step.shape for step in network.steps if step.kind != "linear"}


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
            "all": lambda: x.flatten().reshape(1, 8),
        }[self.way]()
        result: torch.Tensor = self.fc(flat)
        return result


@pytest.mark.parametrize("way", ["start", "method", "both", "end"])
def test_flatten_is_read_however_its_arguments_are_written(way: str) -> None:
    assert [step.kind for step in read_plan(Flattening(way), (1, 4, 4))] == ["conv", "linear"]


@pytest.mark.parametrize("way", ["half", "all"])
def test_a_flatten_that_keeps_or_joins_other_dimensions_is_refused(way: str) -> None:
    with pytest.raises(IntarsiaError, match="Flatten from dimension"):
        read_plan(Flattening(way), (1, 4, 4))


def test_padding_goes_into_the_window_and_a_ceiling_to_its_step() -> None:
    steps = {step.name: step for step in read_plan(Padded(), (2, 9, 12))}
    assert (steps["conv"].padding, steps["conv"].ceiling) == ((0, 0, 1, 1), 6.0)
    assert (steps["even"].padding, steps["even"].ceiling) == ((1, 0, 2, 1), 0.4)
    assert (steps["shrink"].padding, steps["shrink"].kind) == ((0, 0, 1, 1), "maximum")
    assert steps["narrow"].padding == (2, 2, 0, 1)
    assert steps["hidden"].relu


def test_a_ceiling_bounds_the_frozen_integers_and_equals_the_model() -> None:
    torch.manual_seed(0)
    model = randomized(nn.Sequential(nn.ZeroPad2d((0, 1, 1, 0)), nn.Conv2d(2, 4, 3), nn.ReLU6(), nn.Conv2d(4, 3, 2)))
    module = attach(model, PRESETS["int8"], (2, 8, 8), 1 / 16)
    for step, scale in zip(module.steps, (0.0303, 0.25), strict=True):
        module.quantizers[step.name].set_scale(scale)  # type: ignore[operator]
    network = freeze(module, name="clipped")
    first = network.layers[0]
    assert isinstance(first, Conv2d)
    assert (first.requantization.lo, first.requantization.hi) == (0, 198)  # 6 / 0.0303 = 198.02
    assert first.padding == (1, 0, 0, 1)
    images = np.random.default_rng(0).integers(-128, 128, (16, 2, 8, 8))
    assert_integers_are_their_model(module, network, images)


def test_a_relu_beside_another_reader_stands_alone() -> None:
    steps = {step.name: step for step in read_plan(Branches(), (2, 9, 12))}
    assert not steps["conv"].relu
    assert steps["relu"].kind == "average"
    assert steps["relu"].relu
    assert steps["twice"].relu


class Wrapped(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.conv, self.layer = nn.Conv2d(4, 4, 3), layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layer(self.conv(x))
        return result


class Viewing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(x.size(0), 4, -1)


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class Multiplying(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.conv(x) * 2
        return result


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (Wrapped(nn.Sigmoid()), ("Sigmoid", "layer")),
        (Wrapped(nn.Conv2d(4, 4, 3, groups=2)), ("2 groups", "layer")),
        (Wrapped(nn.Conv2d(4, 4, 3, dilation=2)), ("dilation", "layer")),
        (Wrapped(nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")), ("reflect", "layer")),
        (Wrapped(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4))), ("BatchNorm2d", "layer_1")),
        (Wrapped(nn.AdaptiveAvgPool2d(4)), ("AdaptiveAvgPool2d", "layer")),
        (Wrapped(nn.Sequential(nn.ZeroPad2d(1), nn.ReLU())), ("padding", "layer_1")),
        (Wrapped(nn.Sequential(nn.ConstantPad2d(1, 2.0), nn.Conv2d(4, 4, 3))), ("2.0", "layer_0")),
        (Wrapped(nn.Sequential(nn.ConstantPad2d(1, -float("inf")), nn.Conv2d(4, 4, 3))), ("zeros", "layer_1")),
        (Wrapped(nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(2))), ("MaxPool2d", "layer_1")),
        (Wrapped(nn.Hardtanh(-1.0, 1.0)), ("clip", "-1", "layer")),
        (Wrapped(Viewing()), ("node view", "(N, -1)")),
        (Wrapped(nn.Linear(6, 4)), ("Linear", "layer")),
        (Multiplying(), ("mul", "mul")),
        (Branching(), ("cannot trace", "Branching")),
        (nn.ReLU(), ("nothing to quantize", "no convolution")),
    ],
)
def test_what_is_not_supported_is_named(model: nn.Module, names: tuple[str, ...]) -> None:
    with pytest.raises(IntarsiaError) as caught:
        read_plan(model, (4, 8, 8))
    assert all(name in str(caught.value) for name in names)
    assert "\n" not in str(caught.value)


def test_a_wrong_input_shape_and_an_unknown_layer_are_named() -> None:
    with pytest.raises(IntarsiaError, match="does not accept this input at node stem"):
        read_plan(build("digits"), (3, 8, 8))
    scheme = Scheme("mine", LayerScheme.parse("ternary"), layers={"stern": LayerScheme.parse("int8")})
    with pytest.raises(IntarsiaError, match="stern"):
        attach(build("digits"), scheme, (1, 8, 8), 1 / 16)
