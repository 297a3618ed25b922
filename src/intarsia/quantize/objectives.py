# SPDX-License-Identifier: Apache-2.0
"""What a network is trained for: telling classes apart, or giving its input back."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch.nn import functional

from intarsia.recipes import Recipe


class Objective(Protocol):
    """A loss, and a figure of merit from 0 (or less) to 1 that people read and choose by."""

    def loss(
        self, outputs: torch.Tensor, x: torch.Tensor, labels: torch.Tensor, soft: torch.Tensor | None, recipe: Recipe
    ) -> torch.Tensor:
        """Return the loss of a batch: its mean over (N, K) outputs, mixed with what tells them from a teacher's."""
        ...

    def merit(self, outputs: torch.Tensor, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the figure of merit of outputs (N, K), a scalar."""
        ...


def class_logits(outputs: torch.Tensor) -> torch.Tensor:
    """Return a logit for each class, (N, classes), of outputs (N, K).

    One output is the logit of class 1 against class 0, as before a sigmoid, so class 0 has the logit 0: then cross
    entropy, divergence and the greatest logit are those of the sigmoid.
    """
    return functional.pad(outputs, (1, 0)) if outputs.shape[1] == 1 else outputs


class Classification:
    """Cross entropy with the labels and the divergence from the teacher; merit is accuracy."""

    def loss(
        self, outputs: torch.Tensor, x: torch.Tensor, labels: torch.Tensor, soft: torch.Tensor | None, recipe: Recipe
    ) -> torch.Tensor:
        """Return cross entropy with labels (N,), mixed with the divergence from the teacher's logits, if any (Hinton
        et al., Distilling the Knowledge in a Neural Network, 2015).
        """
        outputs = class_logits(outputs)
        if soft is None:
            return functional.cross_entropy(outputs, labels)
        soft, t = class_logits(soft), recipe.temperature
        divergence = functional.kl_div(
            functional.log_softmax(outputs / t, dim=1),
            functional.log_softmax(soft / t, dim=1),
            reduction="batchmean",
            log_target=True,
        )
        if recipe.teacher_weight == 1.0:
            return t * t * divergence  # labels may be unknown, or mixed
        loss = functional.cross_entropy(outputs, labels)
        return (1 - recipe.teacher_weight) * loss + recipe.teacher_weight * t * t * divergence

    def merit(self, outputs: torch.Tensor, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the part of inputs whose greatest logit is their label's."""
        return (class_logits(outputs).argmax(1) == labels).float().mean()


class Reconstruction:
    """Mean squared error from the input and from the teacher's output; merit is the explained part of the variance."""

    def loss(
        self, outputs: torch.Tensor, x: torch.Tensor, labels: torch.Tensor, soft: torch.Tensor | None, recipe: Recipe
    ) -> torch.Tensor:
        """Return the mean squared error from the flattened input, mixed with that from the teacher's output."""
        loss = functional.mse_loss(outputs, x.flatten(1))
        if soft is None:
            return loss
        return (1 - recipe.teacher_weight) * loss + recipe.teacher_weight * functional.mse_loss(outputs, soft)

    def merit(self, outputs: torch.Tensor, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return 1 minus the mean squared error over the variance of each feature of the input."""
        wanted = x.flatten(1)
        spread = (wanted - wanted.mean(0)).square().mean().clamp_min(1e-12)
        return 1.0 - (outputs - wanted).square().mean() / spread


def mismatch(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return how far tensors are from a teacher's of the same names, the last left out: the mean over them of the
    squared error over the mean square of the teacher's.
    """
    *names, _ = ours
    parts = [
        (ours[name] - theirs[name]).square().mean() / theirs[name].square().mean().clamp_min(1e-12) for name in names
    ]
    return torch.stack(parts).mean()


def objective_of(recipe: Recipe) -> Objective:
    """Return what a recipe trains for."""
    return Reconstruction() if recipe.objective == "reconstruction" else Classification()
