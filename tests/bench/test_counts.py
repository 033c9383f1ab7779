"""Three counts of one call, and how their differences are named."""

import pytest
from recorded import soft

from bench import counts
from bench.counts import Agreement, Count
from bench.records import Observation, Outcome, Status

SAME = Count(1000.0, {"aten.bmm": 600, "aten.mm": 400}, negligible={"aten.gelu": 1})


def reconcile(formula: float | None, torch: Count, fvcore: Count) -> Agreement:
    return counts.reconcile(formula, torch, fvcore, tolerance=0.001)


def test_equal_counts_agree_whatever_their_operators_are_called() -> None:
    found = reconcile(1000.0, SAME, Count(1000.0, {"einsum": 1000}))
    assert found.compared == (("torch", "formula"), ("torch", "fvcore"))
    assert found.differences == ()
    assert found.words == "agree"


@pytest.mark.parametrize(("formula", "agree"), [(1000.0, True), (1001.0, True), (1002.0, False), (999.0, False)])
def test_the_tolerance_is_a_share_of_what_torch_is_held_against(formula: float, agree: bool) -> None:
    assert (reconcile(formula, SAME, Count()).differences == ()) is agree


def test_a_difference_to_the_formula_names_what_torch_counted() -> None:
    found = reconcile(800.0, SAME, Count())
    assert [(d.counted, d.other, d.flops) for d in found.differences] == [("torch", "formula", 200.0)]
    assert found.words == "torch counts 1.25 times the formula, 200 FLOP more: aten.bmm 600 FLOP, aten.mm 400 FLOP"


def test_what_torch_misses_is_looked_for_among_the_operators_without_products() -> None:
    often = {"aten.gelu": 1, "aten.mul": 7, "aten.add": 3, "aten.view": 3, "aten.exp": 2}
    found = reconcile(2000.0, Count(1000.0, {"aten.mm": 1000}, negligible=often), Count())
    assert found.words == (
        "torch counts 0.5 times the formula, 1.00 kFLOP fewer: aten.mm 1.00 kFLOP; "
        "not counted aten.mul (7x), aten.add (3x), aten.view (3x), aten.exp (2x)"
    )


def test_a_formula_of_nothing_is_no_factor() -> None:
    assert reconcile(0.0, Count(0.0), Count()).words == "agree"
    found = reconcile(0.0, Count(8.0, {"aten.mv": 8}), Count())
    assert found.words == "torch counts what the formula does not, 8 FLOP more: aten.mv 8 FLOP"


def test_torch_and_fvcore_are_compared_by_what_the_operators_compute() -> None:
    by_torch = Count(1700.0, {"aten.bmm": 1000, "aten.convolution": 500, "aten._scaled_dot_product_attention": 200})
    by_fvcore = Count(1400.0, {"einsum": 1000, "conv": 400})
    found = reconcile(None, by_torch, by_fvcore)
    assert [(d.counted, d.other, d.flops) for d in found.differences] == [("torch", "fvcore", 300.0)]
    assert found.words == (
        "torch counts 300 FLOP more than fvcore: "
        "convolutions 100 FLOP more (torch aten.convolution 500 FLOP, fvcore conv 400 FLOP), "
        "attention 200 FLOP more (torch aten._scaled_dot_product_attention 200 FLOP, fvcore none)"
    )


def test_both_differences_are_named() -> None:
    found = reconcile(500.0, SAME, Count(1500.0, {"matmul": 1500}))
    assert [d.other for d in found.differences] == ["formula", "fvcore"]
    assert found.words.count("; ") == 1
    assert "torch counts 500 FLOP fewer than fvcore: matrix products 500 FLOP fewer (" in found.words


def test_totals_without_operators_still_differ() -> None:
    assert reconcile(None, Count(2.0), Count(1.0)).words == "torch counts 1 FLOP more than fvcore: operators not known"


@pytest.mark.parametrize(
    ("formula", "torch", "fvcore"),
    [(None, SAME, Count()), (1000.0, Count(), Count()), (1000.0, Count(uncounted={"aten.cdist": 1}), SAME)],
)
def test_what_is_unknown_is_not_compared(formula: float | None, torch: Count, fvcore: Count) -> None:
    found = reconcile(formula, torch, fvcore)
    assert found == Agreement((), ())
    assert found.words == ""


def test_a_count_says_why_it_has_no_total() -> None:
    assert SAME.missing == ""
    assert Count(uncounted={"aten.cdist": 2, "aten._trilinear": 1}).missing == "aten._trilinear (1x), aten.cdist (2x)"
    assert Count(refused="fvcore cannot trace it (TypeError)").missing == "fvcore cannot trace it (TypeError)"


def test_counts_go_through_an_outcome_unchanged() -> None:
    by_fvcore = Count(uncounted={"prim::PythonOp.Mine": 1}, by_operator={"einsum": 4}, refused="why")
    seen = {"torch": SAME, "fvcore": by_fvcore}
    outcome = Outcome(
        soft().id,
        0,
        Status.OK,
        observations=(Observation("flops_torch", "FLOP", (1000.0,)),),
        facts=counts.facts(seen),
    )
    assert {name: counts.count_of(outcome, name) for name in counts.COUNTERS} == seen


def test_an_older_outcome_has_totals_only() -> None:
    outcome = Outcome(soft().id, 0, Status.OK, observations=(Observation("flops_fvcore", "FLOP", (8.0,)),))
    assert counts.count_of(outcome, "fvcore") == Count(8.0)
    assert counts.count_of(outcome, "torch") == Count()
