"""When a duel is decided: looks fixed in advance, each with its own share of the errors that are allowed.

The replicate is the pair of fresh processes, its figure the median of the paired log ratios of its rounds. `slower`
needs an estimate of at least the threshold and evidence against "no change"; `same` is a claim of its own, that the
change lies within the threshold either way (two one-sided tests). Looking several times would add up to more errors
than each look allows, so each gets a share in proportion to its pairs, and the shares sum up to one: whatever is
claimed at the first look counts for less. Sources: D. J. Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987 (two
one-sided tests); K. K. G. Lan and D. L. DeMets, Biometrika 70, 1983 (spending an error over looks; here by Bonferroni,
which needs no joint distribution).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from bench.stats import Interval, t_quantile
from bench.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOKS = (3, 5, 9, 15)
"""Pairs after which a case is looked at."""

ALARM = 0.005
"""Probability, over all looks, that an unchanged case shows evidence of one direction."""

FAMILY = 0.05
"""The same for any case of a whole grid: with more than ten cases each is allowed less."""

MISTAKEN_SAME = 0.05
"""Probability, over all looks, that a change of just the threshold is called same."""

POWER = 0.8
"""A change counts as detectable if it would be called in this share of attempts."""

MOST_NEEDED = 999
"""More pairs than anybody will wait for."""


@dataclass(frozen=True)
class Decision:
    """What a look says; `verdict` is UNCLEAR where more pairs are needed, `p` the evidence of the direction seen.

    `detectable` and `needed` are those of `bench.verdicts.Comparison`.
    """

    verdict: Verdict
    ratio: Interval
    p: float
    detectable: float | None = None
    needed: int | None = None


def schedule(most: int) -> tuple[int, ...]:
    """Returns the looks of a duel of at most so many pairs."""
    return (*(look for look in LOOKS if look < most), most)


def decide(logs: Sequence[float], threshold: float, *, cases: int, looks: Sequence[int] = LOOKS) -> Decision:
    """Returns what the log ratios of pairs say at the last look that they reach; `cases` is the size of the grid.

    Below the first look nothing is claimed.

    Raises:
        ValueError: no pair.
    """
    reached = [look for look in looks if look <= len(logs)]
    whole = sum(looks)
    ratio = _interval(logs)
    p = min((_p(logs[:look]) * whole / look for look in reached), default=1.0)
    if not reached:
        return Decision(Verdict.UNCLEAR, ratio, p=1.0)
    seen = logs[: reached[-1]]
    share = reached[-1] / whole
    margin = math.log1p(threshold)
    centre, error, degrees = fmean(seen), stdev(seen) / math.sqrt(len(seen)), len(seen) - 1
    alarm = allowed(cases) * share
    verdict = Verdict.UNCLEAR
    if abs(centre) >= margin and _p(seen) <= alarm:
        verdict = Verdict.SLOWER if centre > 0 else Verdict.FASTER
    elif abs(centre) + t_quantile(degrees, 1 - 2 * MISTAKEN_SAME * share) * error <= margin:
        verdict = Verdict.SAME
    evidence, often = t_quantile(degrees, 1 - 2 * alarm), t_quantile(degrees, 2 * POWER - 1)
    detectable = math.expm1(max(margin + often * error, (evidence + often) * error))
    needed = _needed(centre, stdev(seen), margin, alarm) if verdict is Verdict.UNCLEAR else None
    return Decision(verdict, ratio, min(1.0, p), detectable, needed)


def allowed(cases: int) -> float:
    """Returns the probability of a false alarm in one direction that each of so many cases is allowed."""
    return min(ALARM, FAMILY / max(1, cases))


def _interval(logs: Sequence[float]) -> Interval:
    """Returns the geometric mean of the ratios with its 95 % t interval over pairs."""
    if not logs:
        raise ValueError("a duel needs at least one pair")
    centre = fmean(logs)
    if len(logs) < 2:
        return Interval(math.exp(centre), None, None, len(logs))
    reach = t_quantile(len(logs) - 1) * stdev(logs) / math.sqrt(len(logs))
    return Interval(math.exp(centre), math.exp(centre - reach), math.exp(centre + reach), len(logs))


def _p(logs: Sequence[float]) -> float:
    """Returns how probable so much or more in the direction seen would be if nothing had changed (Student's t)."""
    from scipy.special import stdtr  # noqa: PLC0415  (scipy.stats alone takes half a second to import)

    centre, spread = fmean(logs), stdev(logs)
    if spread == 0:
        return 0.0 if centre else 0.5
    return float(stdtr(len(logs) - 1, -abs(centre) / spread * math.sqrt(len(logs))))


def _needed(centre: float, spread: float, margin: float, alarm: float) -> int | None:
    """Returns how many pairs would settle a case whose change and spread are as seen, None beyond all patience."""
    for pairs in range(LOOKS[0], MOST_NEEDED + 1):
        error = spread / math.sqrt(pairs)
        if abs(centre) >= margin:
            if abs(centre) >= t_quantile(pairs - 1, 1 - 2 * alarm) * error:
                return pairs
        elif abs(centre) + t_quantile(pairs - 1, 1 - 2 * MISTAKEN_SAME / 2) * error <= margin:
            return pairs
    return None
