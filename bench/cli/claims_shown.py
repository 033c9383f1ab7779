"""What claims came to, on a terminal and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from bench.claims import Verdict
from bench.claims.words import ours, paper
from bench.cli import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.claims import Judged
    from bench.stats import Interval

MOST_LINES = 4
"""Figures of a claim that the table shows."""

STYLES = {Verdict.REPRODUCED: "green", Verdict.NOT_REPRODUCED: "red", Verdict.CANNOT: "yellow"}


def as_plain(judged: Sequence[Judged], run: str) -> dict[str, Any]:
    """Returns what claims came to as plain data, figures in base units."""

    def figure(found: Interval | None) -> dict[str, float | None] | None:
        return None if found is None else {"value": found.estimate, "low": found.low, "high": found.high}

    return {
        "run": run,
        "claims": [
            {
                "name": each.claim.name,
                "verdict": each.finding.verdict,
                "expected": each.claim.expected,
                "text": each.claim.text,
                "source": each.claim.source,
                "how": each.claim.how,
                "words": each.finding.words,
                "figures": [
                    {"what": line.what, "paper": line.paper, "ours": figure(line.ours), "unit": line.unit}
                    for line in each.finding.lines
                ],
            }
            for each in judged
        ],
    }


def show(judged: Sequence[Judged]) -> None:
    """Prints what claims came to: a row each with the first figures, then the answers in words."""
    out = terminal.console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    table.add_column("claim", overflow="fold")
    table.add_column("paper", justify="right", no_wrap=True)
    table.add_column("here", justify="right", no_wrap=True)
    for each in judged:
        verdict = Text(f"{each.claim.name}: ", "bold").append(str(each.finding.verdict), STYLES[each.finding.verdict])
        table.add_row(verdict, "", "")
        for line in each.finding.lines[:MOST_LINES]:
            table.add_row(Text(f"  {line.what}"), paper(line), ours(line))
        if (left := len(each.finding.lines) - MOST_LINES) > 0:
            table.add_row(Text(f"  and {left} more figures (--json, report)"), "", "")
    out.print(table)
    for each in judged:
        out.print(f"{each.claim.name}: {each.finding.words} ({each.claim.source})", markup=False)
    fallen = [each.claim.name for each in judged if each.fallen]
    if fallen:
        out.print(f"No longer reproduced: {', '.join(fallen)}.", markup=False)
