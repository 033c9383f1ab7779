"""The grids that come with the package: each asks one question, and can be planned with and without a GPU."""

from typing import TYPE_CHECKING

import pytest

from bench import layers
from bench.grid import bundled, load, parse_settings
from bench.plan import Plan, make

if TYPE_CHECKING:
    from bench.records import Case

pytestmark = pytest.mark.parametrize("name", bundled())


def skips(plan: Plan) -> set[str | None]:
    """What is skipped for another reason than that its package is not installed here."""
    return {planned.skip for planned in plan.cases} - {layer.missing for layer in layers.TABLE.values()}


def test_it_says_what_it_answers(name: str) -> None:
    found = load(name)
    assert found.name == name
    assert found.description[0].isupper()
    assert found.description.endswith((".", "?"))
    assert "\n" not in found.description


def test_its_tokens_are_photographs(name: str) -> None:
    found = load(name)
    assert found.defaults["input"] == "photo"
    assert {planned.case["input"] for planned in make(found).cases} == {"photo"}


def test_it_can_be_measured_on_a_cpu_without_a_skip(name: str) -> None:
    plan = make(load(name))
    assert plan.remarks == ()
    assert {planned.case["device"] for planned in plan.cases} == {"cpu"}
    assert skips(plan) == set()
    assert len({planned.case.id for planned in plan.cases}) == len(plan.cases) > 1


def test_it_can_be_measured_on_a_gpu_in_half_precision(name: str) -> None:
    overrides = parse_settings(["device=cuda", "dtype=bfloat16"])
    plan = make(load(name), overrides=overrides, devices=("cpu", "cuda"))
    assert plan.remarks == ()
    assert len(plan.cases) == len(make(load(name)).cases)
    assert {(p.case["device"], p.case["dtype"]) for p in plan.cases} == {("cuda", "bfloat16")}
    assert {skip for skip in skips(plan) if "runs in float32 only" not in str(skip)} == set()
    assert {p.skip for p in plan.cases if layers.package(p.case["layer"]) is None} == {None}


def test_layers_are_compared_on_the_same_tokens(name: str) -> None:
    """The dense layer is the yardstick, so every batch that a layer sees is one that it sees too."""
    work = ("batch_size", "seq_len", "d_model", "mode", "dtype", "input", "seed")
    by_layer: dict[object, list[Case]] = {}
    for case in make(load(name)).runnable:
        by_layer.setdefault(case.get("moe", case["layer"]), []).append(case)  # a model: by the layer in its blocks
    if any(len({case["d_ff"] for case in cases}) > 1 for cases in by_layer.values()):
        work += ("d_ff",)  # else each layer has one width, by which their work is matched
    seen = {layer: {tuple(case[axis] for axis in work) for case in cases} for layer, cases in by_layer.items()}
    assert "dense" in seen
    assert all(batches <= seen["dense"] for batches in seen.values())
