"""A comparison as JUnit XML, one test per case: what GitLab and Jenkins show beside a merge request.

No standard exists, so this keeps to what all readers share. GitLab (lib/gitlab/ci/parsers/test/junit.rb) shows the text
within `failure` and `skipped`, not their attributes, calls `classname` the suite, and drops a second case of the same
class and name. Jenkins' schema (xunit-plugin, junit-10.xsd) has no `skipped` on `testsuites` and takes times as
decimals without exponent; it cuts `classname` at its last dot into package and class.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from bench import gates
from bench.formats import words
from bench.verdicts import Verdict

if TYPE_CHECKING:
    from bench.formats.context import Context
    from bench.verdicts import Comparison, Comparisons

SKIPPED = frozenset(
    {Verdict.UNCLEAR, Verdict.NOT_COMPARABLE, Verdict.NEW, Verdict.MISSING, Verdict.FAILED},
)
"""Verdicts that prove nothing: skipped, where they do not fail the gate."""

ATTACHMENT = "[[ATTACHMENT|"
"""How GitLab finds a file named in an output; a layer's name must not name one."""


def render(found: Comparisons, context: Context) -> str:
    """Returns the comparison as a document with one suite; it is never silent, because a pipeline waits for it."""
    failing = gates.reasons(found, context.fail_on)
    names = Counter((row.layer, words.name(row)) for row in found.rows)
    title = words.one_line(f"{found.candidate} against {found.base}")
    suite = ET.Element("testsuite", name=title)
    if found.method:
        properties = ET.SubElement(suite, "properties")
        ET.SubElement(properties, "property", name="method", value=words.one_line(found.method, 2000))
    for row in words.worst_first(found):
        unique = words.name(row) if names[row.layer, words.name(row)] == 1 else f"{words.name(row)} {row.case_id}"
        _case(suite, row, found, unique, failing.get(row.case_id, ()))
    remarks = [words.gate(found, context), *map(words.one_line, found.remarks)]
    ET.SubElement(suite, "system-out").text = "\n".join(remarks).replace(ATTACHMENT, "[ [ATTACHMENT|")
    counts = {
        "tests": str(len(found.rows)),
        "failures": str(len(suite.findall("testcase/failure"))),
        "errors": "0",
        "time": _seconds(sum(_time(row) or 0.0 for row in found.rows)),
    }
    for key, value in (*counts.items(), ("skipped", str(len(suite.findall("testcase/skipped"))))):
        suite.set(key, value)
    whole = ET.Element("testsuites", {"name": "softmoe-bench", **counts})
    whole.append(suite)
    ET.indent(whole)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(whole, encoding="unicode")}\n'


def _case(suite: ET.Element, row: Comparison, found: Comparisons, name: str, failing: tuple[str, ...]) -> None:
    """Adds one case: failed by these words of the gate, skipped where it proves nothing, else passed."""
    test = ET.SubElement(suite, "testcase", name=name, classname=words.one_line(f"softmoe-bench.{row.layer}", 120))
    time = _time(row)
    if time is not None:
        test.set("time", _seconds(time))
    said = _lines(row, found)
    if failing:
        grew = [words.exact(change) for change in words.changes(row) if change.worse]
        message = "; ".join(grew if grew and row.verdict is Verdict.SAME else [said[0], *grew])
        ET.SubElement(test, "failure", type=failing[0], message=message).text = "\n".join(said)
    elif row.verdict in SKIPPED:
        ET.SubElement(test, "skipped", message=said[0]).text = said[0]
    ET.SubElement(test, "system-out").text = "\n".join(said).replace(ATTACHMENT, "[ [ATTACHMENT|")


def _lines(row: Comparison, found: Comparisons) -> list[str]:
    """Returns everything that is known of a case, the verdict first."""
    why = words.why(row, found)
    by = f" {words.change(row.ratio)}" if row.ratio else ""
    lines = [f"{row.verdict.value}{by}{f': {why}' if why else ''}"]
    if row.ratio:
        sides = f"{words.side(row.base)} -> {words.side(row.candidate)}"
        lines.append(
            f"time {sides}, ratio {words.times(row.ratio)}, {words.replicates(row.replicates, found.replicate)}"
        )
    if row.raw:
        lines.append(f"ratio without the reference kernel {words.times(row.raw)}")
    if row.detectable is not None:
        lines.append(f"smallest change that this would show: {words.detectable(row)}")
    return lines + [f"{words.exact(change)}{', worse' if change.worse else ''}" for change in words.changes(row)]


def _time(row: Comparison) -> float | None:
    """Returns the candidate's latency: readers draw the duration of a test over time."""
    return row.candidate.value if row.candidate is not None and row.candidate.unit == "s" else None


def _seconds(seconds: float) -> str:
    """Returns seconds as a decimal without exponent."""
    return f"{seconds:.9f}"
