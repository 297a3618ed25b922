# SPDX-License-Identifier: Apache-2.0
"""The stages that execute and compare: test accuracy, the ONNX graph, the simulated engine."""

import contextlib
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from intarsia.datasets.types import Dataset, SplitName
from intarsia.engine import Program
from intarsia.engine.cycles import LayerCycles, predict
from intarsia.errors import IntarsiaError
from intarsia.flow.data import load_data
from intarsia.flow.float_networks import float_model, learning, require_match
from intarsia.flow.hardware import compile_for, engine_of
from intarsia.flow.results import Score
from intarsia.flow.task import Job
from intarsia.integer import IntegerNetwork, file
from intarsia.integer.executor import Executor
from intarsia.packages import require
from intarsia.report.data import Exported, Simulated

Images = NDArray[np.integer]

_TEST: tuple[SplitName, ...] = ("test",)
#: Images that the executor traces at a time; bounds the memory of a comparison.
_TRACED = 50


def execute(job: Job) -> Score:
    """Run an integer network on the whole test set.

    Raises:
        IntarsiaError: the data or the network's file is missing or damaged.
    """
    network = file.load(job.input(job.task.needs[0], "safetensors"))
    data = test_data(job)
    executor, images = Executor(network), data.scaling.integers(data.test.images)
    with tqdm(total=len(images), unit="image", leave=False, disable=not job.progress) as bar:
        logits = executor.run(images, progress=bar.update)
    return _score(logits * np.float32(network.output.scale), data)


def execute_float(job: Job) -> Score:
    """Run the float network on the whole test set.

    Raises:
        IntarsiaError: PyTorch, the data or the weights are missing or damaged.
    """
    data = test_data(job)
    with learning(job):
        from intarsia.quantize.data import outputs_of  # noqa: PLC0415 (it brings PyTorch)

        model = float_model(job.settings)
        require_match(job, model, data)
        return _score(outputs_of(model, data.test.images, data.scaling).numpy(), data)


def export_onnx(job: Job) -> Exported:
    """Export an integer network to ONNX and compare every tensor in onnxruntime with the executor.

    Raises:
        IntarsiaError: a package is missing, or a layer's values differ.
    """
    require("onnx", "onnx")
    require("onnxruntime", "onnx")
    from intarsia.integer import onnx  # noqa: PLC0415 (an optional part)

    network = file.load(job.input(job.task.needs[0], "safetensors"))
    data = test_data(job)
    images = data.scaling.integers(data.test.images[: job.settings.onnx_images])
    onnx.export(network, job.product("onnx"))
    executor, values = Executor(network), 0
    with tempfile.TemporaryDirectory(prefix=".every-layer.", suffix=".part", dir=job.folder) as folder:
        every_layer = Path(folder) / "every-layer.onnx"
        onnx.export(network, every_layer, all_outputs=True)
        for start in tqdm(range(0, len(images), _TRACED), leave=False, disable=not job.progress):
            chunk = images[start : start + _TRACED]
            expected = executor.trace(chunk)
            result = onnx.execute(job.product("onnx"), chunk)[network.output.name]
            require_equal("the exported graph", network.output.name, result, expected[network.output.name], start)
            for name, found in onnx.execute(every_layer, chunk).items():
                require_equal("onnxruntime", name, found, expected[name], start)
                values += found.size
    return Exported(len(images), len(network.layers), values)


def simulate(job: Job) -> Simulated:
    """Run test images on the simulated engine; compare every value of every layer, and every count.

    Raises:
        IntarsiaError: a tool is missing, or a layer differs from the executor or the cycle model.
    """
    network = file.load(job.input(job.task.needs[0], "safetensors"))
    data = test_data(job)
    program = compile_for(network, engine_of(job.records))
    images = data.scaling.integers(data.test.images[: job.settings.simulated_images])
    return verify_on_engine(network, program, images, progress=job.progress)


def verify_on_engine(
    network: IntegerNetwork, program: Program, images: Images, *, progress: bool, cache: Path | None = None
) -> Simulated:
    """Run images (N, C, H, W) on the simulated engine and compare everything with executor and cycle model.

    Returns:
        How much was compared, and the cycles of an image by layer.

    Raises:
        IntarsiaError: a tool is missing, the images do not fit, or a layer differs.
    """
    from intarsia.simulate import SimulatedEngine  # noqa: PLC0415 (heavy only where it is used)

    if images.ndim != 4 or images.shape[1:] != network.input.shape:
        expected = ", ".join(map(str, network.input.shape))
        raise IntarsiaError(f"network {network.name} takes images of shape (N, {expected}), not {images.shape}.")
    if len(images) == 0:
        raise IntarsiaError("there are no images to simulate; give at least one.")
    model, executor = predict(program), Executor(network)
    workers = min(executor.threads, len(images))
    stop = threading.Event()
    input_cycles, cycles_by_layer = 0, [0] * len(model)

    def compare(engine: SimulatedEngine, number: int) -> int:
        nonlocal input_cycles, cycles_by_layer
        run = engine.run(images[number], trace=True)
        expected = executor.trace(images[number : number + 1])
        for layer, counts, predicted in zip(network.layers, run.counts, model, strict=True):
            name = layer.output.name
            require_equal("the simulated engine", name, run.values[name][None], expected[name], number)
            _require_counts(asdict(counts), predicted)
        output = network.output.name
        require_equal("the result read from the engine", output, run.output[None], expected[output], number)
        input_cycles, cycles_by_layer = run.input_cycles, [layer.cycles for layer in run.counts]
        return sum(values.size for values in run.values.values())

    def share(first: int) -> int:
        total = 0
        try:
            for number in range(first, len(images), workers):
                if stop.is_set():
                    break
                total += compare(engines[first], number)
                bar.update()
        except BaseException:
            stop.set()  # the result is settled; the other workers need not finish
            raise
        return total

    with (
        tqdm(total=len(images), unit="image", leave=False, disable=not progress) as bar,
        contextlib.ExitStack() as opened,
        ThreadPoolExecutor(workers) as pool,
    ):
        try:
            engines = [opened.enter_context(SimulatedEngine(program, cache=cache)) for _ in range(workers)]
            values = sum(pool.map(share, range(workers)))
        finally:
            stop.set()  # an interrupt waits for the images at work, not for all
    return Simulated(len(images), len(network.layers), values, tuple(cycles_by_layer), input_cycles)


def require_equal(who: str, layer: str, found: Images, expected: Images, first_image: int) -> None:
    """Refuse values (N, …) that differ from the executor's.

    Raises:
        IntarsiaError: names the layer, the first image that differs and how many values do.
    """
    if found.shape == expected.shape and np.array_equal(found, expected):
        return
    if found.shape != expected.shape:
        raise IntarsiaError(f"{who} gives layer {layer} the shape {found.shape}, the executor {expected.shape}.")
    wrong = found != expected
    image = first_image + int(np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))[0])
    raise IntarsiaError(
        f"{who} differs from the integer executor in layer {layer}, image {image}: "
        f"{int(wrong.sum()):,} of {wrong.size:,} values; please report this as a bug."
    )


def test_data(job: Job) -> Dataset:
    """Load the test split of the network's data set."""
    return load_data(job.settings, _TEST, progress=job.progress)


def _require_counts(counts: Mapping[str, int], predicted: LayerCycles) -> None:
    for name, value in counts.items():
        if getattr(predicted, name) != value:
            raise IntarsiaError(
                f"the cycle model predicts {getattr(predicted, name):,} {name.replace('_', ' ')} for layer "
                f"{predicted.name}, the simulated engine took {value:,}; please report this as a bug."
            )


def _score(outputs: NDArray[np.floating], data: Dataset) -> Score:
    """Return how good outputs (N, K), in real units, are for the test set."""
    return Score(data.metric, data.score(outputs, data.test), int((data.test.labels >= 0).sum()))
