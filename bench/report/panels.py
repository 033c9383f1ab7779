"""Row charts per workload, each short enough to read, with a word on what they leave out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.report import naming
from bench.report.charts import Chart, Look, Mark, Row, Scale, rows
from bench.report.svg import COLOURS
from bench.report.view import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.report.view import Entry, View

MOST_PANELS = 4
MOST_ROWS = 16
WIDE = 0.995
"""Half widths from here on are written as >99 %."""


@dataclass(frozen=True)
class Panels:
    """Charts, and what they leave out."""

    charts: tuple[Chart, ...]
    left_out: str


@dataclass(frozen=True)
class Picture:
    """What each panel shows: prefix of its ids, title, scale, how an entry becomes a row, parts of a row by name.

    Rows are ranked by what is drawn in them, or else by `rank`.
    """

    id: str
    title: str
    scale: Scale
    row: Callable[[Entry], Row]
    legend: tuple[str, ...] = ()
    stacked: bool = False
    descending: bool = False
    rank: Callable[[Entry], float] | None = None


def looks(view: View) -> dict[str, Look]:
    """Returns how each series is drawn in every chart: a colour for each kind, a marker and dashes for each run."""
    kinds = {kind: i for i, kind in enumerate(dict.fromkeys(entry.kind for entry in view.entries))}
    colours = {entry.series: (kinds[entry.kind], entry.number) for entry in view.entries}
    return {
        name: Look(i, colours[name][0], dashed=colours[name][1] % 2 == 1 or colours[name][0] >= len(COLOURS))
        for i, name in enumerate(view.series)
    }


def draw(view: View, entries: Sequence[Entry], picture: Picture, most: int = MOST_PANELS) -> Panels:
    """Returns one chart for each workload, the lowest figure (or the highest) in its first row."""
    groups = view.by_workload(entries)
    rank = picture.rank
    charts = []
    hidden = 0
    shown = spread(list(groups), most)
    for i, workload in enumerate(shown):
        ranked = sorted(
            ((entry, picture.row(entry)) for entry in groups[workload]),
            key=lambda pair: sum(mark.value for mark in pair[1].marks) if rank is None else rank(pair[0]),
            reverse=picture.descending,
        )
        kept = _keep(ranked)
        hidden += len(ranked) - len(kept)
        title = f"{picture.title}, {workload}" if workload else picture.title
        charts.append(
            rows(f"{picture.id}-{i}", title, picture.scale, kept, stacked=picture.stacked, legend=picture.legend)
        )
    words = []
    if len(groups) > len(shown):
        words.append(f"{len(shown)} of {len(groups)} workloads are drawn")
    if hidden:
        words.append(f"{naming.count(hidden, 'row')} beyond the first {MOST_ROWS} of a chart left out")
    return Panels(tuple(charts), f"{'; '.join(words)}. The table of all figures has every case." if words else "")


def bar(entry: Entry, metric: str, look: Look) -> Row:
    """Returns a row with one figure, its interval, and its half width in words."""
    figure = entry.result.figures[metric]
    width = figure.interval.half_width
    text = naming.value(figure)
    if width is not None:
        text += " ±>99 %" if width > WIDE else f" ±{width:.0%}".replace("%", " %")
    return Row(entry.name, text, (Mark(figure.value, figure.interval.low, figure.interval.high, look),))


def _keep(ranked: Sequence[tuple[Entry, Row]]) -> list[Row]:
    """Returns at most so many rows: the first of every kind, then the others in order."""
    if len(ranked) <= MOST_ROWS:
        return [row for _, row in ranked]
    firsts: dict[str, int] = {}
    for place, (entry, _) in enumerate(ranked):
        firsts.setdefault(entry.series, place)
    chosen = list(firsts.values())[:MOST_ROWS]
    chosen += [i for i in range(len(ranked)) if i not in set(chosen)][: MOST_ROWS - len(chosen)]
    return [ranked[i][1] for i in sorted(chosen)]
