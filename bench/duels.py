"""What a stored duel says: per case the ratio over pairs of processes, its interval and a verdict."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

from bench import exact, looks
from bench.axes import case_name
from bench.records import FAILED, INSPECTION, Case, Outcome, Status, reason
from bench.results import Figure, varying
from bench.stats import geometric_interval, median_error
from bench.verdicts import Comparison, Comparisons, Verdict, severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.results import CaseResult, RunResults

DIFFERENT = 1e-3
"""Share of the largest number by which outputs of the same case may differ before it is said; 2^-8 in 16 bits."""
DIFFERENT_16 = 2**-7


def is_duel(found: RunResults) -> bool:
    """Returns whether a run is a duel."""
    return "duel" in found.run.settings


def log_ratio(outcome: Outcome) -> float | None:
    """Returns the figure of one pair: the median over rounds of log(candidate / base), None if it was not measured."""
    logs = log_ratios(outcome.samples("base_latency"), outcome.samples("latency"))
    return median(logs) if logs else None


def log_error(outcome: Outcome) -> float:
    """Returns the standard error of that figure by the rounds of the pair itself, 0 where it is not known."""
    return median_error(log_ratios(outcome.samples("base_latency"), outcome.samples("latency"))) or 0.0


def log_ratios(base: Sequence[float], candidate: Sequence[float]) -> list[float]:
    """Returns log(candidate / base) of each round."""
    return [math.log(b / a) for a, b in zip(base, candidate, strict=False)]


def of_results(found: RunResults) -> Comparisons:
    """Returns what a duel has found, worst first.

    Raises:
        ValueError: the run is no duel.
    """
    if not is_duel(found):
        raise ValueError(f"run {found.run.name} is no duel")
    told = found.run.settings["duel"]
    alone = [
        (verdict, Case(axes)) for verdict in (Verdict.MISSING, Verdict.NEW) for axes in told.get(verdict.value, ())
    ]
    shown = [name for name in varying([*(r.case for r in found.cases), *(c for _, c in alone)]) if name != told["axis"]]
    cases = sum(result.status is not Status.SKIPPED for result in found.cases)
    rows = [_row(result, case_name(result.case, shown), told, cases) for result in found.cases]
    rows += [
        Comparison(case_name(case, shown), case.id, str(case["layer"]), verdict, threshold=told["threshold"])
        for verdict, case in alone
    ]
    return Comparisons(
        told["base"],
        told["candidate"],
        told["threshold"],
        tuple(sorted(rows, key=severity)),
        replicate="pair",
        method=_method(told),
        remarks=_remarks(found),
        gate=frozenset(row.case_id for row in rows if row.verdict is Verdict.SLOWER),
    )


def _row(result: CaseResult, name: str, told: Mapping[str, Any], cases: int) -> Comparison:
    """Returns the comparison of one case."""
    about = Comparison(
        name, result.case.id, str(result.case["layer"]), Verdict.NOT_COMPARABLE, threshold=told["threshold"]
    )
    inspected = next((o for o in result.outcomes if o.repeat == INSPECTION), None)
    lost = next((o for o in result.outcomes if "base_status" in o.facts), None)
    failed = result.status in FAILED or result.status is Status.UNSUPPORTED
    if result.status in (None, Status.SKIPPED) or (failed and lost is not None):
        both = f"base: {lost.facts['base_status']}, " if lost else ""
        return replace(about, reason=f"{both}candidate: {_why(result)}" if failed else _why(result))
    if failed:
        return replace(about, verdict=Verdict.FAILED, reason=_why(result))
    if lost is not None:
        return _without_base(about, lost)
    pairs = [o for o in result.outcomes if o.repeat != INSPECTION and log_ratio(o) is not None]
    if not pairs:
        return replace(about, verdict=Verdict.UNCLEAR, reason="stopped before its first pair")
    logs = [log_ratio(o) or 0.0 for o in pairs]
    errors = [log_error(o) for o in pairs]
    decided = looks.decide(logs, told["threshold"], cases=cases, looks=told["looks"], errors=errors)
    known = dict(inspected.facts.get("base", {})) if inspected else {}
    ours = {o.metric: o.samples[0] for o in inspected.observations if len(o.samples) == 1} if inspected else {}
    return replace(
        about,
        verdict=decided.verdict,
        reason=_said(pairs, str(result.case["dtype"])),
        base=_figure("base_latency", pairs),
        candidate=_figure("latency", pairs),
        ratio=decided.ratio,
        changes=exact.changes(known, ours, device=str(result.case["device"]), thresholds=told.get("thresholds", {})),
        replicates=len(pairs),
        detectable=decided.detectable,
        needed=decided.needed,
        seconds=median(o.finished - o.started for o in pairs),
        p=decided.p,
    )


def _without_base(about: Comparison, lost: Outcome) -> Comparison:
    """Returns the comparison of a case whose base could never be measured, or was lost in a pair."""
    status = Status(lost.facts["base_status"])
    why = reason(status, lost.facts["base_detail"])
    if lost.repeat == INSPECTION:
        return replace(about, verdict=Verdict.NEW, reason=f"the base has {status}: {why}")
    return replace(about, reason=f"the base has {status} in pair {lost.repeat}: {why}")


def _figure(metric: str, pairs: Sequence[Outcome]) -> Figure:
    """Returns one side's latency over its processes."""
    medians = {o.repeat: median(o.samples(metric)) for o in pairs}
    return Figure(
        "latency", "s", geometric_interval(list(medians.values())), medians, sum(len(o.samples(metric)) for o in pairs)
    )


def _said(pairs: Sequence[Outcome], dtype: str) -> str:
    """Returns whether the two sides compute different things."""
    broken = sorted({name for o in pairs for name in o.facts.get("outputs_not_finite", ())})
    if broken:
        return f"not finite: the output of the {' and of the '.join(broken)}"
    differ = [o.facts.get("outputs_differ_by") for o in pairs]
    most = max((d for d in differ if d is not None), default=0.0)
    return f"outputs differ by {most:.1e}" if most > (DIFFERENT if dtype == "float32" else DIFFERENT_16) else ""


def _why(result: CaseResult) -> str:
    """Returns how a case ended, in one line."""
    if result.status is None:
        return "stopped before it was measured"
    return f"{result.status}: {reason(result.status, result.detail)}"


def _remarks(found: RunResults) -> tuple[str, ...]:
    """Returns what else than the change tells the sides apart."""
    differ = dict.fromkeys(
        f"{fact} is {base} against {candidate}"
        for result in found.cases
        for outcome in result.outcomes
        for fact, base, candidate in outcome.facts.get("sides_differ", ())
    )
    return (f"The sides do not only differ by the change: {'; '.join(differ)}.",) if differ else ()


def _method(told: Mapping[str, Any]) -> str:
    """Returns how ratios were found and what the verdicts mean."""
    after = ", ".join(map(str, told["looks"]))
    return (
        "Both sides alive at once and timed in turn, block by block; the ratio is the geometric mean over pairs of"
        " fresh processes of the median over rounds, with its 95 % interval over pairs. Slower and faster need an"
        f" estimate of {100 * told['threshold']:.3g} % or more and evidence against no change, same that the change"
        f" certainly is smaller; looked at after {after} pairs."
    )
