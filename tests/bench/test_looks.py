"""When a duel is decided: what its looks promise, on seeded pairs of known spread."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.looks import ALARM, LOOKS, decide, schedule
from bench.pooling import pool
from bench.stats import median_error
from bench.verdicts import Verdict

QUIET = (0.004, -0.006, 0.002, 0.005, -0.003, 0.001, -0.002, 0.004, 0.0)
MIRROR = {Verdict.SLOWER: Verdict.FASTER, Verdict.FASTER: Verdict.SLOWER}
DUELS = 1000


def normal(draw: np.random.Generator, spread: float) -> np.ndarray:
    return spread * draw.normal(size=(DUELS, LOOKS[-1]))


def heavy(draw: np.random.Generator, spread: float) -> np.ndarray:
    return spread * draw.standard_t(3, size=(DUELS, LOOKS[-1])) / math.sqrt(3)


def fought(logs: Sequence[float], threshold: float, errors: Sequence[float] | None = None) -> tuple[Verdict, int]:
    """A duel that ends when it is decided, and after how many pairs."""
    for look in LOOKS:
        found = decide(logs[:look], threshold, cases=1, errors=None if errors is None else errors[:look])
        if found.verdict is not Verdict.UNCLEAR:
            return found.verdict, look
    return Verdict.UNCLEAR, LOOKS[-1]


@cache
def shares(
    noise: Callable[[np.random.Generator, float], np.ndarray], spread: float, change: float, threshold: float
) -> tuple[Counter[Verdict], float]:
    """How many of a thousand duels end with each verdict, and the pairs that one takes on average."""
    logs = noise(np.random.default_rng(8), spread) + math.log1p(change)
    ends = [fought(row, threshold) for row in logs.tolist()]
    return Counter(verdict for verdict, _ in ends), sum(pairs for _, pairs in ends) / DUELS


# promises


@pytest.mark.parametrize("noise", [normal, heavy])
@pytest.mark.parametrize("spread", [0.02, 0.035, 0.06])
def test_unchanged_code_is_hardly_ever_called_slower_or_faster(
    noise: Callable[[np.random.Generator, float], np.ndarray], spread: float
) -> None:
    """At 1 % the threshold holds nothing back: only the evidence that is asked for does."""
    for threshold in (0.05, 0.01):
        ends, _ = shares(noise, spread, 0.0, threshold)
        for verdict in MIRROR:
            assert ends[verdict] <= DUELS * ALARM + 3 * math.sqrt(DUELS * ALARM)


@pytest.mark.parametrize("noise", [normal, heavy])
def test_unchanged_code_is_called_same(noise: Callable[[np.random.Generator, float], np.ndarray]) -> None:
    ends, pairs = shares(noise, 0.035, 0.0, 0.05)
    assert ends[Verdict.SAME] >= 0.95 * DUELS
    assert pairs <= 10
    ends, pairs = shares(noise, 0.02, 0.0, 0.05)
    assert ends[Verdict.SAME] >= 0.99 * DUELS
    assert pairs <= 6.5


@pytest.mark.parametrize("noise", [normal, heavy])
@pytest.mark.parametrize(("change", "threshold", "least"), [(0.05, 0.03, 0.9), (0.1, 0.05, 0.99), (0.2, 0.05, 0.995)])
def test_what_is_slower_is_called_slower(
    noise: Callable[[np.random.Generator, float], np.ndarray], change: float, threshold: float, least: float
) -> None:
    ends, pairs = shares(noise, 0.035, change, threshold)
    assert ends[Verdict.SLOWER] >= least * DUELS
    assert ends[Verdict.FASTER] == 0
    assert pairs <= 13


def test_a_change_of_just_the_threshold_is_called_same_in_one_of_twenty_at_most() -> None:
    for noise in (normal, heavy):
        ends, _ = shares(noise, 0.035, 0.05, 0.05)
        assert ends[Verdict.SAME] <= 0.055 * DUELS


def test_pairs_that_something_disturbs_count_for_less() -> None:
    """One pair in five is measured while something else runs: five times as noisy, and off by four times as much."""
    draw, ends, plain = np.random.default_rng(9), Counter[Verdict](), Counter[Verdict]()
    for _ in range(300):
        busy = np.where(draw.random(15) < 0.2, 5.0, 1.0)
        rounds = 0.08 * busy[:, None] * draw.standard_t(3, size=(15, 40)) / math.sqrt(3)
        rounds += (0.02 * draw.normal(size=15) * np.where(busy > 1, 4.0, 1.0))[:, None]
        logs, errors = np.median(rounds, axis=1).tolist(), [median_error(row) or 0.0 for row in rounds.tolist()]
        ends[fought(logs, 0.05, errors)[0]] += 1
        plain[fought(logs, 0.05)[0]] += 1
    assert ends[Verdict.SAME] > plain[Verdict.SAME] + 15
    assert ends[Verdict.SLOWER] + ends[Verdict.FASTER] <= 3


@pytest.mark.parametrize("spread", [0.02, 0.06])
def test_the_detectable_change_is_called_in_four_of_five_last_looks(spread: float) -> None:
    rows = normal(np.random.default_rng(10), spread)[:400].tolist()
    seen = float(np.median([decide(row, 0.01, cases=1).detectable for row in rows]))
    changed = [decide([log + math.log1p(seen) for log in row], 0.01, cases=1).verdict for row in rows]
    assert changed.count(Verdict.SLOWER) / len(changed) == pytest.approx(0.8, abs=0.1)


# one decision


def test_below_the_first_look_nothing_is_claimed() -> None:
    for count in (1, 2):
        found = decide([0.5] * count, 0.05, cases=1)
        assert (found.verdict, found.p, found.detectable, found.needed) == (Verdict.UNCLEAR, 1.0, None, None)
        assert found.ratio.estimate == pytest.approx(math.exp(0.5))
    with pytest.raises(ValueError, match="at least one pair"):
        decide([], 0.05, cases=1)


def test_evidence_is_along_the_direction_of_the_last_look() -> None:
    """The first three pairs were surely faster; what all fifteen say is slower, which those do not support."""
    turned = [-0.1, -0.1001, -0.0999, *[0.2 + log for log in (*QUIET, *QUIET[:3])]]
    found = decide(turned, 0.05, cases=1)
    assert found.ratio.estimate > 1
    assert found.p > 1e-4


def test_more_cases_ask_for_more_evidence() -> None:
    logs = [0.06 + 0.03 * score for score in (-1.5, -0.5, 0.0, 0.5, 1.5)]
    few, many = (decide(logs, 0.03, cases=cases) for cases in (10, 1000))
    assert few.verdict is decide(logs, 0.03, cases=1).verdict
    assert many.verdict is Verdict.UNCLEAR
    assert many.detectable > few.detectable
    assert (many.p, many.ratio) == (few.p, few.ratio)


def test_what_is_needed_settles_it() -> None:
    """As many pairs of the same spread, in a duel of as many at most, are called what they seemed."""
    draw = np.random.default_rng(16)
    for level, expected in ((0.02, Verdict.SAME), (0.1, Verdict.SLOWER)):
        scores = np.array([-1.7, -1.2, -0.9, -0.7, -0.5, -0.3, -0.1, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.2, 1.7])
        found = decide((level + 0.14 * scores).tolist(), 0.05, cases=1)
        assert found.verdict is Verdict.UNCLEAR
        assert 15 < found.needed < 400
        looks = schedule(found.needed)
        ends = [
            decide((level + 0.14 * draw.normal(size=looks[-1])).tolist(), 0.05, cases=1, looks=looks).verdict
            for _ in range(60)
        ]
        assert ends.count(expected) >= 20
    assert decide((0.999 * math.log(1.05) + 0.14 * scores).tolist(), 0.05, cases=1).needed is None


def test_looks_of_a_shorter_and_a_longer_duel() -> None:
    assert schedule(15) == LOOKS
    assert schedule(4) == (3, 4)
    assert schedule(40) == (*LOOKS, 40)
    assert schedule(2) == (2,)
    with pytest.raises(ValueError, match="a duel needs two pairs"):
        schedule(1)


def test_a_pair_of_which_the_clock_made_all_rounds_equal_is_not_certain() -> None:
    sure, unsure = pool([0.06, 0.05, 0.07], [0.0, 0.02, 0.03]), pool([0.06, 0.05, 0.07], [0.03, 0.02, 0.03])
    assert sure == unsure
    assert sure.error > 0.01


# properties


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-0.5, 0.5), st.floats(0.0, 0.1)), min_size=1, max_size=15),
    st.sampled_from([0.0, 0.01, 0.05, 0.2]),
    st.integers(1, 200),
)
def test_swapped_sides_mirror_the_decision(pairs: list[tuple[float, float]], threshold: float, cases: int) -> None:
    logs, errors = [log for log, _ in pairs], [error for _, error in pairs]
    there = decide(logs, threshold, cases=cases, errors=errors)
    back = decide([-log for log in logs], threshold, cases=cases, errors=errors)
    assert back.verdict is MIRROR.get(there.verdict, there.verdict)
    assert back.ratio.estimate == pytest.approx(1 / there.ratio.estimate)
    assert (back.needed, back.detectable) == (there.needed, pytest.approx(there.detectable))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-0.3, 0.3), min_size=3, max_size=15), st.sampled_from([0.01, 0.05]), st.integers(1, 50))
def test_more_cases_never_turn_same_into_slower(logs: list[float], threshold: float, cases: int) -> None:
    alone, among = decide(logs, threshold, cases=1), decide(logs, threshold, cases=cases)
    if alone.verdict in (Verdict.SAME, Verdict.UNCLEAR):
        assert among.verdict is alone.verdict


@settings(max_examples=50, deadline=None)
@given(st.floats(-1.0, 1.0), st.floats(0.0, 0.5))
def test_a_single_pair_never_yields_a_verdict(log: float, error: float) -> None:
    assert decide([log], 0.05, cases=1, errors=[error]).verdict is Verdict.UNCLEAR
