"""Step time against experts: what would reproduce the claim, what would refute it, what leaves it open."""

import claimed
import pytest

from bench.claims import paper_throughput as paper
from bench.claims.claim import Finding, Verdict
from bench.claims.expert_scaling import CLAIM
from bench.records import Case

JITTER = (1.0, 1.002, 0.998, 1.001, 0.999)


def found(growth: dict[tuple[str, str], float], *, fast: bool, jitter: tuple[float, ...] = JITTER) -> Finding:
    """Each layer and backend takes so many times as long at the next number of experts; 1 where nothing is said."""

    def seconds(case: Case, number: int) -> float:
        grown = growth.get((str(case["layer"]), str(case["backend"])), 1.0)
        steps = {8: 0.0, 64: 1.0, 256: 2.0}[int(case["num_experts"] or 0)]
        # neighbours of a round share its jitter, so what is left is how far two cases lie apart in it
        return 0.01 * grown**steps * jitter[(number + int(case["num_experts"] or 0) // 8) % len(jitter)]

    return claimed.finding(CLAIM, fast=fast, inspected=lambda _case: {"drop_rate": 0.1}, seconds=seconds)


@pytest.mark.parametrize("fast", [True, False])
def test_a_flat_soft_moe_beside_sparse_layers_that_slow_down_reproduces_it(fast: bool) -> None:
    finding = found({("token_choice", "einsum"): 1.5, ("expert_choice", "einsum"): 1.4}, fast=fast)
    assert finding.verdict is Verdict.REPRODUCED
    assert "tokens choice, one-hot 1.5" in finding.words or "tokens choice, one-hot 2.2" in finding.words
    assert "is undecided" in finding.words  # modern ones grow as little as Soft MoE


def test_a_soft_moe_that_slows_down_refutes_it_however_slow_the_others_get() -> None:
    finding = found({("soft", "fused"): 1.5, ("token_choice", "einsum"): 9.0}, fast=True)
    assert finding.verdict is Verdict.NOT_REPRODUCED


def test_a_sparse_layer_that_gets_no_slower_refutes_it() -> None:
    finding = found({("token_choice", "einsum"): 1.5, ("expert_choice", "einsum"): 0.9}, fast=False)
    assert finding.verdict is Verdict.NOT_REPRODUCED


def test_wide_intervals_leave_it_open() -> None:
    finding = found({("token_choice", "einsum"): 1.1}, fast=True, jitter=(1.0, 2.0, 0.5, 1.7, 0.6))
    assert finding.verdict is Verdict.CANNOT


def test_modern_dispatch_is_answered_for_the_fastest_with_the_most_experts() -> None:
    survives = found({("token_choice", "einsum"): 2.0, ("token_choice", "grouped"): 1.6}, fast=True)
    assert "tokens choice, grouped 1.6" in survives.words
    assert "so that the advantage survives" in survives.words
    gone = found({("token_choice", "einsum"): 2.0, ("token_choice", "grouped"): 0.5}, fast=True)
    assert "does not survive" in gone.words
    slower = {("token_choice", "grouped"): 3.0, ("token_choice", "indexed"): 1.2, ("expert_choice", "indexed"): 1.2}
    full = found({("token_choice", "einsum"): 2.0, ("expert_choice", "einsum"): 2.0, **slower}, fast=False)
    assert "tokens choice, indexed 1.4" in full.words
    assert "grouped" not in full.words.partition("fastest modern one")[2].partition("What differs")[0]


def test_a_case_that_is_missing_or_was_not_timed_leaves_it_unchecked() -> None:
    many = claimed.finding(
        CLAIM,
        fast=True,
        inspected=lambda _case: {"drop_rate": 0.1},
        seconds=lambda _case, _number: 0.01,
        without=lambda case: case["num_experts"] == 64,
    )
    assert (many.verdict, "not measured" in many.words) == (Verdict.CANNOT, True)
    untimed = claimed.finding(CLAIM, fast=True, inspected=lambda _case: {"drop_rate": 0.1})
    assert "latency of soft is unknown" in untimed.words


def test_the_papers_figures_stand_beside_ours_for_the_same_experts() -> None:
    finding = found({("token_choice", "einsum"): 1.5}, fast=False)
    printed = {line.what: line.paper for line in finding.lines if line.paper is not None}
    assert printed["Soft MoE: 256 experts over 8 (paper: whole model, Soft MoE, 1 slot per token)"] == 379 / 365
    assert any("4096 experts over 32" in what and figure == 4.0 for what, figure in printed.items())
    (chart,) = finding.charts
    assert [curve.name for curve in chart.curves if curve.of_paper and "inferred" in curve.name] == [
        "paper: experts choice, 16 slots per token, columns inferred"
    ]


def test_every_row_of_the_figure_has_powers_of_two_and_falls() -> None:
    assert paper.SOFT_16.slowdown(8, 4096) == 142 / 132
    assert paper.TOKEN_CHOICE_16.slowdown(8, 4096) == 131 / 45
    assert paper.EXPERT_CHOICE_16.slowdown(8, 4096) is None
    for row in paper.ROWS:
        assert all(count & (count - 1) == 0 and count <= 256 * row.slots_per_token for count in row.images_per_s)
        assert row.images_per_s[max(row.images_per_s)] < row.images_per_s[min(row.images_per_s)]
