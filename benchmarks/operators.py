# SPDX-License-Identifier: Apache-2.0
"""Write docs/operators.md: what can be imported, quantized and run on the engine, from the code itself.

python benchmarks/operators.py
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from intarsia.datasets import InputScaling
from intarsia.engine import compile_network
from intarsia.files import write_text
from intarsia.integer import Conv2d, IntegerNetwork
from intarsia.networks.importers import _aten, _keras, _onnx, _tflite
from intarsia.quantize import PRESETS, freeze, post_training
from intarsia.quantize.data import Samples, TrainingSet
from intarsia.quantize.operators import OPERATORS

PAGE = Path(__file__).parent.parent / "docs" / "operators.md"


class Sum(nn.Module):
    """Two shortcuts: the convolution does the addition, where no clip stands between them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.clipped = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.conv(x)
        return x + self.clipped(x).relu()


class Scaled(nn.Module):
    """Arithmetic with constants, where no layer before it takes it over."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -(x.relu() * 0.5 - 0.25) / 2.0


class Reduced(nn.Module):
    """Reductions over height and width."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.amax(3, keepdim=True).mean((2, 3), keepdim=True)


#: A network part for each way in which operators are read; it follows a convolution of 4 channels of 6 × 6 pixels.
SAMPLES: Mapping[str, nn.Module] = {
    "conv": nn.Conv2d(4, 8, 3, stride=2, padding=1, dilation=2, groups=2),
    "linear": nn.Sequential(nn.Flatten(), nn.Linear(144, 5)),
    "norm": nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4), nn.ReLU()),
    "clip": nn.Hardtanh(-0.5, 1.0),
    "add": Sum(),
    "subtract": Scaled(),
    "pool": nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(3)),
    "reduce": Reduced(),
    "pad": nn.Sequential(nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(4, 4, 3)),
    "layout": nn.Sequential(nn.Dropout(), nn.Flatten()),
    "ending": nn.Sequential(nn.Flatten(), nn.Linear(144, 5), nn.Softmax(1)),
}


def page() -> str:
    """Return the page."""
    parts = [
        "# Operators",
        "Operators that can be imported, quantized and run on the engine. `python benchmarks/operators.py` writes this "
        "page from the tables in the code, and a test compares them. An operator that is in no table is rejected by "
        "name, with its layer.",
        "## Quantizer",
        "The quantizer takes PyTorch modules that `torch.fx` can trace; an imported file becomes one. Every row was "
        "quantized, frozen and compiled for the engine when this page was written: the last column names the layers "
        "that its part of the network became.",
        _table(("operators", "supported", "on the engine"), _quantizable()),
        "## ONNX and QONNX",
        "`import_float` reads all of these except `BipolarQuant` of activations; `import_integer` reads networks whose "
        "weights and activations are quantized.",
        _table(("operator", "supported"), _grouped({k: h.note for k, h in _onnx.HANDLERS.items()})),
        "## TFLite",
        _table(("operator", "supported"), _grouped({k: h.note for k, h in _tflite.HANDLERS.items()})),
        "## torch.export (.pt2)",
        _names(_aten.HANDLERS),
        "## Keras (.keras, .h5)",
        _names(_keras.HANDLERS),
    ]
    return "\n\n".join(parts) + "\n"


def _quantizable() -> list[tuple[str, str, str]]:
    titled = [entry for entry in OPERATORS if entry.title]
    return [(entry.title, entry.note, _on_engine(SAMPLES[entry.reading])) for entry in titled]


def _on_engine(part: nn.Module) -> str:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), part).eval()
    images = np.random.default_rng(0).integers(-128, 128, (16, 3, 8, 8)).astype(np.int8)
    samples = Samples(images, np.zeros(len(images), np.int64))
    data = TrainingSet(samples, samples, InputScaling(0, 1 / 64))
    network = freeze(post_training(model, data, PRESETS["superposition"], images=16), name="sample")
    compile_network(network)
    return _layers(network)


def _layers(network: IntegerNetwork) -> str:
    """Name the layers after the first."""
    names = []
    for layer in network.layers[1:]:
        depthwise = isinstance(layer, Conv2d) and layer.depthwise
        names.append(("depthwise " if depthwise else "") + type(layer).__name__)
    return ", ".join(names) or "part of the layer before"


def _grouped(notes: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return operators with the same note together."""
    groups: dict[str, list[str]] = {}
    for name, note in notes.items():
        groups.setdefault(note, []).append(f"`{name}`")
    return [(", ".join(sorted(names)), note) for note, names in groups.items()]


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) + "."


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    write_text(PAGE, page())
    print(f"wrote {PAGE}")
