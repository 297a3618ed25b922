# SPDX-License-Identifier: Apache-2.0
"""What do execution units cost in area? Synthesize every unit in the same lane array, and write the table.

PDK_ROOT=... python benchmarks/execution_units.py

Writes docs/execution-units.md. Results are kept under runs/, so that a second call starts no synthesis.
"""

import argparse
import os
import tempfile
from itertools import product
from pathlib import Path
from typing import get_args

from intarsia.engine.sources import write_sources
from intarsia.files import write_text
from intarsia.synthesize.area import liberty_area
from intarsia.synthesize.pdk import Pdk, load_pdk
from intarsia.synthesize.units import ExecutionUnit, Positions, UnitArea, characterize

POSITIONS: tuple[Positions, ...] = get_args(Positions)
SLOTS, SLOT_BITS = range(1, 5), (2, 3, 4, 5, 6, 8)
PLANE_SHIFT_BITS = 2
TERNARY = ExecutionUnit("superposition")
DENSE = tuple(ExecutionUnit("dense", weight_bits=bits) for bits in (2, 3, 4, 8))
REFERENCE = DENSE[-1]

#: kGE of the commit before (758467c, two accumulators and two multipliers per output): by its own script, and by this one.
BEFORE = {
    "ternary": (93.0, 0.0),
    "int2": (90.1, 0.0),
    "int3": (115.7, 0.0),
    "int8": (250.9, 0.0),
    "ternary + 1 × int5": (138.7, 0.0),
    "ternary + 2 × int5": (150.3, 0.0),
}
#: The same of its decoder of five trits in a byte (the codes in the order of their values in base 3), 16 of them.
DECODERS_BEFORE = 0.0

Areas = dict[ExecutionUnit, UnitArea]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--cache", type=Path, default=Path("runs/execution-units"), help="folder of kept results")
    options = parser.parse_args()
    pdk = load_pdk(Path(os.environ["PDK_ROOT"]))
    with tempfile.TemporaryDirectory() as folder:
        sources = write_sources(Path(folder))
        areas = measure(sources, pdk, options.cache)
        decoders = liberty_area(TERNARY.design(sources), pdk, cache=options.cache).inclusive("intarsia_trits")
    write_text(options.docs / "execution-units.md", page(areas, decoders))


def sparse(positions: Positions, slots: int, bits: int) -> ExecutionUnit:
    return ExecutionUnit("superposition", slots, bits, positions, PLANE_SHIFT_BITS)


def measure(sources: list[Path], pdk: Pdk, cache: Path) -> Areas:
    units = [TERNARY, *DENSE, *(sparse(*chosen) for chosen in product(POSITIONS, SLOTS, SLOT_BITS))]
    areas: Areas = {}
    for unit in units:
        [areas[unit]] = characterize([unit], sources, pdk=pdk, cache=cache)
        print(f"{unit}: {areas[unit].transistors:,.0f} transistors", flush=True)
    return areas


def page(areas: Areas, decoders: float) -> str:
    return f"""# What execution units cost

Written by `python benchmarks/execution_units.py` ([how units are described](../src/intarsia/synthesize/units.py)).
Every unit is synthesized in the same lane array by the same scripts: {TERNARY.lanes} lanes, each multiplying a block of
{TERNARY.lanes} 8-bit activations per cycle; {TERNARY.acc_slots} accumulators of {TERNARY.acc_bits} bits per lane and
plane; the registers for unpacked weights; and the selection of activations.

- Memories, requantization and the rest of the engine are not included.
- Gate equivalents are those of IHP's open 130 nm cells at a relaxed clock.
- The path is the longest one inside a module, without wires. A gather that all lanes share and the multiplier after it
  are separate modules and timed separately.
- Weight bits are the memory of one block of one lane, indices included.

## Without a sparse plane

| unit | transistors | flip-flops | kGE | of int8 | path in a module, ns | weight bits |
|---|---|---|---|---|---|---|
{chr(10).join(plain_row(areas[unit], areas[REFERENCE]) for unit in (TERNARY, *DENSE))}

## Ternary with sparse slots

Positions: separate for each lane / shared by all lanes / fixed in hardware.

| slots | transistors | flip-flops | kGE | of int8 | path in a module, ns | weight bits |
|---|---|---|---|---|---|---|
{chr(10).join(sparse_row(areas, slots, bits) for slots, bits in product(SLOTS, SLOT_BITS))}

## Findings

{findings(areas, unpacking)}
"""


def size(area: UnitArea) -> float:
    return area.transistors if area.kge is None else area.kge


def cells(area: UnitArea, reference: UnitArea) -> list[str]:
    return [
        f"{area.transistors:,.0f}",
        f"{area.flip_flops:,}",
        "–" if area.kge is None else f"{area.kge:.1f}",
        f"{size(area) / size(reference):.0%}",
        "–" if area.path_ns is None else f"{area.path_ns:.2f}",
        f"{area.unit.word_bits / area.unit.lanes:g}",
    ]


def plain_row(area: UnitArea, reference: UnitArea) -> str:
    name = "ternary" if area.unit.weight_bits is None else f"int{area.unit.weight_bits}"
    return f"| {' | '.join([name, *cells(area, reference)])} |"


def sparse_row(areas: Areas, slots: int, bits: int) -> str:
    each = [cells(areas[sparse(positions, slots, bits)], areas[REFERENCE]) for positions in POSITIONS]
    return f"| {slots} × int{bits} | {' | '.join(' / '.join(column) for column in zip(*each, strict=True))} |"


def findings(areas: Areas, unpacking: float) -> str:
    def change(unit: ExecutionUnit, than: ExecutionUnit) -> str:
        ratio = size(areas[unit]) / size(areas[than]) - 1
        return f"{abs(ratio):.0%} {'more' if ratio > 0 else 'less'}"

    narrow, wide = sparse("own", 1, 2), sparse("own", 1, 8)
    two, four = sparse("own", 2, 8), sparse("own", 4, 8)
    smaller = [f"int{unit.weight_bits}" for unit in DENSE if size(areas[unit]) < size(areas[wide])]
    pairs = [
        size(areas[sparse("fixed", *chosen)]) / size(areas[sparse("shared", *chosen)])
        for chosen in product(SLOTS, SLOT_BITS)
    ]
    return f"""\
- Ternary alone takes {change(TERNARY, DENSE[0])} than int2, not half of it: unpacking five trits from a byte is
  {unpacking:.0%} of its transistors, and it has an additional adder for the digits of Horner's rule.
- The first slot is the expensive one, whatever its width: a 2-bit slot takes {change(narrow, TERNARY)} than ternary
  alone, because it needs a second set of accumulators. Eight bits instead of two then take {change(wide, narrow)}, and
  a second 8-bit slot {change(two, wide)}.
- Ternary with one 8-bit slot at separate positions takes {size(areas[wide]) / size(areas[REFERENCE]):.0%} of int8. In
  this lane array it is larger than {" and ".join(smaller)}: a superposition must win by accuracy, and by memory, where
  it stores {wide.word_bits / wide.lanes:g} bits per block and lane ({", ".join(weight_bits(unit) for unit in DENSE)}).
- Shared positions take {change(sparse("shared", 1, 8), wide)} with one 8-bit slot and
  {change(sparse("shared", 4, 8), four)} with four; fixed positions {change(sparse("fixed", 1, 8), wide)} and
  {change(sparse("fixed", 4, 8), four)}. Shared and fixed differ by {max(abs(pair - 1) for pair in pairs):.1%} at most.
  Fixed, which has less hardware, comes out larger in {sum(pair > 1 for pair in pairs)} of {len(pairs)} rows: the lanes
  are equal, and the mapper happens to find a smaller circuit for the selection of activations when the shared gather
  reads it. Differences of this size are not meaningful.

Not visible in the figures:

- The ternary array also computes layers of several balanced-ternary digits, in as many passes; its area includes the
  hardware for that.
- A dense array takes all two's complement values; the formats `intN` exclude the smallest, so int2 weights are ternary
  weights in two bits.
- The engine uses separate positions. With shared positions a depthwise layer has no sparse plane, and a residual
  addition, which the engine computes with separate positions, would need another method with shared or fixed ones."""


def weight_bits(unit: ExecutionUnit) -> str:
    return f"int{unit.weight_bits} {unit.word_bits / unit.lanes:g}"


if __name__ == "__main__":
    main()
