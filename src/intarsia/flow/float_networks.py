# SPDX-License-Identifier: Apache-2.0
"""The stage that makes the float network (trained, imported, or from the zoo), and what later stages need to use it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from intarsia.datasets import Dataset
from intarsia.datasets.metrics import classes_told
from intarsia.errors import IntarsiaError
from intarsia.files import write_bytes
from intarsia.flow.data import load_data
from intarsia.flow.results import ImportedFloat, TrainedFloat
from intarsia.flow.settings import Settings
from intarsia.flow.task import Job, required
from intarsia.packages import require
from intarsia.recipes import float_recipe_of, with_epochs
from intarsia.text import counted

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class FloatTraining:
    """How a float network is trained from scratch; epochs of None are the recipe's."""

    epochs: int | None
    seed: int


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
    recipe = with_epochs(float_recipe_of(settings.network), training.epochs)
    model = build(settings.network, training.seed)
    history = train_network(
        model,
        data,
        recipe,
        seed=training.seed,
        device=require_device(settings.device),
        checkpoint=checkpoint_of(job),
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


def checkpoint_of(job: Job) -> Path:
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
