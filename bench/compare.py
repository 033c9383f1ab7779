"""Two stored runs side by side: ratio, interval and verdict per case.

The figure compared is latency over the interleaved reference kernel, one per process; the process is the unit of
replication. A verdict is a positive claim: `slower` means that the whole 95 % interval lies beyond the threshold,
`same` that it lies within, and `unclear` that neither can be said yet. The plain ratio of times must lie on the same
side: where only the reference kernel moved, the layer did not. Processes during which something else used the
machine are left out where three others remain on each side; where they do not, nothing is claimed. Of many cases, what
is called slower or faster must also stand against their number: by the false discovery rate in the table, by Holm's
procedure for the gate. Parameters, FLOPs and counted memory are compared as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from bench import exact
from bench.axes import case_name
from bench.environment import differences
from bench.errors import NotComparableError
from bench.families import benjamini_hochberg, holm
from bench.judging import Side, judge, side
from bench.metrics import roofline
from bench.pairing import match
from bench.records import FAILED, INSPECTION, Status, reason
from bench.verdicts import THRESHOLD, Comparison, Comparisons, Verdict, severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.pairing import Pair
    from bench.results import CaseResult, RunResults

FALSE_DISCOVERIES = 0.05
"""Share of what the table calls slower or faster that may be mistaken."""

GATE = 0.05
"""Probability that the gate closes for any case at all where nothing changed."""

ONE_SIDED = 5
"""Findings from which on it is remarkable that all of them lie on one side."""


@dataclass(frozen=True)
class Rules:
    """What a comparison is told: thresholds per metric, the axis that differs on purpose, whether machines may differ.

    `thresholds` are relative changes: `latency`, and `memory`, `flops`, `parameters` for what is compared exactly.
    """

    thresholds: Mapping[str, float]
    pair: Pair | None = None
    normalise: bool = False

    @property
    def latency(self) -> float:
        """The smallest relative change of latency worth a verdict."""
        return self.thresholds.get("latency", THRESHOLD)


def compare(
    base: RunResults,
    candidate: RunResults,
    *,
    threshold: float | None = None,
    pair: Pair | None = None,
    thresholds: Mapping[str, float] | None = None,
    normalise: bool = False,
) -> Comparisons:
    """Returns ratio, interval and verdict of every case, worst first.

    Thresholds are those given, else those of the candidate's grid. With `normalise` each side is held against the
    measured ceiling of its own machine, which may then differ.

    Raises:
        NotComparableError: the runs were made on machines or with libraries that differ, or cannot be normalised.
        InputError: a pair that leaves nothing to compare, or that matches several cases.
    """
    wanted = {**candidate.run.settings.get("thresholds", {}), **(thresholds or {})}
    if threshold is not None:
        wanted["latency"] = threshold
    rules = Rules(wanted, pair, normalise)
    differ = differences(base.run.environment.comparable, candidate.run.environment.comparable)
    facts = "; ".join(f"{fact} is {a} against {b}" for fact, a, b in differ)
    if differ and not normalise:
        raise NotComparableError(
            f"{base.run.name} and {candidate.run.name} cannot be compared: {facts}; measure both on one machine, or"
            " compare shares of each machine's own ceiling with --normalise (weaker)"
        )
    matched = match([r.case for r in base.cases], [r.case for r in candidate.cases], pair)
    varying = list(dict.fromkeys([*base.varying(), *candidate.varying()]))
    shown = [name for name in varying if pair is None or name != pair.axis]
    paired = base.run.id == candidate.run.id
    left = {result.case.id: result for result in base.cases}
    right = {result.case.id: result for result in candidate.cases}
    rows = [
        _row(
            case_name((b or c), shown),  # type: ignore[arg-type]
            left[b.id] if b else None,
            right[c.id] if c else None,
            rules,
            paired=paired,
        )
        for b, c in matched
    ]
    kept, gate = _family(rows)
    remarks = [*_one_sided(kept)]
    if normalise:
        remarks.append(
            "Each side is held against the ceilings measured on its own machine: weaker evidence than two runs of one"
            " machine, since layers do not scale with a machine's best products and copies."
            + (f" What differs: {facts}." if facts else "")
        )
    return Comparisons(
        base.run.name,
        candidate.run.name,
        rules.latency,
        tuple(sorted(kept, key=severity)),
        method=_method(rules.latency, normalise=normalise),
        remarks=tuple(remarks),
        gate=gate,
    )


def _row(name: str, base: CaseResult | None, candidate: CaseResult | None, rules: Rules, *, paired: bool) -> Comparison:
    """Returns the comparison of one case."""
    of = (base or candidate).case  # type: ignore[union-attr]
    about = Comparison(name, of.id, str(of["layer"]), Verdict.NOT_COMPARABLE, threshold=rules.latency)
    if base is None:
        return replace(about, verdict=Verdict.NEW)
    if candidate is None or candidate.status is None:
        return replace(about, verdict=Verdict.MISSING, reason="the candidate run has no result of it")
    about = replace(about, base=base.figures.get("latency"), candidate=candidate.figures.get("latency"))
    if about.base is None or about.candidate is None:
        return _unmeasured(about, base, candidate)
    return _judged(about, base, candidate, rules, paired=paired)


def _unmeasured(about: Comparison, base: CaseResult, candidate: CaseResult) -> Comparison:
    """Returns the comparison of a case that has no latency on a side."""
    if candidate.status in FAILED and base.status is Status.OK:
        return replace(about, verdict=Verdict.FAILED, reason=f"{candidate.status}: {_why(candidate)}")
    if base.status in FAILED and candidate.status is Status.OK:
        return replace(about, verdict=Verdict.NEW, reason=f"the base has {base.status}: {_why(base)}")
    reasons = [
        f"{word}: {r.status}" for word, r in (("base", base), ("candidate", candidate)) if r.status is not Status.OK
    ]
    return replace(about, reason=", ".join(reasons) or "no process timed it")


def _judged(about: Comparison, base: CaseResult, candidate: CaseResult, rules: Rules, *, paired: bool) -> Comparison:
    """Returns the comparison of a case that was timed on both sides."""
    if candidate.status in FAILED and base.status is Status.OK:
        return replace(about, verdict=Verdict.FAILED, reason=f"{candidate.status}: {_why(candidate)}")
    held = side(base), side(candidate)
    if rules.normalise:
        bounds = [roofline.attainable(r.case, r.ceilings) for r in (base, candidate)]
        if bounds[0] is None or bounds[1] is None:
            lacks = "base" if bounds[0] is None else "candidate"
            return replace(about, reason=f"no ceiling was measured for it on the machine of the {lacks}")
        held = _over(held[0], bounds[0]), _over(held[1], bounds[1])
    found = judge(*held, rules.latency, paired=paired)
    known = [{name: figure.value for name, figure in r.figures.items()} for r in (base, candidate)]
    return replace(
        about,
        verdict=found.verdict,
        ratio=found.ratio,
        raw=found.raw,
        reason=found.reason,
        changes=exact.changes(*known, device=str(candidate.case["device"]), thresholds=rules.thresholds),
        replicates=found.ratio.replicates,
        detectable=found.detectable,
        needed=found.needed,
        seconds=_seconds(candidate),
        p=found.p,
    )


def _why(result: CaseResult) -> str:
    """Returns in one line why a case failed."""
    return reason(result.status, result.detail) if result.status else ""


def _family(rows: Sequence[Comparison]) -> tuple[list[Comparison], frozenset[str]]:
    """Returns the rows with what does not stand against their number taken back, and the cases that close the gate."""
    tested = [row for row in rows if row.p is not None and row.ratio is not None]
    ps = [row.p if row.p is not None else 1.0 for row in tested]
    stand = {tested[place].case_id for place in benjamini_hochberg(ps, FALSE_DISCOVERIES)}
    beyond_doubt = {tested[place].case_id for place in holm(ps, GATE)}
    kept = [
        replace(
            row, verdict=Verdict.UNCLEAR, reason=f"{row.verdict} by itself, but one of {len(tested)} may be by chance"
        )
        if row.verdict in (Verdict.SLOWER, Verdict.FASTER) and row.p is not None and row.case_id not in stand
        else row
        for row in rows
    ]
    return kept, frozenset(row.case_id for row in kept if row.verdict is Verdict.SLOWER and row.case_id in beyond_doubt)


def _one_sided(rows: Sequence[Comparison]) -> list[str]:
    """Returns what has to be said where everything found lies on one side, as no change of code but of machine does."""
    slower, faster = (sum(row.verdict is v for row in rows) for v in (Verdict.SLOWER, Verdict.FASTER))
    found, compared = slower + faster, sum(row.compared for row in rows)
    if found < ONE_SIDED or min(slower, faster) or found <= 0.6 * compared:
        return []
    word = "slower" if slower else "faster"
    return [
        f"All {found} findings are {word}: where the change cannot touch them all, suspect the machine, or use `duel`."
    ]


def _over(of: Side, bound: float) -> Side:
    """Returns a side whose times are multiples of the least that its machine could take."""
    latency = {repeat: seconds / bound for repeat, seconds in of.latency.items()}
    return replace(of, latency=latency, relative=None)


def _seconds(result: CaseResult) -> float | None:
    """Returns how long a process that times the case takes, None where it is not known."""
    taken = [o.finished - o.started for o in result.outcomes if o.repeat != INSPECTION and o.samples("latency")]
    known = [seconds for seconds in taken if seconds > 0]
    return median(known) if known else None


def _method(threshold: float, *, normalise: bool) -> str:
    """Returns how ratios were found and what the verdicts mean."""
    over = "the least time that each machine could take" if normalise else "the reference kernel"
    return (
        f"ratio of latencies over {over}, one figure per process; slower and faster mean that the whole 95 % interval"
        f" lies beyond {100 * threshold:.3g} %, same that it lies within, unclear that neither can be said yet"
    )
