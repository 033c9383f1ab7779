"""What a text of a comparison needs to know beside the comparison itself."""

from __future__ import annotations

from dataclasses import dataclass

from bench import gates
from bench.verdicts import Comparisons, Verdict

MOST = 10
"""Rows that a reader on a telephone still reads, and annotations that GitHub shows of one step."""

CHANGED = frozenset({Verdict.SLOWER, Verdict.FASTER, Verdict.FAILED, Verdict.MISSING, Verdict.NEW})
"""Verdicts that say that something is not as it was."""


@dataclass(frozen=True)
class Context:
    """What fails the comparison, where its report is, how many rows to show, and how to make it again.

    `quiet` asks for silence where nothing changed, in those formats that people are shown without asking.
    """

    fail_on: frozenset[str] = gates.DEFAULT
    report: str | None = None
    most: int = MOST
    command: str = ""
    quiet: bool = False


def silent(found: Comparisons, context: Context) -> bool:
    """Whether there is nothing to say: asked to be quiet, and nothing changed.

    Unclear cases alone do not break the silence, else a noisy machine would; where no case at all could be called the
    same they do, because silence would then claim what nobody saw.
    """
    if not context.quiet or gates.exit_code(found, context.fail_on):
        return False
    if any(row.verdict in CHANGED or row.changes for row in found.rows):
        return False
    return found.count(Verdict.SAME) > 0 or not found.count(Verdict.UNCLEAR)
