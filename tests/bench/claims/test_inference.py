"""Inference time at many times the parameters: held against the paper's own row, and only in the full set."""

import claimed
import pytest

from bench import layers
from bench.claims.claim import Finding, Verdict
from bench.claims.inference import CLAIM, DENSE, SOFT, most
from bench.records import Case


def counted(case: Case) -> dict[str, float]:
    cost = layers.cost(case)
    assert cost is not None
    return {"parameters": float(cost.parameters)}


def found(ratio: float, *, fast: bool = False, spread: float = 0.01, parameters: float = 1.0) -> Finding:
    """The Soft MoE takes so many times as long, and twice that for one image."""

    def seconds(case: Case, number: int) -> float:
        if case["moe"] == "dense":
            return 1.0
        return ratio * (2 if case["batch_size"] == 1 else 1) * (1 + spread * (number - 2))

    def inspected(case: Case) -> dict[str, float]:
        times = parameters if case["moe"] == "soft" else 1.0
        return {"parameters": counted(case)["parameters"] * times}

    return claimed.finding(CLAIM, fast=fast, inspected=inspected, seconds=seconds)


def test_the_papers_digits_leave_room() -> None:
    assert most(SOFT, DENSE) == pytest.approx(0.75 / 0.45)


def test_no_more_time_than_the_paper_reproduces_it_at_the_larger_batch() -> None:
    finding = found(1.3)
    assert finding.verdict is Verdict.REPRODUCED
    assert "28.2 times the parameters" in finding.words
    assert "2.60" in finding.words
    assert "1.30" in finding.words
    assert "+2% for 41 times the parameters at H/14" in finding.words


def test_more_time_refutes_it() -> None:
    assert found(2.0).verdict is Verdict.NOT_REPRODUCED


def test_other_parameters_refute_it() -> None:
    assert found(1.3, parameters=0.9).verdict is Verdict.NOT_REPRODUCED


def test_an_interval_about_the_limit_leaves_it_open() -> None:
    assert found(1.6, spread=0.1).verdict is Verdict.CANNOT


def test_the_fast_stand_in_reproduces_nothing() -> None:
    finding = found(1.3, fast=True)
    assert finding.verdict is Verdict.CANNOT
    assert "21.4 times the parameters" in finding.words


def test_a_model_that_is_missing_leaves_it_unchecked() -> None:
    finding = claimed.finding(
        CLAIM,
        fast=False,
        inspected=counted,
        seconds=lambda _case, _number: 1.0,
        without=lambda case: case["moe"] == "soft",
    )
    assert (finding.verdict, "not measured" in finding.words) == (Verdict.CANNOT, True)


def test_larger_models_stand_beside_the_paper_by_formula() -> None:
    ours = {line.what: line for line in found(1.3).lines}
    parameters = ours["Soft MoE H/14, 128 E over dense: parameters by formula"]
    flops = ours["Soft MoE H/14, 128 E over dense: inference time (paper) and FLOPs by formula (ours)"]
    assert parameters.ours is not None
    assert parameters.ours.estimate == pytest.approx(27_318_132_649 / 668_675_993)
    assert flops.paper == pytest.approx(8.8 / 8.6)
    assert flops.ours is not None
    assert flops.ours.estimate == pytest.approx(283.66 / 333.32, rel=1e-3)
