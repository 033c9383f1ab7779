"""Figures that are made of several cases round by round, and what an interval says of a limit.

A round has one process of every case, so that a ratio within it does not hold the machine's drift between rounds; the
interval is over rounds (see `bench.stats`: the unit of replication is the process).
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

from bench.claims.claim import Unknown, Verdict
from bench.stats import geometric_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.claims.claim import Measured
    from bench.results import CaseResult
    from bench.stats import Interval

Rounds = dict[int, float]
"""Round -> figure."""


def latency(measured: Measured, axes: Mapping[str, object]) -> Rounds:
    """Returns the median latency in seconds of each process of a case.

    Raises:
        Unknown: there is no such case, or it was not timed.
    """
    return of_case(measured.one(**axes))


def of_case(case: CaseResult) -> Rounds:
    """Returns the median latency in seconds of each process of a case.

    Raises:
        Unknown: it was not timed.
    """
    if "latency" not in case.figures:
        raise Unknown(f"latency of {case.case['layer']} is unknown")
    return dict(case.figures["latency"].by_repeat)


def ratio(over: Rounds, under: Rounds) -> Rounds:
    """Returns over / under in the rounds that both have.

    Raises:
        Unknown: they have none in common.
    """
    common = sorted(over.keys() & under.keys())
    if not common:
        raise Unknown("two cases were timed in no common round")
    return {number: over[number] / under[number] for number in common}


def times(over: Rounds, under: Rounds) -> Interval:
    """Returns how many times as long one case takes as another, paired by rounds, with its interval.

    Raises:
        Unknown: they have no round in common.
    """
    return geometric_interval(list(ratio(over, under).values()))


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Returns the exponent a of y = c x^a, by least squares on the logarithms of at least two points."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    centre_x, centre_y = fmean(x for x, _ in logs), fmean(y for _, y in logs)
    along = math.fsum((x - centre_x) * (y - centre_y) for x, y in logs)
    return along / math.fsum((x - centre_x) ** 2 for x, _ in logs)


def within(found: Interval, low: float, high: float) -> bool | None:
    """Returns whether a figure lies between two limits; None where its interval leaves that open."""
    if found.low is None or found.high is None:
        return None
    if low <= found.low and found.high <= high:
        return True
    return False if found.high < low or found.low > high else None


def verdict(answers: Iterable[bool | None]) -> Verdict:
    """Returns what parts of a claim come to: one that fails decides, then one that is left open."""
    known = list(answers)
    if False in known:
        return Verdict.NOT_REPRODUCED
    return Verdict.CANNOT if None in known else Verdict.REPRODUCED


def tell(found: Interval) -> str:
    """Returns a plain number with its interval, where it has one."""
    if found.low is None or found.high is None:
        return f"{found.estimate:.2f}"
    return f"{found.estimate:.2f} ({found.low:.2f} to {found.high:.2f})"
