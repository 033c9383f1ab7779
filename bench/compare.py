"""Two stored runs side by side: ratio, interval and verdict per case.

The figure compared is latency over the interleaved reference kernel, one per process; the process is the unit of
replication. A verdict is a positive claim about the time, see `bench.judging`. Of many cases, what is called slower or
faster must also stand against their number: by the false discovery rate in the table, by Holm's procedure for the gate.
Parameters, FLOPs and counted memory are compared as they are. A case that the base has and the candidate lost counts,
however it was lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench import exact, losses, sides
from bench.axes import case_name
from bench.environment import differences
from bench.errors import NotComparableError
from bench.families import benjamini_hochberg, holm
from bench.grid import LARGEST_THRESHOLD, THRESHOLDS
from bench.judging import judge_all
from bench.pairing import match
from bench.results import varying
from bench.sides import RunSide
from bench.verdicts import THRESHOLD, Comparison, Comparisons, Verdict, severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.judging import Judgement, Side
    from bench.pairing import Pair
    from bench.records import Run
    from bench.results import RunResults
    from bench.sides import CaseSide

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
    base: RunSide | RunResults,
    candidate: RunSide | RunResults,
    *,
    threshold: float | None = None,
    pair: Pair | None = None,
    thresholds: Mapping[str, float] | None = None,
    normalise: bool = False,
) -> Comparisons:
    """Returns ratio, interval and verdict of every case, worst first.

    Thresholds are those given, else those of the candidate's grid. With `normalise` each side is held against the
    measured ceilings of its own machine, which may then differ.

    Raises:
        NotComparableError: the runs were made on machines or with libraries that differ, or cannot be normalised.
        InputError: a pair that leaves nothing to compare, or that matches several cases.
    """
    wanted = {**_of_grid(candidate.run), **(thresholds or {}), **({} if threshold is None else {"latency": threshold})}
    rules = Rules(wanted, pair, normalise)
    both = (
        base if isinstance(base, RunSide) else sides.of(base),
        candidate if isinstance(candidate, RunSide) else sides.of(candidate),
    )
    facts = _differing(both, normalise=normalise)
    rows, plain = _rows(both, rules)
    kept, gate = _family(rows)
    remarks = one_sided(kept)
    if normalise:
        remarks.append(
            "Each side is held against the ceilings measured on its own machine: weaker evidence than two runs of one"
            " machine, since layers do not scale with a machine's best products and copies."
            + (f" What differs: {facts}." if facts else "")
        )
    elif plain:
        remarks.append(
            f"{plain} of {sum(row.compared for row in kept)} cases have no reference kernel beside them in both runs:"
            " their times are compared as they are, and move with the machine."
        )
    return Comparisons(
        both[0].run.name,
        both[1].run.name,
        rules.latency,
        tuple(sorted(kept, key=severity)),
        method=_method(rules),
        remarks=tuple(remarks),
        gate=gate,
    )


def first(candidate: RunSide, base: str) -> Comparisons:
    """Returns the comparison of a run with a base that does not exist yet: all that it has is new."""
    rules = Rules(_of_grid(candidate.run))
    names = varying(one.case.axes for one in candidate.cases)
    rows = [
        replace(_row(None, one, losses.verdict(None, one), names, rules), verdict=Verdict.NEW)
        for one in candidate.cases
    ]
    return Comparisons(base, candidate.run.name, rules.latency, tuple(sorted(rows, key=severity)))


def _of_grid(run: Run) -> dict[str, float]:
    """Returns the thresholds that a run's grid asks for; an imported run may say anything."""
    told = run.settings.get("thresholds")
    return {
        name: float(share)
        for name, share in (told.items() if isinstance(told, dict) else ())
        if name in THRESHOLDS and isinstance(share, int | float) and 0 <= share <= LARGEST_THRESHOLD
    }


def one_sided(rows: Sequence[Comparison]) -> list[str]:
    """Returns what has to be said where everything found lies on one side, as no change of code but of machine does."""
    slower, faster = (sum(row.verdict is v for row in rows) for v in (Verdict.SLOWER, Verdict.FASTER))
    found = slower + faster
    if found < ONE_SIDED or (slower and faster):
        return []
    word = "slower" if slower else "faster"
    return [
        f"All {found} findings are {word}: where the change cannot touch them all, suspect the machine, or use `duel`."
    ]


def _differing(both: tuple[RunSide, RunSide], *, normalise: bool) -> str:
    """Returns in which facts the machines of two runs differ.

    Raises:
        NotComparableError: they do, and are not to be normalised, or cannot be.
    """
    base, candidate = (one.run for one in both)
    differ = differences(base.environment.comparable, candidate.environment.comparable)
    facts = "; ".join(f"{fact} is {a} against {b}" for fact, a, b in differ)
    if differ and not normalise:
        raise NotComparableError(
            f"{base.name} and {candidate.name} cannot be compared: {facts}; measure both on one machine, or"
            " compare shares of each machine's own ceiling with --normalise (weaker)"
        )
    for one in both if normalise else ():
        if not one.ceilings:
            raise NotComparableError(
                f"{base.name} and {candidate.name} cannot be normalised: no ceilings are known of the machine of"
                f" {one.run.name}; run `softmoe-bench calibrate` there, into the same store"
            )
    return facts


def _rows(both: tuple[RunSide, RunSide], rules: Rules) -> tuple[list[Comparison], int]:
    """Returns the comparison of every case by itself, and how many compare times without a reference kernel."""
    left, right = ({one.case.id: one for one in found.cases} for found in both)
    all_cases = {id_: one.case for id_, one in (*left.items(), *right.items())}
    names = [
        name
        for name in varying(case.axes for case in all_cases.values())
        if rules.pair is None or name != rules.pair.axis
    ]
    rows: list[Comparison] = []
    timed: dict[int, tuple[Side, Side]] = {}
    for b, c in match([one.case for one in both[0].cases], [one.case for one in both[1].cases], rules.pair):
        base, candidate = left[b.id] if b else None, right[c.id] if c else None
        lost = losses.verdict(base, candidate)
        if lost is None:
            times = [
                _times(one, of if rules.normalise else None) for one, of in zip((base, candidate), both, strict=True)
            ]
            if times[0] and times[1]:
                timed[len(rows)] = times[0], times[1]
            else:
                where = "base" if times[0] is None else "candidate"
                lost = Verdict.NOT_COMPARABLE, f"no ceiling holds for it on the machine of the {where}"
        rows.append(_row(base, candidate, lost, names, rules))
    found = judge_all(list(timed.values()), rules.latency, paired=both[0].run.id == both[1].run.id)
    for place, judgement in zip(timed, found, strict=True):
        rows[place] = _judged(rows[place], judgement)
    return rows, sum(None in (base.relative, candidate.relative) for base, candidate in timed.values())


def _row(
    base: CaseSide | None,
    candidate: CaseSide | None,
    lost: tuple[Verdict, str] | None,
    names: Sequence[str],
    rules: Rules,
) -> Comparison:
    """Returns what is known of a case before its times are judged."""
    one = base or candidate
    if one is None:
        raise ValueError("a case has at least one side")
    verdict, reason = lost or (Verdict.UNCLEAR, "")
    known = [{} if side is None else side.exact for side in (base, candidate)]
    return Comparison(
        case_name(one.case, names),
        one.case.id,
        str(one.case["layer"]),
        verdict,
        base=base.latency if base else None,
        candidate=candidate.latency if candidate else None,
        reason=reason,
        changes=exact.changes(known[0], known[1], device=str(one.case["device"]), thresholds=rules.thresholds),
        threshold=rules.latency,
        seconds=candidate.seconds if candidate else None,
    )


def _judged(row: Comparison, found: Judgement) -> Comparison:
    """Returns the comparison of a case whose times were judged."""
    return replace(
        row,
        verdict=found.verdict,
        ratio=found.ratio,
        raw=found.raw,
        reason=found.reason,
        replicates=found.ratio.replicates,
        detectable=found.detectable,
        needed=found.needed,
        p=found.p,
    )


def _times(one: CaseSide | None, machine: RunSide | None) -> Side | None:
    """Returns the times of a case, or where a machine is given, as multiples of the least that it could take."""
    if one is None or one.times is None or machine is None:
        return one.times if one else None
    bound = machine.attainable(one.case)
    if bound is None:
        return None
    return replace(
        one.times, latency={repeat: seconds / bound for repeat, seconds in one.times.latency.items()}, relative=None
    )


def _family(rows: Sequence[Comparison]) -> tuple[list[Comparison], frozenset[str]]:
    """Returns the rows with what does not stand against their number taken back, and the cases that close the gate."""
    tested = [(place, row.p) for place, row in enumerate(rows) if row.p is not None]
    ps = [p for _, p in tested]
    stand = {tested[rank][0] for rank in benjamini_hochberg(ps, FALSE_DISCOVERIES)}
    certain = {tested[rank][0] for rank in holm(ps, GATE)}
    kept = [
        replace(
            row, verdict=Verdict.UNCLEAR, reason=f"{row.verdict} by itself, but one of {len(tested)} may be by chance"
        )
        if row.verdict in (Verdict.SLOWER, Verdict.FASTER) and place not in stand
        else row
        for place, row in enumerate(rows)
    ]
    return kept, frozenset(
        row.case_id for place, row in enumerate(kept) if row.verdict is Verdict.SLOWER and place in certain
    )


def _method(rules: Rules) -> str:
    """Returns how ratios were found and what the verdicts mean."""
    over = "the least time that each machine could take" if rules.normalise else "the reference kernel"
    return (
        f"ratio of latencies over {over}, one figure per process, with its 95 % interval by a hierarchical bootstrap;"
        f" slower and faster mean that the whole interval lies beyond {100 * rules.latency:.3g} %, same that it lies"
        " within, unclear that neither can be said yet"
    )
