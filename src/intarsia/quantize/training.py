# SPDX-License-Identifier: Apache-2.0
"""The training loop, for float networks from scratch and for quantization-aware training from a float
teacher.

One loop serves both. Quantization-aware training passes the network with its quantizers attached, an Adam
recipe, the float network as `teacher`, and, where scales want another learning rate than weights, its own
`groups`. The loop knows nothing of quantizers: what must happen at certain epochs (settling the positions,
say) hangs on `on_epoch`, and whatever that changes belongs into the model's parameters and buffers, because
a checkpoint keeps nothing else, and in place, because on a GPU steps are recorded and replayed.

Everything random follows from `seed` and the number of the epoch, so a resumed run repeats what an unbroken
one does.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from intarsia.quantize.averaging import Average
from intarsia.quantize.checkpoint import Best, EpochRecord, History, Progress, load_checkpoint, save_checkpoint
from intarsia.quantize.cuda_graph import CudaGraphStep
from intarsia.quantize.data import Labelled, Scaling, TrainingData, outputs_of
from intarsia.quantize.objectives import Classification, Objective, mismatch, objective_of
from intarsia.quantize.teacher_cache import TeacherCache
from intarsia.recipes import Phase, Recipe

Groups = Callable[[nn.Module, Recipe], Sequence[dict[str, Any]]]


def decay_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Return the default parameter groups: weight decay on weights, none on biases, normalization and scales.

    A group may carry `rate_factor`, which multiplies the recipe's learning rate for that group.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


def augment(
    images: torch.Tensor, phase: Phase, fill: int | None, flip: bool, generator: torch.Generator
) -> torch.Tensor:
    """Cut a random crop out of each image and mirror half of them, all at once.

    Args:
        images: (N, C, H, W), as stored, on any device.
        phase: crop size and padding.
        fill: value of the padding; None repeats the edge.
        flip: whether to mirror.
        generator: on the CPU, so that every device draws the same numbers.

    Returns:
        (N, C, crop height, crop width), of the same type, channels last in memory.
    """
    count, _, height, width = images.shape
    tall, wide = (height, width) if phase.size is None else (phase.size, phase.size)
    above, beside = phase.pads
    padded = _padded(images, above, beside, fill)
    top = torch.randint(height + 2 * above - tall + 1, (count, 1), generator=generator)
    left = torch.randint(width + 2 * beside - wide + 1, (count, 1), generator=generator)
    columns = torch.arange(wide).expand(count, -1)
    if flip:
        mirrored = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, wide - 1 - columns, columns)
    rows = (top + torch.arange(tall)).to(images.device)[:, :, None]
    columns = (left + columns).to(images.device)[:, None, :]
    index = torch.arange(count, device=images.device)[:, None, None]
    return padded[index, :, rows, columns].permute(0, 3, 1, 2)


def _padded(images: torch.Tensor, above: int, beside: int, fill: int | None) -> torch.Tensor:
    if fill is not None:
        return functional.pad(images, [beside, beside, above, above], value=fill)
    rows = torch.arange(-above, images.shape[2] + above, device=images.device).clamp(0, images.shape[2] - 1)
    columns = torch.arange(-beside, images.shape[3] + beside, device=images.device).clamp(0, images.shape[3] - 1)
    return images[:, :, rows][:, :, :, columns]


def mix(x: torch.Tensor, mixup: float, generator: torch.Generator) -> torch.Tensor:
    """Return each of the inputs (N, C, H, W) mixed with another one, as the recipe's `mixup` says.

    The generator is on the CPU, so that every device draws the same numbers.
    """
    draw = np.random.default_rng(int(torch.randint(1 << 31, (1,), generator=generator)))
    share = torch.from_numpy(draw.beta(mixup, mixup, (len(x), 1, 1, 1)).astype(np.float32))
    other = x[torch.randperm(len(x), generator=generator).to(x.device)]
    return torch.lerp(other, x, share.to(x.device))


def _laid_out(model: nn.Module) -> nn.Module:
    """Put channels last in a model's weights of convolutions and masks over them, in place; return the model.

    PyTorch's own conversion refuses models with tensors of five dimensions, as a mix's masks for each plane are.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    return model


class _Trainer:
    """The state of one training run and one epoch of it."""

    def __init__(
        self,
        model: nn.Module,
        data: TrainingData,
        recipe: Recipe,
        *,
        seed: int,
        device: torch.device,
        teacher: nn.Module | None,
        answers: TeacherCache | None,
        groups: Groups,
        compiled: bool,
    ) -> None:
        self.model = _laid_out(model.to(device))
        self.teacher, self.answers = None if teacher is None else teacher.to(device).eval(), answers
        self.recipe, self.seed, self.device, self.scaling = recipe, seed, device, data.scaling
        self.images = torch.from_numpy(data.train.images).to(device)
        self.labels = torch.from_numpy(data.train.labels).to(device)
        self.objective = objective_of(recipe)
        self.steps = len(self.images) // recipe.batch
        if self.steps == 0:
            raise ValueError(f"{len(self.images)} training images do not fill one batch of {recipe.batch}")
        settings = [dict(group) for group in groups(model, recipe)]
        self.optimizer: torch.optim.Optimizer
        recorded = device.type == "cuda" and recipe.optimizer == "adam"
        self.replay = CudaGraphStep() if recorded else None
        if recipe.optimizer == "sgd":
            self.optimizer = torch.optim.SGD(settings, lr=recipe.peak_rate, momentum=0.9, nesterov=True)
        elif recorded:
            self.optimizer = torch.optim.AdamW(settings, lr=recipe.peak_rate, fused=True, capturable=True)
        else:
            self.optimizer = torch.optim.AdamW(settings, lr=recipe.peak_rate)
        self.rates = _Rates(self.optimizer, device if recorded else None)
        # With the teacher and the loss in it: matching layers reads and writes every tensor several times otherwise.
        # A method of its own would be a cycle, and this trainer's memory would wait for the garbage collector.
        self.answer: _Answer = _compiled(_Trainer._answer) if compiled else _Trainer._answer

    def epoch(self, epoch: int, average: Average | None, show: bool) -> tuple[float, float]:
        """Train one epoch; return the means of loss and merit on the augmented training images."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        torch.manual_seed(self.seed * 100_003 + epoch)
        order = torch.randperm(len(self.images), generator=generator)
        phase = self.recipe.phase(epoch)
        self.model.train()
        loss_sum = torch.zeros((), device=self.device)
        merit_sum = torch.zeros((), device=self.device)
        fill = None if self.recipe.edge else self.scaling.offset
        self.rates.link()
        bar = tqdm(range(self.steps), desc=f"epoch {epoch + 1}/{self.recipe.epochs}", leave=False, disable=not show)
        for step in bar:
            self.rates.set(self.recipe.rate((epoch + (step + 1) / self.steps) / self.recipe.epochs))
            index = order[step * self.recipe.batch : (step + 1) * self.recipe.batch].to(self.device)
            pixels = augment(self.images[index], phase, fill, self.recipe.flip, generator)
            x = _reals(pixels, self.scaling)
            x = mix(x, self.recipe.mixup, generator) if self.recipe.mixup else x
            soft = self._kept_answers(x, phase, epoch, step)
            if self.replay is None:
                loss, merit = self._step(x, self.labels[index], soft)
            else:
                loss, merit = self.replay(self._step, x, self.labels[index], soft)
            if average is not None:
                average.update()
            loss_sum += loss
            merit_sum += merit
        return float(loss_sum) / self.steps, float(merit_sum) / self.steps

    def _kept_answers(self, x: torch.Tensor, phase: Phase, epoch: int, step: int) -> torch.Tensor | None:
        """Return the teacher's outputs for the inputs of a step; None where the step asks itself."""
        teacher, answers, recipe = self.teacher, self.answers, self.recipe
        if teacher is None or answers is None or recipe.match:
            return None
        drawn = (str(self.device), self.seed, epoch, step, recipe.batch, phase.size, phase.pads)
        return answers.of((*drawn, recipe.flip, recipe.edge, recipe.mixup), lambda: _asked(teacher, x))

    def _step(
        self, x: torch.Tensor, labels: torch.Tensor, soft: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        loss, outputs = self.answer(self, x, labels, soft)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach(), self.objective.merit(outputs.detach(), x, labels)

    def _answer(
        self, x: torch.Tensor, labels: torch.Tensor, soft: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of a batch and the model's outputs."""
        if self.teacher is not None and self.recipe.match:
            with torch.no_grad():
                theirs = self.teacher(x, every=True)
            ours = self.model(x, every=True)
            *_, last = ours
            loss = self.objective.loss(ours[last], x, labels, theirs[last], self.recipe)
            return loss + self.recipe.match * mismatch(ours, theirs), ours[last]
        if soft is None and self.teacher is not None:
            soft = _asked(self.teacher, x)
        outputs = self.model(x)
        return self.objective.loss(outputs, x, labels, soft, self.recipe), outputs


_Answer = Callable[[_Trainer, torch.Tensor, torch.Tensor, torch.Tensor | None], tuple[torch.Tensor, torch.Tensor]]


def _compiled(answer: _Answer) -> _Answer:
    """Return the function compiled on its own: else all trainings of a process share eight compilations, and the ninth
    goes without. (PyTorch still stops at some hundreds in a process.)
    """
    # torch.compile's overloads leave this argument out.
    found: _Answer = torch.compile(answer, isolate_recompiles=True)  # type: ignore[call-overload]
    return found


@torch.no_grad()
def _asked(teacher: nn.Module, x: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = teacher(x)
    return found


class _Rates:
    """The learning rates of an optimizer's groups; for recorded steps, which read them again each time, in a device's
    memory.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device | None) -> None:
        self._optimizer = optimizer
        self._factors = [group.get("rate_factor", 1.0) for group in optimizer.param_groups]
        self._on_device = None if device is None else torch.tensor([self._factors] * 2, device=device)

    def link(self) -> None:
        """Give every group its place in a device's memory; a checkpoint that was loaded since has put others there."""
        if self._on_device is not None:
            for group, rate in zip(self._optimizer.param_groups, self._on_device[1], strict=True):
                group["lr"] = rate

    def set(self, rate: float) -> None:
        """Set the rate of a group whose factor is 1, and the others in proportion."""
        if self._on_device is not None:
            torch.mul(self._on_device[0], rate, out=self._on_device[1])
            return
        for group, factor in zip(self._optimizer.param_groups, self._factors, strict=True):
            group["lr"] = rate * factor


def _reals(stored: torch.Tensor, scaling: Scaling) -> torch.Tensor:
    return (stored.float() - scaling.offset) * scaling.unit


def train_network(
    model: nn.Module,
    data: TrainingData,
    recipe: Recipe,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    checkpoint: Path | None = None,
    identity: str = "",
    teacher: nn.Module | None = None,
    answers: TeacherCache | None = None,
    groups: Groups = decay_groups,
    on_epoch: Callable[[int, nn.Module], None] | None = None,
    validate_every: int = 1,
    candidates: int | None = None,
    compiled: bool = False,
    progress: bool = False,
) -> History:
    """Train a network in place.

    Args:
        model: maps (N, C, H, W) float32 to outputs (N, K); initialise it under the same seed.
        data: only its `train` and `validation` splits and its `scaling` are read.
        recipe: see `Recipe`.
        seed: decides order and augmentation of every epoch.
        device: where to train; model and data are moved there.
        checkpoint: a safetensors file written after every epoch in one step; if it exists, training goes on
            from it.
        identity: whatever beside recipe and seed tells this training from others; a checkpoint of another is refused.
        teacher: a trained network of the same outputs to distil from; it is put into evaluation mode. If the recipe
            matches layers, both networks take `every=True` and then return the outputs of all layers by name, as
            `QuantizedNetwork` does.
        answers: of this teacher to these data, from trainings before; by default it is asked at every step, and always
            where the recipe matches layers.
        groups: makes the optimizer's parameter groups, see `decay_groups`.
        on_epoch: called before each epoch with its number, from 0, and the model in training mode; a resumed
            run calls it only for the epochs that remain. It may change the model's parameters and buffers in place.
        validate_every: epochs between two looks at the validation split; the last epoch always looks. 0: none looks.
        candidates: the first epoch, from 0, after which the network may be kept. In the end the model is the best on
            validation data of these and of the one that was given, where that looks at all. None: it is the last. A
            recipe's average of weights begins with this epoch, and stands for each network from then on.
        compiled: whether `torch.compile` is to make code of a step's loss, not of looks at validation; for a CPU (on a
            GPU steps are recorded). It takes a minute and a C++ compiler.
        progress: show a bar for each epoch.

    Returns:
        One record for each epoch, those before a resume included, and which network was kept.

    Raises:
        IntarsiaError: the checkpoint is damaged, or belongs to another recipe, seed or model.
    """
    device = torch.device(device)
    trainer = _Trainer(
        model,
        data,
        recipe,
        seed=seed,
        device=device,
        teacher=teacher,
        answers=answers,
        groups=groups,
        compiled=compiled,
    )
    identity = f"{recipe!r} seed={seed} {identity}"
    validates = validate_every > 0 and len(data.validation.labels) > 0

    def merit() -> float:
        return evaluate(model, data.validation, data.scaling, trainer.objective, device=device)

    records: list[EpochRecord] = []
    best: Best | None = None
    average: Average | None = None
    with _threads(recipe.threads):
        if checkpoint is not None and checkpoint.exists():
            done = load_checkpoint(checkpoint, model, trainer.optimizer, identity)
            records, best = list(done.records), done.best
            average = None if done.average is None else Average(model, recipe.average, done.average)
        elif candidates is not None and validates:
            best = Best.of(model, 0, merit())
        for epoch in range(len(records), recipe.epochs):
            start = time.monotonic()
            model.train()
            if on_epoch is not None:
                on_epoch(epoch, model)
            if recipe.average and average is None and epoch >= (candidates or 0):
                average = Average(model, recipe.average)
            loss, accuracy = trainer.epoch(epoch, average, progress)
            with contextlib.nullcontext() if average is None else average.applied():
                found = merit() if validates and _looks(epoch + 1, recipe.epochs, validate_every) else None
                if best is not None and found is not None and epoch >= (candidates or 0) and found > best.merit:
                    best = Best.of(model, epoch + 1, found)
            records.append(EpochRecord(epoch, loss, accuracy, found, time.monotonic() - start))
            if checkpoint is not None:
                state = Progress(records, best, None if average is None else average.values)
                save_checkpoint(checkpoint, model, trainer.optimizer, identity, state)
            if progress:
                tqdm.write(records[-1].line(recipe.epochs))
    model.eval()
    if best is None:
        if average is not None:
            average.keep()
        return History(tuple(records), len(records), records[-1].validation_accuracy if records else None)
    model.load_state_dict(best.state)
    return History(tuple(records), best.epochs, best.merit)


def _looks(done: int, epochs: int, every: int) -> bool:
    """Whether there is a look at the validation split when so many epochs are done."""
    return done % every == 0 or done == epochs


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def evaluate(
    model: nn.Module,
    split: Labelled,
    scaling: Scaling,
    objective: Objective | None = None,
    *,
    device: str | torch.device = "cpu",
    batch: int = 500,
) -> float:
    """Return the figure of merit of a model on a split: accuracy, or the explained part of the variance, up to 1."""
    outputs = outputs_of(model, split.images, scaling, device=device, batch=batch)
    x = _reals(torch.from_numpy(split.images), scaling)
    return float((objective or Classification()).merit(outputs, x, torch.from_numpy(split.labels)))
