"""The forest plot of a comparison: a ratio with its interval per case, worst first, around the line of no change."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bench.formats import words
from bench.report import blocks, naming
from bench.report.charts import LINE_LENGTH, Look, Mark, Row, Scale, rows
from bench.verdicts import Comparisons, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markupsafe import Markup

    from bench.verdicts import Comparison

LOOKS = {
    Verdict.SLOWER: Look(4),
    Verdict.FASTER: Look(2),
    Verdict.SAME: Look(0, 6),
    Verdict.UNCLEAR: Look(7, 1),
}
"""Colour and marker of each verdict; its word stands in the row too."""

NEITHER = Look(5, 6)
MOST_ROWS = 25


def labelled(found: Comparisons, labels: Mapping[str, str]) -> dict[str, str]:
    """Returns what every case is called, by its id: as in the report where it has it, else as the comparison does."""
    return {row.case_id: labels.get(row.case_id, words.name(row)) for row in found.rows}


def forest(chart: str, found: Comparisons, labels: Mapping[str, str]) -> Markup | str:
    """Returns the chart with a word on what it leaves out, nothing where no case has a ratio."""
    ranked = [row for row in words.worst_first(found) if row.ratio is not None]
    if not ranked:
        return ""
    kept = _keep(ranked)
    told = [_text(row) for row in kept]
    if any(len(labels[row.case_id]) + len(text) + 3 > LINE_LENGTH for row, text in zip(kept, told, strict=True)):
        told = [_text(row, brief=True) for row in kept]  # a name that is cut is worse than an interval only drawn
    data = [_row(row, labels[row.case_id], text) for row, text in zip(kept, told, strict=True)]
    band = (1 / (1 + found.threshold), 1 + found.threshold)
    scale = Scale(
        "candidate / base in latency, below 1 the candidate is faster", "factor", log=True, line=1.0, band=band
    )
    drawn = blocks.gallery([rows(chart, "Latency ratio, worst first", scale, data)])
    return blocks.merge([drawn, blocks.paragraph(_note(found, ranked, kept), "soft")])


def _text(row: Comparison, *, brief: bool = False) -> str:
    """Returns the ratio with its interval, which a brief text leaves out, and the verdict."""
    if row.ratio is None:
        return row.verdict.value
    reach = "" if brief or row.ratio.low is None else f" ({naming.times(row.ratio)})"
    return f"{naming.ratio(row.ratio.estimate)}{reach} {row.verdict.value}"


def _row(row: Comparison, label: str, text: str) -> Row:
    """Returns what is drawn of one case."""
    look = LOOKS.get(row.verdict, NEITHER)
    return Row(
        label, text, () if row.ratio is None else (Mark(row.ratio.estimate, row.ratio.low, row.ratio.high, look),)
    )


def _keep(ranked: list[Comparison]) -> list[Comparison]:
    """Returns the worst rows, and of the others the fastest one, so that the best is seen beside the worst."""
    if len(ranked) <= MOST_ROWS:
        return ranked
    rest = ranked[MOST_ROWS - 1 :]
    best = min(rest, key=lambda row: row.ratio.estimate if row.ratio else 1.0)
    return [*ranked[: MOST_ROWS - 1], best]


def _note(found: Comparisons, ranked: list[Comparison], kept: list[Comparison]) -> str:
    """Returns how the chart is read, and what it leaves out."""
    band = (
        f"The band is a change of less than {100 * found.threshold:.3g} %, the threshold; whiskers are 95 % intervals"
    )
    said = f"{band} over {words.PLURALS.get(found.replicate, f'{found.replicate}s')}."
    lacking = [f"{found.count(verdict)} {verdict.value}" for verdict in words.UNTIMED if found.count(verdict)]
    if lacking:
        said += f" Without a ratio: {', '.join(lacking)}."
    if left := len(ranked) - len(kept):
        shown = {row.case_id for row in kept}
        counts = Counter(row.verdict for row in ranked if row.case_id not in shown)
        which = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict])
        said += f" Not drawn: {naming.count(left, 'further case')} ({which}); the table of verdicts has them."
    return said
