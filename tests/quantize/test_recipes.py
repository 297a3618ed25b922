# SPDX-License-Identifier: Apache-2.0
"""Recipes as data: what they promise without any training."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia.recipes import QUANTIZATION_RECIPES, QuantizationRecipe, recipe_of

RECIPES = pytest.mark.parametrize("name", QUANTIZATION_RECIPES)


@RECIPES
def test_every_recipe_has_steps_that_are_parts_of_what_they_change(name: str) -> None:
    training = QUANTIZATION_RECIPES[name].training
    assert training.optimizer == "adam"  # whose steps are as large as the rate says
    assert 1e-4 <= training.peak_rate <= 2e-2
    assert training.phase(training.epochs - 1).size is None  # any data may be trained by it


@RECIPES
@pytest.mark.parametrize("epochs", [1, 2, 3, 20])
@pytest.mark.parametrize("snap", [0.0, 0.5, 1.0])
def test_the_last_epoch_has_integer_scales(name: str, epochs: int, snap: float) -> None:
    recipe = replace(QUANTIZATION_RECIPES[name].with_epochs(epochs), snap=snap)
    assert 0 <= recipe.snap_epoch < epochs == recipe.training.epochs


def test_data_that_nobody_knows_has_a_recipe_of_its_own() -> None:
    own = QUANTIZATION_RECIPES["own"]
    assert recipe_of("") == recipe_of("holiday pictures") == own
    assert own.work is not None
    assert not own.training.flip
    assert all(phase.pads == (0, 0) for phase in own.training.phases)  # inputs may be anything


def test_another_rate_or_number_of_epochs_changes_nothing_else() -> None:
    recipe = recipe_of("own")
    assert recipe.with_rate(None) == recipe.with_epochs(None) == recipe.with_epochs(0) == recipe
    assert recipe.with_rate(0.25).training == replace(recipe.training, peak_rate=0.25)
    longer = recipe.with_epochs(33)
    assert (longer.training.epochs, longer.work) == (33, None)
    assert repr(recipe.with_rate(0.25)) != repr(recipe)  # it is part of keys


@given(st.integers(1, 10**7), st.integers(1, 10**12), st.integers(1, 10**9))
def test_epochs_keep_within_the_work_of_a_recipe(inputs: int, macs: int, weights: int) -> None:
    recipe = recipe_of("own")
    assert recipe.work is not None
    found = recipe.fitted(inputs, macs, weights).training
    assert 1 <= found.epochs <= recipe.training.epochs
    assert found.epochs == 1 or found.epochs * inputs * macs <= recipe.work
    assert found.batch == min(recipe.training.batch, max(1, inputs // 4))
    assert found.epochs <= recipe.fitted(max(1, inputs // 2), macs, weights).training.epochs or inputs < 1000
    assert found.epochs <= recipe.fitted(inputs, max(1, macs // 2), max(1, weights // 2)).training.epochs


def test_only_large_networks_and_many_inputs_have_fewer_epochs() -> None:
    recipe = recipe_of("own")
    assert recipe.fitted(7200, 12_500_000, 78_000).training.epochs == recipe.training.epochs  # ResNet-8
    assert recipe.fitted(8000, 250_000_000, 1_000_000).training.epochs == 1
    assert recipe.fitted(60_000, 7_400_000, 7_400_000).training.epochs == 1  # a perceptron: weights take the time


def test_epochs_that_were_asked_for_are_done_whatever_they_take() -> None:
    for recipe in (recipe_of("own"), QuantizationRecipe(QUANTIZATION_RECIPES["resnet8"].training)):
        assert recipe.with_epochs(50).fitted(10**9, 10**9, 10**9).training.epochs == 50
