# SPDX-License-Identifier: Apache-2.0
"""The window of a layer as kernels take it: in the simplest shape that computes the same."""

from dataclasses import astuple, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from intarsia.integer.layers import AveragePool, Conv2d, Ints, MaxPool, Tensor, WeightLayer, weight_matrix
from intarsia.system.software.pieces import Table

_FIELDS = 14


@dataclass(frozen=True)
class Window:
    """A window that slides over an image; fields as of `struct intarsia_window`."""

    height: int
    width: int
    channels: int
    out_height: int
    out_width: int
    outputs: int
    kernel_height: int
    kernel_width: int
    stride_height: int
    stride_width: int
    top: int
    left: int
    lo: int
    hi: int

    @property
    def pixels(self) -> int:
        """Pixels of the output."""
        return self.out_height * self.out_width

    @property
    def taps(self) -> int:
        """Inputs of one output, over all channels."""
        return self.kernel_height * self.kernel_width * self.channels

    def table(self) -> Table:
        """Return it as a constant."""
        return Table("window", "intarsia_window", (astuple(self),), 4 * _FIELDS, array=False)


def window_of(layer: Conv2d | AveragePool | MaxPool, source: Tensor) -> Window:
    """Return the window of a layer with a kernel."""
    channels, height, width = source.shape
    outputs, out_height, out_width = layer.output.shape
    if isinstance(layer, MaxPool):
        lo, hi = 0, 0  # nothing is clipped
    else:
        clip = layer.requantization if isinstance(layer, Conv2d) else layer
        lo, hi = clip.lo, clip.hi
    return Window(
        height,
        width,
        channels,
        out_height,
        out_width,
        outputs,
        *layer.kernel,
        *layer.stride,
        *layer.padding[:2],
        lo,
        hi,
    )


def convolution(layer: WeightLayer, source: Tensor) -> tuple[Window, Ints]:
    """Return the window and the matrix (O, KH, KW, I) of a layer that is not depthwise.

    A fully connected layer becomes a pointwise one over a single pixel; a pointwise convolution without stride and
    padding gets one long row, so that pixels can be taken together across the ends of rows.
    """
    conv = layer if isinstance(layer, Conv2d) else layer.convolution
    window = window_of(conv, source)
    matrix = weight_matrix(conv.planes).transpose(0, 2, 3, 1)
    flat = matrix.reshape(window.outputs, 1, 1, -1)
    whole = (window.height, window.width)
    if conv.kernel == whole and not any(conv.padding):
        return replace(_row(window, 1), channels=flat.shape[-1]), flat
    if conv.kernel == conv.stride == (1, 1) and not any(conv.padding):
        return _row(window, window.pixels), flat
    return window, matrix


def _row(window: Window, pixels: int) -> Window:
    return replace(
        window,
        height=1,
        width=pixels,
        out_height=1,
        out_width=pixels,
        kernel_height=1,
        kernel_width=1,
        stride_height=1,
        stride_width=1,
    )


def flat_matrix(matrix: Ints) -> NDArray[np.int64]:
    """Return a matrix (O, KH, KW, I) as (O, taps), int64."""
    return np.asarray(matrix.reshape(matrix.shape[0], -1).astype(np.int64))
