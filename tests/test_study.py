# SPDX-License-Identifier: Apache-2.0
"""What the README promises of ResNet-8, on all of CIFAR-10: three trainings, so an hour and more. `make study`."""

import json
from pathlib import Path

import pytest

from intarsia import cli
from intarsia.datasets import load_dataset
from intarsia.errors import IntarsiaError

ROOT = Path(__file__).parents[1]


@pytest.mark.study
def test_resnet8_keeps_its_accuracy_bits_and_cycles_and_every_value_is_equal() -> None:
    try:
        load_dataset("cifar10", splits=("test",))
    except IntarsiaError as error:
        pytest.skip(str(error))
    command = ["run", "resnet8", "--seeds", "0", "1", "2", "--skip-synthesis", "--out", str(ROOT / "runs")]
    assert cli.main(command) == 0
    results = json.loads((ROOT / "runs/resnet8/results.json").read_text())
    accuracies = {entry["name"]: entry for entry in results["accuracies"]}
    superposition = accuracies["superposition"]
    assert superposition["images"] == accuracies["float"]["images"] == 10_000
    assert accuracies["float"]["accuracies"][0] >= 0.87
    assert superposition["seeds"] == [0, 1, 2]
    assert sum(superposition["accuracies"]) / 3 >= 0.866
    assert superposition["effective_bits"] <= 2.6
    assert results["total_cycles"] <= 70_000
    assert (results["simulated"]["images"], results["exported"]["images"]) == (100, 1000)
    tensors = 114_762  # values of all layers of one image
    assert results["simulated"]["values"] == 100 * tensors
    assert results["exported"]["values"] == 1000 * tensors
