# SPDX-License-Identifier: Apache-2.0
"""The zoo of frozen networks: trained integer networks that come with the package, each with a card.

from intarsia.integer.zoo import load_frozen, read_card
network = load_frozen("dscnn")

A network is a file as `intarsia.integer.file` writes it, `NETWORK.safetensors`; its card is `NETWORK.json` next to it.
Neither training stack nor data is needed to read them. `benchmarks/zoo.py` puts both here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from intarsia.errors import IntarsiaError
from intarsia.files import sha256
from intarsia.integer.file import load
from intarsia.integer.network import IntegerNetwork
from intarsia.typed_json import read_typed

#: Where the networks and their cards are.
ZOO = Path(__file__).parent

_REMEDY = "install Intarsia again"


@dataclass(frozen=True)
class ZooCard:
    """What a network of the zoo is and how it was made.

    Attributes:
        network: its name.
        title: one line for people.
        sha256: of its file.
        command: that made it.
        training: how it was trained, for people.
        scheme: its planes, as text.
        bits_per_weight: all bits stored for the weights, without biases, divided by the number of weights.
        seed: of the training that made it.
        seeds: of all trainings with that command.
        metric: what `scores` are: accuracy, or the area under the ROC curve.
        scores: on the test set, one for each of `seeds`, 0 to 1.
        test_set: that the scores are measured on.
        inputs: in the test set, how many.
        data: what it was trained and validated on, a sentence.
        licence: of the weights.
        data_licences: of the data that it was trained on.
    """

    network: str
    title: str
    sha256: str
    command: str
    training: str
    scheme: str
    bits_per_weight: float
    seed: int
    seeds: tuple[int, ...]
    metric: Literal["accuracy", "auc"]
    scores: tuple[float, ...]
    test_set: str
    inputs: int
    data: str
    licence: str
    data_licences: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.seed not in self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must be different ones, {self.seed} among them")
        if len(self.scores) != len(self.seeds) or not all(0 <= score <= 1 for score in self.scores):
            raise ValueError("scores must be numbers from 0 to 1, one for each seed")
        if self.inputs < 1 or not self.bits_per_weight > 0:
            raise ValueError("inputs and bits_per_weight must be above 0")

    @property
    def score(self) -> float:
        """Of this network."""
        return self.scores[self.seeds.index(self.seed)]

    @property
    def mean(self) -> float:
        """Of the scores."""
        return sum(self.scores) / len(self.scores)


def frozen_names(folder: Path = ZOO) -> tuple[str, ...]:
    """Return the names of the networks that the zoo has."""
    return tuple(sorted(path.stem for path in folder.glob("*.json")))


def frozen_path(name: str, folder: Path = ZOO) -> Path:
    """Return the file of a network.

    Raises:
        IntarsiaError: the zoo has no such network.
    """
    if name not in frozen_names(folder):
        raise IntarsiaError(
            f"the zoo has no frozen network {name!r}; choose one of {', '.join(frozen_names(folder))}, or train it "
            "without --zoo."
        )
    return folder / f"{name}.safetensors"


def read_card(name: str, folder: Path = ZOO) -> ZooCard:
    """Return the card of a network.

    Raises:
        IntarsiaError: the zoo has no such network, or the card is damaged or another's.
    """
    path = frozen_path(name, folder).with_suffix(".json")
    card = read_typed(ZooCard, path, _REMEDY)
    if card.network != name:
        raise IntarsiaError(f"{path} is the card of {card.network!r}; {_REMEDY}.")
    return card


def load_frozen(name: str, folder: Path = ZOO) -> IntegerNetwork:
    """Return a network of the zoo.

    Raises:
        IntarsiaError: the zoo has no such network, its file is missing or damaged, or is not that of its card.
    """
    path, card = frozen_path(name, folder), read_card(name, folder)
    network = load(path)
    if sha256(path) != card.sha256:
        raise IntarsiaError(f"{path} is not the network of its card; {_REMEDY}.")
    return network
