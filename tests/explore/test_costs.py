# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from intarsia.datasets import load_dataset
from intarsia.engine import compile_network, config_for
from intarsia.engine.cycles import predict
from intarsia.engine.units import Dense, Superposition, Unit, unit_named
from intarsia.explore.areas import Areas
from intarsia.explore.costs import costs_of
from intarsia.integer import IntegerNetwork
from intarsia.integer.effective import effective_bits
from intarsia.networks.digits import DigitsNet, Separable
from intarsia.quantize import Scheme
from intarsia.quantize.calibrate import post_training
from intarsia.quantize.freezing import freeze
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.units import LaneArray


class Wide(DigitsNet):
    """The digits network with wider blocks: the largest of few weights would fit narrower slots."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = Separable(16, 32)
        self.block2 = Separable(32, 32)
        self.block3 = Separable(32, 32, shortcut=True)
        self.fc = nn.Linear(32, 10)


def network(text: str) -> IntegerNetwork:
    torch.manual_seed(0)
    module = post_training(Wide().eval(), load_dataset("digits"), Scheme.parse(text), images=32)
    return freeze(module, name="digits")


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("ternary", Superposition(0, 2)),
        ("digits3", Superposition(0, 2)),
        ("ternary+1:16xint4", Superposition(1, 4)),
        ("ternary+2:16xint4, fc=ternary+1:16xint8", Superposition(2, 8)),
        ("ternary+1:16/16xint8", Superposition(1, 8, positions="shared")),
        ("ternary+1:16/8xint8", Superposition(1, 8)),
        ("ternary+1:16/16xint8, depthwise=ternary+outputs@0.1xint8", Superposition(1, 8)),
        ("ternary+fixed1:16xint4", Superposition(1, 4, positions="fixed", places=(0,))),
        ("ternary+1:16/16xint8, fc=ternary+1:16xint8", Superposition(1, 8)),
        ("int4, first=int4, last=int4", Dense(4)),
        ("int4", Dense(8)),  # first and last layer have 8 bits
        ("mix-outputs:int8@0.1/int2", Dense(8)),
    ],
)
def test_a_network_needs_the_least_unit_that_runs_all_its_layers(text: str, unit: Unit) -> None:
    found = costs_of(network(text))
    assert found.array is not None
    assert found.engine is not None
    assert found.array.unit == found.engine.unit
    if isinstance(unit, Superposition):
        assert isinstance(found.array.unit, Superposition)
        unit = replace(unit, shift_bits=found.array.unit.shift_bits)
    assert found.array.unit == unit


@pytest.mark.parametrize("name", ["dense4", "mixed_rows", "sum_together", "sum_together16"])
def test_a_network_runs_on_the_unit_that_a_design_names(name: str) -> None:
    found = costs_of(network("int4, first=default, last=default"), unit=name)
    assert found.engine is not None and found.array is not None and found.cycles
    assert found.engine.unit == found.array.unit
    assert found.engine.unit.name == unit_named(name).name
    assert found.array.acc_bits >= found.array.unit.least_acc_bits(16)


def test_wide_activations_run_on_sum_together_alone() -> None:
    wide = network("int8 a16")
    assert costs_of(wide).reason.endswith("or choose the unit sum_together.")
    assert costs_of(wide, unit="sum_together").cycles


def test_cycles_are_those_of_the_compiled_program() -> None:
    built = network("ternary+1:16xint4")
    costs = costs_of(built)
    assert costs.cycles == sum(layer.cycles for layer in predict(compile_network(built, config_for(built))))
    counted = effective_bits(built)
    assert costs.bits == counted.per_weight
    assert 8 * (costs.bytes - 1) < counted.total + counted.biases <= 8 * costs.bytes


def test_dense_lanes_take_one_pass_whatever_their_width() -> None:
    one_digit = costs_of(network("ternary, first=ternary, last=ternary, depthwise=ternary"))
    for text in ("int8", "int4, first=int4, last=int4, depthwise=int4"):
        cycles = costs_of(network(text)).cycles
        # Wider words hold more requantization, so that reading it takes fewer cycles; a fitted engine may lose 5 %.
        assert cycles == pytest.approx(one_digit.cycles, rel=0.05)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("int4+1:16xint8", "a dense unit has 8 bits at most"),
        ("ternary+8:16xint8", "8 sparse weights"),
    ],
)
def test_what_no_lanes_run_has_no_cycles_and_says_why(text: str, reason: str) -> None:
    costs = costs_of(network(text))
    assert costs.cycles is None
    assert costs.array is None
    assert reason in costs.reason
    assert costs.reason
    assert costs.bits > 0


def test_what_runs_has_the_accesses_of_its_program() -> None:
    built = network("ternary+1:16xint4")
    costs = costs_of(built)
    program = compile_network(built, config_for(built))
    assert costs.layers == predict(program)
    assert costs.engine is not None
    for name, words in program.used_words().items():
        assert getattr(costs.engine, name) == max(16, words)


def test_layers_of_equal_shape_on_dense_lanes_have_words_of_their_own() -> None:
    module = nn.Sequential(nn.Flatten(), *(nn.Linear(64, 64) for _ in range(4)))
    data = load_dataset("digits")
    built = freeze(post_training(module, data, Scheme.parse("int8"), images=32), name="equal")
    costs = costs_of(built)
    assert costs.engine is not None
    words = costs.engine.param_words + 4 * costs.engine.weight_parts  # of a tile of 16 channels: 64 inputs are 4 blocks
    assert costs.engine.weight_depth == 4 * 4 * words


@pytest.mark.pdk
def test_a_sparse_plane_takes_energy_and_unknown_lanes_have_no_figure(pdk: Pdk) -> None:
    texts = ("ternary", "ternary+1:16/16xint8", "ternary+2:16xint8", "int8+1:16xint8")
    dense, shared, two, nothing = (costs_of(network(text)).memory_energy(pdk) for text in texts)
    assert dense is not None
    assert shared is not None
    assert two is not None
    assert nothing is None
    assert 0 < dense < shared < two


def test_an_area_is_synthesized_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyosys")
    array = LaneArray(Superposition(0, 2, 0), lanes=8)
    found = Areas(tmp_path)[array]
    assert found > 10_000

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("synthesized twice")

    monkeypatch.setattr("intarsia.synthesize.area._synthesize", refuse)
    areas = Areas(tmp_path)
    with pytest.raises(AssertionError, match="twice"):
        areas[LaneArray(Superposition(1, 4, 0), lanes=8)]
