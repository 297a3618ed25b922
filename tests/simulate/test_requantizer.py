# SPDX-License-Identifier: Apache-2.0
"""The requantizer against its formula in plain integers, at random values and at the ends of all ranges."""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from intarsia.engine.packing import bits_of
from intarsia.engine.sources import write_sources
from intarsia.integer.layers import SHIFT_BITS
from rtl_bench import Bits, play, verilator

#: Clock cycles that are played, how many make a layer, and from the accumulator to the result.
CYCLES, LAYER, LATENCY = 12000, 24, 4


@dataclass(frozen=True)
class Widths:
    """Parameters of a requantizer."""

    acc: int
    scale: int
    bias: int
    residual: int
    residual_shift: int
    out: int = 8

    def text(self) -> str:
        names = ("AccBits", "ScaleBits", "BiasBits", "ResidualBits", "ResidualShiftBits", "OutBits")
        values = (self.acc, self.scale, self.bias, self.residual, self.residual_shift, self.out)
        return ", ".join(f".{name}({value})" for name, value in zip(names, values, strict=True))

    def ports(self) -> dict[str, tuple[int, bool]]:
        """Inputs: width, and whether it is signed."""
        return {
            "acc": (self.acc, True),
            "residual": (self.out, True),
            "scale": (self.scale, False),
            "shift": (SHIFT_BITS, False),
            "bias": (self.bias, True),
            "residual_scale": (max(1, self.residual), False),
            "residual_shift": (self.residual_shift, False),
            "lo": (self.out, True),
            "hi": (self.out, True),
        }


CONFIGURATIONS = (
    Widths(24, 6, 40, 0, 4),
    Widths(24, 6, 32, 8, 4),
    Widths(24, 6, 32, 8, 3),
    Widths(20, 8, 30, 5, 4),
    Widths(16, 2, 16, 1, 1),
    Widths(32, 16, 48, 8, 4),
    Widths(24, 6, 40, 16, 5),
    Widths(42, 6, 48, 6, 5, 16),
    Widths(48, 11, 48, 0, 4, 16),
    Widths(36, 8, 40, 16, 4, 16),
)


def value(draw: random.Random, width: int, signed: bool) -> int:
    """A value of a width: an end, one near zero, or any, of any size."""
    low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)
    kind = draw.randrange(4)
    if kind == 0:
        return draw.choice((low, high, low + 1, high - 1))
    bits = draw.randint(0, width) if kind == 1 else width
    return min(high, max(low, draw.randint(low, high) >> (width - bits)))


def draw_inputs(draw: random.Random, widths: Widths) -> list[dict[str, int]]:
    """Inputs of all cycles: those of a pixel together; the bias often takes the sum to a bound of some shift."""
    cycles, half = [], 1 << (widths.out - 1)
    for cycle in range(CYCLES):
        if cycle % LAYER == 0:
            constants = {name: value(draw, *widths.ports()[name]) for name in ("residual_scale", "residual_shift")}
            lo, hi = sorted((value(draw, widths.out, True), value(draw, widths.out, True)))
            constants |= {"lo": lo, "hi": hi} if draw.randrange(2) else {"lo": -half, "hi": half - 1}
        inputs = {name: value(draw, *widths.ports()[name]) for name in ("acc", "residual", "scale", "shift", "bias")}
        if draw.randrange(2):
            shift = inputs["shift"] + constants["residual_shift"] * (widths.residual > 0)
            wanted = (draw.choice((-half - 1, -half, -1, 0, half - 2, half - 1, half)) << shift) + draw.randint(-2, 2)
            bias = wanted - inputs["acc"] * inputs["scale"]
            if widths.residual:
                bias -= inputs["residual"] * constants["residual_scale"] << inputs["shift"]
            if abs(bias) < 1 << (widths.bias - 1):
                inputs["bias"] = bias
        cycles.append(inputs | constants)
    return cycles


def result(inputs: dict[str, int], widths: Widths) -> int:
    total = inputs["acc"] * inputs["scale"] + inputs["bias"] >> inputs["shift"]
    if widths.residual:
        total = total + inputs["residual"] * inputs["residual_scale"] >> inputs["residual_shift"]
    return min(max(total, inputs["lo"]), inputs["hi"])


def stimulus(cycles: list[dict[str, int]], widths: Widths) -> Bits:
    """Bits of the ports: accumulator of a pixel, then its other inputs a cycle later."""
    fields = []
    for name, (width, signed) in widths.ports().items():
        values = np.array([inputs[name] for inputs in cycles], np.int64)
        if name in ("residual", "scale", "shift", "bias"):
            values = np.concatenate([values[:1], values[:-1]])
        fields.append(bits_of(values, width, signed=signed))
    return np.concatenate(fields, axis=1)


def sources(folder: Path) -> list[Path]:
    names = ("intarsia_pkg", "intarsia_shift_saturate", "intarsia_requantizer")
    return [path for path in write_sources(folder) if path.stem in names]


def test_every_result_is_the_formula_in_plain_integers(tmp_path: Path) -> None:
    draw = random.Random(3)
    runs = [draw_inputs(draw, widths) for widths in CONFIGURATIONS]
    instances, inputs = [], 0
    for number, widths in enumerate(CONFIGURATIONS):
        pins = [".clk_i", f".y_o(out_o[{16 * number}+:{widths.out}])"]
        for name, (width, _) in widths.ports().items():
            pins.append(f".{name}_i(in_i[{inputs}+:{width}])")
            inputs += width
        instances.append(f"  intarsia_requantizer #({widths.text()}) u_{number} ({', '.join(pins)});\n")
    outputs = 16 * len(CONFIGURATIONS)
    head = (
        f"module bench(input logic clk_i, input logic [{inputs - 1}:0] in_i, output logic [{outputs - 1}:0] out_o);\n"
    )
    bits = np.concatenate([stimulus(run, widths) for run, widths in zip(runs, CONFIGURATIONS, strict=True)], axis=1)
    # Results of 8 bits lie in the lower halves of 16.
    narrow = [number for number, widths in enumerate(CONFIGURATIONS) if widths.out == 8]
    signs = [f"  assign out_o[{16 * n + 8}+:8] = {{8{{out_o[{16 * n + 7}]}}}};\n" for n in narrow]
    text = head + "".join(instances + signs) + "endmodule\n"
    waivers = ["-Wno-UNUSEDPARAM"]  # the package has constants of the whole engine
    played = play(sources(tmp_path / "rtl"), text, outputs, bits, tmp_path, waivers=waivers)
    got = np.packbits(played, axis=1, bitorder="little").view(np.int16)
    # The first pixels of a layer pass under constants of two layers.
    whole = [cycle for cycle in range(CYCLES - LATENCY) if cycle % LAYER < LAYER - LATENCY]
    for number, (run, widths) in enumerate(zip(runs, CONFIGURATIONS, strict=True)):
        expected = np.array([result(run[cycle], widths) for cycle in whole])
        np.testing.assert_array_equal(got[np.array(whole) + LATENCY, number], expected, err_msg=str(widths))
        assert len(np.unique(expected)) > 200


@pytest.mark.parametrize(
    ("parameter", "number"),
    [("AccBits", 15), ("ScaleBits", 17), ("BiasBits", 49), ("ResidualBits", 17), ("ResidualShiftBits", 6)],
)
def test_illegal_parameters_stop_elaboration(parameter: str, number: int, tmp_path: Path) -> None:
    legal = {"AccBits": 24, "ScaleBits": 6, "BiasBits": 32}
    values = [f"-G{name}={width}" for name, width in (legal | {parameter: number}).items()]
    done = verilator(
        tmp_path, "--lint-only", "--top-module", "intarsia_requantizer", *values, *map(str, sources(tmp_path))
    )
    assert done.returncode != 0
    assert f"{parameter} must" in done.stderr
