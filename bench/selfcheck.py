"""Cases against themselves: how often this machine raises a false alarm, and the smallest change it lets one see.

Nothing changed between the processes of one run, so whatever the rule of `bench.judging` calls slower or faster among
them is a false alarm. Two sides are neighbouring windows of processes in the order of time, because a stored baseline
and its candidate are measured one after the other, with the drift of the machine between them. The smallest change is
found on the same data: the factor on one side's times from which on the rule sees it. A. Georges, D. Buytaert and
L. Eeckhout, "Statistically rigorous Java performance evaluation", OOPSLA 2007, on why noise must be known beforehand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench import caveats, units
from bench.axes import case_name
from bench.judging import Side, judge_all, side
from bench.records import INSPECTION, Settings, Status, reason
from bench.results import seconds as seconds_of
from bench.stats import Interval, share_interval
from bench.verdicts import THRESHOLD, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.judging import Judgement
    from bench.results import CaseResult, RunResults

PREFIX = "selfcheck-"
"""How the names of runs begin that were made to be held against themselves."""

LEAST = caveats.FEW_REPEATS
"""Fewest processes of one side."""

SIDES = (LEAST, 5, 10, 20, 50)
"""Processes a side that are looked at as far as the data reach, so that one sees what more time buys."""

POWER = 0.8
"""A change counts as seen if the rule calls it slower in this share of the pairs."""

LARGEST = 2.0
"""Largest factor tried: where even that is not seen, nothing is said of larger ones."""


@dataclass(frozen=True)
class Look:
    """What comparisons with so many `processes` a side say; `seconds` is what one side takes, None where unknown.

    `trials` are comparisons of windows that share no process, so that they count as independent: `alarms` of them were
    called slower or faster, the others same or unclear. `smallest` is the least factor that is seen (see `POWER`), None
    where even `LARGEST` is not.
    """

    processes: int
    seconds: float | None
    trials: int
    alarms: int
    same: int
    unclear: int
    smallest: float | None


@dataclass(frozen=True)
class CaseCheck:
    """One case: how many processes timed it, the seconds one takes, a look for each size of a side.

    During `disturbed` of the processes something else used the machine. `chosen` is the look that the given time
    allows; where there is none, or where more time is allowed than was measured, `remark` says why.
    """

    name: str
    case_id: str
    processes: int
    seconds: float | None
    looks: tuple[Look, ...] = ()
    chosen: Look | None = None
    disturbed: int = 0
    remark: str = ""

    @property
    def statement(self) -> str:
        """What can be seen here, in plain words."""
        if self.chosen is None:
            return self.remark
        with_these = f"with {self.chosen.processes} processes"
        if self.chosen.seconds is not None:
            with_these += f" ({units.format_duration(self.chosen.seconds)})"
        if self.chosen.smallest is None:
            found = f"not even a change of {percent(LARGEST)} can be seen here {with_these}"
        else:
            found = f"a change below {percent(self.chosen.smallest)} cannot be seen here {with_these}"
        busy = f"the machine was busy in {self.disturbed} of {self.processes} processes" if self.disturbed else ""
        return "; ".join(filter(None, (found, busy, self.remark)))


@dataclass(frozen=True)
class SelfCheck:
    """A run against itself; `seconds` is the time asked for a case on one side, None where none was given."""

    of: RunResults
    threshold: float
    seconds: float | None
    cases: tuple[CaseCheck, ...]

    def looks(self, processes: int | None = None) -> list[Look]:
        """Returns the looks of all cases with so many processes a side, or those that the given time allows."""
        if processes is None:
            return [case.chosen for case in self.cases if case.chosen]
        return [look for case in self.cases for look in case.looks if look.processes == processes]

    @property
    def sides(self) -> list[int]:
        """The sizes of a side that the data of any case reach, without those that only a time limit chose."""
        return [size for size in SIDES if self.looks(size)]


def percent(factor: float) -> str:
    """Returns a factor as the change that it is, rounded up to whole per cent."""
    return f"{math.ceil(round(100 * (factor - 1), 6))} %"


def false_alarms(looks: Sequence[Look]) -> Interval | None:
    """Returns the share of false alarms among the trials of these looks with its interval, None without a trial."""
    trials = sum(look.trials for look in looks)
    return share_interval(sum(look.alarms for look in looks), trials) if trials else None


def say_alarms(looks: Sequence[Look]) -> str:
    """Returns the false alarms in words, with how large their rate may be: few trials prove little."""
    rate = false_alarms(looks)
    if rate is None or rate.low is None or rate.high is None:
        return "none could be tried"
    alarms = sum(look.alarms for look in looks)
    bounds = f"at most {rate.high:.0%}" if alarms == 0 else f"{rate.estimate:.0%}; {rate.low:.0%} to {rate.high:.0%}"
    return f"{alarms} of {rate.replicates} ({bounds.replace('%', ' %')})"


def most_processes(found: RunResults) -> int:
    """Returns how many processes timed the case that was timed most."""
    return max((len(in_time(result)) for result in found.cases), default=0)


def analyse(found: RunResults, *, threshold: float = THRESHOLD, seconds: float | None = None) -> SelfCheck:
    """Returns what a run says about this machine; `seconds` is the time that one side of a case may take.

    Without it a side has as many processes as `run` takes unless told otherwise. Either way it has at most half of
    those that were measured, because the other half is what it is compared with.
    """
    names = found.varying()
    return SelfCheck(
        found,
        threshold,
        seconds,
        tuple(_check(case_name(result.case, names), result, threshold, seconds) for result in found.cases),
    )


def in_time(result: CaseResult) -> list[int]:
    """Returns the repeats that timed a case, in the order of time."""
    timed = [o for o in result.outcomes if o.repeat != INSPECTION and max(o.samples("latency"), default=0.0) > 0]
    return [o.repeat for o in sorted(timed, key=lambda o: (o.started, o.repeat))]


def look(of: Side, order: Sequence[int], processes: int, threshold: float, seconds: float | None = None) -> Look:
    """Returns what comparisons of a case with itself say, its repeats given in the order of time."""
    found = verdicts(of, order, processes, threshold)
    same, unclear = found.count(Verdict.SAME), found.count(Verdict.UNCLEAR)
    return Look(
        processes=processes,
        seconds=None if seconds is None else processes * seconds,
        trials=len(found),
        alarms=len(found) - same - unclear,
        same=same,
        unclear=unclear,
        smallest=smallest_factor(of, order, processes, threshold),
    )


def verdicts(of: Side, order: Sequence[int], processes: int, threshold: float) -> list[Verdict]:
    """Returns the verdict on every two neighbouring windows, no process being in more than one of these pairs."""
    windows = [order[start : start + processes] for start in range(0, len(order) - processes + 1, processes)]
    pairs = zip(windows[::2], windows[1::2], strict=False)
    found = judge_all([(_part(of, base), _part(of, candidate)) for base, candidate in pairs], threshold)
    return [judgement.verdict for judgement in found]


def smallest_factor(of: Side, order: Sequence[int], processes: int, threshold: float) -> float | None:
    """Returns the least factor on one side's times that the rule sees, None where even the largest is not seen.

    Every two neighbouring windows are tried, each in both roles: more pairs than there are independent trials, which a
    rate must not be counted on but which steady a quantile. Without a change at most half of the pairs can be slower.
    """
    found = judge_all(list(_neighbours(of, order, processes)), threshold)
    factors = sorted(_seen_from(judgement, threshold) for judgement in found)
    if not factors or (least := factors[math.ceil(POWER * len(factors)) - 1]) > LARGEST:
        return None
    return max(1.0, least)


def _seen_from(found: Judgement, threshold: float) -> float:
    """Returns the factor on the candidate's times from which on it is called slower: an interval moves with its ratio.

    It is infinite where nothing can be claimed.
    """
    if found.p is None or not found.ratio.low or not found.raw.low:
        return math.inf
    return max((1 + threshold) / found.ratio.low, 1 / found.raw.low)


def _check(name: str, result: CaseResult, threshold: float, seconds: float | None) -> CaseCheck:
    """Returns what one case says."""
    of, timed = side(result), in_time(result)
    each = seconds_of(result)
    if result.status is not Status.OK:
        why = "not measured" if result.status is None else f"{result.status}: {reason(result.status, result.detail)}"
        return CaseCheck(name, result.case.id, len(timed), each, remark=why)
    reach = len(timed) // 2
    if reach < LEAST:
        why = f"timed by {len(timed)} processes, and two sides need at least {2 * LEAST}"
        return CaseCheck(name, result.case.id, len(timed), each, remark=why)
    allowed = Settings().repeats if seconds is None or each is None else int(seconds / each)
    size = min(allowed, reach)
    looks = {n: look(of, timed, n, threshold, each) for n in sorted({*SIDES, size}) if LEAST <= n <= reach}
    return CaseCheck(
        name,
        result.case.id,
        len(timed),
        each,
        tuple(looks.values()),
        looks.get(size),
        disturbed=len(of.disturbed.intersection(timed)),
        remark=_limit(seconds, each, reach),
    )


def _limit(seconds: float | None, each: float | None, reach: int) -> str:
    """Returns what keeps the given time from being used as it is, nothing where it is."""
    if seconds is None:
        return ""
    if each is None:
        return "how long a process takes is not known, so the given time says nothing"
    allowed = int(seconds / each)
    given = units.format_duration(seconds)
    if allowed < LEAST:
        needed = units.format_duration(LEAST * each)
        return f"{given} allow {allowed} of the {LEAST} processes that a side needs: give at least {needed}"
    if allowed > reach:
        return f"{given} allow {allowed}: measure --processes {2 * allowed} to know"
    return ""


def _neighbours(of: Side, order: Sequence[int], processes: int) -> Iterator[tuple[Side, Side]]:
    """Yields every two windows of which one begins where the other ends, in both roles."""
    parts = [_part(of, order[start : start + processes]) for start in range(len(order) - processes + 1)]
    for earlier, later in zip(parts, parts[processes:], strict=False):
        yield earlier, later
        yield later, earlier


def _part(of: Side, repeats: Sequence[int]) -> Side:
    """Returns a side of only these repeats."""
    relative = of.relative
    return replace(
        of,
        latency={repeat: of.latency[repeat] for repeat in repeats},
        relative=None if relative is None else {repeat: relative[repeat] for repeat in repeats},
        disturbed=of.disturbed.intersection(repeats),
    )
