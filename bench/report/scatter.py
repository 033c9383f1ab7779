"""A chart of points in a plane, both axes logarithmic, with the lines that they are read against.

Names would hide the points: those worth a name have a number beside them, which the legend or the words below explain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import seaborn as sns
from matplotlib.lines import Line2D

from bench import units
from bench.report import svg, whiskers
from bench.report.charts import Chart, Look, Mark, beyond, readable_log
from bench.report.naming import plain, shorten
from bench.report.placing import Box, place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

WIDTH, PLOT = 500, 270
LEFT, RIGHT = 58, 14
HEAD, FOOT, ROW = 34, 50, 14

REACH = 3.0
"""Intervals reach at most this factor beyond the estimates; longer ones end in an arrow."""

NARROW = 36
"""Characters of the longest name with which the legend has two columns."""

SINGLE = 5
"""So many names or fewer have one column."""

Corner = tuple[float, float]


@dataclass(frozen=True)
class Point:
    """One case: its figure along, its figure up with interval and look, whether it is drawn as an outline or ringed."""

    along: float
    up: Mark
    number: int | None = None
    faint: bool = False
    ringed: bool = False


@dataclass(frozen=True)
class Line:
    """A line through corners, which may lie far outside; one without a name is not in the legend."""

    corners: tuple[Corner, ...]
    name: str = ""
    dashed: bool = False


@dataclass(frozen=True)
class Key:
    """A row of the legend: how the points look that it names."""

    look: Look
    words: str
    faint: bool = False


@dataclass(frozen=True)
class Plane:
    """What lies along and up, in base units; `sides` stand above the left and the right, `seen` must be within."""

    along: tuple[str, str]
    up: tuple[str, str]
    sides: tuple[str, str] = ("", "")
    seen: tuple[Corner, ...] = ()


@dataclass(frozen=True)
class _Frame:
    """The ends of both axes in base units, and what a value is divided by on each."""

    along: tuple[float, float]
    up: tuple[float, float]
    factors: tuple[float, float]


def scatter(
    chart: str, title: str, plane: Plane, points: Sequence[Point], lines: Sequence[Line], keys: Sequence[Key],
    words: str, note: str = "",
) -> Chart:  # fmt: skip
    """Returns the chart; `words` say what it shows to those who do not see it."""
    frame, labels = _frame(plane, points)
    handles = [*map(_key, keys), *(_drawn(line) for line in lines if line.name)]
    columns = 2 if len(handles) > SINGLE and max(len(str(h.get_label())) for h in handles) <= NARROW else 1
    foot = FOOT + ROW * -(-len(handles) // columns)
    head = HEAD + (14 if any(plane.sides) else 0)
    height = head + PLOT + foot
    with svg.drawing():
        figure = svg.canvas(WIDTH, height)
        axes = figure.add_axes((LEFT / WIDTH, foot / height, 1 - (LEFT + RIGHT) / WIDTH, PLOT / height))
        _axes(axes, plane, frame, labels)
        for line in lines:
            axes.plot([x / frame.factors[0] for x, _ in line.corners], [y / frame.factors[1] for _, y in line.corners],
                      color=svg.INK, lw=1.4, ls=(0, (4, 2)) if line.dashed else "-", alpha=0.75, zorder=2)  # fmt: skip
        clipped = _intervals(axes, points, frame)
        _points(axes, points, frame)
        _numbers(axes, points, frame)
        axes.legend(handles=handles, loc="upper left", ncols=columns, borderaxespad=0, labelspacing=0.3,
                    bbox_to_anchor=(-44 / (WIDTH - LEFT - RIGHT), -42 / PLOT), columnspacing=1.2)  # fmt: skip
        figure.text(6 / WIDTH, 1 - 13 / height, shorten(plain(title), 66), va="center", ha="left", fontsize=9.5,
                    fontweight="bold")  # fmt: skip
        picture = svg.inline(figure, chart, plain(title), plain(words))
    return Chart(picture, " ".join(filter(None, (note, beyond(clipped)))))


def _frame(plane: Plane, points: Sequence[Point]) -> tuple[_Frame, tuple[str, str]]:
    """Returns the frame of the axes, and the unit of each in words."""
    along = [*(point.along for point in points), *(x for x, _ in plane.seen)]
    up = [*(point.up.value for point in points), *(y for _, y in plane.seen)]
    lows = [point.up.low for point in points if point.up.low is not None]
    highs = [point.up.high for point in points if point.up.high is not None]
    reach = (
        max(min(lows, default=min(up)), min(up) / REACH),
        min(max(highs, default=max(up)), max(up) * REACH),
    )
    (across, name_across), (upright, name_upright) = (
        units.axis_scale(along, plane.along[1]),
        units.axis_scale(up, plane.up[1]),
    )
    ends = _room(along), _room([*up, *reach])
    return _Frame(ends[0], ends[1], (across, upright)), (name_across, name_upright)


def _room(values: Sequence[float]) -> tuple[float, float]:
    """Returns the ends of an axis with some room beyond the values."""
    low, high = min(values), max(values)
    room = max((high / low) ** 0.08, 1.12)
    return low / room, high * room


def _axes(axes: Axes, plane: Plane, frame: _Frame, labels: tuple[str, str]) -> None:
    """Sets scales, titles, ticks and limits."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*(end / frame.factors[0] for end in frame.along))
    axes.set_ylim(*(end / frame.factors[1] for end in frame.up))
    for axis in (axes.xaxis, axes.yaxis):
        readable_log(axis)
    for name, label, put in ((plane.along[0], labels[0], axes.set_xlabel), (plane.up[0], labels[1], axes.set_ylabel)):
        put(f"{name} ({label})" if label else name, labelpad=2)
    for x, text, side in ((0, plane.sides[0], "left"), (1, plane.sides[1], "right")):
        axes.text(x, 1 + 5 / PLOT, text, transform=axes.transAxes, ha=side, va="bottom", fontsize=8)
    axes.set_axisbelow(True)
    sns.despine(ax=axes)


def _intervals(axes: Axes, points: Sequence[Point], frame: _Frame) -> int:
    """Draws the intervals of points, those of a colour together; returns how many leave the chart."""
    axis = whiskers.Axis(frame.up, frame.factors[1], upright=True)
    spans: dict[whiskers.Pen, list[tuple[float, float | None, float | None]]] = {}
    for point in points:
        width, alpha = (1.0, 0.45) if point.faint else (1.3, 0.9)
        pen = whiskers.Pen(point.up.look.colour, width, cap=4, alpha=alpha)
        spans.setdefault(pen, []).append((point.along / frame.factors[0], point.up.low, point.up.high))
    return sum(whiskers.draw(axes, found, axis, pen) for pen, found in spans.items())


def _points(axes: Axes, points: Sequence[Point], frame: _Frame) -> None:
    """Draws the points of each look together, outlines first."""
    kinds = sorted({(not point.faint, point.up.look.number) for point in points})
    for solid, number in kinds:
        some = [p for p in points if p.faint != solid and p.up.look.number == number]
        look = some[0].up.look
        sns.scatterplot(x=[p.along / frame.factors[0] for p in some], y=[p.up.value / frame.factors[1] for p in some],
                        color=look.colour, marker=look.marker, s=46 if solid else 30, linewidth=0 if solid else 1.1,
                        clip_on=False, legend=False, zorder=5 if solid else 4, ax=axes)  # fmt: skip
        if not solid:
            axes.collections[-1].set(facecolor=svg.PAPER, edgecolor=look.colour)
    for point in points:
        if point.ringed:
            axes.plot([point.along / frame.factors[0]], [point.up.value / frame.factors[1]], marker="o", ms=13,
                      mfc="none", mec=svg.INK, mew=1.2, zorder=6, clip_on=False)  # fmt: skip


def _numbers(axes: Axes, points: Sequence[Point], frame: _Frame) -> None:
    """Writes numbers beside their points, where they hide no other point and no interval."""
    size = WIDTH - LEFT - RIGHT, PLOT
    taken = []
    for point in points:
        x, y = _pixel(point.along, frame.along, size[0]), _pixel(point.up.value, frame.up, size[1])
        taken.append(Box(x - 5, y - 5, x + 5, y + 5))
        if point.up.low is not None and point.up.high is not None:
            ends = (_pixel(end, frame.up, size[1]) for end in (point.up.low, point.up.high))
            taken.append(Box(x - 2, next(ends), x + 2, next(ends)))
    for point in sorted((p for p in points if p.number is not None), key=lambda p: p.number or 0):
        at = _pixel(point.along, frame.along, size[0]), _pixel(point.up.value, frame.up, size[1])
        box = place(at, 7.0 * len(str(point.number)), 11.0, taken, size)
        taken.append(box)
        axes.text(*box.centre(size), str(point.number), transform=axes.transAxes, ha="center", va="center",
                  fontsize=8.5, fontweight="bold", zorder=7)  # fmt: skip


def _pixel(value: float, ends: tuple[float, float], length: float) -> float:
    """Returns how far along an axis of so many pixels a value lies."""
    return length * math.log(value / ends[0]) / math.log(ends[1] / ends[0])


def _name(text: str) -> str:
    """Returns a name as matplotlib's legend has it."""
    name = shorten(plain(text), 70)
    return f"\u200b{name}" if name.startswith("_") else name  # matplotlib hides names with an underscore


def _key(key: Key) -> Line2D:
    """Returns what the legend shows for points."""
    inside = svg.PAPER if key.faint else key.look.colour
    return Line2D([], [], ls="", marker=key.look.marker, ms=5 if key.faint else 6, mfc=inside, mec=key.look.colour,
                  mew=1.1 if key.faint else 0, label=_name(key.words))  # fmt: skip


def _drawn(line: Line) -> Line2D:
    """Returns what the legend shows for a line."""
    return Line2D([], [], color=svg.INK, lw=1.4, ls=(0, (4, 2)) if line.dashed else "-", alpha=0.75,
                  label=_name(line.name))  # fmt: skip
