"""What the cells of a run's table say: figures with their spreads, and what is to be said of a case."""

from __future__ import annotations

from string import ascii_letters
from typing import TYPE_CHECKING

from bench import caveats, units
from bench.records import Status

if TYPE_CHECKING:
    from bench.results import CaseResult, Figure, RunResults

FIGURES = ("latency", "spread", "peak mem", "tokens/s", "FLOPs")
"""Columns of figures; where there is no room, the last ones are left out first, the latency never."""

WIDE = 0.995
"""Half widths from here on are written as >99%."""


def figures(result: CaseResult) -> dict[str, str]:
    """Returns the cells of one case by their titles: latency with its half width and spreads, and what else it has."""
    latency, throughput, memory, flops = (
        units.UNKNOWN if figure is None else units.format_value(figure.value, figure.unit)
        for figure in map(result.figures.get, ("latency", "throughput", "peak_memory", "flops"))
    )
    timed = result.figures.get("latency")
    return {
        "latency": latency + _half_width(timed),
        "spread": spreads(timed) or units.UNKNOWN,
        "tokens/s": throughput.replace("token/s", "").strip(),
        "peak mem": memory,
        "FLOPs": flops.replace("FLOP", "").strip(),
    }


def _half_width(figure: Figure | None) -> str:
    """Returns half the interval in percent."""
    width = None if figure is None else figure.interval.half_width
    if width is None:
        return ""
    return f" ±{width:.0%}" if width < WIDE else " ±>99%"


def spreads(figure: Figure | None) -> str:
    """Returns the spread within a process and between processes in percent, nothing where neither is known."""
    if figure is None or (figure.within is None and figure.between is None):
        return ""
    within, between = (units.UNKNOWN if s is None else f"{100 * s:.0f}" for s in (figure.within, figure.between))
    return f"{within}/{between}%"


def marks(found: RunResults) -> dict[str, str]:
    """Returns a letter for each caveat that occurs, in the order of their list, then those of newer versions."""
    seen = {flag.code for result in found.cases for flag in result.flags}
    known = [code for code in caveats.TABLE if code in seen]
    return dict(zip([*known, *sorted(seen - set(known))], ascii_letters, strict=False))


def note(result: CaseResult, marks: dict[str, str]) -> str:
    """Returns the status if it is not ok, and the letters of the caveats."""
    letters = "".join(mark for code, mark in marks.items() if any(flag.code == code for flag in result.flags))
    if result.status is Status.OK:
        return letters
    return f"{'not measured' if result.status is None else result.status.value} {letters}".strip()
