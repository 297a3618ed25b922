"""The compiler: descriptors, memory allocation, and networks that the engine must refuse."""

import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia.engine import EngineConfig, compile_network
from intarsia.engine.allocation import allocate, lifetimes
from intarsia.engine.cycles import predict
from intarsia.engine.layout import FIELD_BITS, Descriptor, systemverilog_package
from intarsia.errors import IntarsiaError
from intarsia.integer import Conv2d, WeightFormat
from random_networks import random_layer_network, random_network, resnet8_like


def test_importing_the_engine_needs_no_torch() -> None:
    code = "import sys, intarsia.engine, intarsia.simulate, intarsia.integer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(st.randoms(use_true_random=False))
def test_descriptor_words_hold_every_field(random: object) -> None:
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    values = {name: int(rng.integers(0, 1 << bits)) for name, bits in FIELD_BITS.items()}
    packed = sum(word << 32 * i for i, word in enumerate(Descriptor(**values).words()))
    for field in reversed(fields(Descriptor)):
        assert packed & ((1 << FIELD_BITS[field.name]) - 1) == values[field.name]
        packed >>= FIELD_BITS[field.name]
    assert packed == 0


def test_package_declares_the_fields_in_order() -> None:
    text = systemverilog_package()
    places = [text.index(f" {field.name};") for field in fields(Descriptor)]
    assert places == sorted(places)


@given(st.integers(0, 10_000))
def test_live_tensors_never_overlap(seed: int) -> None:
    network = random_network(np.random.default_rng(seed), depth=8)
    bases = allocate(network, 16, 65536)
    spans = [(life, bases[life.name]) for life in lifetimes(network, 16)]
    for i, (one, a) in enumerate(spans):
        for two, b in spans[i + 1 :]:
            if two.first <= one.last:
                assert a + one.words <= b or b + two.words <= a, (one, two)


def test_resnet8_fits_and_is_fast() -> None:
    program = compile_network(resnet8_like(np.random.default_rng(0)))
    assert sum(layer.cycles for layer in predict(program)) <= 70_000


def _refused(network: object, config: EngineConfig, *words: str) -> None:
    with pytest.raises(IntarsiaError) as refusal:
        compile_network(network, config)  # type: ignore[arg-type]
    for word in words:
        assert word in str(refusal.value)


def test_a_dense_int8_plane_is_refused_by_name() -> None:
    network = random_layer_network(np.random.default_rng(0), kind="conv", dense="ternary", sparse=False)
    layer = network.layers[0]
    assert isinstance(layer, Conv2d)
    plane = replace(layer.planes[0], format=WeightFormat("int8"), weights=np.full_like(layer.planes[0].weights, 100))
    _refused(replace(network, layers=(replace(layer, planes=(plane,)),)), EngineConfig(), "conv", "slot")


@pytest.mark.parametrize(
    ("name", "value"), [("act_depth", 64), ("dense_depth", 16), ("sparse_depth", 16), ("param_depth", 16)]
)
def test_a_network_too_large_says_which_memory_to_raise(name: str, value: int) -> None:
    _refused(resnet8_like(np.random.default_rng(0)), replace(EngineConfig(), **{name: value}), name, "raise")


def test_accumulators_too_narrow() -> None:
    _refused(resnet8_like(np.random.default_rng(0)), EngineConfig(acc_bits=16), "acc_bits")


@pytest.mark.parametrize("change", [{"lanes": 12}, {"slots": 0}, {"requant_lanes": 3}, {"tile_pixels": 9}])
def test_illegal_parameters_are_named(change: dict[str, int]) -> None:
    with pytest.raises(IntarsiaError, match=next(iter(change))):
        EngineConfig(**change)
