"""Figures without noise: what differs, and whether it is worse."""

import pytest

from bench.exact import METRICS, PAGES, changes, family

BASE = {"parameters": 1000.0, "parameter_memory": 4000.0, "peak_memory": 100e6, "flops_torch": 0.0}


def worse(candidate: dict[str, float], *, device: str = "cpu", **thresholds: float) -> dict[str, bool]:
    return {c.metric: c.worse for c in changes(BASE, BASE | candidate, device=device, thresholds=thresholds)}


def test_what_does_not_differ_is_not_said() -> None:
    assert worse({}) == {}


@pytest.mark.parametrize("metric", ["parameters", "parameter_memory"])
def test_one_more_is_worse_and_one_less_is_not(metric: str) -> None:
    assert worse({metric: BASE[metric] + 1}) == {metric: True}
    assert worse({metric: BASE[metric] - 1}) == {metric: False}


def test_anything_is_more_than_nothing() -> None:
    (found,) = changes(BASE, BASE | {"flops_torch": 2.0}, device="cpu")
    assert (found.worse, found.ratio, found.unit) == (True, None, "FLOP")


def test_what_one_side_does_not_know_is_not_compared() -> None:
    assert changes({"parameters": 1.0}, {"peak_memory": 1.0}, device="cpu") == ()
    assert changes(BASE, {**BASE, "latency": 3.0}, device="cpu") == ()


def test_memory_on_a_cpu_has_noise_and_on_a_gpu_has_none() -> None:
    for more in (1.0, PAGES, 0.05 * 100e6):
        assert worse({"peak_memory": 100e6 + more}) == {}
        assert worse({"peak_memory": 100e6 + more}, device="cuda") == {"peak_memory": True}
    assert worse({"peak_memory": 106e6}) == {"peak_memory": True}
    assert worse({"peak_memory": 94e6}) == {"peak_memory": False}


def test_a_threshold_allows_its_family_to_grow() -> None:
    assert worse({"parameter_memory": 4100.0}, memory=0.05) == {"parameter_memory": False}
    assert worse({"parameter_memory": 4300.0}, memory=0.05) == {"parameter_memory": True}
    assert worse({"parameters": 1100.0}, memory=0.5) == {"parameters": True}
    assert worse({"parameters": 1100.0}, parameters=0.2) == {"parameters": False}


def test_every_metric_has_a_family_that_a_threshold_and_a_gate_know() -> None:
    from bench.gates import FAIL_ON
    from bench.grid import THRESHOLDS

    for metric in METRICS:
        assert family(metric) in THRESHOLDS
        assert family(metric) in FAIL_ON


def test_swapped_sides_differ_in_the_same() -> None:
    other = {**BASE, "parameters": 999.0, "peak_memory": 105.1e6}
    there, back = changes(BASE, other, device="cpu"), changes(other, BASE, device="cpu")
    assert [(c.metric, c.base, c.candidate) for c in there] == [(c.metric, c.candidate, c.base) for c in back]
