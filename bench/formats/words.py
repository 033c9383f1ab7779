"""The sentences that every format says alike: what came of it, by how much, and what else is known."""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING

from bench import gates, metrics, units
from bench.verdicts import Comparison, Comparisons, Verdict, family, severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.formats.context import Context
    from bench.results import Figure
    from bench.stats import Interval
    from bench.verdicts import Change, LayerSummary

LONGEST = 300
"""Characters of a reason; a name has 80."""

PLURALS = {"process": "processes"}

UNTIMED = (Verdict.FAILED, Verdict.MISSING, Verdict.NOT_COMPARABLE, Verdict.NEW)
"""Verdicts of cases that have no ratio."""


def one_line(text: str, most: int = LONGEST) -> str:
    """Returns a text as one line of printable characters, the middle of a long one left out.

    What Unicode calls control, format, surrogate or unassigned is left out: terminal colours, bidirectional overrides,
    halves of characters.
    """
    line = " ".join("".join(" " if c.isspace() else c for c in text if c.isspace() or _printable(c)).split())
    if len(line) <= most:
        return line
    head = (most - 1) * 2 // 3
    return f"{line[:head]}…{line[len(line) - (most - 1 - head) :]}"


def name(row: Comparison) -> str:
    """Returns what a case is called."""
    return one_line(row.name, 80)


def percent(ratio: float) -> str:
    """Returns a ratio as the change that it is, with its sign and without the unit: `+21`, `-3.2`."""
    change = 100 * (ratio - 1)
    if abs(change) >= 9.95:
        return f"{change:+,.0f}"
    return "0.0" if abs(change) < 0.05 else f"{change:+.1f}"


def change(ratio: Interval) -> str:
    """Returns a ratio as a change with its interval: `+21 % (+12 to +30)`."""
    if ratio.low is None or ratio.high is None:
        return f"{percent(ratio.estimate)} %"
    return f"{percent(ratio.estimate)} % ({percent(ratio.low)} to {percent(ratio.high)})"


def times(ratio: Interval) -> str:
    """Returns a ratio with its interval: `1.21x (1.12 to 1.30)`."""
    if ratio.low is None or ratio.high is None:
        return f"{number(ratio.estimate)}x"
    return f"{number(ratio.estimate)}x ({number(ratio.low)} to {number(ratio.high)})"


def number(ratio: float) -> str:
    """Returns a ratio in two decimals, more for tiny ones and fewer for large ones."""
    if ratio >= 1000:
        return f"{ratio:.3g}"
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"


def side(figure: Figure | None) -> str:
    """Returns the figure of one side in people's units."""
    return units.UNKNOWN if figure is None else units.format_value(figure.value, figure.unit)


def metric(key: str) -> str:
    """Returns a metric within a sentence: `peak memory`, `FLOPs`."""
    known = metrics.TABLE.get(key)
    title = known.title if known else one_line(key, 40).replace("_", " ")
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def exact(found: Change) -> str:
    """Returns a change of an exact figure: `peak memory 2.00 MiB -> 3.00 MiB (+50 %)`."""
    grown = f" ({percent(found.ratio)} %)" if found.ratio else ""
    return f"{metric(found.metric)} {' -> '.join(sides(found))}{grown}"


def sides(found: Change) -> tuple[str, str]:
    """Returns an exact figure of both sides in people's units, in all digits where they would look alike."""
    base, candidate = (units.format_value(side, found.unit) for side in (found.base, found.candidate))
    if base != candidate:
        return base, candidate
    unit = "" if found.unit == "count" else f" {found.unit}"
    return f"{found.base:,.15g}{unit}", f"{found.candidate:,.15g}{unit}"


def brief(found: Change) -> str:
    """Returns a change of an exact figure where there is little room: `peak memory +50 %`."""
    return f"{metric(found.metric)} {percent(found.ratio)} %" if found.ratio else exact(found)


def changes(row: Comparison) -> tuple[Change, ...]:
    """Returns the exact figures that changed, those that are worse first."""
    return tuple(sorted(row.changes, key=lambda found: not found.worse))


def replicates(count: int, unit: str) -> str:
    """Returns so many processes or pairs."""
    word = one_line(unit, 40)
    return f"{count} {word if count == 1 else PLURALS.get(word, f'{word}s')}"


def needed(row: Comparison, found: Comparisons) -> str:
    """Returns how much longer to measure an unclear case, nothing where that is not known."""
    if row.verdict is not Verdict.UNCLEAR or row.needed is None:
        return ""
    side = "" if found.replicate == "pair" else " a side"
    each = "" if row.seconds is None else f", {units.format_duration(row.seconds)} each"
    return f"about {replicates(row.needed, found.replicate)}{side} would settle it ({row.replicates} so far{each})"


def detectable(row: Comparison) -> str:
    """Returns the smallest change that this much measuring shows, nothing where it is not known."""
    return "" if row.detectable is None else f"{percent(1 + row.detectable).lstrip('+')} %"


def why(row: Comparison, found: Comparisons) -> str:
    """Returns what there is to say of a verdict in a line: its reason, and how much longer to measure."""
    sees = f"a change below {detectable(row)} cannot be seen" if row.detectable and not row.needed else ""
    parts = (one_line(row.reason), needed(row, found), sees if row.verdict is Verdict.UNCLEAR else "")
    doubt = row.verdict is Verdict.SLOWER and row.case_id not in found.gate
    return "; ".join(filter(None, (*parts, "not beyond doubt over all cases" if doubt else "")))


def worst_first(found: Comparisons) -> list[Comparison]:
    """Returns all cases, worst first."""
    return sorted(found.rows, key=severity)


def cases(count: int, of: int | None = None) -> str:
    """Returns so many cases, of so many."""
    if of is None:
        return "1 case" if count == 1 else f"{count} cases"
    return f"{count} of {cases(of)}"


def headline(found: Comparisons, show: Callable[[Comparison], str] = name) -> tuple[str, str]:
    """Returns the verdict on the whole in a few words, and what completes the sentence: the worst case by its name."""
    total, troubles = len(found.rows), _troubles(found)
    if troubles:
        slower = [row for row in worst_first(found) if row.verdict is Verdict.SLOWER and row.ratio]
        return ", ".join(troubles), f", worst {_ratio(slower[0])}: {show(slower[0])}" if slower else ""
    faster = [row for row in found.rows if row.verdict is Verdict.FASTER and row.ratio]
    if faster:
        best = min(faster, key=lambda row: row.ratio.estimate if row.ratio else math.inf)
        unclear = f", {found.count(Verdict.UNCLEAR)} unclear" if found.count(Verdict.UNCLEAR) else ""
        return f"{_are(len(faster), total)} faster, none slower{unclear}", f", best {_ratio(best)}: {show(best)}"
    return _quiet(found), ""


def compared(found: Comparisons, *, others: bool = True) -> str:
    """Returns how many cases were measured on both sides, and what became of the others."""
    left = [f"{found.count(v)} {v.value}" for v in UNTIMED if found.count(v)] if others else []
    whole = f"{found.compared} of {cases(len(found.rows))} compared"
    return f"{whole}; {', '.join(left)}" if left else whole


def tally(found: Comparisons) -> str:
    """Returns how many cases have each verdict."""
    return ", ".join(f"{found.count(v)} {v.value}" for v in Verdict if found.count(v)) or "no case"


def layer(found: LayerSummary, show: Callable[[Comparison], str] = name) -> str:
    """Returns a layer's geometric mean beside its worst case."""
    if found.cases == 1:
        return f"{number(found.mean_ratio)}x in its one case"
    worst = f", worst {number(found.worst.ratio.estimate)}x: {show(found.worst)}" if found.worst.ratio else ""
    return f"geometric mean {number(found.mean_ratio)}x over {cases(found.cases)}{worst}"


def gate(found: Comparisons, context: Context) -> str:
    """Returns whether and why the comparison fails."""
    if not context.fail_on:
        return "Nothing fails this comparison (--fail-on none)."
    said = gates.say(found, context.fail_on)
    words = ", ".join(word for word in gates.FAIL_ON if word in context.fail_on)
    return f"Fails: {said}." if said else f"Passes; it would fail on {words}."


def _quiet(found: Comparisons) -> str:
    """Returns the verdict on a whole in which no case is faster, slower, or worse in anything else."""
    total = len(found.rows)
    if not total:
        return "No case was compared"
    if found.count(Verdict.NEW) == total:
        return f"No baseline yet: {'the case is' if total == 1 else f'all {total} cases are'} new"
    if not found.compared:
        return "No case could be compared"
    if found.count(Verdict.UNCLEAR):
        return f"{_are(found.count(Verdict.UNCLEAR), total)} unclear, none slower for sure"
    same = f"{_are(found.count(Verdict.SAME), total)} the same"
    return (
        f"No case is slower: {same} in time" if any(row.changes for row in found.rows) else f"Nothing changed: {same}"
    )


def _troubles(found: Comparisons) -> list[str]:
    """Returns what got worse, each with how many cases."""
    total = len(found.rows)
    slower = found.count(Verdict.SLOWER)
    said = [f"{_are(slower, total)} slower"] if slower else []
    more = {
        word: len([row for row in found.rows if any(family(name) == word for name in row.worse_in)])
        for word in ("memory", "flops", "parameters")
    }
    other = len([row for row in found.rows if any(family(name) is None for name in row.worse_in)])
    title = {"memory": "more memory", "flops": "more FLOPs", "parameters": "more parameters"}
    for word, count in [*((title[word], count) for word, count in more.items()), ("something else worse", other)]:
        if count:
            said.append(f"{f'{count}' if said else cases(count, total)} {'has' if count == 1 else 'have'} {word}")
    for verdict, one, several in ((Verdict.FAILED, "fails", "fail"), (Verdict.MISSING, "is missing", "are missing")):
        count = found.count(verdict)
        if count:
            said.append(f"{f'{count}' if said else cases(count, total)} {one if count == 1 else several}")
    return said


def _ratio(row: Comparison) -> str:
    """Returns the ratio of a case that has one."""
    return times(row.ratio) if row.ratio else units.UNKNOWN


def _are(count: int, total: int) -> str:
    """Returns `2 of 14 cases are`."""
    return f"{cases(count, total)} {'is' if count == 1 else 'are'}"


def _printable(character: str) -> bool:
    """Whether a character is neither control, format, surrogate, private nor unassigned."""
    return not unicodedata.category(character).startswith("C")
