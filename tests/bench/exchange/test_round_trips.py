"""Whatever a run holds comes back from a file: all of it in pytest-benchmark's form, what counts in a baseline's."""

from statistics import median

import pytest
from hypothesis import HealthCheck, given, settings
from made_up import NAMES, runs

from bench.exchange import baseline, baseline_reading, pytest_json, reading
from bench.exchange.record import Recorded
from bench.records import Status, reason
from bench.results import RunResults

few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@few
@given(runs())
def test_nothing_is_lost_in_the_form_of_pytest_benchmark(found: RunResults) -> None:
    fields = reading.parse(pytest_json.write(found), "out.json")
    assert pytest_json.is_one(fields)
    back = pytest_json.read(fields)
    assert back.run == found.run
    assert [p.case for p in back.plan] == [result.case for result in found.cases]
    assert list(back.outcomes) == [outcome for result in found.cases for outcome in result.outcomes]


@few
@given(runs(), NAMES)
def test_a_baseline_comes_back_as_the_file_that_it_was(found: RunResults, name: str) -> None:
    text = baseline.write(found, name)
    fields = reading.parse(text, "baseline.json")
    assert baseline.is_one(fields)
    back = baseline_reading.read(fields)
    assert back.baseline == name
    assert baseline.write(back.results, name) == text


@few
@given(runs())
def test_what_compare_needs_is_in_a_baseline(found: RunResults) -> None:
    back = read_back(found)
    assert back.run.environment.comparable == found.run.environment.comparable
    theirs = {result.case.id: result for result in back.results.cases}
    for ours in found.cases:
        other = theirs.pop(ours.case.id)
        assert (other.case, other.status) == (ours.case, ours.status)
        assert other.disturbed == ours.disturbed
        if ours.status not in (None, Status.OK):
            assert other.detail == reason(ours.status, ours.detail).strip()
        for metric in ("latency", "relative_latency"):
            figure = ours.figures.get(metric)
            again = other.figures.get(metric)
            assert (again.by_repeat if again else None) == (
                pytest.approx(figure.by_repeat, rel=1e-5) if figure else None
            )
        for metric in ("parameters", "peak_memory", "flops_torch"):
            assert other.value(metric) == ours.value(metric)
    assert not theirs


@few
@given(runs())
def test_a_baseline_says_how_far_its_medians_may_be_off(found: RunResults) -> None:
    before = {(o.case_id, o.repeat): o for result in found.cases for o in result.outcomes}
    for outcome in read_back(found).outcomes:
        if samples := before[outcome.case_id, outcome.repeat].samples("latency"):
            assert outcome.facts["samples_taken"] == len(samples)
            assert (outcome.facts["relative_half_width"] is None) == (len(samples) < 6)
            assert outcome.samples("latency") == pytest.approx((median(samples),), rel=1e-5)


def read_back(found: RunResults) -> Recorded:
    return baseline_reading.read(reading.parse(baseline.write(found, "main"), "baseline.json"))
