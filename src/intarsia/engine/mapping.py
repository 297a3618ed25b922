# SPDX-License-Identifier: Apache-2.0
"""How each operator becomes the engine's one loop nest: descriptor bounds and the order of its weight blocks.

A mapping is a plan without addresses: the compiler adds bases and packs the blocks.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from intarsia.engine.bits import Ints
from intarsia.engine.config import EngineConfig
from intarsia.engine.layout import field_limits, format_of
from intarsia.engine.storage import Stored
from intarsia.engine.units import Occupied, Operands
from intarsia.errors import IntarsiaError
from intarsia.integer import Add, AveragePool, Conv2d, Layer, Linear, MaxPool


@dataclass(frozen=True, eq=False)
class Mapping:
    """Loop bounds of a layer and its weight blocks.

    `dense` and `slots`: (tiles · tile_blocks, lanes, inputs) in order of consumption, what a lane multiplies the inputs
    of a word, or of a window, by in a pass, and in its sparse slots. `fields` are those of the descriptor.
    `tile_channels`: output channels of a tile. `busy_inputs`: inputs of a lane that carry a weight of the kernel.
    """

    dense: Ints
    slots: Ints
    fields: dict[str, int]
    tile_channels: int
    busy_inputs: float

    @cached_property
    def occupied(self) -> Occupied:
        """Where the sparse weights lie in the blocks."""
        here = self.slots != 0
        return Occupied(
            own=int(here.sum(axis=-1).max(initial=0)),
            shared=int(here.any(axis=1).sum(axis=-1).max(initial=0)),
            places=tuple(np.flatnonzero(here.any(axis=(0, 1))).tolist()),
            common=not self.fields["depthwise"],
        )


def tile_shape(kernel_x: int, stride_x: int, out_width: int, config: EngineConfig) -> tuple[int, int]:
    """Choose pixels of a tile and kernel columns of a chunk: the fewest word loads a step, then the largest tile.

    A set of words serves all columns of a chunk for all pixels of a tile and must fit the window registers.
    """
    best: tuple[float, int, int] | None = None
    for chunk in (c for c in range(1, kernel_x + 1) if kernel_x % c == 0):
        pixel_step = 1 if chunk == 1 else stride_x
        for pixels in range(1, min(config.tile_pixels, out_width) + 1):
            words = (pixels - 1) * pixel_step + chunk
            if words > config.block:
                continue
            candidate = (max(words / (pixels * chunk), 1.0), -pixels, -chunk)
            best = candidate if best is None or candidate < best else best
    if best is None:
        raise IntarsiaError(f"a kernel of width {kernel_x} cannot be mapped.")  # chunk 1, one pixel always fits
    return -best[1], -best[2]


def _strides(layer: Conv2d | AveragePool | MaxPool) -> tuple[int, int]:
    """The strides that matter: 1 where there is one output pixel."""
    _, height, width = layer.output.shape
    return (layer.stride[0] if height > 1 else 1), (layer.stride[1] if width > 1 else 1)


@dataclass(frozen=True)
class _Ends:
    """What a layer reads and writes, and the engine between them."""

    source: Stored
    output: Stored
    config: EngineConfig

    @property
    def lanes(self) -> int:
        """Lanes of the engine."""
        return self.config.lanes

    @property
    def own_channels(self) -> int:
        """Channels of a tile that reads those that it writes: they lie in one word."""
        return min(self.lanes, self.source.channels)

    def places(self, tile_channels: int) -> dict[str, int]:
        """Return the fields of the descriptor that say where tiles lie in words."""
        two = self.output.channels < tile_channels
        return {
            "half_tile": int(tile_channels < self.lanes),
            "out_two": int(two),
            "in_format": format_of(self.source.bits),
            "out_format": format_of(self.output.bits),
            "in_tile_shift": max(1, self.source.channels // tile_channels).bit_length() - 1,
            "out_tile_shift": 0 if two else (self.output.channels // tile_channels).bit_length() - 1,
        }


def _word_blocks(weights: Ints, ends: _Ends) -> Ints:
    """(O, I, KH, KW) to (tile, KH, block, KW, lane, input)."""
    lanes, block = ends.lanes, ends.source.channels
    outputs, inputs, height, width = weights.shape
    padded = np.pad(weights, ((0, -outputs % lanes), (0, -inputs % block), (0, 0), (0, 0)))
    split = padded.reshape(-(-outputs // lanes), lanes, -(-inputs // block), block, height, width)
    return split.transpose(0, 4, 2, 5, 1, 3)


def _diagonal(weights: Ints, ends: _Ends) -> Ints:
    """Depthwise (C, 1, KH, KW) to diagonal blocks (tile, KH, KW, lane, input): lanes see the channels of their tile."""
    own, block = ends.own_channels, ends.source.channels
    channels, _, height, width = weights.shape
    padded = np.pad(weights[:, 0], ((0, -channels % own), (0, 0), (0, 0)))
    taps = padded.reshape(-1, own, height, width).transpose(0, 2, 3, 1)
    blocks = np.zeros((*taps.shape[:-1], ends.lanes, block), np.int64)
    for tile in range(len(taps)):
        first = tile * own % block
        blocks[tile, ..., :own, first : first + own] = taps[tile][..., None] * np.eye(own, dtype=np.int64)
    return blocks


def _window_blocks(weights: Ints, tile_channels: int, ends: _Ends) -> Ints:
    """(O, I, KH, KW) to (tile, channel and part, lane, position): position = 4·column + row, and the kernel's last
    column is the window's newest. Where a lane multiplies fewer activations than a window has positions, these come in
    parts; where more, the rest are 0.
    """
    columns, positions = ends.config.window_columns, ends.config.block
    outputs, channels, height, width = weights.shape
    placed = np.zeros((outputs + -outputs % tile_channels, channels, columns, 4), np.int64)
    placed[:outputs, :, columns - width :, :height] = weights.transpose(0, 1, 3, 2)
    tiles = placed.reshape(-1, tile_channels, channels, positions).transpose(0, 2, 1, 3)
    inputs = ends.source.channels
    lanes, rest = (0, ends.lanes - tile_channels), (0, -positions % inputs)
    padded = np.pad(tiles, ((0, 0), (0, 0), lanes, rest))
    parts = padded.reshape(*padded.shape[:3], -1, inputs).swapaxes(2, 3)
    return parts.reshape(len(parts), -1, ends.lanes, inputs)


def _finished(passes: list[Ints], slots: Ints | None, fields: dict[str, int], busy: float, ends: _Ends) -> Mapping:
    """Return a mapping of blocks (tile, …, lane, input) by pass, and of slots, which count in the last one."""
    tiles, shape = len(passes[0]), (ends.lanes, ends.source.channels)
    dense = np.stack([blocks.reshape(tiles, -1, *shape) for blocks in passes], axis=1)
    sparse = np.zeros_like(dense)
    if slots is not None:
        sparse[:, -1] = slots.reshape(tiles, -1, *shape)
    steps = dense.shape[1] * dense.shape[2]
    values = {**_DEFAULTS, "digits": len(passes), "sparse": int(sparse.any()), "tiles": tiles, **fields}
    pixels, width = values["tile_pixels"], values["out_width"]
    last_pixels = (width - 1) % pixels + 1
    values |= {
        "x_tiles": -(-width // pixels),
        "x_step": pixels * values["stride_x"],
        "load_words": (pixels - 1) * values["pixel_step"] + values["kernel_x"],
        "last_words": (last_pixels - 1) * values["pixel_step"] + values["kernel_x"],
        "last_pixels": last_pixels,
        "tile_blocks": steps,
        "resident": int(steps == 1),
        "pixel_tiles": values["out_height"] * -(-width // pixels),
    }
    channels = ends.own_channels if values["moves_input"] else ends.lanes
    values |= ends.places(channels)
    return Mapping(dense.reshape(-1, *shape), sparse.reshape(-1, *shape), values, channels, busy)


_DEFAULTS = dict.fromkeys(
    (
        *("window", "depthwise", "moves_input", "new_columns", "pad_y", "pad_x", "plane_shift"),
        *("residual", "residual_base", "residual_scale", "residual_shift"),
    ),
    0,
) | dict.fromkeys(
    ("kernel_y", "blocks", "chunks", "kernel_x", "load_step", "pixel_step", "stride_y", "stride_x", "tile_pixels"), 1
)


def _word_fields(layer: Conv2d | AveragePool | MaxPool, source: Stored, config: EngineConfig) -> dict[str, int]:
    """Return the spatial bounds of a window that slides word by word."""
    (kernel_y, kernel_x), (stride_y, stride_x), padding = layer.kernel, _strides(layer), layer.padding
    _, out_height, out_width = layer.output.shape
    _, height, width = source.shape
    pointwise = (kernel_y, kernel_x, *padding) == (1, 1, 0, 0, 0, 0) and (height, width) == (out_height, out_width)
    if pointwise and height * width <= field_limits("in_width")[1]:  # the image is one row
        height, width, out_height, out_width = 1, height * width, 1, out_height * out_width
    pixels, chunk = tile_shape(kernel_x, stride_x, out_width, config)
    return {
        "tile_pixels": pixels,
        "kernel_y": kernel_y,
        "chunks": kernel_x // chunk,
        "kernel_x": chunk,
        "load_step": stride_x if chunk == 1 else 1,
        "pixel_step": 1 if chunk == 1 or pixels == 1 else stride_x,
        "stride_y": stride_y,
        "stride_x": stride_x,
        "pad_y": padding[0],
        "pad_x": padding[1],
        "in_height": height,
        "in_width": width,
        "out_height": out_height,
        "out_width": out_width,
    }


def map_words(layer: Conv2d, operands: Operands, ends: _Ends) -> Mapping:
    """Map a convolution to word mode: one channel block of one kernel tap a step.

    A depthwise convolution becomes one of diagonal blocks (one busy input a lane).
    """
    fields = _word_fields(layer, ends.source, ends.config)
    blocks = 1 if layer.depthwise else ends.source.blocks
    fields |= {"blocks": blocks, "moves_input": int(layer.depthwise), "plane_shift": operands.shift}
    arrange = _diagonal if layer.depthwise else _word_blocks
    busy = 1.0 if layer.depthwise else ends.source.shape[0] / blocks
    slots = None if operands.slots is None else arrange(operands.slots, ends)
    return _finished([arrange(digit, ends) for digit in operands.passes], slots, fields, busy, ends)


def fits_window(layer: Conv2d, source: Stored, config: EngineConfig) -> bool:
    """Whether the kernel fits the sliding window, and few enough channels share it."""
    kernel_y, kernel_x = layer.kernel
    few = layer.depthwise or (config.unit.common_window and source.shape[0] <= config.block)
    return kernel_y <= 4 and kernel_x <= config.window_columns and few


def map_window(layer: Conv2d, operands: Operands, ends: _Ends) -> Mapping:
    """Map a convolution to window mode: all taps of one channel a step (of the lane's own channel if depthwise), or as
    many as a lane multiplies.
    """
    source, channels = ends.source, ends.own_channels if layer.depthwise else ends.lanes
    parts = -(-ends.config.block // source.channels)
    (kernel_y, kernel_x), (stride_y, stride_x) = layer.kernel, _strides(layer)
    fields = {
        "window": 1,
        "depthwise": int(layer.depthwise),
        "moves_input": int(layer.depthwise),
        "plane_shift": operands.shift,
        "kernel_y": kernel_y,
        "kernel_x": kernel_x,
        "blocks": parts * (1 if layer.depthwise else source.shape[0]),
        "new_columns": min(stride_x, kernel_x),
        "stride_y": stride_y,
        "stride_x": stride_x,
        "pad_y": layer.padding[0],
        "pad_x": layer.padding[1],
        "in_height": source.shape[1],
        "in_width": source.shape[2],
        "out_height": layer.output.shape[1],
        "out_width": layer.output.shape[2],
    }
    passes = [_window_blocks(digit, channels, ends) for digit in operands.passes]
    slots = None if operands.slots is None else _window_blocks(operands.slots, channels, ends)
    return _finished(passes, slots, fields, kernel_y * kernel_x / parts, ends)


def estimated_cycles(mapping: Mapping, config: EngineConfig) -> float:
    """Cycles of a layer, nearly: its steps, or the words of the window, the weights or the requantization where those
    are more.
    """
    f = mapping.fields
    pixels = f["out_height"] * f["out_width"]
    fetches = 0.0 if f["resident"] else f["tile_blocks"] * config.weight_parts / f["tile_pixels"]
    least = max(f["tile_blocks"], fetches, config.requant_cycles / (1 + f["half_tile"]))
    if f["window"]:
        loads, first = _window_loads(f)
        return f["tiles"] * float(np.maximum(loads, least).sum() + first.sum())
    return pixels * f["tiles"] * least


def _window_loads(f: dict[str, int]) -> tuple[Ints, Ints]:
    """Return the loads of each output pixel's new columns, (rows, columns), and those that begin each row, (rows,).

    As in `intarsia.engine.cycles`: padding costs nothing but one load for a column of it alone; a row's first is full.
    """
    kernel_y, kernel_x, new = f["kernel_y"], f["kernel_x"], f["new_columns"]
    y = np.arange(f["out_height"])[:, None] * f["stride_y"] - f["pad_y"] + np.arange(kernel_y)
    rows = ((y >= 0) & (y < f["in_height"])).sum(axis=1)
    x = np.arange(f["out_width"])[:, None] * f["stride_x"] - f["pad_x"] + np.arange(kernel_x)
    within = (x >= 0) & (x < f["in_width"])
    loads = np.where(within[None], np.maximum(rows, 1)[:, None, None], 1)
    first = loads[:, 0, : kernel_x - new].sum(axis=1)
    if kernel_x > new:
        first += kernel_y - loads[:, 0, 0]
    return loads[:, :, kernel_x - new :].sum(axis=2), first


def modes(layer: Conv2d | Linear, operands: Operands, ends: _Ends) -> list[Mapping]:
    """Return the mappings of a weight layer; of equals the window comes first, which loads nothing twice."""
    convolution = layer.convolution if isinstance(layer, Linear) else layer
    window = [map_window(convolution, operands, ends)] if fits_window(convolution, ends.source, ends.config) else []
    return [*window, map_words(convolution, operands, ends)]


def map_pool(layer: AveragePool | MaxPool, ends: _Ends) -> Mapping:
    """Map a pooling window to word mode: each lane takes its own channel of every word."""
    fields = _word_fields(layer, ends.source, ends.config)
    return _finished([_ones(layer, ends)], None, fields | {"moves_input": 1}, 1.0, ends)


def _ones(layer: AveragePool | MaxPool | Add, ends: _Ends) -> Ints:
    """Return the block of each tile that gives every lane its own channel."""
    channels = layer.output.shape[0]
    return _diagonal(np.ones((channels + -channels % ends.own_channels, 1, 1, 1), np.int64), ends)


def map_add(layer: Add, ends: _Ends) -> Mapping:
    """Map an addition: its first input times one, as a row of pixels, its second as the residual."""
    _, height, width = layer.output.shape
    pixels = height * width
    fields = {
        "tile_pixels": min(ends.config.tile_pixels, pixels),
        "in_height": 1,
        "in_width": pixels,
        "out_height": 1,
        "out_width": pixels,
        "moves_input": 1,
    }
    return _finished([_ones(layer, ends)], None, fields, 1.0, ends)


def map_layer(layer: Layer, source: Stored, output: Stored, config: EngineConfig) -> Mapping:
    """Map a layer that reads `source` and writes `output` to the mode that takes fewer cycles; if the unit has too few
    slots for it, to that with fewest.

    Raises:
        IntarsiaError: the engine cannot compute it.
    """
    ends = _Ends(source, output, config)
    match layer:
        case Add():
            return map_add(layer, ends)
        case AveragePool() | MaxPool():
            return map_pool(layer, ends)
    found = modes(layer, config.unit.operands(layer), ends)
    fitting = [mapping for mapping in found if config.unit.has_room(mapping.occupied)]
    if not fitting:
        return min(found, key=lambda mapping: mapping.occupied.own)
    return min(fitting, key=lambda mapping: estimated_cycles(mapping, config))
