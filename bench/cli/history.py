"""`softmoe-bench history`: how cases went over the runs of a store, and between which runs their level changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import json_option, report_option, store_option
from bench.cli.report import check_report, write_at_end

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.history import Change, History, Series, Trend
    from bench.records import Run

ID_SHOWN = 6


@click.command()
@click.argument("what", metavar="CASE|GRID")
@click.option("--metric", default="latency", show_default=True, help="What is followed (see `list metrics`).")
@click.option("--last", type=click.IntRange(1), metavar="N", help="Only the newest N runs.")
@click.option("--all-machines", is_flag=True, help="Runs of other machines too, a series for each.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 10),
    default=0.05,
    show_default=True,
    help="Smallest relative step that counts as a change.",
)
@report_option
@store_option
@json_option
def history(
    what: str,
    metric: str,
    last: int | None,
    all_machines: bool,  # noqa: FBT001  (click passes flags by name)
    threshold: float,
    report_to: Path | None,
    store: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Show how cases went over the runs of a store, and where their level changed.

    CASE is the id of a case or the start of it, GRID a grid by its name or file; `all` stands for every case. A history
    is for reading, never a gate: the exit code is 0 whatever it shows.
    """
    from bench import trends  # noqa: PLC0415
    from bench.cli import answer  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    if report_to is not None:
        check_report(report_to)
    opened = open_store(store)
    found = trends.load(opened, what, metric=metric, last=last, all_machines=all_machines, threshold=threshold)
    for remark in found.remarks:
        click.echo(f"note: {remark}", err=True)
    if as_json:
        answer.write(as_plain(found))
    else:
        show(found)
    if report_to is not None:
        from bench import results  # noqa: PLC0415

        write_at_end([results.load(opened, found.runs[-1])], report_to, past=found)


def as_plain(found: History) -> dict[str, Any]:
    """Returns a history as plain data; a ratio is new over old."""
    from bench.history import commit  # noqa: PLC0415

    return {
        "metric": found.metric,
        "threshold": found.threshold,
        "runs": [
            {
                "id": run.id,
                "name": run.name,
                "started": run.started,
                "commit": commit(run, 40) or None,
                "machine": run.environment.fingerprint,
            }
            for run in found.runs
        ],
        "cases": [_plain_trend(trend, found.runs) for trend in found.trends],
    }


def show(found: History) -> None:
    """Prints one row per case, the worst change first, and the changes in words."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from bench import metrics  # noqa: PLC0415
    from bench.cli import bars, terminal  # noqa: PLC0415
    from bench.history import RELATIVE, say  # noqa: PLC0415

    out = terminal.console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    for title, justify in (("case", "left"), ("id", "left"), ("runs", "right"), ("first", "right"), ("last", "right")):
        table.add_column(title, justify="right" if justify == "right" else "left", no_wrap=title != "case")
    table.add_column("change", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    names = _names(found)
    for trend, name in zip(found.trends, names, strict=True):
        table.add_row(name, *_cells(trend.series, blocks=bars.has_blocks(out.encoding)))
    out.print(table)
    for trend, name in zip(found.trends, names, strict=True):
        for change in trend.changes:
            word = _word(trend, change)
            out.print(f"{name}: {say(change, found.runs)}{word}", markup=False, soft_wrap=True)
    for remark, count in _remarks(found).items():
        out.print(f"{remark} ({count} of {len(found.trends)} cases)", markup=False)
    followed = {trend.series.metric for trend in found.trends}
    texts = "; ".join(f"{metrics.TABLE[name].title}: {metrics.TABLE[name].text}" for name in sorted(followed))
    if RELATIVE in followed:
        texts += " A machine that is slower as a whole does not move it."
    out.print(texts, markup=False)
    first, last = found.runs[0].name, found.runs[-1].name
    moved = sum(bool(trend.changes) for trend in found.trends)
    changes = f"{found.changes} {'change' if found.changes == 1 else 'changes'}"
    at_least = f"{100 * found.threshold:g} % or more"
    out.print(
        f"{len(found.runs)} runs, {first} to {last}: {changes} of level of {at_least} in {moved} of"
        f" {len(found.trends)} cases",
        markup=False,
    )


def _names(found: History) -> list[str]:
    """Returns the name of each series: its layer and what varies, its machine where there are several."""
    from bench.axes import case_name  # noqa: PLC0415
    from bench.results import varying  # noqa: PLC0415

    axes = varying(found.cases)
    return [
        case_name(trend.series.case, axes) + (f" @{trend.series.machine[:ID_SHOWN]}" if found.several_machines else "")
        for trend in found.trends
    ]


def _cells(series: Series, *, blocks: bool) -> list[str]:
    """Returns the cells of a series after its name, the last a line of blocks or of plain characters."""
    from bench import units  # noqa: PLC0415
    from bench.cli.bars import sparkline  # noqa: PLC0415
    from bench.history import percent  # noqa: PLC0415

    values = series.values
    ends = (values[0], values[-1]) if values else (None, None)
    change = units.UNKNOWN if series.change is None else percent(series.change)
    shown = [units.format_value(value, series.unit) for value in ends]
    return [series.case.id[:ID_SHOWN], str(len(values)), *shown, change, sparkline(values, blocks=blocks)]


def _word(trend: Trend, change: Change) -> str:
    """Returns whether a change is for the better, nothing where no direction is."""
    from bench import metrics  # noqa: PLC0415

    if metrics.TABLE[trend.series.metric].better is None:
        return ""
    return " (worse)" if trend.badness(change.ratio.estimate) > 0 else " (better)"


def _remarks(found: History) -> dict[str, int]:
    """Returns why nothing can be said of some cases, each reason with how many."""
    counts: dict[str, int] = {}
    for trend in found.trends:
        if trend.remark:
            counts[trend.remark] = counts.get(trend.remark, 0) + 1
    return counts


def _plain_trend(trend: Trend, runs: Sequence[Run]) -> dict[str, Any]:
    """Returns one series as plain data."""
    from bench.history import commit, say  # noqa: PLC0415

    series = trend.series
    return {
        "case": series.case.id,
        "axes": dict(series.case),
        "machine": series.machine,
        "metric": series.metric,
        "unit": series.unit,
        "change": series.change,
        "remark": trend.remark,
        "points": [
            {
                "run": runs[point.run].name,
                "value": point.figure.estimate,
                "low": point.figure.low,
                "high": point.figure.high,
                "processes": point.figure.replicates,
            }
            for point in series.points
        ],
        "missing": [runs[place].name for place in series.missing],
        "changes": [
            {
                "before": runs[change.before].name,
                "after": runs[change.after].name,
                "commit_before": commit(runs[change.before], 40) or None,
                "commit_after": commit(runs[change.after], 40) or None,
                "ratio": change.ratio.estimate,
                "low": change.ratio.low,
                "high": change.ratio.high,
                "p": change.p,
                "text": say(change, runs),
            }
            for change in trend.changes
        ],
    }
