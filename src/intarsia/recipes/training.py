# SPDX-License-Identifier: Apache-2.0
"""How networks are trained, as data. Nothing here needs PyTorch: a plan of work names its recipes."""

import math
from dataclasses import MISSING, dataclass, fields, replace
from typing import Literal

#: What decides the sparse positions, see `intarsia.quantize.patterns`.
Criterion = Literal["residual", "curvature", "gradient"]
#: Of weights, after training: see `intarsia.quantize.calibrate.post_training`.
Rounding = Literal["compensated", "nearest"]
#: Multiply-accumulates that take as long as to quantize a weight in a step, and to update it.
_PER_WEIGHT = 140
#: Seeds go from 0 up to this: with the number of an epoch each makes a number of 64 bits.
LARGEST_SEED = 2**31 - 1


class _CompactRepr:
    """A dataclass whose `repr` leaves out what has its default value: keys made of it outlive new fields."""

    def __repr__(self) -> str:
        texts = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)  # type: ignore[arg-type]
            if field.default is MISSING or getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(texts)})"


@dataclass(frozen=True)
class Phase:
    """Epochs that share one augmentation: crops of `size` pixels square (None: of the image's own size) out of
    images padded by `pad` on each side; two numbers pad rows and columns differently.

    Crops smaller than the image cost less time and are themselves an augmentation; a network that ends in a
    global average pool accepts any size. End with a phase at full size.
    """

    epochs: int
    size: int | None = None
    pad: int | tuple[int, int] = 0

    @property
    def pads(self) -> tuple[int, int]:
        """Rows above and below, columns on the left and the right."""
        return (self.pad, self.pad) if isinstance(self.pad, int) else self.pad


@dataclass(frozen=True, repr=False)
class Recipe(_CompactRepr):
    """How to train; every field is part of a checkpoint's identity.

    The learning rate follows one cycle (Smith and Topin, 2019): linear from peak / 25 to `peak_rate` over
    the `warmup` part of all steps, then linear (`sgd`) or by half a cosine (`adam`) to zero.

    Attributes:
        phases: in order; their epochs add up.
        batch: images per step.
        optimizer: `sgd` with Nesterov momentum 0.9, or `adam` with decoupled weight decay.
        peak_rate: highest learning rate of a group whose `rate_factor` is 1; of quantized networks, whose every tensor
            is a group of its own, a part of the tensor's root mean square (Shazeer and Stern, Adafactor, 2018). With
            normalization folded into weights, tensors differ in size a hundredfold, and one rate for all of them shakes
            the small ones.
        weight_decay: on parameters of two or more dimensions; biases and normalization are left alone.
        warmup: part of all steps, 0 to 1.
        objective: to tell classes apart, or to give the input back.
        flip: whether to mirror half of the images.
        edge: whether padding repeats the edge; else it is real zero.
        mixup: each input is mixed with another one, its own part drawn from Beta(mixup, mixup) (Zhang et al., 2018);
            0 leaves them alone. Labels are not mixed: it takes a teacher that has all of the loss.
        teacher_weight: part of the loss that is the divergence from the teacher, 0 to 1; unused without a
            teacher.
        temperature: softens the logits of both for that divergence (Hinton et al., 2015).
        match: weight of how far each layer's output is from the teacher's (Romero et al., FitNets, 2015), beside the
            rest of the loss; it takes a teacher with the same layers. Few inputs teach far more so: every place of
            every layer is a target.
        average: decay of the average of weights that is looked at and kept instead of the weights themselves, see
            `intarsia.quantize.averaging`; 0 keeps the weights. It begins with the first network that may be kept.
        threads: on a CPU, or None for torch's own choice. One suits a network whose steps take milliseconds:
            more gain nothing, and on a busy machine waiting for each other slows them down tenfold.
    """

    phases: tuple[Phase, ...]
    batch: int = 128
    optimizer: Literal["sgd", "adam"] = "sgd"
    peak_rate: float = 0.1
    weight_decay: float = 5e-4
    warmup: float = 0.1
    objective: Literal["classification", "reconstruction"] = "classification"
    flip: bool = False
    edge: bool = False
    mixup: float = 0.0
    teacher_weight: float = 0.5
    temperature: float = 2.0
    match: float = 0.0
    average: float = 0.0
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.mixup and self.teacher_weight != 1.0:
            raise ValueError("mixup needs a teacher_weight of 1: labels are not mixed")

    @property
    def epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)

    def phase(self, epoch: int) -> Phase:
        """Return the phase of an epoch, counted from 0."""
        for phase in self.phases:
            if epoch < phase.epochs:
                return phase
            epoch -= phase.epochs
        raise IndexError("epoch beyond the last phase")

    def rate(self, progress: float) -> float:
        """Return the learning rate at `progress`, the part of all steps done, 0 to 1."""
        if progress < self.warmup:
            return self.peak_rate * (0.04 + 0.96 * progress / self.warmup)
        rest = (1.0 - progress) / (1.0 - self.warmup)
        falling = rest if self.optimizer == "sgd" else 0.5 - 0.5 * math.cos(math.pi * rest)
        return self.peak_rate * falling


@dataclass(frozen=True, repr=False)
class QuantizationRecipe(_CompactRepr):
    """How to train a quantized network, which begins where post-training quantization ends.

    Attributes:
        training: the loop's recipe.
        settle: epochs before which positions are chosen again, at the start of each; 0 keeps those chosen first.
        snap: part of all epochs after which every scale is one that integers express, 0 to 1; that of the last epoch
            always is.
        criterion: what decides the sparse positions.
        calibration: images that post-training quantization, which training begins with, sees.
        compile: whether `torch.compile` pays for itself on a CPU (large data sets).
        work: multiply-accumulates that all forward passes of training may take together, quantizing the weights of each
            step included: a large network, or many inputs, have fewer epochs, at least 1. None: there is no limit.
    """

    training: Recipe
    settle: int = 0
    snap: float = 0.5
    criterion: Criterion = "residual"
    calibration: int = 512
    compile: bool = False
    work: float | None = None

    @property
    def snap_epoch(self) -> int:
        """The first epoch with integer scales."""
        return min(int(self.snap * self.training.epochs), self.training.epochs - 1)

    def with_epochs(self, epochs: int | None) -> "QuantizationRecipe":
        """Return this recipe with so many epochs, whatever they take; None and 0 (no training) leave it as it is."""
        return replace(self, training=with_epochs(self.training, epochs), work=None) if epochs else self

    def with_rate(self, rate: float | None) -> "QuantizationRecipe":
        """Return this recipe with another peak learning rate, a part of each tensor's size; None leaves it as it is."""
        return self if rate is None else replace(self, training=replace(self.training, peak_rate=rate))

    def fitted(self, inputs: int, macs: int, weights: int) -> "QuantizationRecipe":
        """Return this recipe as it suits a network and its data: as few epochs as `work` asks for, and batches of at
        most a quarter of all inputs.

        Args:
            inputs: to train on, at least 1.
            macs: multiply-accumulates of the network for one of them.
            weights: of the network.
        """
        batch = min(self.training.batch, max(1, inputs // 4))
        found = replace(self, training=replace(self.training, batch=batch))
        if found.work is None:
            return found
        most = max(1, int(found.work / (inputs * (macs + _PER_WEIGHT * weights / batch))))
        return found.with_epochs(min(found.training.epochs, most))


def with_epochs(recipe: Recipe, epochs: int | None) -> Recipe:
    """Return the recipe with another number of epochs, at least 1, its phases scaled; the last takes the rest.

    None leaves it as it is.
    """
    if epochs is None:
        return recipe
    phases, left = [], epochs
    for phase in recipe.phases[:-1]:
        count = min(phase.epochs * epochs // recipe.epochs, left - 1)
        phases.append(replace(phase, epochs=count))
        left -= count
    return replace(recipe, phases=(*phases, replace(recipe.phases[-1], epochs=left)))
