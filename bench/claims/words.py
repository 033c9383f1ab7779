"""The figures of a claim in people's units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import units

if TYPE_CHECKING:
    from bench.claims.claim import Line


def paper(line: Line) -> str:
    """Returns the paper's figure, a dash where it gives none."""
    return units.format_value(line.paper, line.unit)


def ours(line: Line) -> str:
    """Returns our figure with its interval, a dash where we have none."""
    if line.ours is None:
        return units.UNKNOWN
    value = units.format_value(line.ours.estimate, line.unit)
    if line.ours.low is None or line.ours.high is None:
        return value
    low, high = (units.format_value(end, line.unit) for end in (line.ours.low, line.ours.high))
    return f"{value} ({low} to {high})"
