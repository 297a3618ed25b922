# SPDX-License-Identifier: Apache-2.0
"""The content of every data set: inputs with labels in three splits, and how stored values become a network's input."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from intarsia.datasets.metrics import accuracy, reconstruction_errors, roc_auc

SplitName = Literal["train", "validation", "test"]
ALL_SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
Metric = Literal["accuracy", "auc"]

#: Numbers that a data set may be stored in.
Stored = NDArray[np.uint8 | np.int8 | np.float16 | np.float32]
_TYPES = tuple(np.dtype(name) for name in ("uint8", "int8", "float16", "float32"))


@dataclass(frozen=True)
class ChannelGrid:
    """Which real values the integers of each channel stand for: integer · step + offset.

    Attributes:
        offsets: by channel, the real value of integer 0.
        steps: by channel, the real value of one unit, above 0.
    """

    offsets: tuple[float, ...]
    steps: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.offsets) != len(self.steps) or not all(0 < step < np.inf for step in self.steps):
            raise ValueError("a grid has an offset and a positive step for each channel")

    def integers(self, reals: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the nearest integers (halves to even) of real inputs (N, C, H, W), not clipped."""
        found: NDArray[np.float32] = np.rint((reals - _by_channel(self.offsets)) / _by_channel(self.steps))
        return found

    def reals(self, integers: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what integers (N, C, H, W) stand for."""
        return integers * _by_channel(self.steps) + _by_channel(self.offsets)


def _by_channel(values: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(values, np.float32)[:, None, None]


@dataclass(frozen=True)
class InputScaling:
    """How a stored value becomes the network's input, which has one scale and no zero-point.

    The float network reads `reals`, (stored − offset) · unit. The integer network reads `integers`, 8 bits, of three
    kinds:

    - bytes with `unit == scale`: stored values minus the offset *are* the integers; this is exact, and a value that
      does not fit is an error, for it means that the scaling is for other data.
    - else, without a `grid`: the real value is rounded to the nearest multiple of `scale` (halves to even), and clipped
      to the range.
    - with a `grid`: each channel has an offset and a step of its own, and is rounded and clipped the same way. The
      first layer takes them into its weights and bias (`intarsia.quantize.inputs`), and reads integers times `scale`.

    Attributes:
        offset: the stored value of real zero.
        scale: what the integer network's first layer takes one unit of its input for; without a grid, its real value.
        unit: real value of one stored unit; 0, the default, stands for `scale`.
        signed: whether integers are −128 … 127, or 0 … 255.
        grid: of the channels, if they have their own.
    """

    offset: int
    scale: float
    unit: float = 0.0
    signed: bool = True
    grid: ChannelGrid | None = None

    def __post_init__(self) -> None:
        if self.unit == 0.0:
            object.__setattr__(self, "unit", self.scale)
        if not (0 < self.scale < np.inf and 0 < self.unit < np.inf):
            raise ValueError(f"scale {self.scale} and unit {self.unit} must be positive")

    def integers(self, images: Stored) -> NDArray[np.int8 | np.uint8]:
        """Return the integer network's input, same shape as `images`, int8 or (not `signed`) uint8.

        Raises:
            ValueError: bytes in units of `scale` do not fit the range.
        """
        kind, (lo, hi) = (np.int8 if self.signed else np.uint8), self.limits
        if self.grid is not None:
            return np.asarray(np.clip(self.grid.integers(self.reals(images)), lo, hi), kind)
        if self.unit != self.scale or images.dtype.kind == "f":
            nearest = np.rint(self.reals(images) / np.float32(self.scale))
            return np.asarray(np.clip(nearest, lo, hi), kind)
        wide = images.astype(np.int16) - self.offset
        if wide.size and (wide.min() < lo or wide.max() > hi):
            sign = "signed" if self.signed else "unsigned"
            raise ValueError(f"stored values minus {self.offset} do not fit {sign} 8-bit integers")
        return np.asarray(wide, kind)

    def reals(self, images: Stored) -> NDArray[np.float32]:
        """Return the float network's input, same shape as `images`: (stored − offset) · unit."""
        return (images.astype(np.float32) - np.float32(self.offset)) * np.float32(self.unit)

    def held(self, images: Stored) -> NDArray[np.float32]:
        """Return the real values that the integer network's input stands for, same shape as `images`.

        Raises:
            ValueError: as for `integers`.
        """
        integers = self.integers(images).astype(np.float32)
        return integers * np.float32(self.scale) if self.grid is None else self.grid.reals(integers)

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the greatest integer."""
        return (-128, 127) if self.signed else (0, 255)

    @property
    def rule(self) -> str:
        """How integers are made of stored values, as JSON for whoever runs the integer network.

        With `offset` and `step`, numbers or lists by channel, and `least` and `greatest`: the integer is
        (stored − offset) / step, rounded to the nearest and clipped.
        """
        offset: float | list[float] = self.offset
        step: float | list[float] = self.scale / self.unit
        if self.grid is not None:
            offset = [self.offset + value / self.unit for value in self.grid.offsets]
            step = [value / self.unit for value in self.grid.steps]
        least, greatest = self.limits
        return json.dumps({"offset": offset, "step": step, "least": least, "greatest": greatest})


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs as stored, and what is known of each.

    Attributes:
        images: (N, C, H, W), uint8, int8, float16 or float32.
        labels: (L,), int64, the class from 0, or −1 where it is unknown (a teacher may give it).
        windows: how many consecutive inputs share one label; N = windows · L.
    """

    images: Stored
    labels: NDArray[np.int64]
    windows: int = 1

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype not in _TYPES:
            raise ValueError(
                f"images must be uint8, int8, float16 or float32 (N, C, H, W), not {self.images.dtype} "
                f"{self.images.shape}"
            )
        if self.labels.ndim != 1 or self.labels.dtype != np.int64 or self.labels.min(initial=0) < -1:
            raise ValueError("labels must be int64 (L,), a class from 0 or -1 for an unknown one")
        if self.windows < 1 or len(self.images) != self.windows * len(self.labels):
            raise ValueError(
                f"{len(self.images)} images but labels of shape {self.labels.shape}, {self.windows} images a label"
            )

    def __len__(self) -> int:
        """Return how many labels there are."""
        return len(self.labels)

    def take(self, count: int) -> "Split":
        """Return the inputs of the first `count` labels (all, if there are fewer)."""
        return Split(self.images[: count * self.windows], self.labels[:count], self.windows)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in three disjoint splits.

    Train on `train`, choose on `validation`, and touch `test` for final figures only. A split that was not
    asked for is empty.

    Attributes:
        name: as in the registry.
        classes: the name of each class, by label.
        scaling: from stored values to the network's input.
        checksums: SHA-256 of the source files, by file name; empty where the data ships inside a library.
        metric: what `score` gives.
        source: one sentence: what data this is; results quote it.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    scaling: InputScaling
    checksums: Mapping[str, str] = field(default_factory=dict)
    metric: Metric = "accuracy"
    source: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one input."""
        channels, height, width = self.test.images.shape[1:]
        return channels, height, width

    def score(self, outputs: NDArray[np.floating | np.integer], split: Split) -> float:
        """Return how good a network's outputs for a split are, 0 to 1.

        For `accuracy` the share of labelled inputs whose outputs say their class, see `metrics.classes_of`. For `auc`
        the area under the ROC curve of each clip's `clip_errors`.

        Args:
            outputs: (N, K), one row for each input of the split; for `auc` real numbers in the unit of the float input.
            split: of this data set.

        Raises:
            ValueError: the shapes do not fit, or too few labels are known: none, or (`auc`) of one kind only.
        """
        if len(outputs) != len(split.images):
            raise ValueError(f"{len(outputs)} outputs for {len(split.images)} inputs")
        if self.metric == "auc":
            return roc_auc(self.clip_errors(outputs, split), split.labels)
        if split.windows != 1:
            raise ValueError("accuracy is of one input a label")
        return accuracy(outputs.reshape(len(outputs), -1), split.labels)

    def clip_errors(self, outputs: NDArray[np.floating | np.integer], split: Split) -> NDArray[np.float64]:
        """Return the mean squared error between float inputs and an autoencoder's outputs, by label; (L,).

        As in MLPerf Tiny: the mean over the windows of a clip. The inputs are the real ones, before quantization.
        """
        inputs = self.scaling.reals(split.images).reshape(len(split.images), -1)
        return reconstruction_errors(
            inputs, outputs.reshape(len(outputs), -1).astype(np.float32, copy=False), split.windows
        )
