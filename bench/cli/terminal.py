"""Tables for people: at most 100 columns, colours only where a terminal shows them (rich respects NO_COLOR)."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import units
from bench.formats import words
from bench.formats.context import Context, silent
from bench.selfcheck import LARGEST, POWER, percent, say_alarms
from bench.verdicts import Comparison, Comparisons, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.selfcheck import CaseCheck, Look, SelfCheck

WIDTH = 100
COMPARISON = ("case", "base", "candidate", "ratio", "95 % interval", "sees", "exact", "verdict")
"""Columns of a comparison."""

ROWS = 200
"""Most cases of a comparison that are shown: nobody reads on, and drawing thousands takes seconds."""

NAME, EXACT = 26, 13
"""Characters of a name before it is broken into lines, and of the exact figures, so that all columns fit."""

COLOURS = {
    Verdict.SLOWER: "red",
    Verdict.FAILED: "red",
    Verdict.MISSING: "red",
    Verdict.FASTER: "green",
    Verdict.UNCLEAR: "yellow",
}


def console() -> Console:
    """Returns the console that answers are written to; a pipe gets the same width as a terminal."""
    wide = Console(file=sys.stdout, highlight=False)
    return Console(file=sys.stdout, highlight=False, width=min(WIDTH, wide.width) if wide.is_terminal else WIDTH)


def show_comparison(found: Comparisons, context: Context, out: Console | None = None) -> None:
    """Prints a comparison: one row per case, worst first, a row per layer, then what it comes to."""
    if silent(found, context):
        return
    out = out or console()
    ordered = words.worst_first(found)[:ROWS]
    out.print(_verdicts(ordered))
    if len(found.rows) > ROWS:
        left = words.cases(len(found.rows) - ROWS)
        out.print(f"{left} more, none worse than these: see --format json.", markup=False)
    if found.compared > 1:
        out.print(_layers(found))
    if any(row.detectable is not None for row in ordered):
        out.print("sees: smallest change that this much measuring shows in four of five attempts.", markup=False)
    for row in ordered:
        why = words.why(row, found)
        if why:
            out.print(f"{row.verdict}: {words.name(row)}: {why}", markup=False)
    for remark in found.remarks:
        out.print(f"note: {words.one_line(remark)}", markup=False)
    sides = f"{words.one_line(found.candidate)} against {words.one_line(found.base)}"
    out.print(f"{sides}: {words.one_line(found.method, 2000)}" if found.method else f"{sides}.", markup=False)
    out.print(f"{words.compared(found, others=False)}: {words.tally(found)}.", markup=False)
    out.print(f"{''.join(words.headline(found))}. {words.gate(found, context)}", markup=False)


def comparison(found: Comparisons, context: Context) -> str:
    """Returns what `show_comparison` prints, for a file."""
    text = io.StringIO()
    show_comparison(found, context, Console(file=text, highlight=False, width=WIDTH, color_system=None))
    return text.getvalue()


def _verdicts(rows: Sequence[Comparison]) -> Table:
    """Returns a row per case; what no case has takes no column."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    cells = [_comparison(row) for row in rows]
    shown = [title for title in COMPARISON if any(cell[title].plain for cell in cells) or title in COMPARISON[:3]]
    for title in shown:
        figure = title in COMPARISON[1:6]
        least = min(NAME, max((len(cell[title]) for cell in cells), default=0)) if title == "case" else None
        side: Literal["right", "left"] = "right" if figure else "left"
        most = EXACT if title == "exact" else None
        table.add_column(title, justify=side, no_wrap=figure, overflow="fold", min_width=least, max_width=most)
    for cell in cells:
        table.add_row(*(cell[title] for title in shown))
    return table


def _layers(found: Comparisons) -> Table:
    """Returns a row per layer: the geometric mean of its ratios, and beside it the worst of them."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    for title in ("layer", "cases", "geometric mean", "worst", "worst case"):
        table.add_column(title, justify="left" if title.endswith(("layer", "case")) else "right")
    for layer in found.layers:
        worst = units.UNKNOWN if layer.worst.ratio is None else words.number(layer.worst.ratio.estimate)
        name = Text(words.one_line(layer.layer))
        table.add_row(name, str(layer.cases), words.number(layer.mean_ratio), worst, Text(words.name(layer.worst)))
    return table


def show_selfcheck(found: SelfCheck) -> None:
    """Prints a run against itself: one row per case, then in words what can be seen here."""
    out = console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    table.add_column("case")
    sides = [f"with {size}" for size in found.sides]
    for title in ("processes", "time", "false alarms", "same", "unclear", *sides):
        table.add_column(title, justify="right", no_wrap=True)
    for case in found.cases:
        table.add_row(case.name, *_chosen(case.chosen), *(_smallest(case, size) for size in found.sides))
    out.print(table)
    if found.looks():
        out.print(
            "processes and time: of one side of a comparison. false alarms, same and unclear: verdicts on groups of"
            f" processes of the same code, which share none. with N: smallest change that is called slower in at least"
            f" {POWER:.0%} of neighbouring groups of N processes; – is more than {percent(LARGEST)}, or not known."
            " Rates over several cases take them for independent, but what disturbs a round disturbs all of them.",
            markup=False,
        )
    for case in found.cases:
        out.print(f"{case.name}: {case.statement}", markup=False)
    for size in found.sides:
        out.print(f"false alarms with {size} processes a side: {say_alarms(found.looks(size))}", markup=False)
    same, unclear = sum(look.same for look in found.looks()), sum(look.unclear for look in found.looks())
    out.print(
        f"run {found.of.run.name} ({found.of.run.id}), threshold {found.threshold:.0%}:"
        f" false alarms {say_alarms(found.looks())}, {same} called same, {unclear} unclear",
        markup=False,
    )


def _chosen(look: Look | None) -> list[str]:
    """Returns the cells of the look that the given time allows."""
    if look is None:
        return [units.UNKNOWN] * 5
    alarms = f"{look.alarms} of {look.trials}"
    return [str(look.processes), units.format_duration(look.seconds), alarms, str(look.same), str(look.unclear)]


def _smallest(case: CaseCheck, processes: int) -> str:
    """Returns the smallest change that is seen with so many processes a side."""
    looks = [look for look in case.looks if look.processes == processes]
    return percent(looks[0].smallest) if looks and looks[0].smallest is not None else units.UNKNOWN


def _comparison(row: Comparison) -> dict[str, Text]:
    """Returns the cells of one comparison by their titles."""
    ratio = row.ratio
    reach = "" if ratio is None or ratio.low is None or ratio.high is None else f"{ratio.low:.2f} to {ratio.high:.2f}"
    cells = {
        "case": words.name(row),
        "base": words.side(row.base),
        "candidate": words.side(row.candidate),
        "ratio": "" if ratio is None else words.number(ratio.estimate),
        "95 % interval": reach,
        "sees": words.detectable(row),
        "exact": ", ".join(words.brief(change) for change in words.changes(row)),
    }
    texts = {title: Text(text) for title, text in cells.items()}
    verdict = Text(row.verdict.value, style=COLOURS.get(row.verdict, ""))
    if row.worse_in:
        texts["exact"].stylize("red")
        if row.verdict is Verdict.SAME:
            verdict = Text("same time", style="red")
    return {**texts, "verdict": verdict}
