"""Training state on disk: a safetensors file, written in one step, that refuses a foreign run."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from intarsia.errors import IntarsiaError
from intarsia.files import save_tensors

_FORMAT = "intarsia-checkpoint-1"


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


@dataclass(frozen=True)
class History:
    """The epochs of a training run, in order."""

    epochs: tuple[EpochRecord, ...]

    @property
    def validation_accuracy(self) -> float | None:
        """Accuracy on the validation split after the last epoch, 0 to 1; None if nobody looked."""
        return self.epochs[-1].validation_accuracy if self.epochs else None


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: str,
    records: Sequence[EpochRecord],
) -> None:
    """Write model, optimizer state and records to `path`, replacing it in one step.

    Raises:
        IntarsiaError: the file cannot be written; an earlier checkpoint stays.
    """
    tensors = {f"model.{name}": value.detach().cpu().numpy() for name, value in model.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer.{number}.{key}"] = value.detach().cpu().numpy()
    header = {
        "format": _FORMAT,
        "identity": identity,
        "records": json.dumps([asdict(record) for record in records]),
    }
    save_tensors(path, tensors, header)


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, identity: str) -> list[EpochRecord]:
    """Load a checkpoint into model and optimizer and return the records of the epochs done.

    Raises:
        IntarsiaError: the file is damaged, or belongs to another recipe, seed or model; nothing was changed.
    """
    remedy = "delete it to start again, or choose another checkpoint"
    header, tensors, records = _read(path, remedy)
    if header.get("identity") != identity:
        raise IntarsiaError(f"the checkpoint {path} belongs to another recipe or seed; {remedy}.")
    weights = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    own = {name: value.shape for name, value in model.state_dict().items()}
    if own != {name: value.shape for name, value in weights.items()}:
        raise IntarsiaError(f"the checkpoint {path} belongs to another network; {remedy}.")
    model.load_state_dict(weights)
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".", 2)
            state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    _lay_out(optimizer)
    return records


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


def _read(path: Path, remedy: str) -> tuple[dict[str, str], dict[str, torch.Tensor], list[EpochRecord]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise IntarsiaError(f"the checkpoint {path} cannot be read ({error}); {remedy}.") from error
    if header.get("format") != _FORMAT:
        raise IntarsiaError(f"{path} is not a checkpoint of this version; {remedy}.")
    try:
        return header, tensors, [EpochRecord(**record) for record in json.loads(header["records"])]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise IntarsiaError(f"the checkpoint {path} has damaged records ({error}); {remedy}.") from error
