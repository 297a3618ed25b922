# SPDX-License-Identifier: Apache-2.0
"""Planes as pictures: the the dense plane in pale colours, the sparse plane in saturated ones.

Each weight is one pixel. Rows are output channels; columns run over kernel taps and, within each, input channels, so
that a tap's blocks of input channels are adjacent. PNG, written with the standard library only.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from intarsia.integer import IntegerNetwork, WeightLayer
from intarsia.report.data import PlanePicture

#: Colours at −1, 0 and +1 of each plane's range.
DENSE = ((143, 170, 189), (250, 247, 241), (222, 196, 158))
SPARSE = ((13, 71, 161), (250, 247, 241), (178, 24, 43))
_STRONG = 0.45  # least strength of a sparse weight's colour, so that small ones are visible


def pictures_of(network: IntegerNetwork) -> tuple[PlanePicture, ...]:
    """Return a picture of each weight layer."""
    return tuple(_picture(layer) for layer in network.weight_layers())


def planes_title(layer: WeightLayer) -> str:
    """Return the planes of a layer in words: `ternary + 1:16 int8`."""
    return " + ".join(
        plane.format.name if plane.pattern.kind == "dense" else f"{plane.pattern} {plane.format.name}"
        for plane in layer.planes
    )


def _picture(layer: WeightLayer) -> PlanePicture:
    shape = layer.planes[0].weights.shape
    pixels = np.full((*_flat(layer.planes[0].weights).shape, 3), DENSE[1], np.uint8)
    shares = {"dense": 0.0, "sparse": 0.0}
    for plane in sorted(layer.planes, key=lambda plane: plane.pattern.kind != "dense"):
        values = _flat(plane.weights) / plane.format.limit
        sparse = plane.pattern.kind != "dense"
        shares["sparse" if sparse else "dense"] += float((values != 0).mean())
        if sparse:
            largest = max(float(np.abs(values).max()), 1e-9)
            values = np.sign(values) * (_STRONG + (1 - _STRONG) * np.abs(values) / largest) * (values != 0)
        colours = _coloured(values, SPARSE if sparse else DENSE)
        pixels = np.where((values != 0)[..., None], colours, pixels)
    return PlanePicture(
        layer=layer.output.name,
        shape=" × ".join(map(str, shape)),
        title=planes_title(layer),
        nonzero_dense=shares["dense"],
        nonzero_sparse=shares["sparse"],
        png=png(pixels),
        width=pixels.shape[1],
        height=pixels.shape[0],
    )


def _flat(weights: NDArray[np.integer]) -> NDArray[np.integer]:
    """(O, I, KH, KW) to (O, KH·KW·I)."""
    outputs = weights.shape[0]
    taps_last = weights.reshape(outputs, weights.shape[1], -1)
    return np.asarray(np.moveaxis(taps_last, 1, 2).reshape(outputs, -1))


def _coloured(values: NDArray[np.floating], scale: tuple[tuple[int, int, int], ...]) -> NDArray[np.uint8]:
    """Map −1 … 1 to colours, (H, W) to (H, W, 3)."""
    low, zero, high = (np.array(colour, np.float64) for colour in scale)
    part = np.abs(values)[..., None]
    mixed = zero * (1 - part) + np.where((values < 0)[..., None], low, high) * part
    return np.asarray(np.rint(mixed), np.uint8)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode RGB pixels (H, W, 3) as PNG (ISO/IEC 15948)."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body
