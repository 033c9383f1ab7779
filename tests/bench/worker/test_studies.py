"""Studies: what a worker looks at once for a claim."""

from __future__ import annotations

import pytest

from bench import plan
from bench.axes import STUDIES
from bench.claims.claim import study
from bench.records import Settings, Status
from bench.worker import main, studies


def test_every_study_has_its_name_among_the_axis_values() -> None:
    assert tuple(studies.TABLE) == STUDIES


@pytest.mark.parametrize(
    ("axes", "parameters", "gflop"),
    [
        ({"variant": "S/16", "moe": "dense"}, 33_059_737, 9.17),
        ({"variant": "S/16", "moe": "soft", "num_experts": 128, "slots_per_expert": 1}, 933_709_471, 8.55),
    ],
)
def test_a_model_is_counted_without_its_weights(axes: dict[str, object], parameters: int, gflop: float) -> None:
    case = study("model", "vit", **axes)
    result = main.attempt(plan.task(case, 0, Settings()))
    assert result["status"] is Status.OK, result["detail"]
    found = {seen["metric"]: (seen["unit"], seen["samples"]) for seen in result["observations"]}
    assert found["parameters_built"] == ("count", [parameters])
    assert found["flops_built"] == ("FLOP", [pytest.approx(gflop * 1e9, abs=0.005e9)])


def test_a_study_that_fails_is_an_outcome() -> None:
    case = study("model", "dense").with_axes(variant="none")
    result = main.attempt(plan.task(case, 0, Settings()))
    assert result["status"] is Status.ERROR
    assert "KeyError" in result["detail"]
