"""Charts in rows: one row per case, its name above a bar or a dot, its figure in words at the right.

Names stand above the bars, not beside them, so that long ones fit a telephone; each row is named, so that colour
alone never carries a meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import seaborn as sns
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from bench import units
from bench.report import naming, svg, whiskers
from bench.report.naming import plain, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup
    from matplotlib.axes import Axes

WIDTH = 500
ROW = 35
LINE = 16
LEGEND_LINE = 5
"""Parts of a stack that fit a line of the legend."""

LINE_LENGTH = 72
"""Characters that fit a row's name and figure together."""

WHISKER_REACH = 2.0
"""Whiskers reach at most so many times the largest estimate; longer ones end in an arrow."""

BAR = 0.2
"""How far below its place a row is drawn; its name stands as far above."""

MARKERS = "osD^vPX*<"

LOG_TICKS = (
    (3000.0, (1.0,)),
    (150.0, (1.0, 3.0)),
    (12.0, (1.0, 2.0, 5.0)),
    (3.0, (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)),
)
"""Ticks of each decade by the factor that a log axis spans; one that spans less has those of a linear one."""


@dataclass(frozen=True)
class Chart:
    """A picture with the words below it."""

    svg: Markup
    note: str = ""


@dataclass(frozen=True)
class Look:
    """How a series is drawn: everywhere the same colour and marker."""

    number: int
    hue: int | None = None
    dashed: bool = False

    @property
    def colour(self) -> str:
        """One of the eight colours."""
        return svg.COLOURS[(self.number if self.hue is None else self.hue) % len(svg.COLOURS)]

    @property
    def marker(self) -> str:
        """One of nine markers, so that colour and marker together repeat only after 72 series."""
        return MARKERS[self.number % len(MARKERS)]


@dataclass(frozen=True)
class Mark:
    """One figure with its interval, in base units; `hatched` is the second part of a stack."""

    value: float
    low: float | None = None
    high: float | None = None
    look: Look = field(default_factory=lambda: Look(0))
    hatched: bool = False


@dataclass(frozen=True)
class Row:
    """One row: a name, its figure in words, and what is drawn."""

    name: str
    text: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Scale:
    """The axis of the figures: its title and unit, and a line or band to read them against."""

    title: str
    unit: str
    log: bool = False
    line: float | None = None
    band: tuple[float, float] | None = None


def rows(
    chart: str, title: str, scale: Scale, data: Sequence[Row], *, stacked: bool = False, legend: Sequence[str] = ()
) -> Chart:
    """Returns bars (on a linear scale from zero, stacked if asked) or dots (on a log scale, or several to a row)."""
    dots = scale.log or (len(legend) > 1 and not stacked)
    tops = [sum(m.value for m in row.marks) if stacked else max(m.value for m in row.marks) for row in data]
    factor, label = units.axis_scale(tops, scale.unit)
    bottom, top = _limits(data, tops, scale)
    lines = -(-len(legend) // LEGEND_LINE)
    foot, head = (58 + LINE * lines if legend else 46), 30
    height = head + ROW * len(data) + foot
    with svg.drawing():
        figure = svg.canvas(WIDTH, height)
        axes = figure.add_axes((6 / WIDTH, foot / height, 1 - 18 / WIDTH, ROW * len(data) / height))
        _scaffold(axes, scale, (bottom / factor, top / factor), len(data))
        for place, row in enumerate(data):
            name = shorten(plain(row.name), LINE_LENGTH - 3 - len(row.text))
            for side, text, where in ((0, name, "left"), (1, row.text, "right")):
                axes.text(side, place - BAR, text, transform=axes.get_yaxis_transform(), va="center", ha=where)
        axis = whiskers.Axis((bottom, top), factor, upright=False)
        clipped = whiskers.draw(axes, [(at, m.low, m.high) for at, m in _spread(data)], axis, whiskers.Pen())
        axes.set_xlabel(f"{scale.title} ({label})" if label else scale.title, labelpad=2)
        axes.set_ylabel(" ")  # else seaborn lays out all ticks to see whether it may set a label
        (_dots if dots else _bars)(axes, data, factor)
        if legend:
            handles = _handles(data, legend, dots=dots)
            columns = -(-len(handles) // lines)
            in_lines = [handle for column in range(columns) for handle in handles[column::columns]]
            axes.legend(handles=in_lines, loc="upper left", ncols=columns,
                        bbox_to_anchor=(-0.01, -46 / (ROW * len(data))), borderaxespad=0, handlelength=1.4)  # fmt: skip
        figure.text(6 / WIDTH, 1 - 13 / height, shorten(plain(title), 66), va="center", ha="left", fontsize=9.5,
                    fontweight="bold")  # fmt: skip
        words = "; ".join(f"{plain(row.name)}: {row.text}" for row in data)
        spots = [
            svg.spot(axes, told(row, scale.unit, legend), axes.get_xlim(), (place - 0.5, place + 0.5))
            for place, row in enumerate(data)
        ]
        picture = svg.inline(figure, chart, plain(title), f"{scale.title} in rows. {words}.", spots)
    return Chart(picture, beyond(clipped))


def told(row: Row, unit: str, legend: Sequence[str] = ()) -> str:
    """Returns what a row tells to who points at it: its whole name, its figures and their intervals."""
    if len(row.marks) > 1:
        figures = [f"{words} {exactly(mark, unit)}" for words, mark in zip(legend, row.marks, strict=False)]
        return f"{plain(row.name)}\n{row.text}: {'; '.join(figures)}"
    return f"{plain(row.name)}\n{row.text}{_reach(row.marks[0], unit)}"


def exactly(mark: Mark, unit: str) -> str:
    """Returns a figure with its interval."""
    return f"{units.format_value(mark.value, unit)}{_reach(mark, unit)}"


def _reach(mark: Mark, unit: str) -> str:
    """Returns the interval of a figure, nothing where it is unknown."""
    return "" if mark.low is None else f", 95 % interval {naming.span(mark.low, mark.high, unit)}"


def beyond(clipped: int) -> str:
    """Returns what to say of intervals that do not fit a chart."""
    if not clipped:
        return ""
    which = "An arrow marks an interval that reaches" if clipped == 1 else "Arrows mark intervals that reach"
    return f"{which} beyond the chart; the table of all figures has its ends."


def _limits(data: Sequence[Row], tops: Sequence[float], scale: Scale) -> tuple[float, float]:
    """Returns the ends of the axis: room for estimates, for intervals unless they dwarf them, and for line and band."""
    largest = max(tops, default=0.0)
    highs = [m.high for row in data for m in row.marks if m.high is not None]
    if not scale.log:
        return 0.0, max(largest * 1.06, min(max(highs, default=0.0) * 1.03, largest * WHISKER_REACH)) or 1.0
    values = [m.value for row in data for m in row.marks if m.value > 0]
    lows = [m.low for row in data for m in row.marks if m.low is not None and m.low > 0]
    against = [place for place in (scale.line, *(scale.band or ())) if place is not None]
    low, high = min([*values, *against], default=1.0), max([*values, *against], default=1.0)
    return min(low / 1.25, max(min(lows, default=low) / 1.05, low / 4)), max(
        high * 1.25, min(max(highs, default=high) * 1.05, high * 4)
    )


def _scaffold(axes: Axes, scale: Scale, limits: tuple[float, float], count: int) -> None:
    """Draws axis, grid and what figures are read against."""
    axes.set_ylim(count - 0.35, -0.55)
    if scale.log:
        axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.yaxis.set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="y", visible=False)
    if scale.log and scale.unit == "factor":
        readable_log(axes.xaxis)
    elif scale.log:
        axes.xaxis.set_major_locator(LogLocator(10, numticks=6))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0e}")
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    sns.despine(ax=axes, left=True)
    if scale.band is not None:
        axes.axvspan(*scale.band, color=svg.INK, alpha=0.08, lw=0)
    if scale.line is not None:
        axes.axvline(scale.line, color=svg.INK, lw=1, dashes=(4, 2), alpha=0.5, zorder=0)


def readable_log(axis: object) -> None:
    """Gives a log axis ticks with plain numbers, as many as it has room for however much it spans."""
    low, high = sorted(axis.get_view_interval())  # type: ignore[attr-defined]
    span = high / low
    subs = next((subs for least, subs in LOG_TICKS if span > least), ())
    locator = LogLocator(10, subs=subs, numticks=12) if subs else MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])
    axis.set_major_locator(locator)  # type: ignore[attr-defined]
    axis.set_minor_locator(NullLocator())  # type: ignore[attr-defined]
    axis.set_major_formatter(lambda value, _: f"{value:g}")  # type: ignore[attr-defined]
    axis.set_minor_formatter(NullFormatter())  # type: ignore[attr-defined]


def _spread(data: Sequence[Row]) -> list[tuple[float, Mark]]:
    """Returns marks and their places, those of a row a little apart, so that equal figures do not hide each other."""
    return [
        (place + BAR + 0.16 * (i - (len(row.marks) - 1) / 2), mark)
        for place, row in enumerate(data)
        for i, mark in enumerate(row.marks)
    ]


def _bars(axes: Axes, data: Sequence[Row], factor: float) -> None:
    """Draws bars, or the parts of stacks one after another."""
    left = [0.0] * len(data)
    for part in range(max(len(row.marks) for row in data)):
        marks = {place: row.marks[part] for place, row in enumerate(data) if part < len(row.marks)}
        colours = [mark.look.colour for mark in marks.values()]
        before = len(axes.patches)
        sns.barplot(x=[mark.value / factor for mark in marks.values()], y=[place + BAR for place in marks], orient="y",
                    native_scale=True, width=0.36, hue=colours, palette=dict(zip(colours, colours, strict=True)),
                    saturation=1, errorbar=None, dodge=False, legend=False, linewidth=0, ax=axes)  # fmt: skip
        for patch in (patch for patch in axes.patches[before:] if isinstance(patch, Rectangle)):
            place = round(patch.get_y() + patch.get_height() / 2 - BAR)
            patch.set_x(left[place])
            left[place] += patch.get_width()
            if marks[place].hatched:
                patch.set(hatch="////", edgecolor=svg.PAPER)
    axes.set_ylabel("")


def _dots(axes: Axes, data: Sequence[Row], factor: float) -> None:
    """Draws a dot for each figure on a faint line for each row."""
    for place in range(len(data)):
        axes.axhline(place + BAR, color=svg.FAINT, lw=0.8, zorder=1)
    marks = _spread(data)
    names = [str(mark.look.number) for _, mark in marks]
    looks = {str(mark.look.number): mark.look for _, mark in marks}
    sns.scatterplot(x=[mark.value / factor for _, mark in marks], y=[place for place, _ in marks], hue=names,
                    style=names, palette={name: look.colour for name, look in looks.items()},
                    markers={name: look.marker for name, look in looks.items()}, s=42, linewidth=0, zorder=4,
                    clip_on=False, legend=False, ax=axes)  # fmt: skip
    axes.set_ylabel("")


def _handles(data: Sequence[Row], legend: Sequence[str], *, dots: bool) -> list[Line2D | Patch]:
    """Returns what the legend shows for each part of a row."""
    marks = max((row.marks for row in data), key=len)
    if dots:
        return [
            Line2D([], [], ls="", marker=m.look.marker, color=m.look.colour, label=words)
            for m, words in zip(marks, legend, strict=False)
        ]
    return [
        Patch(facecolor=m.look.colour, hatch="////" if m.hatched else "", edgecolor=svg.PAPER, lw=0, label=words)
        for m, words in zip(marks, legend, strict=False)
    ]
