# SPDX-License-Identifier: Apache-2.0
"""The stage that quantizes: searched formats, then quantized networks, frozen to integer networks."""

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tqdm import tqdm

from intarsia.datasets import Dataset, SplitName
from intarsia.flow.data import load_data
from intarsia.flow.float_networks import checkpoint_of, float_model, learning, require_device, require_match
from intarsia.flow.hardware import cycles_of_weight_layers, engine_of
from intarsia.flow.results import Quantized, SearchedFormats
from intarsia.flow.rounding import report_rounding
from intarsia.flow.schemes import LAYERWISE
from intarsia.flow.task import Job, required
from intarsia.flow.trained import how_quantized
from intarsia.integer import IntegerNetwork, file
from intarsia.integer.effective import effective_bits
from intarsia.quantize.scheme import Scheme
from intarsia.quantize.transforms.settings import Transforms
from intarsia.recipes import Rounding

if TYPE_CHECKING:
    from torch import nn

    from intarsia.quantize.module import QuantizedNetwork

_LEARNING: tuple[SplitName, ...] = ("train", "validation")
#: The task that searches the formats of the layer-wise baseline, as `STAGE/NAME`.
SEARCH = "quantize/layerwise-scheme"


@dataclass(frozen=True)
class Quantization:
    """How a network is quantized.

    Attributes:
        scheme: its planes as text, or `layerwise` for what was searched.
        seed: of training.
        epochs: of training; 0 is post-training quantization, None the recipe's.
        transforms: of the float network first, as text.
        rounding: of weights after training.
    """

    scheme: str
    seed: int
    epochs: int | None
    transforms: str
    rounding: Rounding


@dataclass(frozen=True)
class FormatSearch:
    """What a search of formats chooses from for each layer, and how the network is quantized."""

    formats: tuple[str, ...]
    seed: int
    transforms: str
    scale_bits: int


def quantize(job: Job, plan: Quantization) -> Quantized:
    """Quantize the float network, with training or after it, and write the integer network that it freezes to.

    Raises:
        IntarsiaError: PyTorch or the data is missing, or the scheme does not fit the network.
    """
    with learning(job):
        return _quantize(job, plan)


def _quantize(job: Job, plan: Quantization) -> Quantized:
    from intarsia.quantize.freezing import freeze  # noqa: PLC0415

    scheme = _scheme(job, plan)
    model, data = float_model(job.settings), load_data(job.settings, _LEARNING, progress=job.progress)
    require_match(job, model, data)
    loss = report_rounding(job, model, data)
    made = (_after_training if plan.epochs == 0 else _by_training)(job, plan, scheme, model, data)
    transforms = _transforms_text(plan)
    training = how_quantized(made.epochs, [made.kept], transforms)
    metadata = {"seed": str(plan.seed), "training": training, "input": data.scaling.rule}
    file.save(freeze(made.module, name=job.settings.network, metadata=metadata), job.product("safetensors"))
    return Quantized(
        scheme=scheme.name,
        layers={name: str(layer) for name, layer in made.module.layer_schemes.items()},
        transforms=transforms,
        seed=plan.seed,
        epochs=made.epochs,
        kept=made.kept,
        validation_accuracy=made.validation,
        data=data.source,
        input=loss,
    )


@dataclass(frozen=True)
class _Made:
    """A quantized module, with what its training says of it."""

    module: "QuantizedNetwork"
    validation: float
    epochs: int
    kept: int


def _transforms_text(plan: Quantization) -> str:
    transforms = Transforms.parse(plan.transforms)
    return str(transforms) if transforms else ""


def _after_training(job: Job, plan: Quantization, scheme: Scheme, model: "nn.Module", data: Dataset) -> _Made:
    from intarsia.quantize.calibrate import post_training  # noqa: PLC0415
    from intarsia.quantize.data import labelled  # noqa: PLC0415
    from intarsia.quantize.objectives import objective_of  # noqa: PLC0415
    from intarsia.quantize.training import evaluate  # noqa: PLC0415

    recipe = job.settings.quantization_recipe
    module = post_training(
        model,
        data,
        scheme,
        images=recipe.calibration,
        seed=plan.seed,
        rounding=plan.rounding,
        transforms=Transforms.parse(plan.transforms),
        progress=job.progress,
    )
    known = labelled(data, model)
    return _Made(module, evaluate(module, known.validation, data.scaling, objective_of(recipe.training)), 0, 0)


def _by_training(job: Job, plan: Quantization, scheme: Scheme, model: "nn.Module", data: Dataset) -> _Made:
    from intarsia.quantize.qat import quantize as train_quantized  # noqa: PLC0415

    trained = train_quantized(
        model,
        data,
        scheme,
        seed=plan.seed,
        device=require_device(job.settings.device),
        epochs=plan.epochs,
        recipe=job.settings.quantization_recipe,
        checkpoint=checkpoint_of(job),
        progress=job.progress,
        transforms=Transforms.parse(plan.transforms),
    )
    history = trained.history
    return _Made(trained.module, history.validation_accuracy or 0.0, len(history.epochs), history.kept)


def _scheme(job: Job, plan: Quantization) -> Scheme:
    """Return the scheme that a task quantizes with: its own, or what the search before it found."""
    if plan.scheme != LAYERWISE:
        return Scheme.parse(plan.scheme)
    return replace(Scheme.parse(required(job.records, SEARCH, SearchedFormats).scheme), name=LAYERWISE)


def search(job: Job, plan: FormatSearch) -> SearchedFormats:
    """Search a format for each layer, under the bits or the cycles that the built network takes.

    Raises:
        IntarsiaError: PyTorch or the data is missing, or the budget cannot be kept.
    """
    with learning(job):
        return _search(job, plan)


def _search(job: Job, plan: FormatSearch) -> SearchedFormats:
    from intarsia.quantize.layerwise import search_layerwise  # noqa: PLC0415

    settings = job.settings
    built = file.load(job.input(job.task.needs[1], "safetensors"))
    cycles = settings.layerwise_budget == "cycles"
    costs = functools.partial(cycles_of_weight_layers, engine=engine_of(job.records)) if cycles else _stored
    budget = sum(costs(built).values())
    model, data = float_model(settings), load_data(settings, _LEARNING, progress=job.progress)
    require_match(job, model, data)
    with tqdm(unit="measurement", leave=False, disable=not job.progress) as bar:
        found = search_layerwise(
            model,
            data,
            plan.formats,
            costs,
            budget,
            seed=plan.seed,
            progress=bar.update,
            transforms=Transforms.parse(plan.transforms),
            scale_bits=plan.scale_bits,
        )
    per = 1 if cycles else effective_bits(built).weights
    return SearchedFormats(
        scheme=str(found.scheme),
        unit=settings.layerwise_budget,
        cost=found.cost / per,
        budget=budget / per,
        sensitivity={layer: dict(losses) for layer, losses in found.sensitivity.items()},
    )


def _stored(network: IntegerNetwork) -> dict[str, float]:
    return {layer.name: float(layer.total) for layer in effective_bits(network).layers}
