# SPDX-License-Identifier: Apache-2.0
"""Lane arrays with every kind of execution unit against plain integer arithmetic, and their legal parameters."""

import re
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from intarsia.engine.packing import bits_of
from intarsia.engine.sources import write_sources
from intarsia.engine.units import Dense, Positions, Superposition
from intarsia.integer.formats import trit_bits
from intarsia.synthesize.units import LaneArray
from rtl_bench import play, verilator

Ints = NDArray[np.int64]
Bits = NDArray[np.uint8]

POSITIONS: tuple[Positions, ...] = ("own", "shared", "fixed")
TERNARY = Superposition(0, 2, 0)
#: Clock cycles that are played, and how many make a layer.
CYCLES, LAYER = 600, 30

CONTROL = ("acc_en_i", "acc_load_i", "acc_digit_i", "acc_max_i")


def sparse(slots: int, bits: int, shift: int, positions: Positions, block: int = 16) -> Superposition:
    """A unit with slots; where positions are fixed, at some from the block's end to its begin."""
    places = sorted((block - 1 + 5 * slot) % block for slot in range(slots)) if positions == "fixed" else ()
    return Superposition(slots, bits, shift, positions, tuple(places))


class Model:
    """One lane array in plain integers: state, and what a clock edge does to it."""

    def __init__(self, array: LaneArray) -> None:
        self.array, unit = array, array.unit
        self.radix = 3 if isinstance(unit, Superposition) else 1 << unit.bits if unit.digits else 1
        self.slot_count = unit.slots if isinstance(unit, Superposition) else 0
        lanes = array.lanes
        self.weights = np.zeros((lanes, array.block), np.int64)
        self.values = np.zeros((lanes, self.slot_count), np.int64)
        self.places = np.zeros((lanes, self.slot_count), np.int64)
        self.dot, self.slots = np.zeros((2, lanes), np.int64)
        self.sums = np.zeros((array.acc_slots, lanes), np.int64)

    def clock(self, drawn: dict[str, Ints], blocks: tuple[Ints, Ints, Ints]) -> None:
        control = {name: int(value) for name, value in drawn.items() if value.ndim == 0}
        slot = control["write_ptr"]
        if control["acc_en"]:
            if control["acc_max"] and not control["acc_load"]:
                result = np.maximum(self.sums[slot], self.dot)
            else:
                factor = 0 if control["acc_load"] else self.radix if control["acc_digit"] else 1
                result = self.sums[slot] * factor + (self.dot << control["plane_shift"]) + self.slots
            self.sums[slot] = self.wrapped(result)
        if control["valid"]:
            x = self.operands(control, drawn["word"], drawn["window"])
            chosen = np.take_along_axis(x, self.places, axis=1)
            self.dot = (x * self.weights).sum(axis=1)
            self.slots = (chosen * self.values).sum(axis=1) * control["sparse_en"]
        if control["dense_new"]:
            self.weights = blocks[0]
        if control["sparse_new"]:
            self.values, self.places = blocks[1:]

    def operands(self, control: dict[str, int], word: Ints, window: Ints) -> Ints:
        """Activations of each lane (lanes, block)."""
        lanes, block = self.array.lanes, self.array.block
        if control["depthwise"]:
            return window[:, (control["channel"] // lanes * lanes + np.arange(lanes)) % block].T
        common = window[:, control["channel"]] if control["window_mode"] else word
        return np.tile(common, (lanes, 1))

    def wrapped(self, sums: Ints) -> Ints:
        half = 1 << (self.array.acc_bits - 1)
        return (sums + half) % (2 * half) - half


def draw(rng: np.random.Generator, low: int, high: int, shape: tuple[int, ...]) -> Ints:
    """Values of a range: its least, its ends only, or any."""
    kind = rng.integers(4)
    if kind == 0:
        return np.full(shape, low)
    return rng.choice([low, high], shape) if kind == 1 else rng.integers(low, high, shape, endpoint=True)


def draw_blocks(rng: np.random.Generator, array: LaneArray, pooling: bool) -> tuple[Ints, Ints, Ints]:
    """Weights of all lanes: dense (that choose one activation, in pooling), values and positions of the slots."""
    lanes, block, unit = array.lanes, array.block, array.unit
    half = 1 << (unit.bits - 1) if isinstance(unit, Dense) else 1
    weights = draw(rng, -half, half - 1 if isinstance(unit, Dense) else 1, (lanes, block))
    if pooling:
        weights = np.eye(block, dtype=np.int64)[rng.integers(0, block, lanes)]
    if isinstance(unit, Dense):
        return weights, *np.zeros((2, lanes, 0), np.int64)
    slots, limit = unit.slots, 1 << (unit.slot_bits - 1)
    values = draw(rng, -limit, limit - 1, (lanes, slots))
    if unit.positions == "own":
        places = rng.integers(0, block, (lanes, slots))
    elif unit.positions == "shared":
        places = np.tile(rng.integers(0, block, slots), (lanes, 1))
    else:
        places = np.tile(unit.places, (lanes, 1))
    return weights, values, places.astype(np.int64)


def draw_layer(rng: np.random.Generator, array: LaneArray) -> dict[str, int]:
    """What is constant in a layer: operands, shift, and whether it is a maximum pooling."""
    layer = {name: int(rng.integers(2)) for name in ("window_mode", "depthwise")}
    pooling = int(rng.random() < 0.3)
    shift_bits = array.unit.shift_bits if isinstance(array.unit, Superposition) else 0
    shift = 0 if pooling else int(rng.integers(1 << shift_bits))
    return layer | {"plane_shift": shift, "pooling": pooling}


def draw_inputs(rng: np.random.Generator, model: Model, layer: dict[str, int], cycle: int) -> dict[str, Ints]:
    """Random inputs of a cycle; the first cycles write every register, so that what is read is known."""
    array, start = model.array, cycle - 2
    own = not isinstance(array.unit, Superposition) or array.unit.positions == "own"
    sure = 0 <= start < array.acc_slots
    pooling = layer["pooling"]
    names = ("dense_new", "sparse_new", "valid", "sparse_en", "acc_load", "acc_digit")
    control = layer | {name: int(rng.integers(2)) for name in names}
    control["acc_en"] = int(rng.random() < 0.8)
    control["acc_load"] &= int(rng.integers(2))
    control |= {"write_ptr": int(rng.integers(array.acc_slots)), "read_ptr": int(rng.integers(array.acc_slots))}
    control["channel"] = int(rng.integers(array.block))
    if pooling or (not own and control["depthwise"]):
        control["sparse_en"] = 0
    if cycle < 2:
        control |= {"dense_new": 1, "sparse_new": 1, "valid": cycle, "acc_en": 0}
    if sure:
        control |= {"acc_en": 1, "acc_load": 1, "write_ptr": start}
    # The greater of two activations; what an earlier layer left is loaded over.
    small = np.all(np.abs(2 * model.dot + 1) < 256) and not np.any(model.slots)
    control["acc_max"] = int(pooling and bool(small))
    if control["acc_max"]:
        control["acc_digit"] = 0
        control["acc_load"] |= int(bool(np.any(np.abs(2 * model.sums[control["write_ptr"]] + 1) >= 256)))
    drawn = {name: np.array(value) for name, value in control.items()}
    drawn["word"] = draw(rng, -128, 127, (array.block,))
    drawn["window"] = draw(rng, -128, 127, (array.block, array.block))
    return drawn


def ports(array: LaneArray) -> dict[str, int]:
    """Inputs of an array with their widths, in the order in which the bench packs them."""
    block, pointer, unit = array.block, (array.acc_slots - 1).bit_length(), array.unit
    dense_bits = array.lanes * (block * unit.bits if isinstance(unit, Dense) else trit_bits(block))
    steps = {"valid_i": 1, "window_mode_i": 1, "depthwise_i": 1, "channel_i": block.bit_length() - 1}
    steps |= {"word_i": 8 * block, "window_i": 8 * block * block, "write_ptr_i": pointer, "read_ptr_i": pointer}
    steps |= {"dense_new_i": 1, "dense_i": dense_bits} | dict.fromkeys(CONTROL, 1)
    if isinstance(unit, Dense):
        return steps
    # The array without slots has a port of one, which is without effect.
    slots, index_bits = max(1, unit.slots), block.bit_length() - 1
    sparse_bits = array.lanes * slots * unit.slot_bits
    sparse_bits += slots * index_bits * {"own": array.lanes, "shared": 1, "fixed": 0}[unit.positions]
    planes = {"sparse_new_i": 1, "sparse_i": sparse_bits, "sparse_en_i": 1}
    return steps | planes | {"plane_shift_i": max(1, unit.shift_bits)}


def pack(array: LaneArray, drawn: dict[str, Ints], blocks: tuple[Ints, Ints, Ints]) -> Bits:
    """Inputs of a cycle as the bits of the array's ports."""
    weights, values, places = blocks
    signed = {"word_i": drawn["word"], "window_i": drawn["window"]}
    fields = {name: bits_of(value.ravel(), 8, signed=True).ravel() for name, value in signed.items()}
    if isinstance(array.unit, Dense):
        fields["dense_i"] = bits_of(weights.ravel(), array.unit.bits, signed=True).ravel()
    else:
        fields["dense_i"] = pack_trits(weights).ravel()
        fields["sparse_i"] = pack_sparse(array, array.unit, values, places)
    result = []
    for port, width in ports(array).items():
        bits = fields[port] if port in fields else bits_of(drawn[port.removesuffix("_i")], width)
        assert bits.size == width, port
        result.append(bits)
    return np.concatenate(result)


def pack_trits(trits: Ints) -> Bits:
    """Pack (…, count) trits into (…, bits) as intarsia_trits.sv describes."""
    plain = np.where(trits < 0, 3, trits)

    def pair(first: int) -> tuple[Ints, NDArray[np.bool_]]:
        """Three bits of two trits, and whether both are zeros."""
        one, other = plain[..., first], plain[..., first + 1]
        both = 4 | (one & 2) | (other >> 1)
        return np.where(other == 0, 2 | (one >> 1), np.where(one == 0, other >> 1, both)), (one | other) == 0

    def triple(first: int) -> Ints:
        code, zeros = pair(first + 1)
        return np.where(zeros, 16 | plain[..., first], plain[..., first] << 3 | code)

    codes, count = [], trits.shape[-1]
    for start in range(0, count, 5):
        rest = count - start
        if rest >= 5:
            lower, (upper, zeros) = triple(start), pair(start + 3)
            codes.append(bits_of(np.where(zeros, lower >> 2 << 5 | 20 | lower & 3, upper << 5 | lower), 8))
            continue
        if rest >= 3:
            codes.append(bits_of(triple(start), 5))
        codes += [bits_of(plain[..., place], 2) for place in range(start + 3 * (rest >= 3), count)]
    return np.concatenate(codes, axis=-1)


def pack_sparse(array: LaneArray, unit: Superposition, values: Ints, places: Ints) -> Bits:
    if not unit.slots:
        return np.ones(ports(array)["sparse_i"], np.uint8)
    index_bits = array.block.bit_length() - 1
    stored = bits_of(values, unit.slot_bits, signed=True)
    if unit.positions == "own":
        stored = np.concatenate([stored, bits_of(places, index_bits)], axis=-1)
    shared = bits_of(places[0], index_bits) if unit.positions == "shared" else np.zeros(0, np.uint8)
    return np.concatenate([stored.ravel(), shared.ravel()])


def bench_source(arrays: Sequence[LaneArray], sources: Sequence[Path]) -> tuple[str, int, int]:
    """SystemVerilog module that holds all arrays side by side, and the widths of its input and its output."""
    instances, inputs, outputs = [], 0, 0
    for number, array in enumerate(arrays):
        design = array.design(sources)
        pins = [".clk_i"]
        for port, width in ports(array).items():
            pins.append(f".{port}(in_i[{inputs}+:{width}])")
            inputs += width
        pins.append(f".acc_o(out_o[{outputs}+:{array.lanes * array.acc_bits}])")
        outputs += array.lanes * array.acc_bits
        values = ", ".join(f".{name}({value})" for name, value in design.parameters.items())
        instances.append(f"  {design.top} #({values}) u_{number} ({', '.join(pins)});\n")
    head = (
        f"module bench(input logic clk_i, input logic [{inputs - 1}:0] in_i, output logic [{outputs - 1}:0] out_o);\n"
    )
    return head + "".join(instances) + "endmodule\n", inputs, outputs


def array_sources(folder: Path) -> list[Path]:
    return [path for path in write_sources(folder) if re.search("lane|trits|operands|accumulators", path.name)]


def simulate(arrays: Sequence[LaneArray], folder: Path, stimulus: Bits) -> Bits:
    """Play input bits (cycles, width) on the arrays; return the output bits (cycles, width)."""
    sources = array_sources(folder / "rtl")
    text, inputs, outputs = bench_source(arrays, sources)
    assert stimulus.shape[1] == inputs
    return play(sources, text, outputs, stimulus, folder)


def read(array: LaneArray, bits: Bits) -> Ints:
    """Accumulators (cycles, lanes) from an array's output bits."""
    fields = bits.reshape(len(bits), array.lanes, array.acc_bits).astype(np.int64)
    unsigned = (fields << np.arange(array.acc_bits)).sum(axis=-1)
    return unsigned - ((unsigned >> (array.acc_bits - 1)) << array.acc_bits)


def expected_run(rng: np.random.Generator, array: LaneArray) -> Iterator[tuple[Bits, Ints]]:
    """Inputs of each cycle, and the accumulators that the model gives at the read pointer before the edge."""
    model, maxima = Model(array), 0
    for cycle in range(CYCLES):
        if cycle % LAYER == 0:
            layer = draw_layer(rng, array)
        blocks = draw_blocks(rng, array, bool(layer["pooling"]))
        drawn = draw_inputs(rng, model, layer, cycle)
        maxima += int(drawn["acc_max"] & drawn["acc_en"] & (1 - drawn["acc_load"]))
        yield pack(array, drawn, blocks), model.sums[int(drawn["read_ptr"])].copy()
        model.clock(drawn, blocks)
    assert maxima > CYCLES / 50


def compare(arrays: Sequence[LaneArray], folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    runs = [list(expected_run(rng, array)) for array in arrays]
    stimulus = np.stack([np.concatenate([run[cycle][0] for run in runs]) for cycle in range(CYCLES)])
    played = simulate(arrays, folder, stimulus)
    base = 0
    for array, run in zip(arrays, runs, strict=True):
        width = array.lanes * array.acc_bits
        got = read(array, played[:, base : base + width])
        base += width
        known = 2 + array.acc_slots
        expected = np.stack([sums for _, sums in run])
        np.testing.assert_array_equal(got[known:], expected[known:], err_msg=str(array))


def test_small_arrays_of_every_kind_compute_as_plain_integers(tmp_path: Path) -> None:
    """One to four slots, every kind of positions, narrow and wide values, weights and shifts, 8 lanes of 8."""
    shell = {"lanes": 8, "block": 8, "acc_slots": 3}
    arrays = [
        LaneArray(sparse(slots, bits, (slots + number) % 4, positions, 8), acc_bits=16 + 2 * slots, **shell)
        for number, (positions, slots, bits) in enumerate([("own", 4, 3), ("shared", 2, 7), ("fixed", 1, 8)])
    ]
    arrays += [LaneArray(TERNARY, lanes=8, block=8, acc_bits=16, acc_slots=2)]
    arrays += [LaneArray(Dense(8), acc_bits=19, **shell), LaneArray(Dense(2, digits=True), acc_bits=24, **shell)]
    compare(arrays, tmp_path, 1)


@pytest.mark.parametrize(("lanes", "block"), [(8, 16), (16, 8)])
def test_lanes_and_block_may_differ(lanes: int, block: int, tmp_path: Path) -> None:
    shell = {"lanes": lanes, "block": block, "acc_slots": 4}
    units = [sparse(3, 6, 2, "own", block), Dense(4, digits=True)]
    compare([LaneArray(unit, **shell) for unit in units], tmp_path, 3)


@pytest.mark.study  # every engine that is built for a test is linted as well
@pytest.mark.parametrize("lanes", [8, 16])
def test_arrays_of_units_are_free_of_lint(lanes: int, tmp_path: Path) -> None:
    """One elaboration of all slots with 8 lanes; with 16, where it takes longer, of the most."""
    small = lanes == 8
    slots, bits = (range(1, 5), (2, 5, 8)) if small else ((4,), (2, 8))
    shell = {"lanes": lanes, "block": lanes, "acc_bits": 19 if small else 32, "acc_slots": 2 if small else 16}
    units = [TERNARY, *(Dense(width, digits) for width in bits for digits in (False, True))]
    chosen = product(slots, bits, POSITIONS)
    units += [sparse(count, width, number % 4, kind, lanes) for number, (count, width, kind) in enumerate(chosen)]
    arrays = [LaneArray(unit, **shell) for unit in units]
    sources = array_sources(tmp_path / "rtl")
    (tmp_path / "bench.sv").write_text(bench_source(arrays, sources)[0])
    done = verilator(tmp_path, "--lint-only", "-Wall", "--top-module", "bench", *map(str, sources), "bench.sv")
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("top", "parameter", "value"),
    [
        ("intarsia_lane_array", "Lanes", 12),
        ("intarsia_lane_array", "Block", 12),
        ("intarsia_lane_array", "Slots", 5),
        ("intarsia_lane_array", "SlotBits", 1),
        ("intarsia_lane_array", "SlotBits", 9),
        ("intarsia_lane_array", "PlaneShiftBits", 4),
        ("intarsia_lane_array", "Positions", 3),
        ("intarsia_lane_array", "Places", 8),
        ("intarsia_lane_array", "AccBits", 15),
        ("intarsia_lane_array", "AccSlots", 17),
        ("intarsia_lane_array_dense", "Lanes", 4),
        ("intarsia_lane_array_dense", "Block", 4),
        ("intarsia_lane_array_dense", "WeightBits", 1),
        ("intarsia_lane_array_dense", "WeightBits", 9),
        ("intarsia_lane_array_dense", "AccBits", 19),
        ("intarsia_lane_array_dense", "AccSlots", 1),
    ],
)
def test_illegal_parameters_of_arrays_stop_elaboration(top: str, parameter: str, value: int, tmp_path: Path) -> None:
    legal = {"Lanes": 16, "Block": 16, "AccBits": 24, "AccSlots": 6}
    slots = {"Slots": 1, "SlotBits": 8, "PlaneShiftBits": 2, "Positions": 2, "Places": 0}
    legal |= {"WeightBits": 8} if top.endswith("dense") else slots
    if parameter == "Places":
        legal["Block"] = 8
    values = [f"-G{name}={number}" for name, number in (legal | {parameter: value}).items()]
    sources = map(str, array_sources(tmp_path))
    done = verilator(tmp_path, "--lint-only", "--top-module", top, *values, *sources)
    assert done.returncode != 0
    assert f"{parameter} must" in done.stderr or f"and {parameter} " in done.stderr
