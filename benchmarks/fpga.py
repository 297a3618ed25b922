# SPDX-License-Identifier: Apache-2.0
"""Whole engines on an ECP5: placed, routed, with bitstream, and the netlist simulated on a real input.

INTARSIA_DATA=... python benchmarks/fpga.py

The 16 × 16 engine fitted to ResNet-8 on an 85F and an 8 × 8 engine fitted to it on a 25F. The netlist that is placed is
simulated on the first test image, and every value of the result compared with the integer executor. Keeps
studies/results/fpga.json and writes docs/fpga.md; --again measures again what is kept.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.engine.cycles import predict
from intarsia.engine.sources import TOP, write_sources
from intarsia.errors import IntarsiaError
from intarsia.files import write_json, write_text
from intarsia.flow import Settings
from intarsia.flow.data import load_data
from intarsia.integer.executor import Executor
from intarsia.integer.file import load
from intarsia.simulate import SimulatedEngine
from intarsia.synthesize.ecp5 import netlist, place_and_route, simulation_models
from intarsia.synthesize.yosys import Design
from intarsia.typed_json import read_typed, to_json

RESULTS, PAGE, CACHE = Path("studies/results/fpga.json"), Path("docs/fpga.md"), Path("runs/fpga-cache")
LIMIT_S = 3600.0


@dataclass(frozen=True)
class Engine:
    """An engine: name, its network, lanes and block, device and its speed grade, clock to optimize for in MHz."""

    name: str
    network: str
    lanes: int
    device: str
    speed: int
    target_mhz: float


ENGINES = (
    Engine("16 × 16", "resnet8", 16, "85k", 8, 65.0),
    Engine("8 × 8", "resnet8", 8, "25k", 6, 60.0),
)


@dataclass(frozen=True)
class Routed:
    """A routed engine.

    Attributes:
        name, network, unit, device: what it is.
        lut, ff, dsp, bram: resources, and `share_lut` of the device's.
        fmax_mhz: after routing; critical_from, critical_to: its slowest path.
        cycles: of an inference.
        bitstream_bytes: compressed.
        compared: values of the result that the netlist computed equal to the executor's.
        minutes: of synthesis, placement, routing and bitstream on the machine that wrote this.
    """

    name: str
    network: str
    unit: str
    device: str
    lut: int
    ff: int
    dsp: int
    bram: int
    share_lut: float
    fmax_mhz: float
    critical_from: str
    critical_to: str
    cycles: int
    bitstream_bytes: int
    compared: int
    minutes: float


@dataclass(frozen=True)
class Results:
    """What was measured."""

    engines: tuple[Routed, ...]


def main() -> None:
    """Measure what is not kept, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", choices=[engine.name for engine in ENGINES], help="only these")
    parser.add_argument("--seed", type=int, default=1, help="of placement")
    parser.add_argument("--again", action="store_true", help="measure again what is kept")
    options = parser.parse_args()
    for engine in ENGINES:
        known = {each.name for each in kept().engines}
        if (options.engines and engine.name not in options.engines) or (engine.name in known and not options.again):
            continue
        found = measured(engine, options.seed)
        print(found, flush=True)
        rest = {each.name: each for each in (*kept().engines, found)}
        write_json(RESULTS, to_json(Results(tuple(rest[each.name] for each in ENGINES if each.name in rest))))
    write_text(PAGE, page(kept()))


def kept() -> Results:
    """Return what was measured until now."""
    return read_typed(Results, RESULTS) if RESULTS.exists() else Results(())


def measured(engine: Engine, seed: int) -> Routed:
    """Build one engine, compare its netlist, place and route it."""
    network = load(Path(f"studies/networks/{engine.network}-seed0.safetensors"))
    config = config_for(network, EngineConfig(lanes=engine.lanes, block=engine.lanes))
    program = compile_network(network, config)
    data = load_data(Settings(engine.network, Path("runs") / engine.network))
    image = data.scaling.integers(data.test.images[:1])
    with TemporaryDirectory() as name:
        folder = Path(name)
        design = Design(tuple(write_sources(folder / "rtl")), TOP, config.module_parameters())
        begun = time.monotonic()
        routed = place_and_route(
            design,
            cache=CACHE,
            device=engine.device,
            speed=engine.speed,
            seed=seed,
            target_mhz=engine.target_mhz,
            timeout_s=LIMIT_S,
        )
        minutes = (time.monotonic() - begun) / 60
        netlist(design, folder, harness=False, timeout_s=LIMIT_S)
        with SimulatedEngine(program, netlist=(folder / "netlist.v", *simulation_models(folder))) as simulated:
            run = simulated.run(image[0])
    expected = Executor(network, 1).run(image)[0].reshape(run.output.shape)
    if not np.array_equal(run.output, expected) or run.cycles != sum(layer.cycles for layer in predict(program)):
        raise IntarsiaError(f"the netlist of the {engine.name} engine computes something else; report this as a bug.")
    return Routed(
        name=engine.name,
        network=engine.network,
        unit=str(config.unit),
        device=f"ECP5 {engine.device}, speed grade {engine.speed}",
        lut=routed.used.lut,
        ff=routed.used.ff,
        dsp=routed.used.dsp,
        bram=routed.used.bram,
        share_lut=routed.used.lut / routed.available.lut,
        fmax_mhz=routed.fmax_mhz,
        critical_from=routed.critical_from,
        critical_to=routed.critical_to,
        cycles=run.cycles,
        bitstream_bytes=routed.bitstream.stat().st_size if routed.bitstream else 0,
        compared=run.output.size,
        minutes=minutes,
    )


_HEAD = """# On an FPGA

Whole engines, placed and routed for Lattice ECP5 (package CABGA381) with Yosys and nextpnr, both from
PyPI. Memories are block RAMs. Written by `INTARSIA_DATA=... python benchmarks/fpga.py`; Fmax is nextpnr's, after
routing, not measured on a board. *Equal* are values of the result for the first test image that the simulated netlist,
the one that is placed, computed as the integer executor does, in the cycles of the cycle model; a dash: not simulated.

| engine | network | unit | device | LUT4 | FF | DSP | BRAM | of the LUTs | Fmax, MHz | cycles | ms per inference | \
bitstream, KB | equal | tools, min | slowest path |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"""

_OPEN = """
## Not routed yet: the 16 × 16 engine

The 16 × 16 engine takes 35,500 LUTs, 42 % of an 85F. nextpnr places it and estimates 51 MHz before routing on speed
grade 8 (40 MHz on grade 6). Its router2 then brings wires that are used twice from 52,000 down to 900 within 33
iterations, where it was ended; router1 never came so far. `python benchmarks/fpga.py --engines "16 × 16"` tries it.
"""

_BESIDE = """
Cycles times resources, beside boards that run the same task: [published work](literature.md).
"""


def page(results: Results) -> str:
    """Return docs/fpga.md."""
    lines = [_HEAD]
    for each in results.engines:
        lines.append(
            f"| {each.name} | {each.network} | {each.unit} | {each.device} | {each.lut:,} | {each.ff:,} | {each.dsp} | "
            f"{each.bram} | {each.share_lut:.0%} | {each.fmax_mhz:.1f} | {each.cycles:,} | "
            f"{each.cycles / each.fmax_mhz / 1000:.2f} | {each.bitstream_bytes / 1024:.0f} | {each.compared or '–'} | "
            f"{each.minutes:.0f} | "
            f"`{each.critical_from}` to `{each.critical_to}` |"
        )
    lines.append(_BESIDE)
    if not any(each.name == ENGINES[0].name for each in results.engines):
        lines.append(_OPEN)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    main()
