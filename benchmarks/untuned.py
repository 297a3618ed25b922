# SPDX-License-Identifier: Apache-2.0
"""Is superposition better on a network that nobody tuned anything for, by the recipe of users' own networks?

INTARSIA_DATA=... python benchmarks/untuned.py

The network is res8-narrow of Tang and Lin (Deep Residual Learning for Small-Footprint Keyword Spotting, 2018) with 16
channels, the data 40 spoken Arabic words, with speakers of their own in training, validation and test
(kws/train_arabic_speech_commands.npz). Trains it in floating point as any user would, writes it as ONNX with its data,
and runs

    intarsia run runs/untuned/res8.onnx --data runs/untuned/data --seeds 0 1 2 --baselines int8 ternary layerwise \\
        --skip-synthesis

whose scheme and recipe are the defaults. Scores are kept in studies/results/untuned.json, for benchmarks/evidence.py.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import trange

from intarsia.cli import main as intarsia
from intarsia.files import write_json
from intarsia.report import read_run
from intarsia.typed_json import to_json
from mlperf_tiny import findings_of

DATA, RESULTS = "kws/train_arabic_speech_commands.npz", Path("studies/results/untuned.json")
EPOCHS, BATCH, RATE, SHIFT = 30, 64, 3e-3, 3


class Block(nn.Module):
    """Two convolutions and what goes around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output, of the shape of its input."""
        inner = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(x + self.second_norm(self.second(inner)))


def res8(channels: int, classes: int) -> nn.Module:
    """Return res8 for inputs of 1 × 49 × 10; its pool is smaller, as the input is."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d((4, 2)),
        *(Block(channels) for _ in range(3)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, classes),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/untuned"))
    options = parser.parse_args()
    file, data = options.out / "res8.onnx", options.out / "data"
    if not file.exists():
        write_float(file, data)
    command = ["run", file, "--data", data, "--seeds", "0", "1", "2", "--baselines", "int8", "ternary", "layerwise",
               "--skip-synthesis", "--out", options.out]  # fmt: skip
    status = intarsia([str(word) for word in command])
    assert status == 0, f"exit status {status}"
    write_json(RESULTS, to_json(findings_of(read_run(options.out / "res8" / "results.json"))))


def write_float(file: Path, folder: Path) -> None:
    """Train the float network; write it and its data."""
    with np.load(Path(os.environ["INTARSIA_DATA"]) / DATA) as found:
        splits = {"train": "train", "validation": "val", "test": "test"}
        arrays = {name: (found[f"x_{key}"].astype(np.float32), found[f"y_{key}"]) for name, key in splits.items()}
        classes = len(found["classes"])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (x, y) in arrays.items():
        np.savez(folder / f"{name}.npz", x=x, y=y)
    x, y = (torch.from_numpy(array) for array in (arrays["train"][0][:, None], arrays["train"][1].astype(np.int64)))
    torch.manual_seed(0)
    model = res8(16, classes)
    normalized = nn.Sequential(nn.BatchNorm2d(1), model)
    optimizer = torch.optim.AdamW(normalized.parameters(), weight_decay=1e-2)
    steps = EPOCHS * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in trange(EPOCHS, desc="float training", unit="epoch"):
        for rows in torch.randperm(len(x))[: len(x) // BATCH * BATCH].split(BATCH):
            moved = torch.roll(x[rows], int(torch.randint(-SHIFT, SHIFT + 1, ())), dims=2)
            optimizer.zero_grad()
            functional.cross_entropy(normalized(moved), y[rows], label_smoothing=0.1).backward()
            optimizer.step()
            schedule.step()
    torch.onnx.export(normalized.eval(), (x[:1],), file, dynamo=False)


if __name__ == "__main__":
    main()
