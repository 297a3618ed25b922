# SPDX-License-Identifier: Apache-2.0
"""The zoo of frozen networks: files and cards belong to each other, and whatever is damaged is refused."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from intarsia.errors import IntarsiaError
from intarsia.integer.effective import effective_bits
from intarsia.integer.zoo import ZOO, frozen_names, frozen_path, load_frozen, read_card

NETWORKS = ("autoencoder", "dscnn", "mobilenet", "resnet8")
#: Loads, compiles and fits each network where PyTorch cannot be imported.
WITHOUT_PYTORCH = """
import sys
sys.modules["torch"] = None
from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.integer.zoo import frozen_names, load_frozen
for name in frozen_names():
    network = load_frozen(name)
    program = compile_network(network, config_for(network, EngineConfig()))
    print(name, len(program.layers))
"""


def test_the_zoo_has_the_four_networks() -> None:
    assert frozen_names() == NETWORKS
    assert {path.stem for path in ZOO.glob("*.safetensors")} == set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_card_says_what_its_file_is(name: str) -> None:
    card, network = read_card(name), load_frozen(name)
    assert network.name == name
    assert card.bits_per_weight == effective_bits(network).per_weight
    assert card.scheme == network.metadata["scheme"]
    assert card.seed == int(network.metadata["seed"])
    assert card.training == network.metadata["training"]
    assert "/" not in card.command  # nothing of the machine that made it
    assert card.command.startswith(f"intarsia run {name}")
    assert min(card.scores) <= card.mean <= max(card.scores)
    assert card.licence and card.data_licences


def test_the_networks_are_compiled_without_pytorch() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_PYTORCH], capture_output=True, text=True, check=True)
    layers = {name: len(load_frozen(name).layers) for name in NETWORKS}
    assert done.stdout.split("\n")[:-1] == [f"{name} {count}" for name, count in layers.items()]


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """A zoo with two networks, to be damaged."""
    for name in ("dscnn", "resnet8"):
        for suffix in (".safetensors", ".json"):
            shutil.copy(ZOO / f"{name}{suffix}", tmp_path)
    return tmp_path


def flip(zoo: Path) -> None:
    content = bytearray((zoo / "dscnn.safetensors").read_bytes())
    content[-1] ^= 1
    (zoo / "dscnn.safetensors").write_bytes(content)


def change(**fields: object) -> Callable[[Path], Any]:
    def write(zoo: Path) -> None:
        path = zoo / "dscnn.json"
        content = json.loads(path.read_text()) | fields
        path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))

    return write


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip, "dscnn.safetensors is not a network that this version can read: its arrays are not the saved ones"),
        (
            lambda zoo: shutil.copy(zoo / "resnet8.safetensors", zoo / "dscnn.safetensors"),
            "not the network of its card",
        ),
        (lambda zoo: shutil.copy(zoo / "resnet8.json", zoo / "dscnn.json"), "is the card of 'resnet8'; install"),
        (lambda zoo: (zoo / "dscnn.safetensors").unlink(), "dscnn.safetensors"),
        (lambda zoo: (zoo / "dscnn.json").write_text("{"), "dscnn.json is not valid JSON"),
        (lambda zoo: (zoo / "dscnn.json").unlink(), "the zoo has no frozen network 'dscnn'; choose one of resnet8"),
        (change(colour="red"), "colour is unknown"),
        (change(data=None), "data is missing"),
        (change(metric="f1"), "metric must be one of 'accuracy', 'auc'"),
        (change(scores=[0.5, 0.5]), "one for each seed"),
        (change(seed=7), "7 among them"),
        (change(inputs=0), "inputs and bits_per_weight must be above 0"),
    ],
)
def test_whatever_is_damaged_is_refused_in_one_sentence(damage: Callable[[Path], Any], message: str, zoo: Path) -> None:
    damage(zoo)
    with pytest.raises(IntarsiaError) as error:
        load_frozen("dscnn", zoo)
    assert message in str(error.value)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_a_network_that_the_zoo_does_not_have_is_refused() -> None:
    with pytest.raises(IntarsiaError, match="no frozen network 'digits'; choose one of autoencoder, dscnn"):
        frozen_path("digits")
