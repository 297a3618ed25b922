# SPDX-License-Identifier: Apache-2.0
"""Comparing what runs a network with the integer executor and the cycle model: everything must be equal."""

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from intarsia.engine import Program
from intarsia.engine.cycles import LayerCycles, predict
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork
from intarsia.integer.executor import Executor
from intarsia.report.data import Simulated

if TYPE_CHECKING:
    from intarsia.simulate import SimulatedEngine

Images = NDArray[np.integer]


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
    reference = _Reference(network, Executor(network), predict(program))
    workers = min(reference.executor.threads, len(images))
    with (
        tqdm(total=len(images), unit="image", leave=False, disable=not progress) as bar,
        contextlib.ExitStack() as opened,
    ):
        engines = [opened.enter_context(SimulatedEngine(program, cache=cache)) for _ in range(workers)]

        def compare(worker: int, number: int) -> _Compared:
            found = reference.compare(engines[worker], images[number], number)
            bar.update()
            return found

        compared = _share_out(compare, len(images), workers)
    last = compared[-1]
    values = sum(each.values for each in compared)
    return Simulated(len(images), len(network.layers), values, last.cycles_by_layer, last.input_cycles)


@dataclass(frozen=True)
class _Compared:
    """An image of which everything is equal."""

    values: int
    cycles_by_layer: tuple[int, ...]
    input_cycles: int


@dataclass(frozen=True, eq=False)
class _Reference:
    """What an engine is compared with."""

    network: IntegerNetwork
    executor: Executor
    model: Sequence[LayerCycles]

    def compare(self, engine: "SimulatedEngine", image: Images, number: int) -> _Compared:
        """Compare every value and every count of one image.

        Raises:
            IntarsiaError: one differs.
        """
        run, expected = engine.run(image, trace=True), self.executor.trace(image[None])
        for layer, counts, predicted in zip(self.network.layers, run.counts, self.model, strict=True):
            name = layer.output.name
            require_equal("the simulated engine", name, run.values[name][None], expected[name], number)
            _require_counts(asdict(counts), predicted)
        output = self.network.output.name
        require_equal("the result read from the engine", output, run.output[None], expected[output], number)
        values = sum(found.size for found in run.values.values())
        return _Compared(values, tuple(layer.cycles for layer in run.counts), run.input_cycles)


def _share_out(compare: Callable[[int, int], _Compared], images: int, workers: int) -> list[_Compared]:
    """Compare all images, each worker with an engine of its own; the first error, or an interrupt, stops all of them.

    Raises:
        IntarsiaError: as `compare` does.
    """
    stop = threading.Event()

    def share(worker: int) -> list[_Compared]:
        found = []
        try:
            for number in range(worker, images, workers):
                if stop.is_set():
                    break
                found.append(compare(worker, number))
        except BaseException:
            stop.set()  # the result is settled; the other workers need not finish
            raise
        return found

    with ThreadPoolExecutor(workers) as pool:
        try:
            return [each for found in pool.map(share, range(workers)) for each in found]
        finally:
            stop.set()  # an interrupt waits for the images at work, not for all


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


def _require_counts(counts: Mapping[str, int], predicted: LayerCycles) -> None:
    for name, value in counts.items():
        if getattr(predicted, name) != value:
            raise IntarsiaError(
                f"the cycle model predicts {getattr(predicted, name):,} {name.replace('_', ' ')} for layer "
                f"{predicted.name}, the simulated engine took {value:,}; please report this as a bug."
            )
