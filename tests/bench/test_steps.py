"""Steps in series made by chance, with a fixed seed: how often one is false, and how well true ones are seen."""

import math

import numpy as np
import pytest

from bench import steps

THRESHOLD = 0.05
NOISE = 0.05


def wandering(chance: np.random.Generator, count: int, memory: float) -> np.ndarray:
    """The logarithms of a series whose runs hand on so much of their deviation; none is white noise."""
    fresh = chance.normal(size=count) * NOISE
    logs = np.empty(count)
    logs[0] = fresh[0]
    for i in range(1, count):
        logs[i] = memory * logs[i - 1] + math.sqrt(1 - memory**2) * fresh[i]
    return logs


def found(logs: np.ndarray, seed: int = 1) -> list[int]:
    """Where steps are found in a series that is looked at alone."""
    return [step.at for step in steps.find([(np.exp(logs).tolist(), seed)], THRESHOLD)[0]]


@pytest.mark.parametrize(
    ("memory", "most"),
    [(0.0, 0.02), (0.3, 0.05), (0.5, 0.10), (0.7, 0.18)],
    ids=["white noise", "memory 0.3", "memory 0.5", "memory 0.7"],
)
def test_false_steps_in_series_of_40_runs_in_which_nothing_changes(memory: float, most: float) -> None:
    """White noise keeps its promise; noise that wanders is made up for in part only, and the bounds say how far."""
    chance = np.random.default_rng(5)
    false = [bool(found(wandering(chance, 40, memory), i)) for i in range(200)]
    assert sum(false) / 200 <= most


@pytest.mark.parametrize(("count", "at", "least"), [(40, 20, 90), (100, 80, 90), (40, 34, 85)])
def test_a_step_of_15_percent_in_noise_of_5_is_found_where_it_is(count: int, at: int, least: int) -> None:
    chance = np.random.default_rng(6)
    hits = 0
    for i in range(100):
        logs = wandering(chance, count, 0.0)
        logs[at:] += math.log(1.15)
        hits += any(abs(place - at) <= 1 for place in found(logs, i))
    assert hits >= least


def test_a_step_says_how_large_it_is() -> None:
    logs = wandering(np.random.default_rng(1), 60, 0.0) / 5
    logs[30:] += math.log(1.12)
    logs[45:] -= math.log(1.30)
    up, down = steps.find([(np.exp(logs).tolist(), 1)], THRESHOLD)[0]
    assert (up.at, down.at) == (30, 45)
    for step, true in ((up, 1.12), (down, 1 / 1.30)):
        assert step.ratio.low is not None
        assert step.ratio.high is not None
        assert step.ratio.low < true < step.ratio.high
        assert step.ratio.high / step.ratio.low < 1.06
        assert step.p < 0.01


def test_what_is_below_the_threshold_is_no_step() -> None:
    logs = np.zeros(40)
    logs[20:] += math.log(1.04)
    assert found(logs) == []
    logs[20:] += math.log(1.03)
    assert found(logs) == [20]


def test_figures_without_noise_change_where_they_change() -> None:
    assert found(np.full(20, math.log(4096.0))) == []
    assert found(np.log([4096.0] * 9 + [8192.0] * 5)) == [9]


def test_one_slow_run_is_no_step_and_hides_none() -> None:
    logs = wandering(np.random.default_rng(3), 40, 0.0) / 2
    logs[10] += math.log(4)
    assert found(logs) == []
    logs[25:] += math.log(1.15)
    assert found(logs) == [25]


def test_two_runs_of_a_new_level_are_too_few() -> None:
    logs = wandering(np.random.default_rng(4), 30, 0.0) / 10
    logs[-2:] += math.log(1.5)
    assert found(logs) == []
    longer = np.append(logs, logs[-1])
    assert found(longer) == [28]


def test_more_series_ask_for_more_evidence() -> None:
    chance = np.random.default_rng(2)
    weak = np.concatenate([np.zeros(6), np.full(6, math.log(1.12))]) + chance.normal(size=12) * 0.06
    alone = steps.find([(np.exp(weak).tolist(), 1)], THRESHOLD)[0]
    assert len(alone) == 1
    quiet = [(np.exp(chance.normal(size=12) * 0.03).tolist(), i) for i in range(60)]
    together = steps.find([(np.exp(weak).tolist(), 1), *quiet], THRESHOLD)
    assert together == [()] * 61


def test_the_same_series_gives_the_same_answer_whatever_stands_beside_it() -> None:
    logs = wandering(np.random.default_rng(2), 40, 0.0)
    logs[20:] += math.log(1.3)
    alone = steps.find([(np.exp(logs).tolist(), 7)], THRESHOLD)[0]
    beside = steps.find([(np.exp(logs[::-1]).tolist(), 8), (np.exp(logs).tolist(), 7)], THRESHOLD)[1]
    assert alone == beside
