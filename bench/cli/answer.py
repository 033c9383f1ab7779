"""Answers for programs: JSON on stdout, unknown figures as null."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bench.compare import Comparisons
    from bench.results import CaseResult, RunResults
    from bench.stats import Interval


def write(content: object) -> None:
    """Writes JSON to stdout."""
    click.echo(json.dumps(content, indent=2, allow_nan=False, default=str))


def of_run(found: RunResults) -> dict[str, Any]:
    """Returns a run and its results as plain data."""
    run = found.run
    return {
        "run": {"id": run.id, "name": run.name, "grid": run.grid, "state": run.state, "started": run.started},
        "cases": [_case(result) for result in found.cases],
    }


def of_comparison(found: Comparisons) -> dict[str, Any]:
    """Returns a comparison as plain data."""
    return {
        "base": found.base.run.name,
        "candidate": found.candidate.run.name,
        "threshold": found.threshold,
        "worse": found.worse,
        "incomplete": found.incomplete,
        "cases": [
            {
                "case": row.case_id,
                "name": row.name,
                "verdict": row.verdict.value,
                "base": None if row.base is None else row.base.value,
                "candidate": None if row.candidate is None else row.candidate.value,
                "ratio": _interval(row.ratio),
                "raw_ratio": _interval(row.raw),
                "reason": row.reason,
            }
            for row in found.rows
        ],
    }


def _case(result: CaseResult) -> dict[str, Any]:
    """Returns one case as plain data."""
    return {
        "case": result.case.id,
        "axes": dict(result.case),
        "status": None if result.status is None else result.status.value,
        "detail": result.detail,
        "caveats": [{"code": flag.code, "detail": flag.detail} for flag in result.flags],
        "figures": {
            figure.metric: {
                "value": figure.value,
                "low": figure.interval.low,
                "high": figure.interval.high,
                "unit": figure.unit,
                "processes": figure.interval.replicates,
                "samples": figure.samples,
                "within": figure.within,
                "between": figure.between,
            }
            for figure in result.figures.values()
        },
    }


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    """Returns a ratio with its interval as plain data."""
    if interval is None:
        return None
    return {
        "estimate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "processes": interval.replicates,
    }
