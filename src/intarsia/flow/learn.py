# SPDX-License-Identifier: Apache-2.0
"""The stages that learn: a trained float network, then quantized ones, frozen to integer networks."""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from intarsia.datasets import Dataset, SplitName
from intarsia.datasets.metrics import classes_told
from intarsia.errors import IntarsiaError
from intarsia.files import write_bytes
from intarsia.flow.data import load_data
from intarsia.flow.hardware import cycles_of_weight_layers
from intarsia.flow.rounding import report_rounding
from intarsia.flow.schemes import LAYERWISE, SUPERPOSITION
from intarsia.flow.settings import Settings
from intarsia.flow.task import Job
from intarsia.flow.trained import how_quantized, which_kept
from intarsia.integer import IntegerNetwork, file
from intarsia.integer.effective import effective_bits
from intarsia.packages import require
from intarsia.text import counted

if TYPE_CHECKING:
    from torch import nn

    from intarsia.quantize.scheme import Scheme

_LEARNING: tuple[SplitName, ...] = ("train", "validation")


@contextlib.contextmanager
def learning(job: Job) -> Iterator[None]:
    """Give PyTorch the number of threads that suits the job's network, for the time of a block.

    Raises:
        IntarsiaError: PyTorch is missing.
    """
    require("torch", "train")
    import torch  # noqa: PLC0415 (heavy; only learning needs it)

    before = torch.get_num_threads()
    torch.set_num_threads(job.settings.defaults.threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(job: Job) -> dict[str, Any]:
    """Train the float network from scratch and write its weights.

    Raises:
        IntarsiaError: PyTorch or the data is missing.
    """
    with learning(job):
        return _train(job)


def _train(job: Job) -> dict[str, Any]:
    import torch  # noqa: PLC0415

    from intarsia.networks import WeightsCard, build, save_weights  # noqa: PLC0415
    from intarsia.quantize.recipes import RECIPES, with_epochs  # noqa: PLC0415
    from intarsia.quantize.training import evaluate, train_network  # noqa: PLC0415

    settings, parameters = job.settings, job.task.parameters
    data = load_data(settings, progress=job.progress)
    recipe = with_epochs(RECIPES[settings.network], parameters["epochs"])
    model = build(settings.network, parameters["seed"])
    history = train_network(
        model,
        data,
        recipe,
        seed=parameters["seed"],
        device=require_device(settings.device),
        checkpoint=_checkpoint(job),
        validate_every=5,
        progress=job.progress,
    )
    validation = history.validation_accuracy or 0.0
    test = evaluate(model.cpu(), data.test, data.scaling)
    card = WeightsCard(
        network=settings.network,
        command=_command(settings.network, **parameters),
        seed=parameters["seed"],
        epochs=recipe.epochs,
        recipe=repr(recipe),
        validation_accuracy=validation,
        test_accuracy=test,
        torch_version=torch.__version__,
        data_checksums=dict(data.checksums),
    )
    save_weights(job.product("safetensors"), model, card)
    return {
        "summary": f"validation {validation:.2%}",
        "training": f"from scratch, {counted(recipe.epochs, 'epoch')}",
        "validation_accuracy": validation,
        "epochs": recipe.epochs,
    }


def _checkpoint(job: Job) -> Path:
    """Return where a training keeps its state; what cannot be read there is set aside, to start again."""
    from intarsia.quantize.checkpoint import damage  # noqa: PLC0415

    path = job.checkpoint()
    if path.exists() and (reason := damage(path)):
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        job.say(f"{reason}; it is set aside as {aside.name}, and this training starts again")
    return path


def _command(network: str, *, seed: int, epochs: int | None, **_: str) -> str:
    """Return the command that makes these weights; not the one typed, which may have made much more."""
    return f"intarsia train {network} --retrain --seed {seed}" + (f" --float-epochs {epochs}" if epochs else "")


def take_from_zoo(job: Job) -> dict[str, Any]:
    """Copy the float weights that ship with the package.

    Raises:
        IntarsiaError: PyTorch is missing, or the zoo has no such weights.
    """
    require("torch", "train")
    from intarsia.networks import load_zoo, save_weights, zoo_card  # noqa: PLC0415

    card = zoo_card(job.settings.network)
    save_weights(job.product("safetensors"), load_zoo(job.settings.network), card)
    return {
        "summary": f"zoo weights, validation {card.validation_accuracy:.2%}",
        "training": f"zoo weights ({counted(card.epochs, 'epoch')} from scratch)",
        "validation_accuracy": card.validation_accuracy,
        "epochs": card.epochs,
    }


def quantize(job: Job) -> dict[str, Any]:
    """Quantize the float network, with training or after it, and write the integer network that it freezes to.

    Raises:
        IntarsiaError: PyTorch or the data is missing, or the scheme does not fit the network.
    """
    with learning(job):
        return _quantize(job)


def _quantize(job: Job) -> dict[str, Any]:
    from intarsia.quantize.calibrate import post_training  # noqa: PLC0415
    from intarsia.quantize.data import labelled  # noqa: PLC0415
    from intarsia.quantize.freezing import freeze  # noqa: PLC0415
    from intarsia.quantize.objectives import objective_of  # noqa: PLC0415
    from intarsia.quantize.qat import quantize as train_quantized  # noqa: PLC0415
    from intarsia.quantize.training import evaluate  # noqa: PLC0415
    from intarsia.quantize.transforms.settings import Transforms  # noqa: PLC0415

    settings, parameters = job.settings, job.task.parameters
    scheme, seed, epochs = _scheme(job), parameters["seed"], parameters["epochs"]
    transforms = Transforms.parse(parameters.get("transforms", "none"))
    model, data = float_model(settings), load_data(settings, _LEARNING, progress=job.progress)
    require_match(job, model, data)
    rounding_loss = report_rounding(job, model, data)
    recipe, kept = settings.quantization_recipe, 0
    if epochs == 0:
        module = post_training(
            model,
            data,
            scheme,
            images=recipe.calibration,
            seed=seed,
            rounding=parameters.get("rounding", "compensated"),
            transforms=transforms,
            progress=job.progress,
        )
        known = labelled(data, model)
        validation = evaluate(module, known.validation, data.scaling, objective_of(recipe.training))
    else:
        trained = train_quantized(
            model,
            data,
            scheme,
            seed=seed,
            device=require_device(settings.device),
            epochs=epochs,
            recipe=recipe,
            checkpoint=_checkpoint(job),
            progress=job.progress,
            transforms=transforms,
        )
        module, validation = trained.module, trained.history.validation_accuracy or 0.0
        epochs, kept = len(trained.history.epochs), trained.history.kept
    training = how_quantized(epochs, [kept], str(transforms) if transforms else "")
    metadata = {"seed": str(seed), "training": training, "input": data.scaling.rule}
    network = freeze(module, name=settings.network, metadata=metadata)
    file.save(network, job.product("safetensors"))
    return {
        "summary": f"validation {validation:.2%}" + (f", {which_kept(epochs, [kept])}" if epochs else ""),
        "transforms": str(transforms) if transforms else "",
        "validation_accuracy": validation,
        "kept": kept,
        "scheme": scheme.name,
        "layers": {name: str(layer) for name, layer in module.layer_schemes.items()},
        "seed": seed,
        "epochs": epochs,
        "data": data.source,
    } | rounding_loss


def _scheme(job: Job) -> "Scheme":
    """Return the scheme that a task quantizes with: its own, or what the search before it found."""
    from intarsia.quantize.scheme import Scheme  # noqa: PLC0415

    text = job.task.parameters["scheme"]
    if text != LAYERWISE:
        return Scheme.parse(text)
    return replace(Scheme.parse(job.records["quantize/layerwise-scheme"].result["scheme"]), name=LAYERWISE)


def search(job: Job) -> dict[str, Any]:
    """Search a format for each layer, under the bits or the cycles that the built network takes.

    Raises:
        IntarsiaError: PyTorch or the data is missing, or the budget cannot be kept.
    """
    with learning(job):
        return _search(job)


def _search(job: Job) -> dict[str, Any]:
    from intarsia.quantize.layerwise import search_layerwise  # noqa: PLC0415
    from intarsia.quantize.scheme import Scheme  # noqa: PLC0415
    from intarsia.quantize.transforms.settings import Transforms  # noqa: PLC0415

    settings, parameters = job.settings, job.task.parameters
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
            parameters["formats"],
            costs,
            budget,
            seed=parameters["seed"],
            progress=bar.update,
            transforms=Transforms.parse(parameters.get("transforms", "none")),
            scale_bits=parameters.get("scale_bits", Scheme.parse(SUPERPOSITION).scale_bits),
        )
    unit, per = ("cycles", 1) if cycles else ("effective bits", effective_bits(built).weights)
    form = ",.0f" if cycles else ".3f"
    return {
        "summary": f"{found.cost / per:{form}} {unit}, {budget / per:{form}} allowed",
        "scheme": str(found.scheme),
        "unit": unit,
        "cost": found.cost / per,
        "budget": budget / per,
        "sensitivity": {layer: dict(losses) for layer, losses in found.sensitivity.items()},
    }


def _stored(network: IntegerNetwork) -> dict[str, float]:
    return {layer.name: float(layer.total) for layer in effective_bits(network).layers}


def import_float(job: Job) -> dict[str, Any]:
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
    shape = " x ".join(map(str, imported.shape))
    return {
        "summary": f"imported, input {shape}",
        "training": f"imported from {source.name}",
        "shape": list(imported.shape),
        "grids": grids_of(imported.module, imported.shape),
        "dropped": list(imported.dropped),
    }


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
    shape = tuple(job.records["train/float"].result["shape"])
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
