"""Where the level of a series changes: candidates from a library, kept only where chance does not make such steps.

What goes wrong with change points on benchmarks is known: a t-test on a point that was chosen because it looks
like a step is no test (12.5 % of the alert groups of one large project were false, arXiv 2606.18377), a single slow
run looks like two steps, and noise that wanders makes steps of its own. So here the largest step of a stretch is held
against the largest steps of series in which nothing changes and whose noise wanders as much (a permutation of the
innovations of a process of the first order; B. Efron and R. Tibshirani, "An introduction to the bootstrap", section
8.5), a single run counts for no more than a few standard deviations, and all steps of all series are judged together
(S. Holm, Scand. J. Statist. 6, 1979).

What remains, of series of 40 runs with 5 % noise that are looked at alone: a false step in 1 % of them where runs are
independent, in 3 % where a run hands on 0.3 of its deviation, in 6 % at 0.5, in 13 % at 0.7. A step of 15 % is found
within one run of its place in 96 % of them, one that began three runs ago in 47 % (tests/bench/test_steps.py).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from bench.stats import MOST_CORRELATION, Interval, ratio_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FEWEST = 8
"""Fewest runs in which a change is looked for."""

SEGMENT = 3
"""Fewest runs of a level."""

ALPHA = 0.02
"""Probability of any false step among all series that are looked at together, where their noise is independent."""

PENALTY = 3.0
"""Cost of a candidate over the variance of the noise and the logarithm of the count; BIC's own for a level is 2."""

SPIKE = 4.0
"""A run counts for at most so many standard deviations of the noise beyond the median of its neighbourhood."""

STEADY = 1e-3
"""Least standard deviation that noise is taken for, so that exact figures do not divide by zero."""

ENOUGH = 20
"""Larger steps by chance after which there is no more to learn of a probability (J. Besag and P. Clifford, 1991)."""

BATCH, MOST_SHUFFLES = 500, 20_000

_MAD = NormalDist().inv_cdf(0.75)


@dataclass(frozen=True)
class Step:
    """A level begins at point `at`: its ratio to the level before, and the probability of such a step by chance."""

    at: int
    ratio: Interval
    p: float


@dataclass(frozen=True)
class _Track:
    """One series on its way: logarithms without spikes, and a number that makes its chances repeatable."""

    logs: Array
    seed: int


def find(series: Sequence[tuple[Sequence[float], int]], threshold: float) -> list[tuple[Step, ...]]:
    """Returns the steps of each series of positive values; each comes with a number to seed its permutations.

    A step is kept if it is at least the threshold and significant by Holm's procedure over all steps of all series, of
    which one without a candidate counts as one.
    """
    import numpy as np  # noqa: PLC0415  (with ruptures most of a second, which only this command needs)

    tracks = [_Track(_without_spikes(np.log(np.asarray(values, dtype=float))), seed) for values, seed in series]
    cuts = [candidates(track.logs) for track in tracks]
    shuffles = min(MOST_SHUFFLES, max(2 * BATCH, math.ceil(1.2 * len(tracks) / ALPHA)))
    found = [_prune(track, at, threshold, shuffles) for track, at in zip(tracks, cuts, strict=True)]
    while True:
        family = sum(max(1, len(steps)) for steps in found)
        refused = _refused([step.p for steps in found for step in steps], family)
        if refused is None:
            return [tuple(steps) for steps in found]
        for i, steps in enumerate(found):
            kept = [step.at for step in steps if step.p < refused]
            if len(kept) < len(steps):
                found[i] = _prune(tracks[i], kept, threshold, shuffles)


def candidates(logs: Array) -> list[int]:
    """Returns where PELT begins a new level, by squared deviations and a penalty of the kind of BIC."""
    import numpy as np  # noqa: PLC0415
    import ruptures  # noqa: PLC0415

    penalty = PENALTY * _noise(logs) ** 2 * math.log(len(logs))
    pelt = ruptures.KernelCPD(kernel="linear", min_size=SEGMENT).fit(np.ascontiguousarray(logs.reshape(-1, 1)))
    return [int(at) for at in pelt.predict(pen=penalty)[:-1]]


def _noise(logs: Array) -> float:
    """Returns the standard deviation of independent noise, from the median difference of neighbours."""
    import numpy as np  # noqa: PLC0415

    return max(float(np.median(np.abs(np.diff(logs)))) / (_MAD * math.sqrt(2)), STEADY)


def _without_spikes(logs: Array) -> Array:
    """Returns the logarithms with single runs that stand out drawn near the median of the five around them."""
    import numpy as np  # noqa: PLC0415

    reach = SPIKE * _noise(logs)
    middle = np.array([np.median(logs[max(0, i - 2) : i + 3]) for i in range(len(logs))])
    return np.clip(logs, middle - reach, middle + reach)


def _prune(track: _Track, cuts: Sequence[int], threshold: float, shuffles: int) -> list[Step]:
    """Returns the steps that remain when the least certain candidate is dropped until all are real."""
    left = list(cuts)
    while left:
        steps = _judge(track, left, threshold, shuffles)
        worst = max(range(len(steps)), key=lambda i: steps[i].p)
        if steps[worst].p <= ALPHA:
            return steps
        del left[worst]
    return []


def _judge(track: _Track, cuts: Sequence[int], threshold: float, shuffles: int) -> list[Step]:
    """Returns a step for each cut; one that is too small, or whose interval holds no change, has probability 1."""
    ends = [0, *cuts, len(track.logs)]
    memory = _memory(track.logs, ends)
    steps = []
    for first, at, last in zip(ends, ends[1:], ends[2:], strict=False):
        ratio = _widened(track.logs[first:at], track.logs[at:last], memory)
        size = abs(math.log(ratio.estimate))
        certain = ratio.low is not None and ratio.high is not None and not ratio.low <= 1 <= ratio.high
        p = 1.0
        if certain and size >= math.log1p(threshold):
            p = _chance(track.logs[first:last], at - first, memory, (track.seed, first, last), shuffles)
        steps.append(Step(at, ratio, p))
    return steps


def _memory(logs: Array, ends: Sequence[int]) -> float:
    """Returns how much of its deviation a run hands on to the next one, at the upper end of what may be.

    The correlation of neighbours about their level is too low, by about (1 + 3 r) / n for each level (M. Kendall,
    Biometrika 41, 1954), and known to a standard error of about sqrt((1 - r^2) / n): both are added.
    """
    import numpy as np  # noqa: PLC0415

    rest = np.concatenate([logs[a:b] - logs[a:b].mean() for a, b in itertools.pairwise(ends)])
    total, count = float(rest @ rest), len(rest)
    if total <= count * STEADY**2:
        return 0.0
    found = float(rest[1:] @ rest[:-1]) / total
    found += (len(ends) - 1) * (1 + 3 * max(found, 0.0)) / count
    found += math.sqrt(max(1 - found * found, 0.0) / count)
    return min(max(found, 0.0), MOST_CORRELATION)


def _widened(before: Array, after: Array, memory: float) -> Interval:
    """Returns new level over old one with Welch's interval over the runs, wider where runs follow one another."""
    import numpy as np  # noqa: PLC0415

    plain = ratio_interval(np.exp(before).tolist(), np.exp(after).tolist())
    if plain.low is None or plain.high is None:
        return plain
    centre = math.log(plain.estimate)
    reach = (math.log(plain.high) - centre) * math.sqrt((1 + memory) / (1 - memory))
    return Interval(plain.estimate, math.exp(centre - reach), math.exp(centre + reach), plain.replicates)


def _chance(logs: Array, at: int, memory: float, seed: tuple[int, ...], shuffles: int) -> float:
    """Returns how often the largest step of a series in which nothing changes is at least the one at hand."""
    import numpy as np  # noqa: PLC0415
    from scipy.signal import lfilter  # noqa: PLC0415

    observed = _gains(logs[None, :])[0, at - SEGMENT]
    rest = np.concatenate([logs[:at] - logs[:at].mean(), logs[at:] - logs[at:].mean()])
    fresh = rest.copy()
    fresh[1:] -= memory * rest[:-1]
    start = math.sqrt(1 - memory * memory)
    fresh[0] *= start
    chance = np.random.default_rng(seed)
    done = larger = 0
    while done < shuffles and larger < ENOUGH:
        drawn = chance.permuted(np.tile(fresh, (BATCH, 1)), axis=1)
        drawn[:, 0] /= start
        noise = lfilter([1.0], [1.0, -memory], drawn, axis=1)
        larger += int((_gains(noise).max(axis=1) >= observed).sum())
        done += BATCH
    return (larger + 1) / (done + 1)


def _gains(rows: Array) -> Array:
    """Returns for each row and each place of a step the F statistic of two levels against one."""
    import numpy as np  # noqa: PLC0415

    count = rows.shape[1]
    rows = rows - rows.mean(axis=1, keepdims=True)
    left = np.arange(SEGMENT, count - SEGMENT + 1)
    sums = np.cumsum(rows, axis=1)[:, SEGMENT - 1 : count - SEGMENT]
    between = sums * sums * count / (left * (count - left))
    within = np.maximum((rows * rows).sum(axis=1, keepdims=True) - between, 1e-30)
    gains: Array = between / within * (count - 2)
    return gains


def _refused(chances: Sequence[float], family: int) -> float | None:
    """Returns the least probability that Holm's procedure does not accept, None where it accepts all."""
    for rank, p in enumerate(sorted(chances)):
        if p * (family - rank) > ALPHA:
            return p
    return None
