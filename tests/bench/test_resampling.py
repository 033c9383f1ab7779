"""The interval of a ratio: how often it holds the truth, on seeded noise of known spread."""

from collections.abc import Callable

import numpy as np
import pytest

from bench.resampling import Estimate, Sample, estimates
from bench.stats import geometric_interval, ratio_interval

TRIALS = 3000
NOISE: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda draw, count: draw.normal(size=(TRIALS, count)),
    "heavy tails": lambda draw, count: draw.standard_t(3, size=(TRIALS, count)) / 3**0.5,
    "one in ten disturbed": lambda draw, count: (
        draw.normal(size=(TRIALS, count)) * np.where(draw.random((TRIALS, count)) < 0.1, 4.0, 1.0) / 2.5**0.5
    ),
}


def sides(noise: str, count: int, *, spread: float = 0.05, own: float = 0.0) -> list[tuple[Sample, ...]]:
    """Two sides of as many processes, of which nothing but noise tells them apart."""
    draw = np.random.default_rng(5)
    both = [np.exp(spread * NOISE[noise](draw, count)).tolist() for _ in range(2)]
    return [tuple(Sample(tuple(side), (own,) * count) for side in pair) for pair in zip(*both, strict=True)]


def covered(found: list[Estimate], truth: float = 0.0) -> float:
    return sum(one.low <= truth <= one.high for one in found) / len(found)


def width(found: list[Estimate]) -> float:
    return float(np.median([one.high - one.low for one in found]))


@pytest.mark.parametrize("count", [3, 5, 10])
@pytest.mark.parametrize("noise", NOISE)
def test_the_95_percent_interval_holds_the_truth_in_95_percent(noise: str, count: int) -> None:
    cases = sides(noise, count)
    found, welch = estimates(cases), estimates(cases, drawn=False)
    assert 0.94 <= covered(found) <= 0.985
    assert 0.95 <= width(found) / width(welch) <= 1.05


@pytest.mark.parametrize("count", [3, 5, 10])
def test_what_processes_say_of_themselves_does_not_count_twice(count: int) -> None:
    """Their own errors are part of how far they lie apart, and claims that are larger than that are not believed."""
    alone = estimates(sides("normal", count))
    for own in (0.02, 0.5):
        found = estimates(sides("normal", count, own=own))
        assert 0.94 <= covered(found) <= 0.985
        assert width(found) / width(alone) < 1.1


def test_own_errors_smooth_what_is_drawn() -> None:
    (alone,), (smooth,) = (estimates([(Sample((1.0, 1.1, 1.5), (own,) * 3),) * 2]) for own in (0.0, 0.1))
    assert alone.error == smooth.error
    assert alone.high != smooth.high


def test_ratios_of_rounds_are_a_sample_of_their_own() -> None:
    cases = [case[:1] for case in sides("normal", 5)]
    found = estimates(cases)
    assert 0.93 <= covered(found) <= 0.97
    assert 0.95 <= width(found) / width(estimates(cases, drawn=False)) <= 1.05


def test_uneven_sides_are_as_sure_as_the_noisy_one() -> None:
    draw = np.random.default_rng(7)
    quiet, noisy = (np.exp(spread * draw.normal(size=(TRIALS, n))).tolist() for spread, n in ((0.01, 10), (0.1, 3)))
    found = estimates([(Sample(tuple(a)), Sample(tuple(b))) for a, b in zip(quiet, noisy, strict=True)])
    assert 0.93 <= covered(found) <= 0.97


def test_without_drawing_it_is_students_and_welchs() -> None:
    a, b = (1.0, 1.2, 0.9, 1.1), (2.0, 2.5, 1.9)
    one, two = estimates([(Sample(a),), (Sample(a), Sample(b))], drawn=False)
    for found, expected in ((one, geometric_interval(a)), (two, ratio_interval(a, b))):
        assert found.interval.estimate == pytest.approx(expected.estimate)
        assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))
        assert found.interval.replicates == expected.replicates


def test_swapped_sides_give_the_mirrored_interval() -> None:
    cases = sides("heavy tails", 5, own=0.02)[:200]
    for there, back in zip(estimates(cases), estimates([case[::-1] for case in cases]), strict=True):
        assert (there.centre, there.low, there.high) == pytest.approx((-back.centre, -back.high, -back.low), abs=1e-6)


def test_a_case_is_judged_alike_whatever_stands_beside_it() -> None:
    cases = [*sides("normal", 5)[:3], *sides("normal", 3)[:3], (Sample((1.0, 2.0)),)]
    alone = [estimates([case])[0] for case in cases]
    for together in (estimates(cases), estimates(cases[::-1])[::-1]):
        for one, other in zip(together, alone, strict=True):
            assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-5)


def test_one_process_has_no_interval_and_none_is_refused() -> None:
    (found,) = estimates([(Sample((1.0,)), Sample((2.0, 2.0, 2.0)))])
    assert found.interval.estimate == pytest.approx(2.0)
    assert (found.low, found.high, found.error, found.degrees) == (None, None, None, None)
    with pytest.raises(ValueError, match="at least one process on each side"):
        estimates([(Sample((1.0,)), Sample(()))])


def test_no_spread_at_all_is_a_point() -> None:
    (found,) = estimates([(Sample((1.0,) * 3, (0.1,) * 3), Sample((1.5,) * 3))])
    assert (found.interval.low, found.interval.high, found.error) == (pytest.approx(1.5), pytest.approx(1.5), 0.0)
    assert found.degrees == 4.0
    (one_sided,) = estimates([(Sample((1.0, 1.0, 1.0)), Sample((1.4, 1.5, 1.6)))])
    assert one_sided.degrees == pytest.approx(2.0)
    assert one_sided.interval.low < 1.3
    assert one_sided.interval.high > 1.7
