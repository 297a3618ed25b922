# SPDX-License-Identifier: Apache-2.0
"""The host's bus: every register, what it must not reach, the interrupt, reset; assertions name their engine."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from intarsia.engine import EngineConfig, Program, compile_network
from intarsia.engine.cycles import predict
from intarsia.engine.layout import IDENTITY, REGION_SHIFT, REGIONS, REGISTERS, STATUS_BITS, Descriptor
from intarsia.errors import IntarsiaError
from intarsia.simulate import SimulatedEngine
from random_networks import random_images, random_network

BUSY, DONE = (1 << STATUS_BITS[name] for name in ("Busy", "Done"))


@pytest.fixture(scope="module")
def case() -> tuple[Program, NDArray[np.integer]]:
    rng = np.random.default_rng(4)
    network = random_network(rng, depth=4)
    return compile_network(network, EngineConfig()), random_images(rng, network, 1)[0]


def cycles(program: Program) -> int:
    return sum(layer.cycles for layer in predict(program))


def test_registers_before_and_after_a_run(case: tuple[Program, NDArray[np.integer]]) -> None:
    program, image = case
    with SimulatedEngine(program) as engine:
        assert engine.read_register("Identity") == IDENTITY
        assert engine.read_register("Control") == 0
        assert engine.read_register("Status") == 0
        assert not engine.interrupt
        run = engine.run(image)
        assert engine.read_register("Status") == DONE
        assert engine.interrupt
        assert engine.read_register("Cycles") == run.cycles == cycles(program)
        engine.write_register("Status", 0xFFFFFFFF ^ DONE)
        assert engine.interrupt
        engine.write_register("Status", DONE)
        assert not engine.interrupt
        assert engine.read_register("Status") == 0
        assert engine.read_register("Cycles") == run.cycles


def test_a_start_while_busy_is_ignored(case: tuple[Program, NDArray[np.integer]]) -> None:
    program, _ = case
    with SimulatedEngine(program) as engine:
        engine.write_register("Control", 2)
        assert engine.read_register("Status") == 0
        engine.write_register("Control", 1)
        for _ in range(20):
            engine.write_register("Control", 1)
            assert engine.read_register("Status") == BUSY
        assert not engine.interrupt
        while engine.read_register("Status") == BUSY:
            pass
        assert engine.interrupt
        assert engine.read_register("Cycles") == cycles(program)


def test_only_registers_and_activations_are_read(case: tuple[Program, NDArray[np.integer]]) -> None:
    program, image = case
    with SimulatedEngine(program) as engine:
        engine.run(image)
        for offset in range(len(REGISTERS), 40):
            engine.write_bus(offset, 1)
            assert engine.read_bus(offset) == 0
        assert engine.read_bus((1 << REGION_SHIFT) - 2) == 0
        for region in ("Weights", "Program"):
            assert [engine.read_bus((REGIONS[region] << REGION_SHIFT) + offset) for offset in range(4)] == [0] * 4
        assert engine.read_register("Status") == DONE
        assert engine.read_register("Cycles") == cycles(program)


def test_a_reset_in_the_middle_of_a_run(case: tuple[Program, NDArray[np.integer]]) -> None:
    program, image = case
    with SimulatedEngine(program) as engine:
        expected = engine.run(image, trace=True)
        for polls in (1, 5, 20):
            engine.write_register("Control", 1)
            for _ in range(polls):
                assert engine.read_register("Status") == BUSY
            engine.reset()
            assert engine.read_register("Status") == 0
            assert engine.read_register("Cycles") == 0
            again = engine.run(image, trace=True)
            assert again.counts == expected.counts
            for name, values in expected.values.items():
                np.testing.assert_array_equal(again.values[name], values, err_msg=name)


def test_memories_are_not_the_hosts_while_the_engine_runs(case: tuple[Program, NDArray[np.integer]]) -> None:
    """Writes in every region are ignored, reads give 0."""
    program, image = case
    touched = 0
    with SimulatedEngine(program) as engine:
        expected = engine.run(image)
        engine.write_register("Control", 1)
        # A touch takes a few cycles; the last ones are far enough from the end.
        while engine.read_register("Cycles") < cycles(program) - 50:
            region = ("Activations", "Weights", "Program")[touched % 3]
            for offset in range(4):  # a whole word
                engine.write_bus((REGIONS[region] << REGION_SHIFT) + offset, 0x5A5A5A5A)
            assert engine.read_bus(REGIONS[region] << REGION_SHIFT) == 0
            touched += 1
        while engine.read_register("Status") == BUSY:
            pass
        assert engine.read_register("Cycles") == cycles(program)
        np.testing.assert_array_equal(engine.run(image).output, expected.output)  # weights and program are as before
    assert touched > 10


def test_a_write_beyond_a_memory_is_caught(case: tuple[Program, NDArray[np.integer]]) -> None:
    program, _ = case
    with SimulatedEngine(program) as engine, pytest.raises(IntarsiaError, match="assertion"):
        engine.write_bus((REGIONS["Program"] << REGION_SHIFT) + program.config.program_depth, 1)


def write_descriptor(engine: SimulatedEngine, descriptor: Descriptor) -> None:
    """Put another first layer into the engine's program memory."""
    for offset, word in enumerate(descriptor.words()):
        engine.write_bus((REGIONS["Program"] << REGION_SHIFT) + offset, word)


@pytest.mark.parametrize("mistake", ["beyond the program memory", "beyond the activation memory", "empty loop"])
def test_an_engine_is_used_again_after_an_assertion(case: tuple[Program, NDArray[np.integer]], mistake: str) -> None:
    program, image = case

    def make(engine: SimulatedEngine) -> None:
        if mistake == "beyond the program memory":
            engine.write_bus((REGIONS["Program"] << REGION_SHIFT) + program.config.program_depth, 1)
        # The first word beyond the memory would be the first word of it, were its address cut off.
        change = {"blocks": 0} if mistake == "empty loop" else {"out_base": program.config.act_depth}
        write_descriptor(engine, replace(program.layers[0].descriptor, **change))
        engine.run(image)

    with SimulatedEngine(program) as engine:
        expected = engine.run(image, trace=True)
        for _ in range(2):
            with pytest.raises(IntarsiaError, match="an assertion of the hardware failed"):
                make(engine)
            assert engine.read_register("Status") == 0
            again = engine.run(image, trace=True)
            assert again.counts == expected.counts
            for name, values in expected.values.items():
                np.testing.assert_array_equal(again.values[name], values, err_msg=name)


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
        with pytest.raises(IntarsiaError, match="assertion"):
            runs[0].result()
        assert runs[1].result().cycles == cycles(good)
