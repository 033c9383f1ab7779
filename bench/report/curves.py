"""Charts over an axis: one line per series with its intervals, layers without that axis as a level line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import seaborn as sns
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from bench import units
from bench.axes import show_value
from bench.report import svg, whiskers
from bench.report.charts import Chart, Look, Mark, beyond, exactly, readable_log
from bench.report.naming import plain, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from bench.axes import AxisValue

WIDTH, PLOT = 500, 220
LOG_FROM = 4.0
"""Values that grow by this factor or more are drawn on a log2 axis."""

NEAR = 6.0
"""So many points around a mark, those who point at it mean it."""

Point = tuple["AxisValue", Mark]


@dataclass(frozen=True)
class Series:
    """One line, or without an axis value (`level`) one figure that holds for the whole axis."""

    name: str
    look: Look
    points: tuple[Point, ...] = ()
    level: Mark | None = None


@dataclass(frozen=True)
class Plane:
    """What lies along and up: titles, the unit of the figures, and whether values of the axis are numbers."""

    along: str
    up: str
    unit: str
    numeric: bool = True


def curves(chart: str, title: str, plane: Plane, series: Sequence[Series]) -> Chart:
    """Returns a line chart; categories get dots without lines."""
    values = list(dict.fromkeys(value for line in series for value, _ in line.points))
    if plane.numeric:
        values.sort(key=_number)
    marks = [mark for line in series for _, mark in line.points] + [s.level for s in series if s.level]
    factor, label = units.axis_scale([mark.value for mark in marks], plane.unit)
    log_x = plane.numeric and _number(values[0]) > 0 and _number(values[-1]) / _number(values[0]) >= LOG_FROM
    low, high = min(m.value for m in marks), max(m.value for m in marks)
    log_y = low > 0 and high / low >= LOG_FROM
    limits = _limits(marks, log=log_y)
    foot = 50 + 17 * len(series)
    height = 34 + PLOT + foot
    with svg.drawing():
        figure = svg.canvas(WIDTH, height)
        axes = figure.add_axes((58 / WIDTH, foot / height, 1 - 72 / WIDTH, PLOT / height))
        place = {v: _number(v) if plane.numeric else float(i) for i, v in enumerate(values)}
        if log_x:
            axes.set_xscale("log", base=2)
        if log_y:
            axes.set_yscale("log")
        spot = [_shift(i, len(series), place, log=log_x) for i in range(len(series))]
        clipped = sum(
            _intervals(axes, line, shifted, factor, limits) for line, shifted in zip(series, spot, strict=True)
        )
        axes.set_xlabel(plane.along, labelpad=2)  # before seaborn draws: it lays out all ticks where there is none
        axes.set_ylabel(f"{plane.up} ({label})" if label else plane.up, labelpad=3)
        _lines(axes, series, spot, factor, joined=plane.numeric)
        _finish(axes, place, log=(log_x, log_y), limits=(limits[0] / factor, limits[1] / factor))
        axes.legend(handles=[_handle(line, joined=plane.numeric) for line in series], loc="upper left",
                    bbox_to_anchor=(-44 / (WIDTH - 72), -42 / PLOT), borderaxespad=0, labelspacing=0.3)  # fmt: skip
        figure.text(6 / WIDTH, 1 - 13 / height, shorten(plain(title), 66), va="center", ha="left", fontsize=9.5,
                    fontweight="bold")  # fmt: skip
        spots = _spots(axes, plane, series, spot, factor)
        picture = svg.inline(figure, chart, plain(title), _words(plane, series), spots)
    return Chart(picture, beyond(clipped))


def _number(value: AxisValue) -> float:
    """Returns a numeric axis value as a number."""
    return float(value) if isinstance(value, int | float) else 0.0


def _limits(marks: Sequence[Mark], *, log: bool) -> tuple[float, float]:
    """Returns the ends of the upright axis, with room for intervals unless they dwarf the estimates."""
    low, high = min(m.value for m in marks), max(m.value for m in marks)
    top = max(mark.high or mark.value for mark in marks)
    bottom = min(mark.low or mark.value for mark in marks)
    if log:
        return max(bottom / 1.1, low / 3), min(top * 1.1, high * 3)
    return 0.0, min(max(top * 1.05, high * 1.1), high * 2) or 1.0


def _shift(i: int, count: int, place: dict[AxisValue, float], *, log: bool) -> dict[AxisValue, float]:
    """Returns where a series has its marks: a little apart from the others, so that intervals can be told apart."""
    step = i - (count - 1) / 2
    if log:
        return {value: x * (1.0 + 0.025 * step) for value, x in place.items()}
    reach = (max(place.values()) - min(place.values())) * 0.012
    return {value: x + step * reach for value, x in place.items()}


def _lines(
    axes: Axes, series: Sequence[Series], spot: Sequence[dict[AxisValue, float]], factor: float, *, joined: bool
) -> None:
    """Draws the marks of all series, and the lines between them."""
    names = [str(i) for i, line in enumerate(series) for _ in line.points]
    looks = {str(i): line.look for i, line in enumerate(series) if line.points}
    drawn: dict[str, Any] = {
        "x": [spot[i][value] for i, line in enumerate(series) for value, _ in line.points],
        "y": [mark.value / factor for line in series for _, mark in line.points],
        "hue": names,
        "style": names,
        "palette": {name: look.colour for name, look in looks.items()},
        "markers": {name: look.marker for name, look in looks.items()},
        "legend": False,
        "zorder": 4,
        "ax": axes,
    }
    if joined:
        dashes = {name: (3, 1.5) if look.dashed else "" for name, look in looks.items()}
        sns.lineplot(**drawn, dashes=dashes, markersize=6.5, markeredgewidth=0, errorbar=None, estimator=None)
    else:
        sns.scatterplot(**drawn, s=42, linewidth=0)


def _intervals(
    axes: Axes, line: Series, spot: dict[AxisValue, float], factor: float, limits: tuple[float, float]
) -> int:
    """Draws the intervals of a series, or its level; returns how many leave the chart."""
    colour = line.look.colour
    if line.level is not None:
        axes.axhline(line.level.value / factor, color=colour, dashes=_dashes(line), lw=1.6, zorder=2)
        if line.level.low is not None and line.level.high is not None:
            low, high = max(line.level.low, limits[0]) / factor, min(line.level.high, limits[1]) / factor
            axes.axhspan(low, high, color=colour, alpha=0.12, lw=0)
        return 0
    spans = [(spot[value], mark.low, mark.high) for value, mark in line.points]
    return whiskers.draw(axes, spans, whiskers.Axis(limits, factor, upright=True), whiskers.Pen(colour, cap=4.5))


def _finish(
    axes: Axes,
    place: dict[AxisValue, float],
    *,
    log: tuple[bool, bool],
    limits: tuple[float, float],
) -> None:
    """Sets ticks at the measured values, and limits."""
    shown = list(place) if len(place) <= 8 else [v for i, v in enumerate(place) if i % (len(place) // 6) == 0]
    axes.xaxis.set_major_locator(FixedLocator([place[value] for value in shown]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([shorten(show_value(value), 16) for value in shown])
    first, last = min(place.values()), max(place.values())
    if log[0]:
        room = max((last / first) ** 0.08, 1.12)
        axes.set_xlim(first / room, last * room)
    else:
        room = (last - first) * 0.1 or 0.5
        axes.set_xlim(first - room, last + room)
    axes.set_ylim(*limits)
    if log[1]:
        readable_log(axes.yaxis)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="x", visible=False)
    axes.set_axisbelow(True)
    sns.despine(ax=axes)


def _dashes(line: Series) -> tuple[float, float]:
    """Returns the dashes of a level line: long ones, short ones for every second run."""
    return (1.5, 1.5) if line.look.dashed else (5.0, 2.0)


def _handle(line: Series, *, joined: bool) -> Line2D:
    """Returns what the legend shows for a series."""
    name = shorten(plain(line.name), 66)
    name = f"\u200b{name}" if name.startswith("_") else name  # matplotlib hides names with an underscore
    if line.level is not None:
        return Line2D([], [], color=line.look.colour, dashes=_dashes(line), label=name)
    style = ("--" if line.look.dashed else "-") if joined else ""
    return Line2D([], [], color=line.look.colour, marker=line.look.marker, ms=6, mew=0, ls=style, label=name)


def _spots(
    axes: Axes, plane: Plane, series: Sequence[Series], spot: Sequence[dict[AxisValue, float]], factor: float
) -> list[svg.Spot]:
    """Returns what level lines and marks tell, marks over lines."""
    lines = [
        svg.spot(axes, f"{plain(line.name)}\n{exactly(line.level, plane.unit)} throughout", axes.get_xlim(),
                 (line.level.value / factor,) * 2, NEAR / 2)
        for line in series
        if line.level is not None
    ]  # fmt: skip
    marks = [
        svg.spot(axes, f"{plain(line.name)}, {plane.along} {show_value(value)}\n{exactly(mark, plane.unit)}",
                 (spot[i][value],) * 2, (mark.value / factor,) * 2, NEAR)
        for i, line in enumerate(series)
        for value, mark in line.points
    ]  # fmt: skip
    return lines + marks


def _words(plane: Plane, series: Sequence[Series]) -> str:
    """Returns what the chart shows, in words."""
    parts = []
    for line in series:
        if line.level is not None:
            parts.append(f"{plain(line.name)}: {units.format_value(line.level.value, plane.unit)} throughout")
            continue
        found = ", ".join(f"{units.format_value(m.value, plane.unit)} at {show_value(v)}" for v, m in line.points)
        parts.append(f"{plain(line.name)}: {found}")
    return f"{plane.up} over {plane.along}. {'; '.join(parts)}."
