"""The table of a run: a row per case with a bar of its latency, under a heading per workload, within 100 columns.

A bar is a share of the slowest case that was asked to do the same work, so that bars under one heading rank designs.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from bench import caveats
from bench.axes import COMMON, SHORT, case_name, show_value
from bench.cli import bars, run_cells, terminal
from bench.cli.spelling import spell
from bench.formats import words
from bench.records import Status, reason
from bench.results import varying

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from bench.axes import AxisValue
    from bench.records import Case
    from bench.results import CaseResult, RunResults

OF_SLOWEST = "of slowest"
SHORTEST, LONGEST = len(OF_SLOWEST), 24
"""Characters of a bar."""

INDENT = 1
"""Columns by which rows stand to the right of the heading of their work."""

NAME = 24
"""Characters of a name before it is broken into lines, where axes have no room for columns of their own."""

MOST_NAMED = 3
"""Cases that are named beside a reason that they share."""

SPREAD = (
    "± is half the 95 % interval over processes. spread is within/between: standard deviation of the samples of one"
    " process / of the medians of processes."
)


@dataclass(frozen=True)
class Group:
    """Cases that were asked to do the same work, what that is in words, and the latency that a full bar stands for."""

    heading: str
    cases: tuple[CaseResult, ...]
    slowest: float | None


@dataclass(frozen=True)
class Column:
    """A column of texts, one for each case in the order of the groups."""

    title: str
    cells: tuple[str, ...]
    right: bool = True

    @property
    def width(self) -> int:
        """How many characters it takes."""
        return max(cell_len(line) for text in (self.title, *self.cells) for line in text.split("\n"))


@dataclass(frozen=True)
class Layout:
    """The columns that fit, the first `before` of them left of the bar, its length (0: none), and what is left out."""

    columns: tuple[Column, ...]
    before: int
    bar: int
    gap: int
    left_out: tuple[str, ...]


def show(found: RunResults) -> None:
    """Prints a run: one row per case, what failed and why, and the caveats in words."""
    out = terminal.console()
    names, work = _names(found)
    groups = _groups(found, work)
    headed = any(group.heading for group in groups)
    marks = run_cells.marks(found)
    layout = _fit(groups, [name for name in names if not headed or name not in work], marks, out)
    for line in _lines(layout, groups, blocks=bars.has_blocks(out.encoding)):
        out.print(line, no_wrap=True, crop=False, overflow="ignore")
    out.print()
    if layout.left_out:
        out.print(f"No room for {_join(layout.left_out)}: see `softmoe-bench show --json`.", markup=False)
    for text in (*_said(layout, found, headed=headed), *_caveats(found, marks), *_reasons(found, names)):
        out.print(text, markup=False)
    counts = ", ".join(
        f"{found.count(status)} {'not measured' if status is None else status.value}"
        for status in (*Status, None)
        if found.count(status)
    )
    named = f"run {words.one_line(found.run.name)} ({words.one_line(found.run.id)}), {found.run.state}"
    out.print(f"{named}: {len(found.cases)} cases, {counts}", markup=False)


def _names(found: RunResults) -> tuple[list[str], list[str]]:
    """Returns the axes that tell the cases of a layer apart and those of the work; then the latter alone.

    A layer's own constants are in neither; a width by which only layers differ makes designs of equal work.
    """
    by_layer: dict[AxisValue, list[Case]] = {}
    for result in found.cases:
        by_layer.setdefault(result.case["layer"], []).append(result.case)
    within = {name for cases in by_layer.values() for name in varying(cases)}
    names = [name for name in found.varying() if name in {*within, *COMMON} - {"layer", "backend"}]
    return names, [n for n in names if n in {*COMMON, "variant"} and (n != "d_ff" or n in within)]


def _groups(found: RunResults, work: Sequence[str]) -> list[Group]:
    """Returns the cases by the work asked for, in the order of the plan; one group where no two share their work."""
    by_work: dict[str, list[CaseResult]] = {}
    for result in found.cases:
        asked = [f"{SHORT.get(name, name)}={_value(result, name)}" for name in work if name in result.case]
        by_work.setdefault(" ".join(asked), []).append(result)
    if len(by_work) == len(found.cases) or len(by_work) == 1:
        by_work = {"": list(found.cases)}
    return [Group(heading, tuple(cases), _slowest(cases)) for heading, cases in by_work.items()]


def _name(result: CaseResult, names: Sequence[str], most: int = terminal.WIDTH) -> str:
    """Returns what a case is called, in a line that no name of a layer can break."""
    return words.one_line(case_name(result.case, names), most)


def _value(result: CaseResult, name: str) -> str:
    """Returns the value of an axis in a line."""
    return words.one_line(show_value(result.case[name]), NAME)


def _slowest(cases: Sequence[CaseResult]) -> float | None:
    """Returns the longest latency among cases that ended well."""
    return max((seconds for result in cases if (seconds := _seconds(result)) is not None), default=None)


def _seconds(result: CaseResult) -> float | None:
    """Returns the latency of a case that ended well."""
    return result.value("latency") if result.status is Status.OK else None


def _fit(groups: Sequence[Group], names: Sequence[str], marks: dict[str, str], out: Console) -> Layout:
    """Returns the columns for the width of a terminal: with less room fewer figures, then names over several lines."""
    ordered = [result for group in groups for result in group.cases]

    def column(title: str, cells: Sequence[str], *, right: bool = True) -> Column:
        return Column(spell(title, out.encoding), tuple(spell(cell, out.encoding) for cell in cells), right=right)

    figures = [run_cells.figures(result) for result in ordered]
    shown = [column(title, [cells[title] for cells in figures]) for title in run_cells.FIGURES]
    said = [run_cells.note(result, marks) for result in ordered]
    notes = (column("notes", said, right=False),) if any(said) else ()
    apart = [column("layer", [_name(result, (), 2 * NAME) for result in ordered], right=False)]
    for name in names:
        values = [_value(result, name) if name in result.case else "" for result in ordered]
        apart.append(column(SHORT.get(name, name), values))
    whole = [_name(result, names) for result in ordered]
    broken = [Column("case", tuple("\n".join(textwrap.wrap(name, NAME)) for name in whole), right=False)]
    drawn = any(group.slowest for group in groups)
    tries = [(first, count, drawn) for first in (apart, broken) for count in range(len(run_cells.FIGURES), 1, -1)]
    for first, count, bar in (*tries, (apart, 1, drawn), (broken, 1, drawn), (apart, 1, False)):
        columns = (*first, *shown[:count], *notes)
        for gap in (2, 1):
            room = out.width - INDENT - sum(c.width for c in columns) - gap * len(columns)
            if room >= (SHORTEST if bar else -gap):
                left_out = (*(("bars",) if drawn and not bar else ()), *run_cells.FIGURES[count:])
                return Layout(columns, len(first) + 1, min(room, LONGEST) if bar else 0, gap, left_out)
    return Layout((*broken, shown[0], *notes), 2, 0, 1, (*(("bars",) if drawn else ()), *run_cells.FIGURES[1:]))


def _lines(layout: Layout, groups: Sequence[Group], *, blocks: bool) -> Iterator[Text]:
    """Yields the lines of the table: titles, a rule, then a heading and rows for each group."""
    left, right = layout.columns[: layout.before], layout.columns[layout.before :]
    gap, start = " " * layout.gap, Text(" " * INDENT)

    def line(texts: Sequence[str], drawn: str, style: str = "") -> Text:
        cells = [_aligned(text, column) for text, column in zip(texts, layout.columns, strict=True)]
        middle = [Text(drawn.ljust(layout.bar), style)] if layout.bar else []
        before, after = map(Text, cells[: len(left)]), map(Text, cells[len(left) :])
        found = start + Text(gap).join([*before, *middle, *after])
        found.rstrip()
        return found

    titles = line([column.title for column in layout.columns], OF_SLOWEST)
    titles.stylize("bold")
    yield titles
    width = sum(c.width for c in (*left, *right)) + layout.bar + layout.gap * (len(layout.columns) - (not layout.bar))
    yield start + Text(("─" if blocks else "-") * width)
    place = 0
    for number, group in enumerate(groups):
        if group.heading:
            yield Text(("\n" if number else "") + group.heading, "bold")
        for result in group.cases:
            share = (_seconds(result) or 0.0) / (group.slowest or 1.0)
            cells = [column.cells[place].split("\n") for column in layout.columns]
            for depth in range(max(map(len, cells))):
                drawn = bars.bar(share, layout.bar, blocks=blocks) if depth == 0 else ""
                yield line([lines[depth] if depth < len(lines) else "" for lines in cells], drawn, "cyan")
            place += 1


def _aligned(text: str, column: Column) -> str:
    """Returns a cell as wide as its column."""
    space = " " * (column.width - cell_len(text))
    return space + text if column.right else text + space


def _said(layout: Layout, found: RunResults, *, headed: bool) -> Iterator[str]:
    """Yields what the columns mean."""
    if layout.bar:
        yield f"Bars are latencies, a full one the slowest {'under its heading' if headed else 'case'}."
    if any(run_cells.spreads(result.figures.get("latency")) for result in found.cases):
        yield SPREAD


def _caveats(found: RunResults, marks: dict[str, str]) -> Iterator[str]:
    """Yields what each letter stands for."""
    for code, mark in marks.items():
        caveat = caveats.TABLE.get(code)
        count = sum(any(flag.code == code for flag in result.flags) for result in found.cases)
        text = "" if caveat is None else f" {caveat.text} {caveat.hint}"
        yield f"{mark} {code if caveat is None else caveat.title} ({count} of {len(found.cases)} cases).{text}"


def _reasons(found: RunResults, names: Sequence[str]) -> Iterator[str]:
    """Yields why cases did not end well; those that share a reason share a line."""
    alike: dict[tuple[Status, str], list[str]] = {}
    for result in found.cases:
        if result.status not in (Status.OK, None):
            why = words.one_line(reason(result.status, result.detail))
            alike.setdefault((result.status, why), []).append(_name(result, names))
    for (status, why), cases in alike.items():
        rest = [f"{len(cases) - MOST_NAMED} more"] if len(cases) > MOST_NAMED else []
        yield f"{status}: {_join([*cases[:MOST_NAMED], *rest])}: {why}"


def _join(words: Sequence[str]) -> str:
    """Returns a list as a sentence has it."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
