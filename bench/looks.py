"""When a duel is decided: looks fixed in advance, each with its own share of the errors that are allowed.

The replicate is the pair of fresh processes, its figure the median of the paired log ratios of its rounds; a pair that
something disturbed counts for less (`bench.pooling`). `slower`
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
from typing import TYPE_CHECKING

from bench.pooling import Pooled, pool
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
    """Returns the looks of a duel of at most so many pairs.

    Raises:
        ValueError: a single pair, which proves nothing.
    """
    if most < 2:
        raise ValueError(f"a duel needs two pairs to know how far they lie apart, got {most}")
    return (*(look for look in LOOKS if look < most), most)


def decide(
    logs: Sequence[float],
    threshold: float,
    *,
    cases: int,
    looks: Sequence[int] = LOOKS,
    errors: Sequence[float] | None = None,
) -> Decision:
    """Returns what the log ratios of pairs say at the last look that they reach.

    `cases` is the size of the grid, `errors` the standard error that each pair has by its own rounds. Below the first
    look nothing is claimed.

    Raises:
        ValueError: no pair.
    """
    own = [0.0] * len(logs) if errors is None else list(errors)
    reached = [look for look in looks if look <= len(logs)]
    ratio = _interval(logs, own)
    if not reached:
        return Decision(Verdict.UNCLEAR, ratio, p=1.0)
    whole = sum(looks)
    pooled = {look: pool(logs[:look], own[:look]) for look in reached}
    last = reached[-1]
    seen, share, margin = pooled[last], last / whole, math.log1p(threshold)
    sign = math.copysign(1.0, seen.centre)
    p = min(_p(found, sign) * whole / look for look, found in pooled.items())
    alarm = allowed(cases) * share
    verdict = Verdict.UNCLEAR
    if abs(seen.centre) >= margin and _p(seen, sign) <= alarm:
        verdict = Verdict.SLOWER if sign > 0 else Verdict.FASTER
    elif abs(seen.centre) + t_quantile(seen.degrees, 1 - 2 * MISTAKEN_SAME * share) * seen.error <= margin:
        verdict = Verdict.SAME
    evidence, often = t_quantile(seen.degrees, 1 - 2 * alarm), t_quantile(seen.degrees, 2 * POWER - 1)
    detectable = math.expm1(max(margin + often * seen.error, (evidence + often) * seen.error))
    needed = _needed(seen, margin, cases) if verdict is Verdict.UNCLEAR else None
    return Decision(verdict, ratio, min(1.0, p), detectable, needed)


def allowed(cases: int) -> float:
    """Returns the probability of a false alarm in one direction that each of so many cases is allowed."""
    return min(ALARM, FAMILY / max(1, cases))


def _interval(logs: Sequence[float], errors: Sequence[float]) -> Interval:
    """Returns the pooled ratio with its 95 % t interval over pairs."""
    if not logs:
        raise ValueError("a duel needs at least one pair")
    if len(logs) < 2:
        return Interval(math.exp(logs[0]), None, None, 1)
    found = pool(logs, errors)
    reach = t_quantile(found.degrees) * found.error
    return Interval(math.exp(found.centre), math.exp(found.centre - reach), math.exp(found.centre + reach), len(logs))


def _p(found: Pooled, sign: float) -> float:
    """Returns how probable so much or more in a direction would be if nothing had changed (Student's t)."""
    from scipy.special import stdtr  # noqa: PLC0415  (scipy.stats alone takes half a second to import)

    along = sign * found.centre
    if found.error == 0:
        return 0.5 if along == 0 else float(along < 0)
    return float(stdtr(found.degrees, -along / found.error))


def _needed(seen: Pooled, margin: float, cases: int) -> int | None:
    """Returns how many pairs would settle a case whose change and spread are as seen, None beyond all patience.

    They are those of a duel of so many pairs at most: its last look has the largest share of the errors.
    """
    size = abs(seen.centre)
    for pairs in range(seen.degrees + 2, MOST_NEEDED + 1):
        error, share = seen.spread / math.sqrt(pairs), pairs / sum(schedule(pairs))
        chance = allowed(cases) if size >= margin else MISTAKEN_SAME
        reach = t_quantile(pairs - 1, 1 - 2 * chance * share) * error
        if reach <= (size if size >= margin else margin - size):
            return pairs
    return None
