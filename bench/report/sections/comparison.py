"""Two runs side by side: a verdict per case, worst first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import compare, duels, environment
from bench.formats import words
from bench.report import blocks, cells, naming, view
from bench.report.blocks import Column, Table
from bench.report.cells import Cell
from bench.report.facts import fact, fact_name
from bench.report.forest import forest, labelled
from bench.report.section import Section
from bench.verdicts import Comparison, Comparisons, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

    from bench.report.cells import Content
    from bench.results import RunResults

TONES = {Verdict.SLOWER: "bad", Verdict.FAILED: "bad", Verdict.MISSING: "bad", Verdict.FASTER: "good"}


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns the comparison of exactly two runs, the first being the base, or what a single duel has found.

    Runs that do not compare say why not. The chart of a duel is on the first screen, so it is not drawn again here.
    """
    if len(runs) == 1 and duels.is_duel(runs[0]):
        return Section("comparison", "Comparison", show(duels.of_results(runs[0]), labels(runs), drawn=False))
    if len(runs) != 2:
        return None
    names = view.run_names(runs)
    facts = [found.run.environment.comparable for found in runs]
    differ = environment.differences(facts[0], facts[1])
    title = f"{names[1]} against {names[0]}"
    if differ:
        parts = [
            blocks.paragraph(
                "No change of code can be judged between these runs: they were made on machines or with libraries "
                "that differ."
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
    return Section("comparison", title, show(found, labels(runs)))


def labels(runs: Sequence[RunResults]) -> dict[str, str]:
    """Returns the names of cases by their ids."""
    return {entry.result.case.id: entry.plain for entry in reversed(view.of(runs).entries)}


def show(found: Comparisons, known: Mapping[str, str], *, drawn: bool = True) -> Markup:
    """Returns a comparison whoever measured it; `known` are the names of cases by their ids."""
    names = labelled(found, known)
    return blocks.merge(
        [
            *_said(found),
            forest("comparison-chart", found, names) if drawn else "",
            _table(found, names),
            _exact(found, names),
            _layers(found, names),
        ]
    )


def _said(found: Comparisons) -> list[Markup | str]:
    """Returns what the comparison comes to, what it means, and what weakens it."""
    return [
        blocks.paragraph(f"{words.compared(found, others=False)}: {words.tally(found)}."),
        blocks.items(map(naming.plain, found.remarks)) if found.remarks else "",
        blocks.paragraph(naming.plain(found.method)) if found.method else "",
    ]


def _table(found: Comparisons, labels: Mapping[str, str]) -> Markup:
    """Returns a row per case."""
    raw = any(row.raw is not None for row in found.rows)
    columns = [
        Column("case"),
        Column("base", number=True, unit="s"),
        Column("candidate", number=True, unit="s"),
        Column("ratio", number=True),
        Column("95 % interval", number=True, ends=True),
        *([Column("ratio without reference", number=True, hint="of the latencies as they are")] if raw else []),
        Column(
            "detectable", number=True, hint="smallest change that this shows in four of five attempts", unit="ratio"
        ),
        Column("verdict", choice=True),
        Column("reason", long=True),
    ]
    body = [_row(row, found, labels, raw=raw) for row in words.worst_first(found)]
    return blocks.table(Table(columns, body, "Verdicts, worst first"))


def _row(row: Comparison, found: Comparisons, labels: Mapping[str, str], *, raw: bool) -> list[Content]:
    """Returns the cells of one comparison, with `raw` the ratio of the times as they are."""
    return [
        labels[row.case_id],
        cells.figure(row.base),
        cells.figure(row.candidate),
        cells.ratio(row.ratio.estimate if row.ratio else None),
        cells.times(row.ratio),
        *([cells.ratio(row.raw.estimate if row.raw else None)] if raw else []),
        Cell(words.detectable(row) or "–", () if row.detectable is None else (row.detectable,)),
        blocks.badge(row.verdict.value, TONES.get(row.verdict, "soft")),
        words.why(row, found),
    ]


def _exact(found: Comparisons, labels: Mapping[str, str]) -> Markup | str:
    """Returns a row per figure without noise that differs, nothing where none does."""
    body: list[list[Content]] = [
        [
            labels[row.case_id],
            words.metric(change.metric),
            *(
                Cell(text, (side,))
                for text, side in zip(words.sides(change), (change.base, change.candidate), strict=True)
            ),
            Cell("–") if change.ratio is None else Cell(f"{words.percent(change.ratio)} %", (change.ratio - 1,)),
            blocks.badge(*(("worse", "bad") if change.worse else ("within what is allowed", "soft"))),
        ]
        for row in words.worst_first(found)
        for change in words.changes(row)
    ]
    if not body:
        return ""
    columns = [Column("case"), Column("figure"), *(Column(t, number=True) for t in ("base", "candidate", "change"))]
    return blocks.table(Table([*columns, Column("verdict")], body, "Figures without noise that differ"))


def _layers(found: Comparisons, labels: Mapping[str, str]) -> Markup | str:
    """Returns a row per layer: the geometric mean of its ratios, and beside it the worst of them."""
    if found.compared < 2:
        return ""
    body: list[list[Content]] = [
        [
            words.one_line(layer.layer),
            str(layer.cases),
            cells.ratio(layer.mean_ratio),
            cells.ratio(layer.worst.ratio.estimate if layer.worst.ratio else None),
            labels[layer.worst.case_id],
        ]
        for layer in found.layers
    ]
    columns = [Column("layer"), *(Column(t, number=True) for t in ("cases", "geometric mean of ratios", "worst ratio"))]
    return blocks.table(Table([*columns, Column("worst case")], body, "By layer"))
