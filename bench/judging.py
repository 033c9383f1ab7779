"""The verdict on cases measured by two groups of processes: what their intervals allow to say.

`slower` means that the whole 95 % interval of the ratio lies beyond the threshold, `same` that it lies within, and
`unclear` that neither can be said yet. Where a reference kernel was timed beside the layer, the ratio is over it; the
plain ratio of times must then lie on the same side, because where only the reference kernel moved, the layer did not.
Processes during which something else used the machine are left out where enough others remain on each side; where they
do not, nothing is claimed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bench import caveats, medians, resampling
from bench.resampling import Sample
from bench.stats import t_quantile
from bench.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from bench.medians import Medians
    from bench.resampling import Estimate
    from bench.results import CaseResult
    from bench.stats import Interval

POWER = 0.8
"""A change counts as detectable if it would be called in this share of attempts."""

MOST_NEEDED = 9999
"""More processes than anybody will wait for."""

MOVED = "the time itself says otherwise: the reference kernel moved"
DOUBTED = "the time itself is too noisy to confirm what the ratio to the reference kernel says"
"""Why what the ratio says is not claimed."""

NORMAL_95 = 1.96
"""Half a 95 % interval over the standard error."""


@dataclass(frozen=True)
class Side:
    """What a verdict is made of: per process the latency and, if all know it, that over the reference kernel.

    `errors` are the relative standard errors of these figures by the samples of each process, as far as they are known.
    """

    latency: Mapping[int, float]
    relative: Mapping[int, float] | None
    disturbed: frozenset[int] = frozenset()
    errors: Mapping[int, float] = field(default_factory=dict)

    @property
    def undisturbed(self) -> set[int]:
        """The timed repeats that nothing disturbed."""
        return set(self.latency) - self.disturbed


@dataclass(frozen=True)
class Judgement:
    """A verdict and why; `ratio` is candidate / base, `raw` the same without the reference kernel.

    `p` is how probable so large a change, in either direction, would be at a true one of just the threshold, None where
    no verdict was possible. `detectable` and `needed` are those of `bench.verdicts.Comparison`.
    """

    verdict: Verdict
    reason: str
    ratio: Interval
    raw: Interval
    p: float | None = None
    detectable: float | None = None
    needed: int | None = None


def side(result: CaseResult) -> Side:
    """Returns what a verdict on a case that has a latency is made of."""
    known = {o.repeat: medians.of_outcome(o) for o in result.outcomes}
    return of_medians(known, result.disturbed)


def of_medians(known: Mapping[int, Medians], disturbed: Collection[int]) -> Side:
    """Returns the same of the medians of its processes, by repeat; those that timed nothing are left out."""
    latency = {repeat: one.latency for repeat, one in known.items() if one.latency is not None}
    relative = {repeat: one.relative_latency for repeat, one in known.items() if one.relative_latency is not None}
    return Side(
        latency,
        relative if len(relative) == len(latency) else None,
        frozenset(repeat for repeat in latency if repeat in disturbed),
        {repeat: one.half_width / NORMAL_95 for repeat, one in known.items() if one.half_width is not None},
    )


def judge(base: Side, candidate: Side, threshold: float, *, paired: bool = False) -> Judgement:
    """Returns the verdict on two sides of one case; rounds of one run are `paired`."""
    return judge_all([(base, candidate)], threshold, paired=paired)[0]


def judge_all(cases: Sequence[tuple[Side, Side]], threshold: float, *, paired: bool = False) -> list[Judgement]:
    """Returns the verdict on the two sides, base and candidate, of each case; rounds of one run are `paired`."""
    compared = [_Compared(base, candidate, paired=paired) for base, candidate in cases]
    ratios = resampling.estimates([one.samples() for one in compared])
    plain = iter(resampling.estimates([one.samples(plain=True) for one in compared if one.relative], drawn=False))
    raws = [next(plain) if one.relative else ratio for one, ratio in zip(compared, ratios, strict=True)]
    margin = math.log1p(threshold)
    ps = _evidence(ratios, margin)
    return [_judgement(*known, margin) for known in zip(compared, ratios, raws, ps, strict=True)]


def verdict(found: Estimate, margin: float) -> Verdict:
    """Returns what the interval of a log ratio allows to say, if changes within the margin do not matter."""
    if found.low is None or found.high is None:
        return Verdict.UNCLEAR
    if found.low > margin:
        return Verdict.SLOWER
    if found.high < -margin:
        return Verdict.FASTER
    return Verdict.SAME if -margin <= found.low and found.high <= margin else Verdict.UNCLEAR


class _Compared:
    """Two sides of a case, and the repeats of each that count; `rounds` are those that make pairs, if any do."""

    def __init__(self, base: Side, candidate: Side, *, paired: bool) -> None:
        self.sides = base, candidate
        good = [one.undisturbed for one in self.sides]
        self.enough = all(len(repeats) >= caveats.FEW_REPEATS for repeats in good)
        if not self.enough:
            good = [set(one.latency) for one in self.sides]
        self.good = [sorted(repeats) for repeats in good]
        rounds = sorted(good[0] & good[1]) if paired else []
        self.rounds = rounds if len(rounds) > 1 else []
        self.relative = all(one.relative is not None for one in self.sides)

    def samples(self, *, plain: bool = False) -> tuple[Sample, ...]:
        """Returns the figures of both sides, or the ratios of their rounds; `plain` are the times alone."""
        figures = [one.relative if one.relative and self.relative and not plain else one.latency for one in self.sides]
        known = [one.errors for one in self.sides]
        if self.rounds:
            ratios = tuple(figures[1][r] / figures[0][r] for r in self.rounds)
            return (Sample(ratios, tuple(math.hypot(*(own.get(r, 0.0) for own in known)) for r in self.rounds)),)
        return tuple(
            Sample(tuple([figure[r] for r in repeats]), tuple([own.get(r, 0.0) for r in repeats]))
            for figure, own, repeats in zip(figures, known, self.good, strict=True)
        )

    @property
    def busy(self) -> str:
        """Why nothing is claimed where the machine was busy too often, nothing where it was not."""
        disturbed = [len(one.disturbed) for one in self.sides]
        if self.enough or not any(disturbed):
            return ""
        return f"machine was busy in {disturbed[0]} and {disturbed[1]} processes"


def _judgement(compared: _Compared, ratio: Estimate, raw: Estimate, p: float | None, margin: float) -> Judgement:
    """Returns the verdict on one case."""
    intervals = ratio.interval, raw.interval
    if compared.busy:
        return Judgement(Verdict.UNCLEAR, compared.busy, *intervals)
    if ratio.error is None:
        return Judgement(Verdict.UNCLEAR, "one process proves nothing", *intervals)
    found, reason = _confirmed(verdict(ratio, margin), raw)
    short, room = (raw, abs(raw.centre)) if reason else (ratio, abs(abs(ratio.centre) - margin))
    needed = _needed(short, room, single=bool(compared.rounds)) if found is Verdict.UNCLEAR else None
    detectable = math.expm1(max(margin + _reach(ratio), _reach(raw)))
    return Judgement(found, reason, *intervals, p, detectable, None if reason == MOVED else needed)


def _confirmed(found: Verdict, raw: Estimate) -> tuple[Verdict, str]:
    """Returns the verdict if the plain ratio of times certainly lies on the same side, else unclear and why."""
    if found not in (Verdict.SLOWER, Verdict.FASTER) or verdict(raw, 0.0) is found:
        return found, ""
    same_side = raw.centre > 0 if found is Verdict.SLOWER else raw.centre < 0
    return Verdict.UNCLEAR, DOUBTED if same_side else MOVED


def _evidence(ratios: Sequence[Estimate], margin: float) -> list[float | None]:
    """Returns the p of each judgement, of the one or the other end of what does not matter."""
    from scipy.special import stdtr  # noqa: PLC0415  (scipy takes a while to import)

    known = [(place, one) for place, one in enumerate(ratios) if one.error is not None]
    size = np.array([abs(one.centre) for _, one in known])
    errors, degrees = np.array([(one.error, one.degrees) for _, one in known], dtype=float).reshape(-1, 2).T
    with np.errstate(divide="ignore", invalid="ignore"):
        ps = stdtr(degrees, (margin - size) / errors) + stdtr(degrees, -(margin + size) / errors)
    ps = np.where(errors > 0, np.minimum(ps, 1.0), np.where(size > margin, 0.0, 1.0))
    found: list[float | None] = [None] * len(ratios)
    for (place, _), p in zip(known, ps.tolist(), strict=True):
        found[place] = p
    return found


def _reach(known: Estimate) -> float:
    """Returns how far beyond a margin a log ratio must lie to be called in four of five attempts."""
    if not known.error or known.degrees is None:
        return 0.0
    return (t_quantile(known.degrees) + t_quantile(known.degrees, 2 * POWER - 1)) * known.error


def _needed(known: Estimate, room: float, *, single: bool) -> int | None:
    """Returns how many processes a side would settle a case at the change and spread seen, None beyond all patience.

    Its interval must reach no further than the `room` to the margin; `single` are pairs, with fewer degrees of freedom.
    """
    if not known.error or room == 0:
        return None
    wanted = float(known.replicates)
    for _ in range(4):  # the quantile depends on the answer, but hardly
        degrees = (wanted - 1) * (1 if single else 2)
        wanted = known.replicates * (t_quantile(max(1.0, degrees)) * known.error / room) ** 2
        wanted = min(max(wanted, caveats.FEW_REPEATS, known.replicates + 1), 10.0 * MOST_NEEDED)
    return math.ceil(wanted) if wanted <= MOST_NEEDED else None
