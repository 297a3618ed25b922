"""What every data set gives: pixels with labels in three splits, and how pixels become a network's input."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SplitName = Literal["train", "validation", "test"]
ALL_SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class InputScaling:
    """How a stored pixel becomes the network's input, with one scale and no zero-point.

    The integer network reads `pixel − offset` as a signed 8-bit integer; the float network reads that times
    `scale`.
    """

    offset: int
    scale: float

    def integers(self, images: NDArray[np.uint8]) -> NDArray[np.int8]:
        """Return the integer network's input, −128 to 127, same shape as `images`.

        Raises:
            ValueError: a pixel is out of the range that this scaling is for.
        """
        wide = images.astype(np.int16) - self.offset
        if wide.size and (wide.min() < -128 or wide.max() > 127):
            raise ValueError(f"pixels minus {self.offset} do not fit signed 8-bit integers")
        return wide.astype(np.int8)

    def reals(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the float network's input, same shape as `images`: exactly `integers(images) · scale`."""
        return self.integers(images).astype(np.float32) * np.float32(self.scale)


@dataclass(frozen=True, eq=False)
class Split:
    """Images (N, C, H, W) as stored, uint8, and their classes (N,), int64 from 0."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise ValueError(f"images must be uint8 (N, C, H, W), not {self.images.dtype} {self.images.shape}")
        if self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"{self.images.shape[0]} images but labels of shape {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, count: int) -> "Split":
        """Return the first `count` images (all, if there are fewer)."""
        return Split(self.images[:count], self.labels[:count])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in three disjoint splits.

    Train on `train`, choose on `validation`, and touch `test` for final figures only. A split that was not
    asked for is empty.

    Attributes:
        name: as in the registry.
        classes: the name of each class, by label.
        scaling: from stored pixels to the network's input.
        checksums: SHA-256 of the source files, by file name; empty where the data ships inside a library.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    scaling: InputScaling
    checksums: Mapping[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        channels, height, width = self.test.images.shape[1:]
        return channels, height, width
