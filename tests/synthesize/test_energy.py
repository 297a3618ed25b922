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
from intarsia.engine.units import Dense, Superposition
from intarsia.errors import IntarsiaError
from intarsia.synthesize.energy import access_energies, memory_energy
from intarsia.synthesize.liberty import Cell, Library
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.sram import Memory
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
LAYER = LayerCycles("a", "conv", 10, 1.0, 1, 0, 0, 0, 9, 1.0, 100, 20, 30, 4, 5)


def test_each_access_costs_what_its_macro_takes() -> None:
    found = memory_energy([LAYER], EngineConfig(), WIDE)
    reads = 100 + 30 + 4 + 5 + DESCRIPTOR_WORDS
    assert found == pytest.approx((reads * 3.0 + 20 * 5.0) / 1000)


@pytest.mark.parametrize("unit", [Dense(2), Dense(8), Superposition(1, 8, 2)])
@pytest.mark.parametrize("parts", [1, 2])
def test_wider_words_take_more_macros(unit: Dense | Superposition, parts: int) -> None:
    narrow = replace(
        WIDE, srams=tuple(replace(cell, bits=8, name=cell.name.replace("8192", "8")) for cell in WIDE.srams)
    )
    idle = replace(LAYER, activation_reads=0, activation_writes=0, residual_reads=0)
    engine = EngineConfig(unit=unit, weight_parts=parts)
    program = DESCRIPTOR_WORDS * 4 * 3.0  # 32 bits in four macros
    assert engine.weight_bits == unit.block_bits(16, 16) // parts
    weights = (4 + 5) * -(-engine.weight_bits // 8) * 3.0
    assert 1000 * memory_energy([idle], engine, narrow) == pytest.approx(program + weights)


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
        memory_energy([LAYER], EngineConfig(), silent)


@pytest.mark.pdk
def test_the_memories_of_a_keyword_network(pdk: Pdk) -> None:
    network = dscnn_like(np.random.default_rng(0))
    program = compile_network(network, config_for(network))
    config = replace(program.config, **{name: max(16, words) for name, words in program.used_words().items()})
    layers = predict(program)
    found = memory_energy(layers, config, pdk)
    words = sum(layer.activation_reads + layer.activation_writes for layer in layers)
    # By hand: 128 bits are two one-port macros of 64 bits, a weight word is of several; 10 to 100 pJ for 64 bits.
    activations = words * 2 * 1e-3
    weights = sum(layer.weight_reads for layer in layers) * (config.weight_bits // 64) * 1e-3
    assert 10 * (activations + weights) < found < 100 * (activations + weights)
