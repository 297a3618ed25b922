# SPDX-License-Identifier: Apache-2.0
"""How the axes of stored inputs are read: as channels, height and width."""

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError

#: (channels, height, width) of one input.
Shape = tuple[int, int, int]

#: By layout: which stored axis is the inputs, the channels, the height and the width; None has the size 1.
_AXES: Mapping[str, tuple[int | None, ...]] = MappingProxyType(
    {
        "NF": (0, 1, None, None),
        "NCL": (0, 1, None, 2),
        "NLC": (0, 2, None, 1),
        "NHW": (0, None, 1, 2),
        "NCHW": (0, 1, 2, 3),
        "NHWC": (0, 3, 1, 2),
    }
)
LAYOUTS = tuple(_AXES)


def images_of(path: Path, x: NDArray[Any], layout: str | None, shape: Shape | None) -> NDArray[Any]:
    """Return stored inputs `x` as images (N, C, H, W).

    Args:
        path: of the file, for errors.
        x: (N, …), two to four axes.
        layout: what the axes are, `NCHW`, `NHWC`, `NCL`, `NLC`, `NHW` (grey images) or `NF`; None finds out.
        shape: that the network takes. Inputs fit it in one layout only, nearly always; then they are read so. A table
            (N, F) may also hold the pixels of grey images. Without a shape, (N, A, B, C) counts as NHWC where C is at
            most 4, A more than 4 and B more than 1, else as NCHW; (N, A, B) as NCL.

    Raises:
        IntarsiaError: no layout fits, or two fit and hold other images.
    """
    layouts = [name for name in _AXES if len(name) == x.ndim]
    if not layouts or 0 in x.shape[1:]:
        raise IntarsiaError(
            f"{path}: x has the shape {x.shape}; it must be (N, C, H, W), (N, H, W, C), (N, C, L) or (N, F)."
        )
    if layout is not None:
        if layout not in layouts:
            raise IntarsiaError(
                f"{path}: the layout {layout!r} does not fit x of the shape {x.shape}; choose {' or '.join(layouts)}."
            )
        layouts = [layout]
    wanted = shape or _shape(x, layout or _guess(x))
    if x.ndim == 2 and x.shape[1] == math.prod(wanted) and 1 in (wanted[0], wanted[1] * wanted[2]):
        return x.reshape(len(x), *wanted)
    fitting = [name for name in layouts if _shape(x, name) == wanted]
    if not fitting:
        said = "" if layout is None else f" and the layout {layout}"
        raise IntarsiaError(
            f"the network takes inputs of {' x '.join(map(str, wanted))} (channels, height, width), but x in {path} "
            f"has the shape {x.shape}{said}; give the data of this network."
        )
    if len({_order(x, name) for name in fitting}) > 1:
        raise IntarsiaError(
            f"{path}: x of the shape {x.shape} may be {' or '.join(fitting)}; save an entry layout that says which."
        )
    axes = _AXES[fitting[0]]
    read = x.transpose([axis for axis in axes if axis is not None])
    return np.ascontiguousarray(read).reshape(len(x), *wanted)


def _guess(x: NDArray[Any]) -> str:
    if x.ndim == 4:
        return "NHWC" if x.shape[3] <= 4 and x.shape[1] > 4 and x.shape[2] > 1 else "NCHW"
    return "NCL" if x.ndim == 3 else "NF"


def _shape(x: NDArray[Any], layout: str) -> Shape:
    channels, height, width = (1 if axis is None else x.shape[axis] for axis in _AXES[layout][1:])
    return channels, height, width


def _order(x: NDArray[Any], layout: str) -> tuple[int, ...]:
    """Return in which order a layout reads the axes; those of size 1 change nothing."""
    return tuple(axis for axis in _AXES[layout] if axis and x.shape[axis] > 1)
