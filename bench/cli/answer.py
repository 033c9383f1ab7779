"""Answers for programs: JSON on stdout, unknown figures as null."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from bench.selfcheck import false_alarms

if TYPE_CHECKING:
    from bench.results import CaseResult, RunResults
    from bench.selfcheck import Look, SelfCheck


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


def of_selfcheck(found: SelfCheck) -> dict[str, Any]:
    """Returns a run against itself as plain data; a change is a share: 0.14 is 14 % more time."""
    rate = false_alarms(found.looks())
    return {
        "run": found.of.run.name,
        "threshold": found.threshold,
        "seconds": found.seconds,
        "false_alarms": {
            "count": sum(look.alarms for look in found.looks()),
            "trials": sum(look.trials for look in found.looks()),
            "rate": None if rate is None else rate.estimate,
            "low": None if rate is None else rate.low,
            "high": None if rate is None else rate.high,
        },
        "cases": [
            {
                "case": case.case_id,
                "name": case.name,
                "processes": case.processes,
                "disturbed": case.disturbed,
                "seconds_per_process": case.seconds,
                "chosen": None if case.chosen is None else case.chosen.processes,
                "statement": case.statement,
                "looks": [_look(look) for look in case.looks],
            }
            for case in found.cases
        ],
    }


def _look(look: Look) -> dict[str, Any]:
    """Returns what comparisons with so many processes a side say as plain data."""
    return {
        "processes": look.processes,
        "seconds": look.seconds,
        "trials": look.trials,
        "false_alarms": look.alarms,
        "same": look.same,
        "unclear": look.unclear,
        "smallest_change": None if look.smallest is None else look.smallest - 1,
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
