"""Where the tokens went: refused assignments, tokens without an expert, uneven load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import layers, units
from bench.report import blocks, cells, naming, panels, view
from bench.report.blocks import Column, Table
from bench.report.charts import Look, Mark, Row, Scale
from bench.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.cells import Content
    from bench.report.view import Entry
    from bench.results import RunResults

RATES = ("drop_rate", "unrouted_rate")
METRICS = (*RATES, "load_imbalance")
FOLD_FROM = 40
REFUSED, UNROUTED = Look(3), Look(1)


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns the rates of the layers that route, or None without any."""
    seen = view.of(runs)
    figured = seen.with_figure(*METRICS)
    routed = [entry for entry in figured if "num_experts" in entry.case and entry.case["layer"] not in layers.DENSE]
    if not routed:
        return None
    parts = [
        blocks.paragraph(
            "Drop rate: assignments refused because an expert was full, over all assignments. Unrouted: tokens that "
            "no expert processed. Load imbalance: the busiest expert's tokens over the mean; 1 is even. These are of "
            "freshly initialised weights, training changes them."
        )
    ]
    losing = [entry for entry in routed if any(entry.value(name) for name in RATES)]
    if losing:
        picture = panels.Picture(
            "routing",
            "Tokens lost",
            Scale("share", "ratio"),
            _row,
            legend=("refused assignments", "tokens without an expert"),
            descending=True,
        )
        drawn = panels.draw(seen, losing, picture)
        kept = len(routed) - len(losing)
        note = f"Not drawn: {naming.count(kept, 'case')} in which nothing was lost." if kept else ""
        parts += [
            blocks.gallery(drawn.charts),
            blocks.paragraph(" ".join(filter(None, (drawn.left_out, note))), "soft"),
        ]
    else:
        parts.append(blocks.paragraph("No case refused an assignment or left a token without an expert."))
    columns = [
        Column("case"),
        Column("drop rate", number=True, unit="ratio"),
        Column("unrouted", number=True, unit="ratio"),
        Column("load imbalance", number=True, unit="factor"),
    ]
    rows: list[list[Content]] = [
        [entry.full, *(cells.figure(entry.figure(name)) for name in METRICS)] for entry in routed
    ]
    table = blocks.table(Table(columns, rows, "Routing"))
    parts.append(blocks.details(f"Routing of {len(rows)} cases", table) if len(rows) >= FOLD_FROM else table)
    return Section("routing", "Routing", blocks.merge(parts))


def _row(entry: Entry) -> Row:
    """Returns both rates of a case; one that is unknown is not drawn."""
    pairs = [(entry.value(name), look) for name, look in zip(RATES, (REFUSED, UNROUTED), strict=True)]
    marks = tuple(Mark(rate, look=look) for rate, look in pairs if rate is not None)
    text = " / ".join(units.format_value(rate, "ratio") for rate, _ in pairs)
    return Row(entry.name, text, marks)
