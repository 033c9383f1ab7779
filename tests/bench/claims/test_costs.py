"""The claims about costs: what they make of figures that agree, and of figures that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.claims import TABLE, Verdict, asking
from bench.claims.claim import judge
from bench.claims.model_costs import as_number, printed
from bench.claims.paper_models import MODELS

if TYPE_CHECKING:
    from conftest import Make

    from bench.records import Case

CLAIM = TABLE["model-costs"]


def as_printed(case: Case, _repeat: int) -> dict[str, float]:
    [model] = [m for m in MODELS if all(case.get(name) == value for name, value in m.axes.items())]
    return {"parameters_built": as_number(model.parameters), "flops_built": 1e9 * model.gflop}


def test_models_that_are_as_printed_reproduce_the_table(run: Make) -> None:
    [judged] = asking.of_results(TABLE, run([CLAIM], as_printed))
    assert judged.finding.verdict is Verdict.REPRODUCED
    assert "10 have the printed number of parameters and 10 the printed GFLOP" in judged.finding.words
    assert len(judged.finding.lines) == 20


@pytest.mark.parametrize(
    ("metric", "factor"), [("parameters_built", 1.04), ("flops_built", 1.02), ("flops_built", 0.98)]
)
def test_one_model_that_is_not_as_printed_fails_the_claim(run: Make, metric: str, factor: float) -> None:
    def answer(case: Case, repeat: int) -> dict[str, float]:
        found = as_printed(case, repeat)
        if case["variant"] == "B/16" and case["moe"] == "dense":
            found[metric] *= factor
        return found

    [judged] = asking.of_results(TABLE, run([CLAIM], answer))
    assert judged.finding.verdict is Verdict.NOT_REPRODUCED
    assert judged.fallen


@pytest.mark.parametrize(
    ("value", "text", "same"),
    [
        (33_059_737, "33M", True),
        (1_841_402_527, "1.8B", True),
        (54_177_406_889, "54.1B", True),
        (333_635_481, "333M", True),
        (668_675_993, "669M", True),
        (34_000_000, "33M", False),
        (32_499_999, "33M", False),
        (54_200_000_000, "54.1B", False),
    ],
)
def test_a_printed_number_is_rounded_or_cut_off(value: float, text: str, same: bool) -> None:
    assert printed(value, text) is same


def test_training_costs_need_nothing_measured(run: Make) -> None:
    claim = TABLE["training-costs"]
    assert asking.plan_of([claim], fast=True).cases == ()
    [judged] = judge([claim], run([claim], lambda _case, _repeat: {}), fast=True)
    assert judged.finding.verdict is Verdict.REPRODUCED
    paper, standard = judged.finding.lines[:2]
    assert paper.ours is not None
    assert standard.ours is not None
    assert standard.ours.estimate == 2 * paper.ours.estimate
