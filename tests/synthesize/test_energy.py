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
from intarsia.engine.units import Dense, MixedRows, Superposition
from intarsia.errors import IntarsiaError
from intarsia.synthesize.energy import events_of, logic_energy, memory_energy
from intarsia.synthesize.liberty import Cell, Library
from intarsia.synthesize.netlist.memories import model_of
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.sram import Memory, map_memory
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
    Cell(
        "X_1P_64x16", 1.0, 64, 16, read_pj=1.0, write_pj=2.0, access_ns=3.0, setup_ns=0.1, pin_pf=0.01, leakage_nw=5.0
    ),
    Cell("X_1P_1024x64", 10.0, 1024, 64, read_pj=6.0, write_pj=7.0, access_ns=4.0, pin_pf=0.02, leakage_nw=70.0),
    Cell("X_2P_64x16", 2.0, 64, 16, read_pj=3.0, write_pj=4.0),
)


@given(width=st.integers(1, 300), depth=st.integers(1, 3000), ports=st.sampled_from([1, 2]))
def test_an_access_takes_what_the_macros_of_its_word_take(width: int, depth: int, ports: int) -> None:
    mapped = map_memory(Memory("m", width, depth, ports), KINDS, multiplexer_um2=0.01)
    model = model_of(mapped)
    for address in {0, depth // 2, depth - 1}:
        banks = [column[_bank(column, address)] for column in mapped.columns]
        assert model.read_pj[address] == pytest.approx(sum(cell.read_pj or 0 for cell in banks))
        assert model.write_pj[address] == pytest.approx(sum(cell.write_pj or 0 for cell in banks))
    cells = [cell for column in mapped.columns for cell in column]
    assert model.access_ns == max(cell.access_ns for cell in cells)
    assert model.leakage_nw == pytest.approx(sum(cell.leakage_nw for cell in cells))


def _bank(column: tuple[Cell, ...], address: int) -> int:
    for number, cell in enumerate(column):
        if address < cell.words:
            return number
        address -= cell.words
    raise AssertionError(address)


def test_a_library_that_says_no_energies_is_refused() -> None:
    silent = replace(WIDE, srams=tuple(replace(cell, read_pj=None) for cell in WIDE.srams))
    with pytest.raises(IntarsiaError, match="does not say what an access to X_1P_65536x8192 takes; check PDK_ROOT"):
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


def test_events_of_a_layer() -> None:
    engine = EngineConfig(unit=Superposition(2, 5, 2))
    accesses = (9 * engine.weight_bits, 130 * engine.act_bits, 20 * engine.act_bits)
    assert events_of(LAYER, engine) == (10, 1, 1, 10, *accesses)
    assert events_of(LAYER, replace(engine, lanes=8, acc_bits=0))[1] == 0.5  # half as many lanes


def test_a_unit_that_was_never_measured_is_refused() -> None:
    with pytest.raises(IntarsiaError, match="never measured on a netlist; choose another objective"):
        logic_energy([LAYER], EngineConfig(unit=MixedRows()))
