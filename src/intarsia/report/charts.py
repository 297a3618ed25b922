# SPDX-License-Identifier: Apache-2.0
"""Charts as inline SVG: stacked bars, dots, lines and scatter plots, in the page's own fonts and colours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_ROW = 26
_BAR = 16
_LABEL = 150  # width left of the bars, at least
_BAR_CHARACTER = 6.6  # width of a character of a bar's label, about
_RIGHT = 92  # width right of them, for the total
_WIDTH = 860
_AXIS = 34
_LEGEND_ROW = 18
_LABEL_CHARACTER = 5.4  # width of a character of a point's label, about
_LABEL_HEIGHT = 11


@dataclass(frozen=True)
class Series:
    """One part of every bar: its name in the legend and its colour."""

    name: str
    colour: str


@dataclass(frozen=True)
class Bar:
    """One bar: its label, the length of each part, and the text at its end."""

    label: str
    parts: tuple[float, ...]
    text: str


def stacked_bars(series: Sequence[Series], bars: Sequence[Bar], unit: str, title: str) -> str:
    """Return horizontal bars with a common scale, gridlines and a legend.

    Args:
        series: the parts, in order.
        bars: the rows.
        unit: of the axis.
        title: for readers who cannot see the picture.
    """
    legend, rows = _legend(series)
    top = 12 + rows * _LEGEND_ROW
    height = top + len(bars) * _ROW + _AXIS
    ticks = nice_ticks(max((sum(bar.parts) for bar in bars), default=1.0))
    left = max(_LABEL, 10 + math.ceil(_BAR_CHARACTER * max((len(bar.label) for bar in bars), default=0)))
    inner = _WIDTH - left - _RIGHT
    scale = inner / ticks[-1]
    body = [legend]
    bottom = top + len(bars) * _ROW
    for tick in ticks:
        x = left + tick * scale
        body.append(f'<line class="grid" x1="{x:.1f}" y1="{top - 4}" x2="{x:.1f}" y2="{bottom}"/>')
        body.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:,g}</text>')
    body.append(f'<text class="tick" x="{_WIDTH - _RIGHT + 26}" y="{bottom + 16}">{escape(unit)}</text>')
    for row, bar in enumerate(bars):
        y = top + row * _ROW + (_ROW - _BAR) / 2
        middle = y + _BAR / 2 + 4.5
        body.append(
            f'<text class="label" x="{left - 10}" y="{middle:.1f}" text-anchor="end">{escape(bar.label)}</text>'
        )
        x = float(left)
        for part, entry in zip(bar.parts, series, strict=True):
            width = part * scale
            if width > 0:
                body.append(
                    f'<rect x="{x:.2f}" y="{y:.1f}" width="{width:.2f}" height="{_BAR}" fill="{entry.colour}">'
                    f"<title>{escape(f'{bar.label}: {entry.name} {part:,.6g}')}</title></rect>"
                )
            x += width
        body.append(f'<text class="value" x="{x + 6:.1f}" y="{middle:.1f}">{escape(bar.text)}</text>')
    return _svg(_WIDTH, height, title, body)


def dots(rows: Sequence[tuple[str, Sequence[float], str]], unit: str, title: str) -> str:
    """Return one row of dots for each label (values, colour), with a line at the mean of each row."""
    values = [value for _, points, _ in rows for value in points]
    low, high = min(values), max(values)
    margin = max((high - low) * 0.15, 0.003 * high)
    ticks = ticks_between(low - margin, high + margin)
    first, last = ticks[0], ticks[-1]
    inner = _WIDTH - _LABEL - _RIGHT
    top, bottom = 8, 8 + len(rows) * _ROW
    body = []
    for tick in ticks:
        x = _LABEL + (tick - first) / (last - first) * inner
        body.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>')
        body.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    body.append(f'<text class="tick" x="{_WIDTH - _RIGHT + 26}" y="{bottom + 16}">{escape(unit)}</text>')
    for row, (label, points, colour) in enumerate(rows):
        y = top + row * _ROW + _ROW / 2
        body.append(f'<text class="label" x="{_LABEL - 10}" y="{y + 4.5:.1f}" text-anchor="end">{escape(label)}</text>')
        places = [_LABEL + (point - first) / (last - first) * inner for point in points]
        if len(places) > 1:
            mean = sum(places) / len(places)
            body.append(
                f'<line x1="{mean:.1f}" y1="{y - 9:.1f}" x2="{mean:.1f}" y2="{y + 9:.1f}" '
                f'stroke="{colour}" stroke-width="2"/>'
            )
        for place, point in zip(places, points, strict=True):
            body.append(
                f'<circle cx="{place:.1f}" cy="{y:.1f}" r="5.5" fill="{colour}" fill-opacity="0.75">'
                f"<title>{escape(f'{label}: {point:.2f} {unit}')}</title></circle>"
            )
    return _svg(_WIDTH, bottom + 26, title, body)


@dataclass(frozen=True)
class Line:
    """One line of a plot: its name in the legend, its colour, and its points (x, y)."""

    name: str
    colour: str
    points: tuple[tuple[float, float], ...]


def lines(entries: Sequence[Line], x_axis: str, y_axis: str, title: str) -> str:
    """Return lines with dots over common axes, gridlines and a legend; x takes the places that occur, y its range."""
    places = sorted({x for entry in entries for x, _ in entry.points})
    values = [y for entry in entries for _, y in entry.points]
    margin = max(values) - min(values)
    ticks = ticks_between(min(values) - 0.05 * margin, max(values) + 0.05 * margin + 1e-9)
    legend, rows = _legend([Series(entry.name, entry.colour) for entry in entries])
    left, right, top = 72.0, float(_WIDTH - 30), 12.0 + rows * _LEGEND_ROW
    bottom = top + 300
    across = (right - left) / max(len(places) - 1, 1)

    def at(x: float, y: float) -> tuple[float, float]:
        return left + places.index(x) * across, bottom - (y - ticks[0]) / (ticks[-1] - ticks[0]) * (bottom - top)

    body = [legend, *_axis_names(x_axis, y_axis, (left, right), (top, bottom))]
    for tick in ticks:
        y = at(places[0], tick)[1]
        body.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        body.append(f'<text class="tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for place in places:
        x = at(place, ticks[0])[0]
        body.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{place:g}</text>')
    for entry in entries:
        dots_at = [at(x, y) for x, y in entry.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots_at)
        body.append(f'<polyline points="{path}" fill="none" stroke="{entry.colour}" stroke-width="2"/>')
        for (x, y), point in zip(dots_at, entry.points, strict=True):
            body.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{entry.colour}">'
                f"<title>{escape(f'{entry.name}: {point[1]:.4g} at {point[0]:g}')}</title></circle>"
            )
    return _svg(_WIDTH, bottom + 44, title, body)


@dataclass(frozen=True)
class Cloud:
    """One kind of points of a scatter plot: its name in the legend, its colour, and its points (x, y, label).

    The label of a point shows when it is pointed at. `shown` holds a short one for each point, drawn next to it, or
    nothing.
    """

    name: str
    colour: str
    points: tuple[tuple[float, float, str], ...]
    shown: tuple[str, ...] = ()


def scatter(clouds: Sequence[Cloud], x_axis: str, y_axis: str, title: str) -> str:
    """Return points over two linear axes, with gridlines, a legend, and the labels that are to be shown.

    Args:
        clouds: the points.
        x_axis: name of the axis, with its unit in brackets.
        y_axis: the same of the other axis.
        title: for readers who cannot see the picture.
    """
    every = [(x, y) for cloud in clouds for x, y, _ in cloud.points]
    across, up = _ticks_around([x for x, _ in every]), _ticks_around([y for _, y in every])
    legend, rows = _legend([Series(cloud.name, cloud.colour) for cloud in clouds])
    left, right, top = 72.0, float(_WIDTH - 30), 12.0 + rows * _LEGEND_ROW
    bottom = top + (440 if any(cloud.shown for cloud in clouds) else 360)
    xs, ys = _Axis(across, left, right), _Axis(up, bottom, top)
    body = [legend, *_axis_names(x_axis, y_axis, (left, right), (top, bottom))]
    for tick in across:
        x = xs.at(tick)
        body.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>')
        body.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick:,g}</text>')
    for tick in up:
        y = ys.at(tick)
        body.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        body.append(f'<text class="tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for cloud in clouds:
        for x, y, label in cloud.points:
            body.append(
                f'<circle cx="{xs.at(x):.1f}" cy="{ys.at(y):.1f}" r="5" fill="{cloud.colour}" fill-opacity="0.8">'
                f"<title>{escape(f'{label}: {y:.4g} at {x:,.6g}')}</title></circle>"
            )
    texts = [
        (xs.at(x), ys.at(y), text)
        for cloud in clouds
        for (x, y, _), text in zip(cloud.points, cloud.shown, strict=False)
    ]
    points = [(xs.at(x), ys.at(y)) for x, y in every]
    body += _labels(texts, points, _Rectangle(left, top, right, bottom))
    return _svg(_WIDTH, bottom + 44, title, body)


@dataclass(frozen=True)
class _Rectangle:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "_Rectangle") -> bool:
        """Whether two rectangles overlap."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def holds(self, other: "_Rectangle") -> bool:
        """Whether another rectangle lies inside."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )


def _labels(
    texts: Sequence[tuple[float, float, str]], points: Sequence[tuple[float, float]], area: _Rectangle
) -> list[str]:
    """Return texts near their points (in pixels), with a line to the point where the nearest space is farther away.

    A text for which there is no space is left out.
    """
    taken = [_Rectangle(x - 6, y - 6, x + 6, y + 6) for x, y in points]
    found = []
    for x, y, text in sorted(texts):
        width = _LABEL_CHARACTER * len(text)
        for far in range(0, 105, 7):
            places = [_near(x, y, width, far, angle) for angle in range(0, 360, 30)]
            free = [place for place in places if area.holds(place) and not any(map(place.meets, taken))]
            if not free:
                continue
            place = free[0]
            taken.append(place)
            if far > 0:
                end_x = min(max(x, place.left), place.right)
                end_y = min(max(y, place.top), place.bottom)
                found.append(
                    f'<line class="leader" x1="{x:.1f}" y1="{y:.1f}" x2="{end_x:.1f}" y2="{end_y:.1f}" '
                    'stroke="#9b958c" stroke-width="0.7"/>'
                )
            found.append(
                f'<text class="point" x="{(place.left + place.right) / 2:.1f}" y="{place.bottom - 2:.1f}" '
                f'text-anchor="middle" style="font-size:10.5px">{escape(text)}</text>'
            )
            break
    return found


def _near(x: float, y: float, width: float, far: float, angle: float) -> _Rectangle:
    """Return the place of a text of some width in a direction from a point, `far` beyond the point's edge."""
    across, down = math.cos(math.radians(angle)), -math.sin(math.radians(angle))
    middle_x = x + across * (8 + far + width / 2)
    middle_y = y + down * (8 + far + _LABEL_HEIGHT / 2)
    return _Rectangle(
        middle_x - width / 2, middle_y - _LABEL_HEIGHT / 2, middle_x + width / 2, middle_y + _LABEL_HEIGHT / 2
    )


def _axis_names(x_axis: str, y_axis: str, across: tuple[float, float], down: tuple[float, float]) -> list[str]:
    """Return the names of two axes: below the horizontal one, and along the vertical one."""
    x, y = (across[0] + across[1]) / 2, (down[0] + down[1]) / 2
    return [
        f'<text class="tick" x="{x:.1f}" y="{down[1] + 36}" text-anchor="middle">{escape(x_axis)}</text>',
        f'<text class="tick" x="16" y="{y:.1f}" text-anchor="middle" transform="rotate(-90 16 {y:.1f})">'
        f"{escape(y_axis)}</text>",
    ]


@dataclass(frozen=True)
class _Axis:
    ticks: Sequence[float]
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return where a value lies, in pixels."""
        return self.start + (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0]) * (self.end - self.start)


def _ticks_around(values: Sequence[float]) -> list[float]:
    margin = 0.03 * (max(values) - min(values)) + 1e-9
    return ticks_between(min(values) - margin, max(values) + margin)


def standalone(chart: str) -> str:
    """Return a chart as a file of its own, with the colours that the page would give it."""
    style = (
        "text{font:12.5px sans-serif;fill:#22201d}.tick,.legend,.value{font-size:12px;fill:#6d665d}"
        ".grid{stroke:#e4ded4}svg{background:#fffdf9}"
    )
    head, rest = chart.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{style}</style>{rest}'


def nice_ticks(largest: float) -> list[float]:
    """Return 0 and about five round numbers, the last at least `largest`."""
    return ticks_between(0.0, max(largest, 1e-9))


def ticks_between(low: float, high: float) -> list[float]:
    """Return round numbers, evenly spaced, the first at most `low`, the last at least `high`."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _legend(series: Sequence[Series]) -> tuple[str, int]:
    """Return the names of series with their colours, and the number of rows that they take."""
    pieces, x, row = [], 8.0, 0
    for entry in series:
        width = 32 + 6.1 * len(entry.name)
        if x + width > _WIDTH and x > 8.0:
            x, row = 8.0, row + 1
        y = 2 + row * _LEGEND_ROW
        pieces.append(f'<rect x="{x:.0f}" y="{y}" width="11" height="11" rx="2" fill="{entry.colour}"/>')
        pieces.append(f'<text class="legend" x="{x + 16:.0f}" y="{y + 10}">{escape(entry.name)}</text>')
        x += width
    return "".join(pieces), row + 1


def _svg(width: int, height: float, title: str, body: Sequence[str]) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{escape(title)}">'
        + "".join(body)
        + "</svg>"
    )
