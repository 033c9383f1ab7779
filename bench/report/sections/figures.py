"""All figures: one table, one row per case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import caveats, metrics
from bench.axes import show_value
from bench.records import Status
from bench.report import blocks, cells, naming, view
from bench.report.blocks import Column, Table
from bench.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from bench.report.cells import Content
    from bench.report.view import Entry
    from bench.results import RunResults

COLUMNS = (
    ("throughput", "throughput"),
    ("peak_memory", "peak memory"),
    ("flops", "FLOPs"),
    ("flops_per_s", "rate"),
    ("drop_rate", "drop rate"),
    ("max_abs_error", "largest error"),
)
"""Metric and head of each column after latency."""

NOT_LISTED = "Without a row: {} cases that were not measured."


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns the table of every case, or None where a run has none."""
    seen = view.of(runs)
    if not seen.entries:
        return None
    names = view.run_names(runs)
    axes = [name for name in seen.axes if name != "layer"]
    columns = [
        Column("layer", choice=True),
        *([Column("run", choice=True)] if seen.several else []),
        *([Column("backend", choice=True)] if any(naming.backend(entry.case) for entry in seen.entries) else []),
        *(Column(naming.axis(name), number=_numeric(seen.entries, name), choice=True) for name in axes),
        Column("latency", number=True, hint="of one call on the whole batch", unit="s"),
        Column("95 % interval", number=True, hint="of the latency, over processes", unit="s", ends=True),
        Column(
            "spread within",
            number=True,
            hint="standard deviation of the samples of one process",
            unit="ratio",
        ),
        Column("spread between", number=True, hint="standard deviation of the medians of processes", unit="ratio"),
        *(Column(title, number=True, unit=metrics.TABLE[metric].unit) for metric, title in COLUMNS),
        Column("processes", number=True, hint="fresh processes that timed the case"),
        Column("samples", number=True, hint="timed blocks of calls, over all processes"),
        Column("status", choice=True),
        Column("caveats", long=True),
    ]
    backend = any(naming.backend(entry.case) for entry in seen.entries)
    rows = []
    for entry in seen.listed:
        layer, *rest = _row(entry, axes, backend=backend)
        rows.append([layer, *([names[entry.number]] if seen.several else []), *rest])
    left = len(seen.entries) - len(seen.listed)
    ids = [entry.anchor for entry in seen.listed]
    body = blocks.merge(
        [
            blocks.paragraph(
                "Every case in the order of the plan. – is unknown; it never stands for zero. The spreads are relative "
                "standard deviations of the latency: within, of the samples of one process (its interquartile range "
                "over 1.349 times the median; the median over processes); between, of the medians of fresh processes "
                "(on the logarithm). Where between is the larger, more processes help and longer ones do not."
            ),
            blocks.table(Table(columns, rows, f"All figures, {naming.count(len(rows), 'case')}", ids)),
            *([blocks.paragraph(NOT_LISTED.format(left), "soft")] if left else []),
            _fixed(seen.entries, axes),
        ]
    )
    return Section("figures", "All figures", body)


def _row(entry: Entry, axes: Sequence[str], *, backend: bool) -> list[Content]:
    """Returns the cells of one case."""
    latency = entry.figure("latency")
    return [
        entry.layer,
        *([naming.backend(entry.case)] if backend else []),
        *(naming.line(show_value(entry.case[name])) if name in entry.case else "" for name in axes),
        cells.figure(latency),
        cells.interval(latency.interval if latency else None, "s"),
        cells.quantity(latency.within if latency else None, "ratio"),
        cells.quantity(latency.between if latency else None, "ratio"),
        *(cells.figure(entry.figure(metric)) for metric, _ in COLUMNS),
        str(latency.interval.replicates) if latency else "–",
        str(latency.samples) if latency else "–",
        _status(entry.result.status),
        blocks.merge_words(
            blocks.link(f"caveat-{flag.code}", _title(flag.code), naming.line(flag.detail))
            for flag in entry.result.flags
        ),
    ]


def _status(status: Status | None) -> Markup:
    """Returns how the case ended; anything but ok leads to its reason."""
    words = naming.STATUSES[status]
    if status is Status.OK:
        return blocks.badge(words, "good")
    tone = "soft" if status in {Status.SKIPPED, Status.UNSUPPORTED} else "bad"
    return blocks.link_badge("failures", words, tone)


def _title(code: str) -> str:
    """Returns the title of a caveat."""
    known = caveats.TABLE.get(code)
    return known.title if known else naming.line(code)


def _numeric(entries: Sequence[Entry], name: str) -> bool:
    """Whether the values of an axis are numbers."""
    values = [entry.case[name] for entry in entries if entry.case.get(name) is not None]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _fixed(entries: Sequence[Entry], axes: Sequence[str]) -> Markup:
    """Returns the axes that are the same in every case that has them."""
    fixed: dict[str, list[str]] = {}
    for entry in entries:
        for name, value in entry.case.items():
            if name not in {*axes, "layer", "backend"}:
                fixed.setdefault(name, []).append(naming.line(show_value(value)))
    lines = [f"{naming.axis(name)} = {', '.join(dict.fromkeys(values))}" for name, values in fixed.items()]
    return blocks.paragraph(f"The same throughout, or implied by the columns: {'; '.join(lines)}.", "soft")
