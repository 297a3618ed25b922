# SPDX-License-Identifier: Apache-2.0
"""Whole engines on an ECP5: placed, routed, with bitstream, and the netlist simulated on a real input.

INTARSIA_DATA=... python benchmarks/fpga.py

The 16 × 16 engine fitted to ResNet-8 on an 85F and an 8 × 8 engine fitted to it on a 25F. The netlist that is placed is
simulated on the first test image, and every value of the result compared with the integer executor. Then a whole
system (processor, RAM, accelerator with the 8 × 8 engine, UART and timer) on a 45F; and, with a PDK (PDK_ROOT), the
share of its parts in gate equivalents. Keeps studies/results/fpga.json and writes docs/fpga.md; --again measures again
what is kept.
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
from intarsia.synthesize.area import liberty_area
from intarsia.synthesize.ecp5 import map_resources, netlist, place_and_route, simulation_models
from intarsia.synthesize.pdk import installed_pdk
from intarsia.synthesize.yosys import Design
from intarsia.system.accelerator import module_parameters
from intarsia.system.layout import Core, SystemMemory, core_number
from intarsia.system.sources import TOP as SYSTEM_TOP
from intarsia.system.sources import write_system
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
class Share:
    """A part of a system: its module, lookup tables before placement, and logic in kGE."""

    part: str
    lut: int
    kge: float


@dataclass(frozen=True)
class RoutedSystem:
    """A routed system; attributes as of `Routed`.

    Attributes:
        core, code_kib, data_kib: processor, and RAM.
        shares: of engine, accelerator (with the engine), processor and the whole.
    """

    name: str
    network: str
    core: str
    code_kib: int
    data_kib: int
    device: str
    lut: int
    ff: int
    dsp: int
    bram: int
    share_lut: float
    fmax_mhz: float
    critical_from: str
    critical_to: str
    bitstream_bytes: int
    minutes: float
    shares: tuple[Share, ...]


@dataclass(frozen=True)
class Results:
    """What was measured."""

    engines: tuple[Routed, ...]
    systems: tuple[RoutedSystem, ...]


def main() -> None:
    """Measure what is not kept, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", choices=[engine.name for engine in ENGINES], help="only these")
    parser.add_argument("--system", action="store_true", help="only the system")
    parser.add_argument("--seed", type=int, default=1, help="of placement")
    parser.add_argument("--again", action="store_true", help="measure again what is kept")
    options = parser.parse_args()
    for engine in () if options.system else ENGINES:
        known = {each.name for each in kept().engines}
        if (options.engines and engine.name not in options.engines) or (engine.name in known and not options.again):
            continue
        found = measured(engine, options.seed)
        print(found, flush=True)
        rest = {each.name: each for each in (*kept().engines, found)}
        engines = tuple(rest[each.name] for each in ENGINES if each.name in rest)
        write_json(RESULTS, to_json(Results(engines, kept().systems)))
    if not options.engines and (options.again or not kept().systems):
        write_json(RESULTS, to_json(Results(kept().engines, (system(options.seed),))))
    write_text(PAGE, page(kept()))


def kept() -> Results:
    """Return what was measured until now."""
    return read_typed(Results, RESULTS) if RESULTS.exists() else Results((), ())


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


_SMALL = ENGINES[1]
_CORE: Core = "picorv32"
#: RAM for firmware, and for program, weights and an image of ResNet-8.
_MEMORY = SystemMemory(16 << 10, 80 << 10)
_SYSTEM_DEVICE, _SYSTEM_MHZ = "45k", 50.0
_PARTS = {
    "intarsia_engine": "engine",
    "intarsia_accelerator": "accelerator: engine, registers, DMA, bus",
    "picorv32": "processor",
    "intarsia_soc": "system",
}


def system(seed: int) -> RoutedSystem:
    """Place and route the system, and measure its parts."""
    network = load(Path(f"studies/networks/{_SMALL.network}-seed0.safetensors"))
    config = config_for(network, EngineConfig(lanes=_SMALL.lanes, block=_SMALL.lanes))
    parameters = {
        "Core": core_number(_CORE),
        "CodeBytes": _MEMORY.code_bytes,
        "DataBytes": _MEMORY.data_bytes,
        "UartDivisor": round(_SYSTEM_MHZ * 1e6 / 115_200),
        **module_parameters(config),
    }
    with TemporaryDirectory() as name:
        design = Design(tuple(write_system(Path(name), _CORE)), SYSTEM_TOP, parameters)
        begun = time.monotonic()
        routed = place_and_route(
            design,
            cache=CACHE,
            device=_SYSTEM_DEVICE,
            speed=_SMALL.speed,
            seed=seed,
            target_mhz=_SYSTEM_MHZ,
            timeout_s=LIMIT_S,
        )
        minutes = (time.monotonic() - begun) / 60
        shares = _shares(design)
    return RoutedSystem(
        name=f"system with the {_SMALL.name} engine",
        network=_SMALL.network,
        core=_CORE,
        code_kib=_MEMORY.code_bytes >> 10,
        data_kib=_MEMORY.data_bytes >> 10,
        device=f"ECP5 {_SYSTEM_DEVICE}, speed grade {_SMALL.speed}",
        lut=routed.used.lut,
        ff=routed.used.ff,
        dsp=routed.used.dsp,
        bram=routed.used.bram,
        share_lut=routed.used.lut / routed.available.lut,
        fmax_mhz=routed.fmax_mhz,
        critical_from=routed.critical_from,
        critical_to=routed.critical_to,
        bitstream_bytes=routed.bitstream.stat().st_size if routed.bitstream else 0,
        minutes=minutes,
        shares=shares,
    )


def _shares(design: Design) -> tuple[Share, ...]:
    mapped = {part.module: part.inclusive.lut for part in map_resources(design, cache=CACHE, timeout_s=LIMIT_S).parts}
    pdk = installed_pdk()
    gates = liberty_area(design, pdk, cache=CACHE, timeout_s=LIMIT_S) if pdk else None
    return tuple(
        Share(title, mapped[module], gates.inclusive(module) if gates else 0.0) for module, title in _PARTS.items()
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
    for whole in results.systems:
        lines += _system_lines(whole)
    if not any(each.name == ENGINES[0].name for each in results.engines):
        lines.append(_OPEN)
    return "\n".join(lines).rstrip() + "\n"


def _system_lines(whole: RoutedSystem) -> list[str]:
    total = whole.shares[-1]
    lines = [
        "## The whole system",
        "",
        f"The [system](system.md) with PicoRV32, {whole.code_kib} + {whole.data_kib} KiB of RAM in block RAMs, and "
        f"the accelerator with an {_SMALL.name} engine",
        f"for {whole.network}, placed and routed on an {whole.device}: **{whole.fmax_mhz:.1f} MHz**, {whole.lut:,} "
        f"LUT4 ({whole.share_lut:.0%} of the device's), {whole.ff:,} FF, {whole.dsp} DSP, {whole.bram} BRAM; "
        f"bitstream {whole.bitstream_bytes / 1024:.0f} KB; tools {whole.minutes:.0f} min. Slowest path: "
        f"`{whole.critical_from}` to `{whole.critical_to}`.",
        "",
        "PicoRV32 asks for the next word from the one that has just arrived (its look-ahead interface), and the",
        "request reaches the engine's memories in the same cycle. A register at the accelerator's port would cut this",
        "path; it is not built.",
        "",
        "LUTs by module, each mapped alone, and logic in IHP's 130 nm cells (memories not included):",
        "",
        "| part | LUT4 | of the system | kGE | of the system |",
        "|---|---|---|---|---|",
    ]
    for share in whole.shares:
        lines.append(
            f"| {share.part} | {share.lut:,} | {share.lut / total.lut:.0%} | {share.kge:.1f} | "
            f"{share.kge / total.kge if total.kge else 0:.0%} |"
        )
    return [*lines, ""]


if __name__ == "__main__":
    main()
