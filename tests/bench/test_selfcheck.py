"""Cases against themselves: exact figures, and seeded log-normal noise whose standard deviation is known."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from recorded import dense, failed, inspected, measured, results, soft, timed

from bench.judging import Side
from bench.records import Flag, Outcome, Status
from bench.selfcheck import (
    LARGEST,
    CaseCheck,
    Look,
    analyse,
    look,
    percent,
    say_alarms,
    smallest_factor,
    verdicts,
)
from bench.stats import t_quantile
from bench.verdicts import Verdict

CASE = soft()


def noise(count: int, deviation: float, seed: int = 0) -> list[float]:
    draw = random.Random(seed)  # noqa: S311  (noise, not a secret)
    return [math.exp(draw.gauss(0, deviation)) for _ in range(count)]


def side_of(values: Sequence[float]) -> Side:
    by_repeat = dict(enumerate(values, 1))
    return Side(by_repeat, by_repeat, frozenset())


def seen_at(values: Sequence[float], processes: int, threshold: float = 0.05) -> float:
    found = smallest_factor(side_of(values), range(1, len(values) + 1), processes, threshold)
    assert found is not None
    return found


def check(outcomes: Sequence[Outcome], **given: float) -> CaseCheck:
    return analyse(results(outcomes, [CASE]), **given).cases[0]


# false alarms


@pytest.mark.parametrize("processes", [3, 5])
def test_noise_that_is_independent_raises_alarms_at_the_nominal_rate(processes: int) -> None:
    """At threshold 0 the rule is Welch's test at 5 %, two-sided."""
    alarms, trials = alarms_of(noise(6000, 0.1), processes, threshold=0.0)
    assert trials == 3000 // processes
    assert 0.02 < alarms / trials < 0.065


def test_a_threshold_makes_alarms_rarer_than_nominal() -> None:
    alarms, trials = alarms_of(noise(6000, 0.05), 5, threshold=0.05)
    assert alarms <= 0.01 * trials


def alarms_of(values: Sequence[float], processes: int, *, threshold: float) -> tuple[int, int]:
    found = verdicts(side_of(values), range(1, len(values) + 1), processes, threshold)
    return sum(verdict in (Verdict.SLOWER, Verdict.FASTER) for verdict in found), len(found)


def test_a_machine_that_slows_down_half_way_raises_an_alarm() -> None:
    steady = [1.00, 1.01, 0.99, 1.00, 1.01]
    drift = [*steady, *(1.5 * value for value in steady)]
    found = look(side_of(drift), range(1, 11), 5, 0.05)
    assert (found.trials, found.alarms, found.same, found.unclear) == (1, 1, 0, 0)


def test_sides_are_neighbours_in_time_whatever_the_numbers_of_the_repeats() -> None:
    """Repeats in the order of their number would mix slow and fast ones in each side."""
    outcomes = [inspected(CASE)]
    for i in range(10):
        late = i % 2 == 1
        outcomes.append(replace(timed(CASE, i + 1, 2.0 if late else 1.0), started=100.0 * late + i, finished=0.0))
    (found,) = check(outcomes).looks[1:]
    assert (found.processes, found.trials, found.alarms) == (5, 1, 1)


def test_trials_share_no_process() -> None:
    found = look(side_of([1.0] * 20), range(1, 21), 3, 0.05)
    assert (found.trials, found.same) == (3, 3)


def test_alarms_are_said_with_how_large_their_rate_may_be() -> None:
    def of(alarms: int, trials: int) -> Look:
        return Look(5, None, trials, alarms, trials - alarms, 0, None)

    assert say_alarms([of(0, 8), of(0, 4)]) == "0 of 12 (at most 26 %)"
    assert say_alarms([of(3, 26)]) == "3 of 26 (12 %; 2 % to 30 %)"
    assert say_alarms([]) == "none could be tried"


# the smallest change


def test_without_noise_it_is_the_threshold() -> None:
    assert seen_at([1.0] * 10, 5) == pytest.approx(1.05)
    assert seen_at([1.0] * 10, 5, threshold=0.2) == pytest.approx(1.2)


def test_it_is_the_factor_at_which_four_fifths_of_the_pairs_are_slower() -> None:
    """Two groups that differ by 1.1 without noise: one role is seen from 1.05 / 1.1, the other from 1.05 * 1.1."""
    assert seen_at([1.0, 1.0, 1.0, 1.1, 1.1, 1.1], 3) == pytest.approx(1.05 * 1.1)


@pytest.mark.parametrize("deviation", [0.02, 0.1])
@pytest.mark.parametrize("processes", [5, 20])
def test_with_independent_noise_it_is_what_the_power_of_the_test_says(deviation: float, processes: int) -> None:
    found = math.log(seen_at(noise(120, deviation), processes) / 1.05)
    degrees = 2 * processes - 2
    expected = (t_quantile(degrees) + t_quantile(degrees, 0.6)) * deviation * math.sqrt(2 / processes)
    assert found == pytest.approx(expected, rel=0.25)


def test_it_shrinks_like_the_root_of_the_processes() -> None:
    values = noise(150, 0.1, seed=1)
    few, many = (math.log(seen_at(values, processes) / 1.05) for processes in (5, 20))
    assert few / many == pytest.approx(math.sqrt(20 / 5), rel=0.25)


def test_noise_that_hides_even_twice_the_time_gives_none() -> None:
    values = noise(20, 1.0)
    assert smallest_factor(side_of(values), range(1, 21), 5, 0.05) is None


def test_the_reference_kernel_is_used_as_in_compare() -> None:
    """The machine doubles its time half way, layer and reference kernel alike."""
    pace = [1.0] * 5 + [2.0] * 5
    found = check(measured(CASE, pace, references=[1e-3 * value for value in pace])).chosen
    assert (found.alarms, found.same) == (0, 1)


def test_disturbed_processes_prove_nothing() -> None:
    flag = (Flag("loaded", "2.0 cores in use by others"),)
    outcomes = [replace(o, flags=flag) if o.repeat else o for o in measured(CASE, [1.0] * 10)]
    found = check(outcomes)
    assert (found.chosen.unclear, found.chosen.smallest) == (1, None)
    assert found.statement == (
        "not even a change of 100 % can be seen here with 5 processes (2.5 s); "
        "the machine was busy in 10 of 10 processes"
    )


def test_a_change_is_rounded_up() -> None:
    assert [percent(factor) for factor in (1.05, 1.0501, 1.134, LARGEST)] == ["5 %", "6 %", "14 %", "100 %"]


# how many processes


def test_a_side_has_as_many_processes_as_a_run_and_at_most_half_of_those_measured() -> None:
    """A recorded process takes half a second."""
    assert [look.processes for look in check(measured(CASE, [1.0] * 24)).looks] == [3, 5, 10]
    assert check(measured(CASE, [1.0] * 24)).chosen.processes == 5
    assert check(measured(CASE, [1.0] * 9)).chosen.processes == 4
    assert check(measured(CASE, [1.0] * 24)).statement == (
        "a change below 5 % cannot be seen here with 5 processes (2.5 s)"
    )


def test_the_given_time_decides() -> None:
    found = check(measured(CASE, [1.0] * 24), seconds=3.6)
    assert (found.chosen.processes, found.chosen.seconds, found.seconds) == (7, 3.5, 0.5)
    assert [look.processes for look in found.looks] == [3, 5, 7, 10]
    assert found.remark == ""


def test_more_time_than_was_measured_says_what_to_measure() -> None:
    found = check(measured(CASE, [1.0] * 12), seconds=10)
    assert found.chosen.processes == 6
    assert found.statement.endswith("with 6 processes (3.0 s); 10 s allow 20: measure --processes 40 to know")


def test_too_little_time_says_how_much_is_needed() -> None:
    found = check(measured(CASE, [1.0] * 12), seconds=1)
    assert found.chosen is None
    assert found.statement == "1.0 s allow 2 of the 3 processes that a side needs: give at least 1.5 s"
    assert [look.processes for look in found.looks] == [3, 5]


def test_unknown_times_are_not_guessed() -> None:
    outcomes = [replace(o, started=0.0, finished=0.0) for o in measured(CASE, [1.0] * 10)]
    found = check(outcomes, seconds=10)
    assert (found.seconds, found.chosen.seconds, found.chosen.processes) == (None, None, 5)
    assert found.remark == "how long a process takes is not known, so the given time says nothing"


def test_cases_that_say_nothing_say_why() -> None:
    cases = [soft(), dense(), dense(batch_size=2), soft(batch_size=2)]
    outcomes = [
        *measured(cases[0], [1.0] * 5),
        failed(cases[1], Status.CRASHED, "signal 11\nlog"),
        *measured(cases[2], [1.0] * 10),
    ]
    found = analyse(results(outcomes, cases))
    assert [case.statement for case in found.cases] == [
        "timed by 5 processes, and two sides need at least 6",
        "crashed: signal 11",
        "a change below 5 % cannot be seen here with 5 processes (2.5 s)",
        "not measured",
    ]
    assert len(found.looks()) == 1
    assert found.sides == [3, 5]
