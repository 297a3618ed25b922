# SPDX-License-Identifier: Apache-2.0
"""One design evaluated: quantized, frozen, executed on validation inputs, and its hardware counted."""

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from intarsia.datasets import Dataset, Split
from intarsia.errors import IntarsiaError
from intarsia.explore.areas import Areas
from intarsia.explore.costs import costs_of
from intarsia.explore.jobs import Evaluation
from intarsia.explore.source import cell_library
from intarsia.explore.space import DesignSpace, Point, Rung
from intarsia.flow.data import load_data
from intarsia.flow.float_networks import float_model
from intarsia.flow.settings import Settings
from intarsia.integer import IntegerNetwork
from intarsia.integer.executor import Executor
from intarsia.quantize import Scheme
from intarsia.quantize.calibrate import attached, post_training
from intarsia.quantize.data import labelled
from intarsia.quantize.freezing import freeze
from intarsia.quantize.objectives import objective_of
from intarsia.quantize.qat import FloatNetwork, quantize
from intarsia.quantize.teacher_cache import TeacherCache
from intarsia.quantize.transforms.settings import Transforms
from intarsia.recipes import QuantizationRecipe
from intarsia.report.metrics import ACCURACY, AREA, BITS, BYTES, CYCLES, ENERGY, MEMORY_ENERGY, Metric
from intarsia.synthesize.pdk import Pdk

#: Networks that a worker keeps. Between two designs that differ only in the unit come those of other transforms and
#: seeds.
_KEPT = 32


class Evaluator:
    """Evaluates designs of one space; float network and data are loaded once.

    Args:
        space: whose designs come.
        settings: of the network's run; its float network must be there (`intarsia train`).
        areas: of execution units.
        threads: of PyTorch and the executor.

    Raises:
        IntarsiaError: the data or the float network is missing or damaged, or an objective needs a library of SRAM
            macros and there is none.
    """

    def __init__(self, space: DesignSpace, settings: Settings, *, areas: Areas | None = None, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        self.space, self.settings, self.areas, self.threads = space, settings, areas or Areas(), threads
        self.pdk = cell_library(space)
        self.model: nn.Module = float_model(settings)
        self.data: Dataset = load_data(settings, ("train", "validation"))
        known = labelled(self.data, self.model).validation
        split = Split(known.images, known.labels)
        # The float weights of every scheme are the same.
        self.teacher = FloatNetwork(attached(self.model, self.data, Scheme.parse("int8")))
        self.answers = TeacherCache()
        self._networks: dict[tuple[Point, Rung, int], IntegerNetwork] = {}
        self.validation = split if space.images is None else split.take(space.images)

    def __call__(self, point: Point, rung: Rung, seed: int) -> Evaluation:
        """Evaluate one design.

        Raises:
            IntarsiaError: the scheme does not fit the network.
        """
        start = time.monotonic()
        network = self._made(point, rung, seed)
        costs = costs_of(network, self.settings.engine, point.unit)
        metrics: dict[str, float | None] = {
            ACCURACY.name: self._merit(network),
            BITS.name: costs.bits,
            BYTES.name: costs.bytes,
            CYCLES.name: costs.cycles,
            AREA.name: None if costs.array is None else self.areas[costs.array],
        }
        reasons = [costs.reason]
        for metric, measure in ((MEMORY_ENERGY, costs.memory_energy), (ENERGY, costs.energy)):
            metrics[metric.name], why = self._energy(metric, measure)
            reasons.append(why)
        unit = "" if costs.engine is None else costs.engine.unit.name
        return Evaluation(metrics, next(filter(None, reasons), ""), time.monotonic() - start, unit)

    def _energy(self, metric: Metric, measure: Callable[[Pdk], float | None]) -> tuple[float | None, str]:
        """Return an energy, and why there is none where the library or the model does not have what it needs."""
        try:
            return (None if self.pdk is None else measure(self.pdk)), ""
        except IntarsiaError as error:
            if metric.name in self.space.objectives:
                raise
            return None, str(error)

    def _made(self, point: Point, rung: Rung, seed: int) -> IntegerNetwork:
        """Return a design's network; one that was made lately, if only the units differ."""
        design = replace(point, unit=""), rung, seed
        if design not in self._networks:
            if len(self._networks) == _KEPT:
                del self._networks[next(iter(self._networks))]
            self._networks[design] = self._network(point, rung, seed)
        return self._networks[design]

    def _network(self, point: Point, rung: Rung, seed: int) -> IntegerNetwork:
        scheme, transforms = Scheme.parse(point.scheme), Transforms.parse(point.transforms)
        if rung.epochs == 0:
            module = post_training(
                self.model,
                self.data,
                scheme,
                images=self.space.calibration,
                seed=seed,
                transforms=transforms,
            )
        else:
            recipe = self._recipe(rung)
            own = recipe.training.match > 0  # layers are matched with those after this design's transforms
            module = quantize(
                self.model,
                self.data,
                scheme,
                seed=seed,
                device=self.settings.device,
                teacher=None if own else self.teacher,
                answers=None if own else self.answers,
                recipe=recipe,
                validate_every=0,  # the integer network is looked at, and is the last: none was chosen for its accuracy
                transforms=transforms,
                progress=False,
            ).module
        return freeze(module, name=self.settings.network)

    def _recipe(self, rung: Rung) -> QuantizationRecipe:
        return self.settings.quantization_recipe.with_epochs(rung.epochs).with_rate(rung.rate)

    def _merit(self, network: IntegerNetwork) -> float:
        objective = objective_of(self.settings.quantization_recipe.training)
        executor = Executor(network, threads=self.threads)
        outputs = executor.run(self.data.scaling.integers(self.validation.images)) * network.output.scale
        x = torch.from_numpy(self.data.scaling.reals(self.validation.images))
        found = objective.merit(torch.from_numpy(outputs).float(), x, torch.from_numpy(self.validation.labels))
        return float(found)
