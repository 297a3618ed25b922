# SPDX-License-Identifier: Apache-2.0
"""The report: one self-contained HTML page, `results.json` beside it, and a text table."""

import base64
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from intarsia.engine.cycles import LayerCycles
from intarsia.files import write_json, write_text
from intarsia.integer.effective import LayerBits
from intarsia.packages import require
from intarsia.report.charts import Bar, Series, dots, stacked_bars
from intarsia.report.data import PlanePicture, Results
from intarsia.report.table import amount, otherwise, path, proof_of_cycles, speed, table

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


#: What a report consists of.
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
    environment.filters |= {"kib": lambda bits: f"{bits / 8192:,.1f}", "percent": lambda part: f"{part:.2%}"}
    template = environment.from_string((files("intarsia.report") / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        r=results,
        amount=amount,
        path=path,
        speed=speed,
        otherwise=otherwise,
        cycles_from=proof_of_cycles(results),
        pictures=[(picture, _data_uri(picture.png), _pixel_size(picture)) for picture in pictures],
        accesses=_accesses(results),
        charts=_charts(results),
    )


def _charts(results: Results) -> dict[str, Any]:
    from markupsafe import Markup  # noqa: PLC0415 (comes with Jinja2)

    charts = {}
    if results.accuracies:
        factor, unit = (100, "%") if results.metric == "accuracy" else (1, "AUC")
        rows = [
            (
                entry.name,
                [factor * value for value in entry.accuracies],
                COLOURS.get(entry.name, COLOURS["superposition"]),
            )
            for entry in results.accuracies
        ]
        charts["accuracy"] = dots(rows, unit, f"{results.metric_name} on the test set")
    if results.cycles:
        bars = [Bar(layer.name, cycle_parts(layer), f"{layer.cycles:,}") for layer in results.cycles]
        charts["cycles"] = stacked_bars(CYCLE_SERIES, bars, "cycles", "cycles by layer and where they go")
    if results.bits:
        bars = [
            Bar(layer.stored.name, _parts_a_weight(layer.stored), f"{layer.stored.per_weight:.2f} bits")
            for layer in results.bits
        ]
        charts["bits"] = stacked_bars(_BITS, bars, "bits/weight", "bits stored for a weight, by layer")
    return {name: Markup(chart) for name, chart in charts.items()}  # noqa: S704 (our own SVG, its texts escaped)


def cycle_parts(layer: LayerCycles) -> tuple[float, ...]:
    """Return a layer's cycles split as `CYCLE_SERIES` says."""
    return (
        layer.ideal,
        max(layer.steps - layer.ideal, 0.0),
        layer.waiting_activations,
        layer.waiting_accumulators,
        layer.start_and_end,
    )


def _parts_a_weight(layer: LayerBits) -> tuple[float, ...]:
    parts = (layer.planes, layer.indices, layer.padding, layer.scales)
    return tuple(part / layer.weights for part in parts)


def _accesses(results: Results) -> list[dict[str, Any]]:
    """Return accesses per inference of each memory: words and KiB read and written."""
    kinds = (
        ("activations, read", "activation_reads", "activations"),
        ("activations, written", "activation_writes", "activations"),
        ("dense plane, read", "dense_reads", "dense"),
        ("sparse plane, read", "sparse_reads", "sparse"),
        ("multipliers, shifts and biases, read", "parameter_reads", "parameters"),
    )
    rows = []
    for title, field, memory in kinds:
        words = sum(getattr(layer, field) for layer in results.cycles)
        width = results.access_bits[memory]
        rows.append({"title": title, "words": words, "width": width, "kib": words * width / 8192})
    return rows


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _pixel_size(picture: PlanePicture) -> int:
    """Screen pixels of a weight: large enough to see, and no wider than the page."""
    return max(1, min(8, 840 // picture.width))
