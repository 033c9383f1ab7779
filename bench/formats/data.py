"""A comparison for programs: JSON with the version of its form, unknown figures as null."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from bench import gates
from bench.errors import Exit
from bench.verdicts import Verdict

if TYPE_CHECKING:
    from bench.formats.context import Context
    from bench.results import Figure
    from bench.stats import Interval
    from bench.verdicts import Change, Comparison, Comparisons, LayerSummary

SCHEMA = 1
"""Version of the form: it grows when a key changes its meaning or goes, not when one is added."""


def render(found: Comparisons, context: Context) -> str:
    """Returns the comparison as JSON, a line for each case; it is never silent, because a program waits for it."""
    content = of_comparison(found, context)
    cases = ",\n".join(f"    {_dumps(case)}" for case in content.pop("cases"))
    head = _dumps(content, indent=2).removesuffix("\n}")
    return f'{head},\n  "cases": [\n{cases}\n  ]\n}}\n' if cases else f'{head},\n  "cases": []\n}}\n'


def _dumps(content: dict[str, Any], indent: int | None = None) -> str:
    """Returns plain data as JSON; numbers that JSON does not have are unknown."""
    try:
        return json.dumps(content, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(content), indent=indent, allow_nan=False)


def of_comparison(found: Comparisons, context: Context) -> dict[str, Any]:
    """Returns a comparison as plain data; `fired` are all words of `--fail-on` that concern a case, by word."""
    fired = gates.fired(found)
    codes = {gates.FAIL_ON[word].exit for word in fired}
    return {
        "schema": SCHEMA,
        "base": found.base,
        "candidate": found.candidate,
        "threshold": found.threshold,
        "worse": Exit.WORSE in codes,
        "incomplete": bool(fired.keys() & {"missing", "failed"}),
        "undecided": Exit.UNDECIDED in codes,
        "exit_code": int(gates.exit_code(found, context.fail_on)),
        "fail_on": [word for word in gates.FAIL_ON if word in context.fail_on],
        "fired": {word: [row.case_id for row in rows] for word, rows in fired.items()},
        "gate": sorted(found.gate),
        "total": len(found.rows),
        "compared": found.compared,
        "counts": {verdict.value: found.count(verdict) for verdict in Verdict},
        "replicate": found.replicate,
        "method": found.method,
        "remarks": list(found.remarks),
        "report": context.report,
        "layers": [_layer(summary) for summary in found.layers],
        "cases": [_case(row) for row in found.rows],
    }


def _case(row: Comparison) -> dict[str, Any]:
    """Returns one case."""
    return {
        "case": row.case_id,
        "name": row.name,
        "layer": row.layer,
        "verdict": row.verdict.value,
        "base": None if row.base is None else row.base.value,
        "candidate": None if row.candidate is None else row.candidate.value,
        "ratio": _interval(row.ratio),
        "raw_ratio": _interval(row.raw),
        "reason": row.reason,
        "changes": [_change(change) for change in row.changes],
        "threshold": row.threshold,
        "replicates": row.replicates,
        "detectable": row.detectable,
        "needed": row.needed,
        "seconds": row.seconds,
        "p": row.p,
        "base_figure": _figure(row.base),
        "candidate_figure": _figure(row.candidate),
    }


def _change(change: Change) -> dict[str, Any]:
    """Returns one exact figure that differs."""
    return {
        "metric": change.metric,
        "unit": change.unit,
        "base": change.base,
        "candidate": change.candidate,
        "ratio": change.ratio,
        "worse": change.worse,
    }


def _layer(summary: LayerSummary) -> dict[str, Any]:
    """Returns one layer."""
    return {
        "layer": summary.layer,
        "cases": summary.cases,
        "mean_ratio": summary.mean_ratio,
        "worst": {"case": summary.worst.case_id, "name": summary.worst.name, "ratio": _interval(summary.worst.ratio)},
    }


def _figure(figure: Figure | None) -> dict[str, Any] | None:
    """Returns one side's figure with its interval and spreads."""
    if figure is None:
        return None
    return {
        "metric": figure.metric,
        "unit": figure.unit,
        "value": figure.value,
        "low": figure.interval.low,
        "high": figure.interval.high,
        "processes": figure.interval.replicates,
        "samples": figure.samples,
        "within": figure.within,
        "between": figure.between,
    }


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    """Returns a ratio with its interval; `processes` is the older name of `replicates`."""
    if interval is None:
        return None
    return {
        "estimate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "processes": interval.replicates,
        "replicates": interval.replicates,
    }


def _finite(value: Any) -> Any:  # noqa: ANN401  (any plain data)
    """Returns plain data in which numbers that JSON does not have are unknown."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
