# SPDX-License-Identifier: Apache-2.0
"""The superposition and the int8 array beside each other."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from intarsia.engine import EngineConfig, compile_network
from intarsia.engine.cycles import predict
from intarsia.integer import (
    ActivationFormat,
    Conv2d,
    IntegerNetwork,
    Pattern,
    Plane,
    Requantization,
    Tensor,
    WeightFormat,
)
from intarsia.synthesize.compare import (
    NETWORK_AREA,
    PEAK_AREA,
    Quantity,
    _fit,
    _resources,
    compare_arrays,
    cycles_on_int8,
    network_quantities,
)
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.yosys import Design


def test_the_superposition_array_is_smaller_than_the_int8_array(
    engine_sources: tuple[Path, ...], tmp_path: Path
) -> None:
    table = compare_arrays(engine_sources, lanes=8, block=8, acc_slots=2, fpga=False, cache=tmp_path)
    assert table.multiply_accumulates == 64
    [area, registers] = table.quantities
    assert (area.unit, registers.unit) == ("transistors", "flip-flops")
    assert area.name == PEAK_AREA
    assert 0.2 < area.superposition / area.int8 < 0.8
    assert registers.superposition > 0


def test_int8_takes_one_pass_in_every_layer() -> None:
    """A layer of three digits takes three times the steps of a ternary one, and as many cycles as it on int8."""
    rng = np.random.default_rng(5)
    source, output = (Tensor(name, (32, 8, 8), ActivationFormat(8, True), 1.0) for name in ("x", "y"))

    def cycles(dense: str) -> tuple[int, int]:
        limit = 13 if dense == "digits3" else 1
        shape = (32, 32, 3, 3)
        # Beyond int8 where the ternary plane is ±2^7 and sparse weights come on top.
        plane = Plane(rng.integers(-limit, limit, shape, endpoint=True), WeightFormat(dense), Pattern(), shift=7)
        weights = np.zeros(shape, np.int64)
        weights[:, ::16] = 127
        sparse = Plane(weights, WeightFormat("int8"), Pattern.parse("1:16"))
        requantization = Requantization(np.ones(32, np.int64), np.zeros(32, np.int64), np.full(32, 8), -128, 127)
        layer = Conv2d("x", output, (plane, sparse), requantization, padding=(1, 1, 1, 1))
        network = IntegerNetwork("one", source, (layer,), 6)
        program = compile_network(network)
        return sum(layer.cycles for layer in predict(program)), cycles_on_int8(network, EngineConfig())

    (ternary, ternary_int8), (digits, digits_int8) = cycles("ternary"), cycles("digits3")
    assert ternary_int8 == pytest.approx(digits_int8, rel=0.01) == pytest.approx(ternary, rel=0.01)
    assert digits > 2.5 * ternary


def test_areas_are_multiplied_by_the_cycles_of_either_array() -> None:
    areas = [Quantity(PEAK_AREA, "kGE", 100.0, 300.0), Quantity("registers", "flip-flops", 5, 6)]
    cycles, product = network_quantities(areas, 2_000_000, 1_000_000)
    assert (cycles.superposition, cycles.int8) == (2_000_000, 1_000_000)
    assert (product.name, product.unit) == (NETWORK_AREA, "kGE × Mcycles")
    assert (product.superposition, product.int8) == (200.0, 300.0)


def test_multipliers_that_a_device_lacks_are_said(mac_array: Callable[..., Design]) -> None:
    with_dsp, dsp, without = _resources((mac_array(Lanes=1), mac_array(Lanes=2)), None, 300.0)
    assert (dsp.unit, dsp.superposition, dsp.int8) == ("DSP", 1, 2)
    assert dsp.note.endswith("has 156: enough for either")
    assert with_dsp.unit == without.unit == "LUT"
    assert without.int8 > with_dsp.int8
    assert _fit(16, 256, 156).endswith("has 156: int8 cannot fit")


@pytest.mark.pdk
def test_the_comparison_in_gates(engine_sources: tuple[Path, ...], pdk: Pdk, tmp_path: Path) -> None:
    table = compare_arrays(engine_sources, lanes=8, block=8, acc_slots=2, pdk=pdk, fpga=False, cache=tmp_path)
    gates = [quantity for quantity in table.quantities if quantity.unit == "kGE"]
    assert [quantity.name for quantity in gates] == [PEAK_AREA, "area of a lane"]
    assert all(0.2 < quantity.superposition / quantity.int8 < 0.9 for quantity in gates)
    [delay] = [quantity for quantity in table.quantities if quantity.unit == "ns"]
    assert 0.5 < delay.superposition < delay.int8 < 50.0
