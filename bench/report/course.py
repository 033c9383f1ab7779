"""A chart of one case over runs: a mark with its interval for each, its levels, and a line where the level changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import seaborn as sns
from matplotlib.ticker import FixedLocator, MaxNLocator

from bench import units
from bench.report import svg, whiskers
from bench.report.charts import Chart, Look, Mark, beyond, exactly
from bench.report.naming import plain, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

WIDTH, PLOT = 500, 190
FOOT, HEAD, ROW = 42, 34, 12
"""Below and above the plot, and what a row of labels takes above it."""

LEAST_SPAN = 1.3
"""The axis spans at least this factor, so that noise does not look like a mountain."""

REACH = 1.6
"""Intervals reach at most so many times the span of the estimates beyond them; longer ones end in an arrow."""

CROWDED = 60
"""Marks from which on they are smaller."""

MOST_TICKS = 5
MOST_LABELS = 6
"""Changes whose size is written into the chart; the words below it have all."""

WORSE, BETTER, NEITHER = Look(4), Look(2), Look(6)


@dataclass(frozen=True)
class Bend:
    """A change: the place of the first run of the new level, how it is labelled, and whether it is for the worse."""

    place: float
    label: str
    look: Look


@dataclass(frozen=True)
class Course:
    """What is drawn: marks at the places of runs, levels as (first place, last place, value), and the changes."""

    places: tuple[int, ...]
    marks: tuple[Mark, ...]
    levels: tuple[tuple[int, int, float], ...] = ()
    bends: tuple[Bend, ...] = ()


@dataclass(frozen=True)
class Frame:
    """What lies along and up: a name for each run, the title of the figures and their unit."""

    runs: tuple[str, ...]
    up: str
    unit: str


def course(chart: str, title: str, frame: Frame, drawn: Course, words: str, note: str = "") -> Chart:
    """Returns the chart; `words` say what it shows to those who do not see it."""
    factor, label = units.axis_scale([mark.value for mark in drawn.marks], frame.unit)
    limits = _limits(drawn)
    lines = min(len(drawn.bends), 2)
    height = HEAD + ROW * lines + PLOT + FOOT
    with svg.drawing():
        figure = svg.canvas(WIDTH, height)
        axes = figure.add_axes((58 / WIDTH, FOOT / height, 1 - 72 / WIDTH, PLOT / height))
        clipped = whiskers.draw(
            axes,
            [(place, mark.low, mark.high) for place, mark in zip(drawn.places, drawn.marks, strict=True)],
            whiskers.Axis(limits, factor, upright=True),
            whiskers.Pen(Look(0).colour, width=1.0, cap=4, alpha=0.55, capped=False),
        )
        size = 26 if len(drawn.marks) <= CROWDED else 12
        sns.scatterplot(x=list(drawn.places), y=[mark.value / factor for mark in drawn.marks], color=Look(0).colour,
                        s=size, linewidth=0, zorder=4, legend=False, ax=axes)  # fmt: skip
        for first, last, value in drawn.levels:
            axes.plot([first - 0.4, last + 0.4], [value / factor] * 2, color=svg.INK, lw=1.6, zorder=5, alpha=0.85)
        _bends(axes, drawn.bends, top=limits[1] / factor, count=len(frame.runs))
        _finish(axes, frame, label, (limits[0] / factor, limits[1] / factor))
        figure.text(6 / WIDTH, 1 - 13 / height, shorten(plain(title), 66), va="center", ha="left", fontsize=9.5,
                    fontweight="bold")  # fmt: skip
        ends = axes.get_ylim()
        spots = [
            svg.spot(axes, f"{plain(frame.runs[at])}\n{exactly(mark, frame.unit)}", (at - 0.5, at + 0.5), ends)
            for at, mark in zip(drawn.places, drawn.marks, strict=True)
        ]
        picture = svg.inline(figure, chart, plain(title), words, spots)
    return Chart(picture, " ".join(filter(None, (note, beyond(clipped)))))


def _limits(drawn: Course) -> tuple[float, float]:
    """Returns the ends of the upright axis: not from zero, but never so near that noise fills it."""
    low, high = min(m.value for m in drawn.marks), max(m.value for m in drawn.marks)
    room = max(high - low, (LEAST_SPAN - 1) * abs(high), 1e-12 if high == 0 else 0.0)
    centre = (low + high) / 2
    bottom = min([m.low for m in drawn.marks if m.low is not None], default=low)
    top = max([m.high for m in drawn.marks if m.high is not None], default=high)
    reach = (min(bottom, centre - room / 2), max(top, centre + room / 2))
    lowest = max(reach[0] - 0.06 * room, centre - REACH * room)
    return max(lowest, 0.0) if low >= 0 else lowest, min(reach[1] + 0.06 * room, centre + REACH * room)


def _bends(axes: Axes, bends: Sequence[Bend], *, top: float, count: int) -> None:
    """Draws a line where the level changes, with its size above it in one of two rows, within the chart."""
    for i, bend in enumerate(bends):
        axes.axvline(bend.place - 0.5, color=bend.look.colour, lw=1.3, dashes=(4, 2), zorder=2)
        if i < MOST_LABELS:
            lift = 4 + ROW * (i % 2)
            side = "left" if bend.place < 0.15 * count else "right" if bend.place > 0.85 * count else "center"
            axes.annotate(bend.label, (bend.place - 0.5, top), xytext=(0, lift), textcoords="offset points",
                          ha=side, va="bottom", fontsize=8, annotation_clip=False)  # fmt: skip


def _finish(axes: Axes, frame: Frame, label: str, limits: tuple[float, float]) -> None:
    """Sets titles, the names of some runs, and limits."""
    count = len(frame.runs)
    shown = sorted({round(i * (count - 1) / (MOST_TICKS - 1)) for i in range(MOST_TICKS)})
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.set_xticklabels([shorten(plain(frame.runs[place]), 14) for place in shown])
    axes.set_xlim(-0.8, count - 0.2)
    axes.set_ylim(*limits)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("runs, oldest first", labelpad=2)
    axes.set_ylabel(f"{frame.up} ({label})" if label else frame.up, labelpad=3)
    axes.grid(axis="x", visible=False)
    axes.set_axisbelow(True)
    sns.despine(ax=axes)
