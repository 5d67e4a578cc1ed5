"""Charts as inline SVG: in the colours and fonts of the page around them, light, dark and in print.

Own code, and no plotting library: its drawings bring colours and fonts of their own, which no page can change, and to
import one takes longer than to draw all that a page shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from hftransfer.base.errors import printable

WIDTH, HEIGHT = 340, 214
"""In units that are a pixel on a phone, and a little more on a wide screen."""
COLORS = 8
_LEFT, _RIGHT, _TOP, _BOTTOM = 10, 12, 22, 36
_LETTER = 6.9
"""Width of a digit in units."""
_MOST_TOLD, _MOST_POINTS = {"line": 24, "points": 80, "intervals": 80}, 3000
_LONGEST_NAME = 60
_DASHES = ("", "6 3", "2 3", "9 3 2 3")


@dataclass(frozen=True)
class Axis:
    """An axis: its label, how it counts, and the ends that it never passes."""

    label: str
    scale: Literal["linear", "log", "whole"] = "linear"
    names: Sequence[str] = ()
    """Those of the places 0, 1, …, where it has names instead of numbers."""
    least: float | None = None
    most: float | None = None
    is_whole: bool = False
    """Whether it goes from one of these ends to the other, whatever lies on it."""
    at: Sequence[float] = ()
    """The places that are written at it, where they are known."""


@dataclass(frozen=True)
class Series:
    """Numbers that belong together: x and y, and where they are known the lower and upper ends of each y."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    ends: tuple[Sequence[float], Sequence[float]] | None = None
    form: Literal["line", "points", "bars", "intervals"] = "line"
    """Bars stand on 0; intervals are points with lines to their ends."""
    color: str = ""
    """A class of the page's styles; its place among the series decides where there is none."""
    is_pale: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart with axes."""

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    note: str = ""
    at_x: Sequence[float] = ()
    """Where dotted lines stand."""
    at_y: Sequence[float] = ()
    diagonal: bool = False
    """Whether the dotted line is drawn on which x is y."""

    @property
    def shown(self) -> list[tuple[str, Series]]:
        """Return each series with its colour."""
        return [(one.color or f"s{place % COLORS}", one) for place, one in enumerate(self.series)]

    @property
    def legend(self) -> list[tuple[Markup, str]]:
        """Return a mark and a name for each series that has one; none where there is only one."""
        if sum(bool(one.name) for one in self.series) < 2:
            return []
        named = [(place, color, one) for place, (color, one) in enumerate(self.shown) if one.name]
        return [(_swatch(color, one, place), short(one.name)) for place, color, one in named]

    def svg(self) -> Markup:
        """Return the drawing."""
        return _Frame(self).svg()


@dataclass(frozen=True)
class Bars:
    """Named numbers, drawn as bars from 0 on beside their names: the most is a whole bar."""

    title: str
    names: Sequence[str]
    values: Sequence[float]
    texts: Sequence[str]
    note: str = ""
    unit: str = ""
    """What the numbers are."""

    @property
    def rows(self) -> list[tuple[str, float, str, bool]]:
        """Return each name with its share of the longest bar, its number in words, and whether it is below 0."""
        most = max((abs(value) for value in self.values if math.isfinite(value)), default=0.0) or 1.0
        found = zip(self.names, self.values, self.texts, strict=True)
        return [
            (short(name), abs(value) / most if math.isfinite(value) else 0.0, text, value < 0)
            for name, value, text in found
        ]


def short(name: str, longest: int = _LONGEST_NAME) -> str:
    """Return a name as it is shown: printable, and cut where it is long."""
    name = printable(" ".join(name.split()))
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return places of an axis that are 1, 2 or 5 of a power of ten apart, all within it."""
    if not high > low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten, and where they are few 2 and 5 of each too."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in ((1,), (1, 3), (1, 2, 5)):
        found = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
        found = [one for one in found if low * 0.999 <= one <= high * 1.001]
        if len(found) >= 3:
            break
    if len(found) < 2:
        found = nice_ticks(low, high, 4)
    return found[:: max(1, -(-len(found) // 6))] or [low]


def tick_texts(values: Sequence[float]) -> list[str]:
    """Return numbers as they stand at an axis, with as many digits as tell them apart."""
    texts = [tick_text(value) for value in values]
    for digits in range(4, 10):
        if len(set(texts)) == len(texts):
            break
        texts = [f"{value:.{digits}g}" for value in values]
    return texts


def tick_text(value: float) -> str:
    """Return a number as it stands at an axis."""
    size = abs(value)
    for least, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= least:
            return f"{value / (1e3 if unit == 'k' else least):.4g} {unit}"
    if size >= 1e3:
        return f"{value:.0f}"
    return f"{value:.3g}" if size >= 1e-4 or size == 0 else f"{value:.0e}"


class _Frame:
    """The axes of a chart, and where its numbers lie on them."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        numbers = [value for one in chart.series for value in one.x]
        heights = [value for one in chart.series for values in (one.y, *(one.ends or ())) for value in values] + list(
            chart.at_y
        )
        heights += [0.0] if any(one.form == "bars" for one in chart.series) else []
        self.x, self.x_ticks = _limits(chart.x, [*numbers, *chart.at_x])
        self.y, self.y_ticks = _limits(chart.y, heights, to_ticks=True)
        self.y_texts = tick_texts(self.y_ticks)
        self.left = _LEFT + _LETTER * max(map(len, self.y_texts), default=1)
        self.right, self.top, self.bottom = WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point lies, in units from the left and the top."""
        return (
            round(self.left + (self.right - self.left) * _share(x, self.x, self.chart.x), 1),
            round(self.bottom - (self.bottom - self.top) * _share(y, self.y, self.chart.y), 1),
        )

    def svg(self) -> Markup:
        chart = self.chart
        told = f"{chart.title}: {chart.y.label} by {chart.x.label}"
        series = [part for place, one in enumerate(chart.shown) for part in self._series(place, *one)]
        parts = [*self._axes(), *self._marks(), *series]
        return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
            WIDTH, HEIGHT, printable(told), Markup("").join(parts)
        )

    def _axes(self) -> list[Markup]:
        chart, parts = self.chart, []
        for value, text in zip(self.y_ticks, self.y_texts, strict=True):
            _, height = self.at(self.x[0], value)
            parts.append(_line("grid", (self.left, height), (self.right, height)))
            parts.append(_text("axis", self.left - 6, height + 4, "end", text))
        for value, text in self._x_texts():
            place, _ = self.at(value, self.y[0])
            parts.append(_text("axis", place, self.bottom + 16, "middle", text))
        parts.append(_text("axis", 0, 11, "start", short(chart.y.label, 48)))
        parts.append(_text("axis", self.right, HEIGHT - 4, "end", short(chart.x.label, 48)))
        return parts

    def _x_texts(self) -> list[tuple[float, str]]:
        """Return what is written at the lower axis: as much as has room beside each other."""
        names = self.chart.x.names
        told = [names[int(value)] for value in self.x_ticks] if names else tick_texts(self.x_ticks)
        texts = list(zip(self.x_ticks, told, strict=True))
        widest = max((len(text) for _, text in texts), default=1) * _LETTER + 10
        room = max(1, int((self.right - self.left) // widest) + 1)
        return texts[:: -(-len(texts) // room)]

    def _marks(self) -> list[Markup]:
        chart, (left, right), (low, high) = self.chart, self.x, self.y
        parts = [_line("mark", self.at(x, low), self.at(x, high)) for x in chart.at_x if left <= x <= right]
        parts += [_line("mark", self.at(left, y), self.at(right, y)) for y in chart.at_y if low <= y <= high]
        if chart.diagonal and min(right, high) > max(left, low):
            first, last = max(left, low), min(right, high)
            parts.append(_line("mark", self.at(first, first), self.at(last, last)))
        return parts

    def _series(self, place: int, color: str, one: Series) -> list[Markup]:
        told = [both for both in zip(one.x, one.y, strict=True) if all(map(math.isfinite, both))]
        points = [self.at(*both) for both in told]
        group = Markup('<g class="{}{}">').format(color, " pale" if one.is_pale else "")
        parts = [group]
        if one.ends is not None and one.form == "line" and len(points) > 1:
            parts.append(self._band(one))
        if one.form == "bars":
            parts += self._bars(one)
        elif one.form == "intervals" and one.ends is not None:
            parts += [_line("bar-line", self.at(x, a), self.at(x, b)) for x, a, b in zip(one.x, *one.ends, strict=True)]
        if one.form == "line" and len(points) > 1:
            dashes = _DASHES[place % len(_DASHES)]
            path = " ".join(f"{x:g},{y:g}" for x, y in _thinned(points))
            parts.append(Markup('<polyline class="line" stroke-dasharray="{}" points="{}"/>').format(dashes, path))
        if one.form != "bars":
            parts += self._points(one, told, points)
        return [*parts, Markup("</g>")]

    def _band(self, one: Series) -> Markup:
        assert one.ends is not None
        upper = [self.at(x, high) for x, high in zip(one.x, one.ends[1], strict=True)]
        lower = [self.at(x, low) for x, low in zip(one.x, one.ends[0], strict=True)]
        path = " ".join(f"{x:g},{y:g}" for x, y in (*upper, *lower[::-1]))
        return Markup('<polygon class="fill band" points="{}"/>').format(path)

    def _bars(self, one: Series) -> list[Markup]:
        gap = min((b - a for a, b in zip(one.x, one.x[1:], strict=False)), default=1.0)
        parts = []
        for x, y in zip(one.x, one.y, strict=True):
            (left, top), (right, floor) = self.at(x - 0.45 * gap, max(y, 0.0)), self.at(x + 0.45 * gap, min(y, 0.0))
            parts.append(
                Markup('<rect class="fill" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
                    left, top, round(right - left, 1), round(floor - top, 1), f"{tick_text(x)}: {y:.4g}"
                )
            )
        return parts

    def _points(
        self, one: Series, told: Sequence[tuple[float, float]], points: Sequence[tuple[float, float]]
    ) -> list[Markup]:
        """Return the points: few tell their numbers, many are one path."""
        if len(points) <= _MOST_TOLD.get(one.form, 0):
            names = self.chart.x.names
            before = f"{one.name}, " if one.name else ""
            return [
                Markup('<circle class="fill" cx="{}" cy="{}" r="3.2"><title>{}</title></circle>').format(
                    *at, printable(f"{before}{names[int(x)] if names else tick_text(x)}: {y:.4g}")
                )
                for at, (x, y) in zip(points, told, strict=True)
            ]
        if one.form == "line":
            return []
        path = "".join(f"M{x:g} {y:g}h0" for x, y in _thinned(points))
        return [Markup('<path class="line many" style="stroke-width: 5; stroke-linecap: round" d="{}"/>').format(path)]


def _limits(axis: Axis, values: Sequence[float], *, to_ticks: bool = False) -> tuple[tuple[float, float], list[float]]:
    """Return the ends of an axis, and the places that are written at it; `to_ticks`, its ends are such places, so that
    everything lies between the first line of the grid and the last."""
    if axis.names:
        return (-0.5, len(axis.names) - 0.5), [float(place) for place in range(len(axis.names))]
    found = [value for value in values if math.isfinite(value) and (axis.scale != "log" or value > 0)]
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    if axis.scale == "log":
        # Limits that differ in a last digit alone are no axis.
        room = 1.15 if high < 1.01 * low or len(found) < 2 else max(1.06, (high / low) ** 0.06)
        low, high = low / room, high * room
        return (low, high), list(axis.at) or _log_ticks(low, high)
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
        high = high if axis.most is None else max(min(found, default=high), min(high, axis.most))
    if axis.is_whole and axis.least is not None and axis.most is not None:
        return (axis.least, axis.most), nice_ticks(axis.least, axis.most)
    if to_ticks and axis.scale == "linear" and not axis.at:
        return _snapped(low, high)
    pad = 0.05 * (high - low)
    low = low - pad if axis.least is None or low - pad > axis.least else min(low, axis.least)
    high = high + pad if axis.most is None or high + pad < axis.most else max(high, axis.most)
    ticks = nice_ticks(low, high)
    return (low, high), list(axis.at) or ([one for one in ticks if one == int(one)] if axis.scale == "whole" else ticks)


def _snapped(low: float, high: float) -> tuple[tuple[float, float], list[float]]:
    """Return the ends of an axis moved outwards to the next places that are written at it, and all these places."""
    ticks = nice_ticks(low, high)
    if len(ticks) < 2:
        ticks = nice_ticks(low, high, 12)
    if len(ticks) < 2:
        return (low, high), ticks
    step = ticks[1] - ticks[0]
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [round(number * step, 12) for number in range(first, last + 1)]
    return (ticks[0], ticks[-1]), ticks


def _share(value: float, ends: tuple[float, float], axis: Axis) -> float:
    low, high = ends
    if axis.scale == "log":
        value, low, high = math.log(max(value, low)), math.log(low), math.log(high)
    return min(1.02, max(-0.02, (value - low) / (high - low)))


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Return at most so many points, evenly taken, with the last."""
    every = -(-len(points) // _MOST_POINTS)
    return points if every <= 1 else [*points[::every], points[-1]]


def _line(kind: str, one: tuple[float, float], other: tuple[float, float]) -> Markup:
    return Markup('<line class="{}" x1="{:g}" y1="{:g}" x2="{:g}" y2="{:g}"/>').format(kind, *one, *other)


def _text(kind: str, x: float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text class="{}" x="{:g}" y="{:g}" text-anchor="{}">{}</text>').format(
        kind, round(x, 1), round(y, 1), anchor, text
    )


def _swatch(color: str, one: Series, place: int) -> Markup:
    """Return the mark of a series in the legend."""
    if one.form == "line":
        mark = Markup('<line class="line" stroke-dasharray="{}" x1="0" y1="6" x2="22" y2="6"/>').format(
            _DASHES[place % len(_DASHES)]
        )
    elif one.form == "bars":
        mark = Markup('<rect class="fill" x="4" y="1" width="14" height="10"/>')
    else:
        mark = Markup('<circle class="fill" cx="11" cy="6" r="4"/>')
    return Markup('<svg viewBox="0 0 22 12" class="{}{}" aria-hidden="true">{}</svg>').format(
        color, " pale" if one.is_pale else "", mark
    )
