import pytest
import torch
from torch import nn
from torch.nn import functional

from intarsia.errors import IntarsiaError
from intarsia.networks import build
from intarsia.quantize import PRESETS, LayerScheme, Scheme, attach
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


def randomized(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1, generator=generator)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2, generator=generator)  # type: ignore[union-attr]
    return model.eval()


@pytest.mark.parametrize(
    ("model", "shape"),
    [(build("resnet8"), (3, 32, 32)), (build("digits"), (1, 8, 8)), (Branches(), (2, 9, 12))],
)
def test_the_plan_computes_what_the_network_does_and_leaves_it_alone(
    model: nn.Module, shape: tuple[int, int, int]
) -> None:
    randomized(model)
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = model(x)
        network = attach(model, PRESETS["superposition"], shape, 1 / 128)
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
        (Wrapped(nn.Linear(6, 4)), ("Linear", "layer")),
        (Multiplying(), ("mul", "mul")),
        (Branching(), ("cannot trace", "Branching")),
        (nn.ReLU(), ("nothing to quantize", "no convolution")),
    ],
)
def test_what_is_not_supported_is_named(model: nn.Module, names: tuple[str, str]) -> None:
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
