"""The verdict on one case measured by two groups of processes: what its interval allows to say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import caveats, resampling
from bench.records import INSPECTION
from bench.stats import Interval, paired_ratio_interval, ratio_interval, t_quantile
from bench.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.resampling import Spread
    from bench.results import CaseResult

POWER = 0.8
"""A change counts as detectable if it would be called in this share of attempts."""

MOST_NEEDED = 9999
"""More processes than anybody will wait for."""

NORMAL_95 = 1.96
"""Half a 95 % interval over the standard error."""


@dataclass(frozen=True)
class Side:
    """What a verdict is made of: per process the latency and, if known, that over the reference kernel.

    `errors` are the relative standard errors that processes gave for their own medians, as far as they did.
    """

    latency: Mapping[int, float]
    relative: Mapping[int, float] | None
    disturbed: frozenset[int]
    errors: Mapping[int, float]

    @property
    def undisturbed(self) -> set[int]:
        """The timed repeats that nothing disturbed."""
        return set(self.latency) - self.disturbed


@dataclass(frozen=True)
class Judgement:
    """A verdict and why; `ratio` is candidate / base, `raw` the same without the reference kernel.

    `p` is the probability of such evidence for slower or faster at a change of just the threshold; `detectable` and
    `needed` are those of `bench.verdicts.Comparison`.
    """

    verdict: Verdict
    reason: str
    ratio: Interval
    raw: Interval
    p: float = 1.0
    detectable: float | None = None
    needed: int | None = None


def side(result: CaseResult) -> Side:
    """Returns what a verdict on a case that has a latency is made of."""
    latency, relative = result.figures["latency"], result.figures.get("relative_latency")
    whole = relative is not None and relative.by_repeat.keys() >= latency.by_repeat.keys()
    widths = {o.repeat: o.facts.get("half_width") for o in result.outcomes if o.repeat != INSPECTION}
    return Side(
        latency.by_repeat,
        relative.by_repeat if relative and whole else None,
        frozenset(result.disturbed),
        {repeat: width / NORMAL_95 for repeat, width in widths.items() if width},
    )


def judge(base: Side, candidate: Side, threshold: float, *, paired: bool = False) -> Judgement:
    """Returns the verdict on two sides of one case; rounds of one run are `paired`."""
    good = base.undisturbed, candidate.undisturbed
    enough = all(len(repeats) >= caveats.FEW_REPEATS for repeats in good)
    if not enough:
        good = set(base.latency), set(candidate.latency)
    raw = _plain_ratio(base.latency, candidate.latency, good, paired=paired)
    known = base.relative is not None and candidate.relative is not None
    figures = (base.relative, candidate.relative) if known else (base.latency, candidate.latency)
    ratio, spread = _ratio(figures, (base, candidate), good, paired=paired)  # type: ignore[arg-type]
    if not enough and (base.disturbed or candidate.disturbed):
        busy = f"machine was busy in {len(base.disturbed)} and {len(candidate.disturbed)} processes"
        return Judgement(Verdict.UNCLEAR, busy, ratio, raw)
    found, why = _confirmed(verdict(ratio, threshold), raw)
    if spread is None:
        return Judgement(found, why or "one process proves nothing", ratio, raw)
    needed = _needed(spread, threshold, ratio.replicates) if found is Verdict.UNCLEAR and not why else None
    return Judgement(found, why, ratio, raw, _p(spread, threshold), _detectable(spread, threshold), needed)


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


def _confirmed(found: Verdict, raw: Interval) -> tuple[Verdict, str]:
    """Returns the verdict if the plain ratio of times lies on the same side, else unclear and why."""
    if found in (Verdict.SLOWER, Verdict.FASTER) and verdict(raw, 0.0) is not found:
        return Verdict.UNCLEAR, "the time itself says otherwise: the reference kernel moved"
    return found, ""


def _ratio(
    figures: tuple[Mapping[int, float], Mapping[int, float]],
    sides: tuple[Side, Side],
    repeats: tuple[set[int], set[int]],
    *,
    paired: bool,
) -> tuple[Interval, Spread | None]:
    """Returns candidate / base over the processes of these repeats; rounds of one run are pairs."""
    rounds = sorted(repeats[0] & repeats[1])
    if paired and len(rounds) > 1:
        logs = [math.log(figures[1][r] / figures[0][r]) for r in rounds]
        errors = [math.hypot(*(s.errors.get(r, 0.0) for s in sides)) for r in rounds]
        interval = resampling.paired_ratio(resampling.Side(tuple(logs), tuple(errors)))
        return interval, resampling.paired_spread(logs)
    base, candidate = (
        resampling.Side(tuple(math.log(f[r]) for r in sorted(rs)), tuple(s.errors.get(r, 0.0) for r in sorted(rs)))
        for f, s, rs in zip(figures, sides, repeats, strict=True)
    )
    return resampling.ratio(base, candidate), resampling.welch(base.logs, candidate.logs)


def _plain_ratio(
    base: Mapping[int, float], candidate: Mapping[int, float], repeats: tuple[set[int], set[int]], *, paired: bool
) -> Interval:
    """Returns candidate / base of the times as they are."""
    rounds = sorted(repeats[0] & repeats[1])
    if paired and len(rounds) > 1:
        return paired_ratio_interval([base[r] for r in rounds], [candidate[r] for r in rounds])
    return ratio_interval([base[r] for r in repeats[0]], [candidate[r] for r in repeats[1]])


def _p(spread: Spread, threshold: float) -> float:
    """Returns how probable so much beyond the threshold, or more, would be at a change of just the threshold."""
    from scipy.special import stdtr  # noqa: PLC0415  (scipy.stats alone takes half a second to import)

    beyond = abs(spread.centre) - math.log1p(threshold)
    if spread.error == 0:
        return 0.0 if beyond > 0 else 1.0
    return float(stdtr(spread.degrees, -beyond / spread.error))


def _detectable(spread: Spread, threshold: float) -> float:
    """Returns the smallest change that so many processes would show in four of five attempts."""
    if spread.error == 0:
        return threshold
    reach = t_quantile(spread.degrees) + t_quantile(spread.degrees, 2 * POWER - 1)
    return math.expm1(math.log1p(threshold) + reach * spread.error)


def _needed(spread: Spread, threshold: float, processes: int) -> int | None:
    """Returns how many processes a side would settle a case at the change and spread seen, None beyond all patience."""
    room = abs(abs(spread.centre) - math.log1p(threshold))
    if spread.error == 0 or room == 0:
        return None
    wanted = float(processes)
    for _ in range(4):  # the quantile depends on the answer, but hardly
        wanted = processes * (t_quantile(max(1.0, 2 * wanted - 2)) * spread.error / room) ** 2
        wanted = min(max(wanted, caveats.FEW_REPEATS), 10.0 * MOST_NEEDED)
    return math.ceil(wanted) if wanted <= MOST_NEEDED else None
