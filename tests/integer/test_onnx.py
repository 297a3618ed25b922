# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork
from intarsia.integer.executor import Executor
from random_networks import KINDS, random_images, random_layer_network, random_network, resnet8_like

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from intarsia.integer.onnx import execute, export

SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx")


def assert_equal_in_onnxruntime(network: IntegerNetwork, images: np.ndarray, path: Path) -> None:
    export(network, path, all_outputs=True)
    expected = Executor(network, 1).trace(images)
    given = execute(path, images, threads=1)
    assert list(given) == [layer.output.name for layer in network.layers]
    for name, values in given.items():
        assert values.dtype == expected[name].dtype
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(seed=SEEDS, extreme=st.booleans(), free=st.booleans())
def test_a_layer_is_equal_in_onnxruntime(folder: Path, kind: str, seed: int, extreme: bool, free: bool) -> None:
    rng = np.random.default_rng(seed)
    network = random_layer_network(rng, kind, extreme=extreme, free=free)
    assert_equal_in_onnxruntime(network, random_images(rng, network, 2, extreme=extreme), folder / "layer.onnx")


@settings(max_examples=30)
@given(seed=SEEDS, extreme=st.booleans(), free=st.booleans())
def test_a_network_is_equal_in_onnxruntime(folder: Path, seed: int, extreme: bool, free: bool) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, 6, extreme=extreme, free=free)
    assert_equal_in_onnxruntime(network, random_images(rng, network, 3), folder / "network.onnx")


def test_resnet8_is_equal_in_onnxruntime(folder: Path) -> None:
    rng = np.random.default_rng(0)
    network = resnet8_like(rng)
    assert_equal_in_onnxruntime(network, random_images(rng, network, 120), folder / "resnet8.onnx")


def test_without_all_outputs_only_the_result_is_an_output(folder: Path) -> None:
    rng = np.random.default_rng(0)
    network = random_network(rng, 4)
    export(network, folder / "result.onnx")
    assert list(execute(folder / "result.onnx", random_images(rng, network, 2))) == [network.output.name]


def test_a_missing_package_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_layer_network(np.random.default_rng(0))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(IntarsiaError, match=r"the Python package onnx is missing"):
        export(network, folder / "missing.onnx")
    assert not (folder / "missing.onnx").exists()


def test_a_file_that_is_no_graph_is_refused(folder: Path) -> None:
    path = folder / "foreign.onnx"
    path.write_bytes(b"no graph at all")
    with pytest.raises(IntarsiaError, match=r"onnxruntime refuses .*foreign"):
        execute(path, np.zeros((1, 1, 1, 1), np.int8))
    with pytest.raises(IntarsiaError, match=r"there is no file .*nothing"):
        execute(folder / "nothing.onnx", np.zeros((1, 1, 1, 1), np.int8))
