# SPDX-License-Identifier: Apache-2.0
"""Where sparse weights lie in the hardware: what is chosen for a network, what holds what, how blocks are packed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.engine.fitting import engine_for
from intarsia.engine.units import Dense, Occupied, Planes, Positions, Superposition
from intarsia.errors import IntarsiaError
from intarsia.integer import (
    ActivationFormat,
    Conv2d,
    IntegerNetwork,
    Linear,
    Pattern,
    Plane,
    Requantization,
    Tensor,
    WeightFormat,
)
from intarsia.integer.formats import trit_bits
from random_planes import random_plane

INT8 = ActivationFormat(8, signed=True)


def convolution(
    *patterns: str, outputs: int = 32, inputs: int = 32, kernel: int = 3, size: int = 6, depthwise: bool = False
) -> IntegerNetwork:
    """Convolutions in a row, each with a ternary plane and a sparse one of a pattern (none where that is empty)."""
    rng, layers, source = np.random.default_rng(3), [], Tensor("input", (inputs, size, size), INT8, 1.0)
    x = source
    for number, pattern in enumerate(patterns):
        shape = (outputs, 1 if depthwise else x.shape[0], kernel, kernel)
        planes = [random_plane(rng, shape, "ternary", Pattern(), shift=1)]
        if pattern:
            planes.append(random_plane(rng, shape, "int4", Pattern.parse(pattern)))
        ones, edge = np.ones(outputs, np.int64), kernel // 2
        output = Tensor(f"conv{number}", (outputs, *x.shape[1:]), INT8, 1.0)
        requantization = Requantization(ones, 0 * ones, 6 * ones, -128, 127)
        layers.append(Conv2d(x.name, output, tuple(planes), requantization, padding=(edge,) * 4, depthwise=depthwise))
        x = output
    return IntegerNetwork("row", source, tuple(layers), 6)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (convolution(""), (0, "own", ())),
        (convolution("1:16"), (1, "own", ())),
        (convolution("1:16/4"), (1, "own", ())),
        (convolution("1:16/16"), (1, "shared", ())),
        (convolution("1:16/32"), (1, "shared", ())),
        (convolution("1:16/10", outputs=10), (1, "shared", ())),  # all outputs, in one tile
        (convolution("2:16/16"), (2, "shared", ())),
        (convolution("fixed1:16"), (1, "fixed", (0,))),
        (convolution("fixed1:8"), (2, "fixed", (0, 8))),
        (convolution("fixed2:32"), (2, "fixed", (0, 1))),
        (convolution("fixed1:12"), (2, "shared", ())),  # of 32 channels 0, 12 and 24: places 0, 8 and 12
        (convolution("fixed1:16", "", "fixed1:16"), (1, "fixed", (0,))),  # a layer without a plane takes any
        (convolution("fixed1:16", "1:16/16"), (1, "shared", ())),
        (convolution("fixed1:16", "1:16"), (1, "own", ())),
        (convolution("outputs", depthwise=True), (1, "own", ())),
    ],
)
def test_a_network_gets_the_most_regular_positions_that_all_its_layers_allow(
    network: IntegerNetwork, expected: tuple[int, Positions, tuple[int, ...]]
) -> None:
    config = config_for(network)
    unit = config.unit
    assert isinstance(unit, Superposition)
    assert (unit.slots, unit.positions, unit.places) == expected
    assert compile_network(network, config).config == config
    free = config_for(network, EngineConfig()).weight_bits * config.weight_parts
    assert config.block_bits <= free


def whole_inputs(chosen: list[int], inputs: int = 64) -> IntegerNetwork:
    """A 1×1 convolution whose sparse plane is of whole input channels."""
    network = convolution("", inputs=inputs, kernel=1)
    [layer] = network.weight_layers()
    weights = np.zeros((32, inputs, 1, 1), np.int64)
    weights[:, chosen] = np.random.default_rng(5).integers(1, 7, (32, len(chosen), 1, 1), endpoint=True)
    plane = Plane(weights, WeightFormat("int4"), Pattern("inputs"))
    return replace(network, layers=(replace(layer, planes=(*layer.planes, plane)),))


def test_whole_inputs_take_as_many_shared_slots_as_the_densest_block() -> None:
    unit = config_for(whole_inputs([3, 5, 9, 20, 40, 60])).unit
    assert unit == Superposition(3, 4, 1, "shared")
    assert config_for(whole_inputs([3, 19, 35])).unit == Superposition(1, 4, 1, "fixed", (3,))
    crowded = whole_inputs([0, 1, 2, 3, 4])
    with pytest.raises(IntarsiaError, match=r"a block of a lane holds 5 sparse weights, .* at most 4 slots"):
        config_for(crowded)
    assert isinstance(engine_for(crowded).unit, Dense)  # the sum of the planes


def test_an_input_that_is_unfolded_counts_by_its_blocks_not_by_its_pattern() -> None:
    """Whole taps of one channel become some positions of a block of patches, the same for all lanes."""
    network = convolution("", inputs=1, kernel=5, size=8)
    [layer] = network.weight_layers()
    weights = np.zeros((32, 1, 5, 5), np.int64)
    weights[:, 0, 2, 2] = weights[:, 0, 4, 4] = 5
    plane = Plane(weights, WeightFormat("int4"), Pattern("taps"))
    network = replace(network, layers=(replace(layer, planes=(*layer.planes, plane)),))
    program = compile_network(network)
    assert program.input.patches is not None
    # Taps 12 and 24 of 25: position 12 of the first block and 8 of the second.
    assert program.config.unit == Superposition(1, 4, 1, "shared")


def test_a_linear_layer_over_an_image_shares_positions() -> None:
    rng, ones = np.random.default_rng(1), np.ones(10, np.int64)
    shape = (10, 32, 2, 2)
    planes = random_plane(rng, shape, "ternary", Pattern()), random_plane(rng, shape, "int8", Pattern.parse("1:16/16"))
    layer = Linear(
        "input", Tensor("fc", (10, 1, 1), INT8, 1.0), planes, Requantization(ones, 0 * ones, 9 * ones, -128, 127)
    )
    unit = config_for(IntegerNetwork("fc", Tensor("input", (32, 2, 2), INT8, 1.0), (layer,), 6)).unit
    assert isinstance(unit, Superposition)
    assert unit.positions == "shared"


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        (Superposition(1, 4, 1, "fixed", (0,)), r"positions shared \(not fixed\)"),
        (Superposition(0, 2, 1), r"slots 1 \(not 0\)"),
    ],
)
def test_an_engine_of_more_regular_positions_says_what_is_missing(unit: Superposition, reason: str) -> None:
    with pytest.raises(IntarsiaError, match=reason):
        compile_network(convolution("1:16/16"), EngineConfig(unit=unit, weight_depth=4096))


def test_places_that_an_engine_lacks_are_named() -> None:
    with pytest.raises(IntarsiaError, match=r"places \(0,\) \(not \(1,\)\)"):
        compile_network(convolution("fixed1:16"), EngineConfig(unit=Superposition(1, 4, 1, "fixed", (1,))))


def test_positions_shared_by_few_outputs_run_on_an_engine_with_a_shared_slot_for_each() -> None:
    """One of its own for each lane takes fewer slots, so nobody chooses this; but the engine runs it."""
    network = convolution("1:16/8")
    assert config_for(network).unit == Superposition(1, 4, 1)
    compile_network(network, EngineConfig(unit=Superposition(2, 4, 1, "shared"), weight_depth=4096))


def units() -> st.SearchStrategy[Superposition]:
    def unit(slots: int, bits: int, shift: int, positions: Positions, places: list[int]) -> Superposition:
        if not slots:
            return Superposition(0, bits, shift)
        fixed = tuple(sorted(places[:slots])) if positions == "fixed" else ()
        return Superposition(slots, bits, shift, positions, fixed)

    kinds: st.SearchStrategy[Positions] = st.sampled_from(("own", "shared", "fixed"))
    places = st.lists(st.integers(0, 5), min_size=4, max_size=4, unique=True)
    return st.builds(unit, st.integers(0, 4), st.integers(2, 8), st.integers(0, 3), kinds, places)


def occupied() -> st.SearchStrategy[Occupied]:
    def of(blocks: list[list[int]], common: bool) -> Occupied:
        here = np.zeros((len(blocks), 2, 16), bool)
        for number, places in enumerate(blocks):
            for each, place in enumerate(places):
                here[number, each % 2, place] = True
        return Occupied(
            int(here.sum(axis=-1).max()),
            int(here.any(axis=1).sum(axis=-1).max()),
            tuple(np.flatnonzero(here.any(axis=(0, 1))).tolist()),
            common,
        )

    return st.builds(of, st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=1, max_size=3), st.booleans())


@given(units(), units(), occupied())
def test_what_holds_a_unit_has_room_for_all_that_it_runs(
    one: Superposition, other: Superposition, where: Occupied
) -> None:
    assert one.check(16, 16) is None
    assert one.holds(one)
    both = one.joined(other)
    assert both.check(16, 16) is None
    assert both.holds(one)
    assert both.holds(other)
    assert one.holds(other) == (not one.lacks(other))
    if one.holds(other) and other.has_room(where):
        assert one.has_room(where)


@given(units(), st.data())
def test_blocks_hold_every_weight_where_the_lanes_read_it(unit: Superposition, data: st.DataObject) -> None:
    """Unpacked by the layout that the lane array documents."""
    lanes, block = data.draw(st.sampled_from([(8, 8), (8, 16), (16, 16)]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    slots = np.zeros((3, lanes, block), np.int64)
    limit = 1 << (unit.slot_bits - 1)
    for number in range(3):
        common = rng.permutation(block)[: unit.slots]
        for lane in range(lanes):
            own = rng.permutation(block)[: unit.slots]
            places = {"own": own, "shared": common, "fixed": np.array(unit.places, np.int64)}[unit.positions]
            slots[number, lane, places] = rng.integers(-limit, limit, len(places))
    dense = rng.integers(-1, 2, slots.shape)
    bits = unit.packed(dense, slots, block)
    assert bits.shape == (3, unit.block_bits(lanes, block))
    assert bits.shape[1] % 4 == 0
    index_bits = (block - 1).bit_length()
    field = unit.slot_bits + (index_bits if unit.positions == "own" else 0)
    lane_bits = trit_bits(block) + unit.slots * field

    def number_of(piece: NDArray[np.uint8]) -> int:
        return int((piece.astype(np.int64) << np.arange(len(piece))).sum())

    found = np.zeros_like(slots)
    for block_number, lane, slot in np.ndindex(3, lanes, unit.slots):
        at = lane * lane_bits + trit_bits(block) + slot * field
        word = bits[block_number]
        value = number_of(word[at : at + unit.slot_bits])
        value -= (value >> (unit.slot_bits - 1)) << unit.slot_bits
        indices: dict[str, Any] = {
            "own": lambda word=word, at=at: number_of(word[at + unit.slot_bits : at + field]),
            "shared": lambda word=word, slot=slot: number_of(
                word[lanes * lane_bits + slot * index_bits : lanes * lane_bits + (slot + 1) * index_bits]
            ),
            "fixed": lambda slot=slot: unit.places[slot],
        }
        found[block_number, lane, indices[unit.positions]()] += value
    np.testing.assert_array_equal(found, slots)


def test_weights_elsewhere_are_refused() -> None:
    slots = np.zeros((1, 8, 8), np.int64)
    slots[0, 0, 1] = slots[0, 1, 2] = 1
    for unit in (Superposition(1, 4, 0, "shared"), Superposition(1, 4, 0, "fixed", (1,))):
        with pytest.raises(ValueError, match="positions"):
            unit.packed(0 * slots, slots, 8)


@pytest.mark.parametrize(
    ("unit", "name"),
    [
        (Superposition(0, 2, 0, "shared"), "positions"),
        (Superposition(1, 4, 0, "free"), "positions"),  # type: ignore[arg-type]
        (Superposition(2, 4, 0, "fixed", (1,)), "places"),
        (Superposition(2, 4, 0, "fixed", (3, 1)), "places"),
        (Superposition(2, 4, 0, "fixed", (1, 1)), "places"),
        (Superposition(1, 4, 0, "fixed", (16,)), "places"),
        (Superposition(1, 4, 0, "own", (1,)), "places"),
    ],
)
def test_illegal_positions_are_named(unit: Superposition, name: str) -> None:
    with pytest.raises(IntarsiaError, match=rf"engine parameter {name} is .*, it must be "):
        EngineConfig(unit=unit)


def test_a_scheme_says_which_positions_hold_whatever_the_weights_will_be() -> None:
    def unit(*patterns: str, depthwise: bool = False) -> Superposition:
        form = WeightFormat("ternary"), WeightFormat("int8")
        planes = [Planes(form[0], form[1], Pattern.parse(each), depthwise=depthwise) for each in patterns]
        return Superposition().for_planes([Planes(form[0]), *planes], 16, 16)

    assert unit() == Superposition(0, 2, 0)
    assert unit("1:16") == Superposition(1, 8, 3)
    assert unit("1:16/4") == Superposition(1, 8, 3)
    assert unit("1:16/32") == Superposition(1, 8, 3, "shared")
    assert unit("2:16/16", "inputs") == Superposition(2, 8, 3, "shared")
    assert unit("fixed1:8") == Superposition(2, 8, 3, "fixed", (0, 8))
    assert unit("fixed1:12") == Superposition(2, 8, 3, "shared")
    assert unit("fixed1:16", "fixed2:16") == Superposition(2, 8, 3, "fixed", (0, 1))
    assert unit("fixed1:16", "1:16") == Superposition(1, 8, 3)
    assert unit("1:16/16", depthwise=True) == Superposition(1, 8, 3)
