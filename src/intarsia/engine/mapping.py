# SPDX-License-Identifier: Apache-2.0
"""How each operator becomes the engine's one loop nest: descriptor bounds and the order of its weight blocks.

A mapping is a plan without addresses: the compiler adds bases and packs the blocks.
"""

from dataclasses import dataclass, replace

import numpy as np

from intarsia.engine.config import EngineConfig
from intarsia.engine.packing import Ints, balanced_digits
from intarsia.errors import IntarsiaError
from intarsia.integer import (
    AveragePool,
    Conv2d,
    Linear,
    MaxPool,
    Pattern,
    Plane,
    Requantization,
    Tensor,
    WeightFormat,
    WeightLayer,
)


@dataclass(frozen=True, eq=False)
class Mapping:
    """Loop bounds of a layer and its weight blocks.

    `trits`: (words, lanes, block) in order of consumption; `sparse`: likewise, or None without a sparse plane.
    Spatial fields are those of the descriptor. `busy_inputs`: inputs of a lane that carry a weight of the kernel.
    """

    trits: Ints
    sparse: Ints | None
    fields: dict[str, int]
    busy_inputs: float


def split_planes(layer: WeightLayer) -> tuple[Plane | None, Plane | None]:
    """Find the dense (trit) and the sparse (two's complement) plane of a layer, whose dense planes are digits.

    Raises:
        IntarsiaError: the engine has no execution unit for these planes.
    """
    dense = [plane for plane in layer.planes if plane.format.digits]
    sparse = [plane for plane in layer.planes if not plane.format.digits]
    where = f"layer {layer.output.name}"
    if not all(plane.format.has_zero for plane in layer.planes):
        raise IntarsiaError(f"{where}: the engine has no binary planes but dense ones; take ternary weights instead.")
    if len(dense) > 1 or len(sparse) > 1:
        raise IntarsiaError(
            f"{where}: the engine takes at most one dense and one sparse plane, not {len(layer.planes)}."
        )
    return (dense[0] if dense else None), (sparse[0] if sparse else None)


def tile_shape(kernel_x: int, stride_x: int, out_width: int, config: EngineConfig) -> tuple[int, int]:
    """Choose pixels of a tile and kernel columns of a chunk: the fewest word loads a step, then the largest tile.

    A set of words serves all columns of a chunk for all pixels of a tile and must fit the window registers.
    """
    best: tuple[float, int, int] | None = None
    for chunk in (c for c in range(1, kernel_x + 1) if kernel_x % c == 0):
        pixel_step = 1 if chunk == 1 else stride_x
        for pixels in range(1, min(config.tile_pixels, out_width) + 1):
            words = (pixels - 1) * pixel_step + chunk
            if words > config.lanes:
                continue
            candidate = (max(words / (pixels * chunk), 1.0), -pixels, -chunk)
            best = candidate if best is None or candidate < best else best
    if best is None:
        raise IntarsiaError(f"a kernel of width {kernel_x} cannot be mapped.")  # chunk 1, one pixel always fits
    return -best[1], -best[2]


def _strides(layer: Conv2d) -> tuple[int, int]:
    """The strides that matter: 1 where there is one output pixel."""
    _, height, width = layer.output.shape
    return (layer.stride[0] if height > 1 else 1), (layer.stride[1] if width > 1 else 1)


def _pad_channels(weights: Ints, lanes: int) -> Ints:
    """Pad (O, I, KH, KW) to multiples of `lanes` in O and I."""
    outputs, inputs = weights.shape[:2]
    return np.pad(weights, ((0, -outputs % lanes), (0, -inputs % lanes), (0, 0), (0, 0)))


def _word_blocks(weights: Ints, lanes: int) -> Ints:
    """(O, I, KH, KW) to (tile, KH, block, KW, lane, input)."""
    padded = _pad_channels(weights, lanes)
    outputs, inputs, height, width = padded.shape
    split = padded.reshape(outputs // lanes, lanes, inputs // lanes, lanes, height, width)
    return split.transpose(0, 4, 2, 5, 1, 3)


def _stack(tiles: Ints, digits: int) -> Ints:
    """Dense blocks (tile, …, lane, input) to trits in order: tile, digit, the rest."""
    trits = balanced_digits(tiles, digits)
    lanes, block = tiles.shape[-2:]
    return np.moveaxis(trits, 0, 1).reshape(-1, lanes, block)


def _finish(dense: Ints, digits: int, sparse: Ints | None, fields: dict[str, int], busy: float) -> Mapping:
    lanes = dense.shape[-1]
    flat = None if sparse is None else sparse.reshape(-1, lanes, lanes)
    common = {"digits": digits, "sparse": int(sparse is not None)}
    return Mapping(_stack(dense, digits), flat, {**_DEFAULTS, **common, **fields}, busy)


_DEFAULTS = (
    dict.fromkeys(
        (
            *("window", "depthwise", "maximum", "sparse", "hold", "outer_moves_input", "new_columns"),
            *("pad_y", "pad_x"),
        ),
        0,
    )
    | dict.fromkeys(
        (
            "outer_tiles",
            "inner_tiles",
            "kernel_y",
            "blocks",
            "chunks",
            "kernel_x",
            "load_step",
            "pixel_step",
            "stride_y",
        ),
        1,
    )
    | {"stride_x": 1, "tile_pixels": 1, "digits": 1}
)


def map_words(layer: Conv2d, source: Tensor, config: EngineConfig) -> Mapping:
    """Map a convolution to word mode: one channel block of one kernel tap a step.

    A depthwise convolution becomes one of diagonal blocks (one busy input a lane).
    """
    lanes = config.lanes
    dense, sparse = split_planes(layer)
    kernel_y, kernel_x = layer.kernel
    stride_y, stride_x = _strides(layer)
    _, out_height, out_width = layer.output.shape
    _, height, width = source.shape
    flatten = (kernel_y, kernel_x, stride_y, stride_x, *layer.padding) == (1, 1, 1, 1, 0, 0, 0, 0)
    if flatten:
        height, width, out_height, out_width = 1, height * width, 1, out_height * out_width
    pixels, chunk = tile_shape(kernel_x, stride_x, out_width, config)
    tiles = -(-layer.output.shape[0] // lanes)
    blocks = 1 if layer.depthwise else -(-source.shape[0] // lanes)
    fields = {
        "outer_tiles": tiles if layer.depthwise else 1,
        "inner_tiles": 1 if layer.depthwise else tiles,
        "outer_moves_input": int(layer.depthwise),
        "tile_pixels": pixels,
        "kernel_y": kernel_y,
        "blocks": blocks,
        "chunks": kernel_x // chunk,
        "kernel_x": chunk,
        "load_step": stride_x if chunk == 1 else 1,
        "pixel_step": 1 if chunk == 1 or pixels == 1 else stride_x,
        "stride_y": stride_y,
        "stride_x": stride_x,
        "pad_y": layer.padding[0],
        "pad_x": layer.padding[1],
        "in_height": height,
        "in_width": width,
        "out_height": out_height,
        "out_width": out_width,
    }

    def arrange(plane: Plane | None) -> Ints:
        shape = layer.planes[0].weights.shape
        weights = np.zeros(shape, np.int64) if plane is None else plane.weights.astype(np.int64)
        return _diagonal(weights, lanes) if layer.depthwise else _word_blocks(weights, lanes)

    busy = 1.0 if layer.depthwise else source.shape[0] / blocks
    return _finish(arrange(dense), _digits(dense), None if sparse is None else arrange(sparse), fields, busy)


def _digits(dense: Plane | None) -> int:
    return dense.format.digits if dense is not None else 1


def _diagonal(weights: Ints, lanes: int) -> Ints:
    """Depthwise (C, 1, KH, KW) to diagonal blocks (tile, KH, KW, lane, input)."""
    channels, _, height, width = weights.shape
    padded = np.pad(weights[:, 0], ((0, -channels % lanes), (0, 0), (0, 0)))
    taps = padded.reshape(-1, lanes, height, width).transpose(0, 2, 3, 1)
    return taps[..., None] * np.eye(lanes, dtype=np.int64)


def fits_window(layer: Conv2d, source: Tensor, config: EngineConfig) -> bool:
    """Whether the kernel fits the sliding window, and few enough channels share it."""
    kernel_y, kernel_x = layer.kernel
    few = layer.depthwise or source.shape[0] <= config.lanes
    return kernel_y <= 4 and kernel_x <= config.window_columns and few


def map_window(layer: Conv2d, source: Tensor, config: EngineConfig) -> Mapping:
    """Map a convolution to window mode: all taps of one channel a step (of the lane's own channel if depthwise)."""
    lanes = config.lanes
    dense, sparse = split_planes(layer)
    kernel_y, kernel_x = layer.kernel
    stride_y, stride_x = _strides(layer)
    tiles = -(-layer.output.shape[0] // lanes)
    fields = {
        "window": 1,
        "depthwise": int(layer.depthwise),
        "outer_tiles": tiles if layer.depthwise else 1,
        "inner_tiles": 1 if layer.depthwise else tiles,
        "outer_moves_input": int(layer.depthwise),
        "kernel_y": kernel_y,
        "kernel_x": kernel_x,
        "blocks": 1 if layer.depthwise else source.shape[0],
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

    def arrange(plane: Plane | None) -> Ints:
        shape = layer.planes[0].weights.shape
        weights = np.zeros(shape, np.int64) if plane is None else plane.weights.astype(np.int64)
        outputs, channels = weights.shape[:2]
        slots = np.zeros((outputs + -outputs % lanes, channels, config.window_columns, 4), np.int64)
        # Slot = 4·column + row; the kernel's last column is the window's newest.
        slots[:outputs, :, config.window_columns - kernel_x :, :kernel_y] = weights.transpose(0, 1, 3, 2)
        by_tile = slots.reshape(-1, lanes, channels, lanes)
        return by_tile.transpose(0, 2, 1, 3)

    return _finish(
        arrange(dense),
        _digits(dense),
        None if sparse is None else arrange(sparse),
        fields,
        float(kernel_y * kernel_x),
    )


def _slots(mapping: Mapping) -> int:
    """Return how many sparse weights a block holds at most."""
    return 0 if mapping.sparse is None else int(np.count_nonzero(mapping.sparse, axis=-1).max(initial=0))


def slots_needed(layer: WeightLayer, source: Tensor, config: EngineConfig) -> int:
    """Return how many slots the lanes of an engine must have for a layer, in the mode that needs the fewest."""
    convolution = layer.convolution if isinstance(layer, Linear) else layer
    return min(map(_slots, _modes(convolution, source, config)))


def estimated_cycles(mapping: Mapping, config: EngineConfig) -> float:
    """Cycles of a layer, nearly: its steps, or the words of the window or the requantization where those are more."""
    f = mapping.fields
    drain = f["inner_tiles"] * config.requant_cycles
    if f["window"]:
        steps = f["inner_tiles"] * f["digits"] * f["blocks"]
        loads, first = _window_loads(f)
        return f["outer_tiles"] * float(np.maximum(loads, max(steps, drain)).sum() + first.sum())
    steps = f["inner_tiles"] * f["digits"] * f["kernel_y"] * f["blocks"] * f["chunks"] * f["kernel_x"]
    return f["out_height"] * f["out_width"] * f["outer_tiles"] * max(steps, drain)


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


def _modes(layer: Conv2d, source: Tensor, config: EngineConfig) -> list[Mapping]:
    """Return the mappings of a convolution; of equals the window comes first, which loads nothing twice."""
    window = [map_window(layer, source, config)] if fits_window(layer, source, config) else []
    return [*window, map_words(layer, source, config)]


def map_convolution(layer: Conv2d, source: Tensor, config: EngineConfig) -> Mapping:
    """Map a convolution to the mode that takes fewer cycles.

    Raises:
        IntarsiaError: its sparse plane has more weights in a block than the engine has slots.
    """
    fitting = [mapping for mapping in _modes(layer, source, config) if _slots(mapping) <= config.slots]
    if not fitting:
        raise IntarsiaError(
            f"layer {layer.output.name}: a block of {config.lanes} inputs holds more sparse weights than the engine's "
            f"{config.slots} slot(s); use a regular pattern such as {config.slots}:{config.lanes}, or more slots."
        )
    return min(fitting, key=lambda mapping: estimated_cycles(mapping, config))


def map_pool(layer: AveragePool | MaxPool, source: Tensor, config: EngineConfig) -> Mapping:
    """Map a pooling window to word mode: each lane takes its own channel of every word, by one held weight word."""
    output = layer.output
    channels = output.shape[0]
    ones = np.ones((channels, 1, *layer.kernel), np.int64)
    plane = Plane(ones, WeightFormat("ternary"), Pattern())
    nothing = np.zeros(channels, np.int64)
    requantization = Requantization(nothing + 1, nothing, nothing, output.format.lo, output.format.hi)
    shell = Conv2d(source.name, output, (plane,), requantization, layer.stride, layer.padding, depthwise=True)
    mapping = map_words(shell, source, config)
    eye = np.eye(config.lanes, dtype=np.int64)[None]
    return replace(mapping, trits=eye, fields={**mapping.fields, "hold": 1})


def map_layer(layer: WeightLayer | AveragePool | MaxPool, source: Tensor, config: EngineConfig) -> Mapping:
    """Map any layer but a residual add, which needs to know where its inputs lie (`map_add`).

    Raises:
        IntarsiaError: the engine cannot compute it.
    """
    match layer:
        case Conv2d():
            return map_convolution(layer, source, config)
        case Linear():
            return map_convolution(layer.convolution, source, config)
        case AveragePool() | MaxPool():
            return map_pool(layer, source, config)


def map_add(words: int, distance: int, config: EngineConfig) -> Mapping:
    """Map a residual add: a 2×1 kernel over two "rows" that lie `distance` words apart.

    The first operand goes through the dense plane, the second through the sparse one, so each has its multiplier.
    """
    lanes = config.lanes
    eye = np.eye(lanes, dtype=np.int64)
    zero = np.zeros_like(eye)
    fields = {
        "tile_pixels": min(config.tile_pixels, words),
        "kernel_y": 2,
        "in_row_pitch": distance % 65536,
        "in_height": 2,
        "in_width": words,
        "out_height": 1,
        "out_width": words,
        "sparse": 1,
    }
    return Mapping(np.stack([eye, zero]), np.stack([zero, eye]), {**_DEFAULTS, **fields}, 1.0)
