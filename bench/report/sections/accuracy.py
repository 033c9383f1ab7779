"""How close the outputs are to the float64 oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report import blocks, cells, naming, panels, view
from bench.report.blocks import Column, Table
from bench.report.charts import Mark, Row, Scale
from bench.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.cells import Content
    from bench.results import RunResults

METRICS = ("max_abs_error", "routing_agreement")
FOLD_FROM = 40
WRONG = "inaccurate"


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns errors and routing agreement, or None where nothing was checked."""
    seen = view.of(runs)
    checked = seen.with_figure(*METRICS)
    if not checked:
        return None
    wrong = [entry for entry in checked if any(flag.code == WRONG for flag in entry.result.flags)]
    verdict = (
        f"{naming.count(len(wrong), 'case')} of {len(checked)} checked lie further from the oracle than the number "
        f"format explains: {naming.join([entry.full for entry in wrong])}."
        if wrong
        else f"All {len(checked)} checked cases are as close to the oracle as their number format allows."
        if len(checked) > 1
        else "The checked case is as close to the oracle as its number format allows."
    )
    parts = [
        blocks.paragraph(verdict),
        blocks.paragraph(
            "The error is the largest absolute difference of an output value to the same layer computed by slow loops "
            "in float64, over tokens that both send to the same experts; agreement is the share of those tokens.",
        ),
    ]
    looks = panels.looks(seen)
    drawable = [entry for entry in checked if entry.value("max_abs_error")]
    if drawable:
        picture = panels.Picture(
            "error",
            "Largest error",
            Scale("largest absolute error, logarithmic", "", log=True),
            lambda e: Row(
                e.name,
                naming.value(e.figure("max_abs_error")),
                (Mark(e.result.figures["max_abs_error"].value, look=looks[e.series]),),
            ),
        )
        drawn = panels.draw(seen, drawable, picture, most=2)
        parts.append(blocks.gallery(drawn.charts))
        if drawn.left_out:
            parts.append(blocks.paragraph(drawn.left_out, "soft"))
    columns = [
        Column("case"),
        Column("largest error", number=True, unit="abs"),
        Column("routing agreement", number=True, unit="ratio"),
    ]
    rows: list[list[Content]] = [
        [entry.full, *(cells.figure(entry.figure(name)) for name in METRICS)] for entry in checked
    ]
    table = blocks.table(Table(columns, rows, "Accuracy"))
    parts.append(blocks.details(f"Accuracy of {len(rows)} cases", table) if len(rows) >= FOLD_FROM else table)
    return Section("accuracy", "Accuracy", blocks.merge(parts))
