# SPDX-License-Identifier: Apache-2.0
"""What a layer reads of its input, in the loader's order: for the cycle model, and for tensors that share memory."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from intarsia.engine.layout import Descriptor
from intarsia.engine.storage import Stored

PADDING = -1


@dataclass(frozen=True, eq=False)
class Loads:
    """The loads of a layer in order.

    Attributes:
        addresses: (n,), in words from the input's first; `PADDING` where nothing is read.
        needed: (outputs,), for each output word in order, the last load that it needs.
        columns: in window mode, the loads of each new column of the window, in order; empty otherwise.
    """

    addresses: NDArray[np.int64]
    needed: NDArray[np.int64]
    columns: tuple[int, ...] = ()


def loads_of(d: Descriptor) -> Loads:
    """Return the loads of a layer."""
    return _loads(values_of(d))


def values_of(d: Descriptor) -> dict[str, int]:
    """Return the fields of a descriptor by name."""
    return {field.name: int(getattr(d, field.name)) for field in fields(Descriptor)}


def overlap_distance(bounds: Mapping[str, int], source: Stored, output: Stored) -> int:
    """Return by how many words at least a layer's output must begin before its input so that it may lie over it: then
    no word is written before it was read for the last time.

    Args:
        bounds: of the layer, as its mapping has them, with its tiles' places in both tensors.
        source, output: what it reads and what it writes.
    """
    pitches = {
        "in_col_pitch": source.pitch,
        "in_row_pitch": source.shape[2] * source.pitch,
        "out_col_pitch": output.pitch,
        "out_row_pitch": output.shape[2] * output.pitch,
    }
    values = {**bounds, **pitches}
    found = _loads(values)
    written = output_words(values).reshape(len(found.needed), -1)
    # The least address that is still to be read after each load.
    later = np.append(found.addresses, np.iinfo(np.int64).max)
    later[later == PADDING] = np.iinfo(np.int64).max
    least = np.minimum.accumulate(later[::-1])[::-1]
    return int((written + 1 - least[found.needed + 1][:, None]).max())


def output_words(values: Mapping[str, int]) -> NDArray[np.int64]:
    """Return the addresses of a layer's output words, from its first, in the order in which they are written."""
    words = 1 + values["out_two"]
    tile = (np.arange(values["tiles"]) * words >> values["out_tile_shift"])[:, None, None, None]
    y = np.arange(values["out_height"])[:, None, None] * values["out_row_pitch"]
    x = np.arange(values["out_width"])[:, None] * values["out_col_pitch"]
    return np.asarray(tile + y + x + np.arange(words)).reshape(-1)


def _loads(f: Mapping[str, int]) -> Loads:
    return _window_loads(f) if f["window"] else _word_loads(f)


def _word_loads(f: Mapping[str, int]) -> Loads:
    """Loop order: tile, row, pixel tile, pass, kernel row, channel block, column chunk, word."""
    pixels, words = (np.full(f["x_tiles"], f[name]) for name in ("tile_pixels", "load_words"))
    pixels[-1], words[-1] = f["last_pixels"], f["last_words"]
    shape = (
        *(f["tiles"], f["out_height"], f["x_tiles"], f["digits"], f["kernel_y"], f["blocks"], f["chunks"]),
        int(words.max()),
    )
    tile, y, x, _, row, block, chunk, word = np.ogrid[tuple(slice(size) for size in shape)]
    in_y = y * f["stride_y"] - f["pad_y"] + row
    in_x = x * f["x_step"] - f["pad_x"] + chunk * f["kernel_x"] + word * f["load_step"]
    address = (
        in_y * f["in_row_pitch"] + in_x * f["in_col_pitch"] + block + f["moves_input"] * (tile >> f["in_tile_shift"])
    )
    inside = (in_y >= 0) & (in_y < f["in_height"]) & (in_x >= 0) & (in_x < f["in_width"])
    address = np.broadcast_to(np.where(inside, address, PADDING), shape)
    there = np.broadcast_to(word < words[:, None, None, None, None, None], shape)
    sets = f["digits"] * f["kernel_y"] * f["blocks"] * f["chunks"]
    # The first load of the last set of words of each pixel tile, then of each pixel in it.
    ends = np.cumsum(np.tile(words * sets, f["tiles"] * f["out_height"]))
    last_set = ends - np.tile(words, f["tiles"] * f["out_height"])
    pixel = np.arange(f["tile_pixels"])
    needed = last_set[:, None] + f["kernel_x"] - 1 + pixel * f["pixel_step"]
    counted = np.tile(pixels, f["tiles"] * f["out_height"])[:, None] > pixel
    return Loads(address[there], needed[counted])


def _window_loads(f: Mapping[str, int]) -> Loads:
    """Loop order: tile, row, pixel, new column, row of the column: see `intarsia_loader`."""
    addresses: list[int] = []
    needed: list[int] = []
    columns: list[int] = []
    for tile in range(f["tiles"]):
        first = f["moves_input"] * (tile >> f["in_tile_shift"])
        for y in range(f["out_height"]):
            top = y * f["stride_y"] - f["pad_y"]
            inside = [row for row in range(f["kernel_y"]) if 0 <= top + row < f["in_height"]]
            for x in range(f["out_width"]):
                count = f["kernel_x"] if x == 0 else f["new_columns"]
                start = x * f["stride_x"] - f["pad_x"] + f["kernel_x"] - count
                for number in range(count):
                    in_x = start + number
                    within = 0 <= in_x < f["in_width"]
                    if (x == 0 and number == 0) or f["kernel_y"] == 1:
                        rows = list(range(f["kernel_y"]))
                    else:
                        rows = inside if within and inside else [-1]
                    columns.append(len(rows))
                    addresses += [
                        (top + row) * f["in_row_pitch"] + in_x * f["in_col_pitch"] + first
                        if within and row in inside
                        else PADDING
                        for row in rows
                    ]
                needed.append(len(addresses) - 1)
    return Loads(np.array(addresses, np.int64), np.array(needed, np.int64), tuple(columns))
