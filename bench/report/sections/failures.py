"""Cases without an answer, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from bench.records import Status, reason
from bench.report import blocks, naming, view
from bench.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.view import Entry
    from bench.results import RunResults

REASON_LENGTH = 200
FOLD_FROM = 8
"""So many cases that share a reason are folded."""

MOST_NAMED = 200
"""Cases of one reason that are named."""


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns failed, skipped, missing and untimed cases by reason, or None where all went well."""
    seen = view.of(runs)
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in seen.entries:
        if (why := _why(entry)) is not None:
            groups.setdefault(why, []).append(entry)
    if not groups:
        return None
    total = sum(len(group) for group in groups.values())
    parts = [blocks.paragraph(f"{total} of {naming.count(len(seen.entries), 'case')} have no full answer.")]
    anchors = {entry.anchor for entry in seen.listed}
    parts += [_group(words, detail, group, anchors) for (words, detail), group in groups.items()]
    return Section("failures", "Failures and skips", blocks.merge(parts))


def _line(status: Status, detail: str) -> str:
    """Returns the reason in one line of bounded length."""
    return naming.shorten(reason(status, naming.plain(detail)).strip(), REASON_LENGTH)


def _why(entry: Entry) -> tuple[str, str] | None:
    """Returns status in words and the detail, None for a case with an answer."""
    result = entry.result
    if result.status is None:
        return naming.STATUSES[None], "The run ended before this case was measured."
    if result.status is not Status.OK:
        return naming.STATUSES[result.status], f"{_line(result.status, result.detail)}\x00{result.detail}"
    if entry.figure("latency") is None:
        return "not timed", "The case was inspected (memory, FLOPs, routing, accuracy), but no process timed it."
    return None


def _group(words: str, detail: str, group: Sequence[Entry], anchors: set[str]) -> Markup:
    """Returns one reason with its cases and the whole of what is known."""
    line, _, whole = detail.partition("\x00")
    title = Markup("<h3>{} {}</h3>").format(
        blocks.badge(words, "soft" if words in {"skipped", "unsupported"} else "bad"), naming.count(len(group), "case")
    )
    named = [
        blocks.link(entry.anchor, entry.full) if entry.anchor in anchors else entry.full for entry in group[:MOST_NAMED]
    ]
    names = blocks.items([*named, f"and {len(group) - MOST_NAMED} more"] if len(group) > MOST_NAMED else named)
    parts = [title, blocks.paragraph(line)]
    parts.append(names if len(group) < FOLD_FROM else blocks.details(f"{len(group)} cases", names))
    if whole.strip() and naming.plain(whole).strip() != line:
        parts.append(blocks.details("Whole detail", blocks.code(whole.strip())))
    return blocks.merge(parts)
