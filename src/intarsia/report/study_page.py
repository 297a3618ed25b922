# SPDX-License-Identifier: Apache-2.0
"""The page of a study: interactive charts in one file that works offline, and a text table of the Pareto front."""

import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from intarsia.packages import require
from intarsia.quantize.scheme_text import read_scheme
from intarsia.report.metrics import ACCURACY, AREA, BITS, CYCLES, DESIGN_METRICS, ENERGY, MEMORY_ENERGY, Metric
from intarsia.report.plotly_charts import Chart, axes, layout
from intarsia.report.study import Design, StudyResults
from intarsia.text import escaped, in_columns

if TYPE_CHECKING:
    from markupsafe import Markup

#: Names and colours of the patterns of a design's planes, from free to regular.
FAMILIES: Mapping[str, str] = {
    "uniform": "#4a6c8c",
    "layer-wise": "#2f8f9d",
    "mix": "#6d8f5e",
    "dense digits": "#c9a227",
    "unstructured": "#b5533c",
    "blocks": "#d08a3e",
    "n:m": "#7a4a1f",
    "n:m shared": "#a8774a",
    "inputs": "#8d6a9f",
    "outputs": "#5f9ea0",
    "taps": "#9b958c",
    "fixed": "#333333",
}
_COSTS = (BITS, CYCLES, AREA, MEMORY_ENERGY, ENERGY)
_ON_VALIDATION = f"{ACCURACY.title} on validation inputs [{ACCURACY.unit}]"


def family(scheme: str) -> str:
    """Return the pattern that the planes of most layers have, of `FAMILIES`."""
    default, rules = read_scheme(scheme)
    planes = default.split(" ", maxsplit=1)[0]
    if planes.startswith("int") and any(rule.layer is not None for rule in rules):
        return "layer-wise"
    sparse = next((part for part in planes.split("+") if "x" in part and not part.startswith("mix")), None)
    if planes.startswith("mix"):
        return "mix"
    if sparse is None:
        return "dense digits" if planes.startswith(("ternary", "digits")) else "uniform"
    for name in ("unstructured", "blocks", "inputs", "outputs", "taps", "fixed"):
        if sparse.startswith(name):
            return name
    return "n:m shared" if "/" in sparse else "n:m"


def importance(designs: Sequence[Design]) -> dict[str, float]:
    """Return for each choice the share of the accuracy's variance, over the designs of a space, that lies between its
    values (η², the main effect of an analysis of variance); choices interact, so shares need not add up to 1.
    """
    rows = [design for design in designs if design.chosen]
    total = _spread([design.accuracies[0] for design in rows])
    found = {}
    for name in sorted({name for design in rows for name in design.chosen}):
        groups: dict[str, list[float]] = {}
        for design in rows:
            groups.setdefault(design.chosen.get(name, ""), []).append(design.accuracies[0])
        within = sum(_spread(group) for group in groups.values())
        if len(groups) > 1 and total > 0:
            found[name] = 1 - within / total
    return found


def _spread(values: Sequence[float]) -> float:
    mean = sum(values) / len(values) if values else 0.0
    return sum((value - mean) ** 2 for value in values)


def study_page(results: StudyResults) -> str:
    """Return the page; it loads nothing from anywhere.

    Raises:
        IntarsiaError: Jinja2 or Plotly is missing.
    """
    for package in ("jinja2", "plotly"):
        require(package, "explore")
    import jinja2  # noqa: PLC0415 (optional parts)
    from plotly.offline import get_plotlyjs  # noqa: PLC0415

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((files("intarsia.report") / "study.html.j2").read_text(encoding="utf-8"))
    return template.render(
        r=results,
        charts={name: _script(chart) for name, chart in charts(results).items()},
        plotly=_safe(get_plotlyjs()),
        metrics=DESIGN_METRICS,
        epochs=[_epochs(number) for number in results.epochs],
    )


def charts(results: StudyResults) -> dict[str, Chart]:
    """Return the charts that there is data for, by name."""
    found = {f"front-{cost.name}": _front(results, cost) for cost in _COSTS}
    for energy in (MEMORY_ENERGY.name, ENERGY.name):
        if any(d.metrics.get(energy) is None and d.metrics.get(CYCLES.name) is not None for d in results.designs):
            found[f"front-{energy}"] = None  # some were evaluated without a library, or on a unit never measured
    found["patterns"] = _patterns(results)
    found["importance"] = _importance(results)
    found["coordinates"] = _coordinates(results)
    for rung in range(1, len(results.epochs)):
        found[f"cheap-{rung}"] = _cheap(results, rung)
    return {name: chart for name, chart in found.items() if chart is not None}


def study_table(results: StudyResults) -> str:
    """Return the Pareto front as a text table, the smallest design first."""
    columns = {ACCURACY: "accuracy", BITS: "bits", CYCLES: "cycles", AREA: "transistors", MEMORY_ENERGY: "memory nJ"}
    columns[ENERGY] = "energy nJ"
    rows: list[tuple[str, ...]] = [("seeds", *columns.values(), "scheme")]
    for design in results.front:
        cells = [metric.text(design.metrics.get(metric.name)) for metric in columns]
        rows.append((str(len(design.seeds)), *cells, escaped(design.name)))
    return in_columns(rows)


def _epochs(number: int | None) -> str:
    if number is None:
        return "the whole recipe"
    return "post-training quantization" if number == 0 else f"{number} epochs"


def _text(design: Design) -> str:
    lines = design.name.split(" | ")
    lines += [f"{metric.heading}: {metric.text(design.metrics.get(name))}" for name, metric in DESIGN_METRICS.items()]
    return "<br>".join(html.escape(line) for line in lines)


def _percent(design: Design, rung: int | None = None) -> float:
    """Return the accuracy of a design as people read it: the last, or that at a rung."""
    return ACCURACY.shown((design.metrics[ACCURACY.name] or 0.0) if rung is None else design.accuracies[rung])


def _front(results: StudyResults, cost: Metric) -> Chart | None:
    top = max((design.rung for design in results.designs), default=0)
    shown = [(d, value) for d in results.designs if d.rung == top and (value := d.metrics.get(cost.name)) is not None]
    if not shown:
        return None
    data = []
    for name, colour in FAMILIES.items():
        some = [(d, value) for d, value in shown if family(d.scheme) == name]
        if some:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": [value for _, value in some],
                    "y": [_percent(d) for d, _ in some],
                    "text": [_text(d) for d, _ in some],
                    "hoverinfo": "text",
                    "marker": {
                        "color": colour,
                        "size": [12 if d.on_front else 8 for d, _ in some],
                        "line": {"width": [2 if d.on_front else 0 for d, _ in some], "color": "#22201d"},
                    },
                }
            )
    steps = _staircase([(value, _percent(d)) for d, value in shown])
    line = {"color": "#9b958c", "width": 1, "shape": "hv"}
    data.append(
        {"type": "scatter", "mode": "lines", "name": "best so far", "x": [x for x, _ in steps],
         "y": [y for _, y in steps], "line": line, "hoverinfo": "skip"}
    )  # fmt: skip
    return Chart(data, axes(cost.heading, _ON_VALIDATION))


def _staircase(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not found or y > found[-1][1]:
            found.append((x, y))
    return found


def _patterns(results: StudyResults) -> Chart | None:
    shown = [d for d in results.designs if d.chosen.get("default.pattern") and d.chosen.get("default.sparse") != "none"]
    if not shown:
        return None
    order = {name: number for number, name in enumerate(FAMILIES)}
    shown.sort(key=lambda d: (order[family(d.scheme)], d.chosen["default.pattern"]))
    data = []
    for rung in sorted({d.rung for d in shown}):
        some = [d for d in shown if d.rung >= rung]
        data.append(
            {
                "type": "box",
                "name": _epochs(results.epochs[rung]),
                "x": [_placed(d) for d in some],
                "y": [_percent(d, rung) for d in some],
                "text": [_text(d) for d in some],
                "boxpoints": "all",
                "jitter": 0.4,
                "pointpos": 0,
            }
        )
    grouped = axes("pattern of the sparse plane, from free to regular", _ON_VALIDATION)
    return Chart(data, grouped | {"boxmode": "group", "legend": {"orientation": "h", "y": 1.1}})


def _placed(design: Design) -> str:
    pattern, density = design.chosen["default.pattern"], design.chosen.get("default.density", "")
    return f"{pattern} @{density}" if density and ":" not in pattern else pattern


def _importance(results: StudyResults) -> Chart | None:
    found = sorted(importance(results.designs).items(), key=lambda item: item[1])
    if not found:
        return None
    bars = {"type": "bar", "orientation": "h", "x": [value for _, value in found], "y": [name for name, _ in found],
            "marker": {"color": "#7a4a1f"}}  # fmt: skip
    shares = axes("share of the variance of accuracy between its values, first rung", "")
    return Chart([bars], shares | {"margin": {"l": 160, "r": 20, "t": 20, "b": 50}})


def _coordinates(results: StudyResults) -> Chart | None:
    shown = [design for design in results.designs if design.chosen]
    names = [n for n in sorted({n for d in shown for n in d.chosen}) if len({d.chosen.get(n) for d in shown}) > 1]
    if not names:
        return None
    dimensions: list[Mapping[str, object]] = []
    for name in names:
        values = sorted({d.chosen.get(name, "") for d in shown})
        place = {value: number for number, value in enumerate(values)}
        dimensions.append(
            {"label": name, "values": [place[d.chosen.get(name, "")] for d in shown],
             "tickvals": list(range(len(values))), "ticktext": values}
        )  # fmt: skip
    for cost in _COSTS:
        if all(d.metrics.get(cost.name) is not None for d in shown):
            dimensions.append({"label": cost.name, "values": [d.metrics[cost.name] for d in shown]})
    accuracy = [_percent(d) for d in shown]
    dimensions.append({"label": ACCURACY.heading, "values": accuracy})
    line = {"color": accuracy, "colorscale": "Viridis", "showscale": True}
    lines = {"type": "parcoords", "line": line, "dimensions": dimensions}
    return Chart([lines], layout() | {"margin": {"l": 70, "r": 30, "t": 60, "b": 30}})


def _cheap(results: StudyResults, rung: int) -> Chart | None:
    shown = [design for design in results.designs if design.rung >= rung]
    if len(shown) < 2:
        return None
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": [_percent(d, 0) for d in shown],
        "y": [_percent(d, rung) for d in shown],
        "text": [_text(d) for d in shown],
        "hoverinfo": "text",
        "marker": {"color": [FAMILIES[family(d.scheme)] for d in shown], "size": 9},
    }
    first, later = (f"{ACCURACY.title}, {_epochs(results.epochs[number])} [{ACCURACY.unit}]" for number in (0, rung))
    return Chart([points], axes(first, later))


def _script(chart: Chart) -> "Markup":
    """Return a chart as JSON that a script element may hold, whatever its texts are."""
    return _safe(json.dumps({"data": chart.data, "layout": chart.layout}).replace("<", "\\u003c"))


def _safe(text: str) -> "Markup":
    from markupsafe import Markup  # noqa: PLC0415 (comes with Jinja2)

    return Markup(text)  # noqa: S704 (a library, and our own JSON without any "<")
