# SPDX-License-Identifier: Apache-2.0
"""What training reads of a data set, and labels for inputs that have none."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from intarsia.quantize.inputs import Grid, InputQuantizer
from intarsia.quantize.objectives import class_logits

#: Inputs as a data set stores them.
Stored = NDArray[np.uint8 | np.int8 | np.float16 | np.float32]


class Scaling(Protocol):
    """How stored values become the network's input: `(value − offset) · unit`; integers stand for multiples of `scale`,
    or for what a grid says.
    """

    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def scale(self) -> float: ...  # noqa: D102
    @property
    def unit(self) -> float: ...  # noqa: D102
    @property
    def signed(self) -> bool: ...  # noqa: D102
    @property
    def grid(self) -> Grid | None: ...  # noqa: D102


class Labelled(Protocol):
    """Images (N, C, H, W) as stored, with labels (L,), int64, each for N / L consecutive images; −1 is unknown."""

    @property
    def images(self) -> Stored: ...  # noqa: D102
    @property
    def labels(self) -> NDArray[np.int64]: ...  # noqa: D102


class TrainingData(Protocol):
    """What the loop reads of a data set; `intarsia.datasets.Dataset` is one."""

    @property
    def train(self) -> Labelled: ...  # noqa: D102
    @property
    def validation(self) -> Labelled: ...  # noqa: D102
    @property
    def scaling(self) -> Scaling: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Samples:
    """Images (N, C, H, W) as stored, with one known label (N,) each."""

    images: Stored
    labels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """A data set of which every input has its own label."""

    train: Samples
    validation: Samples
    scaling: Scaling


def reals(images: Stored, scaling: Scaling) -> torch.Tensor:
    """Return stored images as the float network's input, channels last in memory."""
    values = (torch.from_numpy(images).float() - scaling.offset) * scaling.unit
    return values.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def outputs_of(
    model: nn.Module,
    images: Stored,
    scaling: Scaling,
    *,
    device: str | torch.device = "cpu",
    batch: int = 500,
    held: bool = False,
) -> torch.Tensor:
    """Return the outputs (N, K), on the CPU, of stored images (N, C, H, W) in evaluation mode; if `held`, of these as
    8-bit integers hold them.
    """
    source = InputQuantizer(scaling.scale, signed=scaling.signed, grid=scaling.grid)

    def answers(some: Stored) -> torch.Tensor:
        x = reals(some, scaling)
        found: torch.Tensor = model((source.held(x) if held else x).to(device))
        return found.float().cpu().flatten(1)

    training = model.training
    model.eval()
    try:
        return torch.cat([answers(images[start : start + batch]) for start in range(0, len(images), batch)])
    finally:
        model.train(training)


def labelled(data: TrainingData, teacher: nn.Module, *, device: str | torch.device = "cpu") -> TrainingSet:
    """Return a data set whose unknown labels are what the teacher answers to inputs as integers hold them.

    A pupil's accuracy on such labels is how often it agrees with the teacher.

    Args:
        data: any; a label of several consecutive inputs goes to each of them.
        teacher: float network on `device`; its greatest logit (`class_logits`) is the label's.
        device: where the teacher is.
    """

    def samples(split: Labelled) -> Samples:
        each = len(split.images) // max(1, len(split.labels))
        labels = np.repeat(split.labels, each)
        unknown = labels < 0
        if unknown.any():
            answers = outputs_of(teacher, split.images[unknown], data.scaling, device=device, held=True)
            labels[unknown] = class_logits(answers).argmax(1).numpy()
        return Samples(split.images, labels)

    return TrainingSet(samples(data.train), samples(data.validation), data.scaling)
