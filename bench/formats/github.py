"""Annotations for GitHub Actions: a line per finding that the runner takes from the log, the worst ten.

The runner reads `::error title=...::text`; what would end a line, a property or the command is written as a percent
code. It shows at most ten errors, ten warnings and ten notices of a step. The comment of `bench.formats.markdown` goes
to the summary of the job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import gates
from bench.formats import markdown, words
from bench.formats.context import Context, silent
from bench.verdicts import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from bench.verdicts import Comparison, Comparisons

SUMMARY = "GITHUB_STEP_SUMMARY"
"""Names the file that the runner makes the summary of the job from."""

GOOD = frozenset({Verdict.FASTER, Verdict.NEW})

_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_DATA, ":": "%3A", ",": "%2C"}


def render(found: Comparisons, context: Context) -> str:
    """Returns the annotations, nothing where it should be silent."""
    if silent(found, context):
        return ""
    failing = gates.reasons(found, context.fail_on)
    worth = [row for row in words.worst_first(found) if row.verdict is not Verdict.SAME or row.worse_in]
    lines = [_annotation(row, found, failing.get(row.case_id, ())) for row in worth[: context.most]]
    parts = ["".join(words.headline(found)), words.compared(found), words.gate(found, context).rstrip(".")]
    if len(worth) > context.most:
        parts.append(f"{len(worth) - context.most} more cases are in the summary")
    if context.report:
        parts.append(f"report: {words.one_line(context.report, 2000)}")
    return "\n".join([*lines, command("notice", "softmoe-bench", "; ".join(parts))]) + "\n"


def command(kind: str, title: str, text: str) -> str:
    """Returns one workflow command: error, warning or notice."""
    return f"::{kind} title={_escape(title, _PROPERTY)}::{_escape(text, _DATA)}"


def summarise(found: Comparisons, context: Context, path: Path) -> None:
    """Appends the comment to the summary of the job.

    Raises:
        OSError: the file cannot be written.
    """
    text = markdown.render(found, context)
    if text:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")


def _annotation(row: Comparison, found: Comparisons, failing: tuple[str, ...]) -> str:
    """Returns the annotation of a case: an error where it fails the gate, a notice where it is good news."""
    kind = "error" if failing else "notice" if row.verdict in GOOD and not row.worse_in else "warning"
    said = [row.verdict.value + (f" {words.change(row.ratio)}" if row.ratio else ""), words.why(row, found)]
    said += [words.exact(change) for change in words.changes(row) if change.worse]
    return command(kind, words.name(row), "; ".join(filter(None, said)))


def _escape(text: str, codes: dict[str, str]) -> str:
    """Returns a text in which what would end it is written as a code."""
    return "".join(codes.get(character, character) for character in text)
