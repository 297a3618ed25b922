# SPDX-License-Identifier: Apache-2.0
"""Training state on disk: a safetensors file, written in one step, that refuses a foreign run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import nn

from intarsia.errors import IntarsiaError
from intarsia.files import require_readable, save_tensors
from intarsia.text import whole_number

_FORMAT = "intarsia-checkpoint-2"
#: What optimizers keep of each parameter.
_KEPT_BY: Mapping[type, set[str]] = {
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.SGD: {"momentum_buffer"},
}


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: number from 0, mean loss, accuracies 0 to 1 (validation only where looked at), seconds."""

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float | None
    seconds: float

    def line(self, epochs: int) -> str:
        """Return the record as one line of text."""
        look = "" if self.validation_accuracy is None else f"  validation {self.validation_accuracy:7.2%}"
        return (
            f"epoch {self.epoch + 1:3d}/{epochs}  loss {self.loss:.4f}  train {self.train_accuracy:7.2%}"
            f"{look}  {self.seconds:.1f} s"
        )


@dataclass(frozen=True, eq=False)
class Best:
    """The best network so far, on validation data: epochs that it was trained, its merit, parameters and buffers."""

    epochs: int
    merit: float
    state: Mapping[str, torch.Tensor]

    @classmethod
    def of(cls, model: nn.Module, epochs: int, merit: float) -> "Best":
        """Keep a copy of a model as it is now."""
        return cls(epochs, merit, {name: value.detach().clone() for name, value in model.state_dict().items()})


@dataclass(frozen=True)
class History:
    """How a training went.

    Attributes:
        epochs: in order.
        kept: how many epochs the network that was kept was trained: all of them, unless the best was chosen on
            validation data; then 0 is the network before training.
        validation_accuracy: of that network, 0 to 1; None if nobody looked.
    """

    epochs: tuple[EpochRecord, ...]
    kept: int
    validation_accuracy: float | None


@dataclass(frozen=True, eq=False)
class Progress:
    """What is known of a training so far: the epochs done, the best network, if that is to be kept, and the average of
    its weights, if there is one.
    """

    records: Sequence[EpochRecord]
    best: Best | None = None
    average: Mapping[str, torch.Tensor] | None = None


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, identity: str, progress: Progress
) -> None:
    """Write model, optimizer state and progress to `path`, replacing it in one step.

    Raises:
        IntarsiaError: the file cannot be written; an earlier checkpoint stays.
    """
    tensors = _named("model", model.state_dict())
    for number, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer.{number}.{key}"] = value.detach().cpu().numpy()
    header = {
        "format": _FORMAT,
        "identity": identity,
        "records": json.dumps([asdict(record) for record in progress.records]),
    }
    if progress.average is not None:
        tensors |= _named("average", progress.average)
    if (best := progress.best) is not None:
        tensors |= _named("best", best.state)
        header["best"] = json.dumps([best.epochs, best.merit])
    save_tensors(path, tensors, header)


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, identity: str) -> Progress:
    """Load a checkpoint into model and optimizer and return what is known of the epochs done.

    Raises:
        IntarsiaError: the file is damaged, or belongs to another recipe, seed or model; nothing was changed.
    """
    remedy = "delete it to start again, or choose another checkpoint"
    header, tensors, progress = _read(path, remedy)
    if header.get("identity") != identity:
        raise IntarsiaError(f"the checkpoint {path} belongs to another recipe or seed; {remedy}.")
    weights = _of("model", tensors)
    own = {name: value.shape for name, value in model.state_dict().items()}
    states = [weights] if progress.best is None else [weights, progress.best.state]
    parameters = {name: value.shape for name, value in model.named_parameters()}
    fits = all(own == {name: value.shape for name, value in state.items()} for state in states)
    average = progress.average
    if not fits or (average is not None and parameters != {name: value.shape for name, value in average.items()}):
        raise IntarsiaError(f"the checkpoint {path} belongs to another network; {remedy}.")
    state = _optimizer_state(tensors)
    if not _is_of(state, optimizer):
        raise IntarsiaError(f"the checkpoint {path} has the state of another optimizer, or a damaged one; {remedy}.")
    model.load_state_dict(weights)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    _lay_out(optimizer)
    return progress


def _named(room: str, state: Mapping[str, torch.Tensor]) -> dict[str, NDArray[np.generic]]:
    return {f"{room}.{name}": value.detach().cpu().numpy() for name, value in state.items()}


def _of(room: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(f"{room}."): value for name, value in tensors.items() if name.startswith(f"{room}.")}


def _optimizer_state(tensors: Mapping[str, torch.Tensor]) -> dict[int, dict[str, torch.Tensor]]:
    """Return the state of an optimizer by number of the parameter; −1 stands for what is not a number."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            number, _, key = name.removeprefix("optimizer.").partition(".")
            found = whole_number(number)
            state.setdefault(-1 if found is None else found, {})[key] = value
    return state


def _is_of(state: Mapping[int, Mapping[str, torch.Tensor]], optimizer: torch.optim.Optimizer) -> bool:
    """Whether a state has what an optimizer keeps of each of its parameters."""
    wanted = _KEPT_BY.get(type(optimizer), set())
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return all(
        0 <= number < len(parameters)
        and set(kept) == wanted
        and all(key == "step" or value.shape == parameters[number].shape for key, value in kept.items())
        for number, kept in state.items()
    )


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Give an optimizer's state the layout in memory of its parameters, which a file does not keep and a fused step
    on a GPU wants.
    """
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                state[key] = torch.empty_like(parameter, requires_grad=False).copy_(value)


def damage(path: Path) -> str:
    """Return what is wrong with the file of a checkpoint, empty if nothing is."""
    try:
        _read(path, "start again")
    except IntarsiaError as error:
        return str(error).partition(";")[0]
    return ""


def _read(path: Path, remedy: str) -> tuple[dict[str, str], dict[str, torch.Tensor], Progress]:
    require_readable(path, remedy)
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise IntarsiaError(f"the checkpoint {path} cannot be read ({error}); {remedy}.") from error
    if header.get("format") != _FORMAT:
        raise IntarsiaError(f"{path} is not a checkpoint of this version; {remedy}.")
    try:
        records = [EpochRecord(**record) for record in json.loads(header["records"])]
        average = _of("average", tensors) or None
        if "best" not in header:
            return header, tensors, Progress(records, average=average)
        epochs, merit = json.loads(header["best"])
        return header, tensors, Progress(records, Best(int(epochs), float(merit), _of("best", tensors)), average)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise IntarsiaError(f"the checkpoint {path} has damaged records ({error}); {remedy}.") from error
