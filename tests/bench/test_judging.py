"""Verdicts on two groups of processes: rules by example, promises by simulation, symmetry by property."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.judging import DOUBTED, MOVED, Side, judge, judge_all, verdict
from bench.resampling import Estimate
from bench.verdicts import Verdict

STEADY = (1.00, 1.01, 0.99, 1.00, 1.01)
SCORES = np.array([-1.16, -0.5, 0.0, 0.5, 1.16])
"""Five values that lie as normal ones should."""

CALLED = (Verdict.SLOWER, Verdict.FASTER)


def side(values: Sequence[float], relative: Sequence[float] | None = None, busy: Sequence[int] = ()) -> Side:
    own = None if relative is None else dict(enumerate(relative, 1))
    return Side(dict(enumerate(values, 1)), own, frozenset(busy))


def scaled(factor: float, values: Sequence[float] = STEADY) -> list[float]:
    return [factor * value for value in values]


def noise(draw: np.random.Generator, count: int, spread: float, *, level: float = 1.0) -> list[float]:
    return (level * np.exp(spread * draw.normal(size=count))).tolist()


# what an interval allows to say


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.06, 1.20, Verdict.SLOWER),
        (1.04, 1.20, Verdict.UNCLEAR),
        (0.80, 0.94, Verdict.FASTER),
        (0.80, 0.96, Verdict.UNCLEAR),
        (0.97, 1.04, Verdict.SAME),
        (1.05, 1.05, Verdict.SAME),
        (0.50, 2.00, Verdict.UNCLEAR),
        (None, None, Verdict.UNCLEAR),
    ],
)
def test_a_verdict_is_a_claim_about_the_whole_interval(
    low: float | None, high: float | None, expected: Verdict
) -> None:
    bounds = (None if bound is None else math.log(bound) for bound in (low, high))
    assert verdict(Estimate(0.0, 5, *bounds), math.log(1.05)) is expected


# the reference kernel


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_a_reference_kernel_that_moved_alone_proves_nothing(factor: float) -> None:
    found = judge(side(STEADY, STEADY), side(STEADY, scaled(factor)), 0.05)
    assert (found.verdict, found.reason, found.needed) == (Verdict.UNCLEAR, MOVED, None)


def test_times_too_noisy_to_confirm_the_ratio_say_how_long_to_go_on() -> None:
    """Layer and reference kernel waver together by a third: the ratio is sure, the time itself is not yet."""
    pace, other = (1.0, 1.4, 0.8, 1.1, 0.9), (0.9, 1.2, 1.4, 0.8, 1.0)
    base, slower = side(pace, STEADY), side(scaled(1.2, other), scaled(1.2))
    found = judge(base, slower, 0.05)
    assert (found.verdict, found.reason) == (Verdict.UNCLEAR, DOUBTED)
    assert found.raw.low < 1 < found.raw.estimate
    assert 5 < found.needed < 100
    assert found.detectable > 0.3


def test_without_a_reference_kernel_on_both_sides_times_are_compared_as_they_are() -> None:
    for base, candidate in ((None, STEADY), (STEADY, None), (None, None)):
        found = judge(side(STEADY, base), side(scaled(1.5), candidate), 0.05)
        assert found.verdict is Verdict.SLOWER
        assert found.ratio == found.raw
        assert found.ratio.estimate == pytest.approx(1.5)


# how much was measured


@pytest.mark.parametrize("others", [1, 5])
@pytest.mark.parametrize("factor", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("paired", [False, True])
def test_a_single_process_proves_nothing(factor: float, others: int, *, paired: bool) -> None:
    one, several = side([factor]), side([1.0] * others)
    for both in ((one, several), (several, one)):
        found = judge(*both, 0.05, paired=paired)
        assert found.verdict is Verdict.UNCLEAR
        assert found.reason == "one process proves nothing"
        assert (found.p, found.detectable, found.needed) == (None, None, None)


def test_no_spread_at_all_is_certain_of_what_lies_beyond_the_threshold_only() -> None:
    expected = {1.06: Verdict.SLOWER, 1.04: Verdict.SAME, 1.0: Verdict.SAME, 0.96: Verdict.SAME, 0.9: Verdict.FASTER}
    for factor, verdict_ in expected.items():
        found = judge(side([1.0] * 3), side([factor] * 3), 0.05)
        assert found.verdict is verdict_
        assert found.p == pytest.approx(0.0 if verdict_ in CALLED else 1.0)
        assert found.detectable == pytest.approx(0.05)


def test_a_threshold_of_zero_calls_any_certain_change() -> None:
    assert judge(side([1.0] * 3), side([1.001] * 3), 0.0).verdict is Verdict.SLOWER
    assert judge(side([1.0] * 3), side([1.0] * 3), 0.0).verdict is Verdict.SAME


def test_rounds_of_one_run_are_compared_round_by_round() -> None:
    """The machine doubles its time from round to round; the ratio of each round is still 1.3."""
    drift = [1.0, 2.0, 4.0, 8.0]
    both = side(drift), side([1.3 * value for value in drift])
    assert judge(*both, 0.05, paired=True).verdict is Verdict.SLOWER
    assert judge(*both, 0.05).verdict is Verdict.UNCLEAR


# disturbed processes


def test_disturbed_processes_are_left_out_while_three_others_remain() -> None:
    slow = [*STEADY[:3], 9.0, 9.0]
    found = judge(side(STEADY), side(slow, busy=(4, 5)), 0.05)
    assert (found.verdict, found.ratio.replicates) == (Verdict.SAME, 3)


def test_where_fewer_remain_nothing_is_claimed() -> None:
    for both in (
        (side(STEADY), side(scaled(3.0), busy=(1, 2, 3))),
        (side(scaled(3.0), busy=(1, 2, 3)), side(STEADY)),
    ):
        found = judge(*both, 0.05)
        assert found.verdict is Verdict.UNCLEAR
        assert found.reason.startswith("machine was busy in ")
        assert (found.p, found.needed) == (None, None)
        assert found.ratio.estimate == pytest.approx(3.0 if both[1].disturbed else 1 / 3)


def test_two_quiet_processes_a_side_may_say_what_is_far_beyond_doubt() -> None:
    found = judge(side([1.0, 1.001]), side([3.0, 3.003]), 0.05)
    assert (found.verdict, found.ratio.replicates) == (Verdict.SLOWER, 2)


# promises


@pytest.mark.parametrize("count", [3, 5, 10])
def test_unchanged_code_is_hardly_ever_called_anything(count: int) -> None:
    draw = np.random.default_rng(11)
    cases = [(side(noise(draw, count, 0.1)), side(noise(draw, count, 0.1))) for _ in range(2000)]
    for threshold, most in ((0.05, 0.03), (0.0, 0.065)):
        found = judge_all(cases, threshold)
        assert sum(one.verdict in CALLED for one in found) / len(found) <= most
        assert sum(one.p <= 0.025 for one in found) / len(found) <= 0.035


def test_a_change_of_just_the_threshold_is_called_in_one_of_forty_and_called_same_as_often() -> None:
    draw = np.random.default_rng(12)
    cases = [(side(noise(draw, 5, 0.02)), side(noise(draw, 5, 0.02, level=1.05))) for _ in range(2000)]
    found = [one.verdict for one in judge_all(cases, 0.05)]
    assert found.count(Verdict.SLOWER) / len(found) <= 0.035
    assert found.count(Verdict.SAME) / len(found) <= 0.035
    assert Verdict.FASTER not in found


@pytest.mark.parametrize(("count", "spread"), [(5, 0.03), (10, 0.1)])
def test_the_detectable_change_is_called_in_four_of_five_attempts(count: int, spread: float) -> None:
    draw = np.random.default_rng(13)
    unchanged = [(side(noise(draw, count, spread)), side(noise(draw, count, spread))) for _ in range(300)]
    seen = float(np.median([one.detectable for one in judge_all(unchanged, 0.05)]))
    changed = [(a, side(scaled(1 + seen, list(b.latency.values())))) for a, b in unchanged]
    slower = sum(one.verdict is Verdict.SLOWER for one in judge_all(changed, 0.05))
    assert slower / len(changed) == pytest.approx(0.8, abs=0.1)


def test_as_many_processes_as_are_said_to_be_needed_settle_it_half_the_time() -> None:
    """The change is as it was seen: it is then a matter of luck whether the next estimate lies nearer or further."""
    draw = np.random.default_rng(14)
    base, candidate = (side(scaled(level, np.exp(0.1 * SCORES).tolist())) for level in (1.0, 1.15))
    first = judge(base, candidate, 0.05)
    assert first.verdict is Verdict.UNCLEAR
    spread = math.sqrt(sum(np.var(np.log(list(one.latency.values())), ddof=1) for one in (base, candidate)) / 2)
    level = first.ratio.estimate
    again = [
        (side(noise(draw, first.needed, spread)), side(noise(draw, first.needed, spread, level=level)))
        for _ in range(300)
    ]
    settled = sum(one.verdict is not Verdict.UNCLEAR for one in judge_all(again, 0.05))
    assert settled / len(again) == pytest.approx(0.5, abs=0.12)


def test_what_is_needed_grows_with_noise_and_ends_somewhere() -> None:
    values = [np.exp(spread * SCORES).tolist() for spread in (0.05, 0.2, 0.5)]
    needed = [judge(side(one), side(one), 0.05).needed for one in values]
    assert all(5 < few < many for few, many in pairwise(needed))
    lost = np.exp(3.0 * SCORES).tolist()
    assert judge(side(lost), side(scaled(1.06, lost)), 0.05).needed is None


# properties

POSITIVE = st.floats(0.25, 4.0, allow_nan=False)
SIDES = st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=7)
MIRROR = {Verdict.SLOWER: Verdict.FASTER, Verdict.FASTER: Verdict.SLOWER}


def of_pairs(values: Sequence[tuple[float, float]], busy: frozenset[int] = frozenset()) -> Side:
    return side([a for a, _ in values], [b for _, b in values], sorted(busy.intersection(range(1, len(values) + 1))))


@settings(max_examples=150, deadline=None)
@given(
    SIDES,
    SIDES,
    st.frozensets(st.integers(1, 7)),
    st.floats(0.3, 3.0),
    st.sampled_from([0.0, 0.05, 0.3]),
    st.booleans(),
)
def test_swapped_sides_mirror_the_verdict(
    base: list[tuple[float, float]],
    candidate: list[tuple[float, float]],
    busy: frozenset[int],
    factor: float,
    threshold: float,
    paired: bool,
) -> None:
    a, b = of_pairs(base, busy), of_pairs([(factor * x, factor * y) for x, y in candidate])
    there, back = judge(a, b, threshold, paired=paired), judge(b, a, threshold, paired=paired)
    assert back.verdict is MIRROR.get(there.verdict, there.verdict)
    assert back.ratio.estimate == pytest.approx(1 / there.ratio.estimate)
    assert (back.p is None) is (there.p is None)
    assert back.p is None or back.p == pytest.approx(there.p, abs=1e-9)
    assert back.needed == there.needed
    assert (back.reason == there.reason) or "machine was busy" in there.reason


@settings(max_examples=100, deadline=None)
@given(SIDES, st.lists(st.tuples(SIDES, SIDES), max_size=4))
def test_other_cases_beside_it_do_not_change_a_judgement(
    values: list[tuple[float, float]], others: list[tuple[list[tuple[float, float]], list[tuple[float, float]]]]
) -> None:
    case = of_pairs(values), of_pairs([(1.1 * x, 1.1 * y) for x, y in values])
    many = [case, *((of_pairs(a), of_pairs(b)) for a, b in others)]
    alone, together = judge(*case, 0.05), judge_all(many, 0.05)[0]
    assert (together.verdict, together.reason) == (alone.verdict, alone.reason)
    assert together.p == alone.p


@settings(max_examples=100, deadline=None)
@given(POSITIVE, SIDES, st.booleans(), st.booleans())
def test_a_single_process_never_yields_a_verdict(
    one: float, others: list[tuple[float, float]], paired: bool, swapped: bool
) -> None:
    both = (of_pairs([(one, one)]), of_pairs(others))
    assert judge(*(both[::-1] if swapped else both), 0.05, paired=paired).verdict is Verdict.UNCLEAR
