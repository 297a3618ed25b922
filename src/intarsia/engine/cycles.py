# SPDX-License-Identifier: Apache-2.0
"""The cycle model: exact clock cycles and memory accesses of every layer, without simulating the hardware.

Loader, sequencer and drain meet only through counts, so the time of each load, step and output word is the maximum of
a few earlier times plus one. The model walks through these recurrences; each names the unit whose rule it is. Time 0
is the cycle in which the layer's start is signalled.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from intarsia.engine.config import EngineConfig
from intarsia.engine.layout import DESCRIPTOR_WORDS, Descriptor
from intarsia.engine.program import Program, ProgramLayer

#: Cycles from the end of a layer to the start of the next, start included (intarsia_control).
FETCH_CYCLES = DESCRIPTOR_WORDS + 2
#: The first read is issued so many cycles after the start (intarsia_loader's address stages).
LOADER_LATENCY = 3
#: From the issue of a pixel's last step until the drain sees its accumulators (intarsia_engine's stages).
STEP_LATENCY = 4
#: From the read of an output word's last group to its write (intarsia_drain's stages).
DRAIN_LATENCY = 4


@dataclass(frozen=True)
class LayerCycles:
    """Cycles of a layer, where they go, and its memory accesses in words.

    `cycles` = `steps` + `waiting_activations` + `waiting_accumulators` + `start_and_end`.
    `ideal` is the multiply-accumulates over what the array does in a cycle at one digit (a real number);
    `busy_inputs` is that of `ProgramLayer`.
    """

    name: str
    kind: str
    cycles: int
    ideal: float
    steps: int
    waiting_activations: int
    waiting_accumulators: int
    start_and_end: int
    busy_inputs: float
    activation_reads: int
    activation_writes: int
    dense_reads: int
    sparse_reads: int
    parameter_reads: int


def predict(program: Program) -> tuple[LayerCycles, ...]:
    """Predict every layer of a program."""
    return tuple(_predict_layer(layer, program.config) for layer in program.layers)


@dataclass(frozen=True)
class _Tile:
    """Output pixels that go together: `pixels` of them, the first in column `x` of row `y`."""

    y: int
    x: int
    pixels: int


def _tiles(d: Descriptor) -> Iterator[_Tile]:
    for _ in range(d.outer_tiles):
        for y in range(d.out_height):
            for x in range(0, d.out_width, d.tile_pixels):
                yield _Tile(y, x, min(d.tile_pixels, d.out_width - x))


class _Timeline:
    """Times of loads, steps and drained pixels of one layer, filled in order."""

    def __init__(self, config: EngineConfig) -> None:
        self._groups = config.requant_cycles
        self._free_group = max(self._groups - 5, 0)
        self._slots = config.acc_slots
        self.now = 0  # time of the sequencer's last action
        self.last_load = LOADER_LATENCY - 1
        self.last_read = -(1 << 30)  # drain: first group of the last pixel
        self.freed: list[int] = []
        self.allocated = 0
        self.waiting_accumulators = 0
        self.first_action = -1

    def act(self, operands: int, *, first: bool) -> int:
        """A sequencer action as soon as its operands are there (and, for a pixel's first step, an accumulator)."""
        ready = max(self.now + 1, operands)
        time = ready
        if first:
            if self.allocated >= self._slots:
                time = max(time, self.freed[self.allocated - self._slots] + 1)
            self.allocated += 1
        self.waiting_accumulators += time - ready
        if self.first_action < 0:
            self.first_action = time
        self.now = time
        return time

    def finish_pixel(self, time: int) -> None:
        """Drain a pixel whose last step was issued at `time`."""
        self.last_read = max(time + STEP_LATENCY, self.last_read + self._groups)
        self.freed.append(self.last_read + self._free_group)

    @property
    def end(self) -> int:
        """When the layer's last output word is written."""
        return self.last_read + self._groups - 1 + DRAIN_LATENCY


def _run_words(d: Descriptor, config: EngineConfig) -> _Timeline:
    """Word mode: sets of words, each serving `kernel_x` columns for all pixels of a tile."""
    line = _Timeline(config)
    loads: list[int] = []
    releases: list[int] = []  # for each word, when it was released
    sets = d.digits * d.kernel_y * d.blocks * d.chunks
    ring = config.lanes
    for tile in _tiles(d):
        words = (tile.pixels - 1) * d.pixel_step + d.kernel_x
        for _ in range(d.inner_tiles):
            for number in range(sets):
                base = len(releases)
                steps = [(x + pixel * d.pixel_step, x) for x in range(d.kernel_x) for pixel in range(tile.pixels)]
                for index, column in steps:
                    while len(loads) <= base + index:
                        _load_word(line, loads, releases, ring)
                    time = line.act(loads[base + index] + 1, first=number == 0 and column == 0)
                    if number == sets - 1 and column == d.kernel_x - 1:
                        line.finish_pixel(time)
                while len(loads) < base + words:
                    _load_word(line, loads, releases, ring)
                releases.extend([line.now] * words)
    return line


def _load_word(line: _Timeline, loads: list[int], releases: list[int], ring: int) -> None:
    number = len(loads)
    room = releases[number - ring] + 1 if number >= ring else 0
    line.last_load = max(line.last_load + 1, room)
    loads.append(line.last_load)


def _run_window(d: Descriptor, config: EngineConfig) -> _Timeline:
    """Window mode: each pixel pushes its new columns, then steps over inner tiles, digits and blocks."""
    line = _Timeline(config)
    pushed = 0  # time of the last push
    for tile in _tiles(d):
        columns = _column_loads(d, tile)
        for number, loads in enumerate(columns, start=1):
            for _ in range(loads):
                line.last_load = max(line.last_load + 1, pushed)
            full = line.last_load + 1
            pushed = line.act(full, first=number == len(columns))
        for inner in range(d.inner_tiles):
            steps = d.digits * d.blocks - 1
            if inner:
                line.act(0, first=True)
            line.now += steps
            line.finish_pixel(line.now)
    return line


def _column_loads(d: Descriptor, tile: _Tile) -> list[int]:
    """Return the loads of each new column of a window: the first of an output row in full; after it rows above and
    below the input cost nothing, because the staging registers keep them, and a column of padding alone one load.
    """
    columns = d.kernel_x if tile.x == 0 else d.new_columns
    start = tile.x * d.stride_x - d.pad_x + d.kernel_x - columns
    rows = _inside(tile.y * d.stride_y - d.pad_y, 1, d.kernel_y, d.in_height)
    inside = [rows > 0 and 0 <= start + column < d.in_width for column in range(columns)]
    loads = [rows if within else 1 for within in inside]
    if tile.x == 0:
        loads[0] = d.kernel_y
    return loads


def _inside(start: int, step: int, count: int, size: int) -> int:
    """How many of `count` coordinates start, start + step, … lie in 0 … size − 1."""
    return sum(0 <= start + step * i < size for i in range(count))


def _activation_reads(d: Descriptor) -> int:
    """Words read: the loads that are not padding."""
    rows = sum(_inside(y * d.stride_y - d.pad_y, 1, d.kernel_y, d.in_height) for y in range(d.out_height))
    columns = 0
    for x in range(0, d.out_width, d.tile_pixels):
        origin = x * d.stride_x - d.pad_x
        if d.window:
            count = d.kernel_x if x == 0 else d.new_columns
            columns += _inside(origin + d.kernel_x - count, 1, count, d.in_width)
            continue
        pixels = min(d.tile_pixels, d.out_width - x)
        words = (pixels - 1) * d.pixel_step + d.kernel_x
        for chunk in range(d.chunks):
            columns += _inside(origin + chunk * d.kernel_x, d.load_step, words, d.in_width)
    repeats = 1 if d.window else d.inner_tiles * d.digits * d.blocks
    return d.outer_tiles * rows * columns * repeats


def _predict_layer(layer: ProgramLayer, config: EngineConfig) -> LayerCycles:
    d = layer.descriptor
    line = _run_window(d, config) if d.window else _run_words(d, config)
    cycles = FETCH_CYCLES + line.end
    pixels = d.outer_tiles * d.out_height * d.out_width * d.inner_tiles
    tiles = d.outer_tiles * d.out_height * -(-d.out_width // d.tile_pixels) * d.inner_tiles
    blocks = d.blocks * (1 if d.window else d.kernel_y * d.chunks * d.kernel_x)
    steps = pixels * blocks * d.digits
    start_and_end = cycles - (line.now - line.first_action + 1)
    return LayerCycles(
        name=layer.name,
        kind=layer.kind,
        cycles=cycles,
        ideal=layer.macs / config.lanes**2,
        steps=steps,
        waiting_activations=cycles - steps - start_and_end - line.waiting_accumulators,
        waiting_accumulators=line.waiting_accumulators,
        start_and_end=start_and_end,
        busy_inputs=layer.busy_inputs,
        activation_reads=_activation_reads(d),
        activation_writes=pixels,
        dense_reads=1 if d.hold else tiles * blocks * d.digits,
        sparse_reads=tiles * blocks if d.sparse else 0,
        parameter_reads=pixels * config.requant_cycles,
    )
