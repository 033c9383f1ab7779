"""Exponents of latency: what would reproduce the formula, what would refute it, what leaves it open."""

import claimed
import pytest

from bench import layers
from bench.claims import expert_scaling
from bench.claims.claim import Finding, Verdict
from bench.claims.complexity import CLAIM, TOLERANCE
from bench.records import Case

JITTER = (1.0, 1.003, 0.997, 1.001, 0.999)


def flops(case: Case) -> float:
    cost = layers.cost(case)
    assert cost is not None
    assert cost.useful_flops is not None
    return float(cost.useful_flops)


def found(*, per_expert: float = 0.0, squared: bool = False, fast: bool = True, spread: float = 1.0) -> Finding:
    """Time follows the FLOPs, or their square, and the experts to a power."""

    def seconds(case: Case, number: int) -> float:
        experts = int(case["num_experts"] or 0)
        jitter = JITTER[(number + experts + int(case["seq_len"] or 0) // 256) % len(JITTER)] ** spread
        return (1e-11 * flops(case)) ** (2 if squared else 1) * experts**per_expert * jitter

    return claimed.finding(CLAIM, fast=fast, seconds=seconds)


@pytest.mark.parametrize("fast", [True, False])
def test_time_that_follows_the_flops_reproduces_it(fast: bool) -> None:
    finding = found(fast=fast)
    assert finding.verdict is Verdict.REPRODUCED
    assert "Of 4, 4 lie within" in finding.words
    assert "(64 at least)" in finding.words
    for line in finding.lines:
        assert line.ours is not None
        assert line.ours.estimate == pytest.approx(line.paper, abs=TOLERANCE / 4)


def test_the_formula_has_the_exponents_that_its_terms_give() -> None:
    tokens, slots, both, experts = (line.paper for line in found().lines)
    assert (slots, experts) == (pytest.approx(1.0), pytest.approx(0.0))
    # 3 m np d and 2 np d d_ff multiply-adds: at m = 256 and d_ff = 384 they weigh the same
    assert tokens is not None
    assert both == pytest.approx(tokens + 1)
    assert 4**tokens == pytest.approx((4 * 3 * 256 + 2 * 384) / (3 * 256 + 2 * 384))


def test_time_that_grows_with_the_experts_refutes_it() -> None:
    finding = found(per_expert=0.4)
    assert finding.verdict is Verdict.NOT_REPRODUCED
    assert "3 lie within 0.2 of the formula's, 1 do not" in finding.words


def test_another_power_of_everything_refutes_it() -> None:
    assert found(squared=True).verdict is Verdict.NOT_REPRODUCED


def test_wide_intervals_leave_it_open() -> None:
    assert found(spread=200.0).verdict is Verdict.CANNOT


def test_a_missing_size_leaves_it_unchecked() -> None:
    finding = claimed.finding(
        CLAIM, fast=True, seconds=lambda _case, _number: 0.01, without=lambda case: case["seq_len"] == 1024
    )
    assert (finding.verdict, "not measured" in finding.words) == (Verdict.CANNOT, True)


def test_a_single_round_decides_nothing() -> None:
    finding = claimed.finding(CLAIM, fast=True, seconds=lambda case, _number: flops(case), rounds=1)
    assert finding.verdict is Verdict.CANNOT


def test_the_fast_set_begins_with_what_expert_scaling_times_anyway() -> None:
    first, *others = claimed.cases(CLAIM, fast=True)
    theirs = claimed.cases(expert_scaling.CLAIM, fast=True)
    assert first in theirs
    assert len(others) == 4
