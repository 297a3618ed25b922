# SPDX-License-Identifier: Apache-2.0
"""Layer-wise mixed precision, as most tools do it: each layer has one format, chosen under a budget.

The sensitivity of a layer to a format is measured with all other layers at the best format (the setting is that of Wang
et al., HAQ, 2019; guidance by sensitivity that of Dong et al., HAWQ, 2019). Then layers are lowered one after the
other, always the one that loses least for what it saves, until the budget holds. What formats cost is for the caller to
say: stored bits, an engine's cycles or its energy.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from intarsia.errors import IntarsiaError
from intarsia.integer.network import IntegerNetwork
from intarsia.quantize.calibrate import attached, float_tensors, post_training
from intarsia.quantize.data import TrainingData, reals
from intarsia.quantize.freezing import freeze
from intarsia.quantize.module import QuantizedNetwork
from intarsia.quantize.scheme import PRESETS, LayerScheme, Scheme
from intarsia.quantize.step import Step
from intarsia.quantize.transforms.settings import NO_TRANSFORMS, Transforms

#: Bits of a network's result.
_RESULT_BITS = 8
#: What a frozen network costs, by the name of its weight layers.
LayerCosts = Callable[[IntegerNetwork], Mapping[str, float]]
#: A value for each level of each layer.
Table = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class LayerwiseScheme:
    """What the search found.

    Attributes:
        scheme: a format for every weight layer, by name.
        cost: of all layers together, in the caller's unit.
        sensitivity: by layer and format, the mean squared error of the network's output that this format brings to this
            layer alone, over the variance of the output.
    """

    scheme: Scheme
    cost: float
    sensitivity: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class LayerwiseTables:
    """What each format costs and loses in each layer, for choices under any budget.

    Attributes:
        name: of the schemes.
        formats: that layers choose from, the best first.
        cost: by layer, in the caller's unit, for each format.
        sensitivity: by layer, for each format, as in `LayerwiseScheme`.
        fixed_cost: of layers that choose nothing.
        scale_bits: of the multipliers.
        steps: of the network; where they are given, activation bits of a format are those of what a layer reads.
    """

    name: str
    formats: tuple[LayerScheme, ...]
    cost: Table
    sensitivity: Table
    fixed_cost: float
    scale_bits: int
    steps: tuple[Step, ...] = ()

    def choose(self, budget: float) -> LayerwiseScheme:
        """Return the scheme that costs at most `budget`.

        Raises:
            IntarsiaError: even the last format everywhere costs more.
        """
        levels = choose_levels(self.sensitivity, self.cost, budget - self.fixed_cost)
        names = [str(form) for form in self.formats]
        return LayerwiseScheme(
            self.scheme({layer: self.formats[level] for layer, level in levels.items()}),
            self.fixed_cost + sum(self.cost[layer][level] for layer, level in levels.items()),
            {layer: dict(zip(names, losses, strict=True)) for layer, losses in self.sensitivity.items()},
        )

    def scheme(self, layers: Mapping[str, LayerScheme]) -> Scheme:
        """Return the scheme that gives some layers these formats, and others the best."""
        scheme = Scheme(self.name, self.formats[0], layers=layers, scale_bits=self.scale_bits)
        return _paired(scheme, self.steps) if self.steps else scheme


def search_layerwise(
    model: nn.Module,
    dataset: TrainingData,
    formats: Sequence[str],
    costs: LayerCosts,
    budget: float,
    *,
    name: str = "layerwise",
    images: int = 256,
    seed: int = 0,
    scale_bits: int = 6,
    transforms: Transforms = NO_TRANSFORMS,
    paired: bool = False,
    progress: Callable[[int], object] = lambda _: None,
) -> LayerwiseScheme:
    """Choose a format for each layer so that the network costs at most `budget`: see `measure_layerwise`.

    Raises:
        IntarsiaError: even the last format everywhere costs more than the budget, or an operator is not supported.
    """
    tables = measure_layerwise(
        model,
        dataset,
        formats,
        costs,
        name=name,
        images=images,
        seed=seed,
        scale_bits=scale_bits,
        transforms=transforms,
        paired=paired,
        progress=progress,
    )
    return tables.choose(budget)


def measure_layerwise(
    model: nn.Module,
    dataset: TrainingData,
    formats: Sequence[str],
    costs: LayerCosts,
    *,
    name: str = "layerwise",
    images: int = 256,
    seed: int = 0,
    scale_bits: int = 6,
    transforms: Transforms = NO_TRANSFORMS,
    paired: bool = False,
    progress: Callable[[int], object] = lambda _: None,
) -> LayerwiseTables:
    """Measure what each format costs and loses in each layer.

    Args:
        model: trained float network; it is not changed.
        dataset: its training images calibrate.
        formats: as `LayerScheme.parse` reads them, the best first: `int8`, `int4 a4`, `int2`, `digits3`.
        costs: of a frozen network, by layer.
        name: of the schemes.
        images: that sensitivities are measured on.
        seed: draws them.
        scale_bits: of the multipliers.
        transforms: that the float network goes through first; costs and sensitivities are of what they make of it.
        paired: the activation bits of a format are those of what a layer reads, not of what it writes: for multipliers
            whose two operands have the same width. A tensor that several layers read has the most bits of these.
        progress: called with 1 after each measurement: one for each layer and format.

    Raises:
        IntarsiaError: an operator is not supported.
    """
    candidates = tuple(LayerScheme.parse(text) for text in formats)
    probe = _Probe(model, dataset, images=images, seed=seed, scale_bits=scale_bits, transforms=transforms)
    empty = LayerwiseTables(name, candidates, {}, {}, 0.0, scale_bits, probe.steps if paired else ())

    def measured(layer: str, candidate: LayerScheme) -> float:
        loss = probe.loss(empty.scheme({layer: candidate}))
        progress(1)
        return loss

    by_format = [_costs_of(probe, empty.scheme(dict.fromkeys(probe.layers, each)), costs) for each in candidates]
    return replace(
        empty,
        cost={layer: [table[layer] for table in by_format] for layer in probe.layers},
        sensitivity={layer: [measured(layer, candidate) for candidate in candidates] for layer in probe.layers},
        fixed_cost=sum(by_format[0][layer] for layer in probe.affine),
    )


def choose_levels(sensitivity: Table, cost: Table, budget: float) -> dict[str, int]:
    """Return the level (an index into both tables' rows) of each layer: greedy steps along the best exchange rate, then
    back up where room is left.

    Args:
        sensitivity, cost: by layer, a value for each level; level 0 is where every layer begins.
        budget: for the sum of the costs.

    Raises:
        IntarsiaError: no choice of levels keeps the budget.
    """
    least = sum(min(row) for row in cost.values())
    if least > budget:
        raise IntarsiaError(f"no choice of formats costs less than {least:.4g}, the budget is {budget:.4g}; raise it.")
    levels = dict.fromkeys(cost, 0)
    while sum(cost[layer][level] for layer, level in levels.items()) > budget:
        moves = [
            (_rate(sensitivity[layer], cost[layer], levels[layer], level), layer, level)
            for layer in levels
            for level in range(len(cost[layer]))
            if cost[layer][level] < cost[layer][levels[layer]]
        ]
        _, layer, level = min(moves)
        levels[layer] = level
    return _spend_rest(levels, sensitivity, cost, budget)


def _spend_rest(
    levels: dict[str, int],
    sensitivity: Mapping[str, Sequence[float]],
    cost: Mapping[str, Sequence[float]],
    budget: float,
) -> dict[str, int]:
    """Return the levels with those raised again for which the last, large step has left room."""
    while True:
        rest = budget - sum(cost[layer][level] for layer, level in levels.items())
        gains = [
            (sensitivity[layer][old] - sensitivity[layer][level], layer, level)
            for layer, old in levels.items()
            for level in range(len(cost[layer]))
            if cost[layer][level] - cost[layer][old] <= rest and sensitivity[layer][level] < sensitivity[layer][old]
        ]
        if not gains:
            return levels
        _, layer, level = max(gains)
        levels = levels | {layer: level}


def _rate(sensitivity: Sequence[float], cost: Sequence[float], old: int, new: int) -> float:
    return (sensitivity[new] - sensitivity[old]) / (cost[old] - cost[new])


class _Probe:
    """Measures what a scheme does to the output of one network on one draw of images.

    `layers` are those whose format a scheme chooses; `affine` those that have one weight per channel.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: TrainingData,
        *,
        images: int,
        seed: int,
        scale_bits: int,
        transforms: Transforms,
    ) -> None:
        self.model, self.dataset, self.images, self.seed = model, dataset, images, seed
        self.scale_bits, self.transforms = scale_bits, transforms
        draw = np.random.default_rng(seed).permutation(len(dataset.train.images))[:images]
        self.x = reals(dataset.train.images[draw], dataset.scaling)
        network = attached(model, dataset, PRESETS["int8"], transforms)  # without the softmax that a model may end in
        self.affine = tuple(step.name for step in network.steps if step.kind == "affine")
        self.layers = tuple(s.name for s in network.steps if s.module is not None and s.name not in self.affine)
        self.steps = network.steps
        with torch.no_grad():
            self.wanted = float_tensors(network, self.x)[network.steps[-1].name].flatten(1)

    @torch.no_grad()
    def loss(self, scheme: Scheme) -> float:
        """Return the mean squared error of the output over its variance, after post-training quantization."""
        found = self.quantize(scheme)(self.x)
        return float((found - self.wanted).square().mean() / self.wanted.var().clamp_min(1e-12))

    def quantize(self, scheme: Scheme) -> QuantizedNetwork:
        # Dozens of them; errors of layers alone, at these formats, are told apart well enough so.
        scheme = replace(scheme, scale_bits=self.scale_bits)
        return post_training(
            self.model,
            self.dataset,
            scheme,
            images=self.images,
            seed=self.seed,
            rounding="nearest",
            transforms=self.transforms,
        )


def _paired(scheme: Scheme, steps: Sequence[Step]) -> Scheme:
    """Return a scheme whose activation bits, those of what layers read, are now those of what they write."""

    def read_with(name: str) -> int:
        if name == steps[-1].name:
            return _RESULT_BITS
        needs = []
        for step in steps:
            if name in step.inputs:
                own = scheme.layers.get(step.name, scheme.default).activation_bits
                multiplied = step.module is not None and step.kind != "affine" and step.inputs[0] == name
                needs.append(own if multiplied else read_with(step.name))
        return max(needs, default=_RESULT_BITS)

    counted = [step.name for step in steps if step.module is not None and step.kind != "affine"]
    layers = {
        name: replace(scheme.layers.get(name, scheme.default), activation_bits=read_with(name)) for name in counted
    }
    return replace(scheme, layers=layers)


def _costs_of(probe: _Probe, scheme: Scheme, costs: LayerCosts) -> Mapping[str, float]:
    return costs(freeze(probe.quantize(scheme), name="uniform"))
