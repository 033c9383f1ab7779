"""Two runs side by side: a verdict per case, worst first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import compare, environment
from bench.compare import Comparison, Comparisons, Verdict
from bench.report import blocks, naming, view
from bench.report.blocks import Column, Table
from bench.report.charts import Look, Mark, Row, Scale, rows
from bench.report.facts import fact, fact_name
from bench.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

    from bench.results import RunResults

TONES = {Verdict.SLOWER: "bad", Verdict.FAILED: "bad", Verdict.MISSING: "bad", Verdict.FASTER: "good"}
LOOKS = {Verdict.SLOWER: Look(4), Verdict.FASTER: Look(2), Verdict.SAME: Look(6), Verdict.UNCLEAR: Look(1)}
MOST_ROWS = 24


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns the comparison of exactly two runs, the first being the base; why not, where they do not compare."""
    if len(runs) != 2:
        return None
    names = view.run_names(runs)
    facts = [found.run.environment.comparable for found in runs]
    differ = environment.differences(facts[0], facts[1])
    title = f"{names[1]} against {names[0]}"
    if differ:
        parts = [
            blocks.paragraph(
                "These runs cannot be compared: they were made on machines or with libraries that differ."
            ),
            blocks.table(
                Table(
                    [Column("fact"), Column(names[0]), Column(names[1])],
                    [[fact_name(name), fact(name, a), fact(name, b)] for name, a, b in differ],
                    "Facts that differ",
                )
            ),
        ]
        return Section("comparison", title, blocks.merge(parts))
    found = compare.compare(runs[0], runs[1])
    labels = {entry.result.case.id: entry.plain for entry in reversed(view.of(runs).entries)}
    return Section("comparison", title, blocks.merge([*_words(found), _chart(found, labels), _table(found, labels)]))


def _words(found: Comparisons) -> list[Markup]:
    """Returns what the comparison comes to."""
    counts = [f"{found.count(verdict)} {verdict.value}" for verdict in Verdict if found.count(verdict)]
    return [
        blocks.paragraph(f"Of {naming.count(len(found.rows), 'case')}: {', '.join(counts) or 'none'}."),
        blocks.paragraph(
            "The ratio is of latencies over the reference kernel, one figure per process, second run over first: "
            "above 1 the second is slower. Slower and faster mean that the whole 95 % interval lies beyond "
            f"{found.threshold:.0%}, same that it lies within, unclear that neither can be said. Runs made at "
            "different times are weaker evidence than layers measured in the same rounds.".replace("%,", " %,")
        ),
    ]


def _chart(found: Comparisons, labels: Mapping[str, str]) -> Markup | str:
    """Returns ratios with their intervals around 1."""
    data = [
        Row(
            labels[row.case_id],
            f"{naming.ratio(row.ratio.estimate)} {row.verdict.value}",
            (Mark(row.ratio.estimate, row.ratio.low, row.ratio.high, LOOKS.get(row.verdict, Look(6))),),
        )
        for row in found.rows
        if row.ratio is not None
    ]
    if not data:
        return ""
    scale = Scale(
        "ratio of latencies, below 1 the second run is faster",
        "factor",
        log=True,
        line=1.0,
        band=(1 / (1 + found.threshold), 1 + found.threshold),
    )
    drawn = blocks.gallery([rows("comparison-chart", "Latency ratio, worst first", scale, data[:MOST_ROWS])])
    left = len(data) - MOST_ROWS
    note = f"Not drawn: {naming.count(left, 'further case')}; the table has them." if left > 0 else ""
    return blocks.merge([drawn, blocks.paragraph(note, "soft") if note else ""])


def _table(found: Comparisons, labels: Mapping[str, str]) -> Markup:
    """Returns a row per case."""
    columns = [
        Column("case"),
        Column("base", number=True),
        Column("candidate", number=True),
        Column("ratio", number=True),
        Column("95 % interval", number=True),
        Column("ratio without reference", number=True, hint="of the latencies as they are"),
        Column("verdict"),
        Column("reason", long=True),
    ]
    body = [_row(row, labels) for row in found.rows]
    return blocks.table(Table(columns, body, "Verdicts, worst first"))


def _row(row: Comparison, labels: Mapping[str, str]) -> list[str | Markup]:
    """Returns the cells of one comparison."""
    return [
        labels[row.case_id],
        naming.value(row.base),
        naming.value(row.candidate),
        "–" if row.ratio is None else naming.ratio(row.ratio.estimate),
        "–" if row.ratio is None else naming.times(row.ratio),
        "–" if row.raw is None else naming.ratio(row.raw.estimate),
        blocks.badge(row.verdict.value, TONES.get(row.verdict, "soft")),
        naming.plain(row.reason),
    ]
