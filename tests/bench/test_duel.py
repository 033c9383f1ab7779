"""Rounds of a duel and what is made of two outputs; no process is started."""

import math
from typing import Any

import numpy as np
import pytest
from recorded import soft

from bench.duel import _outputs
from bench.executors.contestant import Ready
from bench.rounds import LEAST_ROUNDS, MOST_ROUNDS, ROUNDS, cores, iterations, told_enough


def blocks(count: int, spread: float) -> tuple[list[float], list[float]]:
    """Blocks of two sides whose log ratios lie evenly about 0."""
    logs = [spread * (2 * i / max(1, count - 1) - 1) for i in range(count)]
    return [1e-3] * count, [1e-3 * math.exp(log) for log in logs]


@pytest.mark.parametrize(
    ("count", "spread", "late", "over"),
    [
        (ROUNDS - 2, 0.001, False, False),  # precise, but few
        (ROUNDS, 0.001, False, True),
        (ROUNDS, 1.0, False, False),  # a disturbed pair goes on
        (ROUNDS, 1.0, True, True),
        (MOST_ROUNDS, 1.0, False, True),
        (LEAST_ROUNDS - 2, 0.001, True, False),  # slow calls, but never fewer than that
        (LEAST_ROUNDS, 1.0, True, True),
    ],
)
def test_a_pair_ends_when_it_is_precise_or_its_time_is_up(count: int, spread: float, late: bool, over: bool) -> None:
    assert told_enough(blocks(count, spread), 0.05, late=late) is over


def test_both_sides_get_as_many_calls_as_the_faster_needs() -> None:
    assert iterations(soft(device="cpu"), (Ready(1e-3, 4), Ready(4e-4, 10))) == 5
    assert iterations(soft(device="cpu", cache="cold"), (Ready(1e-3, 4), Ready(4e-4, 10))) == 1
    gpu = soft(device="cpu").with_axes(device="cuda")
    assert iterations(gpu, (Ready(1e-3, 4), Ready(4e-4, 10))) == 20


def test_both_sides_of_a_pair_share_their_cores_and_the_next_pair_takes_the_next() -> None:
    assert [cores(soft(device="cpu", threads=1), (2, 5), number) for number in (1, 2, 3)] == [(5,), (2,), (5,)]
    assert cores(soft(device="cpu", threads=2), (0, 1, 2), 1) == (2, 0)


@pytest.mark.parametrize(
    ("axes", "available"),
    [
        ({"threads": 2}, (0, 1)),
        ({"threads": None}, (0, 1)),
        ({"device": "cuda", "threads": None}, (0, 1)),
        ({"threads": 1}, ()),
    ],
)
def test_a_side_that_needs_all_cores_or_none_is_left_to_the_system(
    axes: dict[str, Any], available: tuple[int, ...]
) -> None:
    assert cores(soft(device="cpu").with_axes(**axes), available, 1) is None


def test_outputs_are_held_against_each_other() -> None:
    base = np.array([1.0, -4.0, 2.0], dtype=np.float32)
    assert _outputs(base, base) == {"outputs_differ_by": 0.0}
    assert _outputs(base, base + 0.5) == {"outputs_differ_by": pytest.approx(0.125)}
    assert _outputs(base, np.array([1.0, math.nan, 2.0])) == {"outputs_not_finite": ["candidate"]}
    assert _outputs(base, base[:2]) == {}
    assert _outputs(base, None) == {}
