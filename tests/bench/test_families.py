"""The grid `families`: every family once, at the work of one dense layer for each token and with equal parameters."""

import pytest

from bench import layers, plan
from bench.costs import Cost
from bench.grid import load
from bench.records import Case

CONTROLS = {"dense", "dense_active", "dense_total"}
CASES = {str(case["layer"]): case for case in plan.make(load("families")).runnable if case["mode"] == "forward"}
ROUTED = [name for name in CASES if name not in CONTROLS]


def cost(case: Case) -> Cost:
    found = layers.cost(case)
    assert found is not None
    return found


def test_every_family_is_there() -> None:
    kinds_of_others = {"token_choice", "identity", "uniform", "soft_uniform", "uniform_soft"}
    assert set(CASES) == {layer.name for layer in layers.ROWS if layer.package is None} - kinds_of_others


@pytest.mark.parametrize("name", ROUTED)
def test_parameters_are_those_of_the_large_dense_layer(name: str) -> None:
    assert cost(CASES[name]).parameters == pytest.approx(cost(CASES["dense_total"]).parameters, rel=0.05)


@pytest.mark.parametrize("name", [name for name in ROUTED if name != "remoe"])
def test_useful_work_is_that_of_the_dense_layer_and_a_router(name: str) -> None:
    useful = cost(CASES[name]).useful_flops
    assert useful is not None
    assert 0.98 < useful / cost(CASES["dense"]).useful_flops < 1.2


def test_remoe_aims_at_as_many_rows_as_gshard_has() -> None:
    """Its tokens decide how many experts work; fresh ones have top_k on average."""
    axes = ("num_experts", "d_ff")
    assert [CASES["remoe"][axis] for axis in axes] == [CASES["gshard"][axis] for axis in axes]
    assert CASES["remoe"]["top_k"] == 2
