"""A comment for a pull request that fits a telephone: the verdict first, at most ten rows, the rest folded away.

Names come from whoever wrote the layer or the branch, and some sites render comments with their own extensions
(mentions, links, issue numbers, commands). So names stand in code spans, in which nothing is interpreted, and other
words have every character that means something to Markdown or HTML written as an entity.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from bench import gates
from bench.formats import words
from bench.formats.context import MOST, Context, silent
from bench.verdicts import Comparison, Comparisons, Verdict, family

if TYPE_CHECKING:
    from collections.abc import Sequence

MARKER = "<!-- softmoe-bench comparison -->"
"""Where a workflow finds its own comment again."""

ROOM = 60_000
"""Characters of a comment: GitHub takes 65 536."""

UNREMARKABLE = frozenset({Verdict.SAME, Verdict.NEW})
"""Verdicts that only the folded table shows."""

GRAVE = frozenset({Verdict.SLOWER, Verdict.FAILED, Verdict.MISSING})

_MEANS_SOMETHING = re.compile(
    r"[&<>`*~\[\]|\\$@^]"  # markup, HTML, mathematics, mentions
    r"|(?<!\w)_|_(?!\w)"  # emphasis; within a word it is none
    r"|[:#!](?=\S)"  # addresses and signs such as :tada:, references to issues and merge requests
    r"|\{(?=[+-])"  # GitLab's marks for changes
    r"|(?<=www)\.",
    re.IGNORECASE,
)
_ALLOWED = "/?:#[]@!$&'*+,;=%~-._"


def render(found: Comparisons, context: Context) -> str:
    """Returns the comment, nothing where it should be silent."""
    if silent(found, context):
        return ""
    lead, rest = words.headline(found, _name)
    said = [MARKER, f"**{prose(lead)}**{rest}", _facts(found), _top(found, context), _exact(found, context)]
    said += [_layers(found, context), _link(context)]
    head = "\n\n".join(filter(None, said))
    return f"{head}\n\n{_details(found, context, ROOM - len(head))}\n"


def code(text: str) -> str:
    """Returns a text as a code span, in which nothing is interpreted."""
    line = words.one_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line or ' '}{pad}{fence}"


def prose(text: str) -> str:
    """Returns words in which nothing is markup, a link or a mention."""
    escaped = _MEANS_SOMETHING.sub(lambda found: f"&#{ord(found[0])};", text.replace("->", "→"))
    return escaped.replace("&#64;", "&#64;\u2060").replace(" %", "\u00a0%")


def cell(text: str) -> str:
    """Returns a code span for a cell of a table: a bar ends a cell even in code, and readers differ on escaped ones."""
    return text.replace("|", "¦")


def _name(row: Comparison) -> str:
    """Returns what a case is called."""
    return code(words.name(row))


def _facts(found: Comparisons) -> str:
    """Returns which sides were compared, how many cases, and what weakens the whole."""
    sides = f"{code(words.one_line(found.candidate, 60))} against {code(words.one_line(found.base, 60))}"
    lines = [f"{prose(words.compared(found))}. {sides}."]
    lines += [f"- {prose(words.one_line(remark))}" for remark in found.remarks[:MOST]]
    return lines[0] if len(lines) == 1 else "\n".join([lines[0], "", *lines[1:]])


def _top(found: Comparisons, context: Context) -> str:
    """Returns the table of the worst cases, nothing where all are the same."""
    rows = [row for row in words.worst_first(found) if row.verdict not in UNREMARKABLE or row.worse_in]
    if not rows:
        return ""
    table = [_table(found, rows[: context.most], context)]
    left = len(rows) - context.most
    if left > 0:
        table.append(f"{left} more below.")
    return "\n\n".join(table)


def _table(found: Comparisons, rows: Sequence[Comparison], context: Context) -> str:
    """Returns a narrow table: case, change, verdict; what fails the gate is bold."""
    failing = gates.reasons(found, context.fail_on)
    lines = ["| case | time | verdict |", "| :-- | --: | :-- |"]
    for row in rows:
        ratio = prose(words.change(row.ratio)) if row.ratio else "–"
        lines.append(f"| {cell(_name(row))} | {ratio} | {_verdict(row, failing.get(row.case_id, ()))} |")
    return "\n".join(lines)


def _verdict(row: Comparison, failing: tuple[str, ...]) -> str:
    """Returns what became of a case, bold where it fails the gate by that; the same in time goes without saying."""
    said = {} if row.verdict is Verdict.SAME and row.worse_in else {row.verdict.value: row.verdict.value}
    said |= {f"more {words.metric(key)}": family(key) or "" for key in row.worse_in}
    return ", ".join(f"**{prose(text)}**" if word in failing else prose(text) for text, word in said.items())


def _exact(found: Comparisons, context: Context) -> str:
    """Returns in words what grew among the figures without noise."""
    lines = [
        f"- {_name(row)}: {', '.join(prose(words.exact(change)) for change in row.changes if change.worse)}"
        for row in words.worst_first(found)
        if row.worse_in
    ]
    if len(lines) > context.most:
        lines = [*lines[: context.most], f"- {len(lines) - context.most} more below"]
    return "\n".join(["Grown beyond what is allowed:", "", *lines]) if lines else ""


def _layers(found: Comparisons, context: Context) -> str:
    """Returns the geometric mean of each layer beside its worst case."""
    lines = [f"- {code(words.one_line(summary.layer, 60))}: {words.layer(summary, _name)}" for summary in found.layers]
    if not lines or found.compared < 2:
        return ""
    more = [f"- {len(lines) - context.most} more layers"] if len(lines) > context.most else []
    return "\n".join(["By layer:", "", *lines[: context.most], *more])


def _link(context: Context) -> str:
    """Returns a link to the report, its path where it is no address that a browser follows."""
    if not context.report:
        return ""
    if urlsplit(context.report).scheme not in ("http", "https"):
        return f"Report: {code(context.report)}"
    return f"[Report]({quote(words.one_line(context.report, 2000), safe=_ALLOWED)})"


def _details(found: Comparisons, context: Context, room: int) -> str:
    """Returns everything else, folded: what it means, why, every case, and how to make it again."""
    parts = [prose(words.gate(found, context))]
    if found.method:
        parts.append(prose(words.one_line(found.method, 2000)))
    if context.command:
        parts.append(f"Reproduce: {code(context.command)}")
    fold = f"<details><summary>{words.cases(len(found.rows))}: figures, reasons, method</summary>\n\n{{}}\n\n</details>"
    used = len(fold) + sum(len(part) + 2 for part in parts)
    parts.insert(1, _all(found, room - used))
    return fold.format("\n\n".join(filter(None, parts)))


def _all(found: Comparisons, room: int) -> str:
    """Returns every case with its sides as far as there is room, the worst first."""
    lines = [
        "| case | base | candidate | time | detectable | verdict | exact |",
        "| :-- | --: | --: | --: | --: | :-- | :-- |",
    ]
    ordered = words.worst_first(found)
    used, shown = sum(map(len, lines)) + 100, 0
    for row in ordered:
        line = _whole(row, found)
        used += len(line) + 1
        if used > room:
            break
        lines.append(line)
        shown += 1
    left = len(ordered) - shown
    return "\n".join(lines) + (f"\n\n{left} more cases do not fit here; the report has them." if left else "")


def _whole(row: Comparison, found: Comparisons) -> str:
    """Returns all that there is to say of a case as a row."""
    sides = [words.side(figure) for figure in (row.base, row.candidate)]
    ratio = words.change(row.ratio) if row.ratio else "–"
    why = words.why(row, found)
    verdict = f"{row.verdict.value}: {why}" if why else row.verdict.value
    exact = "; ".join(words.exact(change) for change in words.changes(row))
    cells = (*sides, ratio, words.detectable(row) or "–", verdict, exact)
    return f"| {cell(_name(row))} | {' | '.join(map(prose, cells))} |"
