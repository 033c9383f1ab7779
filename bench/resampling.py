"""Intervals of ratios by a hierarchical bootstrap over processes, for thousands of cases at once.

Processes are drawn again, and within each its figure moves by the standard error that the process gave for it. The
spread of the figures holds that error already, so the two levels share it: what is drawn varies as much as the figures
do, not more. Few processes make a bootstrap too sure: means of drawn ones vary by (n - 1) / n too little, and its
percentiles know nothing of how badly a spread of five is known. The one is mended by a factor; the others are stretched
by Student's t over the normal quantile, with Welch's degrees of freedom. Sources: A. C. Davison and D. V. Hinkley,
"Bootstrap Methods and Their Application", 1997, section 3.8 (two levels, and that drawing on both varies too much);
T. C. Hesterberg, "What Teachers Should Know About the Bootstrap", Am. Stat. 69, 2015, section 5 (too narrow for few,
and by how much); B. L. Welch, Biometrika 34, 1947.

The two sides are drawn apart, each once with the numbers of the other: swapped sides give the mirrored interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.stats import CONFIDENCE, Interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Array = np.ndarray[Any, np.dtype[np.floating[Any]]]

DRAWS = 999
"""Draws with the numbers as they are and as many with those of the other side: the ends are known to a thirtieth."""

SEEDS = (1, 2)
"""Every case is drawn with the same numbers: its interval does not depend on what else is compared."""

TOGETHER = 512
"""Cases that are drawn at once: their draws take 8 MB."""

SMALL = 2**18
"""Multiplications of a product that OpenBLAS does itself; for larger ones it wakes threads, and waits for them."""

TAIL = (1 - CONFIDENCE) / 2


@dataclass(frozen=True)
class Sample:
    """One positive figure per process, and the relative standard error of each by itself (0 where it is not known)."""

    figures: tuple[float, ...]
    errors: tuple[float, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """A mean of logs, or a difference of two means, with its 95 % interval from `low` to `high`.

    `error` is its standard error with so many `degrees` of freedom. All four are None without a second replicate.
    """

    centre: float
    replicates: int
    low: float | None = None
    high: float | None = None
    error: float | None = None
    degrees: float | None = None

    @property
    def interval(self) -> Interval:
        """The same as what the logs are the logarithms of."""
        low, high = (None if bound is None else math.exp(bound) for bound in (self.low, self.high))
        return Interval(math.exp(self.centre), low, high, self.replicates)


def estimates(cases: Sequence[tuple[Sample, ...]], *, drawn: bool = True) -> list[Estimate]:
    """Returns the log mean of every case that is one sample, and candidate - base of every one that is two of them.

    One sample are ratios, of which each pair of processes gives one. Without `drawn` the intervals are those of
    Student and Welch alone.

    Raises:
        ValueError: a case with an empty sample.
    """
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for place, case in enumerate(cases):
        by_shape.setdefault(tuple(len(sample.figures) for sample in case), []).append(place)
    if any(0 in shape for shape in by_shape):
        raise ValueError("an interval needs at least one process on each side")
    found: dict[int, Estimate] = {}
    for shape, places in by_shape.items():
        for start in range(0, len(places), TOGETHER):
            some = places[start : start + TOGETHER]
            found.update(zip(some, _alike([cases[place] for place in some], shape, drawn=drawn), strict=True))
    return [found[place] for place in range(len(cases))]


def _alike(cases: Sequence[tuple[Sample, ...]], shape: tuple[int, ...], *, drawn: bool) -> Iterator[Estimate]:
    """Yields the estimates of cases with as many processes each."""
    from scipy.special import stdtrit  # noqa: PLC0415  (scipy takes a while to import)

    logs = [np.log([case[side].figures for case in cases]) for side in range(len(shape))]
    means = [side.mean(axis=1) for side in logs]
    centres = means[-1] - means[0] if len(shape) == 2 else means[0]
    replicates = min(shape)
    if replicates < 2:
        yield from (Estimate(centre, replicates) for centre in centres.tolist())
        return
    variances = [side.var(axis=1, ddof=1) for side in logs]
    parts = [variance / count for variance, count in zip(variances, shape, strict=True)]
    total = np.add.reduce(parts)
    errors = np.sqrt(total)
    below = np.add.reduce([part**2 / (count - 1) for part, count in zip(parts, shape, strict=True)])
    degrees = np.divide(total**2, below, out=np.full_like(total, float(sum(shape) - len(shape))), where=below > 0)
    reach = stdtrit(degrees, 1 - TAIL)
    low, high = -reach * errors, reach * errors
    if drawn and errors.any():
        stretch = reach / NormalDist().inv_cdf(1 - TAIL)
        weighed = [
            np.concatenate(_levels(side, variance, case_errors), axis=1)
            for side, variance, case_errors in zip(logs, variances, _own_errors(cases, shape), strict=True)
        ]
        low, high = (stretch * end for end in _ends(weighed, shape))
    rows = (centres, centres + low, centres + high, errors, degrees)
    for centre, start, end, error, freedom in zip(*(row.tolist() for row in rows), strict=True):
        yield Estimate(centre, replicates, start, end, error, freedom)


def _own_errors(cases: Sequence[tuple[Sample, ...]], shape: tuple[int, ...]) -> list[Array]:
    """Returns the processes' own errors of each side, a row per case."""
    return [
        np.array([case[side].errors or (0.0,) * count for case in cases], dtype=float)
        for side, count in enumerate(shape)
    ]


def _levels(logs: Array, variance: Array, errors: Array) -> tuple[Array, Array]:
    """Returns by how much figures move when processes are drawn, and by how much each moves within its own.

    Together they vary as much as the figures; where processes claim to be less sure than that, they are believed less.
    """
    count = logs.shape[1]
    claimed = np.mean(errors**2, axis=1)
    within = np.minimum(claimed, variance)
    between = np.divide(variance - within, variance, out=np.zeros_like(variance), where=variance > 0)
    believed = np.divide(within, claimed, out=np.zeros_like(claimed), where=claimed > 0)
    deviations = (logs - logs.mean(axis=1, keepdims=True)) * math.sqrt(count / (count - 1))
    return deviations * np.sqrt(between)[:, None], errors * np.sqrt(believed)[:, None]


def _ends(weighed: Sequence[Array], shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Returns the percentiles of drawn deviations, a row of `weighed` per case; the first side of two is taken off."""
    signs = (-1.0, 1.0) if len(shape) == 2 else (1.0,)
    signed = np.concatenate([sign * side for sign, side in zip(signs, weighed, strict=True)], axis=1)
    signed = signed.astype(np.float32)  # seven digits of a deviation are plenty, in half the time
    draws = _both_ways(shape)
    drawn = np.empty((len(signed), draws.shape[1]), np.float32)
    rows = max(1, SMALL // draws.size)
    for start in range(0, len(signed), rows):
        np.matmul(signed[start : start + rows], draws, out=drawn[start : start + rows])
    place = round(TAIL * drawn.shape[1]) - 1
    places = [place, drawn.shape[1] - 1 - place]
    drawn.partition(places, axis=1)
    return drawn[:, places[0]].astype(float), drawn[:, places[1]].astype(float)


@lru_cache(maxsize=32)
def _both_ways(shape: tuple[int, ...]) -> Array:
    """Returns the draws of sides with so many processes, first with their own numbers and then with the other's."""
    ways = (SEEDS, SEEDS[::-1])
    return np.concatenate(
        [np.concatenate([_draws(*of) for of in zip(shape, seeds, strict=False)]) for seeds in ways], axis=1
    )


def _draws(count: int, seed: int) -> Array:
    """Returns what each of so many processes counts in drawn means, and below it the noise that its places add up to.

    There is a column per draw.
    """
    numbers = np.random.default_rng([seed, count])
    chosen = numbers.integers(count, size=(DRAWS, count))
    noise = numbers.standard_normal((DRAWS, count))
    columns = np.repeat(np.arange(DRAWS), count)
    weights = np.zeros((2 * count, DRAWS))
    np.add.at(weights, (chosen.ravel(), columns), 1.0 / count)
    np.add.at(weights, (count + chosen.ravel(), columns), noise.ravel() / count)
    return weights.astype(np.float32)
