# SPDX-License-Identifier: Apache-2.0
"""What enters the keys of tasks: the data, and all else that a result depends on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intarsia.datasets import Dataset, InputScaling, Split
from intarsia.errors import IntarsiaError
from intarsia.flow import Settings
from intarsia.flow.stages import all_tasks
from intarsia.flow.trained import how_quantized
from intarsia.flow.verify import _score
from intarsia.recipes import QUANTIZATION_RECIPES


def own(folder: Path, **changes: Any) -> Settings:
    """Settings of a user's own network, on data in `folder`."""
    model = folder / "model.onnx"
    if not model.exists():
        model.write_bytes(b"any")
        for name in ("train", "test"):
            np.savez(folder / f"{name}.npz", x=np.zeros((30, 1, 8, 8), np.uint8), y=np.zeros(30, np.int64))
    return Settings("own", folder / "run", model=model, data_dir=folder, **changes)


def keys(settings: Settings) -> dict[str, Any]:
    return {task.id: dict(task.parameters) for task in all_tasks(settings)}


def test_other_test_data_is_a_reason_to_do_again_what_reads_it(tmp_path: Path) -> None:
    settings = own(tmp_path, baselines=("layerwise",), synthesis=False)
    before = keys(settings)
    np.savez(tmp_path / "test.npz", x=np.ones((30, 1, 8, 8), np.uint8), y=np.zeros(30, np.int64))
    after = keys(settings)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for name in before if name.split("/")[0] not in ("fit", "train", "compile")}
    assert {"execute/float", "quantize/layerwise-scheme"} <= changed


def test_a_reference_network_minds_which_data_was_found(tmp_path: Path) -> None:
    for name in ("mlperf_tiny/ad01_fp32.tflite", "ad/train_normal.npz", "ad/test_ad01.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"any")
    settings = Settings("autoencoder", tmp_path / "run", data_dir=tmp_path, synthesis=False)
    first = keys(settings)
    (tmp_path / "ad" / "test_ad01.npz").write_bytes(b"other")
    second = keys(settings)
    (tmp_path / "ad" / "ToyCar").mkdir()
    third = keys(settings)

    def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
        return {name.split("/")[0] for name in before if before[name] != after[name]}

    assert changed(first, second) == {"execute", "export-onnx", "simulate"}
    assert changed(second, third) == {"quantize", "execute", "export-onnx", "simulate"}


def test_pinned_data_adds_nothing_to_a_key() -> None:
    for name in ("digits", "resnet8"):
        assert not [task for task, key in keys(Settings(name, Path())).items() if "data" in key]


@pytest.mark.parametrize("known", [1, 3])
def test_a_score_is_of_the_inputs_whose_class_is_known(known: int) -> None:
    labels = np.array([1] * known + [-1] * (4 - known), np.int64)
    split = Split(np.zeros((4, 1, 1, 1), np.uint8), labels)
    data = Dataset("own", split, split, split, ("0", "1"), InputScaling(0, 1.0))
    found = _score(np.tile(np.array([[0.0, 1.0]]), (4, 1)), data)
    assert found.images == known
    assert f"100.00% of {known} test input" in found.summary


def test_default_transforms_go_with_the_default_scheme() -> None:
    assert Settings("dscnn", Path()).transforms == "equalize"
    assert Settings("dscnn", Path(), scheme="ternary+1:16xint4").transforms == "none"
    assert Settings("dscnn", Path(), transforms="none").transforms == "none"
    assert Settings("digits", Path()).transforms == "none"


def test_int8_is_not_equalized() -> None:
    found = keys(Settings("digits", Path(), transforms="equalize+widen1.5", synthesis=False))
    assert found["quantize/int8"]["transforms"] == "widen1.5"
    assert found["quantize/ternary-seed0"]["transforms"] == "equalize+widen1.5"
    alone = keys(Settings("digits", Path(), transforms="equalize", synthesis=False))
    assert alone["quantize/int8"]["transforms"] == "none"


def test_transforms_enter_the_key_of_all_that_they_change() -> None:
    def of(transforms: str) -> dict[str, Any]:
        settings = Settings(
            "digits", Path(), transforms=transforms, baselines=("ternary", "layerwise"), synthesis=False
        )
        return {name: key for name, key in keys(settings).items() if name.startswith("quantize/")}

    plain, widened = of("none"), of("widen1.5")
    assert plain.keys() == widened.keys()
    assert all(plain[name] != widened[name] for name in plain)


def test_a_rate_and_a_recipe_change_only_what_they_decide(tmp_path: Path) -> None:
    for network in (Settings("digits", Path(), synthesis=False), own(tmp_path, synthesis=False)):
        before = keys(network)

        def changed(settings: Settings, before: dict[str, Any] = before, **changes: Any) -> set[str]:
            after = keys(replace(settings, **changes))
            return {name for name in before if before[name] != after[name]}

        trained = {name for name in before if name.startswith(("quantize/superposition", "quantize/ternary"))}
        assert len(trained) == 2 * len(network.seeds)
        assert changed(network, rate=0.03) == trained
        assert changed(network, recipe="dscnn") == trained | {"quantize/int8"}  # calibrated on more inputs
    assert Settings("digits", Path(), rate=0.03).quantization_recipe.training.peak_rate == 0.03
    assert Settings("digits", Path()).quantization_recipe == QUANTIZATION_RECIPES["digits"]


def test_data_called_as_a_known_set_is_still_ones_own(tmp_path: Path) -> None:
    settings = own(tmp_path)
    np.savez(tmp_path / "cifar10.npz", x=np.zeros((30, 1, 8, 8), np.uint8), y=np.zeros(30, np.int64))
    named = replace(settings, data_dir=tmp_path / "cifar10.npz")
    assert named.quantization_recipe == settings.quantization_recipe == QUANTIZATION_RECIPES["own"]


@pytest.mark.parametrize(
    ("epochs", "kept", "text"),
    [
        (0, [0], "post-training quantization, after equalize"),
        (1, [1], "quantization-aware training, 1 epoch (kept epoch 1 of 1), distilled from the float network, after"),
        (20, [7], "20 epochs (kept epoch 7 of 20), distilled"),
        (20, [0], "(kept the network before training: no epoch was better on validation data)"),
        (20, [0, 0], "(kept the network before training: no epoch was better on validation data)"),
        (14, [12, 14, 9], "(kept epochs 12, 14, 9 of 14)"),
        (14, [12, 0], "(kept epochs 12, 0 of 14, 0 being the network before training)"),
    ],
)
def test_it_is_said_which_network_was_kept(epochs: int, kept: list[int], text: str) -> None:
    assert text in how_quantized(epochs, kept, "equalize")
    assert how_quantized(epochs, kept).endswith("network" if epochs else "quantization")


def test_an_empty_transform_is_refused() -> None:
    with pytest.raises(IntarsiaError, match="cannot read ''"):
        Settings("dscnn", Path(), transforms="")
