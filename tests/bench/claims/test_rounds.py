"""Figures of several cases by the round, and what intervals say of limits."""

import pytest

from bench.claims import rounds
from bench.claims.claim import Unknown, Verdict
from bench.stats import Interval, mean_interval


def test_a_ratio_is_of_the_rounds_that_both_have() -> None:
    assert rounds.ratio({1: 6.0, 2: 9.0, 4: 1.0}, {1: 2.0, 2: 3.0, 3: 5.0}) == {1: 3.0, 2: 3.0}
    with pytest.raises(Unknown, match="no common round"):
        rounds.ratio({1: 6.0}, {2: 2.0})


def test_the_slope_is_the_exponent() -> None:
    assert rounds.slope([(x, 7 * x**1.5) for x in (2.0, 4.0, 16.0)]) == pytest.approx(1.5)


def test_a_mean_has_the_interval_of_students_t() -> None:
    found = mean_interval([-1.0, 0.0, 4.0])
    # standard deviation sqrt(7), t(2) = 4.3027
    assert found.estimate == 1.0
    assert (found.low, found.high) == (pytest.approx(1 - 6.5725, abs=1e-3), pytest.approx(1 + 6.5725, abs=1e-3))
    assert mean_interval([2.0]) == Interval(2.0, None, None, 1)


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [(1.0, 2.0, True), (0.9, 1.5, None), (1.5, 2.1, None), (0.1, 0.9, False), (2.1, 3.0, False), (None, None, None)],
)
def test_an_interval_is_within_limits_or_not_or_leaves_it_open(
    low: float | None, high: float | None, answer: bool | None
) -> None:
    assert rounds.within(Interval(1.5, low, high, 3), 1.0, 2.0) is answer


def test_one_failing_part_decides_and_an_open_one_leaves_the_claim_open() -> None:
    assert rounds.verdict([True, True]) is Verdict.REPRODUCED
    assert rounds.verdict([True, None]) is Verdict.CANNOT
    assert rounds.verdict([None, False, True]) is Verdict.NOT_REPRODUCED


def test_a_figure_is_told_with_its_interval_where_it_has_one() -> None:
    assert rounds.tell(Interval(1.234, 1.0, 1.5, 3)) == "1.23 (1.00 to 1.50)"
    assert rounds.tell(Interval(1.234, None, None, 1)) == "1.23"
