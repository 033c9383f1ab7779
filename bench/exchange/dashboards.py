"""A run for programs that draw a chart per case over commits: github-action-benchmark and Bencher.

Sources: github-action-benchmark, README "customSmallerIsBetter" and `BenchmarkResult` of src/extract.ts: a list of
name, unit, value and, as texts, range and extra. Bencher, "Bencher Metric Format" (bencher.dev/docs/reference): by
benchmark and measure a value, lower_value and upper_value; its built-in measure latency is in nanoseconds. Both tell
cases apart by their names alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bench import units
from bench.errors import InputError
from bench.exchange.record import rounded, stable_name

if TYPE_CHECKING:
    from bench.results import CaseResult, Figure, RunResults

CHARTS = (("latency", "ms", 1e-3), ("peak_memory", "MiB", 2.0**20))
"""Metrics of github-action-benchmark's charts, each with a unit that never changes and its size in base units."""

MEASURES = {"latency": ("latency", 1e-9), "relative_latency": ("relative-latency", 1.0), "peak_memory": ("memory", 1.0)}
"""Metric -> Bencher's measure (nanoseconds, a factor, bytes) and its unit in base units."""


def github_action_benchmark(found: RunResults) -> str:
    """Returns latency and peak memory of each case for its tool `customSmallerIsBetter`.

    Raises:
        InputError: no case was measured; the action takes an empty list for a failure.
    """
    entries = [
        _entry(result, *chart, found) for result in measured(found) for chart in CHARTS if _has(result, chart[0])
    ]
    return json.dumps(entries, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def bencher(found: RunResults) -> str:
    """Returns latency, latency over the reference kernel and peak memory of each case in Bencher's metric format.

    Raises:
        InputError: no case was measured.
    """
    content = {
        stable_name(result.case): {
            measure: _bounded(result.figures[metric], size)
            for metric, (measure, size) in MEASURES.items()
            if _has(result, metric)
        }
        for result in measured(found)
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def measured(found: RunResults) -> list[CaseResult]:
    """Returns the cases that have a latency.

    Raises:
        InputError: none has.
    """
    timed = [result for result in found.cases if _has(result, "latency")]
    if not timed:
        raise InputError(f"run {found.run.name}: no case has a latency, so there is nothing to chart")
    return timed


def _has(result: CaseResult, metric: str) -> bool:
    """Returns whether a metric of a case is known."""
    return metric in result.figures


def _entry(result: CaseResult, metric: str, unit: str, size: float, found: RunResults) -> dict[str, Any]:
    """Returns one figure as github-action-benchmark takes it; its range is half the 95 % interval over processes."""
    figure = result.figures[metric]
    entry: dict[str, Any] = {
        "name": f"{stable_name(result.case)} {metric}",
        "unit": unit,
        "value": rounded(figure.value / size),
    }
    if (width := figure.interval.half_width) is not None:
        entry["range"] = f"± {rounded(width * figure.value / size, 3)}"
    return {**entry, "extra": _extra(result, figure, found)}


def _extra(result: CaseResult, figure: Figure, found: RunResults) -> str:
    """Returns what a chart shows beside a figure: where it comes from, and what to know of it."""
    processes = figure.interval.replicates
    lines = [f"run {found.run.name} ({found.run.id}), {processes} {'process' if processes == 1 else 'processes'}"]
    if figure.interval.half_width is not None:
        lines.append("range: half the 95 % interval over processes")
    relative = result.value("relative_latency")
    if figure.metric == "latency" and relative is not None:
        lines.append(f"{units.format_value(relative, 'factor')} the reference kernel")
    if result.flags:
        lines.append(f"caveats: {', '.join(flag.code for flag in result.flags)}")
    return "\n".join(lines)


def _bounded(figure: Figure, size: float) -> dict[str, float]:
    """Returns a figure with its 95 % interval over processes, where there is one."""
    values = {"value": figure.value, "lower_value": figure.interval.low, "upper_value": figure.interval.high}
    return {name: rounded(value / size) for name, value in values.items() if value is not None}
