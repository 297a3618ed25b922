# SPDX-License-Identifier: Apache-2.0
"""Float weights on disk, with a card that says how they were made, and the zoo of the package."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import nn

from intarsia.errors import IntarsiaError
from intarsia.files import require_readable, save_tensors
from intarsia.networks.registry import NETWORKS, build, network_spec

_FORMAT = "intarsia-float-weights-1"
_ZOO = Path(__file__).with_name("zoo")


@dataclass(frozen=True)
class WeightsCard:
    """How float weights were made.

    Attributes:
        network: name in the registry.
        command: the command line that makes them again.
        seed: of the training.
        epochs: trained.
        recipe: the whole recipe, as text.
        validation_accuracy: 0 to 1.
        test_accuracy: 0 to 1, on the full official test set.
        torch_version: that trained them.
        data_checksums: SHA-256 of the data files, by name.
    """

    network: str
    command: str
    seed: int
    epochs: int
    recipe: str
    validation_accuracy: float
    test_accuracy: float
    torch_version: str
    data_checksums: Mapping[str, str] = field(default_factory=dict)


def save_weights(path: Path, model: nn.Module, card: WeightsCard) -> None:
    """Write the state of a model and its card to `path`, in one step.

    Raises:
        IntarsiaError: the file cannot be written.
    """
    tensors = {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}
    fields = {**vars(card), "data_checksums": dict(card.data_checksums)}
    save_tensors(path, tensors, {"format": _FORMAT, "card": json.dumps(fields)})


def load_weights(path: Path) -> tuple[nn.Module, WeightsCard]:
    """Read float weights; return the network in evaluation mode, and its card.

    Raises:
        IntarsiaError: the file is missing, damaged, of another format, or does not fit its network.
    """
    require_readable(path, "train the network first")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise IntarsiaError(f"{path} cannot be read ({error}); make it again.") from error
    if header.get("format") != _FORMAT:
        found = header.get("format", "none")
        raise IntarsiaError(f"{path} has the format {found!r} instead of {_FORMAT!r}; make it again.")
    try:
        card = WeightsCard(**json.loads(header["card"]))
    except (KeyError, ValueError, TypeError) as error:
        raise IntarsiaError(f"the card in {path} is damaged ({error}); make it again.") from error
    model = build(card.network)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    if shapes != {name: value.shape for name, value in tensors.items()}:
        raise IntarsiaError(f"the tensors in {path} do not fit the network {card.network!r}; make it again.")
    model.load_state_dict(tensors)
    return model.eval(), card


def load_zoo(name: str) -> nn.Module:
    """Return a network of the zoo with its trained float weights, in evaluation mode.

    Raises:
        IntarsiaError: the name is unknown, or the zoo has no weights for it.
    """
    return _zoo(name)[0]


def zoo_card(name: str) -> WeightsCard:
    """Return how a network of the zoo was trained, and how accurate it is.

    Raises:
        IntarsiaError: the name is unknown, or the zoo has no weights for it.
    """
    return _zoo(name)[1]


def zoo_path(name: str) -> Path:
    """Return where the zoo keeps (or would keep) a network's weights."""
    return _ZOO / f"{name}.safetensors"


def _zoo(name: str) -> tuple[nn.Module, WeightsCard]:
    network_spec(name)  # refuses an unknown name
    if not zoo_path(name).is_file():
        known = ", ".join(known for known in NETWORKS if zoo_path(known).is_file())
        raise IntarsiaError(f"the zoo has no weights for {name!r}, only for {known}; train it from scratch.")
    return load_weights(zoo_path(name))
