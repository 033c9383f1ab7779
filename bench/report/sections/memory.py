"""What a call needs in memory: weights and what a call adds to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import units
from bench.report import blocks, panels, view
from bench.report.charts import Look, Mark, Row, Scale
from bench.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.view import Entry
    from bench.results import RunResults

WEIGHTS, ACTIVATIONS = Look(0), Look(1)


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns weights and activations stacked per case, or None where memory is unknown throughout."""
    seen = view.of(runs)
    known = [e for e in seen.entries if e.figure("parameter_memory") and e.figure("activation_memory")]
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
    unknown = sum(entry.figure("latency") is not None and entry not in known for entry in seen.entries)
    parts = [
        blocks.paragraph(
            "Weights are the layer's parameters. Activations are the most bytes that one call adds to weights and "
            "tokens. The peak at the right counts weights, tokens and activations together."
        ),
        blocks.gallery(drawn.charts),
    ]
    if drawn.left_out:
        parts.append(blocks.paragraph(drawn.left_out, "soft"))
    if unknown:
        parts.append(blocks.paragraph(f"Memory is unknown for {unknown} of {len(seen.entries)} cases.", "soft"))
    return Section("memory", "Memory", blocks.merge(parts))


def _row(entry: Entry) -> Row:
    """Returns the stack of one case, its peak in words."""
    weights, activations = entry.value("parameter_memory") or 0.0, entry.value("activation_memory") or 0.0
    text = f"peak {units.format_value(entry.value('peak_memory'), 'B')}"
    return Row(entry.name, text, (Mark(weights, look=WEIGHTS), Mark(activations, look=ACTIVATIONS, hatched=True)))
