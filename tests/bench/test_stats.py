"""Intervals against scipy's, against exact binomial ranks, and against seeded simulations."""

import math
import random
import subprocess
import sys
from statistics import median

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from bench.stats import (
    Interval,
    drift,
    geometric_interval,
    median_half_width,
    paired_ratio_interval,
    precision,
    ratio_interval,
    relative_spread,
    serial_correlation,
    t_quantile,
)

TIMES = st.lists(st.floats(1e-7, 1e3), min_size=2, max_size=12)
DRAWS = 2000


def close(interval: Interval, estimate: float, low: float, high: float) -> None:
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((estimate, low, high), rel=1e-9)


# against scipy


@pytest.mark.parametrize(("degrees", "quantile"), [(1, 12.706205), (2, 4.302653), (4, 2.776445), (9, 2.262157)])
def test_students_t_of_the_tables(degrees: float, quantile: float) -> None:
    assert t_quantile(degrees) == pytest.approx(quantile, rel=1e-6)


def test_students_t_at_another_confidence() -> None:
    assert t_quantile(4, 0.90) == pytest.approx(2.131847, rel=1e-6)
    assert t_quantile(3.7, 0.99) == pytest.approx(scipy_stats.t.ppf(0.995, 3.7))


@given(TIMES)
def test_a_geometric_mean_has_students_interval_on_the_logarithm(values: list[float]) -> None:
    logs = np.log(values)
    low, high = scipy_stats.t.interval(0.95, len(logs) - 1, loc=logs.mean(), scale=max(scipy_stats.sem(logs), 1e-300))
    found = geometric_interval(values)
    close(found, scipy_stats.gmean(values), math.exp(low), math.exp(high))
    assert found.replicates == len(values)


@given(TIMES, TIMES, st.sampled_from([0.90, 0.95, 0.99]))
def test_a_ratio_has_welchs_interval_on_the_logarithm(
    base: list[float], candidate: list[float], confidence: float
) -> None:
    a, b = np.log(base), np.log(candidate)
    assume(np.ptp(a) > 1e-6 and np.ptp(b) > 1e-6)  # scipy warns below; the edges have tests of their own
    expected = scipy_stats.ttest_ind(b, a, equal_var=False).confidence_interval(confidence)
    low, high = np.exp(expected)
    close(ratio_interval(base, candidate, confidence), math.exp(b.mean() - a.mean()), low, high)


def test_paired_ratios_have_the_interval_of_scipys_paired_test() -> None:
    base, candidate = [1.0, 2.0, 4.0, 3.0], [1.1, 2.1, 4.6, 3.1]
    result = scipy_stats.ttest_rel(np.log(candidate), np.log(base))
    low, high = np.exp(result.confidence_interval(0.95))
    close(paired_ratio_interval(base, candidate), scipy_stats.gmean(np.divide(candidate, base)), low, high)


def test_pairs_take_out_what_both_sides_share() -> None:
    drift = [1.0, 2.0, 5.0]
    candidate = [1.1 * value for value in drift]
    paired, apart = paired_ratio_interval(drift, candidate), ratio_interval(drift, candidate)
    close(paired, 1.1, 1.1, 1.1)
    assert apart.estimate == pytest.approx(1.1)
    assert apart.low is not None
    assert apart.low < 0.2


# small cases by hand


def test_a_geometric_mean_by_hand() -> None:
    # logs 0, ln 2, 2 ln 2: mean ln 2, sd ln 2, t(2) = 4.302653
    reach = 4.302653 * math.log(2) / math.sqrt(3)
    found = geometric_interval([1.0, 2.0, 4.0])
    assert found.estimate == pytest.approx(2.0)
    assert found.low == pytest.approx(2 * math.exp(-reach), rel=1e-6)
    assert found.high == pytest.approx(2 * math.exp(reach), rel=1e-6)


def test_a_ratio_by_hand() -> None:
    # equal variances (ln 2)^2 / 2 on both sides: total (ln 2)^2 / 2, degrees 2
    reach = 4.302653 * math.log(2) / math.sqrt(2)
    found = ratio_interval([1.0, 2.0], [3.0, 6.0])
    assert found.estimate == pytest.approx(3.0)
    assert found.low == pytest.approx(3 * math.exp(-reach), rel=1e-6)
    assert found.high == pytest.approx(3 * math.exp(reach), rel=1e-6)


def test_a_ratio_turned_round_is_its_inverse() -> None:
    a, b = [1.0, 1.2, 0.9], [2.0, 2.6, 2.1, 1.9]
    there, back = ratio_interval(a, b), ratio_interval(b, a)
    assert there.low is not None
    assert there.high is not None
    close(back, 1 / there.estimate, 1 / there.high, 1 / there.low)


# edges that decide a verdict


@pytest.mark.parametrize(
    ("interval", "estimate", "replicates"),
    [
        (geometric_interval([2.0]), 2.0, 1),
        (ratio_interval([2.0], [3.0]), 1.5, 1),
        (ratio_interval([2.0], [3.0, 3.0, 3.0]), 1.5, 1),
        (ratio_interval([2.0, 2.0, 2.0], [3.0]), 1.5, 1),
        (paired_ratio_interval([2.0], [3.0]), 1.5, 1),
    ],
)
def test_one_process_has_no_interval(interval: Interval, estimate: float, replicates: int) -> None:
    assert interval.estimate == pytest.approx(estimate)
    assert (interval.low, interval.high, interval.half_width, interval.replicates) == (None, None, None, replicates)


@pytest.mark.parametrize(
    "interval",
    [
        geometric_interval([1.5, 1.5, 1.5]),
        ratio_interval([2.0, 2.0], [3.0, 3.0, 3.0]),
        paired_ratio_interval([2.0, 4.0], [3.0, 6.0]),
    ],
)
def test_equal_values_have_an_interval_of_no_width(interval: Interval) -> None:
    close(interval, 1.5, 1.5, 1.5)
    assert interval.half_width == pytest.approx(0.0, abs=1e-12)


def test_one_side_without_variance_leaves_the_degrees_of_the_other() -> None:
    found = ratio_interval([2.0, 2.0, 2.0, 2.0, 2.0], [2.0, 4.0])
    reach = t_quantile(1) * math.sqrt(math.log(2) ** 2 / 2 / 2)
    close(found, math.sqrt(2), math.sqrt(2) * math.exp(-reach), math.sqrt(2) * math.exp(reach))
    assert found.replicates == 2


def test_half_of_the_width_is_relative_to_the_estimate() -> None:
    assert Interval(10.0, 8.0, 13.0, 3).half_width == 0.25
    assert Interval(0.0, 0.0, 0.0, 3).half_width is None
    assert Interval(1.0, None, None, 1).half_width is None


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_a_value_without_a_logarithm_is_refused(value: float, place: int) -> None:
    values = [1.0, 1.0]
    values[place] = value
    text = f"^an interval needs positive, finite values, got {value}$"
    with pytest.raises(ValueError, match=text):
        geometric_interval(values)
    for function in (ratio_interval, paired_ratio_interval):
        for sides in ((values, [1.0, 1.0]), ([1.0, 1.0], values)):
            with pytest.raises(ValueError, match=text):
                function(*sides)


def test_no_values_are_refused() -> None:
    for sides in (([], [1.0]), ([1.0], []), ([], [])):
        with pytest.raises(ValueError, match=r"^an interval needs at least one value, got none$"):
            ratio_interval(*sides)
    with pytest.raises(ValueError, match=r"^an interval needs at least one value, got none$"):
        geometric_interval([])
    with pytest.raises(ValueError, match=r"^an interval needs at least one value, got none$"):
        paired_ratio_interval([], [])


def test_pairs_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^pairs need two sides of one length, got 1 and 2$"):
        paired_ratio_interval([1.0], [1.0, 2.0])


# coverage: what an interval promises


def share(hits: list[bool]) -> float:
    return sum(hits) / len(hits)


def covers(interval: Interval, truth: float) -> bool:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low <= truth <= interval.high


@pytest.mark.parametrize("processes", [2, 5, 10])
def test_a_95_percent_interval_covers_the_truth_95_times_in_a_hundred(processes: int) -> None:
    draws = np.exp(np.random.default_rng(0).normal(math.log(3e-3), 0.1, (DRAWS, processes)))
    assert 0.93 < share([covers(geometric_interval(list(d)), 3e-3) for d in draws]) < 0.97
    assert 0.88 < share([covers(geometric_interval(list(d), 0.90), 3e-3) for d in draws]) < 0.92


@pytest.mark.parametrize(("n_base", "n_candidate", "noise"), [(5, 5, 0.1), (10, 5, 0.3), (5, 5, 0.02)])
def test_a_ratio_of_sides_that_spread_differently_is_covered(n_base: int, n_candidate: int, noise: float) -> None:
    random = np.random.default_rng(1)
    base = np.exp(random.normal(0.0, 0.1, (DRAWS, n_base)))
    candidate = np.exp(random.normal(math.log(1.05), noise, (DRAWS, n_candidate)))
    hits = [covers(ratio_interval(list(a), list(b)), 1.05) for a, b in zip(base, candidate, strict=True)]
    assert 0.93 < share(hits) < 0.97


def test_a_paired_ratio_is_covered_and_narrower_when_rounds_drift() -> None:
    random = np.random.default_rng(2)
    drift = random.normal(0.0, 0.3, (DRAWS, 5))
    base = np.exp(drift + random.normal(0.0, 0.02, drift.shape))
    candidate = np.exp(drift + math.log(1.05) + random.normal(0.0, 0.02, drift.shape))
    pairs = [(list(a), list(b)) for a, b in zip(base, candidate, strict=True)]
    found = [paired_ratio_interval(*pair) for pair in pairs]
    assert 0.93 < share([covers(interval, 1.05) for interval in found]) < 0.97
    apart = [ratio_interval(*pair).half_width or 0.0 for pair in pairs]
    assert np.median(apart) > 5 * np.median([interval.half_width or 0.0 for interval in found])


# the median of one process


def exact_rank(count: int) -> int:
    """The largest rank (from 0) with which the interval from it to its mirror covers the median in 95 % or more."""
    ranks = np.arange(count)
    return int(ranks[scipy_stats.binom.cdf(ranks, count, 0.5) <= 0.025].max())


def rank_used(count: int) -> tuple[float, float]:
    """The two ranks (from 0) that the interval of `count` samples goes between, as seen from outside."""
    far, samples = 1e9, np.arange(count, dtype=float)
    whole = far + samples
    width = median_half_width(list(whole))
    assert width is not None
    reach = width * 2 * np.median(whole)  # high - low
    return (count - 1 - reach) / 2, reach


@pytest.mark.parametrize("count", [6, 7, 8, 9, 10, 12, 15, 16, 20, 25, 30, 50, 100, 101, 250, 1000])
def test_a_medians_interval_goes_between_the_exact_binomial_ranks(count: int) -> None:
    assert rank_used(count)[0] == pytest.approx(exact_rank(count), abs=1e-3)


def test_the_approximation_of_the_ranks_is_never_too_narrow_and_at_most_one_too_wide() -> None:
    differences = [exact_rank(count) - round(rank_used(count)[0]) for count in range(6, 400)]
    assert min(differences) == 0
    assert max(differences) == 1
    assert sum(differences) < 10


def test_a_medians_interval_by_hand() -> None:
    # ten samples: ranks 2 and 9, around a median of 10.5
    assert median_half_width([10, 8, 9, 10, 11, 12, 13, 1, 100, 11]) == pytest.approx((13 - 8) / 2 / 10.5)
    # six: the smallest and the largest
    assert median_half_width([1, 2, 3, 5, 7, 8]) == pytest.approx((8 - 1) / 2 / 4)


def test_a_single_outlier_does_not_widen_the_median_of_ten() -> None:
    quiet = [1.0] * 9
    assert median_half_width([*quiet, 1000.0]) == 0.0
    assert median_half_width([*quiet, 0.001]) == 0.0


def test_more_confidence_is_wider() -> None:
    samples = list(np.random.default_rng(3).lognormal(size=100))
    widths = [median_half_width(samples, confidence) or 0.0 for confidence in (0.5, 0.9, 0.95, 0.999)]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1] / 2


def test_a_medians_interval_covers_the_median() -> None:
    draws = np.random.default_rng(4).lognormal(0.0, 0.5, (DRAWS, 20))
    rank = exact_rank(20)
    hits = []
    for draw in draws:
        ordered = np.sort(draw)
        low, high = ordered[rank], ordered[-1 - rank]
        assert median_half_width(list(draw)) == pytest.approx((high - low) / 2 / np.median(draw))
        hits.append(bool(low <= 1.0 <= high))
    assert 0.94 < share(hits) < 0.98


@pytest.mark.parametrize("samples", [[], [1.0] * 5, [0.0] * 10, [-1.0] * 10])
def test_a_median_without_an_interval(samples: list[float]) -> None:
    assert median_half_width(samples) is None


@pytest.mark.parametrize(
    ("samples", "spread"),
    [
        ([1.0, 2.0, 3.0], None),
        ([1.0, 2.0, 3.0, 4.0], (3.25 - 1.75) / 2.5),
        ([5.0, 4.0, 1.0, 2.0, 3.0], 2 / 3),
        ([2.0] * 4, 0.0),
        ([0.0] * 4, None),
    ],
)
def test_spread_is_the_interquartile_range_over_the_median(samples: list[float], spread: float | None) -> None:
    assert relative_spread(samples) == (None if spread is None else pytest.approx(spread))


@given(st.lists(st.floats(0.1, 10), min_size=4, max_size=30))
def test_spread_is_that_of_numpy(samples: list[float]) -> None:
    first, middle, third = np.quantile(samples, [0.25, 0.5, 0.75])
    assert relative_spread(samples) == pytest.approx((third - first) / middle)


def test_reading_the_module_does_not_read_scipy() -> None:
    code = "import sys, bench.stats; print('scipy' in sys.modules, 'numpy' in sys.modules, 'torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False False False\n"
    )


def wandering(count: int, weight: float, seed: int = 0) -> list[float]:
    """Samples around 1 of which each keeps a share of its predecessor's deviation."""
    draw = random.Random(seed)  # noqa: S311  (noise, not a secret)
    deviations = [draw.gauss(0, 0.01)]
    for _ in range(count - 1):
        deviations.append(weight * deviations[-1] + draw.gauss(0, 0.01))
    return [1 + deviation for deviation in deviations]


def test_the_correlation_of_neighbours() -> None:
    assert serial_correlation([1.0] * 20) is None
    assert serial_correlation([1.0, 2.0] * 3) is None
    assert serial_correlation([1.0, 2.0] * 50) == pytest.approx(-0.99)
    assert serial_correlation([float(i) for i in range(100)]) == pytest.approx(1.0, abs=0.05)
    found = serial_correlation(wandering(2000, 0.6))
    assert found == pytest.approx(0.58, abs=0.06)  # 6 / pi * asin(0.6 / 2): ranks of normal values
    independent = serial_correlation(wandering(2000, 0.0))
    assert independent == pytest.approx(0.0, abs=0.06)


def test_one_long_stop_does_not_hide_what_samples_have_in_common() -> None:
    samples = wandering(1000, 0.8)
    before = serial_correlation(samples)
    samples[77] = 50.0
    assert serial_correlation(samples) == pytest.approx(before, abs=0.01)


def test_precision_counts_correlated_samples_for_less() -> None:
    samples = wandering(400, 0.6)
    plain, correlation = median_half_width(samples), serial_correlation(samples)
    assert plain is not None
    assert correlation is not None
    assert precision(samples) == pytest.approx(plain * ((1 + correlation) / (1 - correlation)) ** 0.5)
    alternating = [1.0, 1.1] * 20
    assert precision(alternating) == median_half_width(alternating)
    assert precision([1.0] * 5) is None
    assert precision([1.0] * 10) == 0


def test_precision_covers_the_median_of_correlated_samples() -> None:
    """Of 400 processes with correlated samples, at least nine in ten know their own long-run median."""
    covered = plainly = 0
    for seed in range(400):
        samples = wandering(60, 0.6, seed)
        centre = median(samples)
        width, plain = precision(samples), median_half_width(samples)
        assert width is not None
        assert plain is not None
        covered += abs(centre - 1) <= width * centre
        plainly += abs(centre - 1) <= plain * centre
    assert covered / 400 >= 0.9
    assert plainly / 400 < 0.85


def test_a_drift_is_more_than_noise() -> None:
    assert drift([1.0] * 11) is None
    assert drift([1.0] * 30) is None
    assert drift([float(i) for i in range(10, 40)]) == pytest.approx(34.5 / 14.5 - 1)
    falling = [1 - 0.003 * i + 0.01 * (-1) ** i for i in range(60)]
    found = drift(falling)
    assert found is not None
    assert found < -0.1


def test_independent_samples_seldom_look_like_a_drift() -> None:
    called = sum(drift(wandering(40, 0.0, seed)) is not None for seed in range(1000))
    assert called / 1000 <= 0.02
