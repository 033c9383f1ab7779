"""How much arithmetic a call is, counted three ways, and how fast it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report import blocks, cells, panels, view
from bench.report.blocks import Column, Table
from bench.report.charts import Scale
from bench.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from bench.report.cells import Cell, Content
    from bench.report.view import Entry
    from bench.results import RunResults

COUNTS = ("flops", "flops_executed", "flops_torch", "flops_fvcore")
TITLES = ("useful", "executed", "torch", "fvcore")
FOLD_FROM = 40
"""Tables of so many rows or more start folded."""


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns the rate chart and the table of counts, or None where nothing was counted."""
    seen = view.of(runs)
    counted = seen.with_figure(*COUNTS)
    if not counted:
        return None
    parts = [
        blocks.paragraph(
            "Useful is the work that the layer's formula needs, two operations per multiply-add; executed adds what "
            "the backend does beyond it, such as padding and one-hot products, and is unknown (–) where that depends "
            "on the tokens. The counters of torch and fvcore watch one call; fvcore is left out where it met an "
            "operation that it cannot count."
        )
    ]
    rated = [entry for entry in seen.with_figure("flops_per_s") if entry.ok]
    if rated:
        looks = panels.looks(seen)
        picture = panels.Picture(
            "rate",
            "Useful arithmetic per second",
            Scale("useful FLOPs over latency, longer is better", "FLOP/s"),
            lambda entry: panels.bar(entry, "flops_per_s", looks[entry.series]),
            descending=True,
        )
        drawn = panels.draw(seen, rated, picture)
        parts.append(blocks.gallery(drawn.charts))
        if drawn.left_out:
            parts.append(blocks.paragraph(drawn.left_out, "soft"))
    parts.append(_table(counted))
    return Section("flops", "FLOPs", blocks.merge(parts))


def _table(counted: Sequence[Entry]) -> Markup:
    """Returns a row of counts per case."""
    columns = [
        Column("case"),
        *(Column(title, number=True, unit="FLOP") for title in TITLES),
        Column("torch / executed", number=True),
    ]
    rows: list[list[Content]] = [
        [entry.full, *(cells.figure(entry.figure(name)) for name in COUNTS), _agreement(entry)] for entry in counted
    ]
    table = blocks.table(
        Table(columns, rows, "FLOPs of one call: by the formula (useful, executed) and by two counters")
    )
    return blocks.details(f"FLOPs of {len(rows)} cases", table) if len(rows) >= FOLD_FROM else table


def _agreement(entry: Entry) -> Cell:
    """Returns torch's count over the formula's, a dash where one is unknown."""
    counted, formula = entry.value("flops_torch"), entry.value("flops_executed")
    return cells.ratio(counted / formula if counted and formula else None)
