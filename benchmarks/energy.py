# SPDX-License-Identifier: Apache-2.0
"""Energy per inference of whole engines, by part, on the four MLPerf Tiny networks: superposition beside its rivals.

PDK_ROOT=... INTARSIA_DATA=... python benchmarks/energy.py resnet8 dscnn mobilenet autoencoder

Each engine is fitted to its network (16 lanes × 16 inputs per cycle), synthesized, given buffers and a clock tree, and
runs the first test input on its netlist (`intarsia.synthesize.inference`). The first --cycles of each layer stand for
the layer; with --cycles 0 all are run, and a row that was sampled before keeps the difference as its sampling error.
--fit fits the fast model of the exploration to all kept rows.

Rows are kept in studies/results/energy.json, one by one; --again measures those of the given networks again. Writes
docs/energy.md, and with --fit src/intarsia/synthesize/energy_model.json.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.engine.cycles import predict
from intarsia.engine.units import unit_named
from intarsia.files import write_json, write_text
from intarsia.flow import BENCHMARKS, Settings
from intarsia.flow.data import load_data
from intarsia.integer.file import load
from intarsia.synthesize.energy import MODEL_FILE, events_of, unit_kind
from intarsia.synthesize.inference import InferenceEnergy, LayerEnergy, PlacedEngine
from intarsia.synthesize.pdk import Pdk, installed_pdk
from intarsia.synthesize.sram import map_memory
from intarsia.typed_json import read_typed, to_json

NETWORKS, RESULTS = Path("studies/networks"), Path("studies/results/energy.json")
CACHE, PAGE = Path("runs/netlists"), Path("docs/energy.md")
#: Seconds for the synthesis of an engine.
LIMIT_S = 3600.0


@dataclass(frozen=True)
class Engine:
    """What is measured: a title, a unit by the name that users give it, and the file of its network."""

    title: str
    unit: str
    file: str


ENGINES = (
    Engine("superposition", "superposition", "{}-seed0"),
    Engine("superposition, two slots", "superposition", "{}-dense-slots"),
    Engine("dense int8", "dense8", "{}-int8"),
    Engine("dense int4", "dense4", "{}-int4"),
    Engine("Sum-Together", "sum_together", "{}-sum-together-cycles"),
)


@dataclass(frozen=True)
class Part:
    """Energy of a part in nJ: inside cells or of accesses, of nets, of the clock, leakage."""

    name: str
    internal: float
    nets: float
    clock: float
    leakage: float

    @property
    def total(self) -> float:
        """The sum of all."""
        return self.internal + self.nets + self.clock + self.leakage


@dataclass(frozen=True)
class LayerRow:
    """A layer: energy of logic and of memories in nJ, and the events of the fast model."""

    name: str
    logic: float
    memory: float
    events: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """One network on one engine.

    Attributes:
        network, title, engine, kind: what it is.
        score, metric: of the integer network, on the whole test set.
        cycles: of an inference; period_ns: of the clock at which leakage counts.
        sampled: cycles that were run of each layer at most, 0: all; sampling_error: relative, if both were measured.
        logic_mm2, buffers_mm2, sram_mm2: areas; buffers: what was added for fan-out, wires and the clock.
        path_ns, path_start, path_end: slowest path of the whole engine.
        parts, layers: of the energy.
    """

    network: str
    title: str
    engine: str
    kind: str
    score: float
    metric: str
    cycles: int
    period_ns: float
    sampled: int
    sampling_error: float | None
    logic_mm2: float
    buffers_mm2: float
    sram_mm2: float
    path_ns: float
    path_start: str
    path_end: str
    parts: tuple[Part, ...]
    layers: tuple[LayerRow, ...]

    @property
    def total(self) -> float:
        """Energy of an inference in nJ."""
        return sum(part.total for part in self.parts)

    @property
    def memory(self) -> float:
        """Energy of the memories in nJ."""
        return sum(part.total for part in self.parts if is_memory(part.name))

    @property
    def area(self) -> float:
        """Total area in mm²."""
        return self.logic_mm2 + self.buffers_mm2 + self.sram_mm2


@dataclass(frozen=True)
class Results:
    """All rows that were measured, and the library."""

    library: str
    rows: tuple[Row, ...]


def is_memory(part: str) -> bool:
    """Whether a part is a memory, not logic."""
    return part.endswith(" memory")


def main() -> None:
    """Measure what is asked for and not kept; write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [name for name, benchmark in BENCHMARKS.items() if benchmark.official]
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(names)}; none: only write the page")
    parser.add_argument("--titles", nargs="+", choices=[engine.title for engine in ENGINES], help="only these")
    parser.add_argument("--cycles", type=int, default=400, help="cycles of each layer that are run; 0: all")
    parser.add_argument("--again", action="store_true", help="measure again what is kept")
    parser.add_argument("--fit", action="store_true", help="fit the fast model to all kept rows")
    options = parser.parse_args()
    if unknown := set(options.networks) - set(names):
        parser.error(f"there is no network {min(unknown)}; choose of {', '.join(names)}")
    pdk = installed_pdk()
    for name in options.networks:
        for engine in ENGINES:
            if (options.titles and engine.title not in options.titles) or not file_of(name, engine).exists():
                continue
            known = next((row for row in kept().rows if (row.network, row.title) == (name, engine.title)), None)
            if known is not None and not options.again and (known.sampled == options.cycles or not known.sampled):
                continue
            row = measured(name, engine, pdk, options.cycles)
            if known is not None and known.sampled and not row.sampled:
                row = replace(row, sampling_error=known.total / row.total - 1)
            keep(row, pdk)
            tqdm.write(f"{name}, {engine.title}: {row.total / 1000:.2f} µJ")
    if options.fit:
        from energy_fit import fit  # noqa: PLC0415 (scipy is needed for this alone)

        write_json(MODEL_FILE, to_json(fit([with_events(row) for row in kept().rows], kept().library)))
    from energy_page import page  # noqa: PLC0415 (it imports this)

    write_text(PAGE, page(kept().rows))


def file_of(network: str, engine: Engine) -> Path:
    """Return the file of what an engine runs."""
    return NETWORKS / f"{engine.file.format(network)}.safetensors"


def kept() -> Results:
    """Return what was measured until now."""
    return read_typed(Results, RESULTS) if RESULTS.exists() else Results("", ())


def keep(row: Row, pdk: Pdk) -> None:
    """Keep a row in the place of an older one."""
    order = [engine.title for engine in ENGINES]
    rest = [each for each in kept().rows if (each.network, each.title) != (row.network, row.title)]
    rows = sorted([*rest, row], key=lambda each: (list(BENCHMARKS).index(each.network), order.index(each.title)))
    write_json(RESULTS, to_json(Results(pdk.cells.path.stem, tuple(rows))))


def measured(name: str, engine: Engine, pdk: Pdk, cycles: int) -> Row:
    """Measure one network on one engine."""
    from scale_bits import score  # noqa: PLC0415 (torch is needed for this alone)

    network = load(file_of(name, engine))
    config = config_for(network, EngineConfig(unit=unit_named(engine.unit)))
    program = compile_network(network, config)
    data = load_data(Settings(name, Path("runs") / name))
    placed = PlacedEngine(config, pdk, cache=CACHE, timeout_s=LIMIT_S)
    with tqdm(total=len(program.layers), desc=f"{name}, {engine.title}", unit="layer") as bar:
        energy = placed.energy(
            network,
            program,
            data.scaling.integers(data.test.images[:1])[0],
            cycles=cycles or None,
            progress=lambda _: bar.update(),
        )
    srams = [map_memory(each, pdk.srams, multiplexer_um2=pdk.multiplexer_um2) for each in placed.mapped.memories]
    layers = tuple(
        layer_row(layer, events_of(counted, config))
        for layer, counted in zip(energy.layers, predict(program), strict=True)
    )
    return Row(
        network=name,
        title=engine.title,
        engine=str(config.unit),
        kind=unit_kind(config),
        score=score(network, data),
        metric=data.metric,
        cycles=sum(layer.cycles for layer in energy.layers),
        period_ns=energy.period_ns,
        sampled=cycles,
        sampling_error=None,
        logic_mm2=energy.timing.cells_um2 / 1e6,
        buffers_mm2=energy.timing.buffers_um2 / 1e6,
        sram_mm2=sum(each.area_um2 + each.multiplexers_um2 for each in srams) / 1e6,
        path_ns=energy.timing.path.period_ns,
        path_start=energy.timing.path.start,
        path_end=energy.timing.path.end,
        parts=parts_of(energy),
        layers=layers,
    )


def with_events(row: Row) -> Row:
    """Return a row with the events of the fast model as they are counted today."""
    engine = next(engine for engine in ENGINES if engine.title == row.title)
    network = load(file_of(row.network, engine))
    config = config_for(network, EngineConfig(unit=unit_named(engine.unit)))
    counted = predict(compile_network(network, config))
    layers = [replace(layer, events=events_of(each, config)) for layer, each in zip(row.layers, counted, strict=True)]
    return replace(row, layers=tuple(layers))


def parts_of(energy: InferenceEnergy) -> tuple[Part, ...]:
    """Return the parts of an inference in nJ."""
    return tuple(
        Part(part.name, part.internal / 1000, part.nets / 1000, part.clock / 1000, part.leakage / 1000)
        for part in energy.parts
    )


def layer_row(layer: LayerEnergy, events: tuple[float, ...]) -> LayerRow:
    """Return what is kept of a layer."""
    memory = sum(part.total for part in layer.parts if is_memory(part.name)) / 1000
    return LayerRow(layer.name, layer.total / 1000 - memory, memory, events)


if __name__ == "__main__":
    main()
