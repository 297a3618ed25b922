# SPDX-License-Identifier: Apache-2.0
"""Inputs whose channels have grids of their own: first layers take them over, and no function changes by it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from intarsia.datasets import ChannelGrid, Dataset, InputScaling, Split
from intarsia.datasets.rounding import own_scaling
from intarsia.errors import IntarsiaError
from intarsia.integer.executor import Executor
from intarsia.quantize import Scheme, attach, freeze, post_training
from intarsia.quantize.calibrate import float_tensors
from intarsia.quantize.data import outputs_of
from intarsia.quantize.inputs import grids_of


class Branches(nn.Module):
    """Two layers that read the input, and their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(4, 6, 3, 2), nn.Conv2d(4, 6, 3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.one(x).relu() + self.other(x).relu()


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) + x


#: A network, the shape of its input, the layers that read it and what they can take over.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int], tuple[str, ...], str]] = {
    "table": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3)), (7, 1, 1), ("1",), "offsets"
    ),
    "no bias": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(7, 5, bias=False)), (7, 1, 1), ("1",), "offsets"),
    "flattened": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(48, 5)), (4, 3, 4), ("1",), "offsets"),
    "relu": (lambda: nn.Sequential(nn.Conv2d(4, 5, 2), nn.ReLU(), nn.Flatten()), (4, 5, 5), ("0",), "offsets"),
    "depthwise": (
        lambda: nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 3, 1)), (4, 5, 5), ("0",), "offsets"
    ),
    "branches": (Branches, (4, 7, 7), ("one", "other"), "offsets"),
    "padded": (lambda: nn.Sequential(nn.Conv2d(4, 5, 3, padding=1), nn.ReLU()), (4, 5, 5), ("0",), "steps"),
    "padded depthwise": (
        lambda: nn.Sequential(nn.Conv2d(4, 4, (1, 3), padding=(0, 1), groups=4)), (4, 1, 9), ("0",), "steps"
    ),
}  # fmt: skip


def made(name: str) -> tuple[nn.Module, Dataset, str]:
    """A network, and inputs whose channels differ in size a millionfold and, where it takes that, are far from zero."""
    torch.manual_seed(0)
    build, shape, first, grids = NETWORKS[name]
    random, sizes = np.random.default_rng(0), 10.0 ** np.linspace(-3, 3, shape[0])
    far = 5 if grids == "offsets" else 0
    x = ((random.normal(size=(200, *shape)) + far) * sizes[:, None, None]).astype(np.float32)
    model = build().eval()
    with torch.no_grad():
        for label in first:
            layer = model.get_submodule(label)
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            size = torch.from_numpy(sizes).float()
            if isinstance(layer, nn.Linear):
                layer.weight /= size.repeat_interleave(layer.in_features // len(sizes))
            else:
                layer.weight /= size[:, None, None] if layer.groups == 1 else size[:, None, None, None]
    split = Split(x, np.zeros(len(x), np.int64))
    scaling = own_scaling(0, 1.0, x, "offsets" if grids == "offsets" else "steps")
    assert scaling.grid is not None
    return model, Dataset(name, split, split, split, ("0",), scaling), grids


@pytest.mark.parametrize("name", NETWORKS)
def test_first_layers_take_a_grid_over_and_the_function_stays(name: str) -> None:
    model, data, grids = made(name)
    x, scaling = torch.from_numpy(data.train.images), data.scaling
    assert grids_of(model, data.shape) == grids
    network = attach(model, Scheme.parse("int8"), data.shape, scaling.scale, signed=scaling.signed, grid=scaling.grid)
    with torch.no_grad():
        held = model(torch.from_numpy(scaling.held(data.train.images))).flatten(1)
        found = float_tensors(network, x)[network.steps[-1].name].flatten(1)
        asked = outputs_of(model, data.train.images, scaling, held=True)
        exact = model(x).flatten(1)
    spread = exact.std()
    assert (asked - held).abs().max() < 1e-4 * spread
    assert (found - held).abs().max() < 1e-3 * spread
    assert (
        held - exact
    ).square().mean().sqrt() < 0.03 * spread  # rounding loses little, whatever the size of a channel


@pytest.mark.parametrize("name", NETWORKS)
def test_the_frozen_network_reads_the_integers_of_the_data_set(name: str) -> None:
    model, data, _ = made(name)
    module = post_training(model, data, Scheme.parse("int8"), images=200)
    network, images = freeze(module, name=name), data.train.images[:50]
    integers = data.scaling.integers(images)
    with torch.no_grad():
        assert np.array_equal(module.source(torch.from_numpy(images)) / data.scaling.scale, integers)
        floats = module.tensors(torch.from_numpy(images))
        wanted = model(torch.from_numpy(images)).flatten(1).numpy()
    for label, values in Executor(network).trace(integers).items():
        found = np.floor(floats[label].numpy().reshape(values.shape) / network.tensors[label].scale + 0.5)
        assert np.abs(found - values).max() <= 1
    outputs = Executor(network).run(integers) * network.output.scale
    assert np.sqrt(np.square(outputs - wanted).mean()) < 0.1 * wanted.std()


@given(st.integers(0, 10_000), st.floats(-1e4, 1e4), st.floats(1e-3, 1e3), st.booleans(), st.booleans())
def test_pytorch_and_numpy_round_to_the_same_integers(
    seed: int, offset: float, step: float, signed: bool, gridded: bool
) -> None:
    random = np.random.default_rng(seed)
    x = (random.integers(-300, 300, (50, 1, 1, 1)) / 2 * step + offset * gridded).astype(np.float32)  # many ties
    grid = ChannelGrid((offset,), (step,)) if gridded else None
    scaling = InputScaling(0, 1 / 128 if gridded else step, 1.0, signed, grid)
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 1)).eval()
    network = attach(model, Scheme.parse("int8"), (1, 1, 1), scaling.scale, signed=signed, grid=grid)
    found = network.source(torch.from_numpy(x)).numpy() / np.float32(scaling.scale)
    assert np.array_equal(np.rint(found), scaling.integers(x))
    assert np.array_equal(network.source.held(torch.from_numpy(x)), scaling.held(x))


@pytest.mark.parametrize(
    ("model", "taken"),
    [
        (Residual(), "none"),
        (nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 4, 1)), "none"),
        (nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 1)), "none"),
        (nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(4, 4, 3)), "steps"),
    ],
)
def test_what_cannot_be_taken_over_is_refused(model: nn.Module, taken: str) -> None:
    assert grids_of(model, (4, 6, 6)) == taken
    grid = ChannelGrid((1.0, 0.0, 0.0, 0.0), (1.0,) * 4)
    with pytest.raises(IntarsiaError, match="cannot take over an offset or a step"):
        attach(model, Scheme.parse("int8"), (4, 6, 6), 1.0, grid=grid)
