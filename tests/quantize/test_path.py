# SPDX-License-Identifier: Apache-2.0
"""The whole path on real data: float network, calibration, training, integers."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fixed_networks import trained_digits
from frozen_networks import assert_integers_are_their_model
from intarsia.datasets import Dataset, InputScaling, Split, load_dataset
from intarsia.errors import IntarsiaError
from intarsia.integer import Conv2d, IntegerNetwork, Linear
from intarsia.integer.effective import effective_bits
from intarsia.integer.executor import Executor
from intarsia.integer.file import load, save
from intarsia.quantize import (
    PRESETS,
    Scheme,
    freeze,
    post_training,
    quantize,
)
from intarsia.quantize.checkpoint import History
from intarsia.quantize.module import attach, key
from intarsia.quantize.objectives import mismatch
from intarsia.quantize.qat import FloatNetwork
from intarsia.recipes import QUANTIZATION_RECIPES, recipe_of


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors this small only wait for each other
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    return trained_digits()


def accuracy(network: IntegerNetwork, data: Dataset) -> float:
    logits = Executor(network).run(data.scaling.integers(data.test.images))
    return float((logits.argmax(1) == data.test.labels).mean())


PLANES = [
    *("ternary+2:16/16xint4", "ternary+unstructured@0.1xint8", "ternary+inputs@0.1xint8", "ternary+outputs@0.1xint8"),
    *("ternary+blocks4@0.1xint8", "ternary+taps@0.2xint8", "ternary+fixed1:16xint8", "ternary a4"),
    *("binary", "binary+1:16xint8", "mix-outputs:int8@0.1/int4@0.3/int2", "mix-blocks16:int8@0.3/ternary"),
    "mix-inputs:int8@0.1/int4@0.3/binary, depthwise=mix-inputs:int8@0.3/int4, first=mix-taps:int8@0.5/int4",
]


@pytest.mark.parametrize("name", [*PRESETS, *PLANES])
def test_calibration_alone_gives_a_network_whose_integers_are_its_model(
    name: str, digits: Dataset, trained: nn.Module, tmp_path: Path
) -> None:
    module = post_training(trained, digits, Scheme.parse(name))
    network = freeze(module, name="digits")
    # Least are binary's 0.81 and ternary's 0.91; calibration on other images moves them by 0.02.
    coarse = any(word in name for word in ("a4", "int2", "binary"))
    assert accuracy(network, digits) > (0.7 if coarse else 0.8)
    save(network, tmp_path / "digits.safetensors")
    again = load(tmp_path / "digits.safetensors")
    assert accuracy(again, digits) == accuracy(network, digits)
    assert effective_bits(again) == effective_bits(network)
    assert_integers_are_their_model(module, network, digits.scaling.integers(digits.test.images))


@pytest.mark.parametrize("criterion", ["curvature", "gradient"])
def test_positions_by_cost_to_the_loss(criterion: str, digits: Dataset, trained: nn.Module) -> None:
    by_loss = post_training(trained, digits, PRESETS["superposition"], criterion=criterion)  # type: ignore[arg-type]
    by_residual = post_training(trained, digits, PRESETS["superposition"])
    name = f"{key('block1.pointwise')}.parametrizations.weight.0.mask"
    assert not torch.equal(by_loss.layers.get_buffer(name), by_residual.layers.get_buffer(name))
    assert accuracy(freeze(by_loss, name="digits"), digits) > 0.8  # with other images for calibration 0.93 to 0.97


def test_training_recovers_what_calibration_loses_and_freezes(
    digits: Dataset, trained: nn.Module, tmp_path: Path
) -> None:
    scheme = Scheme.parse("binary a2")
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    calibrated = freeze(post_training(trained, digits, scheme, rounding="nearest"), name="digits")
    result = quantize(trained, digits, scheme, seed=0, epochs=12, validate_every=100)
    network = freeze(result.module, name="digits", metadata={"seed": "0"})
    assert accuracy(network, digits) > accuracy(calibrated, digits) + 0.1  # 0.74 becomes 0.95 to 0.96, by seed
    assert_integers_are_their_model(result.module, network, digits.scaling.integers(digits.test.images))
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    save(network, tmp_path / "digits.safetensors")
    again = load(tmp_path / "digits.safetensors")
    assert again.metadata == {"scheme": "binary a2", "seed": "0"}
    assert accuracy(again, digits) == accuracy(network, digits)
    assert 1 < effective_bits(again).per_weight < 8


@pytest.mark.parametrize("name", PLANES)
def test_every_kind_of_plane_trains(name: str, digits: Dataset, trained: nn.Module) -> None:
    """Mixes once could not be trained: their masks have five dimensions."""
    recipe = replace(QUANTIZATION_RECIPES["digits"], settle=2)
    few = replace(digits, train=digits.train.take(400))
    module = quantize(trained, few, Scheme.parse(name), seed=0, epochs=3, recipe=recipe, validate_every=100).module
    assert accuracy(freeze(module, name="digits"), digits) > 0.7  # 0.85 (binary) to 0.97, by scheme and seed


def same(first: IntegerNetwork, second: IntegerNetwork) -> bool:
    """Whether two networks have the same integers and scales."""

    def alike(ours: Conv2d | Linear, theirs: Conv2d | Linear) -> bool:
        planes = zip(ours.planes, theirs.planes, strict=True)
        return (
            all(np.array_equal(a.weights, b.weights) and a.shift == b.shift for a, b in planes)
            and np.array_equal(ours.requantization.multiplier, theirs.requantization.multiplier)
            and np.array_equal(ours.requantization.bias, theirs.requantization.bias)
            and ours.output.scale == theirs.output.scale
        )

    return all(map(alike, first.weight_layers(), second.weight_layers()))


def test_a_training_that_only_ruins_leaves_the_network_as_it_was_before(digits: Dataset, trained: nn.Module) -> None:
    scheme, recipe = PRESETS["superposition"], recipe_of("digits").with_epochs(3).with_rate(1.0)
    few = replace(digits, train=digits.train.take(400))
    result = quantize(trained, few, scheme, seed=3, recipe=recipe)
    before = post_training(trained, few, scheme, images=recipe.calibration, seed=3)
    assert result.history.kept == 0
    assert max(record.validation_accuracy or 0.0 for record in result.history.epochs) < 0.5
    assert same(freeze(result.module, name="digits"), freeze(before, name="digits"))
    again = quantize(trained, few, scheme, seed=3, recipe=recipe, validate_every=0)
    assert again.history.kept == 3
    # Not frozen: on some processors the ruined network's biases are too large, and freezing says so.
    ruined, good = (module.state_dict() for module in (again.module, before))
    assert any(not torch.equal(ruined[name], good[name]) for name in good)


def test_what_is_kept_is_what_was_validated_and_no_worse_than_any_other(digits: Dataset, trained: nn.Module) -> None:
    few = replace(digits, train=digits.train.take(400))
    recipe = replace(recipe_of("digits").with_epochs(6), snap=0.4)
    result = quantize(trained, few, Scheme.parse("ternary"), seed=0, recipe=recipe)
    history = result.history
    network = freeze(result.module, name="digits")
    logits = Executor(network).run(digits.scaling.integers(digits.validation.images))
    found = float((logits.argmax(1) == digits.validation.labels).mean())
    assert history.validation_accuracy == pytest.approx(found, abs=2 / len(digits.validation))  # ties
    looks = [record.validation_accuracy or 0.0 for record in history.epochs]
    assert history.kept == 0 or history.kept > recipe.snap_epoch
    assert history.validation_accuracy is not None
    assert history.validation_accuracy >= max(looks[recipe.snap_epoch :])
    if history.kept:
        assert history.validation_accuracy == looks[history.kept - 1]


@pytest.mark.parametrize("name", ["superposition", "binary+1:16xint8", "mix-outputs:int8@0.1/int4@0.3/int2"])
def test_scales_that_are_released_and_snapped_again_are_the_same(
    name: str, digits: Dataset, trained: nn.Module
) -> None:
    module = post_training(trained, digits, Scheme.parse(name))
    before = freeze(module, name="digits")
    with torch.no_grad():
        x = torch.from_numpy(digits.scaling.reals(digits.test.images))
        outputs = module(x)
        module.release()
        assert not module.snapped
        assert float((module(x) - outputs).square().mean() / outputs.var()) < 0.01  # training begins where that ends
    again = freeze(module, name="digits")
    for first, second in zip(before.weight_layers(), again.weight_layers(), strict=True):
        assert np.array_equal(first.requantization.multiplier, second.requantization.multiplier)
        for one, other in zip(first.planes, second.planes, strict=True):
            assert float((one.weights != other.weights).mean()) < 0.002  # ties
        assert first.output.scale == pytest.approx(second.output.scale)


class _StoppedError(Exception):
    pass


def test_matching_every_layer_brings_them_closer_to_the_teachers(digits: Dataset, trained: nn.Module) -> None:
    few = replace(digits, train=Split(digits.train.images[:128], digits.train.labels[:128]))
    base = recipe_of("digits").with_epochs(6)

    def distance(match: float) -> float:
        recipe = replace(base, training=replace(base.training, teacher_weight=1.0, match=match))
        module = quantize(trained, few, PRESETS["superposition"], seed=0, recipe=recipe, validate_every=0).module.eval()
        teacher = FloatNetwork(attach(trained, module.scheme, module.shape, module.input_scale)).eval()
        with torch.no_grad():
            x = torch.from_numpy(digits.scaling.reals(digits.validation.images))
            return float(mismatch(module(x, every=True), teacher(x, every=True)))

    assert distance(10.0) < 0.95 * distance(0.0)  # 0.86 to 0.87 by seed


def test_the_default_teacher_reads_unsigned_inputs_whole(
    digits: Dataset, trained: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken for signed ones, its inputs above 127 were once clipped."""
    unsigned = replace(digits, scaling=InputScaling(offset=0, scale=1 / 255, signed=False))
    teachers = []

    def keep(network: nn.Module, *_: object, teacher: nn.Module, **__: object) -> History:
        teachers.append(teacher)
        return History((), 0, None)

    monkeypatch.setattr("intarsia.quantize.qat.train_network", keep)
    quantize(trained, unsigned, PRESETS["int8"], seed=0, epochs=1)
    bright = torch.full((1, 1, 8, 8), 230 / 255)
    with torch.no_grad():
        assert torch.allclose(teachers[0](bright), trained(bright), atol=1e-3)


@pytest.mark.parametrize("stop", [1, 3])
def test_a_stopped_training_goes_on_to_the_same_integers(
    stop: int, digits: Dataset, trained: nn.Module, tmp_path: Path
) -> None:
    recipe = replace(QUANTIZATION_RECIPES["digits"], settle=2, snap=0.5)

    def run(checkpoint: Path, stop: int | None = None) -> IntegerNetwork:
        def on_epoch(epoch: int, _: nn.Module) -> None:
            if epoch == stop:
                raise _StoppedError

        result = quantize(
            trained,
            digits,
            PRESETS["superposition"],
            seed=1,
            epochs=4,
            recipe=recipe,
            checkpoint=checkpoint,
            on_epoch=on_epoch,
        )
        return freeze(result.module, name="digits")

    unbroken = run(tmp_path / "unbroken.safetensors")
    with pytest.raises(_StoppedError):
        run(tmp_path / "stopped.safetensors", stop)
    resumed = run(tmp_path / "stopped.safetensors")
    assert same(unbroken, resumed)


def test_a_diverged_network_is_not_frozen(digits: Dataset, trained: nn.Module) -> None:
    module = post_training(trained, digits, PRESETS["ternary"])
    with torch.no_grad():
        module.weight_of(module.steps[0])[0].fill_(float("nan"))
    with pytest.raises(IntarsiaError, match="diverged"):
        freeze(module, name="digits")


def test_a_bias_beyond_its_limit_is_not_clipped_in_silence(digits: Dataset, trained: nn.Module) -> None:
    module = post_training(trained, digits, PRESETS["ternary"])
    layer = module.steps[0].module
    assert layer is not None and layer.bias is not None
    with torch.no_grad():
        layer.bias[0] = 1e18
    with pytest.raises(IntarsiaError, match=r"stem.*2\^46"):
        freeze(module, name="digits")
