# SPDX-License-Identifier: Apache-2.0
"""The stages that execute and compare: test accuracy, the ONNX graph, the simulated engine."""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from intarsia.datasets.types import Dataset, SplitName
from intarsia.flow.comparison import require_equal, verify_on_engine
from intarsia.flow.data import load_data
from intarsia.flow.float_networks import float_model, learning, require_match
from intarsia.flow.hardware import compile_for, engine_of
from intarsia.flow.inputs import inputs_of
from intarsia.flow.results import Score
from intarsia.flow.task import Job
from intarsia.integer import file
from intarsia.integer.executor import Executor
from intarsia.packages import require
from intarsia.report.data import Exported, Simulated

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
    images = inputs_of(job.settings, network, job.settings.onnx_images, progress=job.progress)
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
    program = compile_for(network, engine_of(job.records))
    images = inputs_of(job.settings, network, job.settings.simulated_images, progress=job.progress)
    return verify_on_engine(network, program, images, progress=job.progress)


def test_data(job: Job) -> Dataset:
    """Load the test split of the network's data set."""
    return load_data(job.settings, _TEST, progress=job.progress)


def _score(outputs: NDArray[np.floating], data: Dataset) -> Score:
    """Return how good outputs (N, K), in real units, are for the test set."""
    return Score(data.metric, data.score(outputs, data.test), int((data.test.labels >= 0).sum()))
