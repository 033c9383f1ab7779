"""Intervals by a hierarchical bootstrap: processes are drawn again, and within each its median is uncertain too.

Few processes make a bootstrap too sure: drawn means vary by (n - 1) / n too little, and its percentiles know nothing of
how badly a spread of five is known. Both are mended as by T. C. Hesterberg, "What Teachers Should Know About the
Bootstrap", Am. Stat. 69, 2015, section 5.4 (expanded percentiles). Drawing on two levels: A. C. Davison and
D. V. Hinkley, "Bootstrap Methods and Their Application", 1997, section 3.8. The second level is a normal distribution
with the standard error that the process itself gave for its median, correlation of its samples included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, fmean, variance
from typing import TYPE_CHECKING

import numpy as np

from bench.stats import CONFIDENCE, Interval, t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

DRAWS = 1999
"""The 1 % percentile of so many draws is known to a fifth of a standard error."""

SEEDS = (1, 2)
"""The two sides are drawn apart, and every case alike: the same data give the same interval."""


@dataclass(frozen=True)
class Side:
    """One log figure per process, and the standard error that each has by itself (0 where it is not known)."""

    logs: tuple[float, ...]
    errors: tuple[float, ...]


@dataclass(frozen=True)
class Spread:
    """A difference of log means, its standard error, and the degrees of freedom of that."""

    centre: float
    error: float
    degrees: float


def welch(base: Sequence[float], candidate: Sequence[float]) -> Spread | None:
    """Returns candidate - base with Welch's standard error and degrees, None where a side has no spread to know.

    Source: B. L. Welch, Biometrika 34, 1947.
    """
    if min(len(base), len(candidate)) < 2:
        return None
    parts = variance(base) / len(base), variance(candidate) / len(candidate)
    total = sum(parts)
    degrees = math.inf
    if total > 0:
        degrees = total**2 / (parts[0] ** 2 / (len(base) - 1) + parts[1] ** 2 / (len(candidate) - 1))
    return Spread(fmean(candidate) - fmean(base), math.sqrt(total), degrees)


def paired_spread(logs: Sequence[float]) -> Spread | None:
    """Returns the mean of log ratios with its standard error, None for a single one."""
    if len(logs) < 2:
        return None
    return Spread(fmean(logs), math.sqrt(variance(logs) / len(logs)), len(logs) - 1)


def ratio(base: Side, candidate: Side, confidence: float = CONFIDENCE) -> Interval:
    """Returns candidate / base with its interval over processes that were measured apart."""
    found = welch(base.logs, candidate.logs)
    replicates = min(len(base.logs), len(candidate.logs))
    if found is None:
        return Interval(math.exp(fmean(candidate.logs) - fmean(base.logs)), None, None, replicates)
    drawn = _means(candidate, SEEDS[1]) - _means(base, SEEDS[0])
    return _interval(found, drawn, replicates, confidence)


def paired_ratio(side: Side, confidence: float = CONFIDENCE) -> Interval:
    """Returns the ratio whose logarithm each process pair gives once, with its interval over pairs."""
    found = paired_spread(side.logs)
    if found is None:
        return Interval(math.exp(fmean(side.logs)), None, None, len(side.logs))
    return _interval(found, _means(side, SEEDS[0]), len(side.logs), confidence)


def _interval(found: Spread, drawn: np.ndarray, replicates: int, confidence: float) -> Interval:
    """Returns the expanded percentiles of drawn differences."""
    reach = t_quantile(found.degrees, confidence) if math.isfinite(found.degrees) else NormalDist().inv_cdf(0.975)
    tail = NormalDist().cdf(-reach)
    places = [max(0, round(tail * DRAWS) - 1), min(DRAWS - 1, DRAWS - round(tail * DRAWS))]
    low, high = np.partition(drawn, places)[places]
    return Interval(math.exp(found.centre), math.exp(low), math.exp(high), replicates)


def _means(side: Side, seed: int) -> np.ndarray:
    """Returns means of drawn processes, with as much spread as the mean of such processes has."""
    count = len(side.logs)
    weights, noise = _draws(count, seed)
    logs = np.asarray(side.logs)
    centre = logs.mean()
    means: np.ndarray = centre + math.sqrt(count / (count - 1)) * (weights @ (logs - centre))
    return means + noise @ np.asarray(side.errors) if any(side.errors) else means


@lru_cache(maxsize=64)
def _draws(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns how often each of so many processes is drawn, as a share, and the normal noise that its places add up to.

    Both have a row per draw and a column per process.
    """
    numbers = np.random.default_rng([seed, count])
    chosen = numbers.integers(count, size=(DRAWS, count))
    noise = numbers.standard_normal((DRAWS, count))
    rows = np.repeat(np.arange(DRAWS), count)
    weights, sums = np.zeros((DRAWS, count)), np.zeros((DRAWS, count))
    np.add.at(weights, (rows, chosen.ravel()), 1.0 / count)
    np.add.at(sums, (rows, chosen.ravel()), noise.ravel() / count)
    return weights, sums
