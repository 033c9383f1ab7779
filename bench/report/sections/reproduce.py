"""How to do it again, and how to read the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from bench import metrics, units
from bench.records import SCHEMA_VERSION
from bench.report import blocks, naming, view
from bench.report.blocks import Column, Table
from bench.report.facts import date, fact
from bench.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.results import RunResults

SETTINGS = {
    "repeats": "fresh processes that time each case",
    "max_seconds": "sampling time of a process, in seconds, at most",
    "timeout": "a process is ended after so many seconds",
    "half_width": "a process stops sampling when half the median's interval is narrower than this share",
    "min_samples": "samples of a process, at least",
    "seed": "orders the rounds",
}
WORDS = (
    ("case", "One layer with one setting of every axis: one row of the table of all figures."),
    ("sample", "One timed block of calls, divided by their number."),
    (
        "process",
        (
            "Each case is timed in several fresh processes. Samples of one process are alike for reasons that have "
            "nothing to do with the layer, so each process counts once, by its median."
        ),
    ),
    ("latency", "The geometric mean of the medians of the processes."),
    (
        "95 % interval",
        (
            "A range made so that 95 of 100 such ranges hold the true mean: Student's t over the logarithms of the "
            "medians. Few processes, or processes that differ, make it wide."
        ),
    ),
    (
        "cannot be told apart",
        "The 95 % interval of the ratio of two latencies, paired by rounds, includes 1. It does not mean equal.",
    ),
    ("–", "Unknown: not measured, or not defined for this case. It never stands for zero."),
)


def build(runs: Sequence[RunResults]) -> Section:
    """Returns command, grid and settings of each run, and the words that the report uses."""
    parts = [_run(found, name, several=len(runs) > 1) for found, name in zip(runs, view.run_names(runs), strict=True)]
    parts.append(blocks.heading("How to read the figures"))
    terms = Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(word, text) for word, text in WORDS)
    parts.append(Markup("<dl>{}</dl>").format(terms))
    known = {name for found in runs for result in found.cases for name in result.figures}
    rows = [
        [metric.title, metric.unit, metric.better or "–", metric.text]
        for metric in metrics.TABLE.values()
        if metric.name in known
    ]
    if rows:
        table = Table(
            [Column("metric"), Column("base unit"), Column("better"), Column("meaning")], rows, "Every metric"
        )
        parts.append(blocks.details("Every metric", blocks.table(table)))
    return Section("reproduce", "How to reproduce", blocks.merge(parts))


def _run(found: RunResults, name: str, *, several: bool) -> Markup:
    """Returns how one run was made."""
    run = found.run
    took = units.UNKNOWN if run.finished is None else units.format_duration(run.finished - run.started)
    packages = run.environment.informational.get("packages")
    version = packages.get("softmoe-bench") if isinstance(packages, dict) else None
    rows = [
        ["run", naming.plain(run.name)],
        ["id", blocks.inline_code(run.id)],
        ["state", naming.plain(run.state)],
        ["started", date(run.started)],
        ["took", took],
        ["softmoe-bench", fact("version", version)],
        ["form of the store", f"version {SCHEMA_VERSION}"],
        *([f"setting {key}", _setting(key, value)] for key, value in run.settings.items()),
    ]
    parts = [
        blocks.heading(name) if several else Markup(""),
        blocks.code(run.command) if run.command else blocks.paragraph("The command is not on record.", "soft"),
        Markup('<div class="facts">{}</div>').format(
            blocks.table(Table([Column("fact"), Column("value")], rows, f"Facts of run {naming.plain(run.name)}"))
        ),
    ]
    if run.grid.strip():
        parts.append(blocks.details("The grid", blocks.code(run.grid.strip()), opened=not several))
    return blocks.merge(parts)


def _setting(key: str, value: object) -> str:
    """Returns a setting with its meaning."""
    return f"{fact(key, value)} ({SETTINGS[key]})" if key in SETTINGS else fact(key, value)
