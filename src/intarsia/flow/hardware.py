# SPDX-License-Identifier: Apache-2.0
"""The stage that compiles: the program with its memory images."""

from dataclasses import asdict
from pathlib import Path

from intarsia.engine import EngineConfig, Placement, Program, compile_network, config_for
from intarsia.engine.cycles import predict
from intarsia.engine.roofs import roofs
from intarsia.errors import IntarsiaError
from intarsia.files import read_json, save_tensors, write_json
from intarsia.flow.memories import memory_bits_available
from intarsia.flow.results import Compiled, FittedEngine
from intarsia.flow.task import Job, Records, required
from intarsia.integer import IntegerNetwork, file
from intarsia.synthesize.energy import inference_energy
from intarsia.synthesize.pdk import Pdk
from intarsia.typed_json import to_json

#: The task that fits the engine to the network of a run, as `STAGE/NAME`.
FIT = "fit/engine"

#: What `intarsia compile` writes for a network file.
PROGRAM_FILE, IMAGES_FILE = "program.json", "images.safetensors"


def engine_of(records: Records) -> EngineConfig:
    """Return the engine that is fitted to the network of a run."""
    return required(records, FIT, FittedEngine).engine


def compile_for(network: IntegerNetwork, engine: EngineConfig) -> Program:
    """Compile a trained network for the engine that was fitted before; should it not hold it, for one that does.

    Raises:
        IntarsiaError: no engine holds the network.
    """
    try:
        return compile_network(network, engine)
    except IntarsiaError:
        return compile_network(network, config_for(network, engine, least=engine, keep_lanes=True))


def compile_program(job: Job) -> Compiled:
    """Compile an integer network and write the program: descriptors as JSON, memory images as safetensors.

    Raises:
        IntarsiaError: a layer does not fit the engine.
    """
    network = file.load(job.input(job.task.needs[0], "safetensors"))
    program = compile_for(network, engine_of(job.records))
    write_program(program, job.product("program.json"), job.product("images.safetensors"))
    return Compiled(
        layers=predict(program),
        roofs=roofs(program),
        macs=tuple(layer.macs for layer in program.layers),
        memory_bits=program.memory_bits(),
        memory_bits_available=memory_bits_available(program.config),
        engine=program.config,
    )


def cycles_of_weight_layers(network: IntegerNetwork, engine: EngineConfig) -> dict[str, float]:
    """Return the cycles of each layer that has weights, by name, on an engine, or on one that has what else they need.

    Raises:
        IntarsiaError: a layer does not fit the engine.
    """
    names = {layer.output.name for layer in network.weight_layers()}
    layers = predict(compile_for(network, engine))
    return {layer.name: float(layer.cycles) for layer in layers if layer.name in names}


def energies_of_weight_layers(network: IntegerNetwork, engine: EngineConfig, pdk: Pdk) -> dict[str, float]:
    """Return an estimate of the energy of each layer that has weights, in nJ, by name, as `cycles_of_weight_layers`.

    Raises:
        IntarsiaError: a layer does not fit the engine, or the unit's energy was never measured.
    """
    names = {layer.output.name for layer in network.weight_layers()}
    program = compile_for(network, engine)
    layers = [layer for layer in predict(program) if layer.name in names]
    return {layer.name: inference_energy([layer], program.config, pdk) for layer in layers}


def write_program(program: Program, summary: Path, images: Path) -> None:
    """Write a program for people (JSON) and its memory images (safetensors, 32-bit words, least significant first).

    Raises:
        IntarsiaError: a file cannot be written.
    """
    write_json(
        summary,
        {
            "name": program.name,
            "engine": to_json(program.config),
            "input": _placement(program.input),
            "output": _placement(program.output),
            "memory_bits": program.memory_bits(),
            "layers": [
                {"name": layer.name, "kind": layer.kind, "macs": layer.macs, "descriptor": asdict(layer.descriptor)}
                for layer in program.layers
            ],
        },
    )
    arrays = {
        "weights": program.weights,
        "program": program.descriptors,
    }
    save_tensors(images, arrays)


def is_program(path: Path) -> bool:
    """Whether a file is what `write_program` writes for people."""
    try:
        content = read_json(path)
    except IntarsiaError:
        return False
    return isinstance(content, dict) and {"name", "engine", "memory_bits", "layers"} <= content.keys()


def _placement(placement: Placement) -> dict[str, object]:
    """Say where and how the host stores a tensor: rows and columns exchanged, as patches of a window, or with its
    channels in another order.
    """
    patches = None if placement.patches is None else asdict(placement.patches)
    return {
        "base": placement.base,
        "words": placement.words,
        "bits": placement.stored.bits,
        "offset": placement.stored.offset,
        "transposed": placement.transposed,
        "patches": patches,
        "order": placement.order,
    }
