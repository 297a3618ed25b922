# SPDX-License-Identifier: Apache-2.0
"""Sum-Together multipliers against the sum of products of parts: exhaustively where that is possible.

All operands of the array of 8 bits, for N = 1, 2 and 4, and of each quadrant, whose four sign controls and split make
everything that the multiplier of quadrants is put together from. Of 16-bit operands, for each N: both operands at all
pairs of one part, the others at their ends; and random ones. Not all 2^32 pairs of 16 bits.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from intarsia.engine.packing import bits_of
from intarsia.engine.sources import write_sources
from rtl_bench import play, verilator

Ints = NDArray[np.int64]

ARRAY, QUADRANTS = "intarsia_multiplier_array", "intarsia_multiplier_quadrants"


def sources(folder: Path) -> list[Path]:
    names = (ARRAY, QUADRANTS, "intarsia_quadrants")
    return [path for path in write_sources(folder) if path.stem in names]


def parts(values: Ints, bits: int, count: int) -> Ints:
    """Signed parts (n, count) of numbers of `bits` bits."""
    width = bits // count
    fields = (values[:, None] >> (width * np.arange(count))) & ((1 << width) - 1)
    return np.asarray(np.where(fields >> (width - 1) & 1, fields - (1 << width), fields))


def together(a: Ints, b: Ints, bits: int, count: int) -> Ints:
    return np.asarray((parts(a, bits, count) * parts(b, bits, count)).sum(axis=1))


def played(instance: str, inputs: Sequence[tuple[Ints, int]], width: int, folder: Path) -> Ints:
    """Play inputs (values, bits) on an instance of ports in_i and y_o; return its results of `width` bits."""
    total = sum(bits for _, bits in inputs)
    text = (
        f"module bench(input logic clk_i, input logic [{total - 1}:0] in_i, output logic [{width - 1}:0] out_o);\n"
        f"  {instance};\n  logic unused;\n  assign unused = clk_i;\nendmodule\n"
    )
    stimulus = np.concatenate([bits_of(values, bits) for values, bits in inputs], axis=1)
    found = play(sources(folder / "rtl"), text, width, stimulus, folder)
    weights = np.int64(1) << np.arange(width)
    weights[-1] = -weights[-1]
    return np.asarray(found[:, :width].astype(np.int64) @ weights)


def grid(bits: int) -> tuple[Ints, Ints]:
    pairs = np.arange(1 << 2 * bits)
    return pairs & ((1 << bits) - 1), pairs >> bits


def test_every_operand_of_the_array_of_8_bits(tmp_path: Path) -> None:
    a, b = grid(8)
    expected = np.concatenate([together(a, b, 8, 1 << count) for count in range(3)])
    counts = np.repeat(np.arange(3), len(a))
    a, b = np.tile(a, 3), np.tile(b, 3)
    ports = ".count_i(in_i[17:16]), .a_i(in_i[7:0]), .b_i(in_i[15:8]), .y_o(out_o)"
    instance = f"{ARRAY} #(.Bits(8), .LeastBits(2)) u_bench ({ports})"
    np.testing.assert_array_equal(played(instance, [(a, 8), (b, 8), (counts, 2)], 16, tmp_path), expected)


def test_every_operand_and_sign_of_a_quadrant(tmp_path: Path) -> None:
    a, b = grid(8)
    signs = np.repeat(np.arange(8), len(a))
    a, b = np.tile(a, 8), np.tile(b, 8)
    instance = (
        "intarsia_quadrants #(.Bits(8), .Splits(1'b1)) u_bench (.split_i(in_i[18]), .a_signed_i(in_i[17]), "
        ".b_signed_i(in_i[16]), .a_i(in_i[7:0]), .b_i(in_i[15:8]), .y_o(out_o))"
    )
    split, a_signed, b_signed = signs >> 2, signs >> 1 & 1, signs & 1
    whole = np.where(a_signed, parts(a, 8, 1)[:, 0], a) * np.where(b_signed, parts(b, 8, 1)[:, 0], b)
    expected = np.where(split, together(a, b, 8, 2), whole)
    np.testing.assert_array_equal(played(instance, [(a, 8), (b, 8), (signs, 3)], 17, tmp_path), expected)


def operands(count: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Operands of 16 bits: of N parts, all pairs of one part (of up to 8 bits) beside others at their ends; any."""
    width = min(16 >> count, 8)
    one, other = grid(width)
    a, b = (rng.choice((0, 0x7FFF, 0x8000, 0xFFFF, 0x8888, 0x7777, 0x8080, 0x7F7F), len(one)) for _ in range(2))
    place = rng.integers(0, 16 // width, len(one)) * width
    mask = ((1 << width) - 1) << place
    a, b = a & ~mask | one << place, b & ~mask | other << place
    more = rng.integers(0, 1 << 16, (2, 50_000))
    return np.concatenate([a, more[0]]), np.concatenate([b, more[1]])


@pytest.mark.parametrize(("module", "least"), [(ARRAY, 4), (ARRAY, 16), (QUADRANTS, 4), (QUADRANTS, 8)])
def test_operands_of_16_bits(module: str, least: int, tmp_path: Path) -> None:
    rng, runs = np.random.default_rng(5), []
    for count in range(int(np.log2(16 // least)) + 1):
        a, b = operands(count, rng)
        runs.append((a, b, np.full(len(a), count), together(a, b, 16, 1 << count)))
    a, b, counts, expected = (np.concatenate(values) for values in zip(*runs, strict=True))
    parameters = f".Bits(16), .LeastBits({least})" if module == ARRAY else f".LeastBits({least})"
    instance = (
        f"{module} #({parameters}) u_bench (.count_i(in_i[33:32]), .a_i(in_i[15:0]), .b_i(in_i[31:16]), .y_o(out_o))"
    )
    found = played(instance, [(a, 16), (b, 16), (counts, 2)], 32, tmp_path)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("module", "legal"), [(ARRAY, ["-GBits=16"]), (QUADRANTS, [])])
def test_illegal_parts_stop_elaboration(module: str, legal: list[str], tmp_path: Path) -> None:
    values = [*legal, "-GLeastBits=2"]
    done = verilator(tmp_path, "--lint-only", "--top-module", module, *values, *map(str, sources(tmp_path)))
    assert done.returncode != 0
    assert "LeastBits must" in done.stderr
