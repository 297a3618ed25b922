# SPDX-License-Identifier: Apache-2.0
"""Quantization-aware training: from where post-training quantization ends, with the float network as its teacher, and
planes that settle on the way.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from intarsia.errors import IntarsiaError
from intarsia.quantize.calibrate import attached, float_tensors, post_training
from intarsia.quantize.checkpoint import History
from intarsia.quantize.data import TrainingData, labelled
from intarsia.quantize.module import QuantizedNetwork, outputs_or_every
from intarsia.quantize.scheme import Scheme
from intarsia.quantize.teacher_cache import TeacherCache
from intarsia.quantize.training import train_network
from intarsia.quantize.transforms.settings import NO_TRANSFORMS, Transforms
from intarsia.recipes import QuantizationRecipe, Recipe, recipe_of

_LEAST_SIZE = 1e-3  # so that biases that begin at zero learn as well


@dataclass(frozen=True, eq=False)
class QuantizedResult:
    """A trained quantized network, its scales those that integers express, and how training went."""

    module: QuantizedNetwork
    history: History


def quantize(
    model: nn.Module,
    dataset: TrainingData,
    scheme: Scheme,
    *,
    seed: int,
    device: str | torch.device = "cpu",
    teacher: nn.Module | None = None,
    answers: TeacherCache | None = None,
    epochs: int | None = None,
    recipe: QuantizationRecipe | None = None,
    checkpoint: Path | None = None,
    on_epoch: Callable[[int, nn.Module], None] | None = None,
    validate_every: int = 1,
    progress: bool = False,
    transforms: Transforms = NO_TRANSFORMS,
) -> QuantizedResult:
    """Quantize a trained float network with training: first after training only, then with distillation.

    Where there is validation data, the result is the best on it: of the network before training, just as
    `post_training` gives it, and of those after each epoch with integer scales that looks at validation. Everything
    follows from the arguments and `seed`; a run that stopped goes on from `checkpoint` and ends as an unbroken one
    does.

    Args:
        model: trained float network of supported layers; it is not changed.
        dataset: trains on its `train` split and looks at `validation`.
        scheme: planes and activation bits.
        seed: of order and augmentation.
        device: where to train.
        teacher: to distil from; `model` by default.
        answers: of a given teacher to these data, from trainings before; no help to a recipe that matches layers.
        epochs: in place of the recipe's, its phases shortened or lengthened in proportion.
        recipe: by default that of the data set's name; it is fitted to the data and the network.
        checkpoint: safetensors file, replaced in one step after each epoch; if it exists, training goes on.
        on_epoch: called before each epoch with its number, from 0, and the module.
        validate_every: epochs between two looks at the validation split, see `train_network`; 0 keeps the last network.
        progress: show bars.
        transforms: that the float network goes through first; the default teacher is the network after them,
            which has the same function and, layer by layer, the same channels.

    Raises:
        IntarsiaError: an operator is not supported, the scheme does not fit, the checkpoint is foreign, or
            transforms are to go with a recipe that matches layers with those of a given teacher.
        ValueError: there are answers, but no teacher whose they are.
    """
    plain = attached(model, dataset, scheme, transforms)
    chosen = recipe or recipe_of(getattr(dataset, "name", ""))
    chosen = chosen.with_epochs(epochs).fitted(len(dataset.train.images), plain.macs, plain.weights)
    if answers is not None and teacher is None:
        raise ValueError("answers are of a given teacher")
    if transforms and teacher is not None and chosen.training.match:
        raise IntarsiaError(
            f"layers changed by {transforms} cannot match a given teacher's; give no teacher, or a recipe with match=0."
        )
    network = post_training(
        model,
        dataset,
        scheme,
        images=chosen.calibration,
        criterion=chosen.criterion,
        seed=seed,
        transforms=transforms,
        progress=progress,
    )
    network.to(device)
    # On a GPU steps are replayed instead.
    compiles = chosen.compile and torch.device(device).type != "cuda" and shutil.which("g++") is not None
    if teacher is None:
        teacher = FloatNetwork(plain)
    data = labelled(dataset, teacher.to(device), device=device)

    def before(epoch: int, _: nn.Module) -> None:
        if epoch == 0:
            network.release()
        elif epoch < chosen.settle:
            _choose_positions(network)
        if epoch >= chosen.snap_epoch:
            network.snap()
        if on_epoch is not None:
            on_epoch(epoch, network)

    history = train_network(
        network,
        data,
        chosen.training,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        identity=f"{scheme} settle={chosen.settle} snap={chosen.snap} {chosen.criterion}"
        + (f" {transforms}" if transforms else ""),
        teacher=teacher,
        answers=answers,
        groups=parameter_groups,
        on_epoch=before,
        validate_every=validate_every,
        candidates=chosen.snap_epoch,
        compiled=compiles,
        progress=progress,
    )
    return QuantizedResult(network.cpu().eval(), history)


class FloatNetwork(nn.Module):
    """The float network behind a freshly attached one, normalization folded: the same logits for inputs as integers
    hold them, sooner.

    A calibrated network would not do: its biases were corrected for what its planes lose.
    """

    def __init__(self, network: QuantizedNetwork) -> None:
        super().__init__()
        self.network = network
        self.requires_grad_(False)

    def forward(self, x: torch.Tensor, *, every: bool = False) -> torch.Tensor | dict[str, torch.Tensor]:
        """Return the outputs (N, K) of a batch, or every layer's by name, the last one's being these."""
        return outputs_or_every(float_tensors(self.network, x), self.network.steps[-1].name, every=every)


def parameter_groups(model: nn.Module, recipe: Recipe) -> Sequence[dict[str, Any]]:
    """Return weights with the recipe's decay, and biases and scales without, each tensor with a rate relative to its
    size. Scales are logarithms, so theirs is relative anyway.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        decay = recipe.weight_decay if name.endswith("weight.original") else 0.0
        factor = 1.0 if "log_scale" in name else _size(parameter)
        groups.setdefault((decay, factor), []).append(parameter)
    return [{"params": g, "weight_decay": decay, "rate_factor": factor} for (decay, factor), g in groups.items()]


def _size(parameter: nn.Parameter) -> float:
    """Return the root mean square of a tensor, or what stands for one that is zero."""
    return max(float(parameter.detach().square().mean().sqrt()), _LEAST_SIZE)


def _choose_positions(network: QuantizedNetwork) -> None:
    for step in network.steps:
        if step.module is not None:
            weight, planes = network.weight_of(step)
            planes.choose(weight.detach())
