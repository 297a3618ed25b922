# SPDX-License-Identifier: Apache-2.0
"""Which axes of an image (channels, height, width) the axes of a file's tensor hold."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from intarsia.networks.importers._graph import Shape

#: Axes of an image (0 channels, 1 height, 2 width) that each axis of a tensor holds, in order; the batch is left out.
Axes = tuple[tuple[int, ...], ...]
Sizes = tuple[int, ...]
#: How operators on images want their axes, by their number: features, signals and images.
Order = Mapping[int, Axes]

CHANNELS_FIRST: Order = MappingProxyType({1: ((0,),), 2: ((0,), (2,)), 3: ((0,), (1,), (2,))})
CHANNELS_LAST: Order = MappingProxyType({1: ((0,),), 2: ((2,), (0,)), 3: ((1,), (2,), (0,))})


@dataclass(frozen=True)
class View:
    """A tensor of the file.

    Attributes:
        key: of the builder's tensor behind it, an image or its flattened features in (channel, row, column) order.
        image: (channels, height, width) that `axes` are of; that of the builder's tensor before it was flattened.
        axes: axes of one element hold none; those of the image with more elements are each held once.
    """

    key: Hashable
    image: Shape
    axes: Axes

    @property
    def sizes(self) -> Sizes:
        """The tensor's shape, without the batch."""
        return tuple(math.prod(self.image[axis] for axis in group) for group in self.axes)

    @property
    def atoms(self) -> tuple[int, ...]:
        """The image's axes in the order in which the tensor's elements are stored."""
        return tuple(axis for group in self.axes for axis in group)

    def in_image_order(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return an array of the tensor's shape as one of the image's."""
        by_atom = values.reshape([self.image[axis] for axis in self.atoms])
        return by_atom.transpose(np.argsort(self.atoms)).reshape(self.image)


def image_of(sizes: Sizes, order: Order) -> Shape:
    """Return (channels, height, width) of a tensor with 1 to 3 axes after the batch."""
    image = [1, 1, 1]
    for size, (axis,) in zip(sizes, order[len(sizes)], strict=True):
        image[axis] = size
    return image[0], image[1], image[2]


def axes_of(image: Shape, count: int, order: Order) -> Axes:
    """Return the axes of an image that is read with `count` axes; those of one element hold none."""
    return tuple(tuple(axis for axis in group if image[axis] > 1) for group in order[count])


def regrouped(image: Shape, axes: Axes, sizes: Sizes) -> Axes | None:
    """Return the axes after a reshape; None if it splits an axis of the image, or the sizes do not fit."""
    atoms = [axis for group in axes for axis in group]
    groups = []
    for size in sizes:
        group: list[int] = []
        while atoms and math.prod(image[axis] for axis in group) < size:
            group.append(atoms.pop(0))
        if math.prod(image[axis] for axis in group) != size:
            return None
        groups.append(tuple(group))
    return None if atoms else tuple(groups)


@dataclass(frozen=True)
class Leg:
    """A reshape or transpose on the input's way to the first operator that computes.

    Attributes:
        sizes: of what it reads, without the batch.
        order: of a transpose: which axis of what it reads each axis of its result is; None for a reshape.
    """

    sizes: Sizes
    order: tuple[int, ...] | None = None


def entry(route: Sequence[Leg], sizes: Sizes, order: Order) -> tuple[Shape, Axes] | None:
    """Return the image that an input is, and its axes in that.

    A file may give images (N, 784) or (N, height, width) and reshape them itself: what the first operator that computes
    reads is the image.

    Args:
        route: reshapes and transposes from the input to that operator.
        sizes: of what that operator reads, without the batch.
        order: of its axes.

    Returns:
        None if the input has no form that fits.
    """
    given = route[0].sizes if route else sizes
    for stop in range(len(route), -1, -1):  # later legs may read what no image can be
        end = route[stop].sizes if stop < len(route) else sizes
        image = image_of(end, order) if len(end) in order else None
        axes = None if image is None else axes_of(image, len(end), order)
        for leg in reversed(route[:stop]):
            if image is None or axes is None:
                break
            if leg.order is None:
                axes = regrouped(image, axes, leg.sizes)
            else:
                axes = tuple(axes[leg.order.index(axis)] for axis in range(len(axes)))
        if stop == 0 and len(given) == 2 and len(sizes) == 1:  # flattened at once: a picture of one channel
            image = (1, given[0], given[1])
            axes = axes_of(image, 2, {2: ((1,), (2,))})
        if image is not None and axes is not None:
            return image, axes
    return None


def shown(sizes: Sizes) -> str:
    """Return a shape as a message shows it: (N, 3, 32, 32)."""
    return f"({', '.join(['N', *map(str, sizes)])})"
