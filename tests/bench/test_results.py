import math

import pytest
from recorded import dense, failed, inspected, measured, results, soft, timed

from bench.records import Flag, Observation, Outcome, Status


def test_a_figure_is_the_geometric_mean_of_the_processes_medians() -> None:
    case = soft()
    found = results(measured(case, [1.0, 2.0, 4.0]), [case]).cases[0]
    latency = found.figures["latency"]
    assert latency.value == pytest.approx(2.0)
    assert latency.by_repeat == {1: 1.0, 2: 2.0, 3: 4.0}
    assert latency.samples == 15
    assert latency.interval.replicates == 3
    # t(2, 97.5 %) = 4.302653, sd of the logs = ln 2
    reach = 4.302653 * math.log(2) / math.sqrt(3)
    assert latency.interval.low == pytest.approx(2 * math.exp(-reach), rel=1e-5)
    assert latency.interval.high == pytest.approx(2 * math.exp(reach), rel=1e-5)


def test_a_process_counts_once_however_many_samples_it_took() -> None:
    case = soft()
    outcomes = [inspected(case), timed(case, 1, 1.0, count=1000), timed(case, 2, 4.0, count=1)]
    assert results(outcomes, [case]).cases[0].value("latency") == pytest.approx(2.0)


def test_derived_figures_follow_from_observed_ones() -> None:
    case = soft(batch_size=2)
    found = results(measured(case, [0.5, 0.5], references=[0.25, 0.25]), [case]).cases[0]
    assert found.value("throughput") == pytest.approx(2 * 32 / 0.5)
    assert found.value("relative_latency") == pytest.approx(2.0)
    flops = 3 * 2 * 2 * 32 * 16 * 8 * 4 + 4 * 2 * 8 * 4 * 16 * 32
    assert found.value("flops") == flops
    assert found.value("flops_per_s") == pytest.approx(flops / 0.5)
    assert found.figures["flops"].interval.low is None


def test_what_is_unknown_is_absent() -> None:
    case = soft()
    found = results([inspected(case)], [case]).cases[0]
    assert found.value("latency") is None
    assert found.value("throughput") is None
    assert found.value("drop_rate") is None
    assert found.status is Status.OK


def test_a_layer_from_outside_has_no_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    del monkeypatch
    case = soft().with_axes(layer="mine:Layer")
    found = results([inspected(case)], [case]).cases[0]
    assert found.value("flops") is None
    assert found.value("peak_memory") == 2.0e6


def test_status_and_detail_of_a_case_that_failed_later() -> None:
    case = soft()
    outcomes = [*measured(case, [1.0]), failed(case, Status.CRASHED, "signal 9", repeat=2)]
    found = results(outcomes, [case]).cases[0]
    assert (found.status, found.detail) == (Status.CRASHED, "signal 9")
    assert found.value("latency") == 1.0


def test_a_case_without_outcome_is_not_measured() -> None:
    found = results([], [soft()])
    assert found.cases[0].status is None
    assert found.count(None) == 1


def test_caveats_of_samples_repeats_and_counters() -> None:
    case = soft()
    noisy = Outcome(case.id, 1, Status.OK, observations=(Observation("latency", "s", (1.0, 1.0, 1.5, 1.6, 1.7, 1.0)),))
    found = results([inspected(case), noisy], [case]).cases[0]
    assert [flag.code for flag in found.flags] == ["noisy", "few_repeats"]
    wide = results(measured(case, [1.0, 1.5, 1.0, 1.5]), [case]).cases[0]
    assert [flag.code for flag in wide.flags] == ["processes_differ"]
    counted = Outcome(case.id, 0, Status.OK, observations=(Observation("flops_torch", "FLOP", (1.0,)),))
    assert [flag.code for flag in results([counted], [case]).cases[0].flags] == ["counters_disagree"]


def test_a_caveat_of_many_processes_stands_once() -> None:
    case = soft()
    outcomes = [Outcome(case.id, i, Status.OK, flags=(Flag("loaded", f"{i} cores"),)) for i in range(1, 4)]
    assert results(outcomes, [case]).cases[0].flags == (Flag("loaded", "1 cores (in 3 processes)"),)


def test_varying_axes_are_those_with_several_values_where_they_exist() -> None:
    cases = [soft(), soft(num_experts=16), dense(), dense(batch_size=2)]
    assert results([], cases).varying() == ["layer", "num_experts", "batch_size"]


def test_spread_within_and_between_processes_are_standard_deviations() -> None:
    case = soft()
    samples = (8.0, 9.0, 10.0, 11.0, 12.0)  # quartiles 9 and 11
    outcomes = [
        Outcome(case.id, i, Status.OK, observations=(Observation("latency", "s", tuple(k * s for s in samples)),))
        for i, k in ((1, 1.0), (2, math.e))
    ]
    latency = results(outcomes, [case]).cases[0].figures["latency"]
    assert latency.within == pytest.approx(0.2 / 1.349, rel=1e-4)
    assert latency.between == pytest.approx(math.sqrt(0.5))
    alone = results([timed(case, 1, 1.0, count=3)], [case]).cases[0].figures["latency"]
    assert (alone.within, alone.between) == (None, None)


def marked(marks: dict[str, list[int]]) -> Outcome:
    case = soft()
    values = (1.0,) * 10 + (2.0,) * 10
    return Outcome(case.id, 1, Status.OK, observations=(Observation("latency", "s", values),), facts={"marks": marks})


def test_marked_samples_are_counted_and_said() -> None:
    found = results([marked({"throttled": [10, 11], "preempted": [11]})], [soft()]).cases[0]
    assert found.figures["latency"].samples == 20
    (flag,) = [flag for flag in found.flags if flag.code == "marked_samples"]
    assert flag.detail == "2 of 20 samples (throttled 2, preempted 1); 1.00 s without them"


def test_marks_that_change_nothing_are_not_said() -> None:
    case = soft()
    facts = {"marks": {"preempted": [0, 1, 2]}}
    alike = Outcome(case.id, 1, Status.OK, observations=(Observation("latency", "s", (1.0,) * 20),), facts=facts)
    assert "marked_samples" not in [flag.code for flag in results([alike], [case]).cases[0].flags]


def test_few_marks_are_not_said_and_many_leave_no_median() -> None:
    few = results([marked({"throttled": [0]})], [soft()]).cases[0]
    assert "marked_samples" not in [flag.code for flag in few.flags]
    many = results([marked({"throttled": list(range(11))})], [soft()]).cases[0]
    assert [f.detail for f in many.flags if f.code == "marked_samples"] == [
        "11 of 20 samples (throttled 11); too few are left to say what it is without them"
    ]
