"""Programs of torch.export, against the modules that they were made of."""

import pytest
import torch
from torch import nn
from torch.export import Dim
from torch.nn import functional

from intarsia.errors import IntarsiaError
from intarsia.networks import build
from intarsia.networks.importers import from_exported
from intarsia.quantize import PRESETS, attach
from intarsia.quantize.calibrate import float_tensors


class Everything(nn.Module):
    """Every operator of an exported program."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, (3, 2), stride=2, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding="same", groups=4), nn.ReLU6())
        self.shrink = nn.MaxPool2d(2, 1)
        self.mean = nn.AvgPool2d(2, 1, padding=1)
        self.drop = nn.Dropout(0.5)
        self.hidden = nn.Linear(4, 7)
        self.fc = nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(functional.pad(x, (0, 1, 2, 0)))).relu_()
        x = self.mean(self.shrink(torch.add(self.block(x), x)))
        x = self.drop(functional.hardtanh(x, 0.0, 0.5)).mean((2, 3))
        x = self.fc(functional.relu(self.hidden(x.clamp(0, 4))))
        return functional.softmax(x, 1)


def randomized(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.uniform_(-1, 1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return model.eval()


@pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning")
@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize("name", ["everything", "resnet8"])
def test_an_exported_program_computes_what_its_module_does(name: str, decomposed: bool) -> None:
    model = randomized(Everything() if name == "everything" else build(name))
    shape = {"everything": (2, 9, 8), "resnet8": (3, 32, 32)}[name]
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(2))
    program = torch.export.export(model, (x,), dynamic_shapes=({0: Dim("batch")},))
    found = from_exported(program.run_decompositions() if decomposed else program, name)
    with torch.no_grad():
        logits = found.module(x[:3])
        torch.testing.assert_close(logits.softmax(1) if name == "everything" else logits, model(x[:3]))
    assert found.shape == shape
    assert found.dropped == (("Softmax at the end",) if name == "everything" else ())
    layers = {n for n, m in found.module.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert layers == {n for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


def test_an_imported_module_is_quantized_like_any_other() -> None:
    model = randomized(Everything())
    x = torch.randint(-128, 128, (4, 2, 9, 8), generator=torch.Generator().manual_seed(2)) / 64
    found = from_exported(torch.export.export(model, (x,)))
    network = attach(found.module, PRESETS["superposition"], (2, 9, 8), 1 / 64)
    with torch.no_grad():
        tensors = float_tensors(network, x)
    torch.testing.assert_close(tensors[network.steps[-1].name].flatten(1), found.module(x), atol=1e-4, rtol=1e-4)
    assert network.step("conv").padding == (2, 0, 0, 1)
    assert network.step("block.0").ceiling == 6.0


class Wrapped(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.conv, self.layer = nn.Conv2d(4, 4, 3), layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layer(self.conv(x))
        return result


class Two(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x + x


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Wrapped(nn.GELU()), "operator gelu of 'gelu' is not supported"),
        (Wrapped(nn.Conv2d(4, 4, 3, groups=2)), "2 groups for 4 channels"),
        (Wrapped(nn.Conv2d(4, 4, 3, dilation=2)), "dilation"),
        (Wrapped(nn.MaxPool2d(2, ceil_mode=True)), "ceil_mode"),
        (Wrapped(nn.AdaptiveAvgPool2d(4)), "no whole windows"),
        (Wrapped(nn.Hardtanh()), "clips from -1.0"),
        (Wrapped(nn.Flatten(2)), "only a flatten to"),
        (Wrapped(nn.Sequential(nn.Softmax(1), nn.ReLU())), "follows Softmax"),
        (Two(), "returns several values"),
    ],
)
def test_what_is_not_supported_is_named(model: nn.Module, says: str) -> None:
    program = torch.export.export(model.eval(), (torch.zeros(2, 4, 8, 8),))
    with pytest.raises(IntarsiaError, match=says) as caught:
        from_exported(program)
    assert "\n" not in str(caught.value)


def test_a_dynamic_image_and_training_mode_are_refused() -> None:
    x = torch.zeros(2, 4, 8, 8)
    program = torch.export.export(Wrapped(nn.ReLU()), (x,), dynamic_shapes=({2: Dim("height", min=4)},))
    with pytest.raises(IntarsiaError, match="dynamic shape"):
        from_exported(program)
    with pytest.raises(IntarsiaError, match="training mode"):
        from_exported(torch.export.export(Wrapped(nn.BatchNorm2d(4)).train(), (x,)))
