# SPDX-License-Identifier: Apache-2.0
"""Programs of torch.export, from memory and from .pt2 files, against the modules that they were made of."""

import io
import json
import math
import pickle
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from intarsia.errors import IntarsiaError
from intarsia.networks import build
from intarsia.networks.importers import ImportedModel, from_exported, import_float
from intarsia.quantize import PRESETS, attach
from intarsia.quantize.calibrate import float_tensors

pytestmark = pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning")


class Everything(nn.Module):
    """The operators that nearly every convolutional network has."""

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


class Signal(nn.Module):
    """1-D, with a normalization of its weights and every kind of pool."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = weight_norm(nn.Conv1d(3, 8, 5, stride=2, padding=2, groups=1))
        self.norm = nn.BatchNorm1d(8)
        self.wide = nn.Conv1d(8, 8, 3, padding="same", dilation=2, groups=4)
        self.fc = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool1d(self.norm(functional.relu(self.conv(x))), 3, 2, 1)
        x = functional.avg_pool1d(self.wide(functional.pad(x, (2, 0))), 2, ceil_mode=True)
        x = functional.adaptive_avg_pool1d(x, 2)
        x = functional.adaptive_max_pool1d(x, 1)
        return self.fc(x.squeeze(-1))


class Arithmetic(nn.Module):
    """Preprocessing, scales and offsets as users write them."""

    mean: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.3, 0.5, 0.2]).view(3, 1, 1))
        self.scale = nn.Parameter(torch.tensor([0.1, -0.2, 0.3, 0.4]))
        self.pre = nn.BatchNorm2d(3)
        self.conv = nn.Conv2d(3, 4, 3, dilation=2, groups=1)
        self.post = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pre((x.to(torch.float32) / 2 - self.mean) / torch.tensor([2.0, 1.0, 4.0]).view(1, 3, 1, 1))
        x = self.post(torch.maximum(self.conv(x) * torch.exp(self.scale)[:, None, None] + 0.5, torch.zeros(1)))
        x = torch.clip(2 - x, -1.5, 0.75) - 0.5 * torch.clamp_min(x, 0)
        x = torch.sub(x, x.relu(), alpha=2).neg()
        return self.fc(x.amax((-2, -1)))


class Forms(nn.Module):
    """One tensor flattened and convolved; flattened in both orders; added flat; squeezed and restored."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, stride=2)
        self.again = nn.Conv2d(3, 3, 1)
        self.one, self.two, self.three = nn.Linear(18, 5), nn.Linear(18, 5), nn.Linear(3, 5)
        self.norm = nn.BatchNorm1d(18)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x.unsqueeze(1))
        last = x.permute(0, 2, 3, 1).contiguous()
        flat = self.norm(x.flatten(1)) + self.again(x).reshape(-1, 18)
        pooled = self.again(x).flatten(2).mean(2)
        one = self.one(last.view(last.size(0), -1)) + self.two(flat)
        return one + self.three(pooled.unsqueeze(-1).transpose(1, 2)[:, 0])


class Axes(nn.Module):
    """Every way to rearrange axes; pools with several results; a normalization without parameters at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.out = nn.Conv2d(2, 3, 2), nn.Linear(36, 8), nn.BatchNorm1d(8, affine=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        y = x.movedim(1, -1).swapaxes(1, 2).mT.moveaxis((2, 1), (1, 3))
        x = functional.max_pool2d(y.swapdims(1, 2).transpose(2, 1).view_as(x) + y, 2, 1, return_indices=True)[0]
        return self.out(self.fc(x.flatten(-3)))


class Tokens(nn.Module):
    """A fully connected layer on the last axis, of a picture without an axis of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.mix, self.fc = nn.Conv2d(1, 4, 4, stride=4), nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x.view(x.shape[0], 1, 8, 8) * 0.5).flatten(2).transpose(1, 2)
        return torch.sigmoid(self.fc(self.mix(x).relu().mean(1)))


class Multiply(nn.Module):
    """A perceptron of matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(6, 8)), nn.Parameter(torch.randn(8, 3))
        self.bias = nn.Parameter(torch.randn(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(x @ self.first + self.bias) @ self.second


class Ceil(nn.Module):
    """Windows that reach beyond the image, where no divisor tells."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(self.conv(x), 3, 2, 1, ceil_mode=True)
        return functional.avg_pool2d(x, (2, 1), ceil_mode=True)


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[int, int, int]]] = {
    "everything": (Everything, (2, 9, 8), (2, 9, 8)),
    "resnet8": (lambda: build("resnet8"), (3, 32, 32), (3, 32, 32)),
    "signal": (Signal, (3, 37), (3, 1, 37)),
    "arithmetic": (Arithmetic, (3, 8, 9), (3, 8, 9)),
    "forms": (Forms, (5, 8), (1, 5, 8)),
    "axes": (Axes, (2, 6, 5), (2, 6, 5)),
    "tokens": (Tokens, (64,), (1, 8, 8)),
    "multiply": (Multiply, (6,), (6, 1, 1)),
    "ceil": (Ceil, (2, 10, 8), (2, 10, 8)),
    "wide": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(30, 4)), (5, 6), (1, 5, 6)),
}


def randomized(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.uniform_(-1, 1, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                if module.affine:
                    module.weight.uniform_(-1, 1, generator=generator)
    return model.eval()


def exported(name: str) -> tuple[nn.Module, torch.Tensor, torch.export.ExportedProgram]:
    torch.manual_seed(0)
    make, shape, _ = CASES[name]
    model = randomized(make())
    x = torch.randn(4, *shape)
    return model, x, torch.export.export(model, (x,), dynamic_shapes=({0: Dim("batch")},))


def check(found: ImportedModel, name: str, model: nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        result, expected = found.module(x[:3].reshape(3, *found.shape)), model(x[:3])
    if found.dropped[:1] == ("Softmax at the end",):
        result = result.softmax(1)
    elif found.dropped[-1:] == ("Sigmoid at the end",):
        result = result.sigmoid()
    torch.testing.assert_close(result, expected)
    assert found.shape == CASES[name][2]
    layers = (nn.Conv2d, nn.Conv1d, nn.Linear)
    names = [{n for n, m in module.named_modules() if isinstance(m, layers)} for module in (found.module, model)]
    assert name == "multiply" or {n.replace("again_2", "again") for n in names[0]} == names[1]


@pytest.mark.parametrize("name", CASES)
def test_an_exported_program_computes_what_its_module_does(name: str, tmp_path: Path) -> None:
    model, x, program = exported(name)
    check(from_exported(program, name), name, model, x)
    if name != "tokens":  # a product of batches there
        check(from_exported(program.run_decompositions(), name), name, model, x)
    torch.export.save(program, tmp_path / "model.pt2")
    check(import_float(tmp_path / "model.pt2"), name, model, x)


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


def test_what_an_import_changes_is_said() -> None:
    _, _, program = exported("forms")
    assert from_exported(program).dropped == (
        "a reshape of the input, which is now (1, 5, 8)",
        "the sharing of 'again.weight': each layer that has it got a copy",
    )


class Wrapped(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.conv, self.layer = nn.Conv2d(4, 4, 3), layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layer(self.conv(x))
        return result


class Function(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(36, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.lstm(x.flatten(2))[0]
        return result


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (nn.GELU(), r"operator gelu \(GELU\) of 'layer' is not supported"),
        (nn.LeakyReLU(), r"operator leaky_relu \(LeakyReLU\) of 'layer' is not supported"),
        (nn.PReLU(), r"operator prelu \(PReLU\) of 'layer' is not supported"),
        (nn.Hardswish(), r"operator hardswish \(Hardswish\) of 'layer' is not supported"),
        (Recurrent(), r"operator lstm \(LSTM\) of 'layer.lstm' is not supported"),
        (nn.GroupNorm(2, 4), r"operator group_norm \(GroupNorm\) of 'layer' is not supported"),
        (nn.Upsample(scale_factor=2), "of 'layer' is not supported"),
        (nn.ConvTranspose2d(4, 4, 3), "operator conv_transpose2d .* of 'layer' is not supported"),
        (Function(lambda x: torch.cat([x, x], 1)), "operator cat of 'layer' is not supported"),
        (Function(lambda x: x * x.mean((2, 3), keepdim=True)), "multiplies activations"),
        (Function(lambda x: 1 / x), "operator reciprocal of 'layer' is not supported"),
        (Function(lambda x: torch.ones(4, 1, 1) / x), "divides by activations"),
        (Function(lambda x: x / 0.0), "divides by zero"),
        (Function(lambda x: x * float("inf")), "not finite"),
        (Function(lambda x: x.mean()), "has no axes"),
        (Function(lambda x: x.mean(1)), "over the channels"),
        (Function(lambda x: x.mean((0, 2))), "the batch cannot be among them"),
        (Function(lambda x: x[:, 1:]), "makes the shape"),
        (Function(lambda x: x + x.amax((2, 3), keepdim=True)), "broadcasting is not supported"),
        (Function(lambda x: x + x.transpose(2, 3)), "permuted in different ways"),
        (Function(lambda x: functional.max_pool2d(x.transpose(1, 2), 2)), "whose axes are not those of an image"),
        (
            Function(lambda x: functional.max_pool2d(x.flatten(1).relu().view(x.shape) + x, 2).view(-1)),
            "changes the batch",
        ),
        (Function(lambda x: (x, x + x)), "returns several values"),
        (nn.AvgPool2d(4, 4, ceil_mode=True), "ceil_mode"),
        (nn.AvgPool2d(3, padding=1, count_include_pad=False), "count_include_pad"),
        (nn.MaxPool2d(2, dilation=2), "dilation"),
        (nn.ReflectionPad2d(1), "pads with anything but zeros|is not supported"),
        (nn.AdaptiveAvgPool2d(4), "not whole windows"),
        (nn.Hardtanh(1.0, 2.0), "only a range that holds 0"),
        (nn.Softmax(2), "another axis than that of the classes"),
        (nn.Sequential(nn.Softmax(1), nn.ReLU()), "follows Softmax"),
    ],
)
def test_what_is_not_supported_is_named(layer: nn.Module, says: str) -> None:
    program = torch.export.export(Wrapped(layer).eval(), (torch.zeros(2, 4, 8, 8),))
    with pytest.raises(IntarsiaError, match=says) as caught:
        from_exported(program)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_dynamic_image_training_mode_and_a_missing_batch_are_refused() -> None:
    x = torch.zeros(2, 4, 8, 8)
    program = torch.export.export(Wrapped(nn.ReLU()), (x,), dynamic_shapes=({2: Dim("height", min=4)},))
    with pytest.raises(IntarsiaError, match="dynamic shape"):
        from_exported(program)
    for layer in (nn.BatchNorm2d(4), nn.Dropout()):
        with pytest.raises(IntarsiaError, match="training mode"):
            from_exported(torch.export.export(Wrapped(layer).train(), (x,)))
    with pytest.raises(IntarsiaError, match="convolutions of batches"):
        from_exported(torch.export.export(nn.Conv2d(4, 4, 3), (x[0],)))
    with pytest.raises(IntarsiaError, match="a batch of 4 is supported"):  # PyTorch pools over both axes
        from_exported(torch.export.export(nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 2)), (x[0],)))
    first = Function(lambda x: functional.linear(x[0], torch.ones(2, 8)))
    with pytest.raises(IntarsiaError, match="changes the batch"):
        from_exported(torch.export.export(first, (x[:, :1],)))


# Files.


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.pt2"
    torch.export.save(exported("arithmetic")[2], path)
    return path


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None], to: Path, compression: int = 0) -> Path:
    """Copy an archive; `change` is given each entry's name, without the first folder, and its content."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w", compression) as new:
        for name in old.namelist():
            content = change(name.partition("/")[2], old.read(name))
            if content is not None:
                new.writestr(name, content)
    return to


def test_weights_of_every_type_and_layout_are_read(tmp_path: Path) -> None:
    class Typed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            shared = torch.arange(24, dtype=torch.float32)
            self.weight = nn.Parameter(shared[2:14].view(4, 3).t())
            self.small = nn.Parameter(torch.tensor([0.5, 0.25, 2.0]).half())
            self.register_buffer("brain", torch.tensor([1.5]).bfloat16(), persistent=False)
            self.register_buffer("precise", shared.double()[:6:2])
            self.register_buffer("wide", torch.tensor([7.0]).expand(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = functional.linear(x, self.weight) * self.small.float() + self.brain.float()  # type: ignore[operator]
            return x + self.precise.float() + self.wide  # type: ignore[operator]

    model, x = Typed(), torch.randn(2, 4)
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "typed.pt2")
    with torch.no_grad():
        torch.testing.assert_close(import_float(tmp_path / "typed.pt2").module(x.view(2, 4, 1, 1)), model(x))


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def test_nothing_in_a_file_is_unpickled(file: Path, tmp_path: Path) -> None:
    """PyTorch's own loader runs what the example inputs hold; they are not opened here."""
    sprung = tmp_path / "sprung"
    buffer = io.BytesIO()
    torch.save(Trap(sprung), buffer)
    trapped = rewritten(
        file,
        lambda name, content: buffer.getvalue() if name.startswith("data/sample_inputs") else content,
        tmp_path / "trapped.pt2",
    )
    import_float(trapped)
    assert not sprung.exists()

    def pickled(name: str, content: bytes) -> bytes:
        if name == "data/weights/weight_0":
            return pickle.dumps(Trap(sprung))
        return content.replace(b'"use_pickle": false', b'"use_pickle": true') if name.endswith(".json") else content

    with pytest.raises(IntarsiaError, match="pickled Python object, which is never opened"):
        import_float(rewritten(file, pickled, tmp_path / "pickled.pt2"))
    assert not sprung.exists()
    torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)  # the trap is real
    assert sprung.exists()


def test_foreign_and_damaged_files_are_refused_in_one_sentence(file: Path, tmp_path: Path) -> None:
    def drop(part: str) -> Callable[[str, bytes], bytes | None]:
        return lambda name, content: None if part in name else content

    def model(change: Callable[[dict[str, Any]], object]) -> Callable[[str, bytes], bytes]:
        def rewrite(name: str, content: bytes) -> bytes:
            if not name.startswith("models/"):
                return content
            graph = json.loads(content)
            change(graph)
            return json.dumps(graph).encode()

        return rewrite

    paths = {name: tmp_path / f"{name}.pt2" for name in ("empty", "state", "short", "text", "old")}
    paths["empty"].write_bytes(b"")
    torch.save(nn.Linear(2, 2).state_dict(), paths["state"])
    paths["short"].write_bytes(file.read_bytes()[:5000])
    paths["text"].write_text("a model")
    with zipfile.ZipFile(paths["old"], "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("version", "8.0")
    cases: dict[Path, str] = dict.fromkeys(paths.values(), "model|damaged|cannot be read")
    cases[paths["old"]] = "PyTorch 2.7 or older wrote it"
    cases[rewritten(file, drop("models"), tmp_path / "a.pt2")] = "holds 0 exported programs"
    cases[rewritten(file, drop("weights_config"), tmp_path / "b.pt2")] = "weights_config.json is missing"
    cases[rewritten(file, drop("weight_1"), tmp_path / "c.pt2")] = "is missing"
    cases[rewritten(file, lambda _, content: content, tmp_path / "d.pt2", zipfile.ZIP_DEFLATED)] = "compressed"
    cases[rewritten(file, model(lambda g: g["schema_version"].update(major=99)), tmp_path / "e.pt2")] = "schema is 99"
    cases[rewritten(file, model(lambda g: g.pop("graph_module")), tmp_path / "f.pt2")] = "damaged"
    for path, says in cases.items():
        with pytest.raises(IntarsiaError, match=says) as caught:
            import_float(path)
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)


def _leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON document that holds a number, a text or a list."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _leaves(value[key])


def test_a_file_with_any_change_is_read_or_refused(file: Path, tmp_path: Path) -> None:
    chosen = random.Random(0)
    odd = [None, -1, 0, 1, 7, 10**12, math.pi, "", "x", [], {}, True, [1, 2], {"as_int": 3}, "NaN"]

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith(".json") or (not name.startswith("models") and chosen.random() < 0.7):
            return content
        document = json.loads(content)
        holder, key = chosen.choice(list(_leaves(document)))
        holder[key] = chosen.choice(odd)
        return json.dumps(document).encode()

    for _ in range(150):
        path = rewritten(file, change, tmp_path / "changed.pt2")
        try:
            import_float(path)
        except IntarsiaError as error:
            assert "\n" not in str(error)
