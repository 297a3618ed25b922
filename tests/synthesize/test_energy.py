# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.engine.cycles import LayerCycles, predict
from intarsia.engine.layout import DESCRIPTOR_WORDS
from intarsia.errors import IntarsiaError
from intarsia.synthesize.energy import access_energies, memory_energy
from intarsia.synthesize.liberty import Cell, Library
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.sram import Memory
from intarsia.synthesize.units import ExecutionUnit
from mlperf_tiny_networks import dscnn_like

#: One macro a kind, so wide that a word is one of them: energies are those of a macro.
WIDE = Pdk(
    Library(Path("none"), ()),
    (
        Cell("X_1P_65536x8192", 1.0, 65536, 8192, read_pj=3.0, write_pj=5.0),
        Cell("X_2P_65536x8192", 1.0, 65536, 8192, read_pj=7.0, write_pj=11.0),
    ),
    1.0,
    0.0,
)
LAYER = LayerCycles("a", "conv", 10, 1.0, 1, 0, 0, 9, 1.0, 100, 20, 30, 4, 5)


def test_each_access_costs_what_its_macro_takes() -> None:
    found = memory_energy([LAYER], EngineConfig(), ExecutionUnit("superposition", 1, 8, "own"), WIDE)
    one_port = 30 + 4 + 5 + DESCRIPTOR_WORDS
    assert found == pytest.approx((100 * 7.0 + 20 * 11.0 + one_port * 3.0) / 1000)


def test_a_unit_without_slots_has_no_sparse_memory() -> None:
    ternary, slot = ExecutionUnit("superposition"), ExecutionUnit("superposition", 1, 8, "own")
    both = [memory_energy([LAYER], EngineConfig(), unit, WIDE) for unit in (ternary, slot)]
    assert both[1] - both[0] == pytest.approx(4 * 3.0 / 1000)


def test_wider_words_take_more_macros() -> None:
    narrow = replace(
        WIDE, srams=tuple(replace(cell, bits=8, name=cell.name.replace("8192", "8")) for cell in WIDE.srams)
    )
    idle = replace(LAYER, activation_reads=0, activation_writes=0, sparse_reads=0, parameter_reads=0)
    program = DESCRIPTOR_WORDS * 4 * 3.0  # 32 bits in four macros
    for bits in (2, 4, 8):
        found = memory_energy([idle], EngineConfig(), ExecutionUnit("dense", weight_bits=bits), narrow)
        assert 1000 * found - program == pytest.approx(30 * (16 * 16 * bits // 8) * 3.0)


KINDS = (
    Cell("X_1P_64x16", 1.0, 64, 16, read_pj=1.0, write_pj=2.0),
    Cell("X_1P_1024x64", 10.0, 1024, 64, read_pj=6.0, write_pj=7.0),
    Cell("X_2P_64x16", 2.0, 64, 16, read_pj=3.0, write_pj=4.0),
)


@given(width=st.integers(1, 500), depth=st.integers(1, 4000), ports=st.sampled_from([1, 2]))
def test_a_memory_is_of_the_macros_with_the_least_product_of_area_and_energy(
    width: int, depth: int, ports: int
) -> None:
    memory = Memory("m", width, depth, ports)
    products = {}
    for cell in KINDS:
        columns, banks = -(-width // cell.bits), -(-depth // cell.words)
        if f"_{ports}P_" in cell.name:
            energies = (columns * (cell.read_pj or 0), columns * (cell.write_pj or 0))
            products[columns * banks * cell.area_um2 * energies[0], energies] = cell
    (_, expected), *_ = sorted(products)
    assert access_energies(memory, KINDS) == expected


def test_only_one_bank_is_awake() -> None:
    shallow, deep = (access_energies(Memory("m", 32, depth, 2), KINDS) for depth in (64, 640))
    assert shallow == deep == (6.0, 8.0)


def test_a_library_that_says_no_energies_is_refused() -> None:
    silent = replace(WIDE, srams=tuple(replace(cell, read_pj=None) for cell in WIDE.srams))
    with pytest.raises(IntarsiaError, match="says what an access takes; check PDK_ROOT"):
        memory_energy([LAYER], EngineConfig(), ExecutionUnit("superposition"), silent)


@pytest.mark.pdk
def test_the_memories_of_a_keyword_network(pdk: Pdk) -> None:
    network = dscnn_like(np.random.default_rng(0))
    program = compile_network(network, config_for(network))
    config = replace(program.config, **{name: max(16, words) for name, words in program.used_words().items()})
    layers = predict(program)
    unit = ExecutionUnit("superposition", config.slots, config.slot_bits, "own")
    found = memory_energy(layers, config, unit, pdk)
    words = sum(layer.activation_reads + layer.activation_writes for layer in layers)
    # By hand: 128 bits are four two-port macros of 32 bits, 416 bits are seven of 64 bits with one port.
    activations = words * 4 * 1e-3
    weights = sum(layer.dense_reads for layer in layers) * 7 * 1e-3
    assert activations * 20 + weights * 25 < found < 1.2 * (activations * 60 + weights * 92)
