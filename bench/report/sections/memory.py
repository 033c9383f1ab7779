"""What a call needs in memory: weights and what a call adds to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import metrics, units
from bench.report import blocks, cells, panels, view
from bench.report.blocks import Column, Table
from bench.report.charts import Look, Mark, Row, Scale
from bench.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from bench.report.cells import Content
    from bench.report.view import Entry
    from bench.results import RunResults

WEIGHTS, ACTIVATIONS = Look(0), Look(1)

FURTHER = ("saved_memory", "optimizer_memory", "reserved_memory", "fragmentation")
"""Metrics that only some cases have: with a backward pass, with an optimizer, on a GPU."""


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns weights and activations stacked per case, or None where memory is unknown throughout."""
    seen = view.of(runs)
    known = list(filter(_is_known, seen.entries))
    if not known:
        return None
    picture = panels.Picture(
        "memory",
        "Memory",
        Scale("memory", "B"),
        _row,
        legend=("weights", "activations"),
        stacked=True,
    )
    drawn = panels.draw(seen, known, picture)
    unknown = sum(entry.figure("latency") is not None and not _is_known(entry) for entry in seen.entries)
    parts = [
        blocks.paragraph(
            "Weights are the layer's parameters. Activations are the most bytes that one call adds to weights and "
            "tokens. The peak at the right counts weights, tokens and activations together."
        ),
        blocks.gallery(drawn.charts),
    ]
    if drawn.left_out:
        parts.append(blocks.paragraph(drawn.left_out, "soft"))
    parts += _further(known)
    if unknown:
        parts.append(blocks.paragraph(f"Memory is unknown for {unknown} of {len(seen.entries)} cases.", "soft"))
    return Section("memory", "Memory", blocks.merge(parts))


def _is_known(entry: Entry) -> bool:
    """Whether weights and activations of a case are known."""
    return entry.figure("parameter_memory") is not None and entry.figure("activation_memory") is not None


def _further(known: Sequence[Entry]) -> list[Markup]:
    """Returns a table of the metrics that only some cases have, nothing where none has any."""
    names = [name for name in FURTHER if any(entry.figure(name) for entry in known)]
    if not names:
        return []
    columns = [
        Column("case"),
        *(Column(m.title, number=True, hint=m.text, unit=m.unit) for m in (metrics.TABLE[name] for name in names)),
    ]
    rows: list[list[Content]] = [[entry.full, *(cells.figure(entry.figure(name)) for name in names)] for entry in known]
    return [blocks.table(Table(columns, rows, "What else is held in memory"))]


def _row(entry: Entry) -> Row:
    """Returns the stack of one case, its peak in words."""
    weights, activations = entry.value("parameter_memory") or 0.0, entry.value("activation_memory") or 0.0
    text = f"peak {units.format_value(entry.value('peak_memory'), 'B')}"
    return Row(entry.name, text, (Mark(weights, look=WEIGHTS), Mark(activations, look=ACTIVATIONS, hatched=True)))
