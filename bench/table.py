"""Runs as tidy pandas frames: one row per sample, or per figure; every export and chart starts here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from bench import metrics, results
from bench.axes import AXES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.results import RunResults

LEAD = ["run", "case", "repeat", "sample", "metric", "value", "unit", "status", "marks"]
"""Columns of the tidy frame, before one per axis; `marks` says what disturbed a sample, empty where nothing did."""

WHOLE = ("repeat", "sample", "processes", "samples")
"""Leading columns that count something."""

SUMMARY_LEAD = [
    "run",
    "case",
    "metric",
    "value",
    "low",
    "high",
    "unit",
    "processes",
    "samples",
    "within",
    "between",
    "status",
    "caveats",
]
"""Columns of the summary, before one per axis.

low and high bound the 95 % interval over processes; within and between are the relative standard deviations of the
samples of one process and of the medians of processes.
"""


def tidy(runs: Iterable[RunResults]) -> pd.DataFrame:
    """Returns one row per sample; a process that failed has one row without metric and value."""
    rows: list[dict[str, Any]] = []
    for found in runs:
        for result in found.cases:
            axes = dict(result.case)
            for outcome in result.outcomes:
                lead = {
                    "run": found.run.name,
                    "case": result.case.id,
                    "repeat": outcome.repeat,
                    "status": outcome.status.value,
                }
                marks = results.marks(outcome)
                measured = [
                    lead
                    | {"sample": i, "metric": metric, "value": value, "unit": unit}
                    | {"marks": " ".join(marks.get(i, ())) if _of_latency(metric) else ""}
                    | axes
                    for metric, unit, values in results.samples(result.case, outcome, result.ceilings)
                    for i, value in enumerate(values)
                ]
                rows += measured or [lead | {"marks": ""} | axes]
    return _frame(rows, LEAD)


def summary(runs: Iterable[RunResults]) -> pd.DataFrame:
    """Returns one row per case and metric with its interval; a case that failed has one row without metric."""
    rows: list[dict[str, Any]] = []
    for found in runs:
        for result in found.cases:
            lead: dict[str, Any] = {
                "run": found.run.name,
                "case": result.case.id,
                "status": "not measured" if result.status is None else result.status.value,
                "caveats": " ".join(flag.code for flag in result.flags),
            }
            axes = dict(result.case)
            measured = [
                lead
                | {
                    "metric": figure.metric,
                    "value": figure.value,
                    "low": figure.interval.low,
                    "high": figure.interval.high,
                    "unit": figure.unit,
                    "processes": figure.interval.replicates,
                    "samples": figure.samples,
                    "within": figure.within,
                    "between": figure.between,
                }
                | axes
                for figure in result.figures.values()
            ]
            rows += measured or [lead | axes]
    return _frame(rows, SUMMARY_LEAD)


def _of_latency(metric: str) -> bool:
    """Whether sample i of a metric belongs to latency sample i, whose marks it shares."""
    known = metrics.TABLE.get(metric)
    return metric in ("latency", "wall_latency", "reference_latency") or (
        known is not None and "latency" in known.needs
    )


def _frame(rows: list[dict[str, Any]], lead: list[str]) -> pd.DataFrame:
    """Returns rows as a frame with the leading columns first and whole numbers kept whole where some are missing."""
    names = {name for row in rows for name in row} - set(lead)
    frame = pd.DataFrame(rows, columns=[*lead, *results.order_axes(sorted(names))])
    whole = [name for name in frame.columns if name in WHOLE or (name in AXES and AXES[name].kind is int)]
    return frame.astype(dict.fromkeys(whole, "Int64"))
