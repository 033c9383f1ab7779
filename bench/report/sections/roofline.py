"""Roofline: how near each case comes to what its device can do, and whether arithmetic or memory holds it back."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from bench import units
from bench.report import blocks, naming, panels, roofs, scatter, view
from bench.report.blocks import Column, Table
from bench.report.charts import Mark
from bench.report.roofs import BANDWIDTH, COMPUTE, MEASURED, SUSPECT
from bench.report.scatter import Key, Line, Plane, Point
from bench.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from bench.report.charts import Chart, Look
    from bench.report.roofs import Group, Placed
    from bench.results import RunResults

MEANING = (
    "Each point is a case: useful FLOPs over the fewest bytes that must move (to the right: more arithmetic for each "
    "byte) against the useful FLOPs per second that it attained. The roof is the most that the device can do there: "
    "left of its corner the bandwidth binds, right of it the arithmetic."
)
MOST_CHARTS = 4
NUMBERED = 3
MOST_TOLD = 60
"""Cases that the words of a chart name, for those who do not see it."""

FOLD_FROM = 40


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns a chart for each roof and the table of shares, or None where no case has both figures."""
    seen = view.of(runs)
    rated = [e for e in seen.timed() if e.figure("flops_per_s") and e.value("arithmetic_intensity")]
    if not rated:
        return None
    groups = roofs.groups(rated, seen)
    parts = [blocks.paragraph(MEANING), *(blocks.paragraph(_sentence(group, len(groups) > 1)) for group in groups)]
    looks = panels.looks(seen)
    parts.append(blocks.gallery(_chart(f"roofline-{i}", g, looks) for i, g in enumerate(groups[:MOST_CHARTS])))
    if len(groups) > MOST_CHARTS:
        left = f"{MOST_CHARTS} of {len(groups)} roofs are drawn. The sentences above and the table have every one."
        parts.append(blocks.paragraph(left, "soft"))
    if any(group.roofs for group in groups):
        parts.append(_table([case for group in groups for case in group.cases]))
    if without := len(seen.timed()) - len(rated):
        parts.append(
            blocks.paragraph(
                f"Not here: {naming.count(without, 'timed case')} without a formula for useful FLOPs or fewest bytes, "
                "or in which they depend on the tokens or the optimizer.",
                "soft",
            )
        )
    return Section("roofline", "Roofline", blocks.merge(parts))


def _sentence(group: Group, named: bool) -> str:  # noqa: FBT001
    """Returns what holds the cases of a group back, and how near they come."""
    lead = f"{group.name}: " if named else ""
    if not group.roofs:
        return f"{lead}The points stand alone, as {group.lacking}."
    roof = group.roofs[0]
    shares = sorted(case.share or 0.0 for case in group.cases)
    least = min(group.cases, key=_rank)
    if len(group.cases) == 1:
        said = f"{least.entry.full} is bound by {least.bound} and reaches {_percent(shares[0])} of its roof"
    else:
        compute = sum(case.bound == COMPUTE for case in group.cases)
        said = (
            f"{_bound(compute, len(group.cases))} They reach {_percent(shares[0])} to {_percent(shares[-1])} of their "
            f"roof, the median {_percent(median(shares))}; the most could be gained by {least.entry.full}"
        )
    said = f"{lead}{said}{f'. The roof is that of the {roof.source}, as {group.lacking}' if group.lacking else ''}."
    above = [case for case in group.cases if (case.share or 0.0) > 1]
    return f"{said} {_above(above)}" if above else said


def _bound(compute: int, total: int) -> str:
    """Returns how many cases are bound by what."""
    if compute in (0, total):
        return f"All {total} cases are bound by {COMPUTE if compute else BANDWIDTH}."
    are = "is" if compute == 1 else "are"
    return f"Of {total} cases, {compute} {are} bound by {COMPUTE} and {total - compute} by {BANDWIDTH}."


def _above(cases: Sequence[Placed]) -> str:
    """Returns why cases are above their roof."""
    suspect = [case.entry.full for case in cases if case.suspect]
    cached = [case.entry.full for case in cases if not case.suspect and case.bound == BANDWIDTH]
    near = [case.entry.full for case in cases if not case.suspect and case.bound == COMPUTE]
    said = []
    if suspect:
        said.append(f"Not to be believed, as above what the device can do: {naming.join(suspect)}.")
    if cached:
        said.append(f"Above the roof because caches keep bytes that the count takes to memory: {naming.join(cached)}.")
    if near:
        said.append(f"Above the roof by less than a ceiling is certain to: {naming.join(near)}.")
    return " ".join(said)


def _chart(chart: str, group: Group, looks: dict[str, Look]) -> Chart:
    """Returns the chart of one roof; the cases that come least near it are numbered."""
    least = sorted(group.cases, key=_rank)[:NUMBERED] if group.roofs and len(group.cases) > NUMBERED else []
    points = []
    for case in group.cases:
        interval = case.rate.interval
        mark = Mark(interval.estimate, interval.low, interval.high, looks[case.entry.series])
        number = least.index(case) + 1 if case in least else None
        points.append(Point(case.intensity, mark, number, ringed=case.suspect))
    lines = [
        Line(
            ((roof.corner / 1e6, roof.flops_per_s / 1e6), (roof.corner, roof.flops_per_s),
             (roof.corner * 1e6, roof.flops_per_s)),
            roof.words,
            dashed=roof.source != MEASURED,
        )
        for roof in group.roofs
    ]  # fmt: skip
    series = {case.entry.series: case.entry.kind for case in group.cases}
    plane = Plane(
        ("useful FLOPs over fewest bytes", "FLOP/B"),
        ("useful FLOPs per second", "FLOP/s"),
        ("bandwidth binds left of the corner", "compute right of it") if group.roofs else ("", ""),
        tuple((roof.corner, roof.flops_per_s) for roof in group.roofs),
    )
    notes = [f"{i} {case.entry.plain} ({_percent(case.share)})" for i, case in enumerate(least, 1)]
    note = f"Numbered, the least of the roof reached: {'; '.join(notes)}." if notes else ""
    if any(case.suspect for case in group.cases):
        note += " Ringed: faster than its device can be."
    return scatter.scatter(
        chart, f"Roofline, {group.name}", plane, points, lines, [Key(looks[s], kind) for s, kind in series.items()],
        _words(group), note.strip(),
    )  # fmt: skip


def _words(group: Group) -> str:
    """Returns what the chart shows to those who do not see it."""
    roofs = " and ".join(roof.words for roof in group.roofs) or "no roof is known"
    cases = [
        f"{case.entry.plain}: {naming.value(case.rate)} at {units.format_value(case.intensity, 'FLOP/B')}"
        + (f", {_percent(case.share)} of the roof" if case.share is not None else "")
        for case in sorted(group.cases, key=_rank)
    ]
    if (left := len(cases) - MOST_TOLD) > 0:
        cases[MOST_TOLD:] = [f"{naming.count(left, 'case')} more, see the table of all figures"]
    said = "; ".join(cases)
    return f"Attained FLOP/s against arithmetic intensity, both logarithmic, under a roof ({roofs}). {said}."


def _rank(case: Placed) -> float:
    """Returns the place of a case, those that come least near their roof first, those without a roof last."""
    return float("inf") if case.share is None else case.share


def _percent(share: float | None) -> str:
    """Returns a share in per cent."""
    if share is None or share < 0.1:
        return units.format_value(share, "ratio")
    return f"{100 * share:.0f}\u00a0%"


def _table(cases: Sequence[Placed]) -> Markup:
    """Returns a row per case, the one that could gain most first."""
    columns = [
        Column("case"),
        Column("bound by"),
        Column("FLOP per byte", number=True, hint="useful FLOPs over the fewest bytes"),
        Column("attained", number=True),
        Column("roof", number=True, hint="what is attainable at this intensity"),
        Column("share of the roof", number=True),
        Column("95 % interval", number=True, hint="of that share, over processes"),
        Column("latency", number=True),
        Column("at the roof", number=True, hint="the latency that the roof allows"),
        Column("remark"),
    ]
    rows = [_row(case) for case in sorted(cases, key=_rank)]
    table = blocks.table(Table(columns, rows, "Share of the roof, the most to be gained first"))
    return blocks.details(f"Share of the roof of {len(rows)} cases", table) if len(rows) >= FOLD_FROM else table


def _row(case: Placed) -> list[str | Markup]:
    """Returns the cells of one case."""
    roof, interval, latency = case.roof, case.rate.interval, case.entry.value("latency")
    attainable = None if roof is None else roof.at(case.intensity)
    reach = units.UNKNOWN
    if attainable is not None and interval.low is not None and interval.high is not None:
        reach = f"{_percent(interval.low / attainable)} to {_percent(interval.high / attainable)}"
    best = None if latency is None or case.share is None else latency * case.share
    return [
        case.entry.full,
        case.bound,
        units.format_value(case.intensity, "FLOP/B").removesuffix(" FLOP/B"),
        naming.value(case.rate),
        units.format_value(attainable, "FLOP/s"),
        _percent(case.share),
        reach,
        units.format_value(latency, "s"),
        units.format_value(best, "s"),
        _remark(case),
    ]


def _remark(case: Placed) -> str | Markup:
    """Returns what to know of a case above its roof."""
    if case.suspect:
        return blocks.link(f"caveat-{SUSPECT}", "faster than its device")
    if case.share is None or case.share <= 1:
        return ""
    return "caches keep bytes" if case.bound == BANDWIDTH else "within what a ceiling is certain to"
