# SPDX-License-Identifier: Apache-2.0
"""The cycle model: exact clock cycles and memory accesses of every layer, without simulating the hardware.

Loader, weight fetcher, sequencer and drain meet only through counts and through the ports of the memories. The model
walks through a layer cycle by cycle with these counts alone; each rule names the unit that it belongs to. Cycle 0 is
that in which the layer's start is signalled.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from intarsia.engine.accesses import PADDING, Loads, loads_of, output_words, values_of
from intarsia.engine.config import EngineConfig
from intarsia.engine.latencies import LOADER_STAGES, REQUANT_STAGES, STEP_STAGES
from intarsia.engine.layout import DESCRIPTOR_WORDS, LOOPS, Descriptor, bank_of, bits_of_format
from intarsia.engine.program import Program, ProgramLayer
from intarsia.errors import IntarsiaError

#: Cycles from the start of a layer until the next one's descriptor is there (intarsia_control).
_READ_CYCLES = DESCRIPTOR_WORDS + 1
#: Cycles without a load, a step or a result that mean that there will be none. All pipelines together are shorter.
_LONGEST_PAUSE = 1_000


@dataclass(frozen=True)
class LayerCycles:
    """Cycles of a layer, where they go, and its memory accesses in words.

    `cycles` = `steps` + `waiting_activations` + `waiting_accumulators` + `waiting_weights` + `start_and_end`.
    `ideal` is the multiply-accumulates over what the array does in a cycle in one pass (a real number);
    `busy_inputs` is that of `ProgramLayer`. `weight_reads` are words of weight blocks, `parameter_reads` words of
    requantization, both of the weight memory.
    """

    name: str
    kind: str
    cycles: int
    ideal: float
    steps: int
    waiting_activations: int
    waiting_accumulators: int
    waiting_weights: int
    start_and_end: int
    busy_inputs: float
    activation_reads: int
    activation_writes: int
    residual_reads: int
    weight_reads: int
    parameter_reads: int


def predict(program: Program) -> tuple[LayerCycles, ...]:
    """Predict every layer of a program.

    Raises:
        IntarsiaError: a layer would never end; no compiled program has one.
    """
    result: list[LayerCycles] = []
    start = _READ_CYCLES + 2  # nothing hides the reading of the first descriptor
    for layer in program.layers:
        result.append(_predict_layer(layer, program.config, start))
        start = 1 + max(0, _READ_CYCLES - (result[-1].cycles - start))
    return tuple(result)


@dataclass(frozen=True)
class _Step:
    """A step of the sequencer.

    Attributes:
        word: in word mode, the index of its word in the set; in window mode, new columns to push before it.
        first, last: of an output pixel's steps.
        takes_block: it begins a weight block that is not in the lanes yet.
        releases: words of the ring that nothing needs after it.
    """

    word: int
    first: bool
    last: bool
    takes_block: bool
    releases: int


def _steps(d: Descriptor) -> Iterator[_Step]:
    for _ in range(d.tiles):
        for number in range(d.pixel_tiles):
            x = number % d.x_tiles
            takes = not d.resident or number == 0
            if d.window:
                columns = d.kernel_x if x == 0 else d.new_columns
                for block in range(d.tile_blocks):
                    last = block == d.tile_blocks - 1
                    yield _Step(columns if block == 0 else 0, block == 0, last, takes, 0)
            else:
                yield from _word_steps(d, d.last_pixels if x == d.x_tiles - 1 else d.tile_pixels, takes)


def _word_steps(d: Descriptor, pixels: int, takes: bool) -> Iterator[_Step]:
    sets = d.digits * d.kernel_y * d.blocks * d.chunks
    for number in range(sets):
        for column in range(d.kernel_x):
            first, last = number == 0 and column == 0, number == sets - 1 and column == d.kernel_x - 1
            for pixel in range(pixels):
                word = column + pixel * d.pixel_step
                ends = column == d.kernel_x - 1 and pixel == pixels - 1
                begins = pixel == 0 and takes and (first or not d.resident)
                yield _Step(word, first, last, begins, word + 1 if ends else 0)


class _Drain:
    """intarsia_drain: one group of lanes per cycle, words that wait for their bank, requantization per tile."""

    def __init__(self, d: Descriptor, config: EngineConfig) -> None:
        self.groups, self.banks = config.requant_cycles // (1 + d.half_tile), config.act_banks
        self.per_word = self.groups // (1 + d.out_two)
        self.free_group = max(self.groups - STEP_STAGES - 2, self.groups - self.per_word)
        self.residual, self.param_words = bool(d.residual), config.param_words
        self.words = output_words(values_of(d)).tolist()
        self.per_tile = d.out_height * d.out_width * (1 + d.out_two)
        self.out_base, self.residual_base = d.out_base, d.residual_base
        self.number = self.group = 0
        self.params_left = config.param_words
        self.finished: deque[int] = deque()  # cycles from which pixels are ready
        self.whole: deque[tuple[int, int]] = deque()  # cycles in which words are whole, and their addresses
        self.waiting: int | None = None  # address of the word that waits to be written
        self.waited = False
        self.residual_reads = self.parameter_reads = 0

    @property
    def fetching(self) -> bool:
        """Whether requantization is read from the weight memory in this cycle."""
        return self.params_left > 0

    def cycle(self, now: int, loader_bank: int) -> tuple[int, bool, bool]:
        """Return the bank that this cycle takes (−1: none), whether an accumulator is freed, and whether the layer has
        ended; `loader_bank` is that which the loader wants (−1: none).
        """
        bank, freed, ended = -1, False, False
        whole = self.whole.popleft()[1] if self.whole and self.whole[0][0] == now else None
        writes = self.waiting is not None and (whole is not None or bank_of(self.waiting, self.banks) != loader_bank)
        if writes:
            assert self.waiting is not None  # noqa: S101 (for the type checker)
            bank, self.waiting = bank_of(self.waiting, self.banks), None
            ended = whole is None and not self.whole and self.number == len(self.words)
        if whole is not None:
            self.waiting = whole
        fetching = self.fetching
        if fetching:
            self.params_left -= 1
            self.parameter_reads += 1
        begins = self.group % self.per_word == 0
        wants = begins and bool(self.finished) and self.finished[0] <= now and not fetching
        starts, residual_bank = wants, -1
        if wants and self.residual:
            residual_bank = bank_of(self.residual_base + self.words[self.number], self.banks)
            starts = not writes and (self.waited or residual_bank != loader_bank)
        self.waited = wants and not starts and not writes
        if not begins or starts:
            if starts and self.residual:
                bank = residual_bank
                self.residual_reads += 1
            freed = self.group == self.free_group
            self.group += 1
            if self.group % self.per_word == 0:
                self._end_word(now)
        return bank, freed, ended

    def _end_word(self, now: int) -> None:
        self.whole.append((now + REQUANT_STAGES, self.out_base + self.words[self.number]))
        if self.group == self.groups:
            self.finished.popleft()
            self.group = 0
        self.number += 1
        if self.number % self.per_tile == 0 and self.number < len(self.words):
            self.params_left = self.param_words


class _Weights:
    """intarsia_weights: fetches the next block word by word, ahead of the sequencer if it takes several words."""

    def __init__(self, d: Descriptor, config: EngineConfig) -> None:
        self.parts = config.weight_parts
        self.left = d.tiles * (1 if d.resident else d.pixel_tiles) * d.tile_blocks * self.parts
        self.here = 0
        self.reads = 0

    def ready(self, port_taken: bool) -> bool:
        return not port_taken if self.parts == 1 else self.here == self.parts

    def cycle(self, port_taken: bool, taken: bool) -> None:
        if self.parts == 1:
            self.reads += taken
            return
        if taken:
            self.here = 0
        if self.here < self.parts and self.left and not port_taken:
            self.here += 1
            self.left -= 1
            self.reads += 1


class _Loader:
    """intarsia_loader: one load per cycle while there is room and its bank is free."""

    def __init__(self, d: Descriptor, config: EngineConfig, loads: Loads) -> None:
        self.window, self.ring, self.banks = bool(d.window), config.block, config.act_banks
        self.addresses = [a if a == PADDING else (d.in_base + a) % 65536 for a in loads.addresses.tolist()]
        self.columns, self.column = loads.columns, 0
        self.in_column = 0
        self.number = self.fill = self.reads = 0
        self.full = False

    def wants(self, now: int, pushed: bool) -> tuple[bool, int]:
        """Return whether there is a load with room for it, and the bank that a load needs, room or not (−1: none)."""
        if not (now >= LOADER_STAGES and self.number < len(self.addresses)):
            return False, -1
        room = (not self.full or pushed) if self.window else self.fill < self.ring
        address = self.addresses[self.number]
        return room, -1 if address == PADDING else bank_of(address, self.banks)

    def cycle(self, issues: bool, reads: bool, pushed: bool, released: int) -> None:
        self.reads += reads
        self.fill -= released
        if pushed:
            self.full = False
        if not issues:
            return
        self.number += 1
        self.fill += not self.window
        if self.window:
            self.in_column += 1
            if self.in_column == self.columns[self.column]:
                self.full, self.in_column, self.column = True, 0, self.column + 1


def _predict_layer(layer: ProgramLayer, config: EngineConfig, start: int) -> LayerCycles:
    """Predict a layer that takes `start` cycles until it is started, the start included.

    Raises:
        IntarsiaError: the layer would never end.
    """
    d = layer.descriptor
    empty = [name for name in LOOPS if not getattr(d, name)]
    if empty:
        raise IntarsiaError(f"layer {layer.name} never ends on the engine: {empty[0]} is 0; compile the network again.")
    loader, weights, drain = _Loader(d, config, loads_of(d)), _Weights(d, config), _Drain(d, config)
    stream = _steps(d)
    step = next(stream, None)
    pushes = step.word if step is not None and d.window else 0
    used = count = now = active = 0
    waiting = [0, 0, 0]
    first_action = last_action = -1
    ended = False
    while not ended:
        now += 1
        port_taken = drain.fetching
        pushed, released, fired, taken = False, 0, False, False
        if step is not None:
            operands = (pushes == 0 or (pushes == 1 and loader.full)) if d.window else loader.fill > step.word
            room = not step.first or used < config.acc_slots
            blocked = step.takes_block and not weights.ready(port_taken)
            fired = operands and room and not blocked
            pushed = bool(d.window) and loader.full and (pushes > 1 or (fired and pushes == 1))
            if fired or pushed:
                first_action, last_action = (now if first_action < 0 else first_action), now
            if not fired and first_action >= 0:
                waiting[0 if not operands else 1 if not room else 2] += 1
            if fired:
                count += 1
                taken, released = step.takes_block, step.releases
                used += step.first
                if step.last:
                    drain.finished.append(now + STEP_STAGES + 1)
        weights.cycle(port_taken, taken)
        asks, loader_bank = loader.wants(now, pushed)
        bank, freed, ended = drain.cycle(now, loader_bank)
        issues = asks and (loader_bank < 0 or loader_bank != bank)
        loader.cycle(issues, issues and loader_bank >= 0, pushed, released)
        used -= freed
        pushes -= pushed
        if fired or pushed or issues or freed:
            active = now
        if now > active + _LONGEST_PAUSE:
            raise IntarsiaError(f"layer {layer.name} never ends on the engine; compile the network again.")
        if fired:
            step = next(stream, None)
            pushes = step.word if step is not None and d.window else 0
    cycles = start + now
    return LayerCycles(
        name=layer.name,
        kind=layer.kind,
        cycles=cycles,
        ideal=layer.macs * bits_of_format(d.in_format) / (config.lanes * config.act_bits),
        steps=count,
        waiting_activations=waiting[0],
        waiting_accumulators=waiting[1],
        waiting_weights=waiting[2],
        start_and_end=cycles - (last_action - first_action + 1),
        busy_inputs=layer.busy_inputs,
        activation_reads=loader.reads,
        activation_writes=len(drain.words),
        residual_reads=drain.residual_reads,
        weight_reads=weights.reads,
        parameter_reads=drain.parameter_reads,
    )
