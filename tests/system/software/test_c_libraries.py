# SPDX-License-Identifier: Apache-2.0
"""Exported C libraries compute what the executor does, bit for bit, without warnings and undefined behaviour."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from c_libraries import COMPILER, assert_equal_in_c
from intarsia.integer import file
from intarsia.system.software import KERNELS
from random_networks import KINDS, random_images, random_layer_network, random_network

NETWORKS = Path(__file__).parents[3] / "studies" / "networks"
SEEDS = st.integers(0, 2**32 - 1)

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler: cc, gcc or clang")


@pytest.mark.parametrize("kernels", KERNELS)
@settings(max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=SEEDS,
    kinds=st.lists(st.sampled_from(KINDS), min_size=3, max_size=3, unique=True),
    values=st.tuples(st.booleans(), st.booleans()),
)
def test_layers_are_equal_in_c(
    tmp_path: Path, kernels: str, seed: int, kinds: list[str], values: tuple[bool, bool]
) -> None:
    rng, (extreme, free) = np.random.default_rng(seed), values
    cases = []
    for kind in kinds:
        network = random_layer_network(rng, kind, extreme=extreme, free=free, far=bool(rng.integers(2)))
        cases.append((network, random_images(rng, network, 2, extreme=extreme), kernels))
    assert_equal_in_c(cases, tmp_path)


@settings(max_examples=1, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=SEEDS, extreme=st.booleans(), free=st.booleans())
def test_networks_are_equal_in_c(tmp_path: Path, seed: int, extreme: bool, free: bool) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, 5, extreme=extreme, free=free)
    images = random_images(rng, network, 2)
    assert_equal_in_c([(network, images, kernels) for kernels in KERNELS], tmp_path)


def test_the_digits_network_is_equal_in_c(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from fixed_networks import trained_digits  # noqa: PLC0415 (needs PyTorch)
    from intarsia.datasets import load_dataset  # noqa: PLC0415
    from intarsia.quantize import Scheme, freeze, post_training  # noqa: PLC0415

    data = load_dataset("digits")
    model = post_training(trained_digits(), data, Scheme.parse("superposition"), images=64)
    network = freeze(model, name="digits")
    images = data.scaling.integers(data.test.images[:50])
    assert_equal_in_c([(network, images, kernels) for kernels in KERNELS], tmp_path, sanitized=False)


@pytest.mark.parametrize("name", ["resnet8", "dscnn", "mobilenet", "autoencoder"])
def test_trained_networks_are_equal_in_c(tmp_path: Path, name: str) -> None:
    network = file.load(NETWORKS / f"{name}-seed0.safetensors")
    images = random_images(np.random.default_rng(0), network, 3)
    assert_equal_in_c([(network, images, kernels) for kernels in KERNELS], tmp_path, sanitized=False)
