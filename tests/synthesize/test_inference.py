# SPDX-License-Identifier: Apache-2.0
"""A small engine, mapped to the real library, and two layers that run on its netlist."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from intarsia.engine import EngineConfig, Program, compile_network
from intarsia.engine.cycles import predict
from intarsia.engine.layout import DESCRIPTOR_WORDS
from intarsia.engine.units import Superposition
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork
from intarsia.synthesize.inference import PERIOD_NS, InferenceEnergy, PlacedEngine
from intarsia.synthesize.netlist.flat import NO_NET
from intarsia.synthesize.netlist.power import PartEnergy
from intarsia.synthesize.netlist.run import START_CYCLES, LayerActivity, run_program
from intarsia.synthesize.netlist.simulation import NetlistSimulation
from intarsia.synthesize.netlist.trees import MOST_SINKS
from intarsia.synthesize.netlist.wires import Sinks
from intarsia.synthesize.pdk import Pdk
from random_networks import Fit, random_images, random_layer_network

pytestmark = pytest.mark.pdk

CONFIG = EngineConfig(unit=Superposition(1, 4, 1), lanes=8, block=8, requant_lanes=1, acc_slots=2, tile_pixels=2,
                      act_banks=2, act_depth=256, weight_depth=1024, program_depth=64)  # fmt: skip
FIELDS = ("internal", "nets", "clock", "leakage")
MEMORIES = ("activation memory", "weight memory", "program memory")


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    """A convolution and one that adds its result, of full tiles of channels."""
    rng, fit = np.random.default_rng(12), Fit.of(CONFIG)
    return random_layer_network(rng, "residual", channels=(16, 16), size=(5, 6), max_kernel=3, max_stride=1, fit=fit)


@pytest.fixture(scope="module")
def image(network: IntegerNetwork) -> NDArray[np.integer]:
    return random_images(np.random.default_rng(1), network, 1)[0]


@pytest.fixture(scope="module")
def program(network: IntegerNetwork) -> Program:
    return compile_network(network, CONFIG)


@pytest.fixture(scope="module")
def engine(pdk: Pdk) -> PlacedEngine:
    return PlacedEngine(CONFIG, pdk)


@pytest.fixture(scope="module")
def energy(
    engine: PlacedEngine, network: IntegerNetwork, program: Program, image: NDArray[np.integer]
) -> InferenceEnergy:
    """What the whole inference takes; the netlist computed the network's result, or this would have failed."""
    return engine.energy(network, program, image)


@pytest.fixture(scope="module")
def counted(engine: PlacedEngine, program: Program, image: NDArray[np.integer]) -> tuple[LayerActivity, ...]:
    with NetlistSimulation(engine.netlist, engine.times, engine.memories, period_ns=PERIOD_NS) as simulation:
        return run_program(simulation, program, image)[1]


def whole(parts: tuple[PartEnergy, ...]) -> float:
    return sum(getattr(part, field) for part in parts for field in FIELDS)


def test_the_total_is_the_sum_of_the_parts_and_of_the_layers(energy: InferenceEnergy) -> None:
    assert whole(energy.parts) == pytest.approx(energy.total, rel=1e-12)
    assert sum(whole(layer.parts) for layer in energy.layers) == pytest.approx(energy.total, rel=1e-12)
    names = [part.name for part in energy.parts]
    assert len(set(names)) == len(names)
    assert {"lanes", "requantization and drain", "clock input", *MEMORIES} < set(names)
    for part in energy.parts:
        assert part.total > 0
        in_layers = [sum(p.total for p in layer.parts if p.name == part.name) for layer in energy.layers]
        assert sum(in_layers) == pytest.approx(part.total, rel=1e-12)
        assert part.total == pytest.approx(sum(getattr(part, field) for field in FIELDS), rel=1e-12)


def test_layers_take_the_cycles_of_the_cycle_model(energy: InferenceEnergy, program: Program) -> None:
    expected = [(layer.name, layer.cycles) for layer in predict(program)]
    assert [(layer.name, layer.cycles) for layer in energy.layers] == expected


def test_accesses_on_the_netlist_are_those_of_the_cycle_model(
    counted: tuple[LayerActivity, ...], program: Program, energy: InferenceEnergy, engine: PlacedEngine
) -> None:
    layers = predict(program)
    reads = dict.fromkeys(("u_activations", "u_weight_memory", "u_program_memory"), 0)
    writes, taken = dict(reads), dict.fromkeys(reads, 0.0)
    for layer in counted:
        [(activity, times)] = layer.parts
        assert times == 1
        for path, model in engine.memories.items():
            name = path.split(".")[0]
            reads[name] += activity.reads[path].sum()
            writes[name] += activity.writes[path].sum()
            taken[name] += activity.reads[path] @ model.read_pj + activity.writes[path] @ model.write_pj
    assert reads["u_activations"] == sum(layer.activation_reads + layer.residual_reads for layer in layers)
    assert writes["u_activations"] == sum(layer.activation_writes for layer in layers)
    assert reads["u_weight_memory"] == sum(layer.weight_reads + layer.parameter_reads for layer in layers)
    assert reads["u_program_memory"] == DESCRIPTOR_WORDS * len(layers)
    assert writes["u_weight_memory"] == writes["u_program_memory"] == 0
    internal = {part.name: part.internal for part in energy.parts}
    assert [internal[name] for name in MEMORIES] == pytest.approx(list(taken.values()), rel=1e-12)


def test_what_is_counted_of_a_part_is_counted_of_its_cells(
    counted: tuple[LayerActivity, ...], energy: InferenceEnergy, engine: PlacedEngine
) -> None:
    """Nets: each change takes C·V²/2, those that the bus drives apart; leakage: the time times what all leak."""
    toggles = sum(activity.toggles for layer in counted for activity, _ in layer.parts)
    driven = toggles * engine.loads * engine.cells.voltage**2 / 2
    from_outside = [net for name in engine.netlist.drives for net in engine.netlist.ports[name]]
    driven[[0, 1, *from_outside]] = 0
    assert sum(part.nets for part in energy.parts) == pytest.approx(driven.sum(), rel=1e-9)
    leaks = sum(engine.netlist.models[kind].leakage_nw for kind in engine.netlist.kinds)
    leaks += sum(memory.leakage_nw for memory in engine.memories.values())
    time_ns = sum(layer.cycles for layer in energy.layers) * energy.period_ns
    assert sum(part.leakage for part in energy.parts) == pytest.approx(leaks * time_ns * 1e-6, rel=1e-9)


def test_a_sample_of_each_layer_comes_close(
    engine: PlacedEngine,
    network: IntegerNetwork,
    program: Program,
    image: NDArray[np.integer],
    energy: InferenceEnergy,
) -> None:
    """400 of 1,832 and of 1,839 cycles; observed: 0.9 % more."""
    sampled = engine.energy(network, program, image, cycles=400)
    assert sampled.sampled == 400
    assert [(layer.name, layer.cycles) for layer in sampled.layers] == [(x.name, x.cycles) for x in energy.layers]
    assert sampled.total == pytest.approx(energy.total, rel=0.05)
    assert whole(sampled.parts) == pytest.approx(sampled.total, rel=1e-12)
    entire = engine.energy(network, program, image, cycles=10_000)  # whole layers, each as if it were the first
    assert entire.total == pytest.approx(energy.total, rel=0.02)
    with pytest.raises(IntarsiaError, match=f"its start takes {START_CYCLES}; give more than that"):
        engine.energy(network, program, image, cycles=START_CYCLES)


def test_timing_and_simulation_agree_on_when_all_is_settled(engine: PlacedEngine, energy: InferenceEnergy) -> None:
    path = engine.timing.path
    assert 0 < energy.settled_ns < path.period_ns < PERIOD_NS
    times = [step.time_ns for step in path.steps]
    assert all(first < second for first, second in pairwise(times))
    assert path.start
    assert path.end
    netlist, sinks = engine.netlist, Sinks(engine.netlist)
    assert sinks.counts[2:].max() <= MOST_SINKS
    for place, column in enumerate(netlist.outputs.T):
        cells = np.flatnonzero(column != NO_NET)
        models = [netlist.models[kind] for kind in netlist.kinds[cells]]
        most = np.array([model.pins[model.outputs[place]].most_load for model in models])
        assert (engine.loads[column[cells]] <= most).all()
    timing = engine.timing
    assert timing.buffers > 0
    assert timing.buffers_um2 + timing.cells_um2 == pytest.approx(netlist.areas_um2.sum())


def test_a_result_that_is_not_the_networks_is_reported(
    engine: PlacedEngine, network: IntegerNetwork, program: Program, image: NDArray[np.integer]
) -> None:
    last = network.layers[-1]
    form = last.output.format
    other = replace(last, requantization=replace(last.requantization, lo=form.hi, hi=form.hi))
    changed = replace(network, layers=(*network.layers[:-1], other))
    with pytest.raises(IntarsiaError, match="the netlist computes something else than random residual"):
        engine.energy(changed, program, image)


def test_a_period_that_is_too_short_is_refused(
    engine: PlacedEngine, network: IntegerNetwork, program: Program, image: NDArray[np.integer]
) -> None:
    with pytest.raises(IntarsiaError, match="the netlist does not settle in 2 ns; choose a slower clock"):
        engine.energy(network, program, image, period_ns=2.0)
