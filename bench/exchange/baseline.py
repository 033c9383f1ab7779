"""A baseline as one small file that lives in git: what a comparison needs, laid out so that a change can be read.

Per case one block: the axes that not all cases share, figures without noise, and per process (1, 2, ... unless `repeat`
says otherwise) its median latency, the median of its latency over the reference kernel, the number of samples, and how
far the latter may be off (half its interval, relative). Single samples, logs and readings of the machine stay in the
store.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Any

from bench import caveats, results
from bench.exchange.record import rounded
from bench.medians import HALF_WIDTH, TAKEN
from bench.records import INSPECTION, Status, reason
from bench.stats import precision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.axes import AxisValue
    from bench.exchange.reading import Fields
    from bench.records import Case, Outcome
    from bench.results import CaseResult, RunResults

FORMAT = "softmoe-bench baseline"
FORMS = {1: "November 2026: shared axes, cases by id, medians per process"}
"""Every version of the file, with what it brought."""

FORM = max(FORMS)
EXACT = ("parameters", "flops_torch", "flops_fvcore")
"""Observed figures without noise, beside all that end in `_memory`; FLOPs by the formula follow from the axes."""

UNITS = {"parameters": "count", "flops_torch": "FLOP", "flops_fvcore": "FLOP"}
SPREAD = ("run", "settings", "machine")
"""Parts whose fields stand each in a line of its own."""

LONGEST = 300
"""Characters that are kept of why a case failed."""

ROUGH = 2
"""Significant digits of what only says how far to trust another figure."""


def is_one(fields: Fields) -> bool:
    """Returns whether a file says that it is a baseline."""
    return fields.content.get("format") == FORMAT


def write(found: RunResults, name: str) -> str:
    """Returns a run as the file of the baseline of that name."""
    run, cases = found.run, sorted(found.cases, key=lambda result: result.case.id)
    shared = _shared([result.case for result in cases])
    head: dict[str, Any] = {
        "format": FORMAT,
        "form": FORM,
        "name": name,
        "run": {
            "id": run.id,
            "name": run.name,
            "started": _date(run.started),
            "finished": None if run.finished is None else _date(run.finished),
        },
        "grid": run.grid,
        "description": run.description,
        "command": run.command,
        "settings": dict(run.settings),
        "machine": dict(run.environment.comparable),
        "facts": _facts(run.environment.informational),
        "shared_axes": shared,
    }
    lines = [f" {json.dumps(key)}: {_spread(value) if key in SPREAD else _line(value)}," for key, value in head.items()]
    body = ",\n".join(_block(result.case.id, _case(result, shared)) for result in cases)
    return "\n".join(["{", *lines, ' "cases": {', body, " }", "}"]) + "\n"


def _shared(cases: Sequence[Case]) -> dict[str, AxisValue]:
    """Returns the axes that all cases have with one value."""
    first = cases[0] if cases else {}
    return {
        name: value
        for name, value in first.items()
        if all(name in case and (case[name], type(case[name])) == (value, type(value)) for case in cases)
    }


def _facts(informational: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the few facts that tell a reader when and with what it was measured; the machine's name is not his."""
    packages = informational.get("packages") or {}
    git = informational.get("git") or {}
    found = {
        "date": informational.get("date"),
        "git": {name: git[name] for name in ("commit", "branch", "dirty") if name in git},
        "packages": {name: version for name, version in packages.items() if version is not None},
        "gpus": [{"mig_enabled": True} for gpu in informational.get("gpus") or [] if gpu.get("mig_enabled") is True],
    }
    return {name: value for name, value in found.items() if value}


def _case(result: CaseResult, shared: Mapping[str, AxisValue]) -> dict[str, Any]:
    """Returns the block of one case; what it does not have is left out."""
    good = [outcome for outcome in result.outcomes if outcome.status is Status.OK]
    timed = [outcome for outcome in good if outcome.samples("latency")]
    exact = {
        observation.metric: rounded(median(observation.samples))
        for outcome in reversed(good)
        for observation in outcome.observations
        if observation.metric in EXACT or observation.metric.endswith("_memory")
    }
    relative = [_relative(result, outcome) for outcome in timed]
    seconds = [outcome.finished - outcome.started for outcome in timed]
    block: dict[str, Any] = {"axes": {name: value for name, value in result.case.items() if name not in shared}}
    if any(outcome.repeat == INSPECTION for outcome in good):
        block["exact"] = dict(sorted(exact.items()))
    if timed:
        block |= {
            "repeat": [outcome.repeat for outcome in timed],
            "latency": [rounded(median(outcome.samples("latency"))) for outcome in timed],
            "relative_latency": [None if not ratios else rounded(median(ratios)) for ratios in relative],
            "samples": [outcome.facts.get(TAKEN, len(outcome.samples("latency"))) for outcome in timed],
            "half_width": [_half_width(outcome, ratios) for outcome, ratios in zip(timed, relative, strict=True)],
            "seconds": round(median(seconds), 3),
        }
        if block["repeat"] == counted(len(timed)):
            del block["repeat"]
    if disturbed := _disturbed(good):
        block["disturbed"] = disturbed
    bad = [outcome for outcome in result.outcomes if outcome.status is not Status.OK]
    if bad:
        block["ended"] = [[o.repeat, o.status.value, reason(o.status, o.detail)[:LONGEST].strip()] for o in bad]
    return block


def counted(count: int) -> list[int]:
    """Returns the processes of a case where none is missing: 1, 2, ..."""
    return list(range(1, count + 1))


def _relative(result: CaseResult, outcome: Outcome) -> tuple[float, ...]:
    """Returns the latencies of a process over the reference, as the metric of that name derives them."""
    derived = results.samples(result.case, outcome, {})
    return next((values for metric, _, values in derived if metric == "relative_latency"), ())


def _half_width(outcome: Outcome, ratios: Sequence[float]) -> float | None:
    """Returns how far the median that is compared may be off: as it was said when there were all samples, or by these.

    What is compared is the latency over the reference, or where there is none the latency.
    """
    known = outcome.facts.get(HALF_WIDTH)
    found = known if HALF_WIDTH in outcome.facts else precision(ratios or outcome.samples("latency"))
    return None if found is None else rounded(found, ROUGH)


def _disturbed(good: Sequence[Outcome]) -> dict[str, list[int]]:
    """Returns the processes beside which something else used the machine, by the caveat's code."""
    return {
        code: repeats
        for code in caveats.DISTURBED
        if (repeats := [o.repeat for o in good if any(flag.code == code for flag in o.flags)])
    }


def _date(seconds: float) -> str:
    """Returns a date to the second."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def _block(name: str, fields: Mapping[str, object]) -> str:
    """Returns an object of the file with each of its fields in one line."""
    lines = ",\n".join(f"   {json.dumps(key)}: {_line(value)}" for key, value in fields.items())
    return f"  {json.dumps(name)}: {{\n{lines}\n  }}"


def _spread(value: Mapping[str, object]) -> str:
    """Returns an object with one field a line."""
    return "{\n" + ",\n".join(f"  {json.dumps(name)}: {_line(one)}" for name, one in value.items()) + "\n }"


def _line(value: object) -> str:
    """Returns a value in one line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
