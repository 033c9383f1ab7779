"""Tables for people: at most 100 columns, colours only where a terminal shows them (rich respects NO_COLOR)."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import caveats, units
from bench.axes import COMMON, SHORT, case_name, show_value
from bench.formats import words
from bench.formats.context import Context, silent
from bench.records import Status, reason
from bench.results import varying
from bench.selfcheck import LARGEST, POWER, percent, say_alarms
from bench.verdicts import Comparison, Comparisons, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.axes import AxisValue
    from bench.records import Case
    from bench.results import CaseResult, Figure, RunResults
    from bench.selfcheck import CaseCheck, Look, SelfCheck

WIDTH = 100
SPREAD = (
    "± is half the 95 % interval over processes. spread is within/between: standard deviation of the samples of one"
    " process / of the medians of processes."
)
FIGURES = ("latency", "spread", "tokens/s", "peak mem", "FLOPs")
"""Columns of a run after its axes; the last ones are left out where there is no room."""

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


def show_run(found: RunResults) -> None:
    """Prints a run: one row per case, what failed and why, and the caveats in words."""
    out = console()
    names = _names(found)
    marks = _marks(found)
    shown, spacing = len(FIGURES), 1
    table = _run_table(found, names, marks, FIGURES, spacing)
    while _width(out, table) > out.width and shown > 1:
        shown, spacing = shown - (spacing == 0), 0
        table = _run_table(found, names, marks, FIGURES[:shown], spacing)
    out.print(table)
    if shown < len(FIGURES):
        out.print(f"No room for {' and '.join(FIGURES[shown:])}: see `softmoe-bench show --json`.", markup=False)
    if any(_spreads(result.figures.get("latency")) for result in found.cases):
        out.print(SPREAD, markup=False)
    for code, mark in marks.items():
        caveat = caveats.TABLE[code]
        count = sum(any(flag.code == code for flag in result.flags) for result in found.cases)
        out.print(
            f"{mark} {caveat.title} ({count} of {len(found.cases)} cases). {caveat.text} {caveat.hint}", markup=False
        )
    for result in found.cases:
        if result.status not in (Status.OK, None):
            why = words.one_line(reason(result.status, result.detail))
            out.print(f"{result.status}: {_name(result, names)}: {why}", markup=False)
    ends = [(found.count(end), "not measured" if end is None else end.value) for end in (*Status, None)]
    counts = ", ".join(f"{count} {end}" for count, end in ends if count)
    named = f"run {words.one_line(found.run.name)} ({words.one_line(found.run.id)}), {found.run.state}"
    out.print(f"{named}: {len(found.cases)} cases, {counts}", markup=False)


def _width(out: Console, table: Table) -> int:
    """Returns how many columns a table takes where nothing is cut off."""
    return out.measure(table, options=out.options.update(max_width=10 * WIDTH)).maximum


def _run_table(
    found: RunResults, names: list[str], marks: dict[str, str], figures: tuple[str, ...], spacing: int
) -> Table:
    """Returns one row per case with these axes and figures, and so many spaces more than one between columns."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, spacing), collapse_padding=True)
    table.add_column("layer", no_wrap=True)
    for title in (*(SHORT.get(name, name) for name in names), *figures):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("notes")
    for result in found.cases:
        axes = [words.one_line(show_value(result.case[name]), NAME) if name in result.case else "" for name in names]
        cells = _figures(result)
        row = [_name(result, (), 2 * NAME), *axes, *(cells[name] for name in figures), _note(result, marks)]
        table.add_row(*map(Text, row))
    return table


def _name(result: CaseResult, names: Sequence[str], most: int = WIDTH) -> str:
    """Returns what a case is called, in a line that no name of a layer can break."""
    return words.one_line(case_name(result.case, names), most)


def _names(found: RunResults) -> list[str]:
    """Returns the axes that tell the cases of a layer apart, and those of the work; a layer's own constants do not."""
    by_layer: dict[AxisValue, list[Case]] = {}
    for result in found.cases:
        by_layer.setdefault(result.case["layer"], []).append(result.case)
    within = {name for cases in by_layer.values() for name in varying(cases)}
    return [name for name in found.varying() if name in {*within, *COMMON} - {"layer", "backend"}]


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


def _figures(result: CaseResult) -> dict[str, str]:
    """Returns the cells of one case by their titles: latency with its half width and spreads, and what else it has."""
    latency, throughput, memory, flops = (
        units.UNKNOWN if figure is None else units.format_value(figure.value, figure.unit)
        for figure in map(result.figures.get, ("latency", "throughput", "peak_memory", "flops"))
    )
    timed = result.figures.get("latency")
    return {
        "latency": latency + _half_width(timed),
        "spread": _spreads(timed) or units.UNKNOWN,
        "tokens/s": throughput.replace("token/s", "").strip(),
        "peak mem": memory,
        "FLOPs": flops.replace("FLOP", "").strip(),
    }


def _half_width(figure: Figure | None) -> str:
    """Returns half the interval in percent."""
    width = None if figure is None else figure.interval.half_width
    return "" if width is None else f" ±{width:.0%}"


def _spreads(figure: Figure | None) -> str:
    """Returns the spread within a process and between processes in percent, nothing where neither is known."""
    if figure is None or (figure.within is None and figure.between is None):
        return ""
    within, between = (units.UNKNOWN if s is None else f"{100 * s:.0f}" for s in (figure.within, figure.between))
    return f"{within}/{between}%"


def _marks(found: RunResults) -> dict[str, str]:
    """Returns a letter for each caveat that occurs, in the order of their list."""
    seen = {flag.code for result in found.cases for flag in result.flags}
    return {code: chr(ord("a") + i) for i, code in enumerate(code for code in caveats.TABLE if code in seen)}


def _note(result: CaseResult, marks: dict[str, str]) -> str:
    """Returns the status if it is not ok, and the letters of the caveats."""
    letters = "".join(sorted(marks[flag.code] for flag in result.flags if flag.code in marks))
    if result.status is Status.OK:
        return letters
    return f"{'not measured' if result.status is None else result.status.value} {letters}".strip()
