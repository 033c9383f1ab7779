"""Two runs side by side: ratio, interval and verdict per case.

The figure compared is latency over the interleaved reference kernel, one per process; the process is the unit of
replication. A verdict is a positive claim: `slower` means that the whole 95 % interval lies beyond the threshold,
`same` that it lies within, and `unclear` that neither can be said yet. The plain ratio of times must lie on the same
side: where only the reference kernel moved, the layer did not. Processes during which something else used the
machine are left out where three others remain on each side; where they do not, nothing is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from bench import caveats
from bench.axes import AxisValue, case_name, label, parse_axis, show_value
from bench.environment import differences
from bench.errors import InputError, NotComparableError
from bench.records import FAILED, Status, reason
from bench.stats import Interval, paired_ratio_interval, ratio_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.results import CaseResult, Figure, RunResults

THRESHOLD = 0.05
"""Smallest change worth a verdict."""


class Verdict(StrEnum):
    """What can be said of one case."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "same"
    UNCLEAR = "unclear"
    FAILED = "failed"
    MISSING = "missing"
    NEW = "new"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Pair:
    """The axis whose value differs on purpose between the two sides, and its value on each."""

    axis: str
    base: AxisValue
    candidate: AxisValue


@dataclass(frozen=True)
class Side:
    """What a verdict is made of: per process the latency and, if known, that over the reference kernel."""

    latency: Mapping[int, float]
    relative: Mapping[int, float] | None
    disturbed: frozenset[int]

    @property
    def undisturbed(self) -> set[int]:
        """The timed repeats that nothing disturbed."""
        return set(self.latency) - self.disturbed


@dataclass(frozen=True)
class Judgement:
    """A verdict and why; `ratio` is candidate / base, `raw` the same without the reference kernel."""

    verdict: Verdict
    reason: str
    ratio: Interval
    raw: Interval


@dataclass(frozen=True)
class Comparison:
    """One case on both sides; `ratio` is candidate / base, `raw` the same without the reference kernel."""

    name: str
    case_id: str
    verdict: Verdict
    base: Figure | None = None
    candidate: Figure | None = None
    ratio: Interval | None = None
    raw: Interval | None = None
    reason: str = ""


@dataclass(frozen=True)
class Comparisons:
    """All cases of two runs, worst first."""

    base: RunResults
    candidate: RunResults
    threshold: float
    rows: tuple[Comparison, ...]

    def count(self, verdict: Verdict) -> int:
        """Returns how many cases have a verdict."""
        return sum(row.verdict is verdict for row in self.rows)

    @property
    def worse(self) -> bool:
        """Whether any case is slower."""
        return self.count(Verdict.SLOWER) > 0

    @property
    def incomplete(self) -> bool:
        """Whether a case of the base is missing or failed."""
        return self.count(Verdict.MISSING) + self.count(Verdict.FAILED) > 0


def parse_pair(words: str) -> Pair:
    """Returns the pair that `--pair axis=base,candidate` asks for.

    Raises:
        InputError: not of that form, an unknown axis, a value that it does not take, or twice the same value.
    """
    name, _, values = words.partition("=")
    base, comma, candidate = values.partition(",")
    if not comma or not base or not candidate:
        raise InputError(f"--pair {words}: write axis=base,candidate as in backend=einsum,fused")
    pair = Pair(name, parse_axis(name, base), parse_axis(name, candidate))
    if pair.base == pair.candidate:
        raise InputError(f"--pair {words}: both sides are {show_value(pair.base)}")
    return pair


def compare(
    base: RunResults, candidate: RunResults, *, threshold: float = THRESHOLD, pair: Pair | None = None
) -> Comparisons:
    """Returns ratio, interval and verdict of every case, worst first.

    Raises:
        NotComparableError: the runs were made on machines or with libraries that differ.
        InputError: a pair that leaves nothing to compare, or that matches several cases.
    """
    differ = differences(base.run.environment.comparable, candidate.run.environment.comparable)
    if differ:
        facts = "; ".join(f"{fact} is {a} against {b}" for fact, a, b in differ)
        raise NotComparableError(
            f"{base.run.name} and {candidate.run.name} cannot be compared: {facts}; measure both on one machine"
        )
    matched = _match(base.cases, candidate.cases, pair)
    same_run = base.run.id == candidate.run.id
    varying = list(dict.fromkeys([*base.varying(), *candidate.varying()]))
    shown = [name for name in varying if pair is None or name != pair.axis]
    rows = [_row(case_name((b or c).case, shown), b, c, threshold, paired=same_run) for b, c in matched if b or c]  # type: ignore[union-attr]
    return Comparisons(base, candidate, threshold, tuple(sorted(rows, key=_badness)))


def side(result: CaseResult) -> Side:
    """Returns what a verdict on a case that has a latency is made of."""
    latency, relative = result.figures["latency"], result.figures.get("relative_latency")
    whole = relative is not None and relative.by_repeat.keys() >= latency.by_repeat.keys()
    return Side(latency.by_repeat, relative.by_repeat if relative and whole else None, frozenset(result.disturbed))


def judge(base: Side, candidate: Side, threshold: float, *, paired: bool = False) -> Judgement:
    """Returns the verdict on two sides of one case; rounds of one run are `paired`."""
    good = base.undisturbed, candidate.undisturbed
    enough = all(len(repeats) >= caveats.FEW_REPEATS for repeats in good)
    if not enough:
        good = set(base.latency), set(candidate.latency)
    raw = _ratio(base.latency, candidate.latency, good, paired=paired)
    ratio = raw
    if base.relative is not None and candidate.relative is not None:
        ratio = _ratio(base.relative, candidate.relative, good, paired=paired)
    if enough or not (base.disturbed or candidate.disturbed):
        return Judgement(*_confirmed(verdict(ratio, threshold), raw), ratio, raw)
    busy = f"machine was busy in {len(base.disturbed)} and {len(candidate.disturbed)} processes"
    return Judgement(Verdict.UNCLEAR, busy, ratio, raw)


def verdict(ratio: Interval, threshold: float) -> Verdict:
    """Returns what the interval of a ratio of times allows to say."""
    if ratio.low is None or ratio.high is None:
        return Verdict.UNCLEAR
    if ratio.low > 1 + threshold:
        return Verdict.SLOWER
    if ratio.high < 1 / (1 + threshold):
        return Verdict.FASTER
    if ratio.low >= 1 / (1 + threshold) and ratio.high <= 1 + threshold:
        return Verdict.SAME
    return Verdict.UNCLEAR


def _match(
    base: Sequence[CaseResult], candidate: Sequence[CaseResult], pair: Pair | None
) -> list[tuple[CaseResult | None, CaseResult | None]]:
    """Returns the two sides of each case; one side is None where the other run does not have it."""
    if pair is None:
        ours = {result.case.id: result for result in candidate}
        theirs = {result.case.id for result in base}
        return [
            *((result, ours.get(result.case.id)) for result in base),
            *((None, result) for result in candidate if result.case.id not in theirs),
        ]
    left = [r for r in base if r.case.get(pair.axis) == pair.base]
    right = [r for r in candidate if r.case.get(pair.axis) == pair.candidate]
    for value, found in ((pair.base, left), (pair.candidate, right)):
        if not found:
            raise InputError(f"--pair {pair.axis}: no case has {pair.axis} = {show_value(value)}")
    return [(result, _twin(result, right, pair)) for result in left]


def _twin(result: CaseResult, others: Sequence[CaseResult], pair: Pair) -> CaseResult | None:
    """Returns the case that agrees in every axis that both have, but the paired one."""
    twins = [other for other in others if _agree(result.case, other.case, pair.axis)]
    if len(twins) > 1:
        name = label(result.case, list(result.case))
        raise InputError(f"--pair {pair.axis}: {name} has {len(twins)} partners; narrow the runs down with --set")
    return twins[0] if twins else None


def _agree(a: Mapping[str, AxisValue], b: Mapping[str, AxisValue], but: str) -> bool:
    """Returns whether two cases agree in every axis that both have, but one; backends belong to their layer."""
    ignored = {but, "backend"} if but == "layer" else {but}
    return all(a[name] == b[name] for name in a if name in b and name not in ignored)


def _row(
    name: str, base: CaseResult | None, candidate: CaseResult | None, threshold: float, *, paired: bool
) -> Comparison:
    """Returns the comparison of one case."""
    case_id = (base or candidate).case.id  # type: ignore[union-attr]
    if base is None:
        return Comparison(name, case_id, Verdict.NEW)
    if candidate is None or candidate.status is None:
        return Comparison(name, case_id, Verdict.MISSING, reason="the candidate run has no result of it")
    if candidate.status in FAILED and base.status is Status.OK:
        why = reason(candidate.status, candidate.detail)
        return Comparison(name, case_id, Verdict.FAILED, reason=f"{candidate.status}: {why}")
    sides = base.figures.get("latency"), candidate.figures.get("latency")
    if sides[0] is None or sides[1] is None:
        reasons = {str(s.status) for s in (base, candidate) if s.figures.get("latency") is None}
        return Comparison(name, case_id, Verdict.NOT_MEASURED, *sides, reason=" / ".join(sorted(reasons)))
    found = judge(side(base), side(candidate), threshold, paired=paired)
    return Comparison(name, case_id, found.verdict, *sides, found.ratio, found.raw, found.reason)


def _confirmed(found: Verdict, raw: Interval) -> tuple[Verdict, str]:
    """Returns the verdict if the plain ratio of times lies on the same side, else unclear and why."""
    if found in (Verdict.SLOWER, Verdict.FASTER) and verdict(raw, 0.0) is not found:
        return Verdict.UNCLEAR, "the time itself says otherwise: the reference kernel moved"
    return found, ""


def _ratio(
    base: Mapping[int, float], candidate: Mapping[int, float], repeats: tuple[set[int], set[int]], *, paired: bool
) -> Interval:
    """Returns candidate / base over the processes of these repeats; rounds of one run are pairs."""
    rounds = sorted(repeats[0] & repeats[1])
    if paired and len(rounds) > 1:
        return paired_ratio_interval([base[r] for r in rounds], [candidate[r] for r in rounds])
    return ratio_interval([base[r] for r in repeats[0]], [candidate[r] for r in repeats[1]])


def _badness(row: Comparison) -> tuple[int, float]:
    """Returns the place of a row in a table, worst first."""
    order = [
        Verdict.SLOWER,
        Verdict.FAILED,
        Verdict.MISSING,
        Verdict.NOT_MEASURED,
        Verdict.UNCLEAR,
        Verdict.FASTER,
        Verdict.SAME,
        Verdict.NEW,
    ]
    return order.index(row.verdict), -(row.ratio.estimate if row.ratio else 0.0)
