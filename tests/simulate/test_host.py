# SPDX-License-Identifier: Apache-2.0
"""The memory port; reset in the middle of a run; faults, after which the engine is used again."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from intarsia.engine import EngineConfig, Program, compile_network
from intarsia.engine.cycles import predict
from intarsia.engine.layout import DESCRIPTOR_WORDS, LOOPS, REGION_SHIFT, REGIONS, Descriptor
from intarsia.errors import IntarsiaError
from intarsia.simulate import SimulatedEngine
from random_networks import random_images, random_network


@pytest.fixture(scope="module")
def case() -> tuple[Program, NDArray[np.integer]]:
    rng = np.random.default_rng(4)
    network = random_network(rng, depth=4)
    return compile_network(network, EngineConfig()), random_images(rng, network, 1)[0]


def cycles(program: Program) -> int:
    return sum(layer.cycles for layer in predict(program))


def test_only_activations_are_read(case: tuple[Program, NDArray[np.integer]]) -> None:
    program, image = case
    with SimulatedEngine(program) as engine:
        engine.run(image)
        for region in ("Weights", "Program"):
            assert [engine.read_word((REGIONS[region] << REGION_SHIFT) + offset) for offset in range(4)] == [0] * 4
        assert [engine.read_word(offset) for offset in range(40)] == [0] * 40


def write_descriptor(engine: SimulatedEngine, descriptor: Descriptor) -> None:
    """Put another first layer into the engine's program memory."""
    for offset, word in enumerate(descriptor.words()):
        engine.write_word((REGIONS["Program"] << REGION_SHIFT) + offset, word)


#: Changes of the first descriptor, as functions of the engine, that end a program before its first layer.
FAULTS: dict[str, Callable[[EngineConfig], dict[str, int]]] = {
    **{name: lambda config, name=name: {name: 0} for name in LOOPS},
    "bounds": lambda config: {"lo": 5, "hi": 4},
    "in_base": lambda config: {"in_base": config.act_depth},
    "out_base": lambda config: {"out_base": config.act_depth},
    "residual_base": lambda config: {"residual": 1, "residual_base": config.act_depth},
    "weight_base": lambda config: {"weight_base": config.weight_depth},
    "window": lambda config: {"window": 1, "new_columns": 0},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_layer_that_cannot_be_run_is_refused(case: tuple[Program, NDArray[np.integer]], fault: str) -> None:
    program, image = case
    with SimulatedEngine(program) as engine:
        expected = engine.run(image, trace=True)
        for _ in range(2):
            changed = replace(program.layers[0].descriptor, **FAULTS[fault](program.config))
            write_descriptor(engine, changed)
            with pytest.raises(IntarsiaError, match="begins a layer that cannot be run"):
                engine.run(image)
            again = engine.run(image, trace=True)
            assert again.counts == expected.counts
            for name, values in expected.values.items():
                np.testing.assert_array_equal(again.values[name], values, err_msg=name)


@pytest.mark.parametrize("field", ["in_row_pitch", "out_row_pitch", "tile_words"])
def test_an_access_beyond_a_memory_is_noticed(case: tuple[Program, NDArray[np.integer]], field: str) -> None:
    """Also where the address, cut to the memory's, would lie in it."""
    program, image = case
    with SimulatedEngine(program) as engine:
        expected = engine.run(image)
        write_descriptor(engine, replace(program.layers[0].descriptor, tiles=9, **{field: 1 << 14}))
        with pytest.raises(IntarsiaError, match="goes beyond the end of a memory"):
            engine.run(image)
        assert engine.run(image).counts == expected.counts


def test_a_program_without_a_last_layer_goes_beyond_its_memory(case: tuple[Program, NDArray[np.integer]]) -> None:
    """Also where the memory has 2^n words, so that the next address would be the first one again."""
    program, image = case
    depth = program.config.program_depth
    assert depth & (depth - 1) == 0
    layer = program.layers[0]
    endless = replace(layer, descriptor=replace(layer.descriptor, last=0))
    full = replace(program, layers=(endless,) * (depth // DESCRIPTOR_WORDS))
    with SimulatedEngine(full) as engine, pytest.raises(IntarsiaError, match="goes beyond the end of a memory"):
        engine.run(image)


def test_an_address_beyond_the_memories_is_caught(case: tuple[Program, NDArray[np.integer]]) -> None:
    program, image = case
    with SimulatedEngine(program) as engine:
        with pytest.raises(IntarsiaError, match="an assertion of the hardware failed"):
            engine.write_word((REGIONS["Program"] << REGION_SHIFT) + program.config.program_depth, 1)
        engine.run(image)


def test_an_engine_that_never_ends_is_stopped_soon_and_used_again(case: tuple[Program, NDArray[np.integer]]) -> None:
    program, image = case
    with SimulatedEngine(program) as engine:
        expected = engine.run(image)
        # Far more rows than the program has, all in one place.
        write_descriptor(engine, replace(program.layers[0].descriptor, out_height=60_000, out_row_pitch=0))
        with pytest.raises(IntarsiaError, match=rf"not ended .* the cycle model predicts {cycles(program):,};"):
            engine.run(image)
        assert engine.run(image).counts == expected.counts


@pytest.mark.parametrize("field", ["blocks", "out_width", "tile_pixels"])
def test_of_two_engines_the_broken_one_is_named(case: tuple[Program, NDArray[np.integer]], field: str) -> None:
    """Engines run in threads of their own; a descriptor with an empty loop is one engine's fault alone."""
    good, image = case
    first = good.layers[0]
    bad_layer = replace(first, descriptor=replace(first.descriptor, **{field: 0}))
    bad = replace(good, layers=(bad_layer, *good.layers[1:]))
    with SimulatedEngine(bad) as broken, SimulatedEngine(good) as sound, ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(engine.run, image) for engine in (broken, sound)]
        with pytest.raises(IntarsiaError, match="cannot be run"):
            runs[0].result()
        assert runs[1].result().cycles == cycles(good)
