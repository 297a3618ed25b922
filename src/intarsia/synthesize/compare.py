# SPDX-License-Identifier: Apache-2.0
"""The superposition array beside an int8 array of the same peak throughput, synthesized by the same scripts in one run.

Peak, for a dense layer of several balanced-ternary digits takes the superposition array as many passes, and the int8
array one. What counts for a network is area times cycles: `cycles_on_int8` says how many the int8 array takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.engine.cycles import predict
from intarsia.engine.units import Dense, Superposition, Unit
from intarsia.integer import (
    Conv2d,
    IntegerNetwork,
    Layer,
    Linear,
    Pattern,
    Plane,
    WeightFormat,
    weight_matrix,
)
from intarsia.synthesize.area import AreaReport, liberty_area, transistors
from intarsia.synthesize.ecp5 import DEVICES, map_resources
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.units import LaneArray
from intarsia.synthesize.yosys import Design

#: Names of the two quantities that say how large the arrays are: at the same peak, and for a network.
PEAK_AREA = "area at equal peak"
NETWORK_AREA = "area × cycles of this network"

_USUAL = Superposition(shift_bits=2)
_LARGEST, _LUTS = "85k", 83_640


@dataclass(frozen=True)
class Quantity:
    """One measured quantity of both arrays.

    Attributes:
        name: what is measured.
        unit: its unit.
        superposition, int8: the values.
        note: what must be known to read them, empty if nothing.
    """

    name: str
    unit: str
    superposition: float
    int8: float
    note: str = ""


@dataclass(frozen=True)
class ArrayComparison:
    """Both arrays side by side.

    Attributes:
        multiply_accumulates: weights that either array applies in a cycle, at one digit a weight.
        quantities: what was measured, in order.
    """

    multiply_accumulates: int
    quantities: tuple[Quantity, ...]


def cycles_on_int8(network: IntegerNetwork, engine: EngineConfig) -> int:
    """Return the cycles of an int8 network of the same layers on an engine with dense units, fitted to it."""
    int8 = replace(network, layers=tuple(map(_int8, network.layers)))
    program = compile_network(int8, config_for(int8, replace(engine, unit=Dense())))
    return sum(layer.cycles for layer in predict(program))


def _int8(layer: Layer) -> Layer:
    """Return a layer with int8 weights instead of its own: nearly their sum, which may take more bits."""
    if not isinstance(layer, Conv2d | Linear):
        return layer
    form = WeightFormat("int8")
    return replace(
        layer, planes=(Plane(np.clip(weight_matrix(layer.planes), -form.limit, form.limit), form, Pattern()),)
    )


def network_quantities(areas: Sequence[Quantity], cycles: int, cycles_int8: int) -> tuple[Quantity, ...]:
    """Return what a network costs on either array: its cycles, and each area times its cycles, in millions.

    Args:
        areas: quantities of both arrays; those named `PEAK_AREA` are multiplied.
        cycles: of the network on the engine with the superposition array.
        cycles_int8: with the int8 array (`cycles_on_int8`).
    """
    products = (
        Quantity(
            NETWORK_AREA,
            f"{area.unit} × Mcycles",
            area.superposition * cycles / 1e6,
            area.int8 * cycles_int8 / 1e6,
        )
        for area in areas
        if area.name == PEAK_AREA
    )
    note = "int8 by the cycle model, one pass in every layer"
    return Quantity("cycles of this network", "cycles", cycles, cycles_int8, note), *products


def compare_arrays(
    sources: tuple[Path, ...],
    *,
    unit: Superposition = _USUAL,
    lanes: int = 16,
    block: int = 16,
    acc_bits: int = 24,
    acc_slots: int = 6,
    pdk: Pdk | None = None,
    fpga: bool = True,
    cache: Path | None = None,
    timeout_s: float = 900.0,
) -> ArrayComparison:
    """Synthesize the superposition array and the int8 array and set their sizes side by side.

    Both take `lanes` × `block` weights per cycle, choose their activations in the same way, and hold `acc_slots` output
    pixels. The superposition array applies `lanes · unit.slots` high-precision weights beside.

    Args:
        sources: the engine's SystemVerilog files (`intarsia.engine.sources.write_sources`).
        unit: of the superposition array.
        lanes, block, acc_bits, acc_slots: parameters of the arrays; int8 has more bits where its sum of a block needs
            them.
        pdk: libraries for the figures in kGE; None leaves them out.
        fpga: also map both to ECP5, with and without the multipliers of the device.
        cache: folder of kept results; None keeps none.
        timeout_s: time limit of each Yosys run in seconds.

    Raises:
        IntarsiaError: pyosys is missing, the sources have an error, or the time is over.
    """

    def array(each: Unit) -> LaneArray:
        return LaneArray(each, lanes, block, max(acc_bits, each.least_acc_bits(block)), acc_slots)

    int8 = Dense()
    both = array(unit).design(sources), array(int8).design(sources)
    count = [transistors(design, cache=cache, timeout_s=timeout_s) for design in both]
    quantities = [Quantity(PEAK_AREA, "transistors", count[0].total, count[1].total)]
    if pdk is not None:
        gates = [liberty_area(design, pdk, cache=cache, timeout_s=timeout_s) for design in both]
        per_lane = gates[0].inclusive(unit.lane) / lanes, gates[1].inclusive(int8.lane) / lanes
        quantities += _gates(gates[0], gates[1], per_lane)
    quantities.append(Quantity("registers", "flip-flops", count[0].flip_flops, count[1].flip_flops))
    if fpga:
        quantities += _resources(both, cache, timeout_s)
    return ArrayComparison(lanes * block, tuple(quantities))


def _gates(superposition: AreaReport, int8: AreaReport, lane: Sequence[float]) -> list[Quantity]:
    """Return areas in kGE, those of a lane with them, and beside them the delays at which they were taken."""
    quantities = [
        Quantity(PEAK_AREA, "kGE", superposition.total, int8.total),
        Quantity("area of a lane", "kGE", lane[0], lane[1]),
    ]
    if superposition.path and int8.path:
        delays = (superposition.path.delay_ps / 1000, int8.path.delay_ps / 1000)
        note = "of the areas in kGE: within one part, without wires"
        quantities.append(Quantity("longest path", "ns", *delays, note))
    return quantities


def _resources(both: tuple[Design, Design], cache: Path | None, timeout_s: float) -> list[Quantity]:
    with_dsp, without = (
        [map_resources(design, dsp=dsp, cache=cache, timeout_s=timeout_s).total for design in both]
        for dsp in (True, False)
    )
    return [
        Quantity("ECP5", "LUT", with_dsp[0].lut, with_dsp[1].lut),
        Quantity(
            "ECP5", "DSP", with_dsp[0].dsp, with_dsp[1].dsp, _fit(with_dsp[0].dsp, with_dsp[1].dsp, DEVICES[_LARGEST])
        ),
        Quantity(
            "ECP5 without DSP", "LUT", without[0].lut, without[1].lut, _fit(without[0].lut, without[1].lut, _LUTS)
        ),
    ]


def _fit(superposition: int, int8: int, available: int) -> str:
    """Say how many of a resource the largest device has and which array needs more."""
    used = {"superposition": superposition, "int8": int8}
    larger = [name for name, count in used.items() if count > available]
    verdict = f"{' and '.join(larger)} cannot fit" if larger else "enough for either"
    return f"the largest ECP5, {_LARGEST}, has {available:,}: {verdict}"
