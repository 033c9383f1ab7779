"""What makes numbers of these runs less true: each caveat with its meaning, a hint and the cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from bench import caveats
from bench.caveats import Caveat
from bench.report import blocks, naming, view
from bench.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.view import Entry
    from bench.results import RunResults

FOLD_FROM = 6


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns every caveat that fired, or None where none did."""
    seen = view.of(runs)
    raised: dict[str, list[tuple[Entry, str]]] = {}
    for entry in seen.entries:
        for flag in entry.result.flags:
            raised.setdefault(flag.code, []).append((entry, flag.detail))
    if not raised:
        return None
    order = [code for code in caveats.TABLE if code in raised] + [code for code in raised if code not in caveats.TABLE]
    parts = [_caveat(code, raised[code], len(seen.entries)) for code in order]
    return Section("caveats", "Caveats", blocks.merge(parts))


def _caveat(code: str, raised: Sequence[tuple[Entry, str]], total: int) -> Markup:
    """Returns one caveat in words with its cases."""
    known = caveats.TABLE.get(code, Caveat(code, code, "", ""))
    title = Markup('<h3 id="caveat-{}">{} <span class="soft">{} of {}</span></h3>').format(
        code, known.title[:1].upper() + known.title[1:], len(raised), naming.count(total, "case")
    )
    cases = blocks.items(
        Markup("{}{}").format(blocks.link(entry.anchor, entry.full), f": {naming.plain(detail)}" if detail else "")
        for entry, detail in raised
    )
    parts = [title]
    if known.text:
        parts.append(blocks.paragraph(Markup("{} <em>{}</em>").format(known.text, known.hint)))
    parts.append(cases if len(raised) < FOLD_FROM else blocks.details(f"The {len(raised)} cases", cases))
    return blocks.merge(parts)
