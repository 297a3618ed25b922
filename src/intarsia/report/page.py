# SPDX-License-Identifier: Apache-2.0
"""The report: one self-contained HTML page, `results.json` next to it, and a text table."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from intarsia.engine.cycles import LayerCycles
from intarsia.files import write_json, write_text
from intarsia.integer.effective import LayerBits
from intarsia.packages import require
from intarsia.report.charts import Bar, Series, dots, stacked_bars
from intarsia.report.data import Area, PlanePicture, Results, ratio
from intarsia.report.metrics import BITS, FREQUENCY, MEASURED_ENERGY, PERIOD
from intarsia.report.table import (
    amount,
    area_text,
    at_clock,
    estimated_on,
    extent,
    not_estimated,
    otherwise,
    path,
    proof_of_cycles,
    speed,
    table,
)
from intarsia.synthesize.netlist.power import PartEnergy

if TYPE_CHECKING:
    from markupsafe import Markup

COLOURS = {"superposition": "#7a4a1f", "ternary": "#c9a227", "int8": "#4a6c8c", "float": "#555555"}

CYCLE_SERIES = (
    Series("ideal", "#4a6c8c"),
    Series("unused inputs and extra digits", "#a9bccb"),
    Series("waiting for activations", "#d9a441"),
    Series("waiting for accumulators", "#b5533c"),
    Series("start and end", "#9b958c"),
)
_BITS = (
    Series("values of all planes", "#7a4a1f"),
    Series("indices", "#c9a227"),
    Series("padding", "#d9cfc0"),
    Series("multipliers and shifts", "#4a6c8c"),
)
#: Kinds of energy, with the fields of a part's energy that hold them.
_ENERGY = (
    (Series("internal: inside cells, accesses of memories", "#7a4a1f"), "internal"),
    (Series("nets", "#c9a227"), "nets"),
    (Series("clock", "#4a6c8c"), "clock"),
    (Series("leakage", "#b5533c"), "leakage"),
)
_AREAS = (
    Series("standard cells", "#7a4a1f"),
    Series("SRAM macros", "#4a6c8c"),
    Series("added buffers and clock tree", "#c9a227"),
)
#: Modules of less than this share of the cells are one bar.
_LEAST_SHARE = 0.01
#: Access counters of the cycle model, with what people call them and the memory that is accessed.
COUNTERS = (
    ("activations, read", "activation_reads", "activations"),
    ("activations, written", "activation_writes", "activations"),
    ("residuals, read", "residual_reads", "activations"),
    ("weights, read", "weight_reads", "weights"),
    ("multipliers, shifts and biases, read", "parameter_reads", "weights"),
)

#: The files of a report.
REPORT_FILES = (_RESULTS, _TABLE, _PAGE) = ("results.json", "results.txt", "report.html")


def write_report(results: Results, pictures: Sequence[PlanePicture], folder: Path) -> Path:
    """Write `report.html`, `results.json` and `results.txt` into a folder; return the path of the page.

    Raises:
        IntarsiaError: Jinja2 is missing, or a file cannot be written.
    """
    page = render(results, pictures)
    write_json(folder / _RESULTS, results.as_json())
    write_text(folder / _TABLE, table(results) + "\n")
    write_text(folder / _PAGE, page)
    return folder / _PAGE


def render(results: Results, pictures: Sequence[PlanePicture]) -> str:
    """Return the page; it loads nothing from anywhere.

    Raises:
        IntarsiaError: Jinja2 is missing.
    """
    require("jinja2", "report")
    import jinja2  # noqa: PLC0415 (an optional part)

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "kib": lambda bits: f"{bits / 8192:,.1f}",
        "percent": lambda part: f"{part:.2%}",
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
    }
    template = environment.from_string((files("intarsia.report") / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        r=results,
        amount=amount,
        area_text=area_text,
        path=path,
        speed=speed,
        otherwise=otherwise,
        not_estimated=not_estimated,
        estimated_on=estimated_on,
        extent=extent,
        at_clock=at_clock,
        metrics={"energy": MEASURED_ENERGY, "period": PERIOD, "frequency": FREQUENCY},
        parts=_energy_rows(results),
        ratio=ratio,
        engine=asdict(results.engine),
        cycles_from=proof_of_cycles(results),
        pictures=[(picture, _data_uri(picture.png), _pixel_size(picture)) for picture in pictures],
        accesses=_accesses(results),
        charts=_charts(results),
    )


def _charts(results: Results) -> "Mapping[str, Markup]":
    from markupsafe import Markup  # noqa: PLC0415 (comes with Jinja2)

    charts = {}
    if results.accuracies:
        score = results.score
        rows = [
            (
                entry.name,
                [score.shown(value) for value in entry.accuracies],
                COLOURS.get(entry.name, COLOURS["superposition"]),
            )
            for entry in results.accuracies
        ]
        charts["accuracy"] = dots(rows, score.unit or score.title, f"{score.title} on the test set")
    if results.cycles:
        bars = [Bar(layer.name, cycle_parts(layer), f"{layer.cycles:,}") for layer in results.cycles]
        charts["cycles"] = stacked_bars(CYCLE_SERIES, bars, "cycles", "cycles by layer and where they go")
    if results.bits:
        bars = [
            Bar(layer.stored.name, _parts_per_weight(layer.stored), f"{BITS.text(layer.stored.per_weight)} bits")
            for layer in results.bits
        ]
        charts["bits"] = stacked_bars(_BITS, bars, "bits/weight", f"{BITS.heading}, by layer")
    charts |= _area_chart(results) | _energy_charts(results)
    return {name: Markup(chart) for name, chart in charts.items()}  # noqa: S704 (our own SVG, its texts escaped)


def _area_chart(results: Results) -> dict[str, str]:
    """Return the area of the engine by module and memory in mm², where it was mapped to a library."""
    bars = [bar for area in results.areas if area.cells_um2 is not None for bar in _area_bars(area, area.cells_um2)]
    if not bars:
        return {}
    found = results.energy and results.energy.estimate
    if found:
        bars.append(_area_bar("added buffers", 2, found.timing.buffers_um2))
    series = _AREAS if found else _AREAS[:-1]
    shown = [replace(bar, parts=bar.parts[: len(series)]) for bar in bars]
    return {"area": stacked_bars(series, shown, "mm²", "area by module and memory")}


def _area_bars(area: Area, cells_um2: float) -> list[Bar]:
    shares = {_module_title(part.module): part.own / area.total for part in area.parts}
    large = {name: share for name, share in shares.items() if share >= _LEAST_SHARE}
    rest = sum(share for name, share in shares.items() if name not in large)
    ordered = sorted(large.items(), key=lambda entry: -entry[1])
    cells = [*ordered, ("other modules", rest)] if rest else ordered
    memories = sorted(area.memories, key=lambda memory: -memory.um2)
    return [
        *(_area_bar(name, 0, share * cells_um2) for name, share in cells),
        *(_area_bar(memory.name, 1, memory.um2) for memory in memories),
    ]


def _module_title(module: str) -> str:
    return module.removeprefix("intarsia_").replace("_", " ")


def _area_bar(label: str, series: int, um2: float) -> Bar:
    parts = tuple(um2 / 1e6 if place == series else 0.0 for place in range(len(_AREAS)))
    return Bar(label, parts, f"{um2 / 1e6:.3f} mm²")


def _energy_charts(results: Results) -> dict[str, str]:
    """Return the energy of an inference by part and by layer in nJ, where it was estimated."""
    found = results.energy and results.energy.estimate
    if not found:
        return {}
    series = [entry for entry, _ in _ENERGY]
    layers = [(layer.name, _kinds_nj(layer.parts)) for layer in found.layers]
    parts = [(part.name, _kinds_nj([part])) for part in found.parts]

    def chart(rows: Sequence[tuple[str, tuple[float, ...]]], title: str) -> str:
        bars = [Bar(name, kinds, f"{sum(kinds):,.1f} nJ") for name, kinds in rows]
        return stacked_bars(series, bars, "nJ", title)

    return {"energy": chart(parts, "energy by part"), "energy_layers": chart(layers, "energy by layer")}


def _kinds_nj(parts: Sequence[PartEnergy]) -> tuple[float, ...]:
    """Return the energy of some parts in nJ, split as `_ENERGY` says."""
    return tuple(sum(getattr(part, field) for part in parts) / 1000 for _, field in _ENERGY)


@dataclass(frozen=True)
class EnergyRow:
    """A row of the table of energies: a part, energy of each kind and in all in nJ, and its share of the inference."""

    name: str
    kinds: tuple[float, ...]
    total: float
    share: float


def _energy_rows(results: Results) -> list[EnergyRow]:
    """Return the rows by part, the sum last."""
    found = results.energy and results.energy.estimate
    if not found:
        return []
    rows = [(part.name, _kinds_nj([part])) for part in found.parts]
    rows.append(("all", _kinds_nj(found.parts)))
    return [EnergyRow(name, kinds, sum(kinds), sum(kinds) * 1000 / found.total) for name, kinds in rows]


def cycle_parts(layer: LayerCycles) -> tuple[float, ...]:
    """Return a layer's cycles split as `CYCLE_SERIES` says."""
    return (
        layer.ideal,
        max(layer.steps - layer.ideal, 0.0),
        layer.waiting_activations,
        layer.waiting_accumulators,
        layer.start_and_end,
    )


def _parts_per_weight(layer: LayerBits) -> tuple[float, ...]:
    parts = (layer.planes, layer.indices, layer.padding, layer.scales)
    return tuple(part / layer.weights for part in parts)


@dataclass(frozen=True)
class Accesses:
    """Accesses of one memory during an inference: words, their width in bits, and KiB in all."""

    title: str
    words: int
    width: int

    @property
    def kib(self) -> float:
        """All bits that are read or written, in KiB."""
        return self.words * self.width / 8192


def _accesses(results: Results) -> list[Accesses]:
    """Return the accesses of each memory during an inference."""
    return [
        Accesses(title, sum(getattr(layer, counter) for layer in results.cycles), results.access_bits[memory])
        for title, counter, memory in COUNTERS
    ]


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _pixel_size(picture: PlanePicture) -> int:
    """Screen pixels of a weight: large enough to see, and no wider than the page."""
    return max(1, min(8, 840 // picture.width))
