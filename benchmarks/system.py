# SPDX-License-Identifier: Apache-2.0
"""Networks in a RISC-V system: from firmware on the accelerator, and in software alone, on both processors.

INTARSIA_DATA=... python benchmarks/system.py resnet8 dscnn mobilenet autoencoder

Each network of studies/networks (seed 0) runs ten test images on the accelerator of a simulated system, and one image
in software with each family of kernels; every result is compared with the integer executor. Figures are kept in
studies/results/system.json, one network after the other; --again measures those of the given networks again. Writes
docs/system.md. `--lanes 8` measures engines of 8 × 8.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from intarsia.engine import EngineConfig
from intarsia.files import write_json, write_text
from intarsia.flow import BENCHMARKS, Settings
from intarsia.flow.inputs import inputs_of
from intarsia.flow.system import CoreCost, SystemCosts, SystemOptions, measure_system
from intarsia.integer.file import load
from intarsia.typed_json import read_typed, to_json

RESULTS, PAGE, TEXT = Path("studies/results/system.json"), Path("docs/system.md"), Path("benchmarks/system.md")
NETWORKS = Path("studies/networks")
IMAGES = 10
KERNELS = ("int8", "packed", "ternary")


@dataclass(frozen=True)
class Results:
    """What was measured."""

    rows: tuple[SystemCosts, ...]


def main() -> None:
    """Measure what is not kept, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    official = [name for name, benchmark in BENCHMARKS.items() if benchmark.official]
    parser.add_argument("networks", nargs="*", choices=[[], *official], default=[])
    parser.add_argument("--lanes", type=int, default=16, choices=(8, 16), help="of the engine, and its block")
    parser.add_argument("--again", action="store_true", help="measure again what is kept")
    options = parser.parse_args()
    for name in options.networks:
        known = {(row.network, row.lanes) for row in kept().rows}
        if (name, options.lanes) in known and not options.again:
            continue
        found = measured(name, options.lanes)
        print(found, flush=True)
        rest = {(row.network, row.lanes): row for row in kept().rows} | {(name, options.lanes): found}
        write_json(RESULTS, to_json(Results(tuple(rest[key] for key in sorted(rest, key=lambda key: _order(*key))))))
    write_text(PAGE, page(kept()))


def _order(network: str, lanes: int) -> tuple[int, int]:
    return list(BENCHMARKS).index(network), -lanes


def kept() -> Results:
    """Return what was measured until now."""
    return read_typed(Results, RESULTS) if RESULTS.exists() else Results(())


def measured(name: str, lanes: int) -> SystemCosts:
    """Measure one network; software only with the larger engine, because it is the same with both."""
    network = load(NETWORKS / f"{name}-seed0.safetensors")
    images = inputs_of(Settings(name, Path("runs") / name), network, IMAGES)
    software = KERNELS if lanes == EngineConfig.lanes else ()
    costs = measure_system(network, images, EngineConfig(lanes=lanes, block=lanes), SystemOptions(software=software))
    return replace(costs, network=name)


def page(results: Results) -> str:
    """Return docs/system.md."""
    return TEXT.read_text(encoding="utf-8").replace("TABLES\n", "\n".join(tables(results)) + "\n")


def tables(results: Results) -> list[str]:
    """Return the measured tables."""
    lines = [
        "| network | engine | core | image | engine | result | inference, cycles | MAC/cycle | of it the engine | "
        "instructions | load, once |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in results.rows:
        for core in row.cores:
            lines.append(
                f"| {row.network} | {row.lanes} × {row.block} | {core.core} | {core.image:,.0f} | {core.run:,.0f} | "
                f"{core.output:,.0f} | {core.total:,.0f} | {row.macs / core.total:.1f} | "
                f"{core.engine / core.total:.0%} | {core.instructions:,.0f} | {core.load:,} |"
            )
    lines += [
        "",
        "Software alone on the same processor, for one image, and how many times faster the accelerator is, with the",
        "movement of data:",
        "",
        "| network | core | kernels | cycles | MAC/cycle | instructions | constants, bytes | RAM, bytes | "
        "accelerator 16 × 16 | accelerator 8 × 8 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in (row for row in results.rows if row.lanes == EngineConfig.lanes):
        for core in row.cores:
            for run in core.software:
                lines.append(
                    f"| {row.network} | {core.core} | {run.kernels} | {run.cycles:,.0f} | "
                    f"{row.macs / run.cycles:.3f} | "
                    f"{run.instructions:,.0f} | {run.constant_bytes:,} | {run.ram_bytes:,} | "
                    f"{run.cycles / core.total:,.0f} × | {_faster(results, row.network, core, run.cycles)} |"
                )
    return lines


def _faster(results: Results, network: str, core: CoreCost, cycles: float) -> str:
    small = next((row for row in results.rows if (row.network, row.lanes) == (network, 8)), None)
    found = next((other for other in small.cores if other.core == core.core), None) if small else None
    return f"{cycles / found.total:,.0f} ×" if found else "–"


if __name__ == "__main__":
    main()
