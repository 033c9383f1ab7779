"""Tokens that routers leave out: what would reproduce the shapes, what would refute them."""

from collections.abc import Callable

import claimed
import pytest

from bench import plan
from bench.claims.claim import Finding, Verdict
from bench.claims.dropping import CLAIM
from bench.records import Case, Settings
from bench.worker import main, routing

Rate = Callable[[Case], float]


def typical(case: Case) -> float:
    """More with more experts, less with slack, a little different in each draw."""
    rise = 0.1 if case["layer"] == "token_choice" else 0.2
    steps = {16: 0, 64: 1, 128: 1, 256: 2}[int(case["num_experts"] or 0)]
    seed = int(case["seed"] or 0)
    return 0.1 + rise * steps + 0.01 * seed * (1 + steps) - 0.3 * (float(case["capacity_factor"] or 0) - 1)


def found(rate: Rate = typical, *, fast: bool = False, refused_by_soft: float = 0.0) -> Finding:
    def inspected(case: Case) -> dict[str, float]:
        if case["layer"] == "soft":
            return {"drop_rate": refused_by_soft, "unrouted_rate": 0.0, "max_abs_error": 1e-7}
        # experts choice refuses nothing: what it leaves out is the other figure
        chosen = case["layer"] == "token_choice"
        return {"drop_rate": rate(case) if chosen else 0.0, "unrouted_rate": rate(case)}

    return claimed.finding(CLAIM, fast=fast, inspected=inspected)


@pytest.mark.parametrize("fast", [True, False])
def test_rates_that_move_as_the_paper_says_reproduce_it(fast: bool) -> None:
    finding = found(fast=fast)
    assert finding.verdict is Verdict.REPRODUCED
    assert ("one draw" if fast else "3 draws") in finding.words
    assert "random" in finding.words


def test_experts_choice_that_leaves_out_no_more_with_more_experts_refutes_it() -> None:
    def level(case: Case) -> float:
        return typical(case.with_axes(num_experts=16)) if case["layer"] == "expert_choice" else typical(case)

    assert found(lambda case: level(case.with_axes(seed=0))).verdict is Verdict.NOT_REPRODUCED


def test_draws_that_disagree_leave_it_open() -> None:
    def either(case: Case) -> float:
        wild = 0.3 * (int(case["seed"] or 0) - 1) if case["num_experts"] == 256 else 0.0
        return typical(case) + (wild if case["layer"] == "expert_choice" else 0.0)

    assert found(either).verdict is Verdict.CANNOT


def test_slack_that_does_not_help_refutes_it() -> None:
    assert found(lambda case: typical(case.with_axes(capacity_factor=1.0))).verdict is Verdict.NOT_REPRODUCED


def test_priority_that_moves_the_rate_refutes_it() -> None:
    finding = found(lambda case: typical(case) - (0.05 if case.axes.get("batch_priority") else 0.0))
    assert finding.verdict is Verdict.NOT_REPRODUCED
    assert "batch priority by at most 5.0" in finding.words


def test_a_soft_moe_that_refuses_tokens_refutes_it() -> None:
    assert found(refused_by_soft=0.01).verdict is Verdict.NOT_REPRODUCED


def test_a_missing_case_leaves_it_unchecked() -> None:
    finding = claimed.finding(CLAIM, fast=True, without=lambda case: case["layer"] == "expert_choice")
    assert finding.verdict is Verdict.CANNOT


def test_nothing_is_timed() -> None:
    assert not CLAIM.ask(True).timed
    assert not CLAIM.ask(False).timed


def test_its_cases_bring_the_figures_that_it_reads() -> None:
    for case in claimed.cases(CLAIM, fast=True):
        brought = main.attempt(plan.task(case, 0, Settings()), passes=(routing.observe,))
        seen = {one["metric"]: one["samples"][0] for one in brought["observations"]}
        assert 0 <= seen["unrouted_rate"] <= 1
        assert (seen["drop_rate"] > 0) is (case["layer"] == "token_choice")
