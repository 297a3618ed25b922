# SPDX-License-Identifier: Apache-2.0
"""Is superposition worth it? Whole engines of every execution unit, on the MLPerf Tiny networks, side by side.

INTARSIA_DATA=... python benchmarks/rival_units.py resnet8 dscnn mobilenet autoencoder

Each engine is fitted to its network at the same peak rate (16 lanes × 16 inputs per cycle). Superposition runs the
trained network of studies/networks; the one with twice as many precise weights was made by `intarsia execute resnet8
--scheme "ternary+2:16xint4, first=digits2" --baselines`. All rivals run networks that were quantized after training,
without any: uniform int8 and int4, formats mixed over output channels, and the widths that benchmarks/sum_together.py
found, also on the fixed 16-bit build. Each row is the whole test set in the integer executor, the cycle model, a
synthesis of the whole engine, and, with --simulate N, N inputs in RTL simulation, every value of every layer
compared.

Rows are kept in studies/results/rival-units.json, one by one; --again measures those of the given networks again.
Writes the last part of docs/execution-units.md, after what benchmarks/execution_units.py writes.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

from torch import nn

from intarsia.datasets import Dataset
from intarsia.engine import EngineConfig, Program, compile_network, config_for
from intarsia.engine.cycles import predict
from intarsia.engine.sources import TOP, write_sources
from intarsia.engine.units import unit_named
from intarsia.errors import IntarsiaError
from intarsia.files import write_json, write_text
from intarsia.flow import BENCHMARKS, Settings
from intarsia.flow.comparison import verify_on_engine
from intarsia.flow.data import load_data
from intarsia.integer import IntegerNetwork
from intarsia.integer.effective import effective_bits
from intarsia.integer.file import load
from intarsia.quantize import Scheme, freeze, post_training
from intarsia.quantize.module import QuantizedNetwork
from intarsia.quantize.transforms.settings import Transforms
from intarsia.synthesize.area import Setting, liberty_area
from intarsia.synthesize.pdk import Pdk, installed_pdk
from intarsia.synthesize.yosys import Design
from scale_bits import score
from sum_together import FOUND, float_model, read_found

NETWORKS, RESULTS = Path("studies/networks"), Path("studies/results/rival-units.json")
CACHE, PAGE = Path("runs/rival-units"), Path("docs/execution-units.md")
MULTIPLIERS = (
    ("array", "intarsia_multiplier_array", {"Bits": 16}),
    ("quadrants", "intarsia_multiplier_quadrants", dict[str, int]()),
)
MULTIPLIER_SOURCES = ("intarsia_multiplier_array", "intarsia_multiplier_quadrants", "intarsia_quadrants")
SETTINGS: tuple[Setting, ...] = ("smallest", "balanced", "fastest")
#: Points of accuracy that count as equal (of the AUC, hundredths).
EQUAL = 0.5
#: Seconds for the synthesis of an engine.
LIMIT_S = 3600.0


@dataclass(frozen=True)
class Rival:
    """A unit, by the name that users give it, and what it runs: a trained or a searched network, or a scheme."""

    title: str
    unit: str
    file: str = ""
    scheme: str = ""


RIVALS = (
    Rival("superposition", "superposition", file="{}-seed0"),
    Rival("superposition, twice as many precise weights", "superposition", file="{}-dense-slots"),
    Rival("dense int8", "dense8", file="{}-int8"),
    Rival("dense int4", "dense4", file="{}-int4"),
    Rival("mixed rows", "mixed_rows", scheme="mix-outputs:int4@0.25/int2, first=int8, last=int8"),
    Rival("Sum-Together", "sum_together", file="{}-sum-together-cycles"),
    Rival("fixed 16 bits", "sum_together16", file="{}-sum-together-cycles"),
)


@dataclass(frozen=True)
class Row:
    """One network on one unit.

    Attributes:
        network, title, unit: what it is; `engine`: the unit as it was fitted.
        score, metric: of the integer network, on the whole test set.
        bits: effective bits per weight.
        cycles: of an inference.
        kge: logic of the engine, at each setting of the synthesis that was asked for, smallest first.
        path_ns: slowest path within one module, likewise.
        logic_mm2, sram_mm2: area of the logic at the first setting, and of the memories.
        compared: inputs whose every value was equal in RTL simulation; 0: not simulated.
    """

    network: str
    title: str
    unit: str
    engine: str
    score: float
    metric: str
    bits: float
    cycles: int
    kge: tuple[float, ...]
    path_ns: tuple[float, ...]
    logic_mm2: float
    sram_mm2: float
    compared: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", choices=[name for name, b in BENCHMARKS.items() if b.official])
    parser.add_argument("--simulate", type=int, default=0, metavar="N", help="inputs in RTL simulation")
    parser.add_argument("--units", nargs="+", choices=[rival.unit for rival in RIVALS], help="only these")
    parser.add_argument("--again", action="store_true", help="measure again what is kept")
    options = parser.parse_args()
    pdk = installed_pdk()
    for name in options.networks:
        data = cache(partial(load_data, settings_of(name)))
        for rival in RIVALS:
            if options.units and rival.unit not in options.units:
                continue
            if rival.file and not network_of(name, rival).exists():
                continue  # not every network was trained in this way
            kept = rows()
            known = next((row for row in kept if (row.network, row.title) == (name, rival.title)), None)
            if known is not None and not options.again and known.compared >= options.simulate:
                continue
            row = measured(name, rival, data, options.simulate, pdk)
            print(row, flush=True)
            rest = [each for each in rows() if (each.network, each.title) != (name, rival.title)]
            write_json(RESULTS, [asdict(each) for each in sorted([*rest, row], key=place)])
    write_text(PAGE, PAGE.read_text(encoding="utf-8").partition(_TITLE)[0] + section(rows(), pdk))


def settings_of(name: str) -> Settings:
    return Settings(name, Path("runs") / name)


def place(row: Row) -> tuple[int, int]:
    return list(BENCHMARKS).index(row.network), [rival.title for rival in RIVALS].index(row.title)


def rows(path: Path = RESULTS) -> list[Row]:
    if not path.exists():
        return []
    kept = json.loads(path.read_text(encoding="utf-8"))
    return [Row(**{**row, "kge": tuple(row["kge"]), "path_ns": tuple(row["path_ns"])}) for row in kept]


def measured(name: str, rival: Rival, data: Callable[[], Dataset], simulate: int, pdk: Pdk) -> Row:
    network = made(name, rival, data)
    config = config_for(network, EngineConfig(unit=unit_named(rival.unit)))
    program = compile_network(network, config)
    together = rival.unit.startswith("sum_together")
    kge, paths, sram = areas(config, SETTINGS if together and name == "resnet8" else SETTINGS[:1], pdk)
    return Row(
        network=name,
        title=rival.title,
        unit=rival.unit,
        engine=str(config.unit),
        score=score(network, data()),
        metric=data().metric,
        bits=effective_bits(network).per_weight,
        cycles=sum(layer.cycles for layer in predict(program)),
        kge=kge,
        path_ns=paths,
        logic_mm2=kge[0] * pdk.gate_um2 / 1e3,
        sram_mm2=sram,
        compared=compared(network, program, data(), simulate) if simulate else 0,
    )


def made(name: str, rival: Rival, data: Callable[[], Dataset]) -> IntegerNetwork:
    if rival.file:
        return load(network_of(name, rival))
    settings = settings_of(name)
    transforms = Transforms.parse(settings.benchmark.transforms)
    images = settings.quantization_recipe.calibration
    return freeze(quantized(float_model(name), data(), rival.scheme, images, transforms), name=name)


def network_of(name: str, rival: Rival) -> Path:
    return NETWORKS / f"{rival.file.format(name)}.safetensors"


def quantized(model: nn.Module, data: Dataset, scheme: str, images: int, transforms: Transforms) -> QuantizedNetwork:
    return post_training(model, data, Scheme.parse(scheme), images=images, seed=0, transforms=transforms)


def areas(
    config: EngineConfig, settings: Sequence[Setting], pdk: Pdk
) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Return kGE and the slowest path in ns at each setting, and mm² of the memories."""
    kge, paths, sram = [], [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        design = Design(tuple(write_sources(Path(folder))), TOP, config.module_parameters())
        for setting in settings:
            report = liberty_area(design, pdk, setting=setting, cache=CACHE, timeout_s=LIMIT_S)
            kge.append(report.total)
            paths.append(report.path.delay_ps / 1e3 if report.path else 0.0)
            sram = report.sram_area_um2 / 1e6
    return tuple(kge), tuple(paths), sram


def compared(network: IntegerNetwork, program: Program, data: Dataset, count: int) -> int:
    """Return how many inputs gave equal values in RTL simulation: all, or there is an error."""
    images = data.scaling.integers(data.test.images[:count])
    verify_on_engine(network, program, images, progress=False)
    return len(images)


def section(kept: Sequence[Row], pdk: Pdk) -> str:
    """Return the part of docs/execution-units.md that says what was measured."""
    if not kept:
        raise IntarsiaError("nothing was measured yet; run benchmarks/rival_units.py first.")
    parts = [_HEAD]
    for name in dict.fromkeys(row.network for row in kept):
        mine = [row for row in kept if row.network == name]
        parts.append(_table(mine))
    parts.append(_wins(kept))
    parts.append(_together([row for row in kept if row.unit.startswith("sum_together")]))
    parts.append(_multipliers(pdk))
    return "\n".join(parts)


#: Where this script's part of the page begins.
_TITLE = "\n## Whole engines, side by side\n"
_HEAD = f"""{_TITLE}
Figures by `python benchmarks/rival_units.py resnet8 dscnn mobilenet autoencoder --simulate 20`. Each engine is
fitted to its network at the same peak rate, 16 lanes × 16 inputs per cycle. Superposition runs a trained network (one
seed; on ResNet-8 also one trained with `--scheme "ternary+2:16xint4, first=digits2"`);
**all rivals run networks quantized after training**, so their scores can still rise. *Cycles × area*, with int8 as
1, is the time of an inference at equal total area, if an engine could be scaled freely; less is better.

The tables above are a little older: their memories are columns of equal macros, here depths may differ in a column, and
the RTL has had two more execution units since. They, and the rows of mixed rows and of 16-bit multipliers below, are of
the engine before its loader and loops were pipelined, which takes up to 0.9 % more cycles and 2 to 3 % more logic. Rows
of superposition and of dense units, and [energy](energy.md), are of today's.
"""


def _table(mine: Sequence[Row]) -> str:
    reference = next((row for row in mine if row.unit == "dense8"), None)
    lines = [
        f"\n### {mine[0].network}\n",
        f"| unit | engine | {mine[0].metric} | bits per weight | cycles | kGE | logic, mm² | SRAM, mm² | total, mm² | "
        "cycles × area | inputs equal in RTL |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in mine:
        total = row.logic_mm2 + row.sram_mm2
        relative = "–"
        if reference is not None:
            relative = f"{total * row.cycles / (reference.cycles * (reference.logic_mm2 + reference.sram_mm2)):.2f}"
        lines.append(
            f"| {row.title} | {row.engine} | {shown(row.score, row.metric)} | {row.bits:.2f} | "
            f"{row.cycles:,} | {row.kge[0]:.1f} | {row.logic_mm2:.2f} | {row.sram_mm2:.2f} | "
            f"{total:.2f} | {relative} | {row.compared or '–'} |"
        )
    return "\n".join(lines) + "\n"


def shown(score: float, metric: str) -> str:
    return f"{score:.2%}" if metric == "accuracy" else f"{score:.4f}"


def _wins(kept: Sequence[Row]) -> str:
    """Return what the tables say of superposition: its area and time beside int8's and its closest rival's."""
    lines = ["\n### Does superposition pay?\n"]
    for name in dict.fromkeys(row.network for row in kept):
        mine = [row for row in kept if row.network == name]
        int8 = next((row for row in mine if row.unit == "dense8"), None)
        if int8 is not None:
            lines += [_win(own, int8, mine) for own in mine if own.unit == "superposition"]
    return "\n".join(lines) + _WHY


def _win(own: Row, int8: Row, mine: Sequence[Row]) -> str:
    """Compare area and time of one engine with int8's, and with the smallest rival's of about its accuracy."""
    points = (int8.score - own.score) * 100
    text = (
        f"- **{own.network}**, {own.title}: {_area(own) / _area(int8):.0%} of int8's total area, "
        f"{own.cycles / int8.cycles:.2f} times its cycles, {points:.1f} points below it "
        f"({'within' if points <= EQUAL else 'not within'} {EQUAL})."
    )
    rivals = [row for row in mine if row.unit != own.unit and own.score - row.score <= EQUAL / 100]
    if rivals:
        least = min(rivals, key=_area)
        change = _area(own) / _area(least) - 1
        text += (
            f"\n  The smallest rival that is at most {EQUAL} points below is {least.title}, {_area(least):.2f} mm² and "
            f"{(least.score - own.score) * 100:+.1f} points; superposition takes "
            f"{abs(change):.0%} {'less' if change < 0 else 'more'} area and {own.cycles / least.cycles:.2f} times its "
            "cycles."
        )
    return text


#: What stands behind figures above that do not speak for superposition.
_WHY = """

On DS-CNN and MobileNetV1, superposition gains little on int4, or loses. Their depthwise layers have weights of two
ternary digits, so two weight blocks per pixel, which are fetched again for each; a dense engine has one, which stays in
the lanes. So the memory must give a whole block per cycle, and such wide words are cut into small macros, which take
more area per bit. In two words per block they would be narrower, but cycles would be more. Three slots in every block
also leave little of the difference: in MobileNetV1 a block of a lane takes 53 bits, where int4 takes 64. DS-CNN once
had three and now has one.

Uniform int4 after training is a strong rival everywhere: it is level in accuracy with what superposition reaches by
training.

Mixed rows get 4 or 8 bits in all lanes where a network's layers want wide channels in different places, and on
FC-AutoEncoder: their choice counts logic and cycles, not the weight memory.
"""


def _area(row: Row) -> float:
    return row.logic_mm2 + row.sram_mm2


def _together(mine: Sequence[Row]) -> str:
    """Return the comparison of the Sum-Together engines with the fixed builds."""
    lines = [
        "\n### Sum-Together against the fixed 16-bit build\n",
        "The same networks, of searched widths. The fixed build has 16-bit multipliers of one product; narrower "
        "operands are sign-extended in its memories. Area is that of the logic. Published for a 28 nm accelerator "
        "(IEEE Access 2024), as means over its networks: 1.46, 1.33 and 1.29 times as fast for 0.9, 2.5 and 8.0 % more "
        "area. The engine here gains more time, because a word of its memory holds as many more channels as they are "
        "narrower, so that loads are saved with the multiplications. It pays more area: what is added to a multiplier "
        "is in the table below, and lanes choose activations, and the drain packs words, of three widths.\n",
        "Widths are the cheapest that validate at most one point below the float network "
        "(`python benchmarks/sum_together.py`). Fewer bits: against 16 bits in all layers.\n",
        "| network | score, float | Sum-Together | bits per weight | fewer bits | cycles, fixed | "
        "cycles, Sum-Together | speed-up | logic, smallest | balanced | fastest | SRAM, mm², fixed | Sum-Together |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    searched = {found.network: found for found in read_found(FOUND) if found.budget == "cycles"}
    for row in mine:
        fixed = next((r for r in mine if r.network == row.network and r.unit == "sum_together16"), None)
        if row.unit != "sum_together" or fixed is None:
            continue
        ratios = [f"{own / other - 1:+.1%}" for own, other in zip(row.kge, fixed.kge, strict=True)]
        ratios += ["–"] * (3 - len(ratios))
        found = searched[row.network]
        lines.append(
            f"| {row.network} | {shown(found.float_test, row.metric)} | {shown(row.score, row.metric)} | "
            f"{row.bits:.2f} | {1 - row.bits / found.wide_bits:.0%} | "
            f"{fixed.cycles:,} | {row.cycles:,} | {fixed.cycles / row.cycles:.2f} | "
            f"{' | '.join(ratios)} | {fixed.sram_mm2:.2f} | {row.sram_mm2:.2f} |"
        )
    return "\n".join([*lines, *_searches(mine)]) + "\n"


def _searches(rows: Sequence[Row]) -> list[str]:
    """Return what the search found under each budget."""
    metrics = {row.network: row.metric for row in rows}
    lines = [
        "\nThe same search under each budget (`--budget`). Cycles are predicted, of the engine at the time of the "
        "search. Validation figures are what the search compares: accuracy, or agreement with the float network where "
        "labels are unknown; of FC-AutoEncoder the explained share. `--budget energy` needs a model of energy that was "
        "fitted to this unit; there is none yet ([energy](energy.md)).\n",
        "| network | budget | bits per weight | fewer bits | validation, float | validation | test, float | test | "
        "cycles, fixed | cycles, Sum-Together |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for found in sorted(read_found(FOUND), key=lambda each: (list(BENCHMARKS).index(each.network), each.budget)):
        metric = metrics.get(found.network, "accuracy")
        lines.append(
            f"| {found.network} | {found.budget} | {found.bits:.2f} | {1 - found.bits / found.wide_bits:.0%} | "
            f"{found.float_validation:.3f} | {found.validation:.3f} | {shown(found.float_test, metric)} | "
            f"{shown(found.test, metric)} | {found.fixed_cycles:,} | {found.cycles:,} |"
        )
    return lines


def _multipliers(pdk: Pdk) -> str:
    """Return the areas of the two architectures of a Sum-Together multiplier alone."""
    lines = [
        "\nThe multiplier alone, in kGE, of one product and of up to four:\n",
        "| architecture | setting | 16 bits only | 16, 8 and 4 bits | more | path, ns | path, ns |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        sources = [path for path in write_sources(Path(folder)) if path.stem in MULTIPLIER_SOURCES]
        for title, top, own in MULTIPLIERS:
            for setting in SETTINGS:
                fixed, together = (
                    liberty_area(
                        Design(tuple(sources), top, {**own, "LeastBits": least}), pdk, setting=setting, cache=CACHE
                    )
                    for least in (16, 4)
                )
                paths = [f"{report.path.delay_ps / 1e3:.2f}" if report.path else "–" for report in (fixed, together)]
                lines.append(
                    f"| {title} | {setting} | {fixed.total:.2f} | {together.total:.2f} | "
                    f"{together.total / fixed.total - 1:+.0%} | {' | '.join(paths)} |"
                )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
