"""What the papers claim: their figures beside ours, and whether each claim was reproduced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from bench.claims import TABLE, Verdict, asking
from bench.claims import claim as claiming
from bench.claims.words import ours, paper
from bench.report import blocks, cells, curves, naming, view
from bench.report.blocks import Column, Table
from bench.report.charts import Look, Mark
from bench.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.claims import Judged
    from bench.report.charts import Chart
    from bench.results import RunResults

TONES = {Verdict.REPRODUCED: "good", Verdict.NOT_REPRODUCED: "bad", Verdict.CANNOT: "soft"}
"""How each verdict is coloured; its word stands there too."""

FOLD_FROM = 12
"""Figures from which a claim's table is folded."""


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns every claim of the runs that were made for claims, or None without any."""
    made = [found for found in runs if asking.is_for_claims(found)]
    if not made:
        return None
    parts = [
        blocks.paragraph(
            "Each claim with the paper's figure and ours, intervals in parentheses (95 %, over processes or over what "
            "a study repeats). A verdict speaks of this machine and these sizes, not of the paper's experiments."
        )
    ]
    names = dict(zip((found.run.id for found in runs), view.run_names(runs), strict=True))
    for number, found in enumerate(made):
        for judged in asking.of_results(TABLE, found):
            called = f" ({names[found.run.id]})" if len(made) > 1 else ""
            parts += _claim(judged, called, number)
    return Section("claims", "Claims", blocks.merge(parts))


def _claim(judged: Judged, called: str, number: int) -> list[Markup]:
    """Returns a claim: its sentence and verdict, the answer, the figures, and what they were made of."""
    claim, finding = judged.claim, judged.finding
    anchor = f"claim-{claim.name}" if number == 0 else f"claim-{number}-{claim.name}"
    title = Markup('<h3 id="{}">{}{} {}</h3>').format(
        anchor, claim.name, called, blocks.badge(str(finding.verdict), TONES[finding.verdict])
    )
    parts = [title, blocks.paragraph(claim.text), blocks.paragraph(naming.plain(finding.words))]
    if finding.charts:
        parts.append(blocks.gallery(_chart(f"{anchor}-{i}", chart) for i, chart in enumerate(finding.charts)))
    if finding.lines:
        rows: list[list[cells.Content]] = [
            [line.what, cells.Cell(paper(line)), cells.Cell(ours(line))] for line in finding.lines
        ]
        columns = [Column("figure", long=True), Column("paper", number=True), Column("here", number=True)]
        table = blocks.table(Table(columns, rows, f"Figures of {claim.name}{called}"))
        folded = len(rows) >= FOLD_FROM
        parts.append(blocks.details(f"{len(rows)} figures", table) if folded else table)
    said = f"Source: {claim.source}. Checked: {claim.how}"
    if judged.fallen:
        said += " It was reproduced when it was last looked at."
    parts.append(blocks.paragraph(said, "soft"))
    return parts


def _chart(chart: str, found: claiming.Chart) -> Chart:
    """Returns a chart of a claim; the paper's curves are dashed."""
    series = [
        curves.Series(
            naming.plain(curve.name),
            Look(number, dashed=curve.of_paper),
            tuple(
                (along, Mark(up.estimate, up.low, up.high, Look(number, dashed=curve.of_paper)))
                for along, up in curve.points
            ),
        )
        for number, curve in enumerate(found.curves)
        if curve.points
    ]
    return curves.curves(chart, found.title, curves.Plane(found.along, found.up, found.unit), series)
