"""Medians, intervals and ratios; the unit of replication is the process, never the sample.

Samples of one process are not independent replicates: tests on them called a third of unchanged cases different.
So every interval here is taken over one figure per process, on the logarithm, because times are positive and
their errors multiply. Sources: T. Kalibera and R. Jones, "Rigorous benchmarking in reasonable time", ISMM 2013
(replicate at the level that varies most); B. L. Welch, Biometrika 34, 1947 (unequal variances).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from statistics import NormalDist, fmean, median, quantiles, variance
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CONFIDENCE = 0.95

NORMAL_IQR = 2 * NormalDist().inv_cdf(0.75)
"""Interquartile range of a normal distribution over its standard deviation: 1.349."""

MOST_CORRELATION = 0.95
"""Above it neighbours are as good as one sample, and how many times worse cannot be told from a few dozen."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval; `low` and `high` are None where fewer than two replicates exist."""

    estimate: float
    low: float | None
    high: float | None
    replicates: int

    @property
    def half_width(self) -> float | None:
        """Half of the interval relative to the estimate, None without an interval."""
        if self.low is None or self.high is None or self.estimate == 0:
            return None
        return (self.high - self.low) / 2 / self.estimate


def t_quantile(degrees: float, confidence: float = CONFIDENCE) -> float:
    """Returns the two-sided quantile of Student's t."""
    from scipy.special import stdtrit  # noqa: PLC0415  (scipy.stats alone takes half a second to import)

    return float(stdtrit(degrees, 0.5 + confidence / 2))


def over(samples: Sequence[float], references: Sequence[float]) -> tuple[float, ...]:
    """Returns each sample over the one taken right after it, as far as both go."""
    return tuple(sample / reference for sample, reference in zip(samples, references, strict=False) if reference > 0)


def geometric_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Returns the geometric mean of one positive figure per process, with Student's t interval on the logarithm.

    Raises:
        ValueError: no values, or a value that is not positive.
    """
    return _log_interval(_logs(values), confidence)


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Returns the mean of figures that may have any sign, with Student's t interval; none below two of them."""
    centre = fmean(values)
    if len(values) < 2:
        return Interval(centre, None, None, len(values))
    reach = t_quantile(len(values) - 1, confidence) * _deviation(values) / math.sqrt(len(values))
    return Interval(centre, centre - reach, centre + reach, len(values))


def ratio_interval(base: Sequence[float], candidate: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Returns candidate / base from one figure per process, with Welch's t interval on the logarithm.

    Raises:
        ValueError: a side without values, or a value that is not positive.
    """
    a, b = _logs(base), _logs(candidate)
    centre = fmean(b) - fmean(a)
    replicates = min(len(a), len(b))
    if replicates < 2:
        return Interval(math.exp(centre), None, None, replicates)
    part_a, part_b = variance(a) / len(a), variance(b) / len(b)
    total = part_a + part_b
    if total == 0:
        return Interval(math.exp(centre), math.exp(centre), math.exp(centre), replicates)
    degrees = total**2 / (part_a**2 / (len(a) - 1) + part_b**2 / (len(b) - 1))
    reach = t_quantile(degrees, confidence) * math.sqrt(total)
    return Interval(math.exp(centre), math.exp(centre - reach), math.exp(centre + reach), replicates)


def paired_ratio_interval(
    base: Sequence[float], candidate: Sequence[float], confidence: float = CONFIDENCE
) -> Interval:
    """Returns candidate / base where value i of both sides was taken in the same round of one run.

    Raises:
        ValueError: sides of different length, no values, or a value that is not positive.
    """
    if len(base) != len(candidate):
        raise ValueError(f"pairs need two sides of one length, got {len(base)} and {len(candidate)}")
    return _log_interval([c - b for b, c in zip(_logs(base), _logs(candidate), strict=True)], confidence)


def median_half_width(samples: Sequence[float], confidence: float = CONFIDENCE) -> float | None:
    """Returns half the relative width of the median's interval from order statistics, None below six samples.

    It describes one process only: it says when further samples of it would teach nothing more.
    Source: H. A. David and H. N. Nagaraja, "Order Statistics", section 7.1 (normal approximation of the binomial, here
    with the correction for continuity, so that it never covers less than asked for).
    """
    count = len(samples)
    if count < 6:
        return None
    ordered = sorted(samples)
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * math.sqrt(count) / 2
    low = max(0, math.floor((count - 1) / 2 - reach))
    centre = median(ordered)
    return (ordered[-1 - low] - ordered[low]) / 2 / centre if centre > 0 else None


def median_error(values: Sequence[float]) -> float | None:
    """Returns the standard error of the median of independent values from order statistics, None below eight values.

    It is a quarter of the distance between the values that bound the median's 95 % interval: of the density about the
    median, and of nothing far away.
    """
    count = len(values)
    if count < 8:
        return None
    ordered = sorted(values)
    reach = math.sqrt(count)  # two standard deviations of the number of values below the median
    low = max(0, math.floor((count - 1) / 2 - reach))
    return (ordered[-1 - low] - ordered[low]) / 4


def relative_spread(samples: Sequence[float]) -> float | None:
    """Returns the interquartile range over the median, None below four samples."""
    if len(samples) < 4:
        return None
    first, centre, third = quantiles(samples, n=4, method="inclusive")
    return (third - first) / centre if centre > 0 else None


def serial_correlation(samples: Sequence[float]) -> float | None:
    """Returns the correlation of each sample's rank with its successor's, None below eight samples or without spread.

    Ranks, because single stops of the process would hide what the others have in common. It is 0 for independent
    samples and near 1 where the level wanders slowly.
    """
    if len(samples) < 8:
        return None
    ranks = _ranks(samples)
    centre = fmean(ranks)
    total = math.fsum((rank - centre) ** 2 for rank in ranks)
    if total == 0:
        return None
    return math.fsum((a - centre) * (b - centre) for a, b in itertools.pairwise(ranks)) / total


def precision(samples: Sequence[float]) -> float | None:
    """Returns half the relative width of the median's interval, widened where samples follow one another.

    Correlated samples are worth fewer independent ones: by (1 - r) / (1 + r) for a process of the first order with the
    correlation r of neighbours. Source: G. E. P. Box and G. M. Jenkins, "Time Series Analysis", section 2.1.
    """
    width, correlation = median_half_width(samples), serial_correlation(samples)
    if width is None or correlation is None or correlation <= 0:
        return width
    kept = min(correlation, MOST_CORRELATION)
    return width * math.sqrt((1 + kept) / (1 - kept))


def drift(samples: Sequence[float]) -> float | None:
    """Returns by which share the level moved from the first third of the samples to the last.

    None where that is no more than chance would do to independent samples (Spearman's rank correlation with time at
    1 %), and below twelve samples.
    """
    count = len(samples)
    if count < 12:
        return None
    ranks = _ranks(samples)
    centre = (count - 1) / 2
    spread = math.sqrt(math.fsum((rank - centre) ** 2 for rank in ranks) * count * (count * count - 1) / 12)
    if spread == 0:
        return None
    along = math.fsum((rank - centre) * (i - centre) for i, rank in enumerate(ranks)) / spread
    if abs(along) * math.sqrt(count - 1) <= NormalDist().inv_cdf(0.995):
        return None
    third = count // 3
    first, last = median(samples[:third]), median(samples[-third:])
    return last / first - 1 if first > 0 else None


def _ranks(samples: Sequence[float]) -> list[float]:
    """Returns the place of each sample in ascending order, equal ones at the middle of theirs."""
    order = sorted(range(len(samples)), key=samples.__getitem__)
    ranks = [0.0] * len(samples)
    for _, same in itertools.groupby(enumerate(order), key=lambda place: samples[place[1]]):
        places = list(same)
        for _, index in places:
            ranks[index] = (places[0][0] + places[-1][0]) / 2
    return ranks


def _log_interval(logs: Sequence[float], confidence: float) -> Interval:
    """Returns the interval of the mean of logarithms, and the mean, as what they are logarithms of."""
    found = mean_interval(logs, confidence)
    if found.low is None or found.high is None:
        return Interval(math.exp(found.estimate), None, None, found.replicates)
    return Interval(math.exp(found.estimate), math.exp(found.low), math.exp(found.high), found.replicates)


def _deviation(values: Sequence[float]) -> float:
    """Returns the standard deviation of at least two values; `statistics` computes it in fractions, at ten times."""
    centre = fmean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def _logs(values: Sequence[float]) -> list[float]:
    """Returns natural logarithms of positive values."""
    if not values:
        raise ValueError("an interval needs at least one value, got none")
    for value in values:
        if not 0 < value < math.inf:
            raise ValueError(f"an interval needs positive, finite values, got {value}")
    return [math.log(value) for value in values]


def within_spread(processes: Iterable[Sequence[float]]) -> float | None:
    """Returns how far samples of one process lie apart: the median over processes, None below four samples each.

    Of one process it is the interquartile range over the median, divided by 1.349: the relative standard deviation that
    a normal distribution with these quartiles has. A few slow samples do not move it.
    """
    known = [spread for samples in processes if (spread := relative_spread(samples)) is not None]
    return median(known) / NORMAL_IQR if known else None


def between_spread(medians: Sequence[float]) -> float | None:
    """Returns how far the medians of fresh processes lie apart, None below two or where one is not positive.

    It is the standard deviation of their logarithms, which for small spreads is the relative standard deviation: on the
    same scale as `within_spread`, so that the two can be compared.
    """
    if len(medians) < 2 or min(medians) <= 0:
        return None
    return _deviation(_logs(medians))


def share_interval(count: int, total: int, confidence: float = CONFIDENCE) -> Interval:
    """Returns the share count / total of independent trials with its exact two-sided interval.

    Source: C. J. Clopper and E. S. Pearson, Biometrika 26, 1934: never covers less than asked for, however few trials.

    Raises:
        ValueError: no trials, or a count that is not among them.
    """
    if not 0 <= count <= total or total == 0:
        raise ValueError(f"a share needs 0 <= count <= total and a trial, got {count} of {total}")
    from scipy.special import betaincinv  # noqa: PLC0415  (scipy.stats alone takes half a second to import)

    tail = (1 - confidence) / 2
    low = float(betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return Interval(count / total, low, high, total)
