"""Cases over many runs: a chart for each, the worst change first, and between which runs its level changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import history, metrics, units
from bench.history import LATENCY, RELATIVE, Reading, percent, say
from bench.records import Status
from bench.report import blocks, cells, course, naming, view
from bench.report.blocks import Column, Table
from bench.report.cells import Cell
from bench.report.charts import Mark
from bench.report.course import BETTER, NEITHER, WORSE, Bend, Course, Frame
from bench.report.section import Section
from bench.results import CaseResult, RunResults

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from bench.history import Change, History, Trend
    from bench.metrics import Metric
    from bench.records import Case
    from bench.report.cells import Content
    from bench.report.charts import Chart, Look

FEWEST = 3
"""Fewest runs of one machine that are a history; two are a comparison."""

EXPLAINED = (
    "One mark per run, its whisker the 95 % interval over processes; the upright axis does not begin at zero. A dashed "
    "line is a change of level, with the commit of the first run after it: found by PELT over the runs, and kept only "
    "where chance makes no such step among all cases shown. A machine changes too: a step says between which runs it "
    "was, not why."
)
MOST_CHARTS = 24
MOST_SAID = 3
"""Changes told below a chart; the table has all."""


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns how cases went over the runs, in the order given; None where no machine has enough of them."""
    usable = [found for found in runs if history.belongs(found.run)]
    by_machine: dict[str, list[int]] = {}
    for place, found in enumerate(usable):
        by_machine.setdefault(found.run.environment.fingerprint, []).append(place)
    series = [
        history.series(case, machine, readings)
        for machine, places in by_machine.items()
        if len(places) >= FEWEST
        for case, readings in _readings(usable, places)
    ]
    if not any(len(found.points) > 1 for found in series):
        return None
    return of(history.analyse([found.run for found in usable], series))


def of(found: History) -> Section:
    """Returns the section of a history."""
    named = list(zip(found.trends, _labels(found), strict=True))
    drawn = [(trend, label) for trend, label in named if len(trend.series.points) > 1]
    charts = [_chart(f"history-{i}", trend, found, label) for i, (trend, label) in enumerate(drawn[:MOST_CHARTS])]
    parts = [blocks.paragraph(_answer(found)), blocks.paragraph(EXPLAINED, "soft"), blocks.gallery(charts)]
    if (left := len(drawn) - MOST_CHARTS) > 0:
        less = f"Not drawn: {naming.count(left, 'series')} that changed less; the table has them."
        parts.append(blocks.paragraph(less.replace("seriess", "series"), "soft"))
    return Section("history", "History", blocks.merge([*parts, _table(found, named)]))


def _readings(runs: Sequence[RunResults], places: Sequence[int]) -> list[tuple[Case, list[Reading]]]:
    """Returns what these runs found of each case, cases in the order of the newest run that has them."""
    found: dict[str, tuple[Case, list[Reading]]] = {}
    for place in reversed(places):
        for result in runs[place].cases:
            if result.status is not Status.SKIPPED:
                found.setdefault(result.case.id, (result.case, []))[1].insert(0, _reading(place, result))
    return list(found.values())


def _reading(place: int, result: CaseResult) -> Reading:
    """Returns what one run found of a case, nothing where it did not end well."""
    names = (LATENCY, RELATIVE) if result.status is Status.OK else ()
    figures = {name: result.figures[name].by_repeat for name in names if name in result.figures}
    return Reading(place, figures, frozenset(result.disturbed))


def _labels(found: History) -> list[str]:
    """Returns what each series is called: its case as everywhere in the report, its machine where there are several."""
    bare = tuple(CaseResult(case, None, "", (), {}, ()) for case in found.cases)
    names = {entry.result.case.id: entry.plain for entry in view.of([RunResults(found.runs[-1], bare)]).entries}
    return [
        names[trend.series.case.id] + (f" [{trend.series.machine[:6]}]" if found.several_machines else "")
        for trend in found.trends
    ]


def _answer(found: History) -> str:
    """Returns what the history comes to."""
    runs = sorted({point.run for trend in found.trends for point in trend.series.points})
    first, last = (naming.plain(found.runs[place].name) for place in (runs[0], runs[-1]))
    over = f"Over {naming.count(len(runs), 'run')}, {first} to {last},"
    at_least = f"{100 * found.threshold:g} % or more"
    short = next((trend.remark for trend in found.trends if trend.remark), "")
    if all(trend.remark for trend in found.trends):
        return f"{over} nothing can be said of changes of level: {short}."
    moved = [trend for trend in found.trends if trend.changes]
    total = naming.count(len(found.trends), "case")
    if not moved:
        return f"{over} the level of no case changed by {at_least} (of {total})."
    worse = sum(any(trend.badness(c.ratio.estimate) > 0 for c in trend.changes) for trend in moved)
    said = (
        f"{over} the level of {len(moved)} of {total} changed by {at_least}, {worse} of them for the worse at some run."
    )
    return f"{said} Of others nothing can be said: {short}." if short else said


def _chart(chart: str, trend: Trend, found: History, label: str) -> Chart:
    """Returns the chart of one series."""
    of_machine = [i for i, run in enumerate(found.runs) if run.environment.fingerprint == trend.series.machine]
    place = {run: i for i, run in enumerate(of_machine)}
    points = trend.series.points
    metric = metrics.TABLE[trend.series.metric]
    drawn = Course(
        tuple(place[point.run] for point in points),
        tuple(Mark(point.figure.estimate, point.figure.low, point.figure.high) for point in points),
        tuple((place[points[a].run], place[points[b].run], value) for a, b, value in trend.levels() if trend.changes),
        tuple(
            Bend(
                place[change.after], _short(change, found, crowded=len(trend.changes) > MOST_SAID), _look(trend, change)
            )
            for change in trend.changes
        ),
    )
    frame = Frame(tuple(found.runs[run].name for run in of_machine), _up(metric), metric.unit)
    said = [_sentence(say(change, found.runs)) for change in trend.changes]
    more = f" {len(said) - MOST_SAID} more in the table." if len(said) > MOST_SAID else ""
    return course.course(chart, label, frame, drawn, _words(trend, found, said), " ".join(said[:MOST_SAID]) + more)


def _up(metric: Metric) -> str:
    """Returns the title of the upright axis."""
    better = "" if metric.better is None else f", {metric.better} is better"
    return f"{metric.title[0].lower()}{metric.title[1:]}{better}"


def _words(trend: Trend, found: History, said: Sequence[str]) -> str:
    """Returns what the chart of a series shows to those who do not see it."""
    points, unit = trend.series.points, trend.series.unit
    ends = [f"{units.format_value(p.figure.estimate, unit)} in {naming.plain(found.runs[p.run].name)}" for p in points]
    values = trend.series.values
    between = f"between {units.format_value(min(values), unit)} and {units.format_value(max(values), unit)}"
    title = metrics.TABLE[trend.series.metric].title
    changes = " ".join(said) or f"No change of level is known{f': {trend.remark}' if trend.remark else ''}."
    runs = naming.count(len(points), "run")
    return f"{title} in {runs}, each with its 95 % interval: {ends[0]}, {ends[-1]}, always {between}. {changes}"


def _short(change: Change, found: History, *, crowded: bool) -> str:
    """Returns a change as it is written into a chart, without the commit where there is no room for many."""
    made_at = "" if crowded else history.commit(found.runs[change.after])
    return f"{percent(change.ratio.estimate)} at {made_at}" if made_at else percent(change.ratio.estimate)


def _look(trend: Trend, change: Change) -> Look:
    """Returns the colour of a change."""
    if metrics.TABLE[trend.series.metric].better is None:
        return NEITHER
    return WORSE if trend.badness(change.ratio.estimate) > 0 else BETTER


def _sentence(text: str) -> str:
    """Returns a text as a sentence."""
    return naming.plain(f"{text[:1].upper()}{text[1:]}.")


def _table(found: History, named: Sequence[tuple[Trend, str]]) -> Markup:
    """Returns a row per series."""
    columns = [
        Column("case"),
        Column("runs", number=True),
        Column("first", number=True),
        Column("last", number=True),
        Column("since first", number=True, hint="last over first: two single runs, with the noise of both"),
        Column("changes of level", long=True),
    ]
    body: list[list[Content]] = []
    for trend, label in named:
        values, unit = trend.series.values, trend.series.unit
        ends = (values[0], values[-1]) if values else (None, None)
        said = " ".join(_sentence(say(change, found.runs)) for change in trend.changes)
        body.append(
            [
                label,
                str(len(values)),
                *(cells.quantity(value, unit) for value in ends),
                _since(trend.series.change),
                said or trend.remark or "none",
            ]
        )
    return blocks.table(Table(columns, body, "History, the worst change first"))


def _since(change: float | None) -> Cell:
    """Returns a ratio as the change that it is, a dash where it is unknown."""
    return Cell(units.UNKNOWN) if change is None else Cell(percent(change), (change - 1,))
