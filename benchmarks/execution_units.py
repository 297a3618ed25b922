# SPDX-License-Identifier: Apache-2.0
"""What do execution units and whole engines cost in area? Synthesize them by the same scripts, and write the tables.

python benchmarks/execution_units.py

Writes docs/execution-units.md. Results are kept under runs/, so that a second call starts no synthesis.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TypeGuard, get_args

import numpy as np
import torch
from numpy.typing import NDArray

import rival_units
from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.engine.cycles import predict
from intarsia.engine.sources import TOP, write_sources
from intarsia.engine.units import Dense, Positions, Superposition
from intarsia.files import write_text
from intarsia.flow import BENCHMARKS
from intarsia.integer import Conv2d, IntegerNetwork, Layer, Linear
from intarsia.integer.file import load
from intarsia.integer.formats import trit_bits
from intarsia.integer.layers import WeightLayer
from intarsia.networks import build, load_zoo, network_spec
from intarsia.quantize import Scheme
from intarsia.quantize.freezing import freeze_untrained
from intarsia.synthesize.area import liberty_area
from intarsia.synthesize.pdk import Pdk, installed_pdk
from intarsia.synthesize.requantizer_sweep import requantizer_areas
from intarsia.synthesize.units import LaneArray, UnitArea, characterize
from intarsia.synthesize.yosys import Design

POSITIONS: tuple[Positions, ...] = get_args(Positions)
SLOTS, SLOT_BITS = range(1, 5), (2, 3, 4, 5, 6, 8)
PLANE_SHIFT_BITS = 2
TERNARY = LaneArray(Superposition(0, 2, 0))
DENSE = tuple(LaneArray(Dense(bits)) for bits in (2, 3, 4, 8))
#: Those that run wider weights in passes.
DIGITS = tuple(LaneArray(Dense(bits, digits=True)) for bits in (2, 3, 4))
REFERENCE = DENSE[-1]

#: kGE of the commit before (758467c: two accumulators per lane and pixel), by its own script and by this one.
BEFORE = {
    TERNARY: (93.0, 77.9),
    LaneArray(Superposition(1, 5, PLANE_SHIFT_BITS)): (138.7, 113.0),
    LaneArray(Superposition(2, 5, PLANE_SHIFT_BITS)): (150.3, 124.5),
    DENSE[0]: (90.1, 78.8),
    DENSE[1]: (115.7, 101.5),
    DENSE[-1]: (250.9, 229.0),
}
#: kGE of the 16 trit decoders of that commit by this script: a byte was the value of its trits in base 3.
DECODERS_BEFORE = 10.2
#: Cycles of ResNet-8 with `ternary+1:16xint5` on that commit's engine fitted to it; kGE, mm² of logic, mm² of memory.
ENGINE_BEFORE = (60_038, 242.8, 1.76, 5.22)
#: Weights of ResNet-8, and the area of a kilobyte in one-port macros of 4 KB and more, in µm².
WEIGHTS, KILOBYTE_UM2 = 77_000, (31_000, 38_000)

Areas = dict[LaneArray, UnitArea]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--cache", type=Path, default=Path("runs/execution-units"), help="folder of kept results")
    options = parser.parse_args()
    pdk = installed_pdk()
    with tempfile.TemporaryDirectory() as folder:
        sources = write_sources(Path(folder))
        areas = measure(sources, pdk, options.cache)
        decoders = liberty_area(TERNARY.design(sources), pdk, cache=options.cache).inclusive("intarsia_trits")
        engine = engine_area(config_for(untrained("resnet8")), sources, pdk, options.cache)
        widths = [
            (words, *cycles_and_area(untrained("autoencoder"), words, sources, pdk, options.cache))
            for words in (1, 2, 4)
        ]
        residuals = residual_additions(tuple(sources), pdk, options.cache)
    text = (
        page(areas, decoders, pdk) + engines(engine, widths) + residuals + rival_units.section(rival_units.rows(), pdk)
    )
    write_text(options.docs / "execution-units.md", text)


def untrained(name: str) -> IntegerNetwork:
    """Return a built-in network in its own scheme; only its shapes count here."""
    torch.manual_seed(0)
    model = load_zoo(name) if name == "resnet8" else build(name)
    return freeze_untrained(model, Scheme.parse(BENCHMARKS[name].scheme), network_spec(name).shape, name=name)


def engine_area(config: EngineConfig, sources: Sequence[Path], pdk: Pdk, cache: Path) -> tuple[float, float, float]:
    """Return kGE of an engine's logic, mm² of it, and mm² of its memories."""
    report = liberty_area(Design(tuple(sources), TOP, config.module_parameters()), pdk, cache=cache)
    return report.total, report.total * pdk.gate_um2 / 1e3, report.sram_area_um2 / 1e6


def cycles_and_area(
    network: IntegerNetwork, words: int, sources: Sequence[Path], pdk: Pdk, cache: Path
) -> tuple[EngineConfig, int, tuple[float, float, float]]:
    """Return the engine fitted to a network, but with so many words per weight block, its cycles and its areas."""
    config = replace(config_for(network), weight_parts=words)
    depth = compile_network(network, config.deepest()).used_words()["weight_depth"]
    config = replace(config, weight_depth=-(-depth // 64) * 64)
    cycles = sum(layer.cycles for layer in predict(compile_network(network, config)))
    return config, cycles, engine_area(config, sources, pdk, cache)


def sparse(positions: Positions, slots: int, bits: int) -> LaneArray:
    places = tuple(range(slots)) if positions == "fixed" else ()
    return LaneArray(Superposition(slots, bits, PLANE_SHIFT_BITS, positions, places))


def measure(sources: list[Path], pdk: Pdk, cache: Path) -> Areas:
    arrays = [TERNARY, *DENSE, *DIGITS, *(sparse(*chosen) for chosen in product(POSITIONS, SLOTS, SLOT_BITS))]
    areas: Areas = {}
    for array in arrays:
        [areas[array]] = characterize([array], sources, pdk=pdk, cache=cache)
        print(f"{array}: {areas[array].transistors:,.0f} transistors", flush=True)
    return areas


def page(areas: Areas, decoders: float, pdk: Pdk) -> str:
    return f"""# What execution units cost

Written by `python benchmarks/execution_units.py` ([how units are described](../src/intarsia/engine/units)).
Every unit is synthesized in the same lane array by the same scripts: {TERNARY.lanes} lanes, each multiplying a block of
{TERNARY.block} 8-bit activations per cycle; {TERNARY.acc_slots} accumulators of {TERNARY.acc_bits} bits per lane; the
registers of the weights and their unpacking; and the selection of activations. With slots, the ternary plane is shifted
by 0 to {2**PLANE_SHIFT_BITS - 1} bits against the sparse plane.

- Memories, requantization and the rest of the engine are not included.
- Gate equivalents are those of IHP's open 130 nm cells at a relaxed clock, with clock gates. Transistors are counted
  without clock gates: an enable is a multiplexer.
- The path is the longest one inside a module, without wires. The choice of activations and the lane are separate
  modules and timed separately.
- Weight bits are the memory of one block of one lane, indices included.

## Without a sparse plane

| unit | transistors | flip-flops | kGE | of int8 | path in a module, ns | weight bits |
|---|---|---|---|---|---|---|
{chr(10).join(plain_row(areas[array], areas[REFERENCE]) for array in (TERNARY, *DENSE, *DIGITS))}

Dense lanes with digits also run wider weights, in passes.

## Ternary with sparse slots

Positions: separate for each lane / shared by all lanes / fixed in hardware.

| slots | transistors | flip-flops | kGE | of int8 | path in a module, ns | weight bits |
|---|---|---|---|---|---|---|
{chr(10).join(sparse_row(areas, slots, bits) for slots, bits in product(SLOTS, SLOT_BITS))}

## Before and after

In the first engine each lane had two accumulators per pixel, one for each plane. Then the sparse plane's step was tied
to the dense plane's by a power of two, and both planes got one accumulator (commit 758467c is the last one before).
In kGE, positions separate for each lane:

| unit | before, by the script of then | before, by today's script | now |
|---|---|---|---|
{chr(10).join(before_row(areas[array]) for array in BEFORE)}

- The script gained clock gates (flip-flops with an enable had a multiplexer each) and a mapping for area only.
- All units gained from the hardware that they share, and from adder trees whose terms have inverted sign bits instead
  of extended signs. A dense lane adds all partial products in one tree; before, it finished each product.

## How trits are stored

Five trits take a byte: {trit_bits(TERNARY.block)} bits for a block of {TERNARY.block}, where plain trits of two bits
take {2 * TERNARY.block}. {trit_code(decoders, pdk)}

## Findings

{findings(areas)}
"""


def engines(
    engine: tuple[float, float, float], widths: Sequence[tuple[int, EngineConfig, int, tuple[float, float, float]]]
) -> str:
    network = untrained("resnet8")
    cycles = sum(layer.cycles for layer in predict(compile_network(network, config_for(network))))
    rows = [
        f"| {words} | {config.weight_bits} × {config.weight_depth:,} | {count:,} | {kge:.1f} | {logic:.2f} "
        f"| {memory:.2f} | {logic + memory:.2f} |"
        for words, config, count, (kge, logic, memory) in widths
    ]
    before, now = ENGINE_BEFORE, (cycles, *engine)
    return f"""
## Whole engines

Engines are fitted to a network with its own scheme. Memories are SRAM macros of the same library, with the multiplexers
between their banks. `intarsia run` reports the same for the trained network, whose multipliers and biases may be wider.

| ResNet-8 | before | now |
|---|---|---|
| cycles per image | {before[0]:,} | {now[0]:,} |
| logic, kGE | {before[1]:.1f} | {now[1]:.1f} |
| logic, mm² | {before[2]:.2f} | {now[2]:.2f} |
| memories, mm² | {before[3]:.2f} | {now[3]:.2f} |
| sum, mm² | {before[2] + before[3]:.2f} | {now[2] + now[3]:.2f} |

"Before" is commit 758467c with four digits in the first layer, "now" has two.

**Width of the weight memory.** A weight block is one word, or two or four narrower ones, which take less area but a
cycle each to read. The FC-AutoEncoder uses every block once, so that it waits for them; one word has the least area ×
cycles:

| words per block | bits × words | cycles | logic, kGE | logic, mm² | memories, mm² | sum, mm² |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

An engine is fitted with the narrowest words that cost its network at most 5 % of the cycles.
"""


def residual_additions(sources: tuple[Path, ...], pdk: Pdk, cache: Path) -> str:
    """Compare two places where a residual can be added: the requantizer, and the slot multipliers of the lanes."""
    config, networks = EngineConfig(), sorted(Path("studies/networks").glob("resnet8-*.safetensors"))
    without, with_residual = (
        requantizer_areas(sources, (config.scale_bits,), residual_bits=bits, pdk=pdk, cache=cache)[0].kge or 0.0
        for bits in (0, config.residual_bits)
    )
    rows, steps = [], 0
    layers = [[layer for layer in load(path).layers if _adds(layer)] for path in networks]
    for same in zip(*layers, strict=True):
        channels, height, width = same[0].output.shape
        steps += height * width * -(-channels // config.lanes)
        factors = np.concatenate([_slot_factors(layer) for layer in same])
        rows.append(f"| {same[0].output.name} | {factors.min():.0f} to {factors.max():.0f} |")
    return f"""
## Residual additions

The requantizer adds the residual: {with_residual:.2f} kGE per lane with, {without:.2f} without, which is
{config.requant_lanes * (with_residual - without):.1f} kGE in an engine of {config.requant_lanes} requantizer lanes. The
other place would be a step of the slot multipliers before it, for {steps:,} more cycles in ResNet-8. There the
residual's multiplier would have to be, for each output channel, what its requantization makes of it:

| layer of ResNet-8, {len(networks)} networks | multiplier in steps of the accumulator |
|---|---|
{chr(10).join(rows)}

A slot of 5 bits holds up to 15, so that the residual would be split over several steps or slots, and rounding these
multipliers would change the network. So there is only the requantizer's addition.
"""


def _adds(layer: Layer) -> TypeGuard[WeightLayer]:
    return isinstance(layer, Conv2d | Linear) and layer.residual is not None


def _slot_factors(layer: WeightLayer) -> NDArray[np.float64]:
    """Return what to multiply a residual by before the requantization of each channel instead of after it."""
    after, each = layer.residual, layer.requantization
    assert after is not None
    factors: NDArray[np.float64] = after.multiplier * np.exp2(each.shift.astype(float) - after.shift) / each.multiplier
    return factors


def before_row(area: UnitArea) -> str:
    own, today = BEFORE[area.array]
    return f"| {area.array.unit} | {own:.1f} | {today:.1f} | {area.kge:.1f} |"


def trit_code(decoders: float, pdk: Pdk) -> str:
    """Compare the code with plain trits, in area of decoders, registers and memory."""
    saved = 2 * TERNARY.block - trit_bits(TERNARY.block)
    flip_flop = min(area for cell, area in pdk.cells.areas_um2.items() if pdk.is_flip_flop(cell))
    registers = saved * TERNARY.lanes * flip_flop
    kilobytes = WEIGHTS / TERNARY.block * saved / 8 / 1024
    low, high = (kilobytes * each for each in KILOBYTE_UM2)
    logic = decoders * 1000 * pdk.gate_um2 - registers
    kept = registers / pdk.gate_um2 / 1000
    return f"""\
The decoders of all lanes take {decoders:.1f} kGE
(before, when a byte was the value of its trits in base 3, {DECODERS_BEFORE:.1f} by the same script), and the narrower
registers save {kept:.1f}: in sum {logic:,.0f} µm². As plain trits, the {WEIGHTS:,} weights of ResNet-8 would take
{kilobytes:.1f} KB more, {low:,.0f} to {high:,.0f} µm² of SRAM. So there is only the packed code."""


def cells(area: UnitArea, reference: UnitArea) -> list[str]:
    return [
        f"{area.transistors:,.0f}",
        f"{area.flip_flops:,}",
        f"{area.kge:.1f}",
        f"{size(area) / size(reference):.0%}",
        f"{area.path_ns:.2f}",
        f"{area.array.word_bits / area.array.lanes:g}",
    ]


def size(area: UnitArea) -> float:
    assert area.kge is not None  # there is a PDK
    return area.kge


def plain_row(area: UnitArea, reference: UnitArea) -> str:
    return f"| {' | '.join([str(area.array.unit), *cells(area, reference)])} |"


def sparse_row(areas: Areas, slots: int, bits: int) -> str:
    each = [cells(areas[sparse(positions, slots, bits)], areas[REFERENCE]) for positions in POSITIONS]
    return f"| {slots} × int{bits} | {' | '.join(' / '.join(column) for column in zip(*each, strict=True))} |"


def findings(areas: Areas) -> str:
    def change(array: LaneArray, than: LaneArray) -> str:
        ratio = size(areas[array]) / size(areas[than]) - 1
        return f"{abs(ratio):.0%} {'more' if ratio > 0 else 'less'}"

    def share(positions: Positions, slots: int) -> str:
        return change(sparse(positions, slots, 8), sparse("own", slots, 8))

    narrow, wide = sparse("own", 1, 2), sparse("own", 1, 8)
    one, two, three = (sparse("own", slots, 5) for slots in (1, 2, 3))
    int2, int3, int4, int8 = DENSE
    apart = max(
        abs(size(areas[sparse("fixed", *chosen)]) / size(areas[sparse("shared", *chosen)]) - 1)
        for chosen in product(SLOTS, SLOT_BITS)
    )
    return f"""\
- Ternary alone takes {change(TERNARY, int2)} than int2, although it also has the adder for the digits of Horner's
  rule.
- A slot of int5 at separate positions takes {change(one, TERNARY)} than ternary alone. That is {change(one, int2)}
  than int2 and {change(one, int3)} than int3. Two such slots take {change(two, int3)} than int3, three
  {change(three, int3)} than int3 and {change(three, int4)} than int4.
- A slot of eight bits instead of two takes {change(wide, narrow)}. Ternary with one 8-bit slot takes
  {size(areas[wide]) / size(areas[int8]):.0%} of int8.
- Bits stored per block and lane: {", ".join(weight_bits(array) for array in (TERNARY, one, wide, *DENSE))}.
- Shared positions take {share("shared", 1)} with one 8-bit slot and {share("shared", 4)} with four; fixed positions
  {share("fixed", 1)} and {share("fixed", 4)}. Shared and fixed differ by {apart:.1%} at most.

Not visible in the figures:

- The ternary array also computes layers of several balanced-ternary digits, in as many passes; its area includes the
  hardware for that.
- A dense array takes all two's complement values; the formats `intN` exclude the smallest, so int2 weights are ternary
  weights in two bits.
- With shared or fixed positions a depthwise layer has no sparse plane."""


def weight_bits(array: LaneArray) -> str:
    return f"{array.unit} {array.word_bits / array.lanes:g}"


if __name__ == "__main__":
    main()
