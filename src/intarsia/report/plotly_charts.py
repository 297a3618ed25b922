# SPDX-License-Identifier: Apache-2.0
"""Charts as Plotly takes them, with the look of our pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_FONT = {"family": '"Inter", "Segoe UI", Arial, sans-serif', "size": 13, "color": "#22201d"}
_GRID = {"gridcolor": "#e4ded4", "zeroline": False}


@dataclass(frozen=True)
class Chart:
    """A chart: traces and layout, JSON values in the form that Plotly documents."""

    data: Sequence[Mapping[str, object]]
    layout: Mapping[str, object]


def layout() -> dict[str, object]:
    """Return the layout of a chart without axes."""
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": _FONT,
        "hovermode": "closest",
        "margin": {"l": 60, "r": 20, "t": 30, "b": 50},
        "height": 460,
    }


def axes(x: str, y: str) -> dict[str, object]:
    """Return the layout of a chart with two axes of these names."""
    return layout() | {"xaxis": {"title": {"text": x}, **_GRID}, "yaxis": {"title": {"text": y}, **_GRID}}
