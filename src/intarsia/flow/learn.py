# SPDX-License-Identifier: Apache-2.0
"""The stages that learn: a trained float network, then quantized ones, frozen to integer networks."""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from intarsia.datasets import Dataset, SplitName
from intarsia.datasets.metrics import classes_told
from intarsia.errors import IntarsiaError
from intarsia.files import write_bytes
from intarsia.flow.data import load_data
from intarsia.flow.hardware import cycles_of_weight_layers
from intarsia.flow.results import ImportedFloat, Quantized, SearchedFormats, TrainedFloat
from intarsia.flow.rounding import report_rounding
from intarsia.flow.schemes import LAYERWISE
from intarsia.flow.settings import Settings
from intarsia.flow.task import Job, required
from intarsia.flow.trained import how_quantized
from intarsia.integer import IntegerNetwork, file
from intarsia.integer.effective import effective_bits
from intarsia.packages import require
from intarsia.quantize.recipes import RECIPES, Rounding, with_epochs
from intarsia.quantize.scheme import Scheme
from intarsia.quantize.transforms.settings import Transforms
from intarsia.text import counted

if TYPE_CHECKING:
    from torch import nn

    from intarsia.quantize.module import QuantizedNetwork

_LEARNING: tuple[SplitName, ...] = ("train", "validation")
#: The task that searches the formats of the layer-wise baseline, as `STAGE/NAME`.
SEARCH = "quantize/layerwise-scheme"


@dataclass(frozen=True)
class FloatTraining:
    """How a float network is trained from scratch; epochs of None are the recipe's."""

    epochs: int | None
    seed: int


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


@contextlib.contextmanager
def learning(job: Job) -> Iterator[None]:
    """Give PyTorch the number of threads that suits the job's network, for the time of a block.

    Raises:
        IntarsiaError: PyTorch is missing.
    """
    require("torch", "train")
    import torch  # noqa: PLC0415 (heavy; only learning needs it)

    before = torch.get_num_threads()
    torch.set_num_threads(job.settings.benchmark.threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(job: Job, training: FloatTraining) -> TrainedFloat:
    """Train the float network from scratch and write its weights.

    Raises:
        IntarsiaError: PyTorch or the data is missing.
    """
    with learning(job):
        return _train(job, training)


def _train(job: Job, training: FloatTraining) -> TrainedFloat:
    import torch  # noqa: PLC0415

    from intarsia.networks import WeightsCard, build, save_weights  # noqa: PLC0415
    from intarsia.quantize.training import evaluate, train_network  # noqa: PLC0415

    settings = job.settings
    data = load_data(settings, progress=job.progress)
    recipe = with_epochs(RECIPES[settings.network], training.epochs)
    model = build(settings.network, training.seed)
    history = train_network(
        model,
        data,
        recipe,
        seed=training.seed,
        device=require_device(settings.device),
        checkpoint=_checkpoint(job),
        validate_every=5,
        progress=job.progress,
    )
    validation = history.validation_accuracy or 0.0
    test = evaluate(model.cpu(), data.test, data.scaling)
    card = WeightsCard(
        network=settings.network,
        command=_command(settings.network, training),
        seed=training.seed,
        epochs=recipe.epochs,
        recipe=repr(recipe),
        validation_accuracy=validation,
        test_accuracy=test,
        torch_version=torch.__version__,
        data_checksums=dict(data.checksums),
    )
    save_weights(job.product("safetensors"), model, card)
    return TrainedFloat(f"from scratch, {counted(recipe.epochs, 'epoch')}", validation, recipe.epochs)


def _checkpoint(job: Job) -> Path:
    """Return where a training keeps its state; what cannot be read there is set aside, to start again."""
    from intarsia.quantize.checkpoint import damage  # noqa: PLC0415

    path = job.checkpoint()
    if path.exists() and (reason := damage(path)):
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        job.say(f"{reason}; it is set aside as {aside.name}, and this training starts again")
    return path


def _command(network: str, training: FloatTraining) -> str:
    """Return the command that makes these weights; not the one typed, which may have made much more."""
    epochs = f" --float-epochs {training.epochs}" if training.epochs else ""
    return f"intarsia train {network} --retrain --seed {training.seed}{epochs}"


def take_from_zoo(job: Job) -> TrainedFloat:
    """Copy the float weights that ship with the package.

    Raises:
        IntarsiaError: PyTorch is missing, or the zoo has no such weights.
    """
    require("torch", "train")
    from intarsia.networks import load_zoo, save_weights, zoo_card  # noqa: PLC0415

    card = zoo_card(job.settings.network)
    save_weights(job.product("safetensors"), load_zoo(job.settings.network), card)
    training = f"zoo weights ({counted(card.epochs, 'epoch')} from scratch)"
    return TrainedFloat(training, card.validation_accuracy, card.epochs)


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
        checkpoint=_checkpoint(job),
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
    costs = functools.partial(cycles_of_weight_layers, engine=settings.engine) if cycles else _stored
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


def import_float(job: Job) -> ImportedFloat:
    """Import the float network of a file and keep a copy of it.

    Raises:
        IntarsiaError: a package is missing, or the file cannot be imported, or not be quantized.
    """
    require("torch", "train")
    from intarsia.networks.importers import content  # noqa: PLC0415
    from intarsia.networks.importers import import_float as read  # noqa: PLC0415
    from intarsia.quantize.inputs import grids_of  # noqa: PLC0415

    source = job.settings.imported
    assert source is not None  # noqa: S101 (else there is no such task)
    imported = read(source)
    write_bytes(job.product(model_suffix(source)), content(source))
    if imported.dropped:
        job.say(f"{source.name}: the import leaves out {'; '.join(imported.dropped)}")
    return ImportedFloat(
        training=f"imported from {source.name}",
        shape=imported.shape,
        grids=grids_of(imported.module, imported.shape),
        dropped=tuple(imported.dropped),
    )


def model_suffix(path: Path) -> str:
    """Return what the copy of a network's file ends in, without the dot."""
    return path.suffix.removeprefix(".")


def float_model(settings: Settings) -> "nn.Module":
    """Read the float network that the first stage of a run left.

    Raises:
        IntarsiaError: PyTorch is missing, or the file is damaged.
    """
    require("torch", "train")
    source = settings.imported
    if source is None:
        from intarsia.networks import load_weights  # noqa: PLC0415

        return load_weights(settings.folder / "train" / "float.safetensors")[0]
    from intarsia.networks.importers import import_float as read  # noqa: PLC0415

    return read(settings.folder / "train" / f"float.{model_suffix(source)}").module


def require_match(job: Job, model: "nn.Module", data: Dataset) -> None:
    """Refuse data that an imported float network does not take, or of whose classes it knows too few.

    Raises:
        IntarsiaError: says both shapes, or the class and the number of outputs.
    """
    from intarsia.quantize.data import outputs_of  # noqa: PLC0415

    source = job.settings.imported
    if source is None:
        return
    shape = required(job.records, "train/float", ImportedFloat).shape
    if shape != data.shape:
        took, given = (" x ".join(map(str, sizes)) for sizes in (shape, data.shape))
        raise IntarsiaError(
            f"{source.name} takes inputs of {took} (channels, height, width), the data {data.name} has {given}; give "
            "other data."
        )
    splits = [split for split in (data.train, data.validation, data.test) if len(split)]
    if data.metric != "accuracy" or not splits:
        return
    most = max(int(split.labels.max()) for split in splits)
    known = classes_told(outputs_of(model, splits[0].images[:1], data.scaling).shape[1])
    if most >= known:
        raise IntarsiaError(
            f"the data {data.name} holds the class {most}, but {source.name} tells {known} classes apart, counted from "
            "0; correct y, or give the network that was trained for these classes."
        )


def require_device(name: str) -> str:
    """Return a device's name if PyTorch has it.

    Raises:
        IntarsiaError: it has not, or there is no PyTorch.
    """
    require("torch", "train")
    import torch  # noqa: PLC0415

    try:
        torch.ones(1, device=name).sum().item()  # some devices have shapes and no values
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise IntarsiaError(f"PyTorch has no device {name!r} here ({reason}); use --device cpu.") from error
    return name
