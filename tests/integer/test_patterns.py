# SPDX-License-Identifier: Apache-2.0
"""Patterns and formats: their texts, what a frozen plane must keep, and what is stored for it, counted plainly."""

import math
from collections.abc import Callable, Hashable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError
from intarsia.integer import ActivationFormat, Conv2d, IntegerNetwork, Pattern, Plane, Requantization, Tensor
from intarsia.integer.effective import LayerBits, effective_bits
from intarsia.integer.formats import UNIT_KINDS, WeightFormat
from intarsia.integer.units import support, taken_units, unit_numbers
from random_planes import mixed_planes, random_plane

INT8 = ActivationFormat(8, signed=True)
SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.sampled_from([(5, 7, 3, 3), (32, 20, 1, 1), (6, 1, 3, 2), (9, 33, 1, 1), (1, 1, 1, 1), (16, 4, 2, 3)])
PATTERNS = st.one_of(
    st.sampled_from([Pattern(), Pattern("unstructured"), *map(Pattern, ("inputs", "outputs", "taps"))]),
    st.builds(lambda edge: Pattern("blocks", edge=edge), st.integers(2, 40)),
    st.builds(lambda n, more: Pattern("fixed", n, n + more), st.integers(1, 9), st.integers(0, 40)),
    st.builds(
        lambda n, more, group: Pattern("n:m", n, n + more, group),
        st.integers(1, 9),
        st.integers(0, 40),
        st.integers(1, 20),
    ),
)
UNITS = PATTERNS.filter(lambda pattern: pattern.kind in UNIT_KINDS)


@given(PATTERNS, st.booleans())
def test_a_pattern_reads_back_what_it_prints(pattern: Pattern, rest: bool) -> None:
    if pattern.kind in UNIT_KINDS:
        pattern = replace(pattern, rest=rest)
    assert Pattern.parse(str(pattern)) == pattern


NO_PATTERNS = (
    " n:m fixed inputz blocks blocksb blocks1 blocks-4 fixed1:4/2 fixed5:4 1:0 rest- rest-dense rest-unstructured "
    "rest-1:4 rest-rest-inputs inputs4 taps:2 1:4:2"
)


@pytest.mark.parametrize("text", NO_PATTERNS.split(" "))
def test_a_text_that_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(IntarsiaError):
        Pattern.parse(text)


def key_of(pattern: Pattern, depthwise: bool) -> Callable[[int, int, int], Hashable]:
    """Return what a weight (output, input, tap) shares with the others of its unit."""
    keys: dict[str, Callable[[int, int, int], Hashable]] = {
        "unstructured": lambda o, i, t: (o, i, t),
        "inputs": lambda o, i, t: o if depthwise else i,
        "outputs": lambda o, i, t: o,
        "blocks": lambda o, i, t: (o // pattern.edge, i // pattern.edge, t),
        "taps": lambda o, i, t: t,
    }
    return keys[pattern.kind]


def weights_by_unit(weights: NDArray[np.integer], pattern: Pattern, depthwise: bool) -> dict[Hashable, list[int]]:
    key, flat = key_of(pattern, depthwise), weights.reshape(*weights.shape[:2], -1)
    units: dict[Hashable, list[int]] = {}
    for (o, i, t), value in np.ndenumerate(flat):
        units.setdefault(key(o, i, t), []).append(int(value))
    return units


@given(SHAPES, UNITS | st.just(Pattern("unstructured")), st.booleans())
def test_units_are_numbered_without_gaps_and_hold_what_belongs_together(
    shape: tuple[int, ...], pattern: Pattern, depthwise: bool
) -> None:
    depthwise = depthwise and shape[1] == 1
    numbers = unit_numbers(shape, pattern, depthwise=depthwise)
    assert numbers.shape == shape
    units = weights_by_unit(numbers, pattern, depthwise)
    assert all(len(set(members)) == 1 for members in units.values())
    assert sorted(members[0] for members in units.values()) == list(range(len(units)))


def network_of(planes: list[Plane], *, depthwise: bool = False) -> IntegerNetwork:
    shape = planes[0].weights.shape
    zeros = np.zeros(shape[0], np.int32)
    requantization = Requantization(zeros, zeros, zeros, -128, 127)
    output = Tensor("layer", (shape[0], 1, 1), INT8, 1.0)
    source = Tensor("input", (shape[0] if depthwise else shape[1], *shape[2:]), INT8, 1.0)
    layer = Conv2d("input", output, tuple(planes), requantization, depthwise=depthwise)
    return IntegerNetwork("one", source, (layer,), 8)


def stored(network: IntegerNetwork) -> LayerBits:
    return effective_bits(network).layers[0]


def index_bits(count: int) -> int:
    return max(1, math.ceil(math.log2(count)))


@settings(max_examples=150)
@given(SEEDS, SHAPES, UNITS, st.sampled_from(["int8", "int3", "ternary"]), st.floats(0, 1))
def test_whole_units_store_all_their_values_and_an_index_each(
    seed: int, shape: tuple[int, ...], pattern: Pattern, name: str, density: float
) -> None:
    depthwise = seed % 2 == 0 and shape[1] == 1
    rng = np.random.default_rng(seed)
    base = random_plane(rng, shape, name, Pattern())
    plane = random_plane(rng, shape, name, Pattern())
    numbers = unit_numbers(shape, pattern, depthwise=depthwise)
    kept = (rng.random(int(numbers.max()) + 1) < density)[numbers]
    plane = replace(plane, weights=plane.weights * kept, pattern=pattern)
    units = weights_by_unit(plane.weights, pattern, depthwise)
    taken = [members for members in units.values() if any(members)]
    alone, found = (
        stored(network_of([base], depthwise=depthwise)),
        stored(network_of([base, plane], depthwise=depthwise)),
    )
    assert found.planes - alone.planes == plane.format.stored_bits(sum(map(len, taken)))
    assert found.indices == len(taken) * index_bits(len(units))
    assert found.scales == alone.scales  # a channel has one, whatever its planes
    if pattern.kind == "blocks":
        full = min(pattern.edge, shape[0]) * min(pattern.edge, shape[1]) * len(taken)
        filling = plane.format.stored_bits(full) - plane.format.stored_bits(sum(map(len, taken)))
        assert found.padding - alone.padding == filling


@settings(max_examples=100)
@given(SEEDS, SHAPES)
def test_a_mix_stores_every_weight_once_and_no_index_for_the_rest(seed: int, shape: tuple[int, ...]) -> None:
    planes = mixed_planes(np.random.default_rng(seed), shape)
    pattern = replace(planes[0].pattern, rest=False)
    units = [weights_by_unit(plane.weights, pattern, False) for plane in planes]
    values = indices = 0
    taken: set[Hashable] = set()
    for plane, members in zip(planes[:-1], units[:-1], strict=True):
        own = [key for key, weights in members.items() if any(weights)]
        values += plane.format.stored_bits(sum(len(members[key]) for key in own))
        indices += len(own)
        taken |= set(own)
    left = [key for key in units[-1] if key not in taken]
    empty = [key for key in left if not any(units[-1][key])]
    if not planes[-1].format.has_zero:  # what is zero everywhere cannot be stored, so it must be marked
        indices += len(empty)
        left = [key for key in left if key not in empty]
    values += planes[-1].format.stored_bits(sum(len(units[-1][key]) for key in left))
    found = stored(network_of(planes))
    assert found.planes == values
    assert found.indices == indices * index_bits(len(units[0]))


def test_fixed_positions_store_no_index() -> None:
    rng, shape = np.random.default_rng(0), (20, 24, 3, 3)
    planes = [
        random_plane(rng, shape, "ternary", Pattern()),
        random_plane(rng, shape, "int8", Pattern.parse("fixed2:16")),
    ]
    alone, both = stored(network_of(planes[:1])), stored(network_of(planes))
    assert both.indices == 0
    assert both.planes - alone.planes == 20 * 9 * 4 * 8
    assert both.padding - alone.padding == 12 * 9 * 4 * 8


def test_binary_weights_take_a_bit_each() -> None:
    shape = (16, 32, 3, 3)
    found = stored(network_of([random_plane(np.random.default_rng(0), shape, "binary", Pattern())]))
    assert (found.planes, found.indices, found.padding) == (16 * 32 * 9, 0, 0)
    assert WeightFormat("binary").limit == 1


@given(SEEDS, SHAPES, PATTERNS)
def test_the_support_of_a_plane_covers_its_weights(seed: int, shape: tuple[int, ...], pattern: Pattern) -> None:
    weights = random_plane(np.random.default_rng(seed), shape, "int2", pattern).weights
    covered = support(weights, pattern)
    assert covered.shape == shape
    assert not (weights != 0)[~covered].any()
    if pattern.kind in UNIT_KINDS:
        numbers = unit_numbers(shape, pattern)
        assert np.array_equal(taken_units(covered.astype(np.int8), numbers), taken_units(weights, numbers))


def plane_of(weights: list[list[int]], name: str, pattern: str) -> Plane:
    values = np.array(weights, np.int8)[:, :, None, None]
    return Plane(values, WeightFormat(name), Pattern.parse(pattern))


@pytest.mark.parametrize(
    ("planes", "sentence"),
    [
        ([([[1, 0, 0, 1]], "int8", "fixed1:2")], "plane 0: has weights beyond the first 1 in 2"),
        ([([[1, -1, 0, 1]], "binary", "dense")], "plane 0: a binary weight is 0"),
        ([([[1, -1], [1, 0]], "binary", "outputs")], "plane 0: a binary weight is 0"),
        ([([[1, 0, 1, 1]], "binary", "fixed3:3")], "plane 0: a binary weight is 0"),
        ([([[1, 0, 1, 0]], "binary", "1:2")], "binary weights have no 0 for an empty place of 1:2"),
        ([([[1, 2]], "binary", "dense")], "outside -1 … 1"),
        ([([[1, 0]], "int8", "rest-inputs")], "plane 0: its pattern rest-inputs needs a plane before it"),
        (
            [([[1, 0], [0, 0]], "int8", "outputs"), ([[0, 1], [1, 1]], "int2", "rest-outputs")],
            "plane 1: has weights where a plane before it has, against its pattern rest-outputs",
        ),
    ],
)
def test_a_plane_against_its_pattern_or_format_is_refused(
    planes: list[tuple[list[list[int]], str, str]], sentence: str
) -> None:
    with pytest.raises(IntarsiaError, match=sentence):
        network_of([plane_of(*plane) for plane in planes])


def test_what_patterns_and_formats_allow_is_taken() -> None:
    network_of([plane_of([[7, 0, 0], [5, 0, 0]], "int8", "fixed1:999999999")])
    network_of([plane_of([[1, -1], [0, 0]], "binary", "outputs"), plane_of([[0, 0], [0, 3]], "int3", "rest-outputs")])
    network_of([plane_of([[9, 0], [0, 0]], "int8", "blocks999999999")])
    network_of([plane_of([[1, 0], [0, -1]], "binary", "unstructured")])
